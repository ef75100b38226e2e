//! Neighbour discovery (RFC 4861), and what is learnt from other cores' messages.

use super::{
    neighbors::{STRANGER, answer, entry, phase},
    packets::{Nd, icmp, udp4, udp6},
    router::{Router, our_mac, spec},
};
use crate::{
    frame::Arena,
    io::MacAddr,
    l2::{self, Phase, Turn},
    l3::{InterfaceSpec, Route, Spec, Table, Target},
    meta::{InterfaceId, Meta, Network},
    verdict::DropReason,
};

#[test]
fn a_solicitation_for_us_is_answered() {
    let mut router = Router::new(spec());
    let ask =
        |source, destination, mac| Nd { kind: 135, flags: 0, source, destination, target: "fd77:10::1", mac }.bytes();
    let sent = router.receive(0, &ask("fd77:10::77", "ff02::1:ff00:1", Some(STRANGER)));
    assert_eq!(sent[0].1[..6], STRANGER.0);
    assert_eq!(sent[0].1[21], 255);
    let reply = icmp(&sent);
    assert_eq!((reply.port, &*reply.source, &*reply.destination), (0, "fd77:10::1", "fd77:10::77"));
    assert_eq!((reply.kind, reply.rest), ((136, 0), 0xe000_0000), "router, solicited, override");
    assert_eq!(reply.payload[16..], [2, 1, 2, 0, 0, 0, 0, 1], "our hardware address");
    assert_eq!(phase(&router, "fd77:10::77"), Some(Phase::Stale));
    // Who checks that nobody has the address is told so along with everybody (RFC 4861 §7.2.4).
    let sent = router.receive(0, &ask("::", "ff02::1:ff00:1", None));
    assert_eq!(sent[0].1[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let reply = icmp(&sent);
    assert_eq!((&*reply.destination, reply.rest), ("ff02::1", 0xa000_0000));
}

#[test]
fn invalid_neighbour_messages_are_refused() {
    let valid = Nd {
        kind: 135,
        flags: 0,
        source: "fd77:10::77",
        destination: "ff02::1:ff00:1",
        target: "fd77:10::1",
        mac: Some(STRANGER),
    };
    let mut router = Router::new(spec());
    let mut refused = |packet: Vec<u8>| {
        assert!(router.receive(0, &packet).is_empty());
        assert_eq!(entry(&router, "fd77:10::77"), None);
    };
    let mut hops = valid.bytes();
    hops[21] = 254;
    refused(hops);
    refused(Nd { source: "::", ..valid }.bytes());
    refused(Nd { source: "::", destination: "fd77:10::1", mac: None, ..valid }.bytes());
    refused(Nd { mac: Some(MacAddr([1, 0, 0, 0, 0, 1])), ..valid }.bytes());
    refused(Nd { kind: 136, flags: 0x40, destination: "ff02::1", ..valid }.bytes());
    // An option of length zero.
    let mut option = valid.bytes();
    let sum = u16::from_be_bytes([option[56], option[57]]);
    option[79] = 0;
    option[56..58].copy_from_slice(&crate::io::checksum::update(sum, 0x0101, 0x0100).to_be_bytes());
    refused(option);
    assert_eq!((router.drops(DropReason::IcmpMalformed), router.drops(DropReason::IpMartian)), (5, 1));
}

#[test]
fn an_advertisement_resolves_and_its_flags_count() {
    let mut router = Router::new(spec());
    let sent = router.receive(0, &udp6("fd77:11::50", 64, 20));
    let asked = icmp(&sent);
    assert_eq!((asked.kind, &*asked.destination, asked.port), ((135, 0), "ff02::1:ff00:50", 1));
    let advertise = |flags, mac| {
        Nd { kind: 136, flags, source: "fd77:11::50", destination: "fd77:11::1", target: "fd77:11::50", mac }.bytes()
    };
    let on_port_1 = |mut packet: Vec<u8>| {
        packet[..6].copy_from_slice(&our_mac(1).0);
        packet
    };
    assert!(router.receive(1, &on_port_1(advertise(0x60, None))).is_empty(), "no address, no answer");
    let sent = router.receive(1, &on_port_1(advertise(0x60, Some(STRANGER))));
    assert_eq!(sent[0].1[..6], STRANGER.0);
    assert_eq!(phase(&router, "fd77:11::50"), Some(Phase::Reachable));
    // Another address without the override flag: the entry is doubted, not changed.
    let other = MacAddr([2, 0, 0, 0, 8, 8]);
    router.receive(1, &on_port_1(advertise(0x40, Some(other))));
    let known = entry(&router, "fd77:11::50").unwrap();
    assert_eq!((known.mac, known.phase), (STRANGER, Phase::Stale));
    router.receive(1, &on_port_1(advertise(0x20, Some(other))));
    assert_eq!(entry(&router, "fd77:11::50").unwrap().mac, other);
    let unknown =
        Nd { kind: 136, flags: 0x20, source: "fe80::2", destination: "ff02::1", target: "fe80::5", mac: Some(other) };
    router.receive(1, &unknown.bytes());
    assert_eq!((entry(&router, "fe80::5"), router.drops(DropReason::IcmpIgnored)), (None, 2));
}

#[test]
fn an_answer_that_another_core_received_is_learnt_from_its_copy() {
    let mut asking = Router::new(spec());
    asking.receive(0, &udp4("10.77.11.50", 64, 20));
    asking.receive(0, &udp6("fd77:11::50", 64, 20));
    let mut advertisement = Nd {
        kind: 136,
        flags: 0x60,
        source: "fd77:11::50",
        destination: "fd77:11::1",
        target: "fd77:11::50",
        mac: Some(STRANGER),
    }
    .bytes();
    advertisement[..6].copy_from_slice(&our_mac(1).0);
    let arena = Arena::new(4, 2048).unwrap();
    for (bytes, network) in [(answer(), Network::Arp), (advertisement, Network::Ipv6)] {
        let frame = arena.copy_from(&bytes).unwrap();
        let meta = Meta { interface: InterfaceId(1), l3: 14, network, ..Meta::default() };
        assert!(l2::is_neighbor_message(&frame, &meta));
        let Router { table, state, link, arena, egress, stats, now, .. } = &mut asking;
        crate::l3::learn(table, state, link, &mut Turn { now: *now, arena, egress, stats }, &frame, &meta);
    }
    assert_eq!(phase(&asking, "10.77.11.50"), Some(Phase::Reachable));
    assert_eq!(phase(&asking, "fd77:11::50"), Some(Phase::Reachable));
    assert_eq!((asking.egress.len(), asking.link.waiting()), (2, 0), "what waited leaves");
    let plain = arena.copy_from(&udp4("10.77.11.50", 64, 20)).unwrap();
    assert!(!l2::is_neighbor_message(&plain, &Meta { l3: 14, network: Network::Ipv4, ..Meta::default() }));
}

/// `spec()` with a route for IPv4 by a router that is known by its link-local address only.
fn by_an_ipv6_router() -> Spec {
    let mut spec = spec();
    let target = Target::Via { gateway: "fe80::50".parse().unwrap(), interface: Some(InterfaceId(1)) };
    spec.routes.push(Route { to: "10.98.0.0/16".parse().unwrap(), target });
    spec
}

#[test]
fn an_ipv4_packet_goes_to_a_router_found_by_neighbour_discovery() {
    let mut router = Router::new(by_an_ipv6_router());
    let packet = udp4("10.98.0.1", 64, 20);
    let asked = icmp(&router.receive(0, &packet));
    assert_eq!((asked.kind, &*asked.destination, asked.port), ((135, 0), "ff02::1:ff00:50", 1));
    assert!(asked.source.starts_with("fe80::"), "{}", asked.source);
    let destination = &*asked.source;
    let answer =
        Nd { kind: 136, flags: 0xe0, source: "fe80::50", destination, target: "fe80::50", mac: Some(STRANGER) };
    let mut answer = answer.bytes();
    answer[..6].copy_from_slice(&our_mac(1).0);
    let mut sent = router.receive(1, &answer);
    // The one that has waited, and one that has not; IPv6 by the same neighbour too.
    sent.extend(router.receive(0, &packet));
    let to = [&STRANGER.0[..], &our_mac(1).0, &[8, 0, 0x45]].concat();
    for (port, bytes) in &sent {
        assert_eq!((port.0, &bytes[..15], bytes[22]), (1, &to[..], 63));
    }
    assert_eq!(sent.len(), 2);
    assert_eq!(router.leaked(), 0);
}

#[test]
fn the_sender_is_told_in_ipv4_when_an_ipv6_router_does_not_answer() {
    let mut router = Router::new(by_an_ipv6_router());
    router.receive(0, &udp4("10.98.0.1", 64, 20));
    let sent = router.wait(core::time::Duration::from_secs(4));
    let told: Vec<_> = sent.into_iter().filter(|(port, _)| port.0 == 0).collect();
    let reply = icmp(&told);
    assert_eq!((reply.kind, &*reply.source, &*reply.destination), ((3, 1), "10.77.10.1", "10.77.10.2"));
    assert_eq!(router.drops(DropReason::NeighborUnreachable), 1);
}

/// A link without IPv4 addresses: what we send ourselves comes from a loopback interface.
#[test]
fn a_source_where_the_link_has_none() {
    let mut spec = by_an_ipv6_router();
    spec.interfaces[1].v4.clear();
    spec.routes.retain(
        |route| !matches!(route.target, Target::Via { gateway, .. } if gateway.to_string().starts_with("10.77.11")),
    );
    spec.neighbors.retain(|neighbor| !neighbor.address.to_string().starts_with("10.77.11"));
    let source = |spec: Spec| Table::build(spec).unwrap().source_for([10, 98, 0, 1].into());
    assert_eq!(source(spec.clone()), Some(([10, 77, 10, 1].into(), InterfaceId(1))));
    let v4 = vec!["192.0.2.1/32".parse().unwrap()];
    let loopback = InterfaceSpec {
        id: InterfaceId(9),
        name: "lo".into(),
        link: l2::Link::None,
        mtu: 1500,
        v4,
        ..InterfaceSpec::default()
    };
    spec.interfaces.push(loopback);
    assert_eq!(source(spec), Some(([192, 0, 2, 1].into(), InterfaceId(1))));
}
