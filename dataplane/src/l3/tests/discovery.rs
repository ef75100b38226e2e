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
