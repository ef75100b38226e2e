//! Targets that send raw frames through a worker, in virtual time.

use core::time::Duration;

use tidegate_dataplane::io::checksum::Sum;

use crate::{
    gateway::{FRAMES, Gateway},
    joined::joined,
    pieces,
};

/// Ethernet header from the neighbour on a port to us.
pub(crate) fn link(port: usize, ethertype: u16) -> Vec<u8> {
    let port = port as u8;
    [&[2, 0, 0, 0, port, 1, 2, 0, 0, 0, port, 2][..], &ethertype.to_be_bytes()].concat()
}

/// Bytes that fit into a buffer of the worker.
const LONGEST: usize = 1700;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const ME: [u8; 4] = [10, 0, 1, 100];
const GATEWAY: [u8; 4] = [10, 0, 1, 1];

/// The frame that a piece of the input is, and the port by which it comes: as `what` says for the gateway or for anybody, with its
/// checksums put right or not, and a second later.
pub(crate) fn next(gateway: &mut Gateway, what: u8, piece: &[u8]) -> (usize, Vec<u8>) {
    let port = usize::from(what & 3) % 3;
    let mut frame = piece.to_vec();
    if what & 4 != 0 && frame.len() >= 12 {
        frame[..12].copy_from_slice(&link(port, IPV4)[..12]);
    }
    if what & 8 != 0 {
        repair(&mut frame);
    }
    if what & 16 != 0 {
        gateway.wait(Duration::from_secs(1));
    }
    frame.truncate(LONGEST);
    (port, frame)
}

/// Frames of any kind, by any port, with their checksums put right or not, at any pace.
pub fn pipeline(data: &[u8]) {
    let mut gateway = Gateway::new();
    for (what, piece) in pieces(data, 8) {
        let (port, frame) = next(&mut gateway, what, piece);
        gateway.receive(port, &frame).iter().for_each(|(_, sent)| sound(sent));
    }
    end(&mut gateway);
}

/// ARP and neighbour discovery, their checksums right.
pub fn neighbors(data: &[u8]) {
    let mut gateway = Gateway::new();
    for (what, piece) in pieces(data, 1) {
        let port = usize::from(what & 1);
        let frame = if what & 2 == 0 {
            let mut message = piece.to_vec();
            if what & 4 != 0 {
                message.splice(..message.len().min(6), [0, 1, 8, 0, 6, 4]);
            }
            let mut frame = [link(port, ARP), message].concat();
            if what & 8 != 0 {
                frame[..6].fill(0xff);
            }
            frame
        } else {
            discovery(port, what >> 2, piece)
        };
        if what == 0xff {
            gateway.wait(Duration::from_secs(1));
        }
        gateway.receive(port, &frame).iter().for_each(|(_, sent)| sound(sent));
    }
    end(&mut gateway);
}

/// A neighbour message whose body is `rest`, between addresses that `choice` picks.
fn discovery(port: usize, choice: u8, rest: &[u8]) -> Vec<u8> {
    let fd00 = |last: u8| {
        let mut address = [0; 16];
        (address[0], address[3], address[15]) = (0xfd, port as u8 + 1, last);
        address
    };
    let group = |low: [u8; 5]| {
        let mut address = [0; 16];
        (address[0], address[1]) = (0xff, 2);
        address[11..].copy_from_slice(&low);
        address
    };
    let source = match choice & 3 {
        0 => [0; 16],
        1 => fd00(1),
        _ => fd00(0x64),
    };
    let destination = match choice >> 2 & 3 {
        0 => group([0, 0, 0, 0, 1]),
        1 => group([0, 0, 0, 0, 2]),
        2 => group([1, 0xff, 0, 0, 1]),
        _ => fd00(1),
    };
    let kind = 133 + rest.first().map_or(0, |first| first % 5);
    let mut message = [&[kind, 0, 0, 0][..], rest.get(1..).unwrap_or_default()].concat();
    let sum = Sum::new().add_pseudo(&source, &destination, 58, message.len()).add(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let hops = if choice & 16 != 0 { 64 } else { 255 };
    let header = [0x60, 0, 0, 0, (message.len() >> 8) as u8, message.len() as u8, 58, hops];
    let mut frame = [&link(port, IPV6)[..], &header, &source, &destination, &message].concat();
    if destination[0] == 0xff {
        frame[..6].copy_from_slice(&[0x33, 0x33, destination[12], destination[13], destination[14], destination[15]]);
    }
    frame
}

/// With the first bit set fragments for the gateway itself, see [`joined`], else a packet through it.
pub fn fragments(data: &[u8]) {
    if data.first().is_some_and(|first| first & 0x80 != 0) {
        joined(data);
    } else {
        cut(data);
    }
}

/// A packet that is longer than the way out: its pieces make the packet that came in.
fn cut(data: &[u8]) {
    let [words, high, low, sizes @ .., last] = data else { return };
    let (options, sizes) = sizes.split_at(sizes.len().min(usize::from(words % 11) * 4));
    let options = &options[..options.len() & !3];
    let field = u16::from_be_bytes([*high & 0x3f, *low]);
    let payload: Vec<u8> = (0..usize::from(*last) * 7 + sizes.len()).map(|at| at as u8).collect();
    let header_len = 20 + options.len();
    let total = (header_len + payload.len()) as u16;
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(field.to_be_bytes());
    packet.extend([64, 17, 0, 0]);
    packet.extend(ME);
    packet.extend([10, 0, 3, 11]);
    packet.extend(options);
    packet.extend(&payload);
    let mut frame = [link(0, IPV4), packet].concat();
    if frame.len() > LONGEST {
        return;
    }
    repair(&mut frame);
    let mut gateway = Gateway::new();
    let sent = gateway.receive(0, &frame);
    sent.iter().for_each(|(_, sent)| sound(sent));
    let pieces: Vec<&[u8]> = sent.iter().filter(|(port, _)| *port == 2).map(|(_, sent)| &sent[14..]).collect();
    let mut whole = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let (header, body) = piece.split_at(usize::from(piece[0] & 15) * 4);
        let at = u16::from_be_bytes([header[6], header[7]]);
        assert!(piece.len() <= 576, "fits the way out");
        assert_eq!(usize::from(at & 0x1fff), usize::from(field & 0x1fff) + whole.len() / 8, "in order, without gaps");
        assert_eq!(at & 0x2000 != 0, index + 1 < pieces.len() || field & 0x2000 != 0, "more follow, or not");
        assert_eq!((header[8], &header[12..20]), (63, &frame[26..34]));
        whole.extend_from_slice(body);
    }
    assert!(pieces.is_empty() || whole == frame[14 + header_len..], "nothing lost, nothing twice");
    end(&mut gateway);
}

