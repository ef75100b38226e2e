//! Sorted maps of prefixes: what [`Rib4`](super::rib4::Rib4) and [`Rib6`](super::rib6::Rib6) ask of theirs.

use core::ops::Bound;
use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

/// A prefix without host bits. In order of address and then length, it comes before all that it contains.
pub(super) trait Prefix: Copy + Ord {
    /// Whether all addresses of `other` are in it.
    fn contains(self, other: Self) -> bool;

    /// The longest prefix that contains both.
    fn shared(self, other: Self) -> Self;
}

impl Prefix for Ipv4Net {
    fn contains(self, other: Self) -> bool {
        Self::contains(&self, &other)
    }

    fn shared(self, other: Self) -> Self {
        let same = (self.addr().to_bits() ^ other.addr().to_bits()).leading_zeros() as u8;
        let len = same.min(self.prefix_len()).min(other.prefix_len());
        // Of 32 bits at most.
        Self::new(self.addr(), len).unwrap_or_default().trunc()
    }
}

impl Prefix for Ipv6Net {
    fn contains(self, other: Self) -> bool {
        Self::contains(&self, &other)
    }

    fn shared(self, other: Self) -> Self {
        let same = (self.addr().to_bits() ^ other.addr().to_bits()).leading_zeros() as u8;
        let len = same.min(self.prefix_len()).min(other.prefix_len());
        // Of 128 bits at most.
        Self::new(self.addr(), len).unwrap_or_default().trunc()
    }
}

/// The longest prefix that contains `part`, which may be `part` itself.
pub(super) fn longest<P: Prefix>(prefixes: &BTreeMap<P, u32>, part: P) -> Option<(P, u32)> {
    let mut last = part;
    loop {
        let (net, hop) = prefixes.range((Bound::Unbounded, Bound::Included(last))).next_back()?;
        if net.contains(part) {
            return Some((*net, *hop));
        }
        // Whatever contains `part` and stands before `net` contains `net` as well, and stands not behind what the two share.
        last = net.shared(part);
    }
}

/// Adds prefixes, or gives them other next hops. Returns whether anything has changed.
pub(super) fn extend<P: Prefix>(prefixes: &mut BTreeMap<P, u32>, entries: impl Iterator<Item = (P, u32)>) -> bool {
    entries.fold(false, |changed, (net, hop)| prefixes.insert(net, hop) != Some(hop) || changed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4() -> impl Strategy<Value = Ipv4Net> {
        let bits = prop_oneof![any::<u32>(), 0x0a00_0000u32..0x0a00_0800];
        (bits, 0u8..=32).prop_map(|(bits, len)| Ipv4Net::new(bits.into(), len).unwrap().trunc())
    }

    fn v6() -> impl Strategy<Value = Ipv6Net> {
        let bits = prop_oneof![any::<u128>(), (0u128..64).prop_map(|n| 0x2001_0db8 << 96 | n << 77)];
        (bits, 0u8..=128).prop_map(|(bits, len)| Ipv6Net::new(bits.into(), len).unwrap().trunc())
    }

    fn agrees<P: Prefix + core::fmt::Debug>(nets: &[P], parts: &[P]) {
        let mut map = BTreeMap::new();
        extend(&mut map, nets.iter().copied().zip(0..));
        for part in parts.iter().chain(nets) {
            // Those that contain one part contain each other: the last in order is the longest.
            let all = map.iter().rfind(|(net, _)| net.contains(*part)).map(|(net, hop)| (*net, *hop));
            assert_eq!(longest(&map, *part), all, "{part:?} in {map:?}");
        }
    }

    proptest! {
        #[test]
        fn the_longest_is_the_one_that_looking_at_all_finds(
            nets4 in prop::collection::vec(v4(), 0..40), parts4 in prop::collection::vec(v4(), 0..20),
            nets6 in prop::collection::vec(v6(), 0..40), parts6 in prop::collection::vec(v6(), 0..20),
        ) {
            agrees(&nets4, &parts4);
            agrees(&nets6, &parts6);
        }
    }
}
