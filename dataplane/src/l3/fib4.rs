//! IPv4 prefixes to next hops: DIR-24-8 (Gupta, Lin, McKeown 1998), or a 16-8-8 trie while there are few.
//!
//! Both are arrays indexed by address bits, and one entry format serves them: 0 is "nothing here", an entry with [`GROUP`] set
//! names a group of 256 entries for the next 8 bits, any other is the index of a next hop and the length of the prefix that says so.
//! DIR-24-8 answers with one memory access beside that for the place of the page, which stays in the first cache, for prefixes up to
//! /24, and costs 64 MiB plus 1 KiB per /24 with longer ones; the trie costs 256 KiB plus 1 KiB per group, and one access more. The
//! default route is kept beside the arrays: written into them it would touch every page.
//!
//! A [`Fib4`] is one version and never changes; [`Rib4`](super::rib4::Rib4) makes the next one, which shares with it what is equal
//! (docs/adr/0008).

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::{paged::Paged, pool::Held, rib4::Rib4, table::NO_ROUTE};
use crate::io::{heap::Cells, prefetch};

/// Marks an entry that names a group.
pub(super) const GROUP: u32 = 1 << 31;
/// Where the length of the prefix begins in other entries; its next hop is below.
pub(super) const LENGTH: u32 = 25;
/// The bits of an entry that are the index of a next hop.
pub(super) const HOP: u32 = (1 << LENGTH) - 1;

/// Bits that the root of a large table leaves to groups.
pub(super) const BELOW_24: u32 = 8;
/// Bits that the root of a small one leaves to them.
pub(super) const BELOW_16: u32 = 16;

/// A prefix and the index of its next hop.
pub type Entry4 = (Ipv4Net, u32);

/// Longest-prefix match for IPv4. Immutable.
#[derive(Debug)]
pub struct Fib4 {
    /// Indexed by the first `32 - shift` bits.
    pub(super) root: Paged,
    /// [`BELOW_24`] or [`BELOW_16`].
    pub(super) shift: u32,
    pub(super) groups: Cells<AtomicU32>,
    pub(super) default: u32,
    pub(super) len: usize,
    pub(super) bytes: usize,
    pub(super) _held: Arc<Held>,
}

/// Where the look-up of an address begins, found ahead of it.
#[derive(Clone, Copy, Debug)]
pub struct Slot4(u32);

/// Where it goes on, for an address that prefixes longer than those of the first cell have something to say about.
#[derive(Clone, Copy, Debug)]
pub struct Group4(u32);

impl Fib4 {
    /// Of prefixes, each once.
    pub fn new(entries: Vec<Entry4>) -> Arc<Self> {
        let mut rib = Rib4::default();
        rib.extend(entries);
        rib.publish()
    }

    /// Prefixes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no prefix.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory it takes, with what it shares with other versions.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next hop of the longest prefix that contains `address`.
    #[inline]
    pub fn lookup(&self, address: u32) -> u32 {
        self.lookup_at(Slot4(self.root.slot(address >> self.shift)), || address)
    }

    /// Where the look-up of `address` begins.
    #[inline]
    pub fn slot(&self, address: u32) -> Slot4 {
        Slot4(self.root.slot(address >> self.shift))
    }

    /// Asks for the memory that the look-up of `address` reads first, so that it is there when the packet gets to it; where that is.
    #[inline]
    pub fn prefetch(&self, address: u32) -> Slot4 {
        let slot = self.slot(address);
        self.prefetch_at(slot);
        slot
    }

    /// [`Fib4::prefetch`] of the address whose look-up begins there.
    #[inline]
    pub fn prefetch_at(&self, slot: Slot4) {
        self.root.prefetch(slot.0);
    }

    /// [`Fib4::lookup`] where [`Fib4::prefetch`] of the same version said; the address is asked for only if a longer prefix matters.
    #[inline]
    pub fn lookup_at(&self, slot: Slot4, address: impl Fn() -> u32) -> u32 {
        self.lookup_first(slot, &address).unwrap_or_else(|group| self.lookup_in(group, address()))
    }

    /// The first step of [`Fib4::lookup_at`].
    ///
    /// # Errors
    /// A longer prefix matters: what [`Fib4::lookup_in`] will read has been asked for.
    #[inline]
    pub fn lookup_first(&self, slot: Slot4, address: impl FnOnce() -> u32) -> Result<u32, Group4> {
        let entry = self.root.at(slot.0);
        if entry & GROUP == 0 {
            return Ok(self.hop(entry));
        }
        if self.shift != BELOW_24 {
            // A small table is in the cache.
            return Ok(self.hop(self.below(entry, address())));
        }
        prefetch::element(&self.groups, Self::cell(entry, address()));
        Err(Group4(entry))
    }

