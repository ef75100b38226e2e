//! Sources that lie elsewhere (RFC 3704).

use super::{
    packets::{Nd, udp4_from, udp6_from, with_extensions, with_options},
    router::{Router, our_mac, peer_mac, spec},
};
use crate::{
    l2::{Link, Tags, tag},
    l3::{InterfaceSpec, ReversePath, Route, Target, VrfSpec},
    meta::{InterfaceId, PortId},
    verdict::DropReason,
};

/// The router of the other tests, with a question on its first interface.
fn asking(reverse_path: ReversePath) -> Router {
    let mut spec = spec();
    spec.interfaces[0].reverse_path = reverse_path;
    spec.routes.push(Route {
        to: "10.201.0.0/16".parse().unwrap(),
        target: Target::Via { gateway: "10.77.10.2".parse().unwrap(), interface: None },
    });
    spec.routes.push(Route {
        to: "fd00:201::/32".parse().unwrap(),
        target: Target::Via { gateway: "fd77:10::2".parse().unwrap(), interface: None },
    });
    Router::new(spec)
}

/// Whether a packet from there, received on the first interface, is sent on; if not, it was dropped for this.
fn passes(router: &mut Router, source: &str) -> bool {
    let before = router.drops(DropReason::ReversePath);
    let packet = if source.contains(':') {
        udp6_from(source, "fd77:12::2", 64, 20)
    } else {
        udp4_from(source, "10.77.12.2", 64, 20)
    };
    let sent = router.receive(0, &packet);
    assert_eq!(router.drops(DropReason::ReversePath) - before, u64::from(sent.is_empty()), "{source}");
    !sent.is_empty()
}

/// On the link, routed by it; routed elsewhere; a blackhole, unreachable, no route at all.
const NEAR: [&str; 4] = ["10.77.10.9", "10.201.1.1", "fd77:10::9", "fd00:201::1"];
const ELSEWHERE: [&str; 4] = ["10.77.11.9", "10.200.1.1", "fd77:11::9", "fd00:200::1"];
const NOWHERE: [&str; 4] = ["10.66.1.1", "10.67.1.1", "192.0.2.1", "2001:db8::1"];

#[test]
fn nothing_is_asked_unless_somebody_wants_it() {
    let mut router = asking(ReversePath::Off);
    assert!(!router.table.checks_sources());
    assert!([NEAR, ELSEWHERE, NOWHERE].concat().iter().all(|source| passes(&mut router, source)));
}

#[test]
fn loose_wants_a_way_and_strict_this_way() {
    for (reverse_path, elsewhere) in [(ReversePath::Loose, true), (ReversePath::Strict, false)] {
        let mut router = asking(reverse_path);
        assert!(NEAR.iter().all(|source| passes(&mut router, source)), "{reverse_path:?}");
        assert!(ELSEWHERE.iter().all(|source| passes(&mut router, source) == elsewhere), "{reverse_path:?}");
        assert!(!NOWHERE.iter().any(|source| passes(&mut router, source)), "{reverse_path:?}");
        // Another interface does not ask.
        let mut packet = udp4_from("192.0.2.1", "10.77.12.2", 64, 20);
        packet[..6].copy_from_slice(&our_mac(1).0);
        assert_eq!(router.receive(1, &packet).len(), 1);
    }
}

#[test]
fn a_default_route_is_a_way_like_another() {
    let mut spec = spec();
    spec.interfaces[0].reverse_path = ReversePath::Loose;
    let via = Target::Via { gateway: "10.77.11.2".parse().unwrap(), interface: None };
    spec.routes.push(Route { to: "0.0.0.0/0".parse().unwrap(), target: via });
    let mut router = Router::new(spec);
    assert!(passes(&mut router, "192.0.2.1") && !passes(&mut router, "10.66.1.1"));
}

#[test]
fn what_is_for_us_is_asked_too_and_whoever_has_no_address_is_not() {
    let mut router = asking(ReversePath::Strict);
    assert!(router.receive(0, &udp4_from("192.0.2.1", "10.77.10.1", 64, 20)).is_empty());
    assert_eq!(router.drops(DropReason::ReversePath), 1);
    router.receive(0, &udp4_from("0.0.0.0", "255.255.255.255", 64, 20));
    for (source, mac) in [("::", None), ("fe80::9", Some(peer_mac(0)))] {
        let target = "fd77:10::1";
        let ask = Nd { kind: 135, flags: 0, source, destination: "ff02::1:ff00:1", target, mac };
        assert_eq!(router.receive(0, &ask.bytes()).len(), 1, "{source}");
    }
    assert_eq!(router.drops(DropReason::ReversePath), 1);
}

