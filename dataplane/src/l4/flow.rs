//! Flows: the five-tuple, the core that owns it, and the table from tuple to connection.

use core::net::IpAddr;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::segment::octets;

/// A TCP connection's two ends as this host sees them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Address of this host.
    pub local: IpAddr,
    /// Address of the peer; same family.
    pub remote: IpAddr,
    /// Port on this host.
    pub local_port: u16,
    /// Port of the peer.
    pub remote_port: u16,
}

impl Flow {
    /// The flow as fixed bytes, for keyed hashes.
    pub(super) fn bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..16].copy_from_slice(&octets(self.local));
        bytes[16..32].copy_from_slice(&octets(self.remote));
        bytes[32..34].copy_from_slice(&self.local_port.to_be_bytes());
        bytes[34..].copy_from_slice(&self.remote_port.to_be_bytes());
        bytes
    }

    /// The core that owns this flow among `cores`.
    pub fn owner(&self, cores: usize) -> usize {
        owner(self.local, self.remote, self.local_port, self.remote_port, cores)
    }
}

/// The core that owns a flow: the same for both directions, so that a core can choose the local port of a connection it opens
/// such that the answers are its own. Not keyed: it decides where work is done, not whether it can be found.
pub fn owner(src: IpAddr, dst: IpAddr, sport: u16, dport: u16, cores: usize) -> usize {
    if cores <= 1 {
        return 0;
    }
    let (a, b) = (u128::from_be_bytes(octets(src)), u128::from_be_bytes(octets(dst)));
    // Sums and xors are symmetric; both are needed so that neighbouring tuples do not collapse onto one value.
    let mix = (a ^ b) ^ (a.wrapping_add(b) << 1);
    let ports = (u64::from(sport ^ dport) << 32) | (u64::from(sport) + u64::from(dport));
    let mut hash = (mix as u64) ^ (mix >> 64) as u64 ^ ports.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    // The high half scaled to the number of cores: no division, no bias worth mentioning.
    ((u128::from(hash) * cores as u128) >> 64) as usize
}

/// From flow to connection index. The hash is keyed: peers choose addresses and ports and must not be able to choose the
/// bucket. Room is reserved at the start, so that no insertion rehashes.
#[derive(Debug)]
pub struct FlowTable {
    entries: HashTable<u32>,
    hasher: SipHasher13,
}

impl FlowTable {
    /// A table for `capacity` flows, hashed with `key`.
    pub fn new(capacity: usize, key: (u64, u64)) -> Self {
        Self { entries: HashTable::with_capacity(capacity), hasher: SipHasher13::new_with_keys(key.0, key.1) }
    }

    /// The index whose flow is `flow`. `flow_of` tells the flow of a stored index.
    #[inline]
    pub fn find(&self, flow: &Flow, flow_of: impl Fn(u32) -> Flow) -> Option<u32> {
        let hash = keyed(&self.hasher, flow);
        self.entries.find(hash, |&index| flow_of(index) == *flow).copied()
    }

    /// Adds a flow that is not yet present.
    pub fn insert(&mut self, flow: &Flow, index: u32, flow_of: impl Fn(u32) -> Flow) {
        let hash = keyed(&self.hasher, flow);
        let hasher = &self.hasher;
        self.entries.insert_unique(hash, index, |&other| keyed(hasher, &flow_of(other)));
    }

    /// Removes `index`, stored under `flow`.
    pub fn remove(&mut self, flow: &Flow, index: u32) {
        let hash = keyed(&self.hasher, flow);
        if let Ok(entry) = self.entries.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The hash of a flow. An IPv4 flow is hashed as the 12 octets that it is, not as an IPv6 one: two words instead of five. The hash
/// covers the length, so that flows of the two families do not meet.
#[inline]
fn keyed(hasher: &SipHasher13, flow: &Flow) -> u64 {
    let (IpAddr::V4(local), IpAddr::V4(remote)) = (flow.local, flow.remote) else {
        return hasher.hash(&flow.bytes());
    };
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&local.octets());
    bytes[4..8].copy_from_slice(&remote.octets());
    bytes[8..10].copy_from_slice(&flow.local_port.to_be_bytes());
    bytes[10..].copy_from_slice(&flow.remote_port.to_be_bytes());
    hasher.hash(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(n: u32) -> Flow {
        Flow {
            local: IpAddr::from(0x0a00_0001_u32.to_be_bytes()),
            remote: IpAddr::from((0x0a01_0000 + n / 7).to_be_bytes()),
            local_port: 80,
            remote_port: (n % 60_000) as u16 + 1,
        }
    }

    proptest! {
        #[test]
        fn both_directions_have_one_owner(a: u128, b: u128, sport: u16, dport: u16, cores in 1usize..33) {
            let (a, b) = (IpAddr::from(a.to_be_bytes()), IpAddr::from(b.to_be_bytes()));
            let there = owner(a, b, sport, dport, cores);
            prop_assert!(there < cores);
            prop_assert_eq!(there, owner(b, a, dport, sport, cores));
        }
    }

    #[test]
    fn owners_are_spread() {
        let cores = 7;
        let mut counts = vec![0u32; cores];
        (0..70_000).for_each(|n| counts[flow(n).owner(cores)] += 1);
        assert!(counts.iter().all(|&n| (9_000..11_000).contains(&n)), "{counts:?}");
    }

    #[test]
    fn finds_what_was_inserted_and_never_grows() {
        let flows: Vec<Flow> = (0..5_000).map(flow).collect();
        let mut table = FlowTable::new(flows.len(), (1, 2));
        let room = table.entries.capacity();
        for (index, flow) in flows.iter().enumerate() {
            table.insert(flow, index as u32, |i| flows[i as usize]);
        }
        assert_eq!((table.len(), table.entries.capacity()), (flows.len(), room));
        for (index, flow) in flows.iter().enumerate() {
            assert_eq!(table.find(flow, |i| flows[i as usize]), Some(index as u32));
        }
        table.remove(&flows[17], 17);
        assert_eq!(table.find(&flows[17], |i| flows[i as usize]), None);
        assert_eq!(table.find(&flows[18], |i| flows[i as usize]), Some(18));
    }
}
