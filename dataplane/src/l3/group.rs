//! Equal-cost paths: which of several next hops a flow takes.
//!
//! A group is a table of buckets, and a flow's hash chooses one. Which next hop a bucket has is decided by weighted rendezvous: each
//! member draws a number for each bucket, from the two names alone, and the best draw in proportion to the weights wins. So when
//! a member goes, only its own buckets move, to all others; one that comes takes its share from all; a weight that changes moves the
//! difference. Nothing is remembered from one group to the next, and every core, every start and every gateway with the same members
//! comes to the same table.
//!
//! A member whose gateway is silent is passed over: its buckets go to whoever drew best without it, as if it were not in the group.

use core::net::IpAddr;

use crate::{l2::Silent, meta::InterfaceId};

/// Buckets of a group. With n equal members a share is off by about the square root of n / 2048: 3 % for two.
pub const BUCKETS: usize = 2048;

/// Next hops that share the traffic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    members: Box<[Member]>,
    /// Next hops.
    buckets: [u32; BUCKETS],
    /// Members that drew second.
    seconds: [u16; BUCKETS],
}

/// A next hop of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its index in the table of next hops.
    pub next_hop: u32,
    /// Share of the traffic.
    pub weight: u16,
    /// What it draws with: the same for the same next hop, wherever it is in a table.
    pub(super) name: u64,
}

impl Group {
    /// Of at least one member.
    pub(super) fn new(members: Vec<Member>) -> Self {
        let (mut buckets, mut seconds) = ([0; BUCKETS], [0; BUCKETS]);
        for (at, (bucket, second)) in buckets.iter_mut().zip(&mut seconds).enumerate() {
            let (mut best, mut next) = ((f64::NEG_INFINITY, 0), (f64::NEG_INFINITY, 0));
            for (number, member) in members.iter().enumerate() {
                let draw = (draw(member, at as u64), number);
                if draw.0 > best.0 {
                    (best, next) = (draw, best);
                } else if draw.0 > next.0 {
                    next = draw;
                }
            }
            *bucket = members[best.1].next_hop;
            // Of more members than that the drawing is done again when it matters.
            *second = u16::try_from(next.1).unwrap_or(u16::MAX);
        }
        Self { members: members.into(), buckets, seconds }
    }

    /// The members, with their weights.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The next hop of a flow: the one that would have it if those that are silent were not there. If all are, nothing is better than
    /// the one that has it otherwise.
    #[inline]
    pub fn choose(&self, hash: u32, silent: &Silent) -> u32 {
        // The upper bits: those that the hash mixes best.
        let bucket = (hash >> (32 - BUCKETS.trailing_zeros())) as usize;
        let first = self.buckets[bucket];
        if silent.is_empty() || !silent.contains(first) {
            return first;
        }
        self.pass_over(bucket, silent).unwrap_or(first)
    }

    #[inline(never)]
    fn pass_over(&self, bucket: usize, silent: &Silent) -> Option<u32> {
        if let Some(second) = self.members.get(usize::from(self.seconds[bucket]))
            && !silent.contains(second.next_hop)
        {
            return Some(second.next_hop);
        }
        let answering = self.members.iter().filter(|member| !silent.contains(member.next_hop));
        let drawn = answering.map(|member| (draw(member, bucket as u64), member.next_hop));
        drawn.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, next_hop)| next_hop)
    }

    /// Buckets that a next hop has.
    pub fn share(&self, next_hop: u32) -> usize {
        self.buckets.iter().filter(|bucket| **bucket == next_hop).count()
    }
}

/// What a member bids for a bucket: the logarithm of an even number in (0, 1), divided by the weight (Schindelhauer and Schomaker 2005).
fn draw(member: &Member, bucket: u64) -> f64 {
    let bits = mix(member.name ^ bucket.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let even = ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    even.ln() / f64::from(member.weight.max(1))
}

/// What tells a next hop from all others.
pub(super) fn name(interface: InterfaceId, gateway: Option<IpAddr>) -> u64 {
    let address = match gateway {
        None => 0,
        Some(IpAddr::V4(address)) => u128::from(address.to_bits()) | 1 << 32,
        Some(IpAddr::V6(address)) => address.to_bits(),
    };
    mix(mix(address as u64) ^ mix((address >> 64) as u64 ^ u64::from(interface.0) << 48))
}

/// The finisher of SplitMix64.
const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: &[(u8, u16)]) -> Group {
        let member = |(last, weight): &(u8, u16)| Member {
            next_hop: u32::from(*last),
            weight: *weight,
            name: name(InterfaceId(0), Some(IpAddr::from([10, 0, 0, *last]))),
        };
        Group::new(members.iter().map(member).collect())
    }

    #[test]
    fn shares_follow_weights() {
        let group = group(&[(1, 1), (2, 1), (3, 2), (4, 4)]);
        for (last, weight) in [(1, 1), (2, 1), (3, 2), (4, 4)] {
            let (share, expected) = (group.share(last), weight * BUCKETS / 8);
            assert!(share.abs_diff(expected) * 100 < BUCKETS * 4, "{last}: {share}, not about {expected}");
        }
    }

    #[test]
    fn only_the_buckets_of_a_lost_member_move() {
        let (all, less) = (group(&[(1, 1), (2, 1), (3, 2), (4, 4)]), group(&[(1, 1), (3, 2), (4, 4)]));
        for (before, after) in all.buckets.iter().zip(&less.buckets) {
            assert!(before == after || *before == 2);
        }
        assert_eq!(less.share(2), 0);
        assert!([1, 3, 4].iter().all(|last| less.share(*last) > all.share(*last)), "all take their part");
    }

    #[test]
    fn silent_members_are_passed_over_as_if_they_were_not_there() {
        let all = [(1, 1), (2, 1), (3, 2), (4, 4)];
        let whole = group(&all);
        for mask in 0..15u8 {
            let (mut silent, mut rest) = (Silent::default(), Vec::new());
            for (at, member) in all.into_iter().enumerate() {
                if mask >> at & 1 == 1 { silent.insert(u32::from(member.0)) } else { rest.push(member) }
            }
            let rest = group(&rest);
            for bucket in 0..BUCKETS as u32 {
                let hash = bucket << (32 - BUCKETS.trailing_zeros());
                assert_eq!(whole.choose(hash, &silent), rest.choose(hash, &Silent::default()), "{mask:b} {bucket}");
            }
        }
    }

    #[test]
    fn when_all_are_silent_nothing_moves() {
        let (group, mut silent) = (group(&[(1, 1), (2, 1)]), Silent::default());
        silent.insert(1);
        silent.insert(2);
        for hash in (0..u32::MAX).step_by(1 << 20) {
            assert_eq!(group.choose(hash, &silent), group.choose(hash, &Silent::default()));
        }
    }

    #[test]
    fn a_weight_that_grows_takes_only_what_it_needs() {
        let (before, after) = (group(&[(1, 1), (2, 1)]), group(&[(1, 1), (2, 3)]));
        for (before, after) in before.buckets.iter().zip(&after.buckets) {
            assert!(before == after || *after == 2);
        }
    }
}
