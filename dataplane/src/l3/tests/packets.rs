//! Packets to send, and how to read what comes back.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::router::{Sent, our_mac, peer_mac};
use crate::{
    io::{MacAddr, checksum::Sum},
    meta::PortId,
};

pub(super) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A UDP packet from 10.77.10.2, the neighbour on port 0.
pub(super) fn udp4(destination: &str, ttl: u8, payload: usize) -> Vec<u8> {
    udp4_from("10.77.10.2", destination, ttl, payload)
}

pub(super) fn udp4_from(source: &str, destination: &str, ttl: u8, payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0)
        .ipv4(v4(source).octets(), v4(destination).octets(), ttl)
        .udp(1000, 80)
        .write(&mut bytes, &vec![0x5a; payload])
        .unwrap();
    // etherparse sets "don't fragment"; these packets may be cut.
    bytes[20] = 0;
    fix_header(&mut bytes);
    bytes
}

/// A UDP packet from fd77:10::2, the neighbour on port 0.
pub(super) fn udp6(destination: &str, hop_limit: u8, payload: usize) -> Vec<u8> {
    udp6_from("fd77:10::2", destination, hop_limit, payload)
}

pub(super) fn udp6_from(source: &str, destination: &str, hop_limit: u8, payload: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(peer_mac(0).0, our_mac(0).0)
        .ipv6(v6(source).octets(), v6(destination).octets(), hop_limit)
        .udp(1000, 80)
        .write(&mut bytes, &vec![0x5a; payload])
        .unwrap();
    bytes
}

/// Corrects the IPv4 header checksum after a change.
pub(super) fn fix_header(bytes: &mut [u8]) {
    let len = usize::from(bytes[14] & 0xf) * 4;
    bytes[24..26].fill(0);
    let sum = Sum::new().add(&bytes[14..14 + len]).finish();
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// Inserts IPv4 options (a multiple of four bytes) behind the header.
pub(super) fn with_options(bytes: &[u8], options: &[u8]) -> Vec<u8> {
    let mut out = [&bytes[..34], options, &bytes[34..]].concat();
    out[14] += (options.len() / 4) as u8;
    let total = (out.len() - 14) as u16;
    out[16..18].copy_from_slice(&total.to_be_bytes());
    fix_header(&mut out);
    out
}

/// Inserts IPv6 extension headers behind the header; the last of them must name UDP or ICMPv6 itself.
pub(super) fn with_extensions(bytes: &[u8], first: u8, headers: &[u8]) -> Vec<u8> {
    let mut out = [&bytes[..54], headers, &bytes[54..]].concat();
    out[20] = first;
    let payload = (out.len() - 54) as u16;
    out[18..20].copy_from_slice(&payload.to_be_bytes());
    out
}

/// The packet as it must look after one hop towards the neighbour of `port`.
pub(super) fn forwarded(mut sent: Vec<u8>, port: u16) -> Sent {
    sent[..6].copy_from_slice(&peer_mac(port).0);
    sent[6..12].copy_from_slice(&our_mac(port).0);
    if sent[12..14] == [8, 0] {
        sent[22] -= 1;
        fix_header(&mut sent);
    } else {
        sent[21] -= 1;
    }
    (PortId(port), sent)
}

/// An ICMP message of either family that came back, its checksums found right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Icmp {
    pub(super) port: u16,
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) kind: (u8, u8),
    /// The four bytes behind the checksum.
    pub(super) rest: u32,
    pub(super) payload: Vec<u8>,
}

/// Reads the only packet sent, which must be ICMP.
pub(super) fn icmp(sent: &[Sent]) -> Icmp {
    let [(port, bytes)] = sent else { panic!("one packet expected, not {sent:02x?}") };
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let (source, destination) = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
            (ip.header().source_addr().to_string(), ip.header().destination_addr().to_string())
        }
        NetSlice::Ipv6(ip) => (ip.header().source_addr().to_string(), ip.header().destination_addr().to_string()),
        other => panic!("{other:?}"),
    };
    let (kind, message) = match packet.transport.as_ref().unwrap() {
        TransportSlice::Icmpv4(icmp) => {
            assert_eq!(Sum::new().add(icmp.slice()).folded(), 0xffff);
            ((icmp.type_u8(), icmp.code_u8()), icmp.slice())
        }
        TransportSlice::Icmpv6(icmp) => {
            let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("ICMPv6 in IPv4") };
            assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
            ((icmp.type_u8(), icmp.code_u8()), icmp.slice())
        }
        other => panic!("{other:?}"),
    };
    let rest = u32::from_be_bytes(message[4..8].try_into().unwrap());
    Icmp { port: port.0, source, destination, kind, rest, payload: message[8..].to_vec() }
}

pub(super) fn arp(operation: u16, from: (MacAddr, &str), to: (MacAddr, &str)) -> Vec<u8> {
    let (mac, sender) = from;
    let (target_mac, target) = to;
    let destination = if operation == 1 { MacAddr::BROADCAST } else { target_mac };
    [
        &destination.0[..],
        &mac.0,
        &[8, 6, 0, 1, 8, 0, 6, 4],
        &operation.to_be_bytes(),
        &mac.0,
        &v4(sender).octets(),
        &(if operation == 1 { MacAddr::default() } else { target_mac }).0,
        &v4(target).octets(),
    ]
    .concat()
}

/// A neighbour solicitation (135) or advertisement (136) for `target`.
pub(super) struct Nd<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) source: &'a str,
    pub(super) destination: &'a str,
    pub(super) target: &'a str,
    pub(super) mac: Option<MacAddr>,
}

impl Nd<'_> {
    /// As an Ethernet frame from the neighbour on port 0.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut message = vec![self.kind, 0, 0, 0, self.flags, 0, 0, 0];
        message.extend(v6(self.target).octets());
        if let Some(mac) = self.mac {
            message.extend([self.kind - 134, 1]);
            message.extend(mac.0);
        }
        let (source, destination) = (v6(self.source).octets(), v6(self.destination).octets());
        let sum = Sum::new().add_pseudo(&source, &destination, 58, message.len()).add(&message).finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut bytes = [our_mac(0).0, peer_mac(0).0].concat();
        if destination[0] == 0xff {
            bytes[..2].fill(0x33);
            bytes[2..6].copy_from_slice(&destination[12..]);
        }
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
        [bytes, source.to_vec(), destination.to_vec(), message].concat()
    }
}

/// The packet as the neighbour on another port than 0 sends it.
pub(super) fn from_port(packet: &[u8], port: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[..6].copy_from_slice(&our_mac(port).0);
    packet[6..12].copy_from_slice(&peer_mac(port).0);
    packet
}
