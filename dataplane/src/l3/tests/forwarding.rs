//! What a router does with packets in transit, clause by clause.

use super::{
    packets::{fix_header, forwarded, icmp, udp4, udp4_from, udp6, udp6_from, v4, with_extensions, with_options},
    router::{Router, our_mac, spec},
};
use crate::{
    meta::PortId,
    verdict::DropReason::{self, *},
};

/// A packet that must not come through, nor bring an answer.
fn refused(port: u16, packet: &[u8], reason: DropReason) {
    let mut router = Router::new(spec());
    let sent = router.receive(port, packet);
    assert!(sent.is_empty(), "{sent:02x?}");
    assert_eq!(router.drops(reason), 1, "{reason}");
    assert_eq!(router.leaked(), 0);
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
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.port, &*reply.source, &*reply.destination), (0, "10.77.10.1", "10.77.10.2"));
    assert_eq!((reply.kind, reply.rest), ((11, 0), 0));
    assert_eq!(reply.payload, packet[14..], "the packet as it came");
    assert_eq!(router.drops(TtlExceeded), 1);

    let packet = udp6("fd00:200::1", 1, 20);
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.port, &*reply.source, &*reply.destination), (0, "fd77:10::1", "fd77:10::2"));
    assert_eq!((reply.kind, reply.payload), ((3, 0), packet[14..].to_vec()));
}

#[test]
fn header_checksum() {
    let mut packet = udp4("10.200.1.1", 64, 20);
    packet[24] ^= 0x55;
    refused(0, &packet, Ipv4BadChecksum);
}

#[test]
fn lengths() {
    let with_length = |len: u16| {
        let mut packet = udp4("10.200.1.1", 64, 20);
        packet[16..18].copy_from_slice(&len.to_be_bytes());
        fix_header(&mut packet);
        packet
    };
    refused(0, &with_length(4000), IpTruncated);
    refused(0, &with_length(19), IpBadHeader);
    refused(0, &udp4("10.200.1.1", 64, 20)[..14 + 19], IpTruncated);
    let mut packet = udp6("fd00:200::1", 64, 20);
    packet[18] = 1;
    refused(0, &packet, IpTruncated);
    refused(0, &udp6("fd00:200::1", 64, 0)[..14 + 39], IpTruncated);
}

#[test]
fn version_and_header_length() {
    for first in [0x55, 0x44] {
        let mut packet = udp4("10.200.1.1", 64, 20);
        packet[14] = first;
        refused(0, &packet, IpBadHeader);
    }
    let mut packet = udp6("fd00:200::1", 64, 20);
    packet[14] = 0x40;
    refused(0, &packet, IpBadHeader);
}

#[test]
fn ethernet_padding_is_cut_off() {
    let mut router = Router::new(spec());
    let packet = udp4("10.200.1.1", 64, 2);
    let padded = [&packet[..], &[0; 16]].concat();
    assert_eq!(router.receive(0, &padded), [forwarded(packet, 1)]);
    let packet = udp6("fd00:200::1", 64, 2);
    let padded = [&packet[..], &[0; 16]].concat();
    assert_eq!(router.receive(0, &padded), [forwarded(packet, 1)]);
}

#[test]
fn a_frame_for_another_station_is_not_routed() {
    let mut packet = udp4("10.200.1.1", 64, 20);
    packet[..6].copy_from_slice(&[2, 0xde, 0xad, 0xbe, 0xef, 1]);
    refused(0, &packet, L2WrongAddress);
}

#[test]
fn unicast_sent_to_the_whole_link_is_not_routed() {
    let mut packet = udp4("10.200.1.1", 64, 20);
    packet[..6].fill(0xff);
    refused(0, &packet, NotForwardable);
    let mut packet = udp6("fd00:200::1", 64, 20);
    packet[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    refused(0, &packet, NotForwardable);
}

#[test]
fn martians() {
    for source in ["127.0.0.5", "0.0.0.0", "0.1.2.3", "224.0.0.5", "240.0.0.1", "255.255.255.255", "10.77.10.255"] {
        refused(0, &udp4_from(source, "10.200.1.1", 64, 20), IpMartian);
    }
    for destination in ["127.0.0.1", "0.0.0.0", "250.1.2.3"] {
        refused(0, &udp4(destination, 64, 20), IpMartian);
    }
    for source in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
        refused(0, &udp6_from(source, "fd00:200::1", 64, 20), IpMartian);
    }
    for destination in ["::", "::1", "::ffff:10.0.0.1"] {
        refused(0, &udp6(destination, 64, 20), IpMartian);
    }
}

#[test]
fn our_own_address_as_source() {
    refused(0, &udp4_from("10.77.12.1", "10.200.1.1", 64, 20), IpOwnSource);
    refused(0, &udp6_from("fd77:12::1", "fd00:200::1", 64, 20), IpOwnSource);
}

