//! May this packet be here, and is it ours? The checks of RFC 1812 §5.2.2 and RFC 8200 §3, martians, own addresses.
//!
//! What is for this host gets [`Verdict::Deliver`], the rest stays in transit. Padding behind the packet is cut off.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    State, Table, Vrf,
    addresses::Kind,
    extension,
    fragment::is_honest,
    icmp::{self, Complaint, Unreachable},
    icmp6, nd, option,
    reverse_path::{self, ReversePath},
    special::{CLASSES, MULTICAST, NOT_A_DESTINATION, NOT_A_SOURCE, is_martian_v6, is_our_group, may_lack_a_source},
};
use crate::{
    batch::Batch,
    frame::Frame,
    io::checksum::Sum,
    l2::{Interface, Turn, table::is_link_local},
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Version 4 and no options: the first byte of nearly every IPv4 packet.
const PLAIN: u8 = 0x45;

/// What there is among the packets of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Some are for this host.
    pub ours: bool,
    /// Sources of some are to be looked up, by [`reverse_path`](super::reverse_path).
    pub doubted: bool,
}

/// Checks every packet in transit and decides whether it is for this host.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) -> Found {
    if table.checks_sources() {
        reverse_path::look_ahead(table, batch);
        return select::<true>(table, state, turn, batch);
    }
    select::<false>(table, state, turn, batch)
}

/// `SOURCES`: some interfaces ask where sources lie. Each of the loops has the checks in line: called for every packet they cost a fifth more.
#[inline(always)]
fn select<const SOURCES: bool>(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) -> Found {
    if table.others.is_empty() {
        // The usual case has a loop of its own: to choose the domain of each packet would hold up all that depends on it.
        return check::<SOURCES>(table, state, turn, batch, |_| &table.main);
    }
    check::<SOURCES>(table, state, turn, batch, |meta| {
        meta.vrf = table.vrf_of(meta.interface);
        table.vrf(meta.vrf)
    })
}

#[inline(always)]
fn check<'t, const SOURCES: bool>(
    table: &'t Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    batch: &mut Batch,
    domain: impl Fn(&mut Meta) -> &'t Vrf,
) -> Found {
    let mut found = Found::default();
    batch.each(Verdict::Continue, |frame, meta| {
        let vrf = domain(meta);
        let verdict = match meta.network {
            Network::Ipv4 => ipv4::<SOURCES>(table, vrf, state, turn, frame, meta),
            Network::Ipv6 => ipv6::<SOURCES>(table, vrf, state, turn, frame, meta),
            _ => Verdict::Drop(DropReason::L2UnknownType),
        };
        found.ours |= verdict == Verdict::Deliver;
        found.doubted |= SOURCES && meta.flags.contains(Flags::SOURCE_DOUBTED);
        verdict
    });
    found
}

#[inline(always)]
fn ipv4<const SOURCES: bool>(
    table: &Table,
    vrf: &Vrf,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let at = usize::from(meta.l3);
    // (1) The packet is at least as long as the smallest header.
    let Some(packet) = frame.data().get(at..) else { return Verdict::Drop(DropReason::IpTruncated) };
    let Some(header) = packet.first_chunk::<20>() else { return Verdict::Drop(DropReason::IpTruncated) };
    // (3), (4) Version 4, and a header of at least 20 bytes.
    let header_len = usize::from(header[0] & 0xf) * 4;
    if header[0] != PLAIN && (header[0] >> 4 != 4 || header_len < 20) {
        return Verdict::Drop(DropReason::IpBadHeader);
    }
    // (5) The total length covers the header, (1) and the link delivered all of it.
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total < header_len || total > packet.len() {
        return Verdict::Drop(if total < header_len { DropReason::IpBadHeader } else { DropReason::IpTruncated });
    }
    // (2) The header checksum.
    let sound =
        if header[0] == PLAIN { is_sound(header) } else { Sum::new().add(&packet[..header_len]).folded() == 0xffff };
    if !sound {
        return Verdict::Drop(DropReason::Ipv4BadChecksum);
    }
    let source = Ipv4Addr::from_bits(u32::from_be_bytes(word(header, 12)));
    let destination = Ipv4Addr::from_bits(u32::from_be_bytes(word(header, 16)));
    let (from, to) = (CLASSES[usize::from(header[12])], CLASSES[usize::from(header[16])]);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    meta.protocol = header[9];
    meta.l4 = (at + header_len) as u16;
    if packet.len() != total {
        frame.truncate(at + total);
    }
    // More fragments, or an offset.
    if fragment & 0x3fff != 0 && !is_honest(fragment, header_len, total, meta) {
        return Verdict::Drop(DropReason::BadFragment);
    }
    let doubted = SOURCES && table.doubts(meta, source);
    if doubted {
        meta.source = vrf.fib4.prefetch(source.to_bits()).to_bits();
        meta.flags |= Flags::SOURCE_DOUBTED;
    }
    if from | to != 0
        && let Some(verdict) = unusual_v4(vrf, from, to, source, destination, meta)
    {
        return verdict;
    }
    // The packet will be routed, by a table that may be too large for a cache. One line at a time: the processor waits for some ten
    // together, and a stage that asks for more stands still. With its source looked up, that stage asks for this one.
    let ahead = vrf.fib4.slot(destination.to_bits());
    if !doubted {
        vrf.fib4.prefetch_at(ahead);
    }
    let is_special = vrf.addresses.may_hold_v4(source, destination)
        || meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST);
    let verdict = if is_special { ours_v4(vrf, source, destination, meta) } else { Verdict::Continue };
    if verdict == Verdict::Continue {
        meta.next_hop = ahead.to_bits();
        meta.flags |= Flags::LOOKED_AHEAD;
    }
    if header_len != 20 && !matches!(verdict, Verdict::Drop(_)) {
        return with_options(table, state, turn, frame, meta, verdict);
    }
    verdict
}

