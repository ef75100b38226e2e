//! Bridges: what members send each other, and what the router sends and hears by the bridge's own interface.

use core::time::Duration;

use super::{
    packets::{arp, udp4, udp4_from},
    router::{Router, Sent, our_mac, peer_mac, spec},
};
use crate::{
    io::MacAddr,
    l2::{Bridge, Link, Tags, tag},
    l3::{ReversePath, Spec},
    meta::{InterfaceId, PortId},
    verdict::DropReason,
};

const TAGS: [Tags; 3] = [Tags::NONE, Tags::one(tag::CUSTOMER, 10), Tags::two(tag::SERVICE, 100, 7)];
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 9, 1]);
const BRIDGE: InterfaceId = InterfaceId(4);

/// Ports 0 to 2 joined, each with other tags; the bridge is 10.77.20.1/24; port 3 is 10.77.13.1/24, with a neighbour .2.
fn bridged() -> Spec {
    let mut made = spec();
    for interface in &mut made.interfaces {
        interface.link = Link::Port { port: PortId(interface.id.0), tags: TAGS[interface.id.index()] };
        (interface.v4, interface.v6, interface.mtu) = (vec![], vec![], 1500);
    }
    let mut router = spec().interfaces.remove(0);
    (router.id, router.link, router.mac) = (InterfaceId(3), Link::of(PortId(3)), our_mac(3));
    (router.v4, router.v6) = (vec!["10.77.13.1/24".parse().unwrap()], vec![]);
    let mut own = router.clone();
    (own.id, own.link, own.mac, own.v4) = (BRIDGE, Link::Bridge, OWN, vec!["10.77.20.1/24".parse().unwrap()]);
    made.interfaces.extend([router, own]);
    made.routes.clear();
    made.neighbors.clear();
    made.bridges = vec![Bridge {
        interface: BRIDGE,
        members: vec![InterfaceId(0), InterfaceId(1), InterfaceId(2)],
        mac_limit: 8,
        mac_age: Duration::from_secs(10),
        flood_limit: None,
        fixed: Vec::new(),
    }];
    made
}

fn station(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 8, n])
}

/// A frame of a kind that IP does not know.
fn frame(to: MacAddr, from: MacAddr) -> Vec<u8> {
    [&to.0[..], &from.0, &[0x88, 0xf7], &[9; 50]].concat()
}

fn tagged(bytes: &[u8], port: usize) -> Vec<u8> {
    [&bytes[..12], TAGS[port].as_bytes(), &bytes[12..]].concat()
}

/// As it arrives on, or leaves by, these ports.
fn on(ports: &[usize], bytes: &[u8]) -> Vec<Sent> {
    ports.iter().map(|port| (PortId(*port as u16), tagged(bytes, *port))).collect()
}

fn receive(router: &mut Router, port: usize, bytes: &[u8]) -> Vec<Sent> {
    let mut sent = router.receive(port as u16, &tagged(bytes, port));
    sent.sort_by_key(|(port, _)| port.0);
    assert_eq!(router.leaked(), 0);
    sent
}

#[test]
fn what_is_not_known_goes_to_all_others_and_what_is_known_to_one() {
    let mut router = Router::new(bridged());
    let hello = frame(station(2), station(1));
    assert_eq!(receive(&mut router, 0, &hello), on(&[1, 2], &hello));
    let answer = frame(station(1), station(2));
    assert_eq!(receive(&mut router, 2, &answer), on(&[0], &answer));
    assert_eq!(receive(&mut router, 0, &hello), on(&[2], &hello));
    assert_eq!(receive(&mut router, 1, &frame(station(1), station(3))), on(&[0], &frame(station(1), station(3))));
    for group in [MacAddr::BROADCAST, MacAddr([0x33, 0x33, 0, 0, 0, 5])] {
        let call = frame(group, station(1));
        assert_eq!(receive(&mut router, 0, &call), on(&[1, 2], &call));
    }
    // A station that is behind the same member is not for us.
    receive(&mut router, 0, &frame(station(1), station(4)));
    assert!(receive(&mut router, 0, &frame(station(4), station(1))).is_empty());
    assert_eq!(router.drops(DropReason::BridgeSameSide), 2);
}

