//! What a core polls: one receive and one transmit queue. One call into C per burst.

use core::{
    fmt,
    ptr::{self, NonNull},
};
use std::sync::Arc;

use arrayvec::ArrayVec;
use tidegate_dpdk_sys as sys;

use super::{
    device::Device,
    eal,
    mbuf::{self, Offload, free_mbuf},
};
use crate::{
    batch::{BATCH, Batch},
    frame::Frame,
    io::{TxQueue, checksum},
    meta::{Flags, Meta, PortId},
    stats::PortStats,
};

/// A queue on its way to the core that will poll it.
#[derive(Debug)]
pub struct DpdkSeed {
    device: Arc<Device>,
    queue: u16,
    taken: Arc<()>,
}

impl DpdkSeed {
    pub(super) fn new(device: Arc<Device>, queue: u16, taken: Arc<()>) -> Self {
        Self { device, queue, taken }
    }

    /// Binds the queue to the calling thread, which is registered with the EAL from now until it ends.
    pub fn attach(self) -> DpdkQueue {
        eal::register_thread();
        DpdkQueue {
            port: self.device.id,
            queue: self.queue,
            pool: self.device.claim.raw,
            room: usize::from(self.device.claim.room),
            tx_checksum: self.device.tx_checksum,
            received: [ptr::null_mut(); BATCH],
            spare: ArrayVec::new(),
            pending: ArrayVec::new(),
            device: self.device,
            _taken: self.taken,
        }
    }
}

/// One receive and one transmit queue, bound to a thread.
pub struct DpdkQueue {
    port: u16,
    queue: u16,
    pool: NonNull<sys::rte_mempool>,
    /// Bytes that an mbuf of the pool holds.
    room: usize,
    tx_checksum: bool,
    /// Where the driver writes what it received; meaningless between calls.
    received: [*mut sys::rte_mbuf; BATCH],
    /// Fresh mbufs for packets that must be copied, taken from the pool a batch at a time.
    spare: ArrayVec<*mut sys::rte_mbuf, BATCH>,
    /// Packets accepted that the driver had no descriptor for; they go first next time.
    pending: ArrayVec<*mut sys::rte_mbuf, BATCH>,
    device: Arc<Device>,
    _taken: Arc<()>,
}

/// What became of the packets of a call.
#[derive(Default)]
struct Sent {
    bytes: u64,
    copies: u64,
    errors: u64,
}

impl DpdkQueue {
    /// Receives into `batch` as many packets as there are and fit. A packet in several segments that do not fit into one is
    /// dropped and counted in `rx_errors`.
    #[inline]
    pub fn rx(&mut self, id: PortId, batch: &mut Batch, stats: &PortStats) {
        let room = batch.room() as u16;
        if room == 0 {
            return; // Not every driver takes a burst of none.
        }
        // SAFETY: an open port; this handle is the queue's only user (`DpdkPort::queue`) and does not leave its thread; `received`
        // has room for BATCH >= `room` pointers.
        let n = unsafe { sys::rte_eth_rx_burst(self.port, self.queue, self.received.as_mut_ptr(), room) };
        let (mut bytes, mut lost) = (0, 0);
        for &mbuf in &self.received[..usize::from(n)] {
            let Some(mbuf) = NonNull::new(mbuf) else { continue };
            // SAFETY: the driver has just given it to us.
            let Some((frame, flags)) = (unsafe { mbuf::receive(mbuf) }) else {
                lost += 1;
                continue;
            };
            bytes += frame.len() as u64;
            // There is room: the burst was bounded by it.
            let _ = batch.push(frame, Meta { port: id, flags, ..Meta::default() });
        }
        if n != 0 {
            stats.rx_packets.add(u64::from(n) - lost);
            stats.rx_bytes.add(bytes);
            stats.rx_errors.add(lost);
        }
    }

