//! IPv4 prefixes to next hops: DIR-24-8 (Gupta, Lin, McKeown 1998), or a 16-8-8 trie while there are few.
//!
//! Both are arrays indexed by address bits, and one entry format serves them: 0 is "nothing here", an entry with [`GROUP`] set
//! names a group of 256 entries for the next 8 bits, any other is the index of a next hop. DIR-24-8 answers with one memory access for
//! prefixes up to /24 and costs 64 MiB plus 1 KiB per /24 with longer ones; the trie costs 256 KiB plus 1 KiB per group, and one
//! access more. The default route is kept beside the arrays: written into them it would touch every page.

use ipnet::Ipv4Net;

use super::table::NO_ROUTE;
use crate::io::{heap, prefetch};

/// Marks an entry that names a group.
const GROUP: u32 = 1 << 31;
/// Prefixes above which DIR-24-8 pays: its 64 MiB are then mostly in use.
const LARGE: usize = 20_000;

/// A prefix and the index of its next hop.
pub type Entry4 = (Ipv4Net, u32);

/// Longest-prefix match for IPv4. Immutable.
#[derive(Debug)]
pub struct Fib4 {
    entries: Vec<Entry4>,
    /// Indexed by the first `32 - shift` bits.
    root: Vec<u32>,
    shift: u32,
    groups: Vec<u32>,
    default: u32,
}

impl Fib4 {
    /// Of prefixes sorted by address and length, each once.
    pub fn new(entries: Vec<Entry4>) -> Self {
        let shift = if entries.len() > LARGE { 8 } else { 16 };
        Self::with_shift(entries, shift)
    }

    fn with_shift(entries: Vec<Entry4>, shift: u32) -> Self {
        debug_assert!(entries.is_sorted_by(|(a, _), (b, _)| key(a) < key(b)));
        // Only what is written takes memory, so that an almost empty root costs almost nothing.
        let root = heap::zeros_on_huge_pages(1 << (32 - shift));
        let mut fib = Self { entries: Vec::new(), root, shift, groups: Vec::new(), default: NO_ROUTE };
        // Sorted like this, a prefix comes before every more specific one within it, which then overwrites its part.
        for (net, next_hop) in &entries {
            fib.insert(net.addr().to_bits(), u32::from(net.prefix_len()), *next_hop);
        }
        fib.groups = heap::on_huge_pages(fib.groups);
        fib.entries = entries;
        fib
    }

    /// The prefixes it was made of.
    pub fn entries(&self) -> &[Entry4] {
        &self.entries
    }

    /// Bytes of address space it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.root) + size_of_val(&*self.groups) + size_of_val(&*self.entries)
    }

    /// The next hop of the longest prefix that contains `address`.
    #[inline]
    pub fn lookup(&self, address: u32) -> u32 {
        let mut entry = self.root[(address >> self.shift) as usize];
        let mut shift = self.shift;
        while entry & GROUP != 0 {
            shift -= 8;
            entry = self.groups[((entry & !GROUP) << 8 | (address >> shift) & 0xff) as usize];
        }
        if entry == NO_ROUTE { self.default } else { entry }
    }

    /// Asks for the memory that [`Fib4::lookup`] of `address` reads first, so that it is there when the packet gets to it.
    #[inline]
    pub fn prefetch(&self, address: u32) {
        prefetch::element(&self.root, (address >> self.shift) as usize);
    }

    /// [`Fib4::lookup`] for many: the loads of different addresses do not wait for each other.
    #[inline]
    pub fn lookup_many(&self, addresses: &[u32], next_hops: &mut [u32]) {
        for (address, next_hop) in addresses.iter().zip(next_hops.iter_mut()) {
            *next_hop = self.root[(address >> self.shift) as usize];
        }
        for (address, next_hop) in addresses.iter().zip(next_hops.iter_mut()) {
            let mut shift = self.shift;
            while *next_hop & GROUP != 0 {
                shift -= 8;
                *next_hop = self.groups[((*next_hop & !GROUP) << 8 | (address >> shift) & 0xff) as usize];
            }
            if *next_hop == NO_ROUTE {
                *next_hop = self.default;
            }
        }
    }

    fn insert(&mut self, address: u32, len: u32, next_hop: u32) {
        if len == 0 {
            self.default = next_hop;
            return;
        }
        let at = (address >> self.shift) as usize;
        if len <= 32 - self.shift {
            let span = 1 << (32 - self.shift - len);
            self.root[at..at + span].fill(next_hop);
            return;
        }
        let mut group = match self.root[at] {
            entry if entry & GROUP != 0 => entry & !GROUP,
            entry => {
                self.root[at] = self.groups.len() as u32 >> 8 | GROUP;
                self.open_group(entry)
            }
        };
        let mut shift = self.shift - 8;
        loop {
            let at = (group << 8 | (address >> shift) & 0xff) as usize;
            if len <= 32 - shift {
                let span = 1 << (32 - shift - len);
                self.groups[at..at + span].fill(next_hop);
                return;
            }
            group = match self.groups[at] {
                entry if entry & GROUP != 0 => entry & !GROUP,
                entry => {
                    self.groups[at] = self.groups.len() as u32 >> 8 | GROUP;
                    self.open_group(entry)
                }
            };
            shift -= 8;
        }
    }

    /// Appends a group that inherits `entry` everywhere.
    fn open_group(&mut self, entry: u32) -> u32 {
        let group = self.groups.len() as u32 >> 8;
        self.groups.resize(self.groups.len() + 256, entry);
        group
    }
}

