//! Asking and telling: ARP requests (RFC 826), neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ETHERTYPE_ARP, ETHERTYPE_IPV6, Header, Interface, Turn, arp,
    table::{is_link_local, solicited_node},
};
use crate::{
    frame::Frame,
    io::{MacAddr, checksum::Sum},
    meta::{InterfaceId, Meta},
    verdict::Verdict,
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

/// Asks for `target` on `interface`: everybody, or only `known` when a known address is to be confirmed. `false` when it could not
/// be asked: no address to ask from, or no memory.
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
            send_arp((id, interface), source, target, known, turn)
        }
        IpAddr::V6(target) => {
            let source = if is_link_local(target) { interface.link_local } else { source_v6(interface, target) };
            Solicitation { source, target, known }.send((id, interface), turn)
        }
    }
}

/// Asks whether another station has `address`, without claiming it (RFC 5227 §2.1.1, RFC 4862 §5.4.2).
pub(super) fn probe(id: InterfaceId, interface: &Interface, address: IpAddr, turn: &mut Turn<'_>) -> bool {
    match address {
        IpAddr::V4(address) => send_arp((id, interface), Ipv4Addr::UNSPECIFIED, address, None, turn),
        IpAddr::V6(target) => {
            Solicitation { source: Ipv6Addr::UNSPECIFIED, target, known: None }.send((id, interface), turn)
        }
    }
}

/// Tells the whole link that `address` is ours (RFC 5227 §2.3, RFC 4861 §7.2.6).
pub(super) fn announce(id: InterfaceId, interface: &Interface, address: IpAddr, turn: &mut Turn<'_>) -> bool {
    match address {
        IpAddr::V4(address) => send_arp((id, interface), address, address, None, turn),
        IpAddr::V6(address) => {
            let header = Header::new(interface, multicast_mac(ALL_NODES), ETHERTYPE_IPV6);
            send(id, &header, 40 + MESSAGE + OPTION, turn, |bytes| {
                let (ip, body) = bytes.split_at_mut(40);
                body.fill(0);
                body[0] = ADVERTISEMENT;
                body[4] = ROUTER_OVERRIDE;
                body[8..24].copy_from_slice(&address.octets());
                body[24..26].copy_from_slice(&[2, 1]); // target link-layer address, one unit of eight bytes
                body[26..32].copy_from_slice(&interface.mac.0);
                write_header(ip, address, ALL_NODES, 255, body);
            })
        }
    }
}

/// A packet of `length` bytes that `write` fills, in a frame. `false` when there is no memory for it.
fn send(id: InterfaceId, header: &Header, length: usize, turn: &mut Turn<'_>, write: impl FnOnce(&mut [u8])) -> bool {
    let Some(mut frame) = turn.arena.alloc() else { return false };
    let Some(bytes) = frame.extend(length) else { return false };
    write(bytes);
    leave(id, header, frame, turn)
}

/// Sends a packet of our own to a link, in a frame with `header`.
pub(crate) fn leave(id: InterfaceId, header: &Header, mut frame: Frame, turn: &mut Turn<'_>) -> bool {
    let mut meta = Meta { out: id, ..Meta::default() };
    match header.put(&mut frame, &mut meta) {
        Verdict::Drop(reason) => {
            turn.stats.drops(reason).add(1);
            false
        }
        exit => {
            turn.egress.push_link(frame, exit, meta);
            true
        }
    }
}

fn send_arp(
    (id, interface): (InterfaceId, &Interface),
    source: Ipv4Addr,
    target: Ipv4Addr,
    known: Option<MacAddr>,
    turn: &mut Turn<'_>,
) -> bool {
    let header = Header::new(interface, known.unwrap_or(MacAddr::BROADCAST), ETHERTYPE_ARP);
    let message = arp::Message {
        operation: arp::REQUEST,
        sender_mac: interface.mac,
        sender: source,
        target_mac: MacAddr::default(),
        target,
    };
    send(id, &header, arp::LENGTH, turn, |bytes| message.write(bytes))
}

/// A global address of the target's prefix, so that a host that knows us only by it can answer; else the link-local one.
fn source_v6(interface: &Interface, target: Ipv6Addr) -> Ipv6Addr {
    let usable = interface.v6.iter().filter(|net| !interface.is_tentative(net.addr().into()));
    usable
        .map(|net| (net, net.addr()))
        .find(|(net, _)| net.contains(&target))
        .map_or(interface.link_local, |(_, own)| own)
}

/// A question for a neighbour, or a probe when it has no source.
struct Solicitation {
    source: Ipv6Addr,
    target: Ipv6Addr,
    known: Option<MacAddr>,
}

impl Solicitation {
    /// Bytes of the packet. Who has no address yet does not say where to answer (RFC 4861 §4.3).
    const fn length(&self) -> usize {
        40 + MESSAGE + if self.source.is_unspecified() { 0 } else { OPTION }
    }

    /// Who is asked.
    fn destination(&self) -> (MacAddr, Ipv6Addr) {
        let group = solicited_node(self.target);
        self.known.map_or((multicast_mac(group), group), |mac| (mac, self.target))
    }

    fn send(&self, (id, interface): (InterfaceId, &Interface), turn: &mut Turn<'_>) -> bool {
        let header = Header::new(interface, self.destination().0, ETHERTYPE_IPV6);
        send(id, &header, self.length(), turn, |bytes| self.write(bytes, interface.mac))
    }

    fn write(&self, bytes: &mut [u8], own: MacAddr) {
        let (ip, body) = bytes.split_at_mut(40);
        body.fill(0);
        body[0] = SOLICITATION;
        body[8..24].copy_from_slice(&self.target.octets());
        if let Some(option) = body.get_mut(MESSAGE..MESSAGE + OPTION) {
            option[..2].copy_from_slice(&[1, 1]); // source link-layer address, one unit of eight bytes
            option[2..].copy_from_slice(&own.0);
        }
        write_header(ip, self.source, self.destination().1, 255, body);
    }
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
        let packet = SlicedPacket::from_ip(&bytes).unwrap();
        assert_eq!(solicitation.destination().0.0, [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]);
        let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6") };
        assert_eq!(ip.header().destination_addr(), solicited_node(target));
        assert_eq!(ip.header().hop_limit(), 255);
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("not ICMPv6") };
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (135, 0));
    }
}
