//! The subnet-router anycast address (RFC 4291 §2.6.1): answered, and never a source.

use etherparse::PacketBuilder;

use super::{
    local::echo6,
    neighbors::{STRANGER, entry, phase},
    packets::{Nd, icmp, udp6_from, v6},
    router::{Router, our_mac, peer_mac, spec},
};
use crate::{l2::Phase, meta::InterfaceId, verdict::DropReason};

#[test]
fn an_echo_to_any_of_the_routers_is_answered_from_an_address_of_ours() {
    let mut router = Router::new(spec());
    for (to, from) in [("fd77:10::", "fd77:10::1"), ("fd77:12::", "fd77:10::1")] {
        let reply = icmp(&router.receive(0, &echo6("fd77:10::2", to, b"x")));
        assert_eq!((reply.kind, &*reply.source, &*reply.destination), ((129, 0), from, "fd77:10::2"), "{to}");
    }
    // Another router of the link may speak from it, and what would answer it has no way out.
    assert!(router.receive(0, &echo6("fd77:10::", "fd77:10::1", b"x")).is_empty());
    assert_eq!((router.drops(DropReason::IpOwnSource), router.drops(DropReason::OwnAddress)), (0, 1));
    assert_eq!(router.leaked(), 0);
}

#[test]
fn only_prefixes_with_room_for_it_have_one() {
    let mut narrow = spec();
    narrow.interfaces[2].v6 = vec!["fd77:12::5/127".parse().unwrap(), "fd77:13::5/126".parse().unwrap()];
    narrow.neighbors.retain(|neighbor| neighbor.interface != InterfaceId(2));
    narrow.routes.retain(|route| route.to != "fd00:200:7::/48".parse().unwrap());
    let mut router = Router::new(narrow);
    let asked = icmp(&router.receive(0, &echo6("fd77:10::2", "fd77:12::4", b"x")));
    assert_eq!((asked.kind, asked.port), ((135, 0), 2), "the other end of a link between two routers");
    let reply = icmp(&router.receive(0, &echo6("fd77:10::2", "fd77:13::4", b"x")));
    assert_eq!((reply.kind, &*reply.source), ((129, 0), "fd77:10::1"));
    let asked = icmp(&router.receive(0, &echo6("fd77:10::2", "fd77:13::6", b"x")));
    assert_eq!(asked.kind, (135, 0));
}

#[test]
fn an_address_of_the_operators_that_looks_like_one_is_its_own() {
    let mut own = spec();
    own.interfaces[0].v6 = vec!["fd77:10::/64".parse().unwrap()];
    let mut router = Router::new(own);
    let reply = icmp(&router.receive(0, &echo6("fd77:10::2", "fd77:10::", b"x")));
    assert_eq!((reply.kind, &*reply.source), ((129, 0), "fd77:10::"));
    router.receive(0, &echo6("fd77:10::", "fd77:12::1", b"x"));
    assert_eq!(router.drops(DropReason::IpOwnSource), 1);
}

#[test]
fn errors_are_not_sent_from_it_and_segments_to_it_are_not_answered() {
    let mut router = Router::new(spec());
    let error = icmp(&router.receive(0, &udp6_from("fd77:10::2", "fd77:12::", 64, 20)));
    assert_eq!((error.kind, &*error.source), ((1, 4), "fd77:10::1"), "nobody serves the port");
    let mut segment = Vec::new();
    PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0)
        .ipv6(v6("fd77:10::2").octets(), v6("fd77:10::").octets(), 64)
        .tcp(1000, 80, 1, 1000)
        .syn()
        .write(&mut segment, &[])
        .unwrap();
    assert!(router.receive(0, &segment).is_empty());
    assert!(router.delivered.is_empty(), "no connection begins at an address that others have too");
    assert_eq!(router.drops(DropReason::NoListener), 2);
}

#[test]
fn the_first_of_several_routers_to_answer_a_solicitation_stays() {
    let mut router = Router::new(spec());
    let ask = |source, mac| {
        let (destination, target) = ("ff02::1:ff00:0", "fd77:10::");
        Nd { kind: 135, flags: 0, source, destination, target, mac }.bytes()
    };
    let reply = icmp(&router.receive(0, &ask("fd77:10::77", Some(STRANGER))));
    assert_eq!((&*reply.source, &*reply.destination), ("fd77:10::1", "fd77:10::77"), "from a unicast address");
    assert_eq!((reply.kind, reply.rest), ((136, 0), 0xc000_0000), "router, solicited, no override (RFC 4861 §7.2.7)");
    assert_eq!(reply.payload[..16], v6("fd77:10::").octets());
    assert_eq!(reply.payload[16..], [2, 1, 2, 0, 0, 0, 0, 1], "our hardware address");
    assert_eq!(phase(&router, "fd77:10::77"), Some(Phase::Stale));
    let reply = icmp(&router.receive(0, &ask("::", None)));
    assert_eq!((&*reply.destination, reply.rest), ("ff02::1", 0x8000_0000));
}

#[test]
fn another_router_that_has_it_is_no_conflict() {
    let mut router = Router::new(spec());
    let (source, destination, target) = ("fd77:10::9", "ff02::1", "fd77:10::");
    router.receive(0, &Nd { kind: 136, flags: 0x80, source, destination, target, mac: Some(STRANGER) }.bytes());
    assert!(router.link.take_conflict().is_none());
    assert_eq!((router.drops(DropReason::AddressConflict), router.drops(DropReason::IcmpIgnored)), (0, 1));
    assert_eq!(entry(&router, "fd77:10::"), None);
}
