//! IPv6 prefixes to next hops: a path-compressed poptrie (Asai and Ohara 2015) below a direct table of the first 16 bits.
//!
//! A branch answers six bits. Two bit maps of 64 say which of its values lead further and where runs of equal leaves begin; its records
//! and leaves lie side by side, found by counting bits. Where all prefixes below a place have more bits in common than a
//! branch answers, or there is only one, a record compares all of these bits at once: a sparse table, such as one of customers' /48
//! all over the unicast space, costs a branch and a comparison instead of a branch for every six bits. A record takes half a cache
//! line, whatever it leads to. The default route is kept beside all this.
//!
//! A [`Fib6`] is one version and never changes; [`Rib6`](super::rib6::Rib6) makes the next one, which shares with it what is equal
//! (docs/adr/0008).

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use ipnet::Ipv6Net;

use super::{paged::Paged, pool::Held, rib6::Rib6, table::NO_ROUTE};
use crate::io::{heap::Cells, prefetch};

/// Bits answered by the direct table.
pub(super) const DIRECT: u32 = 16;
/// Bits answered by a branch.
pub(super) const STRIDE: u32 = 6;
/// Marks an entry that names a record; the others are the index of a next hop and the length of the prefix that says so, 0 for none.
pub(super) const RECORD: u32 = 1 << 31;
/// Where the length begins; the next hop is below.
const LENGTH: u32 = 23;

/// What the trie says for addresses whose longest prefix is this one.
pub(super) fn entry(net: Ipv6Net, hop: u32) -> u32 {
    u32::from(net.prefix_len()) << LENGTH | hop
}

/// A prefix and the index of its next hop.
pub type Entry6 = (Ipv6Net, u32);

/// One step of a look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record {
    /// Answers [`STRIDE`] bits.
    Branch {
        /// Values that lead to a record.
        children: u64,
        /// Values at which a run of equal leaves begins; values with a child do not count.
        runs: u64,
        first_child: u32,
        first_leaf: u32,
        /// Bits before those that it answers.
        depth: u8,
    },
    /// Compares an address with what all prefixes below have in common.
    Shared {
        prefix: u128,
        /// Bits compared: 1 to 128.
        len: u8,
        /// The entry for addresses that have them.
        within: u32,
        /// The entry for the others.
        beside: u32,
    },
}

/// Records as four words: two to a cache line, and none across two. The last word is the depth of a branch, or [`SHARED`] and a length.
pub(super) type Words = [AtomicU64; 4];
const SHARED: u64 = 1 << 8;

/// Longest-prefix match for IPv6. Immutable.
#[derive(Debug)]
pub struct Fib6 {
    pub(super) direct: Paged,
    pub(super) records: Cells<Words>,
    pub(super) leaves: Cells<AtomicU32>,
    pub(super) default: u32,
    pub(super) len: usize,
    pub(super) bytes: usize,
    pub(super) _held: Arc<Held>,
}

