//! A bounded ring from one thread to one other.
//!
//! Slots are made once and written in place, so a large record (a packet, an access-log entry) costs one copy of what is used of
//! it and no allocation. Each side keeps the other's index cached and reads the shared one only when the ring looks full or
//! empty.
//!
//! Invariant: `head` (next to read) and `tail` (next to write) only grow, and `tail - head <= capacity`. Slots in
//! `head..tail` belong to the consumer, all others to the producer. `tail` is stored by the producer alone, `head` by the consumer alone.

#[cfg(not(loom))]
use core::cell::UnsafeCell;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
#[cfg(loom)]
use loom::cell::UnsafeCell;

use super::atomic::{AtomicUsize, Ordering};

struct Ring<T> {
    slots: Box<[UnsafeCell<T>]>,
    mask: usize,
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
}

// SAFETY: a slot is touched by one side at a time (module invariant): ownership passes with the release store of `tail` or `head`
// and its acquire load by the other side, so sharing the ring is moving `T`s between two threads.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as above; the slots are plain `T`s.
unsafe impl<T: Send> Send for Ring<T> {}

/// The writing end.
pub struct Producer<T> {
    ring: Arc<Ring<T>>,
    tail: usize,
    head: usize,
}

/// The reading end.
pub struct Consumer<T> {
    ring: Arc<Ring<T>>,
    head: usize,
    tail: usize,
}

/// A ring of at least `capacity` slots (rounded up to a power of two), each made by `slot`.
pub fn channel<T: Send>(capacity: usize, mut slot: impl FnMut() -> T) -> (Producer<T>, Consumer<T>) {
    let size = capacity.max(1).next_power_of_two();
    let ring = Arc::new(Ring {
        slots: (0..size).map(|_| UnsafeCell::new(slot())).collect(),
        mask: size - 1,
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
    });
    (Producer { ring: Arc::clone(&ring), tail: 0, head: 0 }, Consumer { ring, head: 0, tail: 0 })
}

#[cfg(not(loom))]
fn with_slot<T, R>(cell: &UnsafeCell<T>, f: impl FnOnce(*mut T) -> R) -> R {
    f(cell.get())
}

#[cfg(loom)]
fn with_slot<T, R>(cell: &UnsafeCell<T>, f: impl FnOnce(*mut T) -> R) -> R {
    cell.with_mut(f)
}

impl<T> core::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer").field("written", &self.tail).finish_non_exhaustive()
    }
}

impl<T> core::fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer").field("read", &self.head).finish_non_exhaustive()
    }
}

impl<T> Producer<T> {
    /// Writes the next slot in place and publishes it. `false`, and `write` is not called, when the ring is full.
    #[inline]
    pub fn push_with(&mut self, write: impl FnOnce(&mut T)) -> bool {
        if self.tail.wrapping_sub(self.head) > self.ring.mask {
            // Acquire: pairs with the consumer's release in `pop_with`; its reads of the slot are over.
            self.head = self.ring.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head) > self.ring.mask {
                return false;
            }
        }
        // SAFETY: the slot at `tail` is not in `head..tail`, so it is the producer's, and `&mut self` makes this the only access.
        // A safe container would need a lock or a copy of the whole record.
        with_slot(&self.ring.slots[self.tail & self.ring.mask], |slot| write(unsafe { &mut *slot }));
        self.tail = self.tail.wrapping_add(1);
        // Release: pairs with the consumer's acquire in `pop_with`; it sees the slot written.
        self.ring.tail.store(self.tail, Ordering::Release);
        true
    }

    /// Slots in the ring.
    pub fn capacity(&self) -> usize {
        self.ring.mask + 1
    }
}

impl<T> Consumer<T> {
    /// Reads the next slot in place and gives it back to the producer. `None` when the ring is empty.
    #[inline]
    pub fn pop_with<R>(&mut self, read: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.head == self.tail {
            // Acquire: pairs with the producer's release in `push_with`.
            self.tail = self.ring.tail.load(Ordering::Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        // SAFETY: the slot at `head` is in `head..tail`, so it is the consumer's, and `&mut self` makes this the only access.
        let out = with_slot(&self.ring.slots[self.head & self.ring.mask], |slot| read(unsafe { &mut *slot }));
        self.head = self.head.wrapping_add(1);
        // Release: pairs with the producer's acquire in `push_with`; our reads of the slot are over.
        self.ring.head.store(self.head, Ordering::Release);
        Some(out)
    }

    /// Slots in the ring.
    pub fn capacity(&self) -> usize {
        self.ring.mask + 1
    }

    /// Whether the writing end is gone: nothing will be added to what there is.
    pub fn is_orphaned(&self) -> bool {
        Arc::strong_count(&self.ring) == 1
    }

    /// Whether nothing waits right now.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail {
            // Acquire: as in `pop_with`.
            self.tail = self.ring.tail.load(Ordering::Acquire);
        }
        self.head == self.tail
    }
}

#[cfg(all(test, not(loom)))]
#[expect(clippy::disallowed_methods, reason = "tests may start threads, look at the clock and sleep")]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_bounded_queue(capacity in 1usize..9, ops in prop::collection::vec(any::<Option<u32>>(), 0..200)) {
            let (mut tx, mut rx) = channel(capacity, || 0u32);
            let mut model = VecDeque::new();
            for op in ops {
                match op {
                    Some(value) => {
                        let pushed = tx.push_with(|slot| *slot = value);
                        prop_assert_eq!(pushed, model.len() < tx.capacity());
                        if pushed { model.push_back(value); }
                    }
                    None => prop_assert_eq!(rx.pop_with(|slot| *slot), model.pop_front()),
                }
                prop_assert_eq!(rx.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn order_is_kept_across_threads() {
        const N: u64 = 200_000;
        let (mut tx, mut rx) = channel(64, || 0u64);
        let producer = std::thread::spawn(move || {
            for value in 0..N {
                while !tx.push_with(|slot| *slot = value) {
                    std::thread::yield_now();
                }
            }
        });
        for expected in 0..N {
            let got = loop {
                if let Some(value) = rx.pop_with(|slot| *slot) {
                    break value;
                }
                std::thread::yield_now();
            };
            assert_eq!(got, expected);
        }
        producer.join().unwrap();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    #[test]
    fn every_interleaving_keeps_order_and_slots() {
        loom::model(|| {
            let (mut tx, mut rx) = channel(2, || 0u8);
            let producer = loom::thread::spawn(move || {
                let mut next = 1;
                for _ in 0..4 {
                    if tx.push_with(|slot| *slot = next) {
                        next += 1;
                    }
                }
                next - 1
            });
            let mut last = 0;
            for _ in 0..2 {
                if let Some(value) = rx.pop_with(|slot| *slot) {
                    assert_eq!(value, last + 1);
                    last = value;
                }
            }
            let pushed = producer.join().unwrap();
            while let Some(value) = rx.pop_with(|slot| *slot) {
                assert_eq!(value, last + 1);
                last = value;
            }
            assert_eq!(last, pushed);
        });
    }
}
