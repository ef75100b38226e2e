//! Bytes on their way in or out: filled at the back, used at the front, in memory of the core's that goes back when it is empty.

use core::cell::RefCell;
use std::rc::Rc;

/// Bytes of a buffer: a record of the largest size with its header and the expansion that TLS 1.2 allows (RFC 5246 §6.2.3).
/// A record that is sent has less, so that some small ones fit in front of it.
pub(super) const BUFFER: usize = 5 + (1 << 14) + 2048;
/// Unused buffers kept per core.
const KEPT: usize = 256;

/// One core's buffers for TLS. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Rc<RefCell<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER])
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut kept = self.0.borrow_mut();
        // One that had to grow is as good as none: it would make every later one look alike.
        if buffer.len() == BUFFER && kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}

/// A part of a buffer that is in use.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Initialised memory, of which `start..end` is in use; none while nothing is.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The memory behind what is filled, of which there are at least `room` bytes.
    pub(super) fn space(&mut self, room: usize, buffers: &Buffers) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - self.end < room {
            self.make_room(room, buffers);
        }
        &mut self.bytes[self.end..]
    }

    /// The same memory again, where it was; as much as there is.
    pub(super) fn behind(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    #[cold]
    fn make_room(&mut self, room: usize, buffers: &Buffers) {
        if self.bytes.is_empty() {
            self.bytes = buffers.take();
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.bytes.len() - self.end < room {
            self.bytes.resize(self.end + room, 0);
        }
    }

    /// Counts the first `n` bytes of the space as filled.
    pub(super) fn fill(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - self.end, "filled more than there was");
        self.end += n;
    }

    /// Drops `n` bytes from the front. Nothing moves: what lies behind stays where it is.
    pub(super) fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "used more than there was");
        self.start += n;
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn release(&mut self, buffers: &Buffers) {
        if self.is_empty() && !self.bytes.is_empty() {
            buffers.give(core::mem::take(self).bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn behaves_like_a_deque(steps in prop::collection::vec((0usize..9_000, 0usize..9_000), 0..40)) {
            let (buffers, mut window, mut oracle, mut next) =
                (Buffers::default(), Window::default(), VecDeque::new(), 0u8);
            for (push, pop) in steps {
                let space = window.space(push, &buffers);
                for byte in &mut space[..push] {
                    next = next.wrapping_add(1);
                    *byte = next;
                    oracle.push_back(next);
                }
                window.fill(push);
                let pop = pop.min(window.len());
                oracle.drain(..pop);
                window.advance(pop);
                prop_assert!(window.filled().iter().eq(oracle.iter()));
                window.release(&buffers);
                prop_assert_eq!(window.is_empty(), oracle.is_empty());
                prop_assert_eq!(window.capacity() > 0 && window.is_empty(), false);
                prop_assert!(buffers.0.borrow().len() <= 1);
            }
        }
    }

    #[test]
    fn a_buffer_is_used_again_unless_it_grew() {
        let (buffers, mut window) = (Buffers::default(), Window::default());
        let first = window.space(BUFFER, &buffers).as_ptr();
        window.release(&buffers);
        assert_eq!(window.space(1, &buffers).as_ptr(), first);
        assert_eq!(window.space(BUFFER + 1, &buffers).len(), BUFFER + 1);
        window.release(&buffers);
        assert_eq!((window.capacity(), buffers.0.borrow().len()), (0, 0));
    }
}
