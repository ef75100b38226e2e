//! Fragments of packets for the router itself.

use core::time::Duration;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::{
    local::{echo4, echo6},
    packets::{Nd, fix_header, icmp, udp4, udp6, v4},
    router::{Router, Sent, our_mac, peer_mac, spec},
};
use crate::{io::checksum::Sum, verdict::DropReason};

const MINUTE: Duration = Duration::from_secs(60);

/// An IPv4 packet in fragments whose payloads have these lengths, the rest in the last.
fn cut4(packet: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    pieces(&packet[34..], lengths).map(|(offset, part, more)| piece4(packet, offset, part, more)).collect()
}

fn piece4(packet: &[u8], offset: usize, part: &[u8], more: bool) -> Vec<u8> {
    let mut piece = [&packet[..34], part].concat();
    piece[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    piece[20..22].copy_from_slice(&field.to_be_bytes());
    fix_header(&mut piece);
    piece
}

fn cut6(packet: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    pieces(&packet[54..], lengths).map(|(offset, part, more)| piece6(packet, offset, part, more)).collect()
}

fn piece6(packet: &[u8], offset: usize, part: &[u8], more: bool) -> Vec<u8> {
    let field = (offset as u16 | u16::from(more)).to_be_bytes();
    let header = [packet[20], 0, field[0], field[1], 0, 0, 0, 9];
    let mut piece = [&packet[..54], &header, part].concat();
    piece[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
    piece[20] = 44;
    piece
}

fn pieces<'a>(payload: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = (usize, &'a [u8], bool)> {
    let mut offset = 0;
    lengths.iter().copied().chain([usize::MAX]).map_while(move |len| {
        let from = offset;
        let part = payload.get(from..)?.get(..len).unwrap_or(&payload[from..]);
        offset += part.len();
        (!part.is_empty()).then_some((from, part, offset < payload.len()))
    })
}

/// The payload of fragments that were sent, put together, each with a sound header.
fn joined4(sent: &[Sent]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (at, (port, bytes)) in sent.iter().enumerate() {
        assert_eq!((port.0, Sum::new().add(&bytes[14..34]).folded()), (0, 0xffff));
        assert!(bytes.len() <= 1514);
        let field = u16::from_be_bytes([bytes[20], bytes[21]]);
        assert_eq!(usize::from(field & 0x1fff) * 8, whole.len());
        assert_eq!(field & 0x2000 != 0, at + 1 < sent.len());
        whole.extend(&bytes[34..]);
    }
    whole
}

fn joined6(sent: &[Sent]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (at, (port, bytes)) in sent.iter().enumerate() {
        assert_eq!((port.0, bytes[20], bytes[54]), (0, 44, 58));
        assert!(bytes.len() <= 1514);
        let field = u16::from_be_bytes([bytes[56], bytes[57]]);
        assert_eq!((usize::from(field & 0xfff8), field & 1 != 0), (whole.len(), at + 1 < sent.len()));
        whole.extend(&bytes[62..]);
    }
    whole
}

fn all(router: &mut Router, fragments: &[Vec<u8>]) -> Vec<Sent> {
    fragments.iter().flat_map(|fragment| router.receive(0, fragment)).collect()
}

/// A payload of which no two parts are alike.
fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

#[test]
fn an_echo_in_fragments_is_answered_in_fragments_at_any_size() {
    let mut router = Router::new(spec());
    for size in [9, 1473, 4000, 65_507] {
        let text = payload(size);
        let request = echo4("10.77.12.1", &text);
        let step = if size > 1000 { 1480 } else { 8 };
        let reply = joined4(&all(&mut router, &cut4(&request, &vec![step; 64])));
        assert_eq!((&reply[..2], &reply[4..8], &reply[8..]), (&[0, 0][..], &request[38..42], &text[..]), "{size}");
        assert_eq!(Sum::new().add(&reply).folded(), 0xffff);
    }
    for size in [9, 1453, 4000, 65_487] {
        let text = payload(size);
        let request = echo6("fd77:10::2", "fd77:12::1", &text);
        let step = if size > 1000 { 1448 } else { 8 };
        let sent = all(&mut router, &cut6(&request, &vec![step; 64]));
        let reply = joined6(&sent);
        assert_eq!((&reply[..2], &reply[4..8], &reply[8..]), (&[129, 0][..], &request[58..62], &text[..]), "{size}");
        let (source, to) = (&sent[0].1[22..38], &sent[0].1[38..54]);
        assert_eq!((source, to), (&request[38..54], &request[22..38]));
        assert_eq!(Sum::new().add_pseudo(source, to, 58, reply.len()).add(&reply).folded(), 0xffff);
    }
    assert_eq!(router.leaked(), 0);
}

#[test]
fn a_reply_fits_the_way_back() {
    // Fragments of 1480 bytes, and a way back that carries 1280: the request came by another interface.
    let mut router = Router::new(spec());
    let mut request = echo4("10.77.10.1", &payload(4000));
    request[26..30].copy_from_slice(&v4("10.200.1.1").octets());
    fix_header(&mut request);
    let sent = all(&mut router, &cut4(&request, &[1480, 1480]));
    assert!(sent.len() > 3 && sent.iter().all(|(port, bytes)| port.0 == 1 && bytes.len() <= 1294));
    assert_eq!(sent.iter().map(|(_, bytes)| bytes.len() - 34).sum::<usize>(), 4008);
}

#[test]
fn a_wrong_checksum_over_all_fragments_is_not_answered() {
    let mut router = Router::new(spec());
    let mut request = echo4("10.77.10.1", &payload(4000));
    *request.last_mut().unwrap() ^= 1;
    assert!(all(&mut router, &cut4(&request, &[1480, 1480])).is_empty());
    assert_eq!((router.drops(DropReason::IcmpMalformed), router.leaked()), (3, 0));
}

#[test]
fn what_fits_a_frame_goes_on_as_if_it_were_whole() {
    let mut router = Router::new(spec());
    let mut segment = Vec::new();
    let tcp = || PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0).ipv4([10, 77, 10, 2], [10, 77, 10, 1], 64);
    tcp().tcp(1000, 80, 1, 1000).write(&mut segment, &payload(1200)).unwrap();
    segment[20..22].fill(0);
    fix_header(&mut segment);
    assert!(all(&mut router, &cut4(&segment, &[600, 400])).is_empty());
    let (meta, bytes) = &router.delivered[0];
    assert_eq!((bytes, meta.flags), (&segment, crate::meta::Flags::empty()));
    // Nobody serves the port: the error quotes the packet.
    let error = icmp(&all(&mut router, &cut4(&udp4("10.77.10.1", 64, 1000), &[504])));
    assert_eq!((error.kind, error.payload.len()), ((3, 3), 548));
    let whole = udp6("fd77:10::1", 64, 1000);
    let error = icmp(&all(&mut router, &cut6(&whole, &[504])));
    assert_eq!((error.kind, &error.payload[..]), ((1, 4), &whole[14..]));
    // Longer than a frame: the first fragment is quoted.
    let error = icmp(&all(&mut router, &cut4(&udp4("10.77.10.1", 64, 4000), &[1480, 1480])));
    assert_eq!(error.kind, (3, 3));
    assert_eq!((router.drops(DropReason::NoListener), router.leaked()), (1 + 1 + 3, 0));
}

