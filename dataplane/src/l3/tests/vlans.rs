//! Interfaces with tags: whatever the router does on a port it does on a VLAN, with the tags in front and nothing else changed.

use super::{
    packets::{arp, forwarded, udp4, udp6},
    router::{Router, Sent, our_mac, peer_mac, spec},
};
use crate::{
    io::MacAddr,
    l2::{Link, Tags, tag},
    meta::{InterfaceId, PortId},
    verdict::DropReason,
};
use core::time::Duration;
use etherparse::PacketBuilder;

const TAGS: [Tags; 5] = [
    Tags::NONE,
    Tags::one(tag::CUSTOMER, 10),
    Tags::one(tag::SERVICE, 4094),
    Tags::two(tag::SERVICE, 100, 1),
    Tags::two(tag::CUSTOMER, 100, 10),
];

/// The router of the other tests, whose interfaces have these tags.
fn tagged_router(tags: [Tags; 3]) -> Router {
    let mut spec = spec();
    for (interface, tags) in spec.interfaces.iter_mut().zip(tags) {
        interface.link = Link::Port { port: PortId(interface.id.0), tags };
    }
    Router::new(spec)
}

fn tagged(bytes: &[u8], tags: &Tags) -> Vec<u8> {
    [&bytes[..12], tags.as_bytes(), &bytes[12..]].concat()
}

/// Packets to port 0 of every kind that is answered, forwarded, cut or refused.
fn packets() -> Vec<Vec<u8>> {
    let solicitation = {
        let mut bytes = Vec::new();
        let ip = PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0).ipv6(
            "fd77:10::2".parse::<core::net::Ipv6Addr>().unwrap().octets(),
            "fd77:10::1".parse::<core::net::Ipv6Addr>().unwrap().octets(),
            255,
        );
        let target = "fd77:10::1".parse::<core::net::Ipv6Addr>().unwrap().octets();
        let body = [&target[..], &[1, 1], &peer_mac(0).0].concat();
        ip.icmpv6_raw(135, 0, [0; 4]).write(&mut bytes, &body).unwrap();
        bytes
    };
    let echo = {
        let mut bytes = Vec::new();
        let ip = PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0).ipv4([10, 77, 10, 2], [10, 77, 10, 1], 64);
        ip.icmpv4_echo_request(1, 1).write(&mut bytes, &[7; 100]).unwrap();
        bytes
    };
    vec![
        udp4("10.200.1.1", 64, 30),
        udp4("10.200.7.1", 64, 1472),
        udp6("fd00:200::1", 64, 30),
        udp6("fd00:200::1", 64, 1400),
        udp4("10.200.1.1", 1, 30),
        udp4("10.200.1.1", 64, 1400),
        udp4("10.77.12.50", 64, 30),
        udp6("fd77:12::50", 64, 30),
        udp4("10.77.10.1", 64, 30),
        udp4("10.99.1.1", 64, 30),
        arp(1, (peer_mac(0), "10.77.10.2"), (MacAddr::BROADCAST, "10.77.10.1")),
        solicitation,
        echo,
    ]
}

#[test]
fn tags_are_all_that_differs() {
    for incoming in TAGS {
        for outgoing in TAGS {
            let of_port = [incoming, outgoing, outgoing];
            let (mut plain, mut router) = (tagged_router([Tags::NONE; 3]), tagged_router(of_port));
            for packet in packets() {
                let expected: Vec<Sent> = plain.receive(0, &packet);
                let expected: Vec<Sent> =
                    expected.into_iter().map(|(port, bytes)| (port, tagged(&bytes, &of_port[port.index()]))).collect();
                assert_eq!(router.receive(0, &tagged(&packet, &incoming)), expected, "{incoming:?} to {outgoing:?}");
                assert!(!expected.is_empty());
            }
            assert_eq!(router.leaked(), 0);
            // Questions are repeated, and what waits in vain is complained about, through the same tags.
            let expected = plain.wait(Duration::from_secs(5)).into_iter();
            let expected: Vec<Sent> =
                expected.map(|(port, bytes)| (port, tagged(&bytes, &of_port[port.index()]))).collect();
            assert_eq!(router.wait(Duration::from_secs(5)), expected);
            assert!(expected.len() > 4);
        }
    }
}

