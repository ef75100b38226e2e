//! Which errors a router sends, from which address, and how many. What each looks like is in `forwarding` and `local`.

use core::time::Duration;

use super::{
    packets::{icmp, udp4, udp6, with_extensions},
    router::{Router, spec},
};
use crate::{
    l3::{IcmpLimits, Route, Target},
    meta::InterfaceId,
    verdict::DropReason,
};

#[test]
fn an_interface_without_addresses_borrows_one() {
    let mut spec = spec();
    let near = |to: &str| Route { to: to.parse().unwrap(), target: Target::Link(InterfaceId(0)) };
    spec.interfaces[0].v4.clear();
    spec.interfaces[0].v6.clear();
    spec.neighbors.retain(|neighbor| neighbor.interface != InterfaceId(0));
    spec.routes.extend([near("10.77.10.0/24"), near("fd77:10::/64")]);
    spec.neighbors.extend(super::router::spec().neighbors.into_iter().filter(|n| n.interface == InterfaceId(0)));
    let mut router = Router::new(spec);
    assert_eq!(icmp(&router.receive(0, &udp4("10.200.1.1", 1, 20))).source, "10.77.11.1");
    assert_eq!(icmp(&router.receive(0, &udp6("fd00:200::1", 1, 20))).source, "fd77:11::1");
}

#[test]
fn who_cannot_be_reached_is_not_told() {
    let mut router = Router::new(spec());
    let sent = router.receive(0, &super::packets::udp4_from("192.0.2.7", "10.200.1.1", 1, 20));
    assert!(sent.is_empty());
    // Nothing was made that then had no route.
    assert_eq!((router.drops(DropReason::TtlExceeded), router.drops(DropReason::NoRoute)), (1, 0));
}

#[test]
fn nothing_is_said_about_errors_behind_extension_headers() {
    // An ICMPv6 message of eight bytes behind destination options with padding.
    let behind = |kind: u8, next: u8, header: [u8; 8]| {
        let mut packet = udp6("fd00:200::1", 1, 0);
        packet[54..62].copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        with_extensions(&packet, next, &header)
    };
    let mut router = Router::new(spec());
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        assert!(router.receive(0, &behind(kind, 60, [58, 0, 1, 4, 0, 0, 0, 0])).is_empty(), "{kind}");
    }
    assert!(router.receive(0, &behind(128, 44, [58, 0, 0, 8, 0, 0, 0, 1])).is_empty(), "who knows");
    assert_eq!(
        icmp(&router.receive(0, &behind(128, 60, [58, 0, 1, 4, 0, 0, 0, 0]))).kind,
        (3, 0),
        "a query is no error"
    );
    assert_eq!(icmp(&router.receive(0, &behind(1, 44, [17, 0, 0, 8, 0, 0, 0, 1]))).kind, (3, 0), "UDP is none");
}

#[test]
fn errors_are_limited_as_configured() {
    let limited = |errors, errors_at_once| {
        let mut spec = spec();
        spec.icmp = IcmpLimits { errors, errors_at_once, ..IcmpLimits::default() };
        spec
    };
    let told =
        |router: &mut Router| (0..40).filter(|_| !router.receive(0, &udp4("192.0.2.1", 64, 20)).is_empty()).count();
    let mut router = Router::new(limited(10, 5));
    assert_eq!((told(&mut router), router.drops(DropReason::IcmpRateLimited)), (5, 35));
    router.wait(Duration::from_millis(300));
    assert_eq!(told(&mut router), 3, "ten in a second");
    router.reload(limited(10, 5));
    assert_eq!(told(&mut router), 0, "a reload that says the same fills no bucket");
    router.reload(limited(1000, 20));
    assert_eq!(told(&mut router), 20);
}
