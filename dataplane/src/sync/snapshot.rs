//! The cell that publishes a generation of tables to all cores.
//!
//! One writer swaps one pointer; each core looks at one number per turn and takes the new value when it has changed. What a core takes
//! is an `Arc`, cloned once per core and generation, never per packet. The writer keeps its own clone of every generation until
//! it is the last holder ([`Publisher::reclaim`]), so that the memory is always freed by the management thread and never by
//! a core in the middle of a turn.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crossbeam_epoch::{self as epoch, Atomic, Owned};

struct Shared<T> {
    current: Atomic<Arc<T>>,
    generation: AtomicU64,
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no reader is left, and `current` is never null.
        drop(unsafe { core::mem::replace(&mut self.current, Atomic::null()).into_owned() });
    }
}

/// The management side: publishes values and frees old ones.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    /// Every generation that may still be in use, oldest first; the last one is current.
    live: Vec<(u64, Arc<T>)>,
}

impl<T: Send + Sync + 'static> Publisher<T> {
    /// Publishes the first value, as generation 1.
    pub fn new(first: Arc<T>) -> Self {
        let shared = Arc::new(Shared { current: Atomic::new(Arc::clone(&first)), generation: AtomicU64::new(1) });
        Self { shared, live: vec![(1, first)] }
    }

    /// A reader for one core.
    pub fn reader(&self) -> Reader<T> {
        self.subscription().reader()
    }

    /// Makes readers later and elsewhere: a core that restarts needs another one.
    pub fn subscription(&self) -> Subscription<T> {
        Subscription { shared: Arc::clone(&self.shared) }
    }

    /// Publishes `next` with one swap and returns its generation number.
    pub fn publish(&mut self, next: Arc<T>) -> u64 {
        let generation = self.generation() + 1;
        self.live.push((generation, Arc::clone(&next)));
        let guard = epoch::pin();
        // AcqRel: release pairs with the reader's acquire load, so it sees the tables built; acquire for the box we take out.
        let old = self.shared.current.swap(Owned::new(next), Ordering::AcqRel, &guard);
        // SAFETY: `old` was unlinked by the swap and never null; readers that still see it are pinned, which the epoch waits for.
        unsafe { guard.defer_destroy(old) };
        // Release: pairs with the acquire in `Reader::refresh`; whoever sees the number sees the pointer.
        self.shared.generation.store(generation, Ordering::Release);
        guard.flush();
        generation
    }

    /// The generation published last.
    pub fn generation(&self) -> u64 {
        self.live.last().map_or(0, |(generation, _)| *generation)
    }

    /// The value published last.
    pub fn current(&self) -> &Arc<T> {
        // `live` starts with one entry and `reclaim` keeps the last.
        &self.live[self.live.len() - 1].1
    }

    /// Frees the old generations that no core and no session holds any more; returns how many old ones are still held.
    /// Call it from time to time.
    pub fn reclaim(&mut self) -> usize {
        epoch::pin().flush();
        let current = self.generation();
        self.live.retain(|(generation, value)| *generation == current || Arc::strong_count(value) > 1);
        self.live.len() - 1
    }
}

/// The right to read. Holds no generation alive.
pub struct Subscription<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Subscription<T> {
    /// A reader that starts with the newest value.
    pub fn reader(&self) -> Reader<T> {
        let guard = epoch::pin();
        let (generation, current) = load(&self.shared, &guard);
        Reader { shared: Arc::clone(&self.shared), generation, current }
    }
}

/// A core's side.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    generation: u64,
    current: Arc<T>,
}

impl<T> Reader<T> {
    /// Takes the newest value; `true` when it is another one than before. One load when nothing has changed.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        // Acquire: pairs with the release in `Publisher::publish`.
        if self.shared.generation.load(Ordering::Acquire) == self.generation {
            return false;
        }
        let guard = epoch::pin();
        (self.generation, self.current) = load(&self.shared, &guard);
        true
    }

    /// The value taken last.
    #[inline]
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }

    /// Its generation number.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

fn load<T>(shared: &Shared<T>, guard: &epoch::Guard) -> (u64, Arc<T>) {
    // The number is read first: should a publication come in between, we hold the newer value under the older number and
    // take it once more at the next turn. The other order could miss it.
    let generation = shared.generation.load(Ordering::Acquire);
    let current = shared.current.load(Ordering::Acquire, guard);
    // SAFETY: never null, and the pin keeps it from being destroyed until `guard` is dropped.
    (generation, Arc::clone(unsafe { current.deref() }))
}

#[cfg(all(test, not(loom)))]
#[expect(clippy::disallowed_methods, reason = "tests may start threads, look at the clock and sleep")]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_the_newest_once() {
        let mut publisher = Publisher::new(Arc::new(1));
        let mut reader = publisher.reader();
        assert!(!reader.refresh());
        publisher.publish(Arc::new(2));
        assert_eq!(publisher.publish(Arc::new(3)), 3);
        assert!(reader.refresh());
        assert_eq!((**reader.current(), reader.generation()), (3, 3));
        assert!(!reader.refresh());
    }

    #[test]
    fn the_writer_frees_what_nobody_holds() {
        let mut publisher = Publisher::new(Arc::new(1));
        let mut reader = publisher.reader();
        let session = Arc::clone(reader.current());
        let weak = Arc::downgrade(&session);
        publisher.publish(Arc::new(2));
        reader.refresh();
        assert_eq!(publisher.reclaim(), 1, "a session still holds generation 1");
        drop(session);
        // The epoch frees its own clone after all pins have moved on.
        let freed = (0..10_000).any(|_| publisher.reclaim() == 0);
        assert!(freed && weak.upgrade().is_none());
    }

    #[test]
    fn readers_on_other_threads_only_see_newer_values() {
        let mut publisher = Publisher::new(Arc::new(0u64));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = publisher.reader();
                std::thread::spawn(move || {
                    let mut last = 0;
                    while last < 1_000 {
                        reader.refresh();
                        assert!(**reader.current() >= last);
                        last = **reader.current();
                    }
                })
            })
            .collect();
        for value in 1..=1_000 {
            publisher.publish(Arc::new(value));
            publisher.reclaim();
        }
        for reader in readers {
            reader.join().unwrap();
        }
    }
}
