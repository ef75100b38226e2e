//! IPv6 prefixes to next hops: a path-compressed poptrie (Asai and Ohara 2015) below a direct table of the first 16 bits.
//!
//! A branch answers six bits. Two bit maps of 64 say which of its values lead further and where runs of equal leaves begin; records
//! and leaves lie in arrays without gaps, found by counting bits. Where all prefixes below a place have more bits in common than a
//! branch answers, or there is only one, a record compares all of these bits at once: a sparse table, such as one of customers' /48
//! all over the unicast space, costs a branch and a comparison instead of a branch for every six bits. A record takes half a cache
//! line, whatever it leads to.

use ipnet::Ipv6Net;

use super::table::NO_ROUTE;
use crate::io::{heap, prefetch};

/// Bits answered by the direct table.
const DIRECT: u32 = 16;
/// Bits answered by a branch.
const STRIDE: u32 = 6;
/// Marks an entry that names a record; the others are indices of next hops.
const RECORD: u32 = 1 << 31;

/// A prefix and the index of its next hop.
pub type Entry6 = (Ipv6Net, u32);

/// One step of a look-up.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
enum Record {
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

/// Two to a cache line, and none across two.
const _: () = assert!(size_of::<Record>() == 32);

/// Longest-prefix match for IPv6. Immutable.
#[derive(Debug)]
pub struct Fib6 {
    entries: Vec<Entry6>,
    direct: Box<[u32]>,
    records: Vec<Record>,
    leaves: Vec<u32>,
}

impl Fib6 {
    /// Of prefixes sorted by address and length, each once.
    pub fn new(entries: Vec<Entry6>) -> Self {
        debug_assert!(entries.is_sorted_by(|(a, _), (b, _)| key(a) < key(b)));
        let direct = vec![NO_ROUTE; 1 << DIRECT].into_boxed_slice();
        let mut fib = Self { entries: Vec::new(), direct, records: Vec::new(), leaves: Vec::new() };
        for (net, next_hop) in &entries {
            let len = u32::from(net.prefix_len());
            if len <= DIRECT {
                let at = (net.addr().to_bits() >> (128 - DIRECT)) as usize;
                fib.direct[at..at + (1 << (DIRECT - len))].fill(*next_hop);
            }
        }
        for group in entries.chunk_by(|(a, _), (b, _)| head(a) == head(b)) {
            let Some((first, _)) = group.last() else { continue };
            if group.iter().any(|(net, _)| u32::from(net.prefix_len()) > DIRECT) {
                let at = head(first);
                let record = fib.open(1);
                let inherited = core::mem::replace(&mut fib.direct[at], RECORD | record as u32);
                fib.write(record, group, DIRECT, inherited);
            }
        }
        fib.records = heap::on_huge_pages(fib.records);
        fib.leaves = heap::on_huge_pages(fib.leaves);
        fib.entries = entries;
        fib
    }

    /// The prefixes it was made of.
    pub fn entries(&self) -> &[Entry6] {
        &self.entries
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.direct)
            + size_of_val(&*self.records)
            + size_of_val(&*self.leaves)
            + size_of_val(&*self.entries)
    }

    /// The next hop of the longest prefix that contains `address`.
    #[inline]
    pub fn lookup(&self, address: u128) -> u32 {
        let mut entry = self.direct[(address >> (128 - DIRECT)) as usize];
        while entry & RECORD != 0 {
            entry = self.step(entry, address);
        }
        entry
    }

    /// [`Fib6::lookup`] for many, a step at a time: in a large table each step is a cache miss, and so those of different
    /// addresses are waited for together.
    #[inline]
    pub fn lookup_many(&self, addresses: &[u128], next_hops: &mut [u32]) {
        let mut open = false;
        for (address, entry) in addresses.iter().zip(next_hops.iter_mut()) {
            *entry = self.direct[(address >> (128 - DIRECT)) as usize];
            open |= *entry & RECORD != 0;
            prefetch::element(&self.records, (*entry & !RECORD) as usize);
        }
        while open {
            open = false;
            for (address, entry) in addresses.iter().zip(next_hops.iter_mut()) {
                if *entry & RECORD != 0 {
                    *entry = self.step(*entry, *address);
                    open |= *entry & RECORD != 0;
                    // For the next round; for a leaf it asks for nothing that anybody needs.
                    prefetch::element(&self.records, (*entry & !RECORD) as usize);
                }
            }
        }
    }

    /// From a record to the entry it leads to.
    #[inline]
    fn step(&self, entry: u32, address: u128) -> u32 {
        match self.records[(entry & !RECORD) as usize] {
            Record::Shared { prefix, len, within, beside } => {
                if (address ^ prefix) >> (128 - len) == 0 {
                    within
                } else {
                    beside
                }
            }
            Record::Branch { children, runs, first_child, first_leaf, depth } => {
                let value = ((address << depth) >> (128 - STRIDE)) as u32;
                // The bits up to and including `value`.
                let upto = u64::MAX >> (63 - value);
                if children >> value & 1 == 0 {
                    return self.leaves[(first_leaf + (runs & upto).count_ones() - 1) as usize];
                }
                RECORD | (first_child + (children & upto).count_ones() - 1)
            }
        }
    }

    /// Makes room for `count` records; the place of the first.
    fn open(&mut self, count: usize) -> usize {
        let first = self.records.len();
        let unwritten = Record::Shared { prefix: 0, len: 128, within: NO_ROUTE, beside: NO_ROUTE };
        self.records.resize(first + count, unwritten);
        first
    }

