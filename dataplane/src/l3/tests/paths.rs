//! Several next hops, several routing domains, and routes that change while packets pass.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{
    packets::{fix_header, forwarded, icmp, udp4, udp4_from, udp6},
    router::{Router, peer_mac, spec},
};
use crate::{
    l2::StaticNeighbor,
    l3::{Action, Builder, Hop, Learnt, Route, Spec, Target, VrfSpec},
    meta::{InterfaceId, VrfId},
    sync::snapshot::Publisher,
    verdict::DropReason::*,
};

fn route(to: &str, target: Target) -> Route {
    Route { to: to.parse().unwrap(), target }
}

fn hop(gateway: &str, weight: u16) -> Hop {
    Hop { gateway: Some(gateway.parse().unwrap()), interface: None, weight }
}

fn via(gateway: &str) -> Target {
    Target::Via { gateway: gateway.parse().unwrap(), interface: None }
}

/// UDP to 10.99.x.x from another port each.
fn flow(number: u16) -> Vec<u8> {
    let mut packet = udp4("10.99.0.1", 64, 20);
    packet[34..36].copy_from_slice(&(2000 + number).to_be_bytes());
    packet
}

fn spread(hops: &[(&str, u16)]) -> Spec {
    let hops = hops.iter().map(|(gateway, weight)| hop(gateway, *weight)).collect();
    let mut spec = spec();
    spec.routes.push(route("10.99.0.0/16", Target::Spread(hops)));
    spec
}

#[test]
fn flows_keep_their_path_and_paths_their_share() {
    let mut router = Router::new(spread(&[("10.77.11.2", 1), ("10.77.12.2", 3)]));
    let mut first = Vec::new();
    for number in 0..800 {
        let [(port, _)] = router.receive(0, &flow(number))[..] else { panic!("one packet") };
        first.push(port);
    }
    let share = first.iter().filter(|port| port.0 == 1).count();
    assert!((150..250).contains(&share), "a quarter of 800: {share}");
    for (number, port) in first.iter().enumerate() {
        assert_eq!(router.receive(0, &flow(number as u16))[0].0, *port);
    }
    assert_eq!(router.leaked(), 0);
}

#[test]
fn a_lost_path_moves_its_own_flows_only() {
    let all = [("10.77.11.2", 1), ("10.77.12.2", 1), ("10.77.10.2", 1)];
    let mut router = Router::new(spread(&all));
    let before: Vec<_> = (0..300).map(|number| router.receive(0, &flow(number))[0].0).collect();
    router.reload(spread(&all[..2]));
    let after = (0..300).map(|number| router.receive(0, &flow(number))[0].0);
    for (before, after) in before.iter().zip(after) {
        assert!(*before == after || before.0 == 0, "{before:?} became {after:?}");
        assert_ne!(after.0, 0);
    }
}

#[test]
fn all_pieces_of_a_packet_take_one_path() {
    let mut router = Router::new(spread(&[("10.77.11.2", 1), ("10.77.12.2", 1)]));
    for number in 0..32 {
        // A first piece, with ports, and a later one, without.
        let ports = [(0x20, 0), (0, 9)].map(|(more, offset)| {
            let mut packet = flow(number);
            packet.truncate(14 + 20 + 24);
            packet[16..18].copy_from_slice(&44u16.to_be_bytes());
            packet[20..22].copy_from_slice(&[more, offset]);
            fix_header(&mut packet);
            router.receive(0, &packet)[0].0
        });
        assert_eq!(ports[0], ports[1]);
    }
}

#[test]
fn ipv6_flows_go_by_their_label() {
    let mut spec = spec();
    let hops = vec![hop("fd77:11::2", 1), hop("fd77:12::2", 1)];
    spec.routes.push(route("fd99::/16", Target::Spread(hops)));
    let mut router = Router::new(spec);
    let mut seen = [0; 3];
    for label in 1..65u8 {
        // The same flow whatever the ports say.
        let ports = [1u8, 2].map(|source| {
            let mut packet = udp6("fd99::1", 64, 20);
            (packet[17], packet[55]) = (label, source);
            router.receive(0, &packet)[0].0
        });
        assert_eq!(ports[0], ports[1]);
        seen[ports[0].index()] += 1;
    }
    assert!(seen[1] > 10 && seen[2] > 10, "{seen:?}");
}

