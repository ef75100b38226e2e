//! The unit of work: up to [`BATCH`] packets that go through the stages together, and the list of packets this host makes itself.

use arrayvec::ArrayVec;

use crate::{
    frame::Frame,
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Packets per batch. 64 keeps a batch's headers in the first-level cache while a stage's code stays hot.
pub const BATCH: usize = 64;

/// One packet and what is known about it.
#[derive(Debug)]
pub struct Slot {
    /// The packet; `None` once somebody has taken it.
    pub frame: Option<Frame>,
    /// What the stages found out.
    pub meta: Meta,
    /// What the stages decided.
    pub verdict: Verdict,
}

impl Slot {
    /// Takes the frame out for a new owner. A slot is taken once: `None` afterwards.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.verdict = Verdict::Taken;
        self.frame.take()
    }
}

/// Up to [`BATCH`] packets.
#[derive(Default, Debug)]
pub struct Batch {
    slots: ArrayVec<Slot, BATCH>,
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { slots: ArrayVec::new_const() }
    }

    /// Packets in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Packets that still fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.slots.remaining_capacity()
    }

    /// Adds a packet; gives it back when the batch is full.
    ///
    /// # Errors
    /// The frame, when there is no room.
    #[inline]
    pub fn push(&mut self, frame: Frame, meta: Meta) -> Result<(), Frame> {
        if self.slots.is_full() {
            return Err(frame);
        }
        self.slots.push(Slot { frame: Some(frame), meta, verdict: Verdict::Continue });
        Ok(())
    }

    /// Adds a packet that stands somewhere already. The batch is not full.
    pub(crate) fn push_slot(&mut self, slot: Slot) {
        self.slots.push(slot);
    }

    /// Runs `stage` over the packets whose verdict is `on`; it returns their next verdict.
    #[inline]
    pub fn each(&mut self, on: Verdict, mut stage: impl FnMut(&mut Frame, &mut Meta) -> Verdict) {
        for slot in &mut self.slots {
            if slot.verdict == on
                && let Some(frame) = slot.frame.as_mut()
            {
                let verdict = stage(frame, &mut slot.meta);
                // Most packets go on as they came: nothing to put together, nothing to write.
                if verdict != on {
                    slot.verdict = verdict;
                }
            }
        }
    }

    /// All slots, for stages that take frames out.
    #[inline]
    pub fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    /// All slots.
    #[inline]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Empties the batch; frames that are still in it go home.
    #[inline]
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// Empties the batch slot by slot.
    #[inline]
    pub fn drain(&mut self) -> impl Iterator<Item = Slot> + '_ {
        self.slots.drain(..)
    }
}

/// Packets that this host originates in a turn: TCP segments, ICMP errors, neighbour solicitations. Bounded; they run through the
/// pipeline from `l3::route` on (or from `tx`, when they already carry their Ethernet header).
#[derive(Debug)]
pub struct Egress {
    queue: Vec<(Frame, Meta, Verdict)>,
    limit: usize,
    refused: u64,
}

impl Egress {
    /// A queue of at most `limit` packets.
    pub fn new(limit: usize) -> Self {
        Self { queue: Vec::with_capacity(limit), limit, refused: 0 }
    }

    /// Queues an IP packet (no Ethernet header) to be routed. Over the limit it is dropped and counted.
    #[inline]
    pub fn push_ip(&mut self, frame: Frame, network: Network, mut meta: Meta) {
        meta.flags |= Flags::ORIGINATED;
        meta.network = network;
        self.push(frame, meta, Verdict::Continue);
    }

    /// Queues a complete Ethernet frame for where `exit` says.
    #[inline]
    pub fn push_link(&mut self, frame: Frame, exit: Verdict, mut meta: Meta) {
        meta.flags |= Flags::ORIGINATED;
        self.push(frame, meta, exit);
    }

    #[inline]
    fn push(&mut self, frame: Frame, meta: Meta, verdict: Verdict) {
        if self.queue.len() < self.limit {
            self.queue.push((frame, meta, verdict));
        } else {
            self.refused += 1;
        }
    }

    /// Packets waiting, from the place `from` on: each with its network if it has no Ethernet header yet, and where it goes.
    pub(crate) fn waiting(&self, from: usize) -> impl Iterator<Item = (&Frame, Option<Network>, Verdict)> + '_ {
        let bare = |meta: &Meta, verdict: Verdict| (verdict == Verdict::Continue).then_some(meta.network);
        self.queue.iter().skip(from).map(move |(frame, meta, verdict)| (frame, bare(meta, *verdict), *verdict))
    }

    /// Packets waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Packets that can still be queued in this turn.
    pub fn room(&self) -> usize {
        self.limit - self.queue.len()
    }

    /// Moves up to a batch of waiting packets, oldest first, into `batch` (which must be empty). Returns how many.
    pub fn fill(&mut self, batch: &mut Batch) -> usize {
        let n = self.queue.len().min(batch.room());
        for (frame, meta, verdict) in self.queue.drain(..n) {
            batch.slots.push(Slot { frame: Some(frame), meta, verdict });
        }
        n
    }

    /// Packets refused since the last call, as [`DropReason::EgressFull`].
    pub fn take_refused(&mut self) -> (DropReason, u64) {
        (DropReason::EgressFull, core::mem::take(&mut self.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    #[test]
    fn a_stage_sees_only_its_verdict() {
        let arena = Arena::new(4, 2048).unwrap();
        let mut batch = Batch::new();
        for byte in 0..3u8 {
            batch.push(arena.copy_from(&[byte]).unwrap(), Meta::default()).unwrap();
        }
        batch.each(Verdict::Continue, |frame, _| match frame.data()[0] {
            0 => Verdict::Drop(DropReason::NoRoute),
            1 => Verdict::Deliver,
            _ => Verdict::Continue,
        });
        let mut seen = 0;
        batch.each(Verdict::Deliver, |frame, _| {
            assert_eq!(frame.data(), [1]);
            seen += 1;
            Verdict::Consumed
        });
        assert_eq!(seen, 1);
        assert_eq!(batch.slots()[0].verdict, Verdict::Drop(DropReason::NoRoute));
        assert_eq!(batch.drain().count(), 3);
        assert_eq!(arena.available(), 4);
    }

    #[test]
    fn egress_is_bounded_and_counts() {
        let arena = Arena::new(4, 2048).unwrap();
        let mut egress = Egress::new(2);
        for _ in 0..3 {
            egress.push_ip(arena.copy_from(&[0; 20]).unwrap(), Network::Ipv4, Meta::default());
        }
        assert_eq!(egress.take_refused(), (DropReason::EgressFull, 1));
        let mut batch = Batch::new();
        assert_eq!(egress.fill(&mut batch), 2);
        assert!(batch.slots()[0].meta.flags.contains(Flags::ORIGINATED));
    }
}
