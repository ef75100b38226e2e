//! How long segments of connections in transit may be.

use etherparse::PacketBuilder;

use super::{
    packets::{v4, v6},
    router::{Router, our_mac, peer_mac, spec},
};
use crate::{
    io::checksum::Sum,
    l3::SegmentLimit::{self, *},
};

/// A SYN from the neighbour on port 0 that announces segments of `mss`.
fn syn(to: &str, mss: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ethernet = PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0);
    let ip = if to.contains(':') {
        ethernet.ipv6(v6("fd77:10::2").octets(), v6(to).octets(), 64)
    } else {
        ethernet.ipv4(v4("10.77.10.2").octets(), v4(to).octets(), 64)
    };
    let tcp = ip.tcp(4000, 80, 1, 65000).syn().options_raw(&[2, 4, (mss >> 8) as u8, mss as u8]).unwrap();
    tcp.write(&mut bytes, &[]).unwrap();
    bytes
}

/// The number in the only packet that came out, whose checksum is right.
fn announced(router: &mut Router, packet: &[u8]) -> u16 {
    let sent = router.receive(0, packet);
    let [(_, bytes)] = &sent[..] else { panic!("{sent:02x?}") };
    let (at, addresses) = if bytes[12] == 0x86 { (54, 22..54) } else { (34, 26..34) };
    let (source, destination) = bytes[addresses].split_at(if at == 54 { 16 } else { 4 });
    let segment = &bytes[at..];
    let sum = Sum::new().add_pseudo(source, destination, 6, segment.len()).add(segment);
    assert_eq!(sum.folded(), 0xffff, "the checksum");
    u16::from_be_bytes([segment[22], segment[23]])
}

/// Port 1, out of which 10.200.0.0/16 lies, has an MTU of 1280; ports 0 and 2 have 1500.
fn router(inward: SegmentLimit, outward: SegmentLimit) -> Router {
    let mut spec = spec();
    (spec.interfaces[0].segments, spec.interfaces[1].segments) = (inward, outward);
    Router::new(spec)
}

#[test]
fn either_interface_limits_and_the_smaller_wins() {
    for (inward, outward, v4, v6) in [
        (Off, Off, 1460, 1460),
        (PathMtu, Off, 1240, 1220),
        (Off, PathMtu, 1240, 1220),
        (Bytes(1000), Off, 1000, 1000),
        (Off, Bytes(1300), 1300, 1300),
        (Bytes(1300), PathMtu, 1240, 1220),
        (Bytes(1100), Bytes(1000), 1000, 1000),
    ] {
        let mut router = router(inward, outward);
        assert_eq!(announced(&mut router, &syn("10.200.1.1", 1460)), v4, "{inward:?} {outward:?}");
        assert_eq!(announced(&mut router, &syn("fd00:200:1::1", 1460)), v6, "{inward:?} {outward:?}");
        assert_eq!(announced(&mut router, &syn("10.200.1.1", 700)), 700, "never raised");
        assert_eq!(router.leaked(), 0);
    }
}

#[test]
fn other_ways_are_not_concerned() {
    let mut router = router(Off, PathMtu);
    assert_eq!(announced(&mut router, &syn("10.200.7.1", 1460)), 1460, "out of port 2");
    assert_eq!(announced(&mut router, &syn("fd00:200:7::1", 1440)), 1440);
}

#[test]
fn a_later_fragment_has_no_header() {
    let mut router = router(Bytes(600), Off);
    let mut packet = syn("10.200.1.1", 1460);
    // The third eight bytes of a packet, which look like a SYN.
    packet[20..22].copy_from_slice(&3u16.to_be_bytes());
    super::packets::fix_header(&mut packet);
    let sent = router.receive(0, &packet);
    assert_eq!(sent[0].1[34..], packet[34..]);
}