#[test]
fn a_station_that_moves_is_followed_and_a_silent_one_forgotten() {
    let mut router = Router::new(bridged());
    let to_one = frame(station(1), station(2));
    receive(&mut router, 0, &frame(station(9), station(1)));
    assert_eq!(receive(&mut router, 1, &to_one), on(&[0], &to_one));
    receive(&mut router, 2, &frame(station(9), station(1)));
    assert_eq!(receive(&mut router, 1, &to_one), on(&[2], &to_one));
    assert_eq!(router.stats.bridge_moves.value(), 1);
    assert_eq!(router.stats.bridge_stations.value(), 2);
    router.wait(Duration::from_secs(11));
    assert_eq!(receive(&mut router, 1, &to_one), on(&[0, 2], &to_one));
    assert_eq!(router.stats.bridge_stations.value(), 1, "who was forgotten, and who has just spoken");
}

#[test]
fn addresses_that_somebody_makes_up_fill_no_more_than_the_limit() {
    let mut router = Router::new(bridged());
    for n in 0..200 {
        let made_up = frame(station(250), station(n));
        assert_eq!(receive(&mut router, 0, &made_up), on(&[1, 2], &made_up), "flooded, not lost");
    }
    assert_eq!((router.stats.bridge_stations.value(), router.stats.bridge_refused.value()), (8, 192));
    assert_eq!(receive(&mut router, 1, &frame(station(3), station(251))), on(&[0], &frame(station(3), station(251))));
}

#[test]
fn a_bridge_asks_where_the_sources_of_what_it_routes_lie() {
    let mut spec = bridged();
    spec.interfaces[4].reverse_path = ReversePath::Strict;
    for (source, passes) in [("10.77.20.5", true), ("10.77.13.5", false), ("10.99.0.1", false)] {
        for member in 0..3 {
            let mut router = Router::new(spec.clone());
            let mut packet = udp4_from(source, "10.77.20.1", 64, 20);
            packet[..12].copy_from_slice(&[OWN.0, station(1).0].concat());
            let before = router.drops(DropReason::ReversePath);
            let answered = !receive(&mut router, member, &packet).is_empty();
            let refused = router.drops(DropReason::ReversePath) - before;
            // The answer begins with the question for the sender's hardware address.
            assert_eq!((answered, refused), (passes, u64::from(!passes)), "{source}, {member}");
        }
    }
}

#[test]
fn what_no_bridge_forwards_is_lost_by_name() {
    let mut router = Router::new(bridged());
    for (lost, reason) in [
        (frame(station(2), OWN), DropReason::BridgeLoop),
        (frame(station(2), MacAddr::BROADCAST), DropReason::L2BadSource),
        (frame(station(2), MacAddr::default()), DropReason::L2BadSource),
    ] {
        let before = router.drops(reason);
        assert!(receive(&mut router, 0, &lost).is_empty(), "{reason}");
        assert_eq!(router.drops(reason), before + 1);
    }
    let mut spec = bridged();
    spec.bridges[0].flood_limit = Some(10);
    router.reload(spec);
    let sent: usize = (0..100).map(|_| receive(&mut router, 0, &frame(station(7), station(1))).len()).sum();
    assert_eq!((sent, router.drops(DropReason::BridgeFloodLimited)), (128, 36));
    // Two members are left, and one of them takes only shorter frames.
    let mut spec = bridged();
    spec.bridges[0].members.pop();
    spec.interfaces[1].mtu = 1280;
    router.reload(spec);
    let long = [frame(station(7), station(1)), vec![0; 1300]].concat();
    assert!(receive(&mut router, 0, &long).is_empty());
    assert_eq!(router.drops(DropReason::TooLong), 1);
}

#[test]
fn reserved_groups_end_at_the_bridge_and_their_neighbours_do_not() {
    let mut router = Router::new(bridged());
    for last in 0..=0x30 {
        let to = MacAddr([1, 0x80, 0xc2, 0, 0, last]);
        let expected = if last < 16 { Vec::new() } else { on(&[1, 2], &frame(to, station(1))) };
        assert_eq!(receive(&mut router, 0, &frame(to, station(1))), expected, "{to}");
    }
    assert_eq!(router.drops(DropReason::BridgeReserved), 16);
    // Nobody is learnt from them: a neighbouring bridge's frames say nothing about stations.
    receive(&mut router, 1, &frame(MacAddr([1, 0x80, 0xc2, 0, 0, 0]), station(5)));
    assert_eq!(receive(&mut router, 0, &frame(station(5), station(1))), on(&[1, 2], &frame(station(5), station(1))));
}

