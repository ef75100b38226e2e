//! What is for the router itself: echo, refusals, errors about its flows.

use etherparse::PacketBuilder;

use super::{
    packets::{fix_header, icmp, udp4, udp4_from, udp6, v4, v6, with_extensions, with_options},
    router::{Router, our_mac, peer_mac, spec},
};
use crate::{
    clock::Instant,
    frame::Arena,
    io::checksum::Sum,
    l3::icmp::{FlowError, quoted_flow},
    meta::{Meta, Network},
    verdict::DropReason,
};

pub(super) fn echo4(destination: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0)
        .ipv4([10, 77, 10, 2], v4(destination).octets(), 9)
        .icmpv4_echo_request(7, 3)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

pub(super) fn echo6(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0)
        .ipv6(v6(source).octets(), v6(destination).octets(), 9)
        .icmpv6_echo_request(7, 3)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

#[test]
fn echo_is_answered_at_any_size_and_by_any_port() {
    let mut router = Router::new(spec());
    for (to, size) in [("10.77.10.1", 0), ("10.77.10.1", 1472), ("10.77.12.1", 57)] {
        let payload = vec![0xa5; size];
        let sent = router.receive(0, &echo4(to, &payload));
        let reply = icmp(&sent);
        assert_eq!((reply.kind, reply.rest, reply.payload), ((0, 0), 7 << 16 | 3, payload));
        assert_eq!((reply.port, &*reply.source, &*reply.destination), (0, to, "10.77.10.2"));
        assert_eq!(sent[0].1[22], 64);
    }
    for (to, size) in [("fd77:10::1", 0), ("fd77:10::1", 1452), ("fd77:12::1", 57)] {
        let payload = vec![0xa5; size];
        let reply = icmp(&router.receive(0, &echo6("fd77:10::2", to, &payload)));
        assert_eq!((reply.kind, reply.rest, reply.payload), ((129, 0), 7 << 16 | 3, payload));
        assert_eq!((reply.port, &*reply.source, &*reply.destination), (0, to, "fd77:10::2"));
    }
    assert_eq!(router.leaked(), 0);
}

#[test]
fn an_echo_reply_has_no_options_or_extension_headers() {
    let mut router = Router::new(spec());
    let reply = icmp(&router.receive(0, &with_options(&echo4("10.77.10.1", b"abc"), &[7, 7, 4, 0, 0, 0, 0, 0])));
    assert_eq!((reply.kind, &reply.payload[..]), ((0, 0), &b"abc"[..]));
    let packet = with_extensions(&echo6("fd77:10::2", "fd77:10::1", b"abc"), 60, &[58, 0, 1, 4, 0, 0, 0, 0]);
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.kind, &reply.payload[..]), ((129, 0), &b"abc"[..]));
}

#[test]
fn link_local_echo_stays_on_its_port() {
    let mut router = Router::new(spec());
    // The neighbour is learnt from its solicitation; then its echo is answered at once.
    let own = router.table.link().interface(crate::meta::InterfaceId(0)).link_local.to_string();
    let ask = super::packets::Nd {
        kind: 135,
        flags: 0,
        source: "fe80::2",
        destination: "ff02::1:ff00:1",
        target: &own,
        mac: Some(peer_mac(0)),
    };
    assert_eq!(router.receive(0, &ask.bytes()).len(), 1);
    let reply = icmp(&router.receive(0, &echo6("fe80::2", &own, b"x")));
    assert_eq!((reply.kind, reply.port, reply.source, &*reply.destination), ((129, 0), 0, own, "fe80::2"));
    let mut to_all = echo6("fe80::2", "ff02::1", b"x");
    to_all[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    let reply = icmp(&router.receive(0, &to_all));
    assert_eq!((reply.kind, &*reply.source), ((129, 0), "fe80::ff:fe00:1"), "from a unicast address");
}

#[test]
fn what_is_for_groups_within_a_node_does_not_come_by_a_wire() {
    let mut router = Router::new(spec());
    for group in ["ff01::1", "ff01::2"] {
        let mut to_all = echo6("fe80::2", group, b"x");
        to_all[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, group.as_bytes()[6] - b'0']);
        assert!(router.receive(0, &to_all).is_empty(), "{group}");
    }
    assert_eq!(router.drops(DropReason::NotForwardable), 2);
}

#[test]
fn echo_to_everybody_is_not_answered() {
    let mut router = Router::new(spec());
    for to in ["10.77.10.255", "10.77.11.255", "255.255.255.255", "10.77.10.0"] {
        assert!(router.receive(0, &echo4(to, b"x")).is_empty(), "{to}");
    }
    assert_eq!(router.drops(DropReason::IcmpIgnored), 4);
}

