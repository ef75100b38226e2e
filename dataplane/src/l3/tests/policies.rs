//! Rules that come before the routes.

use super::{
    packets::{fix_header, forwarded, from_port, icmp, udp4, udp4_from, udp6, with_extensions},
    router::{Router, spec},
};
use crate::{
    l3::{Hop, Match, PolicySpec, Route, Spec, Target, Then, VrfSpec},
    meta::{InterfaceId, VrfId},
    verdict::DropReason::*,
};

/// Where the routes send it: port 1. Rules send it to port 2.
const FAR: &str = "10.200.0.1";
const FAR6: &str = "fd00:200::1";

fn via(gateway: &str) -> Then {
    Then::Target(Target::Via { gateway: gateway.parse().unwrap(), interface: None })
}

fn rule(matches: Match, then: Then) -> PolicySpec {
    PolicySpec { name: format!("{matches:?} {then:?}"), vrf: VrfId::MAIN, own: false, matches, then }
}

fn ruled(policies: Vec<PolicySpec>) -> Spec {
    Spec { policies, ..spec() }
}

fn nets(text: &str) -> Vec<ipnet::IpNet> {
    text.split(' ').map(|net| net.parse().unwrap()).collect()
}

/// The port that a packet leaves by.
fn way(router: &mut Router, packet: &[u8]) -> u16 {
    let [(port, _)] = router.receive(0, packet)[..] else { panic!("one packet") };
    port.0
}

fn with_dscp(mut packet: Vec<u8>, dscp: u8) -> Vec<u8> {
    if packet[12] == 8 {
        packet[15] = dscp << 2 | 1;
        fix_header(&mut packet);
    } else {
        (packet[14], packet[15]) = (0x60 | dscp >> 2, dscp << 6 | 1 << 4);
    }
    packet
}

#[test]
fn each_field_is_asked_for() {
    let (tcp, other_ports) = (
        |packet: &[u8]| {
            let mut packet = packet.to_vec();
            packet[23] = 6;
            fix_header(&mut packet);
            packet
        },
        |mut packet: Vec<u8>, at: usize| {
            packet[at + 1] += 9;
            packet
        },
    );
    let plain = || udp4(FAR, 64, 40);
    let rules: [(Match, Vec<u8>, Vec<u8>); 7] = [
        (Match { incoming: vec![InterfaceId(0)], ..Match::default() }, plain(), from_port(&plain(), 2)),
        (
            Match { from: nets("10.7.0.0/16 10.77.10.0/24"), ..Match::default() },
            plain(),
            udp4_from("10.77.11.9", FAR, 64, 40),
        ),
        (Match { to: nets("10.200.0.0/24 10.201.0.0/16"), ..Match::default() }, plain(), udp4("10.200.1.1", 64, 40)),
        (Match { protocols: vec![1, 17], ..Match::default() }, plain(), tcp(&plain())),
        (Match { source_ports: vec![7..=7, 999..=1000], ..Match::default() }, plain(), other_ports(plain(), 34)),
        (Match { destination_ports: vec![79..=80], ..Match::default() }, plain(), other_ports(plain(), 36)),
        (Match { dscp: vec![46], ..Match::default() }, with_dscp(plain(), 46), with_dscp(plain(), 44)),
    ];
    for (matches, fits, does_not) in rules {
        let text = format!("{matches:?}");
        let mut router = Router::new(ruled(vec![rule(matches, via("10.77.12.2"))]));
        assert_eq!(router.receive(0, &fits), [forwarded(fits, 2)], "{text}");
        let port = if does_not[..6] == super::router::our_mac(2).0 { 2 } else { 0 };
        assert_eq!(router.receive(port, &does_not)[0].0.0, 1, "{text}");
        let counts = router.stats.policy(0);
        assert_eq!((counts.packets.value(), counts.bytes.value()), (1, 68), "{text}");
    }
}

