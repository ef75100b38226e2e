//! Packets that wait until a neighbour has answered: a few per neighbour, bounded in total.

use slab::Slab;

use crate::{frame::Frame, meta::Meta};

const NONE: u32 = u32::MAX;

struct Waiting {
    frame: Frame,
    meta: Meta,
    next: u32,
}

/// The waiting packets of one neighbour, oldest first: a list through [`Pending`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
    len: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }

    pub(super) fn len(self) -> u32 {
        self.len
    }
}

/// All waiting packets of a core.
pub(super) struct Pending {
    slots: Slab<Waiting>,
    per_neighbor: u32,
    total: usize,
}

impl Pending {
    pub(super) fn new(per_neighbor: usize, total: usize) -> Self {
        Self { slots: Slab::with_capacity(total), per_neighbor: per_neighbor as u32, total }
    }

    /// Room for as many more as this has room for, with nothing in it: for a rehearsal.
    pub(super) fn rehearsal(&self) -> Self {
        Self { slots: Slab::new(), per_neighbor: self.per_neighbor, total: self.total.saturating_sub(self.slots.len()) }
    }

    /// Appends a packet. The oldest of a full queue gives way (RFC 4861 §7.2.2) and is returned.
    ///
    /// # Errors
    /// The packet itself, when the total is used up by others.
    pub(super) fn push(&mut self, queue: &mut Queue, frame: Frame, meta: Meta) -> Result<Option<Frame>, Frame> {
        let mut lost = None;
        if queue.len >= self.per_neighbor.max(1) || (self.slots.len() >= self.total && queue.len > 0) {
            lost = self.pop(queue).map(|(frame, _)| frame);
        } else if self.slots.len() >= self.total {
            return Err(frame);
        }
        let at = self.slots.insert(Waiting { frame, meta, next: NONE }) as u32;
        match self.slots.get_mut(queue.tail as usize) {
            Some(last) if queue.len > 0 => last.next = at,
            _ => queue.head = at,
        }
        queue.tail = at;
        queue.len += 1;
        Ok(lost)
    }

    /// Takes the oldest packet.
    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<(Frame, Meta)> {
        if queue.len == 0 {
            return None;
        }
        let Waiting { frame, meta, next } = self.slots.try_remove(queue.head as usize)?;
        queue.head = next;
        queue.len -= 1;
        if queue.len == 0 {
            *queue = Queue::EMPTY;
        }
        Some((frame, meta))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    #[test]
    fn a_full_queue_loses_its_oldest_and_a_full_core_the_newcomer() {
        let arena = Arena::new(8, 2048).unwrap();
        let mut pending = Pending::new(2, 3);
        let packet = |byte| arena.copy_from(&[byte]).unwrap();
        let (mut a, mut b, mut c) = (Queue::EMPTY, Queue::EMPTY, Queue::EMPTY);
        assert!(pending.push(&mut a, packet(1), Meta::default()).unwrap().is_none());
        assert!(pending.push(&mut a, packet(2), Meta::default()).unwrap().is_none());
        assert_eq!(pending.push(&mut a, packet(3), Meta::default()).unwrap().unwrap().data(), [1]);
        assert!(pending.push(&mut b, packet(4), Meta::default()).unwrap().is_none());
        assert_eq!(pending.push(&mut b, packet(5), Meta::default()).unwrap().unwrap().data(), [4], "total is used up");
        assert_eq!(pending.push(&mut c, packet(6), Meta::default()).unwrap_err().data(), [6]);
        assert!(c.is_empty());
        assert_eq!(pending.pop(&mut a).unwrap().0.data(), [2]);
        assert_eq!(pending.pop(&mut a).unwrap().0.data(), [3]);
        assert!(pending.pop(&mut a).is_none());
        assert_eq!(pending.pop(&mut b).unwrap().0.data(), [5]);
        assert_eq!((pending.len(), arena.available()), (0, 8));
    }
}
