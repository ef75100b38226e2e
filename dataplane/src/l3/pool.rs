//! Places in memory that versions of a table share: handed out by the one writer, taken back when no version has them any more.
//!
//! The writer changes a place only while no version that was published has it; else it writes a copy elsewhere and retires the old
//! place. A version is the set of places that were in use when it was published, so a retired place belongs to the versions from the
//! one it was first in to the last before it was retired. It is used again when all of these are gone: also while an older version
//! is held for hours, by a download or by a core that sleeps.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Places of the powers of two up to 64 units.
const CLASSES: usize = 7;

/// Which versions are still held by somebody.
#[derive(Debug)]
pub(super) struct Versions {
    /// The one being written.
    current: u64,
    /// Those published, oldest first, each with what its holders keep.
    live: Vec<(u64, Arc<Held>)>,
}

/// Kept by whoever reads a version.
#[derive(Debug)]
pub(super) struct Held;

impl Versions {
    pub(super) fn new() -> Self {
        Self { current: 1, live: Vec::new() }
    }

    /// The number of the version being written.
    pub(super) fn current(&self) -> u64 {
        self.current
    }

    /// The version being written is published, to be kept by its readers; the next one begins. Returns those that are over.
    pub(super) fn publish(&mut self) -> Arc<Held> {
        let held = Arc::new(Held);
        self.live.push((self.current, Arc::clone(&held)));
        self.current += 1;
        held
    }

    /// Forgets versions that nobody holds. After this the writer may overwrite what only they had: `get_mut` is an acquire that pairs
    /// with the release by which the last reader let go, so every read of that reader comes before every write that follows.
    pub(super) fn forget(&mut self) {
        self.live.retain_mut(|(_, held)| Arc::get_mut(held).is_none());
    }

    /// The newest published version from `born` on and before `died`.
    fn newest(&self, born: u64, died: u64) -> Option<u64> {
        let before = self.live.partition_point(|(version, _)| *version < died);
        self.live[..before].last().map(|(version, _)| *version).filter(|version| *version >= born)
    }
}

/// A place that is no longer in use by the version being written.
#[derive(Clone, Copy, Debug)]
struct Retired {
    at: u32,
    class: u8,
    born: u64,
    died: u64,
}

/// The places of one block of memory.
#[derive(Debug)]
pub(super) struct Pool {
    /// First unit that was never used.
    next: u32,
    end: u32,
    free: [Vec<u32>; CLASSES],
    /// Version in which the place that begins here was handed out, by its first unit.
    born: Vec<u64>,
    /// By a version that has them.
    retired: BTreeMap<u64, Vec<Retired>>,
}

impl Pool {
    /// Places in a block of `units`.
    pub(super) fn new(units: usize) -> Self {
        let end = u32::try_from(units).unwrap_or(u32::MAX);
        Self { next: 0, end, free: Default::default(), born: Vec::new(), retired: BTreeMap::new() }
    }

    /// A place of `units` (1 to 64; rounded up to a power of two); `None` when there is no room left.
    pub(super) fn take(&mut self, units: u32, versions: &Versions) -> Option<u32> {
        let class = class(units);
        let at = match self.free[class].pop() {
            Some(at) => at,
            None => {
                let (at, size) = (self.next, 1 << class);
                if self.end - at < size {
                    return None;
                }
                self.next += size;
                self.born.resize(self.next as usize, 0);
                at
            }
        };
        self.born[at as usize] = versions.current();
        Some(at)
    }

    /// Whether no published version has the place, so that it may be written.
    #[inline]
    pub(super) fn is_new(&self, at: u32, versions: &Versions) -> bool {
        self.born[at as usize] == versions.current()
    }

    /// The version being written does without the place of `units` at `at`.
    pub(super) fn retire(&mut self, at: u32, units: u32, versions: &Versions) {
        let (class, born, died) = (class(units), self.born[at as usize], versions.current());
        self.keep_or_free(Retired { at, class: class as u8, born, died }, versions);
    }

    /// Takes back what only forgotten versions had.
    pub(super) fn reclaim(&mut self, versions: &Versions) {
        // In order: the keys are versions that are either live or were forgotten.
        let live = |version: &u64| versions.live.binary_search_by_key(version, |(live, _)| *live).is_ok();
        let gone: Vec<u64> = self.retired.keys().copied().filter(|version| !live(version)).collect();
        for places in gone.iter().filter_map(|version| self.retired.remove(version)).collect::<Vec<_>>() {
            for place in places {
                self.keep_or_free(place, versions);
            }
        }
    }

    /// Units that are or have been in use.
    pub(super) fn used(&self) -> usize {
        self.next as usize
    }

    fn keep_or_free(&mut self, place: Retired, versions: &Versions) {
        match versions.newest(place.born, place.died) {
            Some(version) => self.retired.entry(version).or_default().push(place),
            None => self.free[usize::from(place.class)].push(place.at),
        }
    }
}

fn class(units: u32) -> usize {
    units.next_power_of_two().trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Places written by one version are never handed out while somebody holds a version that has them, and come back afterwards.
        #[test]
        fn nobodys_place_is_handed_out(ops in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), 1u32..=64), 1..200)) {
            let (mut versions, mut pool) = (Versions::new(), Pool::new(4096));
            type Used = Vec<(u32, u32)>;
            let mut used = Used::new();
            let mut readers: Vec<(Arc<Held>, Used)> = Vec::new();
            for (op, which, units) in ops {
                match op {
                    0 => if let Some(at) = pool.take(units, &versions) {
                        let size = units.next_power_of_two();
                        let others = readers.iter().flat_map(|(_, used)| used).chain(&used);
                        for (other, other_units) in others {
                            prop_assert!(at + size <= *other || other + other_units.next_power_of_two() <= at);
                        }
                        prop_assert!(pool.is_new(at, &versions));
                        used.push((at, units));
                    },
                    1 if !used.is_empty() => {
                        let (at, units) = used.swap_remove(which.index(used.len()));
                        pool.retire(at, units, &versions);
                    }
                    2 => {
                        readers.push((versions.publish(), used.clone()));
                        prop_assert!(used.iter().all(|(at, _)| !pool.is_new(*at, &versions)));
                    }
                    _ if !readers.is_empty() => {
                        readers.swap_remove(which.index(readers.len()));
                        versions.forget();
                        pool.reclaim(&versions);
                    }
                    _ => {}
                }
            }
            readers.clear();
            used.drain(..).for_each(|(at, units)| pool.retire(at, units, &versions));
            versions.forget();
            pool.reclaim(&versions);
            prop_assert!(pool.retired.is_empty());
            let free: usize = pool.free.iter().enumerate().map(|(class, places)| places.len() << class).sum();
            prop_assert_eq!(free, pool.used());
        }
    }
}
