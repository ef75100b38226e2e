//! The first rule that fits a packet.
//!
//! Each field of a packet is looked up on its own, for the set of rules that it fits, as bits; the lowest bit that all sets have is the
//! rule (Lakshman and Stiliadis 1998). So a packet costs six look-ups, however many rules there are: two are in arrays, four are
//! binary searches among the bounds of what rules ask for, of which there are at most twice as many as prefixes or ranges.

use core::hint::select_unpredictable;

use ipnet::IpNet;

use super::spec::{Family, Match, PolicySpec};
use crate::meta::{InterfaceId, MAX_RULES, VrfId};

/// Rules that fit.
pub(super) type Set = [u64; MAX_RULES / 64];
const NONE: Set = [0; MAX_RULES / 64];

/// What rules ask of a packet.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) addresses: Addresses,
    pub(super) protocol: u8,
    pub(super) dscp: u8,
    pub(super) ports: Option<(u16, u16)>,
}

/// Source and destination.
#[derive(Debug)]
pub(super) enum Addresses {
    V4 { from: u32, to: u32 },
    V6 { from: u128, to: u128 },
}

/// Rules, by everything that they ask for.
#[derive(Debug)]
pub(super) struct Classifier {
    pub(super) scopes: Scopes,
    v4: Ends<u32>,
    v6: Ends<u128>,
    protocols: Box<[Set; 256]>,
    dscp: Box<[Set; 64]>,
    ports: Ends<u16>,
    /// Rules that do not ask for ports.
    without_ports: Set,
    /// Words of a set that have rules.
    words: usize,
}

/// Rules, by where packets begin.
#[derive(Default, Debug)]
pub(super) struct Scopes {
    /// By interface; there is nothing for those beyond.
    incoming: Box<[Set]>,
    /// By domain, for packets of this host.
    own: Box<[Set]>,
}

/// Rules, by something that both ends of a packet have.
#[derive(Debug)]
struct Ends<K> {
    from: Stretches<K>,
    to: Stretches<K>,
}

/// For each stretch of numbers between two bounds, the rules that it fits.
#[derive(Debug)]
struct Stretches<K> {
    /// Where they begin, the first at zero; a power of two of them.
    starts: Box<[K]>,
    sets: Box<[Set]>,
}

/// First and last of a range of numbers.
type Range<K> = (K, K);

