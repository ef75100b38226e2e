//! Tables of full size against another way to find the longest prefix: the whole address space as intervals, each with the prefix that
//! decides in it, made anew from the prefixes for every comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tidegate_dataplane::l3::{fib4::Fib4, fib6::Fib6, rib4::Rib4, rib6::Rib6};

use crate::{
    random::Random,
    routes::{self, Shape},
};

/// Addresses asked for before and after the changes, about half of which are the edges of prefixes.
const PROBES: usize = 1 << 20;
/// Prefixes withdrawn, added or given another next hop, in as many versions as [`VERSIONS`].
const CHANGES: usize = 10_000;
const VERSIONS: usize = 10;

/// The length of a prefix and its next hop.
type Found = Option<(u8, u32)>;

/// A family: its table, and versions of it.
trait Family: Default {
    const IS_V6: bool;
    type Version;
    fn fill(&mut self, all: &BTreeMap<IpNet, u32>);
    fn change(&mut self, net: IpNet, hop: Option<u32>) -> Option<u32>;
    fn version(&mut self) -> Arc<Self::Version>;
    fn matched(version: &Self::Version, address: u128) -> Found;
    fn one(version: &Self::Version, address: u128) -> u32;
    fn many(version: &Self::Version, addresses: &[u128]) -> Vec<u32>;
}

fn v4(net: IpNet) -> Ipv4Net {
    if let IpNet::V4(net) = net { net } else { unreachable!("{net} among those of IPv4") }
}

fn v6(net: IpNet) -> Ipv6Net {
    if let IpNet::V6(net) = net { net } else { unreachable!("{net} among those of IPv6") }
}

impl Family for Rib4 {
    const IS_V6: bool = false;
    type Version = Fib4;
    fn fill(&mut self, all: &BTreeMap<IpNet, u32>) {
        self.extend(all.iter().map(|(net, hop)| (v4(*net), *hop)));
    }
    fn change(&mut self, net: IpNet, hop: Option<u32>) -> Option<u32> {
        match hop {
            Some(hop) => self.insert(v4(net), hop),
            None => self.remove(v4(net)),
        }
    }
    fn version(&mut self) -> Arc<Fib4> {
        self.publish()
    }
    fn matched(version: &Fib4, address: u128) -> Found {
        version.matched(address as u32).map(|(net, hop)| (net.prefix_len(), hop))
    }
    fn one(version: &Fib4, address: u128) -> u32 {
        // The way of a packet: asked for ahead, then looked up.
        version.lookup_at(version.prefetch(address as u32), || address as u32)
    }
    fn many(version: &Fib4, addresses: &[u128]) -> Vec<u32> {
        let (narrow, mut hops): (Vec<u32>, _) =
            (addresses.iter().map(|wide| *wide as u32).collect(), vec![0; addresses.len()]);
        version.lookup_many(&narrow, &mut hops);
        hops
    }
}

impl Family for Rib6 {
    const IS_V6: bool = true;
    type Version = Fib6;
    fn fill(&mut self, all: &BTreeMap<IpNet, u32>) {
        self.extend(all.iter().map(|(net, hop)| (v6(*net), *hop)));
    }
    fn change(&mut self, net: IpNet, hop: Option<u32>) -> Option<u32> {
        match hop {
            Some(hop) => self.insert(v6(net), hop),
            None => self.remove(v6(net)),
        }
    }
    fn version(&mut self) -> Arc<Fib6> {
        self.publish()
    }
    fn matched(version: &Fib6, address: u128) -> Found {
        version.matched(address).map(|(net, hop)| (net.prefix_len(), hop))
    }
    fn one(version: &Fib6, address: u128) -> u32 {
        version.lookup(address)
    }
    fn many(version: &Fib6, addresses: &[u128]) -> Vec<u32> {
        let mut hops = vec![0; addresses.len()];
        version.lookup_many(addresses, &mut hops);
        hops
    }
}

/// The first and the last address of a prefix.
fn ends(net: &IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into()),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
    }
}

/// The address space in order: from each address on, up to the next, a prefix decides, or none.
struct Intervals(Vec<(u128, Found)>);

impl Intervals {
    fn of(all: &BTreeMap<IpNet, u32>) -> Self {
        let mut nets: Vec<_> = all.iter().map(|(net, hop)| (ends(net), (net.prefix_len(), *hop))).collect();
        // What contains another begins before it, or with it and is shorter.
        nets.sort_unstable_by_key(|((first, _), (len, _))| (*first, *len));
        let mut intervals = Self(vec![(0, None)]);
        let mut open: Vec<(u128, (u8, u32))> = Vec::new();
        for ((first, last), found) in nets {
            intervals.close(&mut open, first);
            intervals.0.push((first, Some(found)));
            open.push((last, found));
        }
        intervals.close(&mut open, u128::MAX);
        intervals
    }

    /// Behind each prefix that ends before `address` the one that it was in goes on.
    fn close(&mut self, open: &mut Vec<(u128, (u8, u32))>, address: u128) {
        while let Some((last, _)) = open.pop_if(|(last, _)| *last < address) {
            self.0.push((last + 1, open.last().map(|(_, found)| *found)));
        }
    }