#[test]
fn ipv6_is_asked_as_well_and_looked_through() {
    let matches = Match {
        from: nets("fd77:10::/64"),
        to: nets("fd00:200::/48"),
        protocols: vec![17],
        destination_ports: vec![80..=80],
        dscp: vec![18],
        ..Match::default()
    };
    let mut router = Router::new(ruled(vec![rule(matches, via("fd77:12::2"))]));
    let plain = with_dscp(udp6(FAR6, 64, 40), 18);
    assert_eq!(router.receive(0, &plain), [forwarded(plain.clone(), 2)]);
    // Behind destination options, and as a first piece; a later piece has no ports.
    let padding = [17, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(way(&mut router, &with_extensions(&plain, 60, &padding)), 2);
    assert_eq!(way(&mut router, &with_extensions(&plain, 44, &[17, 0, 0, 1, 0, 0, 0, 9])), 2);
    assert_eq!(way(&mut router, &with_extensions(&plain, 44, &[17, 0, 1, 1, 0, 0, 0, 9])), 1);
    assert_eq!(way(&mut router, &udp6(FAR6, 64, 40)), 1);
}

#[test]
fn the_first_rule_wins_and_may_leave_it_to_the_routes() {
    let except = Match { to: nets("10.200.0.0/24"), ..Match::default() };
    let rules = vec![
        rule(except, Then::Lookup(VrfId::MAIN)),
        rule(Match { from: nets("10.77.10.0/24"), ..Match::default() }, via("10.77.12.2")),
        rule(Match::default(), Then::Target(Target::Blackhole)),
    ];
    let mut router = Router::new(ruled(rules));
    assert_eq!(way(&mut router, &udp4(FAR, 64, 40)), 1);
    assert_eq!(way(&mut router, &udp4("10.200.9.1", 64, 40)), 2);
    assert!(router.receive(0, &udp6(FAR6, 64, 40)).is_empty());
    assert!(router.receive(0, &udp4_from("10.99.0.1", "10.77.12.2", 64, 40)).is_empty(), "what is connected as well");
    assert_eq!(router.drops(Blackhole), 2);
}

#[test]
fn a_gateway_of_ipv4_serves_ipv4_only_and_one_of_ipv6_both() {
    let mut router = Router::new(ruled(vec![rule(Match::default(), via("10.77.12.2"))]));
    assert_eq!((way(&mut router, &udp4(FAR, 64, 40)), way(&mut router, &udp6(FAR6, 64, 40))), (2, 1));
    let mut router = Router::new(ruled(vec![rule(Match::default(), via("fd77:12::2"))]));
    let packet = udp4(FAR, 64, 40);
    // RFC 8950: found by neighbour discovery, the packet stays what it is.
    assert_eq!(router.receive(0, &packet), [forwarded(packet, 2)]);
    assert_eq!(way(&mut router, &udp6(FAR6, 64, 40)), 2);
    let only_v6 = Match { to: nets("::/0"), ..Match::default() };
    let mut router = Router::new(ruled(vec![rule(only_v6, via("fd77:12::2"))]));
    assert_eq!((way(&mut router, &udp4(FAR, 64, 40)), way(&mut router, &udp6(FAR6, 64, 40))), (1, 2));
    // Flows are spread over both.
    let hop = |gateway: &str| Hop { gateway: Some(gateway.parse().unwrap()), interface: None, weight: 1 };
    let mixed = Then::Target(Target::Spread(["10.77.12.2", "fd77:12::2"].map(hop).to_vec()));
    let mut router = Router::new(ruled(vec![rule(Match::default(), mixed)]));
    assert_eq!((way(&mut router, &udp4(FAR, 64, 40)), way(&mut router, &udp6(FAR6, 64, 40))), (2, 1));
}

#[test]
fn a_refusal_is_told() {
    let refuse = |target| Router::new(ruled(vec![rule(Match::default(), Then::Target(target))]));
    let mut router = refuse(Target::Prohibit);
    let told = icmp(&router.receive(0, &udp4(FAR, 64, 40)));
    assert_eq!((told.kind, router.drops(Prohibited)), ((3, 13), 1));
    let mut router = refuse(Target::Unreachable);
    let told = icmp(&router.receive(0, &udp6(FAR6, 64, 40)));
    assert_eq!((told.kind, router.drops(NoRoute)), ((1, 3), 1));
}

/// Port 2 is in a domain of its own, which has a default route.
fn two_domains() -> Spec {
    let all = |to: &str, gateway: &str| Route {
        to: to.parse().unwrap(),
        target: Target::Via { gateway: gateway.parse().unwrap(), interface: None },
    };
    let mut spec = spec();
    spec.routes
        .retain(|route| !matches!(&route.target, Target::Via { gateway, .. } if gateway.to_string().contains("12")));
    spec.vrfs = vec![VrfSpec {
        name: "far".to_owned(),
        interfaces: vec![InterfaceId(2)],
        routes: vec![all("10.200.0.0/16", "10.77.12.2"), all("::/0", "fd77:12::2")],
    }];
    spec
}

#[test]
fn a_rule_leads_into_another_domain() {
    let mut spec = two_domains();
    spec.policies = vec![rule(Match::default(), Then::Lookup(VrfId(1)))];
    let mut router = Router::new(spec);
    assert_eq!(way(&mut router, &udp4(FAR, 64, 40)), 2);
    assert_eq!(way(&mut router, &udp6("2001:db8::1", 64, 40)), 2);
    // What leads nowhere there leads nowhere, and is told where it came from.
    let sent = router.receive(0, &udp4("10.77.11.2", 64, 40));
    assert_eq!((sent[0].0.0, icmp(&sent).kind), (0, (3, 0)));
}

/// The gateway's own addresses are reached in their own domain: neither a look-up nor a link of another leads there.
#[test]
fn a_rule_that_leads_to_ourselves_in_another_domain_leads_nowhere() {
    for then in [Then::Lookup(VrfId(1)), Then::Target(Target::Link(InterfaceId(2)))] {
        let mut router = Router::new(Spec { policies: vec![rule(Match::default(), then.clone())], ..two_domains() });
        let told = icmp(&router.receive(0, &udp4("10.77.12.1", 64, 40)));
        assert_eq!((told.port, told.kind), (0, (3, 1)), "{then:?}");
        for own in ["fd77:12::1", "fd77:12::"] {
            let sent = router.receive(0, &udp6(own, 64, 40));
            assert_eq!(sent.len(), 1, "nobody is asked for {own}: {then:?}");
            assert_eq!(icmp(&sent).kind, (1, 3), "{own}: {then:?}");
        }
        assert_eq!(router.drops(OwnAddress), 3, "{then:?}");
        assert!(router.receive(0, &udp4("10.77.12.255", 64, 40)).is_empty(), "{then:?}");
        assert_eq!((router.drops(NotForwardable), router.leaked()), (1, 0), "{then:?}");
    }
}

#[test]
fn a_rule_is_for_its_domain() {
    let mut spec = two_domains();
    let policy = rule(Match::default(), Then::Target(Target::Blackhole));
    spec.policies = vec![PolicySpec { vrf: VrfId(1), ..policy }];
    let mut router = Router::new(spec);
    assert_eq!(way(&mut router, &udp4(FAR, 64, 40)), 1);
    assert!(router.receive(2, &from_port(&udp4_from("10.77.12.2", FAR, 64, 40), 2)).is_empty());
    assert_eq!(router.drops(Blackhole), 1);
}

#[test]
fn what_is_for_us_is_ours_and_what_we_send_has_rules_of_its_own() {
    let echo = |router: &mut Router| {
        let mut bytes = udp4("10.77.10.1", 64, 0);
        bytes[23] = 1;
        // An echo request without data: eight bytes, as the UDP header.
        bytes[34..42].copy_from_slice(&[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        fix_header(&mut bytes);
        router.receive(0, &bytes)
    };
    let all = rule(Match::default(), Then::Target(Target::Blackhole));
    let mut router = Router::new(ruled(vec![all.clone()]));
    assert_eq!(echo(&mut router)[0].0.0, 0);
    let replies = Match { from: nets("10.77.10.1/32"), protocols: vec![1], ..Match::default() };
    let own = PolicySpec { own: true, ..rule(replies, via("10.77.12.2")) };
    let mut router = Router::new(ruled(vec![all, own]));
    assert_eq!(echo(&mut router)[0].0.0, 2);
    assert!(router.receive(0, &udp4(FAR, 64, 40)).is_empty());
}

#[test]
fn pieces_go_the_way_of_the_first() {
    let by_port = Match { destination_ports: vec![80..=80], ..Match::default() };
    let mut router = Router::new(ruled(vec![rule(by_port, via("10.77.11.2"))]));
    // The routes lead to port 2, the rule to port 1, which carries 1280 bytes.
    let sent = router.receive(0, &udp4("10.200.7.1", 64, 1400));
    assert_eq!(sent.iter().map(|(port, _)| port.0).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(router.stats.policy(0).packets.value(), 1);
    // Pieces that come in: the first has ports, the others have none.
    let piece = |field: u16| {
        let mut bytes = udp4("10.200.7.1", 64, 40);
        bytes[20..22].copy_from_slice(&field.to_be_bytes());
        fix_header(&mut bytes);
        bytes
    };
    assert_eq!([0x2000, 0x2009].map(|field| way(&mut router, &piece(field))), [1, 2]);
}

#[test]
fn flows_of_a_rule_keep_their_next_hop() {
    let hop = |gateway: &str| Hop { gateway: Some(gateway.parse().unwrap()), interface: None, weight: 1 };
    let spread = Then::Target(Target::Spread(vec![hop("10.77.11.2"), hop("10.77.12.2")]));
    let mut router = Router::new(ruled(vec![rule(Match { protocols: vec![17], ..Match::default() }, spread)]));
    let flow = |number: u8| {
        let mut packet = udp4("192.0.2.1", 64, 20);
        packet[35] = number;
        packet
    };
    let ways: Vec<u16> = (0..200).map(|number| way(&mut router, &flow(number))).collect();
    assert!((60..140).contains(&ways.iter().filter(|port| **port == 1).count()), "{ways:?}");
    assert!((0..200).all(|number| way(&mut router, &flow(number)) == ways[usize::from(number)]));
}

#[test]
fn a_rule_counts_on_under_its_name() {
    let named = |name: &str, to: &str| PolicySpec {
        name: name.to_owned(),
        ..rule(Match { to: nets(to), ..Match::default() }, via("10.77.12.2"))
    };
    let mut router = Router::new(spec());
    let mut builder = crate::l3::Builder::default();
    let mut take = |router: &mut Router, policies: Vec<PolicySpec>| {
        builder.configure(ruled(policies)).unwrap();
        let before = core::mem::replace(&mut router.table, builder.table());
        router.table.policies().begin_counting(before.policies(), &router.stats);
    };
    let counts = |router: &Router| {
        let rules = router.table.policies().rules().iter();
        rules.map(|rule| (rule.name.to_string(), router.stats.policy(rule.counter).packets.value())).collect::<Vec<_>>()
    };
    take(&mut router, vec![named("a", "10.200.0.0/16"), named("b", "10.66.0.0/16")]);
    router.receive(0, &udp4(FAR, 64, 40));
    router.receive(0, &udp4("10.66.0.1", 64, 40));
    router.receive(0, &udp4("10.66.0.1", 64, 40));
    assert_eq!(counts(&router), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    take(&mut router, vec![named("c", "10.0.0.0/12"), named("b", "10.66.0.0/16")]);
    assert_eq!(counts(&router), [("c".to_owned(), 0), ("b".to_owned(), 2)]);
    take(&mut router, Vec::new());
    assert!(!router.table.has_policies());
    assert_eq!(way(&mut router, &udp4(FAR, 64, 40)), 1);
}