#[test]
fn a_gateway_that_becomes_ourselves_is_left_out() {
    let mut builder = Builder::default();
    builder.configure(spec()).unwrap();
    let target = Target::Spread(
        ["10.77.11.2", "10.77.12.2"].map(|gateway| Hop { interface: Some(InterfaceId(1)), ..hop(gateway, 1) }).into(),
    );
    builder.learn(&[Learnt { vrf: VrfId::MAIN, to: "10.98.0.0/16".parse().unwrap(), target: Some(target.into()) }]);
    let table = builder.table();
    let index = table.lookup_v4([10, 98, 0, 1].into());
    assert!(matches!(table.next_hop(index).action, Action::Spread(_)));
    let mut moved = spec();
    moved.interfaces[2].v4 = vec!["10.77.12.2/24".parse().unwrap()];
    moved.routes.clear();
    moved.neighbors.clear();
    builder.configure(moved).unwrap();
    let table = builder.table();
    let index = table.lookup_v4([10, 98, 0, 1].into());
    assert_eq!(table.next_hop(index).action, Action::Forward);
    assert_eq!(table.link().adjacencies()[index as usize].gateway, Some([10, 77, 11, 2].into()));
}

#[test]
fn prohibit() {
    let mut spec = spec();
    spec.routes.extend(["10.68.0.0/16", "fd68::/16"].map(|to| route(to, Target::Prohibit)));
    let mut router = Router::new(spec);
    let reply = icmp(&router.receive(0, &udp4("10.68.1.1", 64, 20)));
    assert_eq!((reply.kind, &*reply.source), ((3, 13), "10.77.10.1"), "RFC 1812 §5.2.7.1");
    let reply = icmp(&router.receive(0, &udp6("fd68::1", 64, 20)));
    assert_eq!(reply.kind, (1, 1), "RFC 4443 §3.1");
    assert_eq!(router.drops(Prohibited), 2);
}

/// Port 2 is in a domain of its own, with the addresses that port 1 has in the main one.
fn two_domains() -> Spec {
    let mut spec = spec();
    spec.interfaces[2].v4 = vec!["10.77.11.1/24".parse().unwrap()];
    spec.interfaces[2].v6 = vec!["fd77:11::1/64".parse().unwrap()];
    spec.routes.retain(|route| !matches!(&route.target, Target::Via { gateway, .. } if gateway.to_string().contains("77.12") || gateway.to_string().contains("77:12")));
    spec.neighbors.retain(|neighbor| neighbor.interface != InterfaceId(2));
    let neighbor = |address: &str| StaticNeighbor {
        interface: InterfaceId(2),
        address: address.parse().unwrap(),
        mac: peer_mac(2),
    };
    spec.neighbors.extend([neighbor("10.77.11.2"), neighbor("fd77:11::2")]);
    let leak = Target::Via { gateway: [10, 77, 10, 2].into(), interface: Some(InterfaceId(0)) };
    spec.vrfs = vec![VrfSpec {
        name: "red".to_owned(),
        interfaces: vec![InterfaceId(2)],
        routes: vec![route("10.200.0.0/16", via("10.77.11.2")), route("10.201.0.0/16", leak)],
    }];
    spec
}

#[test]
fn domains_may_have_the_same_addresses() {
    let mut router = Router::new(two_domains());
    // From the main domain to the main domain's network, and from the other to its own.
    let packet = udp4("10.200.1.1", 64, 20);
    assert_eq!(router.receive(0, &packet), [forwarded(packet.clone(), 1)]);
    let packet = udp4_from("10.77.11.2", "10.200.1.1", 64, 20);
    let sent = router.receive(2, &super::packets::from_port(&packet, 2));
    assert_eq!(sent.iter().map(|(port, _)| port.0).collect::<Vec<_>>(), [2]);
    // What only the main domain knows is nowhere in the other.
    let reply = icmp(&router.receive(2, &super::packets::from_port(&udp4_from("10.77.11.2", "10.77.10.2", 64, 20), 2)));
    assert_eq!((reply.port, reply.kind, &*reply.source), (2, (3, 0), "10.77.11.1"));
    // But a route may lead to an interface of the main domain.
    let leak = super::packets::from_port(&udp4_from("10.77.11.2", "10.201.0.1", 64, 20), 2);
    assert_eq!(router.receive(2, &leak)[0].0.0, 0);
    // Our own address answers in each domain, by the domain's own routes.
    let ping = super::packets::from_port(&udp4_from("10.77.11.2", "10.77.11.1", 64, 20), 2);
    assert_eq!(icmp(&router.receive(2, &ping)).port, 2);
    assert_eq!(router.leaked(), 0);
}

