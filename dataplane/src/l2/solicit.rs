//! Asking and telling: ARP requests (RFC 826), neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ETHERTYPE_ARP, ETHERTYPE_IPV6, HEADER, Interface, Turn, arp,
    table::{is_link_local, solicited_node},
};
use crate::{
    io::{MacAddr, checksum::Sum},
    meta::{InterfaceId, Meta},
};

/// Bytes of a neighbour message without options, and of its one option.
const MESSAGE: usize = 24;
const OPTION: usize = 8;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement that nobody asked for: we are a router; it replaces what was known.
const ROUTER_OVERRIDE: u8 = 0xa0;
/// Every node of a link (RFC 4291 §2.7.1).
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Protocol number of ICMPv6.
const ICMPV6: u8 = 58;

/// Asks for `target` on `interface`: everybody, or only `known` when a known address is to be confirmed. `false` when it could not be
/// asked: no address to ask from, or no memory.
pub(super) fn ask(
    id: InterfaceId,
    interface: &Interface,
    target: IpAddr,
    known: Option<MacAddr>,
    turn: &mut Turn<'_>,
) -> bool {
    match target {
        IpAddr::V4(target) => {
            let Some(source) = interface.source_v4(target) else { return false };
            send(id, interface, HEADER + arp::LENGTH, turn, |bytes| {
                write_arp(bytes, interface.mac, source, target, known);
            })
        }
        IpAddr::V6(target) => {
            let source = if is_link_local(target) { interface.link_local } else { source_v6(interface, target) };
            let solicitation = Solicitation { source, target, known };
            send(id, interface, solicitation.length(), turn, |bytes| solicitation.write(bytes, interface.mac))
        }
    }
}

/// Asks whether another station has `address`, without claiming it (RFC 5227 §2.1.1, RFC 4862 §5.4.2).
pub(super) fn probe(id: InterfaceId, interface: &Interface, address: IpAddr, turn: &mut Turn<'_>) -> bool {
    match address {
        IpAddr::V4(address) => send(id, interface, HEADER + arp::LENGTH, turn, |bytes| {
            write_arp(bytes, interface.mac, Ipv4Addr::UNSPECIFIED, address, None);
        }),
        IpAddr::V6(target) => {
            let solicitation = Solicitation { source: Ipv6Addr::UNSPECIFIED, target, known: None };
            send(id, interface, solicitation.length(), turn, |bytes| solicitation.write(bytes, interface.mac))
        }
    }
}

/// Tells the whole link that `address` is ours (RFC 5227 §2.3, RFC 4861 §7.2.6).
pub(super) fn announce(id: InterfaceId, interface: &Interface, address: IpAddr, turn: &mut Turn<'_>) -> bool {
    match address {
        IpAddr::V4(address) => send(id, interface, HEADER + arp::LENGTH, turn, |bytes| {
            write_arp(bytes, interface.mac, address, address, None);
        }),
        IpAddr::V6(address) => send(id, interface, HEADER + 40 + MESSAGE + OPTION, turn, |bytes| {
            write_ethernet(bytes, multicast_mac(ALL_NODES), interface.mac, ETHERTYPE_IPV6);
            let (ip, body) = bytes[HEADER..].split_at_mut(40);
            body.fill(0);
            body[0] = ADVERTISEMENT;
            body[4] = ROUTER_OVERRIDE;
            body[8..24].copy_from_slice(&address.octets());
            body[24..26].copy_from_slice(&[2, 1]); // target link-layer address, one unit of eight bytes
            body[26..32].copy_from_slice(&interface.mac.0);
            write_header(ip, address, ALL_NODES, 255, body);
        }),
    }
}

/// A frame of `length` bytes that `write` fills, for the interface. `false` when there is no memory for it.
fn send(
    id: InterfaceId,
    interface: &Interface,
    length: usize,
    turn: &mut Turn<'_>,
    write: impl FnOnce(&mut [u8]),
) -> bool {
    let Some(mut frame) = turn.arena.alloc() else { return false };
    let Some(bytes) = frame.extend(length) else { return false };
    write(bytes);
    turn.egress.push_link(frame, interface.port, Meta { out: id, ..Meta::default() });
    true
}

/// A global address of the target's prefix, so that a host that knows us only by it can answer; else the link-local one.
fn source_v6(interface: &Interface, target: Ipv6Addr) -> Ipv6Addr {
    let usable = interface.v6.iter().filter(|net| !interface.is_tentative(net.addr().into()));
    usable
        .map(|net| (net, net.addr()))
        .find(|(net, _)| net.contains(&target))
        .map_or(interface.link_local, |(_, own)| own)
}

fn write_arp(bytes: &mut [u8], own: MacAddr, source: Ipv4Addr, target: Ipv4Addr, known: Option<MacAddr>) {
    write_ethernet(bytes, known.unwrap_or(MacAddr::BROADCAST), own, ETHERTYPE_ARP);
    let message = arp::Message {
        operation: arp::REQUEST,
        sender_mac: own,
        sender: source,
        target_mac: MacAddr::default(),
        target,
    };
    message.write(&mut bytes[HEADER..]);
}

/// A question for a neighbour, or a probe when it has no source.
struct Solicitation {
    source: Ipv6Addr,
    target: Ipv6Addr,
    known: Option<MacAddr>,
}

impl Solicitation {
    /// Bytes of the frame. Who has no address yet does not say where to answer (RFC 4861 §4.3).
    const fn length(&self) -> usize {
        HEADER + 40 + MESSAGE + if self.source.is_unspecified() { 0 } else { OPTION }
    }

    fn write(&self, bytes: &mut [u8], own: MacAddr) {
        let group = solicited_node(self.target);
        let (mac, destination) = match self.known {
            Some(mac) => (mac, self.target),
            None => (multicast_mac(group), group),
        };
        write_ethernet(bytes, mac, own, ETHERTYPE_IPV6);
        let (ip, body) = bytes[HEADER..].split_at_mut(40);
        body.fill(0);
        body[0] = SOLICITATION;
        body[8..24].copy_from_slice(&self.target.octets());
        if let Some(option) = body.get_mut(MESSAGE..MESSAGE + OPTION) {
            option[..2].copy_from_slice(&[1, 1]); // source link-layer address, one unit of eight bytes
            option[2..].copy_from_slice(&own.0);
        }
        write_header(ip, self.source, destination, 255, body);
    }
}

/// Writes an Ethernet header at the start of a frame.
pub(crate) fn write_ethernet(frame: &mut [u8], to: MacAddr, from: MacAddr, ethertype: u16) {
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&from.0);
    frame[12..HEADER].copy_from_slice(&ethertype.to_be_bytes());
}

/// Writes the IPv6 header before an ICMPv6 `message`, and the message's checksum.
pub(crate) fn write_header(ip: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &mut [u8]) {
    ip[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    ip[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
    ip[6] = ICMPV6;
    ip[7] = hop_limit;
    ip[8..24].copy_from_slice(&source.octets());
    ip[24..40].copy_from_slice(&destination.octets());
    message[2..4].fill(0);
    let sum = Sum::new().add_pseudo(&ip[8..24], &ip[24..40], ICMPV6, message.len()).add(message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
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
        let solicitation = Solicitation { source: "fd00::1".parse().unwrap(), target, known: None };
        let mut bytes = vec![0; solicitation.length()];
        solicitation.write(&mut bytes, own);
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