impl Default for Classifier {
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl Classifier {
    /// Of at most [`MAX_RULES`] rules; `vrf_of` says to which domain each interface belongs.
    pub(super) fn new(specs: &[PolicySpec], vrf_of: &[VrfId]) -> Self {
        let where_it = |fits: &dyn Fn(&Match) -> bool| set(specs.iter().map(|spec| fits(&spec.matches)));
        let one_of = |list: &[u8], value: usize| list.is_empty() || list.iter().any(|one| usize::from(*one) == value);
        Self {
            scopes: Scopes::new(specs, vrf_of),
            v4: Ends {
                from: Stretches::new(&nets(specs, Family::V4, |m| &m.from, v4), |last| last.checked_add(1)),
                to: Stretches::new(&nets(specs, Family::V4, |m| &m.to, v4), |last| last.checked_add(1)),
            },
            v6: Ends {
                from: Stretches::new(&nets(specs, Family::V6, |m| &m.from, v6), |last| last.checked_add(1)),
                to: Stretches::new(&nets(specs, Family::V6, |m| &m.to, v6), |last| last.checked_add(1)),
            },
            protocols: Box::new(core::array::from_fn(|value| where_it(&|m| one_of(&m.protocols, value)))),
            dscp: Box::new(core::array::from_fn(|value| where_it(&|m| one_of(&m.dscp, value)))),
            ports: Ends {
                from: Stretches::new(&ports(specs, |m| &m.source_ports), |last| last.checked_add(1)),
                to: Stretches::new(&ports(specs, |m| &m.destination_ports), |last| last.checked_add(1)),
            },
            without_ports: where_it(&|m| m.source_ports.is_empty() && m.destination_ports.is_empty()),
            words: specs.len().div_ceil(64),
        }
    }

    /// The number of the first rule of a scope that fits. Nothing is looked up when no rule is left that asks for it.
    #[inline]
    pub(super) fn first(&self, scope: &Set, header: &Header) -> Option<usize> {
        let (protocol, dscp) =
            (&self.protocols[usize::from(header.protocol)], &self.dscp[usize::from(header.dscp & 0x3f)]);
        let (mut from, mut to, mut ports) = (None, None, None);
        for word in 0..self.words.min(NONE.len()) {
            let mut fit = scope[word] & protocol[word] & dscp[word];
            if fit != 0 {
                fit &= from.get_or_insert_with(|| self.from(&header.addresses))[word];
            }
            if fit != 0 {
                fit &= to.get_or_insert_with(|| self.to(&header.addresses))[word];
            }
            if fit & !self.without_ports[word] != 0 {
                let (source, destination) = ports.get_or_insert_with(|| self.ports(header.ports));
                fit &= source[word] & destination[word];
            }
            if fit != 0 {
                return Some(word * 64 + fit.trailing_zeros() as usize);
            }
        }
        None
    }

    #[inline]
    fn from(&self, addresses: &Addresses) -> &Set {
        match addresses {
            Addresses::V4 { from, .. } => self.v4.from.find(*from),
            Addresses::V6 { from, .. } => self.v6.from.find(*from),
        }
    }

    #[inline]
    fn to(&self, addresses: &Addresses) -> &Set {
        match addresses {
            Addresses::V4 { to, .. } => self.v4.to.find(*to),
            Addresses::V6 { to, .. } => self.v6.to.find(*to),
        }
    }

    #[inline]
    fn ports(&self, ports: Option<(u16, u16)>) -> (&Set, &Set) {
        match ports {
            Some((source, destination)) => (self.ports.from.find(source), self.ports.to.find(destination)),
            None => (&self.without_ports, &self.without_ports),
        }
    }
}

impl Scopes {
    fn new(specs: &[PolicySpec], vrf_of: &[VrfId]) -> Self {
        let incoming = |(at, vrf): (usize, &VrfId)| {
            let named = |m: &Match| m.incoming.is_empty() || m.incoming.iter().any(|interface| interface.index() == at);
            set(specs.iter().map(|spec| !spec.own && spec.vrf == *vrf && named(&spec.matches)))
        };
        let domains = specs.iter().map(|spec| spec.vrf.index() + 1).max().unwrap_or(0);
        let own = |vrf: usize| set(specs.iter().map(|spec| spec.own && spec.vrf.index() == vrf));
        Self { incoming: vrf_of.iter().enumerate().map(incoming).collect(), own: (0..domains).map(own).collect() }
    }

    /// The rules for what comes in by an interface, if there are any.
    #[inline]
    pub(super) fn incoming(&self, interface: InterfaceId) -> Option<&Set> {
        self.incoming.get(interface.index()).filter(|set| **set != NONE)
    }

    /// The rules for what this host sends in a domain, if there are any.
    #[inline]
    pub(super) fn own(&self, vrf: VrfId) -> Option<&Set> {
        self.own.get(vrf.index()).filter(|set| **set != NONE)
    }
}

impl<K: Copy + Ord + Default> Stretches<K> {
    /// `rules` has the ranges of each rule, or `None` where every number fits; `next` is the number behind another.
    fn new(rules: &[Option<Vec<Range<K>>>], next: impl Fn(K) -> Option<K>) -> Self {
        // How many ranges of each rule begin, less those that end, at each bound.
        let mut bounds: Vec<(K, usize, i32)> = Vec::new();
        for (rule, ranges) in rules.iter().enumerate() {
            for (first, last) in ranges.iter().flatten() {
                bounds.push((*first, rule, 1));
                bounds.extend(next(*last).map(|behind| (behind, rule, -1)));
            }
        }
        bounds.sort_unstable();
        let mut inside = vec![0; rules.len()];
        let (mut starts, mut sets) = (vec![K::default()], vec![set(rules.iter().map(Option::is_none))]);
        for at_one in bounds.chunk_by(|a, b| a.0 == b.0) {
            let mut here = sets[sets.len() - 1];
            for (_, rule, change) in at_one {
                inside[*rule] += change;
                let bit = 1 << (rule % 64);
                if inside[*rule] > 0 { here[rule / 64] |= bit } else { here[rule / 64] &= !bit }
            }
            if at_one[0].0 == K::default() {
                sets[0] = here;
            } else if here != sets[sets.len() - 1] {
                starts.push(at_one[0].0);
                sets.push(here);
            }
        }
        // As many as can be halved; behind the last one begins the same again.
        let (count, last) = (starts.len().next_power_of_two(), starts.len() - 1);
        starts.resize(count, starts[last]);
        sets.resize(count, sets[last]);
        Self { starts: starts.into(), sets: sets.into() }
    }