/// The order in which prefixes are inserted.
pub(super) fn key(net: &Ipv4Net) -> (u32, u8) {
    (net.addr().to_bits(), net.prefix_len())
}

#[cfg(test)]
mod tests {
    use prefix_trie::PrefixMap;
    use proptest::prelude::*;

    use super::*;

    fn sorted(routes: &[(u32, u8, u32)]) -> Vec<Entry4> {
        let net = |bits: u32, len: u8| Ipv4Net::new(bits.into(), len).unwrap().trunc();
        let mut entries: Vec<_> = routes.iter().map(|(bits, len, hop)| (net(*bits, *len), *hop)).collect();
        entries.sort_by_key(|(net, _)| key(net));
        entries.dedup_by_key(|(net, _)| *net);
        entries
    }

    fn agrees(entries: &[Entry4], probes: &[u32], shift: u32) {
        let oracle: PrefixMap<Ipv4Net, u32> = entries.iter().copied().collect();
        let fib = Fib4::with_shift(entries.to_vec(), shift);
        // The ends of each prefix and their neighbours are where an off-by-one shows.
        let ends = entries.iter().flat_map(|(net, _)| {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
        });
        let all: Vec<u32> = ends.chain(probes.iter().copied()).collect();
        let mut many = vec![0; all.len()];
        fib.lookup_many(&all, &mut many);
        for (address, many) in all.iter().zip(many) {
            let host = Ipv4Net::new((*address).into(), 32).unwrap();
            let expected = oracle.get_lpm(&host).map_or(NO_ROUTE, |(_, hop)| *hop);
            assert_eq!(fib.lookup(*address), expected, "{host} with {entries:?}");
            assert_eq!(many, expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_the_oracle(
            routes in prop::collection::vec((prop_oneof![any::<u32>(), 0x0a00_0000u32..0x0a01_0000], 0u8..=32, 1u32..1000), 0..80),
            probes in prop::collection::vec(prop_oneof![any::<u32>(), 0x0a00_0000u32..0x0a01_0000], 0..40),
        ) {
            agrees(&sorted(&routes), &probes, 16);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]
        #[test]
        fn agrees_with_the_oracle_when_large(
            // Short prefixes touch megabytes of the root: /12 is as short as these tests go.
            routes in prop::collection::vec((any::<u32>(), 12u8..=32, 1u32..1000), 0..300),
            probes in prop::collection::vec(any::<u32>(), 0..40),
        ) {
            agrees(&sorted(&routes), &probes, 8);
        }
    }

    #[test]
    fn the_shape_follows_the_size() {
        assert!(Fib4::new(Vec::new()).bytes() < 300 << 10);
        let many: Vec<_> = (0..=LARGE as u32).map(|i| (i << 8, 24, 1 + i % 7)).collect();
        let fib = Fib4::new(sorted(&many));
        assert!(fib.bytes() >= 64 << 20);
        assert_eq!(fib.lookup(5 << 8 | 9), 1 + 5);
    }
}
