//! Asking for a neighbour's hardware address: ARP requests (RFC 826) and neighbour solicitations (RFC 4861 §4.3).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ETHERTYPE_ARP, ETHERTYPE_IPV6, HEADER, LinkPort, Turn, arp,
    table::{is_link_local, solicited_node},
};
use crate::{
    io::{MacAddr, checksum::Sum},
    meta::{Meta, PortId},
};

/// Bytes of a neighbour solicitation with its one option, IPv6 header included.
const SOLICITATION: usize = 40 + 24 + 8;

/// Asks for `target` on `port`: everybody, or only `known` when a known address is to be confirmed. `false` when it could not be
/// asked: no address to ask from, or no memory.
pub(super) fn ask(id: PortId, port: &LinkPort, target: IpAddr, known: Option<MacAddr>, turn: &mut Turn<'_>) -> bool {
    let Some(mut frame) = turn.arena.alloc() else { return false };
    let written = match target {
        IpAddr::V4(target) => {
            let Some(source) = port.source_v4(target) else { return false };
            frame.extend(HEADER + arp::LENGTH).map(|bytes| write_arp(bytes, port.mac, source, target, known))
        }
        IpAddr::V6(target) => {
            let source = if is_link_local(target) { port.link_local } else { source_v6(port, target) };
            frame.extend(HEADER + SOLICITATION).map(|bytes| write_solicitation(bytes, port.mac, source, target, known))
        }
    };
    if written.is_some() {
        turn.egress.push_link(frame, Meta { out: id, ..Meta::default() });
    }
    written.is_some()
}

/// A global address of the target's prefix, so that a host that knows us only by it can answer; else the link-local one.
fn source_v6(port: &LinkPort, target: Ipv6Addr) -> Ipv6Addr {
    let near = port.v6.iter().find(|net| net.contains(&target));
    near.map_or(port.link_local, ipnet::Ipv6Net::addr)
}

fn write_arp(bytes: &mut [u8], own: MacAddr, source: Ipv4Addr, target: Ipv4Addr, known: Option<MacAddr>) {
    bytes[..6].copy_from_slice(&known.unwrap_or(MacAddr::BROADCAST).0);
    bytes[6..12].copy_from_slice(&own.0);
    bytes[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
    let message = arp::Message {
        operation: arp::REQUEST,
        sender_mac: own,
        sender: source,
        target_mac: MacAddr::default(),
        target,
    };
    message.write(&mut bytes[HEADER..]);
}

fn write_solicitation(bytes: &mut [u8], own: MacAddr, source: Ipv6Addr, target: Ipv6Addr, known: Option<MacAddr>) {
    let group = solicited_node(target);
    let (mac, destination) = match known {
        Some(mac) => (mac, target),
        None => (multicast_mac(group), group),
    };
    bytes[..6].copy_from_slice(&mac.0);
    bytes[6..12].copy_from_slice(&own.0);
    bytes[12..14].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
    let (ip, body) = bytes[HEADER..].split_at_mut(40);
    ip[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    ip[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
    ip[6] = 58;
    ip[7] = 255;
    ip[8..24].copy_from_slice(&source.octets());
    ip[24..40].copy_from_slice(&destination.octets());
    body[..8].copy_from_slice(&[135, 0, 0, 0, 0, 0, 0, 0]);
    body[8..24].copy_from_slice(&target.octets());
    body[24..26].copy_from_slice(&[1, 1]); // source link-layer address, one unit of eight bytes
    body[26..32].copy_from_slice(&own.0);
    let sum = Sum::new().add_pseudo(&ip[8..24], &ip[24..40], 58, body.len()).add(body).finish();
    body[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// The Ethernet group of an IPv6 multicast address (RFC 2464 §7).
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let octets = group.octets();
    MacAddr([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn a_solicitation_is_what_an_independent_parser_expects() {
        let own = MacAddr([2, 0, 0, 0, 0, 1]);
        let target: Ipv6Addr = "fd00::ab:cdef".parse().unwrap();
        let mut bytes = [0; HEADER + SOLICITATION];
        write_solicitation(&mut bytes, own, "fd00::1".parse().unwrap(), target, None);
        let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
        assert_eq!(bytes[..6], [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]);
        let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6") };
        assert_eq!(ip.header().destination_addr(), solicited_node(target));
        assert_eq!(ip.header().hop_limit(), 255);
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("not ICMPv6") };
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (135, 0));
    }
}
