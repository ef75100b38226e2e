//! Targets that many learnt routes share.

use std::sync::Arc;

use ipnet::IpNet;

use super::{
    packets::{udp4, udp6},
    router::{Router, spec},
};
use crate::{
    io::MacAddr,
    l2::{Limits, StaticNeighbor},
    l3::{Action, Builder, Hop, Learnt, LearntTarget, Shared, Table, Target},
    meta::{InterfaceId, VrfId},
};

/// Routers on the link of port 1, by the last part of their addresses, with their weights.
fn group(name: u32, members: &[(u8, u16)]) -> Shared {
    let hop = |(last, weight): &(u8, u16)| Hop {
        gateway: Some([10, 77, 11, *last].into()),
        interface: Some(InterfaceId(1)),
        weight: *weight,
    };
    Shared { name, target: Some(Target::Spread(members.iter().map(hop).collect())) }
}

fn led(to: &str, name: u32) -> Learnt {
    Learnt { vrf: VrfId::MAIN, to: net(to), target: Some(LearntTarget::Shared(name)) }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn builder() -> Builder {
    let mut builder = Builder::default();
    builder.configure(spec()).unwrap();
    builder
}

/// The gateways of all buckets of the group that a packet to 10.98.0.1 meets; of one that is no group, its only one.
fn gateways(table: &Table) -> Vec<Option<core::net::IpAddr>> {
    let at = table.lookup_v4([10, 98, 0, 1].into());
    let gateway = |at: u32| table.link().adjacencies()[at as usize].gateway;
    match table.next_hop(at).action {
        Action::Spread(group) => {
            let group = table.group(group).unwrap();
            (0..2048u32).map(|bucket| gateway(group.choose(bucket << 21, &Default::default()))).collect()
        }
        Action::Forward => vec![gateway(at)],
        _ => vec![],
    }
}

#[test]
fn a_change_leaves_routes_alone_and_flows_of_members_that_stay() {
    let mut builder = builder();
    builder.share(&[group(9, &[(2, 1), (3, 1)])]);
    builder.learn(&[led("10.98.0.0/16", 9), led("10.97.0.0/16", 9), led("fd98::/32", 9)]);
    let two = builder.table();
    builder.share(&[group(9, &[(2, 1), (3, 1), (4, 1)])]);
    let three = builder.table();
    assert!(Arc::ptr_eq(two.fib4(), three.fib4()) && Arc::ptr_eq(two.fib6(), three.fib6()));
    let (before, after) = (gateways(&two), gateways(&three));
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    let new = Some([10, 77, 11, 4].into());
    assert!((500..900).contains(&after.iter().filter(|gateway| **gateway == new).count()), "a third of 2048");
    assert!(moved.clone().all(|(_, after)| *after == new), "only to the new one");
    // One of the first two goes: what the others had stays theirs.
    builder.share(&[group(9, &[(2, 1), (4, 1)])]);
    let rest = builder.table();
    let gone = Some([10, 77, 11, 3].into());
    let others = after.iter().zip(gateways(&rest)).filter(|(before, _)| **before != gone);
    assert!(others.clone().count() > 1000 && others.clone().all(|(before, after)| *before == after));
    assert!(Arc::ptr_eq(two.fib4(), rest.fib4()));
}

/// Whether a gateway answers is not forgotten when its group changes.
#[test]
fn members_that_stay_keep_their_pulses() {
    let mut builder = builder();
    builder.share(&[group(9, &[(2, 1), (3, 1)])]);
    builder.learn(&[led("10.98.0.0/16", 9)]);
    let silence = |table: &Table| -> Vec<_> {
        let gateway = |at: u32| table.link().adjacencies()[at as usize].gateway.unwrap().to_string();
        table.link().watched().iter().map(|watched| (gateway(watched.next_hop), watched.pulse.is_silent())).collect()
    };
    let table = builder.table();
    for watched in table.link().watched() {
        watched.pulse.set(true);
    }
    builder.share(&[group(9, &[(3, 7), (5, 1)])]);
    let mut now = silence(&builder.table());
    now.sort();
    assert_eq!(now, [("10.77.11.3".to_owned(), true), ("10.77.11.5".to_owned(), false)]);
}

#[test]
fn one_becomes_many_and_nothing_and_comes_back() {
    let mut builder = builder();
    // The route first: it leads nowhere yet.
    builder.learn(&[led("10.98.0.0/16", 9)]);
    assert_eq!(gateways(&builder.table()), []);
    for (members, ways) in [(&[(2, 1)][..], 1), (&[(2, 1), (3, 5)], 2048), (&[(3, 1), (3, 2)], 1), (&[], 0)] {
        builder.share(&[group(9, members)]);
        assert_eq!(gateways(&builder.table()).len(), ways, "{members:?}");
    }
    builder.share(&[Shared { name: 9, target: Some(Target::Blackhole) }]);
    let table = builder.table();
    assert_eq!(table.next_hop(table.lookup_v4([10, 98, 0, 1].into())).action, Action::Blackhole);
    builder.share(&[Shared { name: 9, target: None }]);
    assert_eq!(gateways(&builder.table()), []);
    builder.share(&[group(9, &[(2, 1)])]);
    assert_eq!(gateways(&builder.table()).len(), 1);
}

/// What comes and goes leaves no numbers behind, in whatever order.
#[test]
fn names_and_their_routes_go_without_a_trace() {
    let mut builder = builder();
    let empty = builder.table().link().adjacencies().len();
    let mut most = 0;
    for round in 0..50u32 {
        let (name, to) = (round % 7, format!("10.{}.0.0/16", 100 + round % 5));
        builder.share(&[group(name, &[(2, 1 + round as u16), (3, 1)])]);
        builder.learn(&[led(&to, name)]);
        most = most.max(builder.table().link().adjacencies().len());
        let gone = Learnt { vrf: VrfId::MAIN, to: net(&to), target: None };
        let none = Shared { name, target: None };
        if round % 2 == 0 {
            builder.share(&[none]);
            builder.learn(&[gone]);
        } else {
            builder.learn(&[gone]);
            builder.share(&[none]);
        }
    }
    // The route's, the group's, its members': used again and again.
    assert!(most <= empty + 4, "{most} of {empty}");
}

/// The same gateway over IPv4 and IPv6: a neighbour that is found by ND takes packets of both.
#[test]
fn a_shared_gateway_is_a_gateway_for_both_families() {
    let mut with_neighbor = spec();
    let router = "fe80::9".parse().unwrap();
    let mac = MacAddr([2, 9, 9, 9, 9, 9]);
    with_neighbor.neighbors.push(StaticNeighbor { interface: InterfaceId(1), address: router, mac });
    let mut builder = Builder::default();
    builder.configure(with_neighbor).unwrap();
    let via = Target::Via { gateway: router, interface: Some(InterfaceId(1)) };
    builder.share(&[Shared { name: 4, target: Some(via) }]);
    builder.learn(&[led("10.98.0.0/16", 4), led("fd98::/32", 4)]);
    let mut router = Router::of(builder.table(), Limits::default());
    for (packet, kind) in [
        (udp4("10.98.0.1", 64, 20), [8, 0]),
        (udp6("fd98::1", 64, 20), [0x86, 0xdd]),
        (udp4("10.98.0.1", 64, 20), [8, 0]),
    ] {
        let [(port, sent)] = &router.receive(0, &packet)[..] else { panic!("one packet") };
        assert_eq!((port.0, &sent[..6], &sent[12..14]), (1, &mac.0[..], &kind[..]));
    }
}
