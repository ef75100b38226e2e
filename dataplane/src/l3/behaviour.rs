//! What a router must do, packet in and packet out. Packets are built and read by an independent library.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::router::{Router, Sent, our_mac, peer_mac, spec};
use crate::{meta::PortId, verdict::DropReason};

/// A UDP packet from the neighbour on port 0.
fn udp4(destination: &str, ttl: u8, payload: usize) -> Vec<u8> {
    let to: std::net::Ipv4Addr = destination.parse().unwrap();
    let builder =
        PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0).ipv4([10, 77, 10, 2], to.octets(), ttl).udp(1000, 80);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0x5a; payload]).unwrap();
    bytes
}

fn udp6(destination: &str, hop_limit: u8, payload: usize) -> Vec<u8> {
    let to: std::net::Ipv6Addr = destination.parse().unwrap();
    let from: std::net::Ipv6Addr = "fd77:10::2".parse().unwrap();
    let builder =
        PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0).ipv6(from.octets(), to.octets(), hop_limit).udp(1000, 80);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0x5a; payload]).unwrap();
    bytes
}

/// The packet as it must look after one hop towards the neighbour of `port`.
fn forwarded(mut sent: Vec<u8>, port: u16) -> Sent {
    sent[..6].copy_from_slice(&peer_mac(port).0);
    sent[6..12].copy_from_slice(&our_mac(port).0);
    if sent[12..14] == [8, 0] {
        sent[22] -= 1;
        sent[24..26].fill(0);
        let sum = crate::io::checksum::Sum::new().add(&sent[14..34]).finish();
        sent[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        sent[21] -= 1;
    }
    (PortId(port), sent)
}

#[test]
fn lpm4() {
    let mut router = Router::new(spec());
    for (to, port) in [
        ("10.200.1.1", 1),
        ("10.200.7.1", 2),
        ("10.200.7.9", 1),
        ("10.200.7.8", 2),
        ("10.200.255.255", 1),
        ("10.77.11.2", 1),
        ("10.77.12.2", 2),
    ] {
        let packet = udp4(to, 64, 20);
        assert_eq!(router.receive(0, &packet), [forwarded(packet.clone(), port)], "{to}");
    }
    assert_eq!(router.leaked(), 0);
}

#[test]
fn lpm6() {
    let mut router = Router::new(spec());
    for (to, port) in [("fd00:200:1::1", 1), ("fd00:200:7::1", 2), ("fd77:11::2", 1)] {
        let packet = udp6(to, 64, 20);
        assert_eq!(router.receive(0, &packet), [forwarded(packet.clone(), port)], "{to}");
    }
}

#[test]
fn ttl_1_is_not_forwarded_and_brings_time_exceeded() {
    let mut router = Router::new(spec());
    let packet = udp4("10.200.1.1", 1, 20);
    let sent = router.receive(0, &packet);
    let [(PortId(0), reply)] = &sent[..] else { panic!("{sent:?}") };
    let parsed = SlicedPacket::from_ethernet(reply).unwrap();
    let Some(NetSlice::Ipv4(ip)) = parsed.net else { panic!("not IPv4") };
    assert_eq!(ip.header().source(), [10, 77, 10, 1]);
    assert_eq!(ip.header().destination(), [10, 77, 10, 2]);
    let Some(TransportSlice::Icmpv4(icmp)) = parsed.transport else { panic!("not ICMP") };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (11, 0));
    assert_eq!(icmp.payload(), &packet[14..], "the packet as it came");
    assert_eq!(router.drops(DropReason::TtlExceeded), 1);
}
