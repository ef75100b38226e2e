//! One queue of a TAP: a system call per packet, straight into and out of frames.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::fd::{AsRawFd, RawFd},
};

use super::vnet;
use crate::{
    batch::Batch,
    frame::{Arena, Frame},
    io::TxQueue,
    meta::{Meta, PortId},
    stats::PortStats,
};

/// One queue of a TAP interface, as its core sees it.
#[derive(Debug)]
pub struct TapPort {
    queue: File,
    /// The interface was deleted. It does not come back: another of its name is another interface.
    lost: bool,
}

impl TapPort {
    pub(super) fn new(queue: File) -> Self {
        Self { queue, lost: false }
    }

    pub(in crate::io) fn rx(&mut self, id: PortId, arena: &Arena, batch: &mut Batch, stats: &PortStats) {
        if self.lost {
            return;
        }
        let (mut packets, mut bytes) = (0, 0);
        for _ in 0..batch.room() {
            let Some(frame) = arena.alloc() else { break };
            match self.read(frame, id) {
                Ok(Some((frame, meta))) => {
                    packets += 1;
                    bytes += frame.len() as u64;
                    // There is room: the loop is bounded by it.
                    let _ = batch.push(frame, meta);
                }
                Ok(None) => stats.rx_errors.add(1),
                Err(error) => {
                    match error.raw_os_error() {
                        // The packet was longer than the frame: it is lost.
                        Some(libc::EFAULT | libc::EINVAL) => stats.rx_errors.add(1),
                        // The management thread notices it by itself, and says so.
                        Some(libc::EBADFD) => self.lost = true,
                        // There is no packet.
                        _ => {}
                    }
                    break;
                }
            }
        }
        stats.rx_packets.add(packets);
        stats.rx_bytes.add(bytes);
    }

    /// Reads one packet into `frame`, with its virtio header in the headroom. `None` when that header is nonsense.
    fn read(&mut self, mut frame: Frame, id: PortId) -> io::Result<Option<(Frame, Meta)>> {
        let room = frame.tailroom();
        if frame.prepend(vnet::LEN).is_none() || frame.extend(room).is_none() {
            return Ok(None);
        }
        let len = self.queue.read(frame.data_mut())?;
        frame.truncate(len);
        let Some(header) = frame.data().first_chunk::<{ vnet::LEN }>().copied() else { return Ok(None) };
        frame.trim_front(vnet::LEN);
        let mut meta = Meta { port: id, ..Meta::default() };
        Ok(vnet::parse(header, frame.len(), &mut meta).map(|()| (frame, meta)))
    }

    pub(in crate::io) fn tx(&mut self, queue: &mut TxQueue, stats: &PortStats) {
        let (mut taken, mut packets, mut bytes) = (0, 0, 0);
        for (frame, meta) in queue.iter() {
            let header = vnet::build(frame, meta);
            match self.queue.write_vectored(&[IoSlice::new(&header), IoSlice::new(frame.data())]) {
                Ok(_) => {
                    packets += 1;
                    bytes += frame.len() as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => stats.tx_errors.add(1),
            }
            taken += 1;
        }
        queue.drain(..taken);
        stats.tx_packets.add(packets);
        stats.tx_bytes.add(bytes);
    }

    pub(in crate::io) fn wait_fd(&self) -> RawFd {
        self.queue.as_raw_fd()
    }
}
