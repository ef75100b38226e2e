//! A wire within one thread: what one end sends, the other receives. For tests, the simulator and benches.

use std::{cell::RefCell, rc::Rc};

use super::TxQueue;
use crate::{
    batch::Batch,
    frame::Frame,
    meta::{Flags, Meta, PortId},
    stats::PortStats,
};

/// One direction of a wire: packets sent and not yet received, oldest first. Not a ring: what a turn leaves is moved to the front, which is mostly
/// nothing, and a packet takes 19 instructions less.
pub type Lane = Rc<RefCell<Vec<Frame>>>;

/// One end of a wire. Frames move; nothing is copied.
#[derive(Debug)]
pub struct MemoryPort {
    incoming: Lane,
    outgoing: Lane,
    /// Packets the outgoing lane holds at most; more are refused, as a full transmit ring does.
    depth: usize,
    trust_checksums: bool,
}

impl MemoryPort {
    /// A port on two lanes.
    pub fn new(incoming: Lane, outgoing: Lane, depth: usize) -> Self {
        Self { incoming, outgoing, depth, trust_checksums: false }
    }

    /// Two ends of one wire that holds at most `depth` packets each way.
    pub fn pair(depth: usize) -> (Self, Self) {
        let a = Lane::default();
        let b = Lane::default();
        (Self::new(Rc::clone(&a), Rc::clone(&b), depth), Self::new(b, a, depth))
    }

    /// A wire whose two ends are this port.
    pub(super) fn looped(depth: usize) -> Self {
        let lane = Lane::default();
        Self::new(Rc::clone(&lane), lane, depth)
    }

    /// Whether there is nothing to receive.
    pub(super) fn is_idle(&self) -> bool {
        self.incoming.borrow().is_empty()
    }

    /// Marks received packets as having a good transport checksum, as a NIC with receive offload does.
    #[must_use]
    pub fn with_trusted_checksums(mut self) -> Self {
        self.trust_checksums = true;
        self
    }

    pub(super) fn rx(&mut self, id: PortId, batch: &mut Batch, stats: &PortStats) {
        let mut lane = self.incoming.borrow_mut();
        let n = lane.len().min(batch.room());
        let mut bytes = 0;
        let flags = if self.trust_checksums { Flags::RX_CHECKSUM_GOOD } else { Flags::empty() };
        for frame in lane.drain(..n) {
            bytes += frame.len() as u64;
            // There is room: `n` was bounded by it.
            let _ = batch.push(frame, Meta { port: id, flags, ..Meta::default() });
        }
        stats.rx_packets.add(n as u64);
        stats.rx_bytes.add(bytes);
    }

    pub(super) fn tx(&mut self, queue: &mut TxQueue, stats: &PortStats) {
        let mut lane = self.outgoing.borrow_mut();
        let n = queue.len().min(self.depth.saturating_sub(lane.len()));
        let mut bytes = 0;
        // Not `extend`, which takes twice the instructions for an iterator whose length it does not trust.
        for (frame, _) in queue.drain(..n) {
            bytes += frame.len() as u64;
            lane.push(frame);
        }
        stats.tx_packets.add(n as u64);
        stats.tx_bytes.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    #[test]
    fn a_full_wire_refuses_the_rest() {
        let arena = Arena::new(8, 2048).unwrap();
        let (mut a, mut b) = MemoryPort::pair(2);
        let (sent, received) = (PortStats::default(), PortStats::default());
        let mut queue = TxQueue::new();
        for byte in 0..3u8 {
            queue.push((arena.copy_from(&[byte; 60]).unwrap(), Meta::default()));
        }
        a.tx(&mut queue, &sent);
        assert_eq!((queue.len(), sent.tx_packets.value(), sent.tx_bytes.value()), (1, 2, 120));
        let mut batch = Batch::new();
        b.rx(PortId(3), &mut batch, &received);
        assert_eq!((batch.len(), received.rx_packets.value()), (2, 2));
        assert_eq!(batch.slots()[1].meta.port, PortId(3));
    }
}