    /// Sends packets from the front of `queue`; what stays in it did not fit. Frames of other memory are copied and counted. An
    /// accepted packet may wait here for a descriptor until the next `tx` or `flush`.
    #[inline]
    pub fn tx(&mut self, queue: &mut TxQueue, stats: &PortStats) {
        if queue.is_empty() || !self.push_pending() {
            return;
        }
        let mut sent = Sent::default();
        let mut refused = TxQueue::new();
        for (frame, meta) in queue.drain(..) {
            // What nearly every packet needs is done without its address being taken: it is then read where it lies.
            if meta.flags.contains(Flags::CHECKSUM_PARTIAL) {
                self.accept(frame, meta, &mut refused, &mut sent);
                continue;
            }
            match frame.into_mbuf() {
                Ok((mbuf, head, len)) => {
                    // SAFETY: the frame owned the mbuf, it has one segment, and a frame's data lies within its buffer.
                    unsafe { mbuf::prepare(mbuf, head, len, Offload::default()) };
                    self.pending.push(mbuf.as_ptr());
                    sent.bytes += u64::from(len);
                }
                Err(frame) => self.accept(frame, meta, &mut refused, &mut sent),
            }
        }
        stats.tx_packets.add(self.pending.len() as u64);
        stats.tx_bytes.add(sent.bytes);
        stats.tx_copies.add(sent.copies);
        stats.tx_errors.add(sent.errors);
        queue.extend(refused);
        self.push_pending();
    }

    /// Takes a packet with a checksum to be completed, or of other memory, or puts it to those that are refused.
    #[inline(never)]
    fn accept(&mut self, mut frame: Frame, mut meta: Meta, refused: &mut TxQueue, sent: &mut Sent) {
        let offload = self.offload(&mut frame, &mut meta);
        let len = frame.len() as u64;
        match frame.into_mbuf() {
            Ok((mbuf, head, len)) => {
                // SAFETY: as in `tx`.
                unsafe { mbuf::prepare(mbuf, head, len, offload) };
                self.pending.push(mbuf.as_ptr());
            }
            // It will never fit: keeping it would block the queue.
            Err(frame) if frame.len() > self.room => {
                sent.errors += 1;
                return;
            }
            Err(frame) => match self.copy(&frame, offload) {
                Some(mbuf) => {
                    self.pending.push(mbuf.as_ptr());
                    sent.copies += 1;
                }
                None => return refused.push((frame, meta)),
            },
        }
        sent.bytes += len;
    }

    /// Offers the driver what is still pending. Called every turn.
    #[inline]
    pub fn flush(&mut self) {
        self.push_pending();
    }

    /// Hands pending packets to the driver; whether all went.
    #[inline]
    fn push_pending(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let n = self.pending.len() as u16;
        // SAFETY: an open port, the queue's only user; the pointers are mbufs we own, one segment each. The driver owns the first
        // `sent` of them afterwards, which are removed here.
        let sent = unsafe { sys::rte_eth_tx_burst(self.port, self.queue, self.pending.as_mut_ptr(), n) };
        self.pending.drain(..usize::from(sent));
        self.pending.is_empty()
    }

    /// Who completes the checksum: the device where it can, else we do it here.
    #[inline]
    fn offload(&self, frame: &mut Frame, meta: &mut Meta) -> Offload {
        if !meta.flags.contains(Flags::CHECKSUM_PARTIAL) {
            return Offload::default();
        }
        let by_device = if self.tx_checksum { Offload::checksum(meta) } else { None };
        by_device.unwrap_or_else(|| {
            checksum::complete(frame, meta);
            Offload::default()
        })
    }

    /// A copy of the packet, which fits, in an mbuf; `None` when there is no buffer.
    fn copy(&mut self, frame: &Frame, offload: Offload) -> Option<NonNull<sys::rte_mbuf>> {
        if self.spare.is_empty() {
            self.refill();
        }
        let mbuf = NonNull::new(self.spare.pop()?)?;
        // SAFETY: fresh from the pool and ours; one segment.
        if unsafe { mbuf::fill(mbuf, frame.data(), offload) } {
            return Some(mbuf);
        }
        // SAFETY: ours, not used again.
        unsafe { free_mbuf(mbuf) };
        None
    }

    #[cold]
    fn refill(&mut self) {
        // SAFETY: the pool lives as long as the process; the vector is empty and has room for BATCH pointers, all of which the call
        // writes when it returns 0 (it is all or nothing).
        unsafe {
            if sys::rte_pktmbuf_alloc_bulk(self.pool.as_ptr(), self.spare.as_mut_ptr(), BATCH as u32) == 0 {
                self.spare.set_len(BATCH);
            }
        }
    }
}

impl Drop for DpdkQueue {
    fn drop(&mut self) {
        for mbufs in [&mut self.spare, &mut self.pending] {
            // SAFETY: both hold mbufs that we own and do not use again.
            unsafe { sys::rte_pktmbuf_free_bulk(mbufs.as_mut_ptr(), mbufs.len() as u32) }
            mbufs.clear();
        }
    }
}

impl fmt::Debug for DpdkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DpdkQueue({:?}, queue {})", self.device, self.queue)
    }
}