    /// By halves and without a branch on what is compared: nobody could foretell it.
    #[inline]
    fn find(&self, key: K) -> &Set {
        let (mut at, mut half) = (0, self.starts.len() / 2);
        while half > 0 {
            // The first begins at zero, so that the one at `at` never begins behind the number.
            at = select_unpredictable(self.starts[at + half] <= key, at + half, at);
            half /= 2;
        }
        &self.sets[at]
    }
}

fn set(fits: impl Iterator<Item = bool>) -> Set {
    let mut set = NONE;
    for (at, _) in fits.enumerate().take(MAX_RULES).filter(|(_, fits)| *fits) {
        set[at / 64] |= 1 << (at % 64);
    }
    set
}

fn v4(net: &IpNet) -> Option<Range<u32>> {
    if let IpNet::V4(net) = net { Some((net.network().to_bits(), net.broadcast().to_bits())) } else { None }
}

fn v6(net: &IpNet) -> Option<Range<u128>> {
    if let IpNet::V6(net) = net { Some((net.network().to_bits(), net.broadcast().to_bits())) } else { None }
}

/// The prefixes of each rule in a family. What names those of the other only, or leads there, fits no packet of this one.
fn nets<K>(
    specs: &[PolicySpec],
    family: Family,
    of: fn(&Match) -> &Vec<IpNet>,
    range: fn(&IpNet) -> Option<Range<K>>,
) -> Vec<Option<Vec<Range<K>>>> {
    let ranges = |spec: &PolicySpec| match of(&spec.matches) {
        _ if ![Family::Any, family].contains(&spec.then.family()) => Some(Vec::new()),
        nets if nets.is_empty() => None,
        nets => Some(nets.iter().filter_map(range).collect()),
    };
    specs.iter().map(ranges).collect()
}

fn ports(specs: &[PolicySpec], of: fn(&Match) -> &Vec<core::ops::RangeInclusive<u16>>) -> Vec<Option<Vec<Range<u16>>>> {
    let ranges = |spec: &PolicySpec| {
        let list = of(&spec.matches);
        (!list.is_empty()).then(|| list.iter().map(|range| (*range.start(), *range.end())).collect())
    };
    specs.iter().map(ranges).collect()
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::l3::{Hop, Target, Then};

    /// A small world, so that rules and packets meet.
    fn net() -> impl Strategy<Value = IpNet> {
        let v4 = (0u32..1 << 6, 26u8..=32).prop_map(|(bits, len)| (IpAddr::V4((bits << 26).into()), len - 26));
        let v6 = (0u128..1 << 6, 122u8..=128).prop_map(|(bits, len)| (IpAddr::V6(bits.into()), len));
        prop_oneof![v4, v6].prop_map(|(address, len)| IpNet::new(address, len).unwrap().trunc())
    }

    fn few<T: core::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(of, 0..3)
    }

    prop_compose! {
        fn some_rule()(
            (vrf, own, target) in (0u16..2, prop::bool::weighted(0.2), 0u8..4),
            (incoming, from, to) in (few((0u16..4).prop_map(InterfaceId)), few(net()), few(net())),
            (protocols, dscp) in (few(prop::sample::select(vec![1u8, 6, 17])), few(0u8..3)),
            (source, destination) in (few((0u16..8, 0u16..8)), few((65530u16..=65535, 65530u16..=65535))),
        ) -> PolicySpec {
            let [source_ports, destination_ports] =
                [source, destination].map(|list| list.into_iter().map(|(a, b)| a.min(b)..=a.max(b)).collect());
            let matches = Match { incoming, from, to, protocols, source_ports, destination_ports, dscp };
            let via = |gateway: &str| Then::Target(Target::Via { gateway: gateway.parse().unwrap(), interface: None });
            let hop = |gateway: &str| Hop { gateway: Some(gateway.parse().unwrap()), interface: None, weight: 1 };
            let then = match target {
                0 => Then::Target(Target::Blackhole),
                1 => via("10.0.0.1"),
                2 => via("fd00::1"),
                _ => Then::Target(Target::Spread(["fd00::1", "10.0.0.1"].map(hop).to_vec())),
            };
            PolicySpec { name: String::new(), vrf: VrfId(vrf), own, matches, then }
        }
    }