impl Fib6 {
    /// Of prefixes, each once.
    pub fn new(entries: Vec<Entry6>) -> Arc<Self> {
        let mut rib = Rib6::default();
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
    pub fn lookup(&self, address: u128) -> u32 {
        let mut entry = self.direct.load((address >> (128 - DIRECT)) as u32);
        while entry & RECORD != 0 {
            entry = self.step(entry, address);
        }
        self.hop(entry)
    }

    #[inline]
    fn hop(&self, entry: u32) -> u32 {
        if entry == NO_ROUTE { self.default } else { entry & ((1 << LENGTH) - 1) }
    }

    /// The longest prefix that contains `address`, and its next hop: for people.
    pub fn matched(&self, address: u128) -> Option<Entry6> {
        let mut entry = self.direct.load((address >> (128 - DIRECT)) as u32);
        while entry & RECORD != 0 {
            entry = self.step(entry, address);
        }
        let net = Ipv6Net::new(address.into(), (entry >> LENGTH) as u8).ok()?;
        Some((net.trunc(), self.hop(entry))).filter(|(_, hop)| *hop != NO_ROUTE)
    }

    /// [`Fib6::lookup`] for many, a step at a time: in a large table each step is a cache miss, and so those of different
    /// addresses are waited for together.
    #[inline]
    pub fn lookup_many(&self, addresses: &[u128], next_hops: &mut [u32]) {
        let mut open = false;
        for (address, entry) in addresses.iter().zip(next_hops.iter_mut()) {
            *entry = self.direct.load((*address >> (128 - DIRECT)) as u32);
            open |= *entry & RECORD != 0;
            self.prefetch(*entry);
        }
        while open {
            open = false;
            for (address, entry) in addresses.iter().zip(next_hops.iter_mut()) {
                if *entry & RECORD != 0 {
                    *entry = self.step(*entry, *address);
                    open |= *entry & RECORD != 0;
                    // For the next round.
                    self.prefetch(*entry);
                }
            }
        }
        for entry in next_hops {
            *entry = self.hop(*entry);
        }
    }

    /// Asks for the record that an entry names. What is no record's place may be no memory at all, and then the processor would look
    /// through all page tables for it: it asks for the first record instead.
    #[inline]
    fn prefetch(&self, entry: u32) {
        let at = if entry & RECORD == 0 { 0 } else { entry & !RECORD };
        prefetch::element(&self.records, at as usize);
    }

    /// From a record to the entry it leads to. As [`decode`], but no more is loaded than the kind of record needs.
    #[inline(always)]
    fn step(&self, entry: u32, address: u128) -> u32 {
        let words = &self.records[(entry & !RECORD) as usize];
        // Relaxed: as in `Paged::at`.
        let [a, b, c, d] = words;
        let (kind, links) = (d.load(Relaxed), c.load(Relaxed));
        let (first, second) = (links as u32, (links >> 32) as u32);
        if kind & SHARED != 0 {
            let prefix = u128::from(a.load(Relaxed)) << 64 | u128::from(b.load(Relaxed));
            let differs = (address ^ prefix).wrapping_shr(128 - (kind as u32 & 0xff));
            return if differs == 0 { first } else { second };
        }
        let value = (address.wrapping_shl(kind as u32) >> (128 - STRIDE)) as u32;
        // The bits up to and including `value`.
        let upto = u64::MAX >> (63 - value);
        let children = a.load(Relaxed);
        if children >> value & 1 != 0 {
            return RECORD | (first + (children & upto).count_ones() - 1);
        }
        let leaf = second + (b.load(Relaxed) & upto).count_ones() - 1;
        self.leaves[leaf as usize].load(Relaxed)
    }
}

/// Reads a record.
pub(super) fn decode(words: &Words) -> Record {
    // Relaxed: as in `Paged::at`.
    let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| words[at].load(Relaxed));
    let (low, high) = (c as u32, (c >> 32) as u32);
    if d & SHARED != 0 {
        // 128 at most, so that the shift is never too far, whatever is there.
        let len = (d as u8).clamp(1, 128);
        Record::Shared { prefix: u128::from(a) << 64 | u128::from(b), len, within: low, beside: high }
    } else {
        Record::Branch { children: a, runs: b, first_child: low, first_leaf: high, depth: d as u8 & 127 }
    }
}

/// Writes a record.
pub(super) fn encode(record: Record, words: &Words) {
    let [a, b, low, high, d] = match record {
        Record::Branch { children, runs, first_child, first_leaf, depth } => {
            [children, runs, first_child.into(), first_leaf.into(), depth.into()]
        }
        Record::Shared { prefix, len, within, beside } => {
            [(prefix >> 64) as u64, prefix as u64, within.into(), beside.into(), SHARED | u64::from(len)]
        }
    };
    // Relaxed: made visible by the release with which the version is published.
    for (word, value) in words.iter().zip([a, b, low | high << 32, d]) {
        word.store(value, Relaxed);
    }
}
