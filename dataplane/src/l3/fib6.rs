//! IPv6 prefixes to next hops: a poptrie (Asai and Ohara 2015) below a direct table of the first 16 bits.
//!
//! A node answers six bits. Two bit maps of 64 say which of its values lead to a child and where runs of equal leaves begin; children
//! and leaves lie in arrays without gaps, found by counting bits. A node takes 24 bytes, whatever it leads to.

use ipnet::Ipv6Net;

use super::table::NO_ROUTE;

/// Bits answered by the direct table.
const DIRECT: u32 = 16;
/// Bits answered by a node.
const STRIDE: u32 = 6;
/// Marks an entry of the direct table that names a node; the others are indices of next hops.
const NODE: u32 = 1 << 31;

/// A prefix and the index of its next hop.
pub type Entry6 = (Ipv6Net, u32);

#[derive(Clone, Copy, Default, Debug)]
struct Node {
    /// Values that lead to a child.
    children: u64,
    /// Values at which a run of equal leaves begins; values with a child do not count.
    runs: u64,
    first_child: u32,
    first_leaf: u32,
}

/// Longest-prefix match for IPv6. Immutable.
#[derive(Debug)]
pub struct Fib6 {
    entries: Vec<Entry6>,
    direct: Box<[u32]>,
    nodes: Vec<Node>,
    leaves: Vec<u32>,
}

impl Fib6 {
    /// Of prefixes sorted by address and length, each once.
    pub fn new(entries: Vec<Entry6>) -> Self {
        debug_assert!(entries.is_sorted_by(|(a, _), (b, _)| key(a) < key(b)));
        let direct = vec![NO_ROUTE; 1 << DIRECT].into_boxed_slice();
        let mut fib = Self { entries: Vec::new(), direct, nodes: Vec::new(), leaves: Vec::new() };
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
                let node = fib.nodes.len() as u32;
                fib.nodes.push(Node::default());
                let inherited = core::mem::replace(&mut fib.direct[at], NODE | node);
                fib.fill(node as usize, group, DIRECT, inherited);
            }
        }
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
            + size_of_val(&*self.nodes)
            + size_of_val(&*self.leaves)
            + size_of_val(&*self.entries)
    }

    /// The next hop of the longest prefix that contains `address`.
    #[inline]
    pub fn lookup(&self, address: u128) -> u32 {
        let mut entry = self.direct[(address >> (128 - DIRECT)) as usize];
        let mut depth = DIRECT;
        while entry & NODE != 0 {
            entry = self.step(entry, address, depth);
            depth += STRIDE;
        }
        entry
    }

    /// [`Fib6::lookup`] for many, a level at a time: in a large table each step is a cache miss, and so those of different
    /// addresses are waited for together.
    #[inline]
    pub fn lookup_many(&self, addresses: &[u128], next_hops: &mut [u32]) {
        let mut open = false;
        for (address, entry) in addresses.iter().zip(next_hops.iter_mut()) {
            *entry = self.direct[(address >> (128 - DIRECT)) as usize];
            open |= *entry & NODE != 0;
        }
        let mut depth = DIRECT;
        while open {
            open = false;
            for (address, entry) in addresses.iter().zip(next_hops.iter_mut()) {
                if *entry & NODE != 0 {
                    *entry = self.step(*entry, *address, depth);
                    open |= *entry & NODE != 0;
                }
            }
            depth += STRIDE;
        }
    }

    /// From a node, which answers the bits after `depth`, to its child or leaf.
    #[inline]
    fn step(&self, entry: u32, address: u128, depth: u32) -> u32 {
        let node = &self.nodes[(entry & !NODE) as usize];
        let value = ((address << depth) >> (128 - STRIDE)) as u32;
        // The bits up to and including `value`.
        let upto = u64::MAX >> (63 - value);
        if node.children >> value & 1 == 0 {
            let run = (node.runs & upto).count_ones();
            return self.leaves[(node.first_leaf + run - 1) as usize];
        }
        NODE | (node.first_child + (node.children & upto).count_ones() - 1)
    }

    /// Writes node `at`, which answers the bits after `depth` for the prefixes of `group`; where none of them applies,
    /// `inherited` does.
    fn fill(&mut self, at: usize, group: &[Entry6], depth: u32, inherited: u32) {
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
        let mut node =
            Node { children, runs: 0, first_child: self.nodes.len() as u32, first_leaf: self.leaves.len() as u32 };
        let mut last = None;
        for (value, leaf) in values.iter().enumerate().filter(|(value, _)| children >> value & 1 == 0) {
            if last != Some(*leaf) {
                node.runs |= 1 << value;
                self.leaves.push(*leaf);
                last = Some(*leaf);
            }
        }
        self.nodes.resize(self.nodes.len() + children.count_ones() as usize, Node::default());
        self.nodes[at] = node;
        let mut child = node.first_child as usize;
        let below = group.chunk_by(|(a, _), (b, _)| value_at(a, depth) == value_at(b, depth));
        for part in below {
            let value = part.first().map_or(0, |(net, _)| value_at(net, depth));
            if children >> value & 1 == 1 {
                self.fill(child, part, depth + STRIDE, values[value]);
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