    prop_compose! {
        fn some_header()(
            v4: bool,
            (from, to) in (0u32..1 << 6, 0u32..1 << 6),
            protocol in prop::sample::select(vec![1u8, 6, 17, 58]),
            dscp in 0u8..3,
            ports in prop::option::of((0u16..8, 65530u16..=65535)),
        ) -> Header {
            let addresses = match v4 {
                true => Addresses::V4 { from: from << 26, to: to << 26 },
                false => Addresses::V6 { from: from.into(), to: to.into() },
            };
            Header { addresses, protocol, dscp, ports }
        }
    }

    /// What the rule says, read word by word.
    fn fits(spec: &PolicySpec, header: &Header) -> bool {
        let (m, (from, to)) = (
            &spec.matches,
            match header.addresses {
                Addresses::V4 { from, to } => (IpAddr::V4(from.into()), IpAddr::V4(to.into())),
                Addresses::V6 { from, to } => (IpAddr::V6(from.into()), IpAddr::V6(to.into())),
            },
        );
        let near = |nets: &[IpNet], address: IpAddr| nets.is_empty() || nets.iter().any(|net| net.contains(&address));
        let port = |list: &[core::ops::RangeInclusive<u16>], port: Option<u16>| {
            list.is_empty() || port.is_some_and(|port| list.iter().any(|range| range.contains(&port)))
        };
        let served = match &spec.then {
            Then::Target(Target::Via { gateway, .. }) => gateway.is_ipv6() || from.is_ipv4(),
            Then::Target(Target::Spread(hops)) => {
                from.is_ipv4() || hops.iter().filter_map(|hop| hop.gateway).all(|gateway| gateway.is_ipv6())
            }
            _ => true,
        };
        served
            && near(&m.from, from)
            && near(&m.to, to)
            && (m.protocols.is_empty() || m.protocols.contains(&header.protocol))
            && (m.dscp.is_empty() || m.dscp.contains(&header.dscp))
            && port(&m.source_ports, header.ports.map(|ports| ports.0))
            && port(&m.destination_ports, header.ports.map(|ports| ports.1))
    }

    proptest! {
        /// The rule found is the one that reading them from the first finds.
        #[test]
        fn the_first_rule_that_fits_is_found(
            rules in prop::collection::vec(some_rule(), 0..150),
            headers in prop::collection::vec(some_header(), 1..60),
        ) {
            let vrf_of = [0, 0, 1].map(VrfId);
            let classifier = Classifier::new(&rules, &vrf_of);
            for header in &headers {
                // An interface that the table does not have is in no domain.
                for at in 0..4u16 {
                    let scoped = |rule: &&PolicySpec| {
                        let m = &rule.matches;
                        !rule.own
                            && vrf_of.get(usize::from(at)) == Some(&rule.vrf)
                            && (m.incoming.is_empty() || m.incoming.contains(&InterfaceId(at)))
                    };
                    let first = rules.iter().position(|rule| scoped(&rule) && fits(rule, header));
                    let scope = classifier.scopes.incoming(InterfaceId(at));
                    prop_assert_eq!(scope.and_then(|scope| classifier.first(scope, header)), first);
                    prop_assert_eq!(scope.is_some(), rules.iter().any(|rule| scoped(&rule)));
                }
                for vrf in (0..3).map(VrfId) {
                    let first = rules.iter().position(|rule| rule.own && rule.vrf == vrf && fits(rule, header));
                    let scope = classifier.scopes.own(vrf);
                    prop_assert_eq!(scope.and_then(|scope| classifier.first(scope, header)), first);
                }
            }
        }
    }
}
