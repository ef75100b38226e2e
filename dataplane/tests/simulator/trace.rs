//! Packets in words, for whoever replays a seed.

use core::net::{Ipv4Addr, Ipv6Addr};

use tidegate_dataplane::clock::Instant;

use crate::wire::Target;

/// One line for one packet put on a lane; `arrives` is `None` when it was lost.
pub(crate) fn line(now: Instant, lane: usize, to: Target, packet: &[u8], arrives: Option<Instant>) -> String {
    let fate = match arrives {
        Some(at) => format!("+{:>7.3}ms", (at - now).as_secs_f64() * 1e3),
        None => "    lost  ".into(),
    };
    let ms = now.as_nanos() as f64 / 1e6;
    format!("{ms:>12.4} lane {lane:<2} to {}.{} {fate} {}", to.node, to.port, describe(packet))
}

fn describe(packet: &[u8]) -> String {
    match packet.get(12..14) {
        Some([0x08, 0x06]) => arp(packet),
        Some([0x08, 0x00]) if packet.len() >= 34 => {
            let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
            let l4 = 14 + usize::from(packet[14] & 15) * 4;
            let end = 14 + usize::from(u16::from_be_bytes([packet[16], packet[17]]));
            transport(packet, packet[23], l4, end, &address(26).to_string(), &address(30).to_string())
        }
        Some([0x86, 0xdd]) if packet.len() >= 54 => {
            let address = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&packet[at..at + 16]);
                Ipv6Addr::from(octets)
            };
            let end = 54 + usize::from(u16::from_be_bytes([packet[18], packet[19]]));
            transport(packet, packet[20], 54, end, &address(22).to_string(), &address(38).to_string())
        }
        _ => format!("? {} bytes", packet.len()),
    }
}

fn arp(packet: &[u8]) -> String {
    let Some(body) = packet.get(14..42) else { return "arp cut off".into() };
    let address = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
    let word = if body[7] == 1 { "who-has" } else { "is-at" };
    format!("arp {word} {} from {}", address(24), address(14))
}

fn transport(packet: &[u8], protocol: u8, at: usize, end: usize, src: &str, dst: &str) -> String {
    match (protocol, packet.get(at..)) {
        (6, Some(tcp)) if tcp.len() >= 20 => {
            let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
            let half = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
            let names = [(2, 'S'), (16, 'A'), (1, 'F'), (4, 'R'), (8, 'P')];
            let flags: String = names.iter().filter(|(bit, _)| tcp[13] & bit != 0).map(|(_, name)| name).collect();
            let header = usize::from(tcp[12] >> 4) * 4;
            let data = end.saturating_sub(at + header);
            let (from, to) = (half(0), half(2));
            let window = half(14);
            format!("{src}.{from} > {dst}.{to} {flags} seq {} ack {} win {window} len {data}", word(4), word(8))
        }
        (1 | 58, Some([kind, code, ..])) => format!("{src} > {dst} icmp {kind}/{code} {} bytes", packet.len()),
        _ => format!("{src} > {dst} protocol {protocol} {} bytes", packet.len()),
    }
}