#[test]
fn overlapping_fragments_take_their_packet_with_them() {
    let request = echo4("10.77.10.1", &payload(100));
    let fragments = cut4(&request, &[32, 32, 32]);
    let message = &request[34..];
    for bad in [
        piece4(&request, 24, &message[24..40], true),
        piece4(&request, 32, &message[32..72], true),
        piece4(&request, 32, &[0; 32], true),
        piece4(&request, 40, &message[40..48], true),
        piece4(&request, 40, &message[40..48], false),
    ] {
        let mut router = Router::new(spec());
        let sent = all(&mut router, &[&fragments[..2], &[bad], &fragments[2..]].concat());
        assert!(sent.is_empty());
        let kept = router.state.joiner.waiting();
        assert_eq!((router.drops(DropReason::FragmentOverlap), kept), (5, 0), "those that come later too");
        assert!(router.wait(MINUTE).is_empty(), "nobody is told");
        assert_eq!(joined4(&all(&mut router, &fragments))[8..], message[8..], "and then they may begin anew");
    }
    // One that is there already is lost alone.
    let mut router = Router::new(spec());
    let sent = all(&mut router, &[&fragments[..2], &fragments[..1], &fragments[2..]].concat());
    assert_eq!(joined4(&sent)[8..], message[8..]);
    assert_eq!(router.drops(DropReason::FragmentOverlap), 1);
    // Two ends, and something behind the end.
    let mut router = Router::new(spec());
    let last = &fragments[3];
    let farther = piece4(&request, 104, &message[104..108], false);
    let behind = piece4(&request, 120, &[0; 8], true);
    assert!(all(&mut router, &[last.clone(), farther]).is_empty() && all(&mut router, &[behind]).is_empty());
    assert_eq!((router.drops(DropReason::FragmentOverlap), router.state.joiner.waiting()), (3, 0));
}

