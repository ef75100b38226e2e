//! Sources that lie elsewhere (RFC 3704).

use super::{
    packets::{Nd, udp4_from, udp6_from},
    router::{Router, our_mac, peer_mac, spec},
};
use crate::{
    l2::Link,
    l3::{InterfaceSpec, ReversePath, Route, Target},
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
