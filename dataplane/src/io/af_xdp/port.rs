//! One queue: descriptors in, descriptors out, and an exact account of the chunks that the kernel has.
#![allow(unsafe_code)] // Chunks change hands with the kernel by address.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use libc::xdp_desc;

use super::{
    device::Attached,
    gather::Gather,
    napi,
    ring::Sizes,
    socket::{self, Socket, Wish},
    syscall,
    umem::{self, Lent, Returned},
};
use crate::{
    batch::{BATCH, Batch},
    frame::{Arena, Frame, HEADROOM},
    io::TxQueue,
    meta::{Meta, PortId},
    stats::PortStats,
};

/// Chunks missing in the fill ring before it is refilled: a shared cache line moves once per this many packets.
const REFILL_STEP: u32 = BATCH as u32 / 2;
/// One in this many of the arena's chunks is never lent for receiving: what waits or is originated needs some.
const RESERVE: usize = 16;
/// Turns between two looks at the kernel's counters.
const STATISTICS_TURNS: u32 = 4096;
/// Kicks in a row that moved nothing before a core may sleep on packets that wait to be sent: the link is down.
const PATIENT_KICKS: u32 = 1000;
/// Descriptors that the kernel sends from per kick in copy mode.
const PER_KICK: u32 = 32;
/// Milliseconds that a closing port waits for packets on their way out.
const LINGER_MS: u32 = 50;

/// One queue of an interface, as its core sees it.
#[derive(Debug)]
pub struct AfXdpPort {
    /// `None` only while being dropped.
    socket: Option<Socket>,
    arena: Arena,
    lent: Lent,
    /// Chunks that the kernel has for receiving, and how many it should have.
    filled: u32,
    fill_target: u32,
    /// Descriptors that the kernel has and has not sent, and how many it may have.
    sending: u32,
    sending_limit: u32,
    /// Kicks since the kernel last took a packet.
    fruitless: u32,
    /// What has come of a packet whose last piece has not.
    gather: Gather,
    /// Of the kernel's chunks.
    chunk_mask: u64,
    chunk_shift: u32,
    /// Whether the device is polled by our own system calls: wished, and possible as far as is known.
    polls: bool,
    busy_poll_us: u32,
    turns: u32,
    seen: Losses,
    queue: u16,
    sizes: Sizes,
    attached: Arc<Attached>,
}

/// The kernel's counters, as last read.
#[derive(Clone, Copy, Default, Debug)]
struct Losses {
    rx: u64,
    tx: u64,
}

impl AfXdpPort {
    pub(super) fn new(attached: Arc<Attached>, arena: Arena, socket: Socket, wish: &Wish, share: u32) -> Self {
        Self {
            lent: Lent::new(&arena),
            filled: 0,
            fill_target: share,
            sending: 0,
            sending_limit: wish.sizes.tx,
            fruitless: 0,
            gather: Gather::default(),
            chunk_mask: umem::chunk_size(&arena) as u64 - 1,
            chunk_shift: umem::chunk_size(&arena).trailing_zeros(),
            polls: false,
            busy_poll_us: wish.busy_poll_us,
            turns: 0,
            seen: Losses::default(),
            queue: wish.queue,
            sizes: wish.sizes,
            socket: Some(socket),
            arena,
            attached,
        }
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.bound().fd
    }

    fn bound(&self) -> &Socket {
        self.socket.as_ref().unwrap_or_else(|| unreachable!("taken only by drop"))
    }

    fn bound_mut(&mut self) -> &mut Socket {
        self.socket.as_mut().unwrap_or_else(|| unreachable!("taken only by drop"))
    }

    /// Whether the NIC reads and writes frames itself.
    pub fn is_zero_copy(&self) -> bool {
        self.bound().zero_copy
    }

