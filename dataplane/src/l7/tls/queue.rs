//! Bytes that wait to be sent: written in place at the back, read at the front.

use super::TlsError;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Initialised space, of which `start..end` is in use.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Queue {
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Lets `write` fill the space at the back, of which there are at least `room` bytes, more if it asks for more by
    /// `Err(bytes)`. It tells how many it wrote.
    pub(super) fn append(
        &mut self,
        room: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<Result<usize, TlsError>, usize>,
    ) -> Result<(), TlsError> {
        self.reserve(room);
        let written = match write(&mut self.bytes[self.end..]) {
            Ok(written) => written?,
            Err(needed) => {
                self.reserve(needed);
                write(&mut self.bytes[self.end..]).map_err(|_| TlsError::Internal)??
            }
        };
        self.end += written;
        Ok(())
    }

    /// Drops `n` bytes from the front.
    pub(super) fn advance(&mut self, n: usize) {
        self.start += n;
        assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives the memory back if nothing is queued.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn reserve(&mut self, room: usize) {
        if self.bytes.len() - self.end >= room {
            return;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.bytes.len() - self.end < room {
            self.bytes.resize(self.end + room, 0);
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
        fn behaves_like_a_deque(steps in prop::collection::vec((0usize..40, 0usize..40, 0usize..40), 0..80)) {
            let (mut queue, mut oracle, mut next) = (Queue::default(), VecDeque::new(), 0u8);
            for (push, pop, guess) in steps {
                let bytes: Vec<u8> = (0..push).map(|_| { next = next.wrapping_add(1); next }).collect();
                oracle.extend(bytes.iter().copied());
                let outcome = queue.append(guess, |space| if space.len() < push { Err(push) } else {
                    space[..push].copy_from_slice(&bytes);
                    Ok(Ok(push))
                });
                prop_assert_eq!(outcome, Ok(()));
                let pop = pop.min(queue.len());
                oracle.drain(..pop);
                queue.advance(pop);
                prop_assert!(queue.pending().iter().eq(oracle.iter()));
                queue.release();
                prop_assert_eq!(queue.is_empty(), oracle.is_empty());
            }
        }
    }
}