#[test]
fn a_domain_of_another_name_has_learnt_nothing() {
    let named = |names: &[&str]| {
        let vrf = |name: &&str| VrfSpec { name: (*name).to_owned(), interfaces: Vec::new(), routes: Vec::new() };
        Spec { vrfs: names.iter().map(vrf).collect(), ..spec() }
    };
    let mut builder = Builder::default();
    builder.configure(named(&["red", "blue"])).unwrap();
    let leads = Target::Via { gateway: [10, 77, 11, 2].into(), interface: Some(InterfaceId(1)) };
    let learnt =
        |vrf: u16, to: &str| Learnt { vrf: VrfId(vrf), to: to.parse().unwrap(), target: Some(leads.clone().into()) };
    builder.learn(&[learnt(1, "10.98.0.0/16"), learnt(2, "10.97.0.0/16"), learnt(0, "10.96.0.0/16")]);
    let known = |builder: &mut Builder| {
        let table = builder.table();
        let leads = |vrf, address: &str| table.matched(VrfId(vrf), address.parse().unwrap()).is_some();
        [
            leads(1, "10.98.0.1"),
            leads(2, "10.97.0.1"),
            leads(0, "10.96.0.1"),
            leads(1, "10.97.0.1"),
            leads(2, "10.98.0.1"),
        ]
    };
    assert_eq!(known(&mut builder), [true, true, true, false, false]);
    // One more in front: neither has what was the other's.
    builder.configure(named(&["green", "red", "blue"])).unwrap();
    assert_eq!(known(&mut builder), [false, false, true, false, false]);
}

/// Readers on another thread see one whole set of routes after the other, and never a packet without a way.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test with a reader on a thread of its own")]
fn no_look_up_fails_while_routes_are_replaced() {
    const PREFIXES: u32 = 30_000;
    let (mut builder, done) = (Builder::default(), Arc::new(AtomicBool::new(false)));
    builder.configure(spec()).unwrap();
    let to = |number: u32| ipnet::Ipv4Net::new((0x1400_0000 + (number << 8)).into(), 24).unwrap().into();
    let via =
        |gateway: [u8; 4], interface| Target::Via { gateway: gateway.into(), interface: Some(InterfaceId(interface)) };
    let all = |target: &Target| -> Vec<Learnt> {
        let learnt = |number| Learnt { vrf: VrfId::MAIN, to: to(number), target: Some(target.clone().into()) };
        (0..PREFIXES).map(learnt).collect()
    };
    let (one, other) = (via([10, 77, 11, 2], 1), via([10, 77, 12, 2], 2));
    builder.learn(&all(&one));
    let mut publisher = Publisher::new(Arc::new(builder.table()));
    let mut reader = publisher.reader();
    let readers_done = Arc::clone(&done);
    let reader = std::thread::spawn(move || {
        let (mut looked, mut seen) = (0u64, [0u64; 3]);
        while !readers_done.load(Relaxed) {
            reader.refresh();
            let table = reader.current();
            for number in (looked as u32 % 61..PREFIXES).step_by(61) {
                let hop = table.next_hop(table.lookup_v4((0x1400_0000 + (number << 8) + 9).into()));
                assert_eq!(hop.action, Action::Forward);
                seen[hop.interface.index()] += 1;
            }
            looked += 1;
        }
        seen
    });
    for round in 0..20 {
        let target = if round % 2 == 0 { &other } else { &one };
        if round % 4 < 2 {
            // All at once, which makes the trie anew.
            builder.learn(&all(target));
            publisher.publish(Arc::new(builder.table()));
        } else {
            for part in all(target).chunks(500) {
                builder.learn(part);
                publisher.publish(Arc::new(builder.table()));
                publisher.reclaim();
            }
        }
    }
    done.store(true, Relaxed);
    let seen = reader.join().unwrap();
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
}