#[test]
fn a_wrong_checksum_is_not_answered() {
    let mut router = Router::new(spec());
    for mut packet in [echo4("10.77.10.1", b"abc"), echo6("fd77:10::2", "fd77:10::1", b"abc")] {
        *packet.last_mut().unwrap() ^= 1;
        assert!(router.receive(0, &packet).is_empty());
    }
    let short = &mut echo4("10.77.10.1", b"")[..14 + 20 + 7].to_vec();
    short[17] -= 1;
    fix_header(short);
    assert!(router.receive(0, short).is_empty());
    assert_eq!(router.drops(DropReason::IcmpMalformed), 3);
}

#[test]
fn echoes_and_errors_have_a_limit_and_it_recovers() {
    let mut router = Router::new(spec());
    let flood =
        |router: &mut Router, packet: &[u8], n: usize| (0..n).map(|_| router.receive(0, packet).len()).sum::<usize>();
    assert_eq!(flood(&mut router, &udp4("10.77.10.1", 64, 4), 300), 200);
    assert_eq!(router.drops(DropReason::IcmpRateLimited), 100);
    assert_eq!(flood(&mut router, &echo4("10.77.10.1", b""), 10_100), 10_000);
    assert_eq!(router.drops(DropReason::IcmpRateLimited), 200);
    router.now = Instant::from_millis(1_010);
    assert_eq!(flood(&mut router, &udp4("10.77.10.1", 64, 4), 20), 10);
}

#[test]
fn what_nobody_serves_is_refused() {
    let mut router = Router::new(spec());
    let packet = udp4("10.77.12.1", 64, 20);
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.kind, &*reply.source), ((3, 3), "10.77.12.1"), "from the address that was spoken to");
    assert_eq!(reply.payload, packet[14..]);
    let mut packet = udp4("10.77.10.1", 64, 20);
    packet[23] = 132;
    fix_header(&mut packet);
    assert_eq!(icmp(&router.receive(0, &packet)).kind, (3, 2));
    let packet = udp6("fd77:12::1", 64, 20);
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.kind, &*reply.source, reply.payload), ((1, 4), "fd77:12::1", packet[14..].to_vec()));
    let mut packet = with_extensions(&udp6("fd77:10::1", 64, 20), 60, &[17, 0, 1, 4, 0, 0, 0, 0]);
    packet[54] = 132;
    let reply = icmp(&router.receive(0, &packet));
    assert_eq!((reply.kind, reply.rest), ((4, 1), 40), "points at the field that names the protocol");
    assert_eq!(router.drops(DropReason::NoListener), 4);
    let mut nothing = udp6("fd77:10::1", 64, 20);
    nothing[20] = 59;
    assert!(router.receive(0, &nothing).is_empty());
    assert_eq!(router.drops(DropReason::NoListener), 4);
}

#[test]
fn a_fault_in_an_extension_header_is_pointed_at() {
    let mut router = Router::new(spec());
    let unknown_option = with_extensions(&udp6("fd77:10::1", 64, 20), 0, &[17, 0, 0x85, 4, 0, 0, 0, 0]);
    let reply = icmp(&router.receive(0, &unknown_option));
    assert_eq!((reply.kind, reply.rest), ((4, 2), 42));
    let source_route = with_extensions(&udp6("fd77:10::1", 64, 20), 43, &[17, 0, 0, 1, 0, 0, 0, 0]);
    let reply = icmp(&router.receive(0, &source_route));
    assert_eq!((reply.kind, reply.rest), ((4, 0), 42));
    assert_eq!(router.drops(DropReason::Ipv6BadExtension), 2);
}

#[test]
fn no_errors_about_errors_groups_and_later_fragments() {
    let mut router = Router::new(spec());
    // An ICMP error in transit that dies here.
    let mut error = udp4("10.200.1.1", 1, 20);
    error[23] = 1;
    error[34] = 3;
    fix_header(&mut error);
    assert!(router.receive(0, &error).is_empty());
    let mut error = udp6("fd00:200::1", 1, 20);
    error[20] = 58;
    error[54] = 1;
    assert!(router.receive(0, &error).is_empty());
    let mut later = udp4("10.200.1.1", 1, 20);
    later[21] = 9;
    fix_header(&mut later);
    assert!(router.receive(0, &later).is_empty());
    assert_eq!(router.drops(DropReason::TtlExceeded), 3);
    // But about a query, and about a first fragment.
    error = udp4("10.200.1.1", 1, 20);
    error[23] = 1;
    error[34] = 8;
    fix_header(&mut error);
    assert_eq!(icmp(&router.receive(0, &error)).kind, (11, 0));
    let mut first = udp4("10.200.1.1", 1, 24);
    first[20] = 0x20;
    fix_header(&mut first);
    assert_eq!(icmp(&router.receive(0, &first)).kind, (11, 0));
    // A group is not told either.
    assert!(router.receive(0, &udp4_from("0.0.0.0", "255.255.255.255", 64, 20)).is_empty());
}