#[test]
fn what_stays_incomplete_ends_after_a_minute() {
    let mut router = Router::new(spec());
    let (four, six) = (echo4("10.77.10.1", &payload(100)), echo6("fd77:10::2", "fd77:10::1", &payload(100)));
    all(&mut router, &cut4(&four, &[32, 32])[..2]);
    all(&mut router, &cut6(&six, &[32])[1..]);
    assert!(router.wait(MINUTE - Duration::from_secs(1)).is_empty());
    let told = icmp(&router.wait(Duration::from_secs(2)));
    assert_eq!(told.kind, (11, 1), "only whoever sent the first of them");
    assert_eq!((router.drops(DropReason::FragmentTimeout), router.state.joiner.waiting()), (3, 0));
    all(&mut router, &cut6(&six, &[32])[..1]);
    assert_eq!(icmp(&router.wait(MINUTE + Duration::from_secs(1))).kind, (3, 1));
}

#[test]
fn memory_is_bounded_and_the_oldest_gives_way() {
    let mut router = Router::new(spec());
    let numbered = |number: u16| {
        let mut request = echo4("10.77.10.1", &payload(100));
        request[18..20].copy_from_slice(&number.to_be_bytes());
        cut4(&request, &[32])
    };
    for number in 0..65 {
        router.receive(0, &numbered(number)[0]);
    }
    assert_eq!((router.drops(DropReason::FragmentTableFull), router.state.joiner.waiting()), (1, 64));
    assert!(router.receive(0, &numbered(0)[1]).is_empty(), "number 0 has given way, and now 1 does");
    assert_eq!(router.receive(0, &numbered(2)[1]).len(), 2);
    // Many fragments of few packets: an eighth of the frames, of which there are 1024.
    for number in 100..110 {
        let mut request = echo4("10.77.10.1", &payload(4000));
        request[18..20].copy_from_slice(&u16::to_be_bytes(number));
        all(&mut router, &cut4(&request, &[32; 100])[..100]);
    }
    let waiting = |router: &Router| router.state.joiner.waiting();
    assert!((28..=128).contains(&waiting(&router)), "{}", waiting(&router));
    router.wait(MINUTE + MINUTE);
    assert_eq!((waiting(&router), router.leaked()), (0, 0));
}

#[test]
fn senders_of_fragments_that_are_none_are_told() {
    let mut router = Router::new(spec());
    let request = udp6("fd77:10::1", 64, 100);
    let mut told = |fragment: Vec<u8>| {
        let reply = icmp(&router.receive(0, &fragment));
        (reply.kind, reply.rest)
    };
    assert_eq!(told(piece6(&request, 0, &request[54..85], true)), ((4, 0), 4), "no multiple of eight");
    assert_eq!(told(piece6(&request, 65_528, &request[54..70], false)), ((4, 0), 42), "too long (RFC 8200 §4.5)");
    assert_eq!(told(piece6(&request, 0, &[], true)), ((4, 3), 0), "without its headers (RFC 7112)");
    assert_eq!(router.drops(DropReason::BadFragment), 3);
}

#[test]
fn neighbours_do_not_speak_in_fragments_and_groups_are_not_served() {
    let mut router = Router::new(spec());
    let (source, destination, target) = ("fd77:10::77", "fd77:10::1", "fd77:10::1");
    let ask = Nd { kind: 135, flags: 0, source, destination, target, mac: Some(peer_mac(0)) }.bytes();
    assert!(all(&mut router, &cut6(&ask, &[16])).is_empty());
    assert_eq!(router.drops(DropReason::IcmpMalformed), 2, "each of its fragments");
    let mut to_all = echo6("fd77:10::2", "ff02::1", &payload(100));
    to_all[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    assert!(all(&mut router, &cut6(&to_all, &[48])).is_empty());
    assert!(all(&mut router, &cut4(&echo4("10.77.10.255", &payload(100)), &[48])).is_empty());
    assert_eq!((router.drops(DropReason::FragmentForHost), router.leaked()), (4, 0));
}

proptest! {
    #[test]
    fn fragments_in_any_order_and_of_any_length_make_the_packet(
        size in 9usize..1200,
        lengths in prop::collection::vec(1usize..30, 0..40),
        order in any::<u64>(),
    ) {
        let text = payload(size);
        let mut fragments = cut6(&echo6("fd77:10::2", "fd77:10::1", &text), &lengths.iter().map(|n| n * 8).collect::<Vec<_>>());
        // One in pieces at least.
        prop_assume!(fragments.len() > 1);
        let mut state = order | 1;
        for at in (1..fragments.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            fragments.swap(at, (state >> 33) as usize % (at + 1));
        }
        let mut router = Router::new(spec());
        let reply = joined6(&all(&mut router, &fragments));
        prop_assert_eq!(&reply[8..], &text[..]);
        prop_assert_eq!(router.leaked(), 0);
    }
}