    pub(in crate::io) fn rx(&mut self, id: PortId, batch: &mut Batch, stats: &PortStats) {
        if self.sending > 0 {
            self.reap();
            // What the kernel did not take in the turns before.
            self.flush();
        }
        if self.polls && self.bound_mut().rings.rx.is_empty() {
            // Poll first, then take: what the driver had waiting is in the ring when the call returns.
            syscall::kick_rx(self.socket().as_fd());
        }
        let (mut taken, mut packets, mut bytes) = (0, 0, 0);
        for _ in 0..batch.room() {
            let Some(packet) = self.bound_mut().rings.rx.pop() else { break };
            taken += 1;
            let mut piece = None;
            // Of a chunk that is lent for receiving the kernel has nothing but its start.
            if self.lent.take_back(packet.addr) == Returned::Whole {
                // SAFETY: this chunk was lent by this port and the kernel has just returned it, filled within its bounds; the bit
                // that `take_back` cleared makes it the only return.
                piece = Some(unsafe { self.arena.adopt(packet.addr, packet.len) });
            }
            let more = packet.options & libc::XDP_PKT_CONTD != 0;
            if more || self.gather.is_under_way() {
                piece = self.gather.add(piece, more);
                if more {
                    continue;
                }
            }
            let Some(frame) = piece else {
                stats.rx_errors.add(1);
                continue;
            };
            packets += 1;
            bytes += frame.len() as u64;
            // There is room: the loop is bounded by it.
            let _ = batch.push(frame, Meta { port: id, ..Meta::default() });
        }
        if taken > 0 {
            self.bound_mut().rings.rx.release();
            self.filled = self.filled.saturating_sub(taken);
            stats.rx_packets.add(packets);
            stats.rx_bytes.add(bytes);
        }
        if self.fill_target - self.filled >= REFILL_STEP.min(self.fill_target) {
            self.refill();
        }
        if taken == 0 && self.bound().rings.fill.needs_wakeup() {
            syscall::kick_rx(self.socket().as_fd());
        }
        self.turns += 1;
        if self.turns >= STATISTICS_TURNS {
            self.turns = 0;
            self.count_losses(stats);
            self.start_polling();
        }
    }

    /// Takes the receive work over from interrupts, once the kernel knows the queue's NAPI instance.
    pub(super) fn start_polling(&mut self) {
        if self.busy_poll_us != 0 && !self.polls && napi::is_known(self.socket().as_fd()) {
            self.polls = true;
            self.attached.defer_interrupts(self.busy_poll_us);
        }
    }

    /// Lends chunks for receiving, up to the port's share and while the arena keeps its reserve.
    pub(super) fn refill(&mut self) {
        let spare = self.arena.available().saturating_sub(self.arena.capacity() / RESERVE) as u32;
        let room = self.bound_mut().rings.fill.room();
        let count = (self.fill_target - self.filled).min(spare).min(room);
        let mut lent = 0;
        while lent < count
            && let Some(offset) = self.arena.lend()
        {
            self.lent.lend(offset);
            self.bound_mut().rings.fill.push(offset);
            lent += 1;
        }
        if lent > 0 {
            self.bound_mut().rings.fill.commit();
            self.filled += lent;
        }
    }

    pub(in crate::io) fn tx(&mut self, queue: &mut TxQueue, stats: &PortStats) {
        if self.sending > 0 {
            self.reap();
        }
        let mut room = self.bound_mut().rings.tx.room().min(self.sending_limit - self.sending);
        let (mut packets, mut bytes, mut copies) = (0, 0, 0);
        while room > 0
            && let Some((frame, _)) = queue.get(packets)
        {
            let mut pieces = self.pieces(frame);
            if !self.can_send(frame, pieces) {
                if frame.len() + HEADROOM > self.longest() {
                    // It will never fit into a chunk: keeping it would block the queue.
                    queue.remove(packets);
                    stats.tx_errors.add(1);
                    continue;
                }
                let Some(copy) = self.arena.copy_from(frame.data()) else { break };
                pieces = self.pieces(&copy);
                queue[packets].0 = copy;
                copies += 1;
            }
            if pieces > room {
                break;
            }
            room -= pieces;
            packets += 1;
        }
        for (frame, _) in queue.drain(..packets) {
            bytes += frame.len() as u64;
            // It is at home in this arena, as seen above.
            if let Ok((addr, len)) = frame.into_offset(&self.arena) {
                self.hand_over(addr, len);
            }
        }
        if packets > 0 {
            self.bound_mut().rings.tx.commit();
            stats.tx_packets.add(packets as u64);
            stats.tx_bytes.add(bytes);
            stats.tx_copies.add(copies);
        }
    }

    /// Chunks of the kernel's in which the frame lies.
    #[inline]
    fn pieces(&self, frame: &Frame) -> u32 {
        let start = frame.headroom() as u64 & self.chunk_mask;
        ((start + frame.len() as u64 + self.chunk_mask) >> self.chunk_shift) as u32
    }

    /// Whether the kernel can send the frame from where it is: it lives in our memory, in no more chunks than the socket may use.
    #[inline]
    fn can_send(&self, frame: &Frame, pieces: u32) -> bool {
        self.arena.owns(frame) && (pieces <= 1 || self.bound().pieces)
    }