#[test]
fn one_port_has_many_interfaces() {
    let mut spec = spec();
    for (interface, tags) in spec.interfaces.iter_mut().zip([TAGS[0], TAGS[1], TAGS[3]]) {
        interface.link = Link::Port { port: PortId(0), tags };
    }
    let mut router = Router::new(spec);
    // From the untagged side to a VLAN of the same port and to two tags; and with a priority in front, which is no VLAN.
    let (_, through) = forwarded(udp4("10.200.1.1", 64, 30), 1);
    let priority = Tags::one(tag::CUSTOMER, 0);
    for packet in [udp4("10.200.1.1", 64, 30), tagged(&udp4("10.200.1.1", 64, 30), &priority)] {
        assert_eq!(router.receive(0, &packet), [(PortId(0), tagged(&through, &TAGS[1]))]);
    }
    let (_, through) = forwarded(udp4("10.200.7.1", 64, 30), 2);
    assert_eq!(router.receive(0, &udp4("10.200.7.1", 64, 30)), [(PortId(0), tagged(&through, &TAGS[3]))]);
    // An address is answered for on its own link only.
    let question = arp(1, (peer_mac(0), "10.77.10.2"), (MacAddr::BROADCAST, "10.77.10.1"));
    assert_eq!(router.receive(0, &question).len(), 1);
    assert!(router.receive(0, &tagged(&question, &TAGS[1])).is_empty());
    let counters = router.stats.interface(InterfaceId(1));
    assert_eq!((counters.rx_packets.value(), counters.rx_bytes.value()), (1, 46));
}

#[test]
fn what_no_interface_has_is_lost_by_name() {
    let mut router = tagged_router([TAGS[1], TAGS[0], TAGS[0]]);
    let packet = udp4("10.200.1.1", 64, 30);
    for tags in [Tags::one(tag::CUSTOMER, 11), Tags::one(tag::SERVICE, 10), Tags::two(tag::CUSTOMER, 10, 10)] {
        assert!(router.receive(0, &tagged(&packet, &tags)).is_empty());
    }
    assert_eq!(router.drops(DropReason::VlanUnknown), 3);
    assert!(router.receive(0, &tagged(&packet, &TAGS[1])[..16]).is_empty());
    assert_eq!(router.drops(DropReason::L2Truncated), 1);
    let strange = [&tagged(&packet, &TAGS[1])[..16], &[0x88, 0xcc, 1, 2, 3]].concat();
    assert!(router.receive(0, &strange).is_empty());
    assert_eq!((router.drops(DropReason::L2UnknownType), router.leaked()), (1, 0));
}

#[test]
fn who_was_known_on_a_vlan_is_not_known_on_another() {
    let with = |tags: Tags| {
        let mut spec = spec();
        spec.neighbors.clear();
        spec.interfaces[1].link = Link::Port { port: PortId(1), tags };
        spec
    };
    let mut router = Router::new(with(TAGS[1]));
    let packet = udp4("10.77.11.2", 64, 30);
    let asked = router.receive(0, &packet);
    assert_eq!(asked[0].1[12..16], *TAGS[1].as_bytes());
    let answer = tagged(&arp(2, (peer_mac(1), "10.77.11.2"), (our_mac(1), "10.77.11.1")), &TAGS[1]);
    assert_eq!(router.receive(1, &answer), [(PortId(1), tagged(&forwarded(packet.clone(), 1).1, &TAGS[1]))]);
    router.reload(with(TAGS[1]));
    assert_eq!(router.receive(0, &packet).len(), 1, "still known");
    router.reload(with(TAGS[2]));
    let asked = router.receive(0, &packet);
    assert_eq!((&asked[0].1[..6], &asked[0].1[12..16]), (&[0xff; 6][..], TAGS[2].as_bytes()), "asked for again");
}