    /// Where several begin, the last of them is the longest.
    fn find(&self, address: u128) -> Found {
        self.0[self.0.partition_point(|(first, _)| *first <= address) - 1].1
    }
}

/// Both ends of some prefixes and what lies beside them; addresses within prefixes, and any.
fn probes<'n>(
    nets: &'n [IpNet],
    changed: impl Iterator<Item = &'n IpNet>,
    is_v6: bool,
    random: &mut Random,
) -> Vec<u128> {
    let most = if is_v6 { u128::MAX } else { u128::from(u32::MAX) };
    let beside = |net: &IpNet| {
        let (first, last) = ends(net);
        [first, last, first.wrapping_sub(1) & most, last.wrapping_add(1) & most]
    };
    let step = nets.len() / (PROBES / 8);
    let mut all: Vec<u128> = nets.iter().step_by(step.max(1)).chain(changed).flat_map(beside).collect();
    while all.len() < PROBES {
        let any = (u128::from(random.bits()) << 64 | u128::from(random.bits())) & most;
        all.extend([any, routes::within(&nets[random.below(nets.len())], random)]);
    }
    all
}

/// All ways to ask a version say what the intervals say.
fn agrees<F: Family>(version: &F::Version, all: &BTreeMap<IpNet, u32>, probes: &[u128], what: &str) {
    let intervals = Intervals::of(all);
    let mut answers = [0usize; 2];
    for batch in probes.chunks(64) {
        for (address, many) in batch.iter().zip(F::many(version, batch)) {
            let expected = intervals.find(*address);
            let hop = expected.map_or(0, |(_, hop)| hop);
            let found = (F::matched(version, *address), F::one(version, *address), many);
            assert_eq!(found, (expected, hop, hop), "{what}: {address:#x}");
            answers[usize::from(expected.is_some())] += 1;
        }
    }
    assert!(answers.iter().all(|count| *count > PROBES / 20), "{what}: probes without and with an answer: {answers:?}");
}

/// A prefix that is there or a new one, of any length, and what becomes of it.
fn change(nets: &[IpNet], is_v6: bool, random: &mut Random) -> (IpNet, Option<u32>) {
    let known = nets[random.below(nets.len())];
    let hop = 17 + random.below(1000) as u32;
    match random.below(3) {
        0 => (known, None),
        1 => (known, Some(hop)),
        // Within a prefix that is there or round it. Halves of all and longer: a default route would leave nothing without an answer.
        _ => {
            let address = routes::within(&known, random);
            let net = if is_v6 {
                Ipv6Net::new(address.into(), 8 + random.below(121) as u8).map(IpNet::from)
            } else {
                Ipv4Net::new((address as u32).into(), 6 + random.below(27) as u8).map(IpNet::from)
            };
            (net.unwrap_or_else(|error| panic!("{error}")).trunc(), Some(hop))
        }
    }
}

fn follows<F: Family>(count: usize, shape: Shape) {
    let (mut random, mut table) = (Random::seeded(7), F::default());
    let nets = routes::shaped(count, F::IS_V6, shape);
    let mut all: BTreeMap<IpNet, u32> =
        nets.iter().enumerate().map(|(number, net)| (*net, super::hop(number))).collect();
    table.fill(&all);
    let (first, before) = (table.version(), all.clone());
    let asked = probes(&nets, [].iter(), F::IS_V6, &mut random);
    agrees::<F>(&first, &all, &asked, "at first");

    let mut changed = Vec::new();
    let mut last = Arc::clone(&first);
    for _ in 0..VERSIONS {
        for _ in 0..CHANGES / VERSIONS {
            let (net, hop) = change(&nets, F::IS_V6, &mut random);
            let had = match hop {
                Some(hop) => all.insert(net, hop),
                None => all.remove(&net),
            };
            assert_eq!(table.change(net, hop), had, "{net}");
            changed.push(net);
        }
        last = table.version();
    }
    let asked = probes(&nets, changed.iter(), F::IS_V6, &mut random);
    agrees::<F>(&last, &all, &asked, "after the changes");
    agrees::<F>(&first, &before, &asked, "the version from before the changes");

    // And with a default route: nothing is without an answer.
    let default = if F::IS_V6 { Ipv6Net::default().into() } else { Ipv4Net::default().into() };
    table.change(default, Some(9999));
    let with = table.version();
    let of = |address: &u128| F::matched(&last, *address).unwrap_or((0, 9999));
    assert!(asked.iter().all(|address| F::matched(&with, *address) == Some(of(address))));
}

#[test]
fn a_million_prefixes_of_ipv4_as_in_the_internet() {
    follows::<Rib4>(1_000_000, Shape::Internet);
}

#[test]
fn a_million_prefixes_of_ipv4_of_random_lengths() {
    follows::<Rib4>(1_000_000, Shape::Random);
}

#[test]
fn a_quarter_million_prefixes_of_ipv6_as_in_the_internet() {
    follows::<Rib6>(250_000, Shape::Internet);
}

#[test]
fn a_quarter_million_prefixes_of_ipv6_of_random_lengths() {
    follows::<Rib6>(250_000, Shape::Random);
}