#[test]
fn groups_are_not_forwarded() {
    for destination in ["224.0.0.1", "239.1.2.3"] {
        let mut packet = udp4(destination, 64, 20);
        packet[..6].copy_from_slice(&[1, 0, 0x5e, 1, 2, 3]);
        refused(0, &packet, NotForwardable);
    }
    let mut packet = udp6("ff0e::7", 64, 20);
    packet[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 7]);
    refused(0, &packet, NotForwardable);
    // A directed broadcast (RFC 2644) ends here, and nobody is told.
    refused(0, &udp4("10.77.11.255", 64, 20), NoListener);
}

#[test]
fn link_local_stays_on_its_link() {
    refused(0, &udp6("fe80::99", 64, 20), NotForwardable);
    let mut router = Router::new(spec());
    let reply = router.receive(0, &udp6_from("fe80::99", "fd00:200::1", 64, 20));
    // The answer must go out on the same link, to a neighbour that has to be found first.
    let [(PortId(0), question)] = &reply[..] else { panic!("{reply:02x?}") };
    assert_eq!(question[54], 135);
    assert_eq!(router.drops(NotForwardable), 1);
}

#[test]
fn blackhole() {
    refused(0, &udp4("10.66.1.1", 64, 20), Blackhole);
}

#[test]
fn no_way_brings_an_answer() {
    let mut router = Router::new(spec());
    let answer = |router: &mut Router, packet: &[u8]| {
        let reply = icmp(&router.receive(0, packet));
        (reply.kind, reply.source)
    };
    assert_eq!(answer(&mut router, &udp4("192.0.2.1", 64, 20)), ((3, 0), "10.77.10.1".to_owned()));
    assert_eq!(answer(&mut router, &udp4("10.67.1.1", 64, 20)), ((3, 1), "10.77.10.1".to_owned()));
    assert_eq!(answer(&mut router, &udp6("2001:db8::1", 64, 20)), ((1, 0), "fd77:10::1".to_owned()));
    assert_eq!(router.drops(NoRoute), 3);
}

#[test]
fn too_big_and_not_to_be_cut() {
    let mut router = Router::new(spec());
    let mut packet = udp4("10.200.1.1", 64, 1400 - 28);
    packet[20] = 0x40;
    fix_header(&mut packet);
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.kind, reply.rest, &*reply.source), ((3, 4), 1280, "10.77.10.1"));
    assert_eq!(reply.payload, packet[14..14 + 548], "RFC 1812 §4.3.2.3: 576 bytes in all");

    let packet = udp6("fd00:200::1", 64, 1400 - 48);
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.kind, reply.rest), ((2, 0), 1280));
    assert_eq!(reply.payload, packet[14..14 + 1232], "RFC 4443 §2.4 (c): the minimum MTU in all");
    assert_eq!(router.drops(PacketTooBig), 2);

    // What just fits goes through.
    let packet = udp4("10.200.1.1", 64, 1280 - 28);
    assert_eq!(router.receive(0, &packet), [forwarded(packet, 1)]);
}

/// Puts fragments of one packet together again; header of the first, payload of all.
fn reassembled(sent: &[super::router::Sent]) -> (Vec<u8>, Vec<u8>) {
    let (mut payload, mut header) = (Vec::new(), Vec::new());
    for (index, (port, bytes)) in sent.iter().enumerate() {
        let len = usize::from(bytes[14] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
        assert!(*port == PortId(1) && total <= 1280 && total == bytes.len() - 14);
        assert_eq!(crate::io::checksum::Sum::new().add(&bytes[14..14 + len]).folded(), 0xffff);
        let field = u16::from_be_bytes([bytes[20], bytes[21]]);
        assert_eq!(usize::from(field & 0x1fff) * 8, payload.len());
        assert_eq!(field & 0x2000 != 0, index + 1 < sent.len());
        payload.extend(&bytes[14 + len..]);
        if index == 0 {
            header = bytes[14..14 + len].to_vec();
        }
    }
    (header, payload)
}

#[test]
fn too_big_but_may_be_cut() {
    let mut router = Router::new(spec());
    let packet = udp4("10.200.1.1", 64, 1400 - 28);
    let sent = router.receive(0, &packet);
    assert_eq!(sent.len(), 2);
    let (header, payload) = reassembled(&sent);
    assert_eq!(payload, packet[34..]);
    assert_eq!((header[8], &header[12..]), (63, &packet[26..34]));
    assert_eq!(sent[1].1[22], 63, "a hop is counted once for every piece");
    assert_eq!(router.leaked(), 0);
}

#[test]
fn a_fragment_is_cut_further_and_keeps_its_place() {
    let mut router = Router::new(spec());
    let mut packet = udp4("10.200.1.1", 64, 1404 - 28);
    packet[20..22].copy_from_slice(&(0x2000u16 | 100).to_be_bytes());
    fix_header(&mut packet);
    let sent = router.receive(0, &packet);
    let fields: Vec<_> = sent.iter().map(|(_, bytes)| u16::from_be_bytes([bytes[20], bytes[21]])).collect();
    assert_eq!(fields, [0x2000 | 100, 0x2000 | (100 + 1256 / 8)], "more fragments follow the last piece too");
}

#[test]
fn only_options_meant_for_all_pieces_are_copied() {
    let mut router = Router::new(spec());
    // Record route (7) is for the first fragment only; router alert (148) for all (RFC 791 §3.1, RFC 2113).
    let options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0];
    let packet = with_options(&udp4("10.200.1.1", 64, 1400 - 28), &options);
    let sent = router.receive(0, &packet);
    let (header, payload) = reassembled(&sent);
    assert_eq!((&header[20..], &payload[..]), (&options[..], &packet[46..]));
    assert_eq!(sent[1].1[14], 0x46);
    assert_eq!(sent[1].1[34..38], [148, 4, 0, 0]);
}