#[test]
fn a_fixed_station_is_found_before_it_speaks_and_stays_when_another_takes_its_address() {
    let mut spec = bridged();
    spec.bridges[0].fixed = vec![(station(7), InterfaceId(2))];
    let mut router = Router::new(spec);
    let to_seven = frame(station(7), station(1));
    assert_eq!(receive(&mut router, 0, &to_seven), on(&[2], &to_seven));
    let pretended = frame(station(1), station(7));
    assert_eq!(receive(&mut router, 1, &pretended), on(&[0], &pretended));
    assert_eq!(router.stats.bridge_refused.value(), 1);
    assert_eq!(receive(&mut router, 0, &to_seven), on(&[2], &to_seven));
    router.wait(Duration::from_secs(60));
    assert_eq!(receive(&mut router, 0, &to_seven), on(&[2], &to_seven));
    router.reload(bridged());
    assert_eq!(receive(&mut router, 0, &to_seven), on(&[1, 2], &to_seven));
}

#[test]
fn the_bridge_is_an_interface_too() {
    let mut router = Router::new(bridged());
    // Who asks for the bridge is answered by the way it came; the others hear the question.
    let question = arp(1, (station(1), "10.77.20.5"), (MacAddr::BROADCAST, "10.77.20.1"));
    let answer = arp(2, (OWN, "10.77.20.1"), (station(1), "10.77.20.5"));
    let mut expected = on(&[1, 2], &question);
    expected.insert(0, (PortId(0), answer));
    assert_eq!(receive(&mut router, 0, &question), expected);
    // From a routed port to a station: asked for on every member, and then sent to its own alone.
    let known = arp(1, (peer_mac(3), "10.77.13.2"), (MacAddr::BROADCAST, "10.77.13.1"));
    assert_eq!(router.receive(3, &known).len(), 1);
    let mut packet = udp4_from("10.77.13.2", "10.77.20.6", 64, 30);
    packet[..6].copy_from_slice(&our_mac(3).0);
    packet[6..12].copy_from_slice(&peer_mac(3).0);
    let mut asked = router.receive(3, &packet);
    asked.sort_by_key(|(port, _)| port.0);
    let question = arp(1, (OWN, "10.77.20.1"), (MacAddr::BROADCAST, "10.77.20.6"));
    assert_eq!(asked, on(&[0, 1, 2], &question));
    let answer = arp(2, (station(6), "10.77.20.6"), (OWN, "10.77.20.1"));
    let delivered = receive(&mut router, 2, &answer);
    assert_eq!((delivered.len(), delivered[0].0), (1, PortId(2)));
    assert_eq!((&delivered[0].1[..6], &delivered[0].1[12..20]), (&station(6).0[..], TAGS[2].as_bytes()));
    // And from a station out of the bridge.
    let mut back = udp4("10.77.13.2", 64, 30);
    back[..6].copy_from_slice(&OWN.0);
    back[6..12].copy_from_slice(&station(6).0);
    let routed = receive(&mut router, 2, &back);
    assert_eq!((routed.len(), routed[0].0, &routed[0].1[..6]), (1, PortId(3), &peer_mac(3).0[..]));
    let own = router.stats.interface(BRIDGE);
    assert_eq!((own.rx_packets.value(), own.tx_packets.value()), (3, 3));
}

#[test]
fn a_member_that_goes_is_forgotten() {
    let mut router = Router::new(bridged());
    receive(&mut router, 2, &frame(station(9), station(1)));
    let to_one = frame(station(1), station(2));
    assert_eq!(receive(&mut router, 0, &to_one), on(&[2], &to_one));
    let mut fewer = bridged();
    fewer.bridges[0].members.pop();
    router.reload(fewer);
    assert_eq!(receive(&mut router, 0, &to_one), on(&[1], &to_one));
    assert!(router.receive(2, &tagged(&to_one, 2)).is_empty());
}
