//! An array of numbers in versions: each is whole and never changes, and shares with the one before it all pages that are equal.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::pool::{Pool, Versions};
use crate::io::{heap::Cells, prefetch};

/// Cells of a page, as bits of an index: what a change of one cell copies (16 KiB, some microseconds).
const PAGE: u32 = 12;
/// Rooms for pages per page of the array: this version, the one before it, and what others still hold.
const ROOM: usize = 3;

/// A version.
#[derive(Clone, Debug)]
pub(super) struct Paged {
    cells: Cells<AtomicU32>,
    pages: Box<[u16]>,
}

impl Paged {
    /// Where the cell of an index is.
    #[inline]
    pub(super) fn slot(&self, index: u32) -> u32 {
        u32::from(self.pages[(index >> PAGE) as usize]) << PAGE | index & ((1 << PAGE) - 1)
    }

    /// What the cell at a slot holds.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> u32 {
        // Relaxed: written before the version was published, by whose pointer this reader came here; not written while it is held.
        self.cells[slot as usize].load(Relaxed)
    }

    /// What the cell of an index holds.
    #[inline]
    pub(super) fn load(&self, index: u32) -> u32 {
        self.at(self.slot(index))
    }

    /// How many there are.
    pub(super) fn pages(&self) -> u32 {
        self.pages.len() as u32
    }

    /// The indices of the cells of a page.
    pub(super) const fn cells_of(page: u32) -> core::ops::Range<u32> {
        page << PAGE..(page + 1) << PAGE
    }

    /// The pages that are not the same as those of another version, both of which are held; `None` if it is of another array.
    pub(super) fn changed_since(&self, other: &Self) -> Option<Vec<u32>> {
        let is_same = core::ptr::eq(&*self.cells, &*other.cells);
        let pairs = || self.pages.iter().zip(&other.pages);
        is_same.then(|| (0..).zip(pairs()).filter(|(_, (new, old))| new != old).map(|(page, _)| page).collect())
    }

    /// Asks for the cell at a slot.
    #[inline]
    pub(super) fn prefetch(&self, slot: u32) {
        prefetch::element(&self.cells, slot as usize);
    }
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Pages {
    version: Paged,
    pool: Pool,
}

impl Pages {
    /// `1 << bits` zeros; at least a page.
    pub(super) fn zeros(bits: u32, versions: &Versions) -> Self {
        let count = 1usize << bits.saturating_sub(PAGE);
        let mut pool = Pool::new(ROOM * count);
        let cells = Cells::zeros((ROOM * count) << PAGE);
        // There is room for three times as many.
        let pages = (0..count).map(|_| pool.take(1, versions).unwrap_or_default() as u16).collect();
        Self { version: Paged { cells, pages }, pool }
    }

    /// The version being written.
    pub(super) fn version(&self) -> &Paged {
        &self.version
    }

    /// Where the cell of an index can be written; `None` when there is no room for a copy of its page.
    pub(super) fn writable(&mut self, index: u32, versions: &Versions) -> Option<u32> {
        let page = &mut self.version.pages[(index >> PAGE) as usize];
        let old = u32::from(*page);
        if !self.pool.is_new(old, versions) {
            let new = self.pool.take(1, versions)?;
            let (from, to) = ((old << PAGE) as usize, (new << PAGE) as usize);
            for at in 0..1 << PAGE {
                self.version.cells[to + at].store(self.version.cells[from + at].load(Relaxed), Relaxed);
            }
            self.pool.retire(old, 1, versions);
            *page = new as u16;
        }
        Some(self.version.slot(index))
    }

    /// Writes the cell at a slot from [`Self::writable`].
    pub(super) fn store(&self, slot: u32, value: u32) {
        self.version.cells[slot as usize].store(value, Relaxed);
    }

    /// Takes back what only forgotten versions had.
    pub(super) fn reclaim(&mut self, versions: &Versions) {
        self.pool.reclaim(versions);
    }

    /// The end of the indices from `index` to `end` that are in one page.
    pub(super) fn run(index: u32, end: u32) -> u32 {
        end.min(((index >> PAGE) + 1) << PAGE)
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.version.pages) + (self.pool.used() << PAGE) * size_of::<u32>()
    }
}