/// Segments of an open connection: any flags, any options, near the numbers that are expected.
pub fn segments(data: &[u8]) {
    let mut gateway = Gateway::new();
    let answer = gateway.receive(0, &segment(1000, 0, 2, &[2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 0, 0], &[]));
    let [(0, answer)] = &answer[..] else { panic!("a listener answers") };
    let theirs = u32::from_be_bytes([answer[38], answer[39], answer[40], answer[41]]);
    gateway.receive(0, &segment(1001, theirs.wrapping_add(1), 16, &[], &[]));
    for (what, piece) in pieces(data, 1) {
        let [seq, ack, words, rest @ ..] = piece else { continue };
        let (options, payload) = rest.split_at(rest.len().min(usize::from(words % 11) * 4));
        let options = &options[..options.len() & !3];
        // Near what is expected, or with the top bit anywhere.
        let near = |base: u32, offset: u8| {
            let offset = i32::from(offset as i8) * if offset & 0x40 != 0 { 0x0101_0101 } else { 1 };
            base.wrapping_add_signed(offset)
        };
        let (seq, ack) = (near(1001, *seq), near(theirs.wrapping_add(1), *ack));
        for (_, sent) in gateway.receive(0, &segment(seq, ack, what & 0x3f, options, payload)) {
            sound(&sent);
        }
        if what & 0x80 != 0 {
            gateway.wait(Duration::from_secs(2));
        }
    }
    end(&mut gateway);
}

fn segment(seq: u32, ack: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut tcp = [&5000u16.to_be_bytes()[..], &80u16.to_be_bytes(), &seq.to_be_bytes(), &ack.to_be_bytes()].concat();
    tcp.extend([(5 + options.len() / 4) as u8 * 16, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend(options);
    tcp.extend(payload);
    let total = (20 + tcp.len()) as u16;
    let header = [0x45, 0, (total >> 8) as u8, total as u8, 0, 0, 0x40, 0, 64, 6, 0, 0];
    let mut frame = [&link(0, IPV4)[..], &header, &ME, &GATEWAY, &tcp].concat();
    repair(&mut frame);
    frame
}

/// Puts the checksums of an IP packet right, so that it is looked at more closely.
fn repair(frame: &mut [u8]) {
    let Some((link, packet)) = frame.split_first_chunk_mut::<14>() else { return };
    let is_v4 = link[12..] == IPV4.to_be_bytes();
    let (header_len, protocol, addresses) = match () {
        () if is_v4 && packet.len() >= 20 => (usize::from(packet[0] & 15) * 4, packet[9], 12..20),
        () if link[12..] == IPV6.to_be_bytes() && packet.len() >= 40 => (40, packet[6], 8..40),
        _ => return,
    };
    if header_len < 20 || packet.len() < header_len {
        return;
    }
    let (header, message) = packet.split_at_mut(header_len);
    if is_v4 {
        header[10..12].fill(0);
        let sum = Sum::new().add(header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let at = match protocol {
        1 | 58 => 2,
        6 => 16,
        17 => 6,
        _ => return,
    };
    if message.len() < at + 2 {
        return;
    }
    message[at..at + 2].fill(0);
    let (source, destination) = header[addresses].split_at(if is_v4 { 4 } else { 16 });
    let pseudo = Sum::new().add_pseudo(source, destination, protocol, message.len());
    let sum = if protocol == 1 { Sum::new() } else { pseudo }.add(message).finish();
    message[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// What leaves is a frame that every receiver takes: whole, its IPv4 header right.
pub(crate) fn sound(frame: &[u8]) {
    let ethertype = |at: usize| frame.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    // The members of the bridge have tags, one or two.
    let tags = [12, 16].into_iter().take_while(|at| matches!(ethertype(*at), Some(0x8100 | 0x88a8))).count() * 4;
    assert!((14..=1514).contains(&(frame.len() - tags)), "{} bytes", frame.len());
    let packet = &frame[14 + tags..];
    match ethertype(12 + tags).unwrap_or(0) {
        IPV4 => {
            let header_len = usize::from(packet[0] & 15) * 4;
            assert!(packet[0] >> 4 == 4 && header_len >= 20);
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            assert_eq!(Sum::new().add(&packet[..header_len]).folded(), 0xffff, "header checksum");
        }
        IPV6 => assert_eq!(40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet.len()),
        ARP => assert_eq!(packet.len(), 28),
        other => panic!("nothing here sends {other:04x}"),
    }
}

/// Whatever waited is sent or given up, and every buffer is home: last of all fragments for the gateway, after a minute, and then what is
/// said of them, if it has to wait for a neighbour.
pub(crate) fn end(gateway: &mut Gateway) {
    gateway.wait(Duration::from_secs(70));
    assert_eq!(gateway.worker.arena().available(), FRAMES, "a frame is lost");
}