    /// The rest of it.
    #[inline]
    pub fn lookup_in(&self, group: Group4, address: u32) -> u32 {
        self.hop(self.below(group.0, address))
    }

    #[inline]
    const fn hop(&self, entry: u32) -> u32 {
        if entry == NO_ROUTE { self.default } else { entry & HOP }
    }

    /// Where in a group the last eight of these bits lead.
    #[inline]
    const fn cell(group: u32, bits: u32) -> usize {
        ((group & !GROUP) << 8 | bits & 0xff) as usize
    }

    /// From an entry that names a group to the one that does not.
    #[inline]
    fn below(&self, mut entry: u32, address: u32) -> u32 {
        let mut shift = self.shift;
        while entry & GROUP != 0 {
            shift -= 8;
            // Relaxed: as in `Paged::at`.
            entry = self.groups[Self::cell(entry, address >> shift)].load(Relaxed);
        }
        entry
    }

    /// [`Fib4::lookup`] for many: the loads of different addresses do not wait for each other. It serves benches and tests: stages have
    /// [`Fib4::prefetch`] called for a whole batch before they look up.
    #[inline]
    pub fn lookup_many(&self, addresses: &[u32], next_hops: &mut [u32]) {
        for (address, next_hop) in addresses.iter().zip(next_hops.iter_mut()) {
            *next_hop = self.root.load(*address >> self.shift);
        }
        for (address, next_hop) in addresses.iter().zip(next_hops.iter_mut()) {
            *next_hop = self.hop(self.below(*next_hop, *address));
        }
    }

    /// The next hop of what no prefix contains but the shortest.
    pub(super) const fn default_hop(&self) -> u32 {
        self.default
    }

    /// The numbers of the pages of the root.
    pub(super) fn pages(&self) -> core::ops::Range<u32> {
        0..self.root.pages()
    }

    /// The pages that are not as in another version: all below them is equal in the others. `None` if they have nothing in common.
    pub(super) fn changed_since(&self, other: &Self) -> Option<Vec<u32>> {
        self.root.changed_since(&other.root)
    }

    /// What lies in a page of the root, as numbers for [`Self::blocks`].
    pub(super) fn words(&self, page: u32) -> core::ops::Range<u32> {
        let cells = Paged::cells_of(page);
        let words = |cell: u32| cell << (self.shift - BELOW_24) >> 5;
        words(cells.start)..words(cells.end)
    }

    /// A bit for each of 32 neighbouring /24s, by the first 19 bits of their addresses, lowest first: whether `passes` holds for all entries
    /// that addresses in it lead to.
    pub(super) fn blocks(&self, word: u32, passes: impl Fn(u32) -> bool) -> u32 {
        let first = word << 5;
        let whole = |entry: u32| match entry & GROUP {
            0 => passes(entry),
            _ => (0..256).all(|last| passes(self.groups[Self::cell(entry, last)].load(Relaxed))),
        };
        let bits = |entry: &dyn Fn(u32) -> u32| (0..32).fold(0, |bits, at| bits | u32::from(whole(entry(at))) << at);
        if self.shift == BELOW_24 {
            let slot = self.root.slot(first);
            return bits(&|at| self.root.at(slot + at));
        }
        let entry = self.root.load(first >> (BELOW_16 - BELOW_24));
        if entry & GROUP == 0 {
            return if passes(entry) { u32::MAX } else { 0 };
        }
        bits(&|at| self.groups[Self::cell(entry, first + at)].load(Relaxed))
    }

    /// The longest prefix that contains `address`, and its next hop: for people.
    pub fn matched(&self, address: u32) -> Option<Entry4> {
        let entry = self.below(self.root.load(address >> self.shift), address);
        let (len, hop) = if entry == NO_ROUTE { (0, self.default) } else { (entry >> LENGTH, entry & HOP) };
        let net = Ipv4Net::new(address.into(), len as u8).ok()?;
        (hop != NO_ROUTE).then_some((net.trunc(), hop))
    }
}

impl Slot4 {
    /// As a number, to be kept with a packet.
    #[inline]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// From [`Slot4::to_bits`].
    #[inline]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}