#[test]
fn tcp_is_left_for_l4_and_an_error_about_it_too() {
    let mut router = Router::new(spec());
    let mut syn = Vec::new();
    PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0)
        .ipv4([10, 77, 10, 2], [10, 77, 10, 1], 64)
        .tcp(1234, 443, 77, 1000)
        .syn()
        .write(&mut syn, &[])
        .unwrap();
    assert!(router.receive(0, &syn).is_empty());
    let (meta, _) = &router.delivered[0];
    assert_eq!((meta.protocol, meta.l4), (6, 34));

    // Our segment to 10.200.1.1 was too big for a router on the way.
    let mut segment = Vec::new();
    PacketBuilder::ipv4([10, 77, 11, 1], [10, 200, 1, 1], 60)
        .tcp(443, 5555, 99, 1)
        .write(&mut segment, &[0; 1460])
        .unwrap();
    let mut message = vec![3, 4, 0, 0, 0, 0, 5, 0];
    message.extend(&segment[..28]);
    let sum = Sum::new().add(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut error = udp4("10.77.11.1", 64, message.len() - 8);
    error.truncate(34);
    error.extend(&message);
    error[23] = 1;
    fix_header(&mut error);
    assert!(router.receive(0, &error).is_empty());
    let (meta, bytes) = &router.delivered[1];
    let arena = Arena::new(1, 2048).unwrap();
    let flow = quoted_flow(&arena.copy_from(bytes).unwrap(), meta).unwrap();
    assert_eq!((flow.local.to_string(), flow.remote.to_string()), ("10.77.11.1:443".into(), "10.200.1.1:5555".into()));
    assert_eq!((flow.sequence, flow.error), (99, FlowError::TooBig { mtu: 1280 }));

    // One that quotes somebody else's flow says nothing to us.
    error[54] = 9;
    let sum = Sum::new().add(&error[34..36]).add(&[0, 0]).add(&error[38..]).finish();
    error[36..38].copy_from_slice(&sum.to_be_bytes());
    router.receive(0, &error);
    assert_eq!((router.delivered.len(), router.drops(DropReason::IcmpIgnored)), (2, 1));
}

/// What is read from a report about a packet of 1500 bytes.
fn told(network: Network, message: &[u8]) -> Option<FlowError> {
    let arena = Arena::new(1, 2048).unwrap();
    let meta = Meta { network, ..Meta::default() };
    quoted_flow(&arena.copy_from(message).unwrap(), &meta).map(|flow| flow.error)
}

#[test]
fn a_report_names_less_than_the_packet_had() {
    let mut segment = Vec::new();
    PacketBuilder::ipv4([10, 77, 11, 1], [10, 200, 1, 1], 60)
        .tcp(443, 5, 9, 1)
        .write(&mut segment, &[0; 1460])
        .unwrap();
    // RFC 1191 §4; an old router names nothing, and the next of the sizes that links have is taken (§7.1).
    for (named, mtu) in [(1280, Some(1280)), (1499, Some(1499)), (1500, None), (9000, None), (0, Some(1492))] {
        let message = [&[3, 4, 0, 0, 0, 0, (named >> 8) as u8, named as u8][..], &segment[..28]].concat();
        assert_eq!(told(Network::Ipv4, &message), mtu.map(|mtu| FlowError::TooBig { mtu }), "{named}");
    }
    segment.clear();
    let (from, to) = (v6("fd77:11::1").octets(), v6("fd00:200::1").octets());
    PacketBuilder::ipv6(from, to, 60).tcp(443, 5, 9, 1).write(&mut segment, &[0; 1440]).unwrap();
    // RFC 8201 §4: less than 1280 is no MTU.
    for (named, mtu) in [(1280, Some(1280)), (1500, None), (1279, None), (0, None), (70_000, None)] {
        let message = [&[2, 0, 0, 0][..], &u32::to_be_bytes(named), &segment].concat();
        assert_eq!(told(Network::Ipv6, &message), mtu.map(|mtu| FlowError::TooBig { mtu }), "{named}");
    }
}

#[test]
fn an_icmpv6_error_about_a_flow_is_left_for_l4() {
    let mut router = Router::new(spec());
    let mut segment = Vec::new();
    PacketBuilder::ipv6(v6("fd77:11::1").octets(), v6("fd00:200::1").octets(), 60)
        .tcp(443, 5555, 99, 1)
        .write(&mut segment, &[])
        .unwrap();
    let (from, to) = (v6("fd77:10::2").octets(), v6("fd77:11::1").octets());
    let mut message = [vec![1, 4, 0, 0, 0, 0, 0, 0], segment].concat();
    let sum = Sum::new().add_pseudo(&from, &to, 58, message.len()).add(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut error = udp6("fd77:11::1", 64, message.len() - 8);
    error.truncate(54);
    error.extend(&message);
    error[20] = 58;
    assert!(router.receive(0, &error).is_empty());
    let (meta, bytes) = &router.delivered[0];
    let arena = Arena::new(1, 2048).unwrap();
    let flow = quoted_flow(&arena.copy_from(bytes).unwrap(), meta).unwrap();
    assert_eq!((flow.remote.to_string(), flow.error), ("[fd00:200::1]:5555".into(), FlowError::Hard));
}