    /// Bytes that a chunk holds with its headroom, as far as the kernel sends them.
    fn longest(&self) -> usize {
        if self.bound().pieces { self.arena.chunk_size() } else { self.chunk_mask as usize + 1 }
    }

    /// Puts a packet of our memory into the transmit ring, which has room, by a descriptor for each chunk that it lies in.
    #[inline]
    fn hand_over(&mut self, mut addr: u64, mut len: u32) {
        loop {
            let end = (addr | self.chunk_mask) + 1;
            let here = u64::from(len).min(end - addr) as u32;
            let options = if here < len { libc::XDP_PKT_CONTD } else { 0 };
            self.lent.lend(addr);
            self.bound_mut().rings.tx.push(xdp_desc { addr, len: here, options });
            self.sending += 1;
            if here == len {
                return;
            }
            (addr, len) = (end, len - here);
        }
    }

    /// Takes chunks back whose packets were sent.
    fn reap(&mut self) {
        let mut reaped = 0;
        while let Some(offset) = self.bound_mut().rings.completion.pop() {
            if self.lent.take_back(offset) == Returned::Whole {
                // SAFETY: this chunk was lent by `tx`, and the cleared bit, the last of the chunk's, makes this its only return.
                unsafe { self.arena.restore(offset) };
            }
            reaped += 1;
        }
        if reaped > 0 {
            self.bound_mut().rings.completion.release();
            self.sending = self.sending.saturating_sub(reaped);
        }
    }

    /// Kicks the kernel until it has taken all packets or takes no more: it does 32 per call in copy mode.
    pub(in crate::io) fn flush(&mut self) {
        if self.sending == 0 {
            return;
        }
        let Socket { fd, rings, .. } = self.bound();
        let mut untaken = rings.tx.untaken();
        let mut fruitless = 0;
        for _ in 0..=untaken / PER_KICK {
            if untaken == 0 || !rings.tx.needs_wakeup() {
                break;
            }
            // EAGAIN after 32 packets, EBUSY and ENOBUFS when the device is behind: what counts is whether it took some.
            let _ = syscall::kick_tx(fd.as_fd());
            let left = rings.tx.untaken();
            if left == untaken {
                fruitless = self.fruitless.saturating_add(1);
                break;
            }
            untaken = left;
        }
        self.fruitless = fruitless;
    }

    pub(in crate::io) fn wait_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }

    /// Before a sleep: everything sent, the fill ring full. Polling the descriptor wakes a driver that waits for that.
    pub(in crate::io) fn prepare_sleep(&mut self) -> bool {
        if self.sending > 0 {
            self.reap();
            self.flush();
        }
        self.refill();
        let is_down = self.fruitless > PATIENT_KICKS;
        let rings = &mut self.bound_mut().rings;
        rings.rx.is_empty() && (rings.tx.untaken() == 0 || !rings.tx.needs_wakeup() || is_down)
    }

    fn count_losses(&mut self, stats: &PortStats) {
        let statistics =
            syscall::option::<libc::xdp_statistics>(self.socket().as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS);
        let Ok(now) = statistics else { return };
        // A packet that finds the fill ring empty is counted among the dropped ones.
        let losses = Losses { rx: now.rx_dropped + now.rx_ring_full, tx: now.tx_invalid_descs };
        stats.rx_errors.add(losses.rx.saturating_sub(self.seen.rx));
        stats.tx_errors.add(losses.tx.saturating_sub(self.seen.tx));
        self.seen = losses;
    }
}

impl Drop for AfXdpPort {
    fn drop(&mut self) {
        for _ in 0..LINGER_MS {
            self.reap();
            if self.sending == 0 {
                break;
            }
            self.flush();
            syscall::wait_a_moment();
        }
        let Some(socket) = self.socket.take() else { return };
        let zero_copy = socket.zero_copy;
        let fd = socket.fd.as_raw_fd();
        self.arena.umem_sockets().borrow_mut().retain(|bound| bound.fd != fd);
        // Closing waits until no receiver uses the socket any more. A NIC that writes to memory itself is stopped a moment later.
        drop(socket);
        if zero_copy && !socket::is_released(self.attached.link.index, self.queue, &self.arena, self.sizes) {
            // Chunks that a NIC may still write to are never used again, and the arena stays mapped.
            return;
        }
        for offset in self.lent.drain() {
            // SAFETY: lent by this port, and the socket that could use it is gone: the kernel will not write to it. Draining
            // clears the bit, so this is its only return.
            unsafe { self.arena.restore(offset) };
        }
    }
}
