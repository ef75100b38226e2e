//! Which addresses are ours: asked for the destination and the source of every packet, so a probe must cost next to nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::meta::InterfaceId;

/// What an address is to this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One of our addresses.
    Unicast,
    /// The broadcast address, or the network address (RFC 1812 §4.2.2.11), of a connected IPv4 prefix.
    Broadcast,
    /// The subnet-router anycast address (RFC 4291 §2.6.1) of a connected IPv6 prefix: every router of the link has it.
    Anycast,
}

/// One slot of an open-addressed table; `key` 0 (never an address of ours) marks it as free.
#[derive(Clone, Copy, Debug)]
struct Slot<K> {
    key: K,
    kind: Kind,
    interface: InterfaceId,
}

/// Whether an address of ours has a hash value. Nearly every packet in transit is told by two of these that neither its source nor its
/// destination is ours. A byte each, since a bit takes twice the instructions to find.
#[derive(Clone, Debug)]
struct Filter(Box<[bool; FILTER]>);

/// Hash values of a filter: with eight interfaces of three addresses each (own, broadcast, network), 1 % of foreign addresses are looked up.
const FILTER: usize = 2048;

impl Filter {
    fn of(hashes: impl Iterator<Item = u32>) -> Self {
        let mut filter = Self(Box::new([false; FILTER]));
        for hash in hashes {
            filter.0[Self::value(hash)] = true;
        }
        filter
    }

    #[inline]
    fn may_hold(&self, hash: u32) -> bool {
        self.0[Self::value(hash)]
    }

    /// The highest bits: those that a multiplication mixes best.
    #[inline]
    const fn value(hash: u32) -> usize {
        (hash >> (32 - FILTER.trailing_zeros())) as usize
    }
}

/// Our addresses of both families, without link-local ones (these belong to an interface, see `l2::Interface`).
#[derive(Clone, Debug)]
pub struct Addresses {
    v4: Box<[Slot<u32>]>,
    v6: Box<[Slot<u128>]>,
    filter4: Filter,
    filter6: Filter,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Addresses {
    /// Of a list of addresses; the first entry of an address counts.
    pub fn new(list: &[(IpAddr, Kind, InterfaceId)]) -> Self {
        let count = |v4: bool| list.iter().filter(|(address, ..)| address.is_ipv4() == v4).count();
        // A quarter full at most: nearly every probe for a foreign address ends at the first slot.
        let size = |n: usize| (4 * n).next_power_of_two().max(16);
        let mut v4 = vec![Slot { key: 0, kind: Kind::Unicast, interface: InterfaceId(0) }; size(count(true))];
        let mut v6 = vec![Slot { key: 0, kind: Kind::Unicast, interface: InterfaceId(0) }; size(count(false))];
        for &(address, kind, interface) in list {
            match address {
                IpAddr::V4(address) => place(&mut v4, hash4(address.to_bits()), address.to_bits(), 0, kind, interface),
                IpAddr::V6(address) => place(&mut v6, hash6(address.to_bits()), address.to_bits(), 0, kind, interface),
            }
        }
        let filter4 = Filter::of(v4.iter().filter(|slot| slot.key != 0).map(|slot| hash4(slot.key)));
        let filter6 = Filter::of(v6.iter().filter(|slot| slot.key != 0).map(|slot| hash6(slot.key)));
        Self { v4: v4.into(), v6: v6.into(), filter4, filter6 }
    }

    /// `false` when neither address is ours; [`Self::v4`] tells which is, if any.
    #[inline]
    pub fn may_hold_v4(&self, a: Ipv4Addr, b: Ipv4Addr) -> bool {
        self.filter4.may_hold(hash4(a.to_bits())) | self.filter4.may_hold(hash4(b.to_bits()))
    }

    /// `false` when neither address is ours; [`Self::v6`] tells which is, if any.
    #[inline]
    pub fn may_hold_v6(&self, a: Ipv6Addr, b: Ipv6Addr) -> bool {
        self.filter6.may_hold(hash6(a.to_bits())) | self.filter6.may_hold(hash6(b.to_bits()))
    }

    /// What `address` is to us; `None` for a foreign one.
    #[inline]
    pub fn v4(&self, address: Ipv4Addr) -> Option<(Kind, InterfaceId)> {
        let key = address.to_bits();
        probe(&self.v4, hash4(key), key, 0)
    }

    /// What `address` is to us; `None` for a foreign one.
    #[inline]
    pub fn v6(&self, address: Ipv6Addr) -> Option<(Kind, InterfaceId)> {
        let key = address.to_bits();
        probe(&self.v6, hash6(key), key, 0)
    }

    /// Whether `address` is a unicast address of ours.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => matches!(self.v4(address), Some((Kind::Unicast, _))),
            IpAddr::V6(address) => matches!(self.v6(address), Some((Kind::Unicast, _))),
        }
    }
}

/// Multiplicative hashing; the keys in the table are ours, so nobody can make its chains long.
#[inline]
const fn hash4(key: u32) -> u32 {
    key.wrapping_mul(0x9e37_79b1)
}

#[inline]
const fn hash6(key: u128) -> u32 {
    (((key >> 64) as u64 ^ (key as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Where the probe for a hash begins.
#[inline]
const fn home(hash: u32, mask: usize) -> usize {
    (hash >> 8) as usize & mask
}

fn place<K: Copy + PartialEq>(slots: &mut [Slot<K>], hash: u32, key: K, free: K, kind: Kind, interface: InterfaceId) {
    let mask = slots.len() - 1;
    let mut at = home(hash, mask);
    while slots[at].key != free && slots[at].key != key {
        at = (at + 1) & mask;
    }
    if slots[at].key == free {
        slots[at] = Slot { key, kind, interface };
    }
}

#[inline]
fn probe<K: Copy + PartialEq>(slots: &[Slot<K>], hash: u32, key: K, free: K) -> Option<(Kind, InterfaceId)> {
    let mask = slots.len() - 1;
    let mut at = home(hash, mask);
    loop {
        let slot = slots[at];
        if slot.key == free {
            return None;
        }
        if slot.key == key {
            return Some((slot.kind, slot.interface));
        }
        at = (at + 1) & mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_was_put_in_and_nothing_else(ours in prop::collection::vec(1u32..2000, 0..60), asked in 0u32..2000) {
            let list: Vec<_> = ours.iter()
                .flat_map(|bits| [
                    (IpAddr::V4(Ipv4Addr::from_bits(*bits)), Kind::Unicast, InterfaceId(*bits as u16)),
                    (IpAddr::V6(Ipv6Addr::from_bits(u128::from(*bits) << 50)), Kind::Unicast, InterfaceId(*bits as u16)),
                ])
                .collect();
            let addresses = Addresses::new(&list);
            for bits in &ours {
                let (v4, v6) = (Ipv4Addr::from_bits(*bits), Ipv6Addr::from_bits(u128::from(*bits) << 50));
                prop_assert!(addresses.may_hold_v4(v4, Ipv4Addr::BROADCAST) && addresses.may_hold_v4(Ipv4Addr::BROADCAST, v4));
                prop_assert!(addresses.may_hold_v6(v6, Ipv6Addr::LOCALHOST) && addresses.may_hold_v6(Ipv6Addr::LOCALHOST, v6));
            }
            let expected = ours.contains(&asked).then_some((Kind::Unicast, InterfaceId(asked as u16)));
            prop_assert_eq!(addresses.v4(Ipv4Addr::from_bits(asked)), expected);
            prop_assert_eq!(addresses.v6(Ipv6Addr::from_bits(u128::from(asked) << 50)), expected);
        }
    }
}