    /// Writes record `at`, which answers bits after `depth` for those prefixes of `group` that are longer; where none of them applies,
    /// `inherited` does. There is at least one.
    fn write(&mut self, at: usize, group: &[Entry6], depth: u32, inherited: u32) {
        let mut longer = group.iter().filter(|(net, _)| u32::from(net.prefix_len()) > depth);
        let Some((first, next_hop)) = longer.next() else { return };
        let prefix = first.addr().to_bits();
        // They are sorted: what the first and the last have in common, all have.
        let (shortest, last) = longer.fold((first.prefix_len(), None), |(shortest, _), (net, _)| {
            (shortest.min(net.prefix_len()), Some(net.addr().to_bits()))
        });
        let common = last.map_or(128, |last| (prefix ^ last).leading_zeros()).min(u32::from(shortest));
        if last.is_some() && common < depth + STRIDE {
            return self.write_branch(at, group, depth, inherited);
        }
        let own = if u32::from(first.prefix_len()) == common { *next_hop } else { inherited };
        let mut within = own;
        if last.is_some() {
            let below = self.open(1);
            within = RECORD | below as u32;
            self.write(below, group, common, own);
        }
        self.records[at] = Record::Shared { prefix, len: common as u8, within, beside: inherited };
    }

    fn write_branch(&mut self, at: usize, group: &[Entry6], depth: u32, inherited: u32) {
        let mut values = [inherited; 64];
        let mut children = 0u64;
        for (net, next_hop) in group {
            let len = u32::from(net.prefix_len());
            let value = value_at(net, depth);
            if len > depth + STRIDE {
                children |= 1 << value;
            } else if len > depth {
                values[value..value + (1 << (depth + STRIDE - len))].fill(*next_hop);
            }
        }
        let (mut runs, first_leaf, mut last) = (0, self.leaves.len() as u32, None);
        for (value, leaf) in values.iter().enumerate().filter(|(value, _)| children >> value & 1 == 0) {
            if last != Some(*leaf) {
                runs |= 1 << value;
                self.leaves.push(*leaf);
                last = Some(*leaf);
            }
        }
        let mut child = self.open(children.count_ones() as usize);
        self.records[at] = Record::Branch { children, runs, first_child: child as u32, first_leaf, depth: depth as u8 };
        for part in group.chunk_by(|(a, _), (b, _)| value_at(a, depth) == value_at(b, depth)) {
            let value = part.first().map_or(0, |(net, _)| value_at(net, depth));
            if children >> value & 1 == 1 {
                self.write(child, part, depth + STRIDE, values[value]);
                child += 1;
            }
        }
    }
}

/// The order in which prefixes are given.
pub(super) fn key(net: &Ipv6Net) -> (u128, u8) {
    (net.addr().to_bits(), net.prefix_len())
}

fn head(net: &Ipv6Net) -> usize {
    (net.addr().to_bits() >> (128 - DIRECT)) as usize
}

/// The six bits after `depth`; beyond the last bit there are zeros.
fn value_at(net: &Ipv6Net, depth: u32) -> usize {
    ((net.addr().to_bits() << depth) >> (128 - STRIDE)) as usize
}

#[cfg(test)]
mod tests {
    use prefix_trie::PrefixMap;
    use proptest::prelude::*;

    use super::*;

    fn sorted(routes: &[(u128, u8, u32)]) -> Vec<Entry6> {
        let net = |bits: u128, len: u8| Ipv6Net::new(bits.into(), len).unwrap().trunc();
        let mut entries: Vec<_> = routes.iter().map(|(bits, len, hop)| (net(*bits, *len), *hop)).collect();
        entries.sort_by_key(|(net, _)| key(net));
        entries.dedup_by_key(|(net, _)| *net);
        entries
    }

    /// Addresses that share many leading bits, so that prefixes nest.
    fn address() -> impl Strategy<Value = u128> {
        let dense = (0u128..4, 0u128..8, 0u128..8, 0u128..4)
            .prop_map(|(a, b, c, d)| 0x2001_0db8 << 96 | a << 94 | b << 77 | c << 61 | d);
        prop_oneof![any::<u128>(), dense]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn agrees_with_the_oracle(
            routes in prop::collection::vec((address(), 0u8..=128, 1u32..1000), 0..80),
            probes in prop::collection::vec(address(), 0..40),
        ) {
            let entries = sorted(&routes);
            let oracle: PrefixMap<Ipv6Net, u32> = entries.iter().copied().collect();
            let fib = Fib6::new(entries.clone());
            let ends = entries.iter().flat_map(|(net, _)| {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            let all: Vec<u128> = ends.chain(probes).collect();
            let mut many = vec![0; all.len()];
            fib.lookup_many(&all, &mut many);
            for (address, many) in all.into_iter().zip(many) {
                let host = Ipv6Net::new(address.into(), 128).unwrap();
                let expected = oracle.get_lpm(&host).map_or(NO_ROUTE, |(_, hop)| *hop);
                prop_assert_eq!(fib.lookup(address), expected, "{}", host);
                prop_assert_eq!(many, expected);
            }
        }
    }

    #[test]
    fn a_quarter_of_a_million_prefixes_fit_into_megabytes() {
        let routes: Vec<_> = (0..250_000u128)
            .map(|i| (0x2000 << 112 | (i.wrapping_mul(0x9e37_79b9) & 0xffff_ffff) << 80, 48, 1 + i as u32 % 64))
            .collect();
        let fib = Fib6::new(sorted(&routes));
        assert!(fib.bytes() < 40 << 20, "{} bytes", fib.bytes());
    }
}