/// One port, of whose VLANs one asks strictly, one is in another domain and asks loosely, and one there asks nothing.
#[test]
fn each_packet_of_a_batch_is_asked_as_its_interface_wants() {
    let mut spec = spec();
    let modes = [(10, ReversePath::Strict), (20, ReversePath::Loose), (30, ReversePath::Off)];
    for (id, (vlan, reverse_path)) in (3..).zip(modes) {
        spec.interfaces.push(InterfaceSpec {
            id: InterfaceId(id),
            name: format!("vlan {vlan}"),
            link: Link::Port { port: PortId(0), tags: Tags::one(tag::CUSTOMER, vlan) },
            mac: our_mac(0),
            mtu: 1500,
            v4: vec![format!("10.79.{vlan}.1/24").parse().unwrap()],
            v6: vec![format!("fd79:{vlan}::1/64").parse().unwrap()],
            reverse_path,
            ..InterfaceSpec::default()
        });
    }
    let onward = |to: &str, gateway: &str| Route {
        to: to.parse().unwrap(),
        target: Target::Via { gateway: gateway.parse().unwrap(), interface: Some(InterfaceId(2)) },
    };
    let routes = vec![onward("10.77.12.0/24", "10.77.12.2"), onward("fd77:12::/64", "fd77:12::2")];
    let red = VrfSpec { name: "red".to_owned(), interfaces: vec![InterfaceId(4), InterfaceId(5)], routes };
    spec.vrfs = vec![red];
    let mut router = Router::new(spec);
    // By VLAN: on the link, on a link of the same domain, on one of the other domain.
    let cases = [
        (10, "10", true),
        (10, "20", false),
        (20, "20", true),
        (20, "30", true),
        (20, "10", false),
        (30, "30", true),
        (30, "10", true),
    ];
    let (mut packets, mut expected) = (Vec::new(), Vec::new());
    for length in 0..64 {
        let (vlan, from, passes) = cases[length * 5 % cases.len()];
        let packet = match length % 2 {
            0 => udp4_from(&format!("10.79.{from}.9"), "10.77.12.2", 64, length),
            _ => udp6_from(&format!("fd79:{from}::9"), "fd77:12::2", 64, length),
        };
        packets.push([&packet[..12], Tags::one(tag::CUSTOMER, vlan).as_bytes(), &packet[12..]].concat());
        expected.extend(passes.then_some(packet.len()));
    }
    let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let sent: Vec<usize> = router.receive_all(0, &packets).iter().map(|(_, packet)| packet.len()).collect();
    assert_eq!(sent, expected);
    assert_eq!(router.drops(DropReason::ReversePath), (64 - expected.len()) as u64);
}

#[test]
fn nobody_is_told_of_a_mistake_in_a_packet_that_is_not_his() {
    for (reverse_path, port, source4, source6, told) in [
        (ReversePath::Strict, 0, "10.200.1.1", "fd00:200::1", false),
        (ReversePath::Strict, 0, "10.201.1.1", "fd00:201::1", true),
        (ReversePath::Loose, 0, "10.66.1.1", "2001:db8::1", false),
        (ReversePath::Loose, 0, "10.200.1.1", "fd00:200::1", true),
        // Beside the interface that asks.
        (ReversePath::Strict, 1, "10.201.1.1", "fd00:201::1", true),
    ] {
        let mut router = asking(reverse_path);
        // An option that is longer than the header, in transit and for us; a destination option that is unknown and must be known.
        let mistakes = [
            with_options(&udp4_from(source4, "10.77.12.2", 64, 20), &[7, 39, 4, 0]),
            with_options(&udp4_from(source4, "10.77.10.1", 64, 20), &[7, 39, 4, 0]),
            with_extensions(&udp6_from(source6, "fd77:10::1", 64, 20), 60, &[17, 0, 0xbf, 4, 0, 0, 0, 0]),
        ];
        for (at, mut packet) in mistakes.into_iter().enumerate() {
            packet[..6].copy_from_slice(&our_mac(port).0);
            assert_eq!(
                router.receive(port, &packet).len(),
                usize::from(told),
                "{reverse_path:?}, {source4}, mistake {at}"
            );
        }
        let refused = router.drops(DropReason::ReversePath);
        let named = router.drops(DropReason::IpBadOption) + router.drops(DropReason::Ipv6BadExtension);
        assert_eq!((refused, named), if told { (0, 3) } else { (3, 0) }, "{reverse_path:?}");
    }
}

#[test]
fn an_interface_that_there_is_no_map_for_has_each_source_looked_up() {
    let mut spec = spec();
    for at in 3..23 {
        spec.interfaces.push(InterfaceSpec {
            id: InterfaceId(at),
            name: format!("port {at}"),
            link: Link::of(PortId(at)),
            mac: our_mac(at),
            mtu: 1500,
            v4: vec![format!("10.78.{at}.1/24").parse().unwrap()],
            reverse_path: ReversePath::Strict,
            ..InterfaceSpec::default()
        });
    }
    let mut router = Router::new(spec);
    assert_eq!(router.table.source_maps.iter().flatten().count(), 16);
    for (at, has_map) in [(3, true), (22, false)] {
        assert_eq!(router.table.source_maps[usize::from(at)].is_some(), has_map);
        for (from, passes) in [(at, true), (at ^ 1, false)] {
            let mut packet = udp4_from(&format!("10.78.{from}.9"), "10.77.12.2", 64, 20);
            packet[..6].copy_from_slice(&our_mac(at).0);
            assert_eq!(router.receive(at, &packet).len(), usize::from(passes), "{from} on {at}");
        }
    }
    assert_eq!(router.drops(DropReason::ReversePath), 2);
}