/// A packet with options, to which the addresses gave this verdict.
#[cold]
fn with_options(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &Frame,
    meta: &Meta,
    verdict: Verdict,
) -> Verdict {
    let options = frame.data().get(usize::from(meta.l3) + 20..usize::from(meta.l4)).unwrap_or_default();
    match option::check(options) {
        Ok(()) => verdict,
        Err(option::Fault::SourceRoute) => Verdict::Drop(DropReason::IpSourceRoute),
        Err(option::Fault::Malformed { pointer }) => {
            let problem = Complaint::Problem { code: 0, pointer: pointer.into(), even_to_groups: false };
            icmp::complain(table, state, turn, frame, meta, problem);
            Verdict::Drop(DropReason::IpBadOption)
        }
    }
}

/// What is to us, pretends to be from us, or came to all stations on the link.
#[inline(never)]
fn ours_v4(vrf: &Vrf, source: Ipv4Addr, destination: Ipv4Addr, meta: &mut Meta) -> Verdict {
    match vrf.addresses.v4(source) {
        None => {}
        Some((Kind::Unicast, _)) => return Verdict::Drop(DropReason::IpOwnSource),
        Some(_) => return Verdict::Drop(DropReason::IpMartian),
    }
    match vrf.addresses.v4(destination) {
        None if meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST) => {
            // RFC 1812 §5.3.4: unicast that came by link broadcast is not forwarded.
            Verdict::Drop(DropReason::NotForwardable)
        }
        None => Verdict::Continue,
        Some((Kind::Unicast, _)) => Verdict::Deliver,
        Some(_) => {
            meta.flags |= Flags::LINK_BROADCAST;
            Verdict::Deliver
        }
    }
}

/// Whether the checksum of a header without options is right: the common case, without loops.
#[inline]
fn is_sound(header: &[u8; 20]) -> bool {
    let word = |at: usize| u64::from(u32::from_ne_bytes(word(header, at)));
    // In the machine's byte order: all ones are all ones in either (RFC 1071 §2 B).
    let sum = word(0) + word(4) + word(8) + word(12) + word(16);
    // A number plus itself with its halves exchanged has in its upper half their sum with the carry added.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    sum.wrapping_add(sum.rotate_left(16)) >> 16 == 0xffff
}

#[inline]
fn word(header: &[u8; 20], at: usize) -> [u8; 4] {
    [header[at], header[at + 1], header[at + 2], header[at + 3]]
}

/// Addresses that never are in transit; `None` when they only begin like one.
#[cold]
fn unusual_v4(
    vrf: &Vrf,
    from: u8,
    to: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    meta: &mut Meta,
) -> Option<Verdict> {
    let bootstraps = source.is_unspecified() && may_lack_a_source(destination, meta.protocol);
    if from & NOT_A_SOURCE != 0 && !bootstraps || to & NOT_A_DESTINATION != 0 && !destination.is_broadcast() {
        return Some(Verdict::Drop(DropReason::IpMartian));
    }
    match vrf.addresses.v4(source) {
        None => {}
        Some((Kind::Unicast, _)) => return Some(Verdict::Drop(DropReason::IpOwnSource)),
        Some(_) => return Some(Verdict::Drop(DropReason::IpMartian)),
    }
    if destination.is_broadcast() {
        meta.flags |= Flags::LINK_BROADCAST;
        return Some(Verdict::Deliver);
    }
    if to & MULTICAST != 0 {
        return Some(Verdict::Drop(DropReason::NotForwardable));
    }
    // RFC 3927 §2.7: whoever has an address of the link only may speak to us, and through us to nobody.
    let on_link_only = source.is_link_local() || destination.is_link_local();
    let is_ours = vrf.addresses.v4(destination).is_some();
    (on_link_only && !is_ours).then_some(Verdict::Drop(DropReason::NotForwardable))
}

#[inline]
fn ipv6<const SOURCES: bool>(
    table: &Table,
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
    if SOURCES && table.reverse_path(meta.interface) != ReversePath::Off && !exempt() {
        meta.flags |= Flags::SOURCE_DOUBTED;
    }
    if plain
        && !vrf.addresses.may_hold_v6(source, destination)
        && !meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST)
    {
        return Verdict::Continue;
    }
    unusual_v6(table, state, turn, frame, meta, (source, destination))
}

/// What is to us or pretends to be from us, came to all stations on the link, or has an address of a special kind.
#[inline(never)]
fn unusual_v6(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
    (source, destination): (Ipv6Addr, Ipv6Addr),
) -> Verdict {
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
        meta.flags.remove(Flags::SOURCE_DOUBTED);
    }
    if ours {
        if destination.is_multicast() {
            meta.flags |= Flags::LINK_MULTICAST;
        }
        return match extension::walk(frame, meta) {
            Ok(_) => Verdict::Deliver,
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
fn address_at(header: &[u8; 40], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from_octets(octets)
}

/// Source and destination of a checked packet, for stages that answer it.
pub(super) fn addresses_of(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    if packet.first()? >> 4 == 4 {
        let header = packet.first_chunk::<20>()?;
        let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        return Some((source.into(), destination.into()));
    }
    let header = packet.first_chunk::<40>()?;
    Some((address_at(header, 8).into(), address_at(header, 24).into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_checksum_agrees_with_the_long_one(mut header: [u8; 20], repair: bool) {
            if repair {
                header[10..12].fill(0);
                let sum = Sum::new().add(&header).finish();
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            prop_assert_eq!(is_sound(&header), Sum::new().add(&header).folded() == 0xffff);
        }
    }
}
