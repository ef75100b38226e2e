//! An IPv6 packet: the checks of RFC 8200 §3, addresses that never are in transit, own addresses and groups.

use core::net::{IpAddr, Ipv6Addr};

use super::{
    State, Vrf,
    addresses::Kind,
    extension,
    icmp::{self, Unreachable},
    icmp6, nd,
    reverse_path::Asker,
    special::{is_martian_v6, is_our_group},
};
use crate::{
    frame::Frame,
    l2::{Interface, Turn, table::is_link_local},
    meta::{Flags, Meta},
    verdict::{DropReason, Verdict},
};

/// What becomes of a packet. `SOURCES`: some interfaces ask where sources lie.
#[inline]
pub(super) fn judge<const SOURCES: bool>(
    asker: &mut Asker<'_>,
    vrf: &Vrf,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let at = usize::from(meta.l3);
    let Some(packet) = frame.data().get(at..) else { return Verdict::Drop(DropReason::IpTruncated) };
    let Some(header) = packet.first_chunk::<40>() else { return Verdict::Drop(DropReason::IpTruncated) };
    if header[0] >> 4 != 6 {
        return Verdict::Drop(DropReason::IpBadHeader);
    }
    let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if total > packet.len() {
        return Verdict::Drop(DropReason::IpTruncated);
    }
    let source = address_at(header, 8);
    let destination = address_at(header, 24);
    // Neither multicast nor link-local, unspecified, loopback or an IPv4 address in disguise: all of these begin with other octets.
    let plain = matches!(header[8], 0x01..=0xfd) && matches!(header[24], 0x01..=0xfd);
    meta.protocol = header[6];
    meta.l4 = (at + 40) as u16;
    if packet.len() != total {
        frame.truncate(at + total);
    }
    // On the link it came from, or of a host that has none yet: neighbour discovery speaks so.
    let exempt = || is_link_local(source) || source.is_unspecified();
    if SOURCES && !exempt() {
        meta.flags |= asker.ask_v6(meta);
    }
    if plain
        && !vrf.addresses.may_hold_v6(source, destination)
        && !meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST)
    {
        return Verdict::Continue;
    }
    unusual(asker, state, turn, frame, meta, (source, destination))
}

/// What is to us or pretends to be from us, came to all stations on the link, or has an address of a special kind.
#[inline(never)]
fn unusual(
    asker: &Asker<'_>,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
    (source, destination): (Ipv6Addr, Ipv6Addr),
) -> Verdict {
    let table = asker.table();
    // Only a host that checks its address has none (RFC 4862 §5.4.2), and it speaks to a multicast group.
    let nobody = source.is_unspecified() && destination.is_multicast();
    if (is_martian_v6(source) && !nobody) || is_martian_v6(destination) || source.is_multicast() {
        return Verdict::Drop(DropReason::IpMartian);
    }
    let link = table.link().interface(meta.interface);
    let own = &table.vrf(meta.vrf).addresses;
    // An anycast address may be another router's source as well.
    let own_source = own.contains(IpAddr::V6(source)) || source == link.link_local;
    if own_source && !disputes(link, frame, meta, source) {
        return Verdict::Drop(DropReason::IpOwnSource);
    }
    let ours = if destination.is_multicast() {
        is_our_group(destination) || link.in_solicited_group(destination)
    } else if is_link_local(destination) {
        link.link_local == destination
    } else {
        let kind = own.v6(destination).map(|(kind, _)| kind);
        if kind == Some(Kind::Anycast) {
            meta.flags |= Flags::ANYCAST;
        }
        kind.is_some()
    };
    if own_source {
        if !ours {
            return Verdict::Drop(DropReason::IpOwnSource);
        }
        // Nobody asks by which way an address of ours would be reached.
        meta.flags.remove(Flags::SOURCE_ASKED);
    }
    if ours {
        if destination.is_multicast() {
            meta.flags |= Flags::LINK_MULTICAST;
        }
        return match extension::walk(frame, meta) {
            Ok(_) => Verdict::Deliver,
            Err(_) if asker.refuses(frame, meta) => Verdict::Drop(DropReason::ReversePath),
            Err(fault) => {
                icmp::parameter_problem(table, state, turn, frame, meta, fault);
                Verdict::Drop(DropReason::Ipv6BadExtension)
            }
        };
    }
    if destination.is_multicast()
        || is_link_local(destination)
        || meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST)
    {
        return Verdict::Drop(DropReason::NotForwardable);
    }
    if is_link_local(source) {
        // RFC 4291 §2.5.6: never to another link; RFC 4443 §3.1 has a code for it.
        icmp::unreachable(table, state, turn, frame, meta, Unreachable::BeyondScope);
        return Verdict::Drop(DropReason::NotForwardable);
    }
    Verdict::Continue
}

/// Whether a packet from an address that we have on this link may be the word of another station that has it too: of neighbour discovery,
/// which [hears the conflict](super::nd) in it.
fn disputes(link: &Interface, frame: &Frame, meta: &Meta, source: Ipv6Addr) -> bool {
    let kind = frame.data().get(usize::from(meta.l4));
    meta.protocol == icmp6::PROTOCOL
        && matches!(kind, Some(&(nd::SOLICITATION | nd::ADVERTISEMENT)))
        && link.claims(IpAddr::V6(source))
}

#[inline]
pub(super) fn address_at(header: &[u8; 40], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from_octets(octets)
}