#[test]
fn options_and_extension_headers_are_forwarded_unchanged() {
    let mut router = Router::new(spec());
    let packet = with_options(&udp4("10.200.1.1", 64, 20), &[7, 7, 4, 0, 0, 0, 0, 0]);
    assert_eq!(router.receive(0, &packet), [forwarded(packet, 1)]);
    // Not even one whose unknown option would be a fault at the destination.
    let packet = with_extensions(&udp6("fd00:200::1", 64, 20), 60, &[17, 0, 0x85, 4, 0, 0, 0, 0]);
    assert_eq!(router.receive(0, &packet), [forwarded(packet, 1)]);
}

#[test]
fn a_burst_over_both_routes_keeps_its_order() {
    let mut router = Router::new(spec());
    let packet = |i: u16| {
        let mut packet = udp4(if i & 1 == 1 { "10.200.1.1" } else { "10.200.7.1" }, 64, 58);
        packet[34..36].copy_from_slice(&(1000 + i).to_be_bytes());
        packet
    };
    let mut seen = [Vec::new(), Vec::new(), Vec::new()];
    for first in (0..2000).step_by(50) {
        let packets: Vec<_> = (first..first + 50).map(packet).collect();
        let slices: Vec<_> = packets.iter().map(Vec::as_slice).collect();
        for (port, bytes) in router.receive_all(0, &slices) {
            seen[port.index()].push(u16::from_be_bytes([bytes[34], bytes[35]]));
        }
    }
    assert_eq!((seen[1].len(), seen[2].len()), (1000, 1000));
    assert!(seen.iter().all(|flow| flow.is_sorted()));
}

#[test]
fn an_unknown_ethertype_and_a_bad_source_end_at_the_door() {
    let mut packet = udp4("10.200.1.1", 64, 20);
    packet[12..14].copy_from_slice(&[0x88, 0xcc]);
    refused(0, &packet, L2UnknownType);
    let mut packet = udp4("10.200.1.1", 64, 20);
    packet[6] = 1;
    refused(0, &packet, L2BadSource);
    refused(0, &our_mac(0).0, L2Truncated);
}

#[test]
fn the_source_of_a_packet_of_ours_is_on_its_way_out() {
    let router = Router::new(spec());
    let source = |to: &str| router.table.source_for(to.parse().unwrap()).map(|(ip, port)| (ip.to_string(), port.0));
    assert_eq!(source("10.200.7.1"), Some(("10.77.12.1".to_owned(), 2)));
    assert_eq!(source("10.77.11.9"), Some(("10.77.11.1".to_owned(), 1)));
    assert_eq!(source("fd00:200:7::1"), Some(("fd77:12::1".to_owned(), 2)));
    assert_eq!(source("10.66.0.1"), None);
    assert_eq!(source(&v4("192.0.2.1").to_string()), None);
    assert_eq!(source("10.77.11.1"), None, "ourselves");
}

#[test]
fn pieces_need_memory_and_room() {
    let mut router = Router::new(spec());
    let mut held: Vec<_> = (0..1023).map(|_| router.arena.alloc().unwrap()).collect();
    let packet = udp4("10.200.1.1", 64, 1400 - 28);
    assert!(router.receive(0, &packet).is_empty());
    assert_eq!(router.drops(NoFrame), 1);
    held.clear();
    router.egress = crate::batch::Egress::new(0);
    assert!(router.receive(0, &packet).is_empty());
    assert_eq!(router.drops(EgressFull), 1);
}
