//! An IPv4 packet: the checks of RFC 1812 §5.2.2, martians, own addresses.

use core::net::Ipv4Addr;

use super::{
    State, Vrf,
    addresses::Kind,
    fragment::is_honest,
    icmp::{self, Complaint},
    option,
    reverse_path::Asker,
    special::{CLASSES, MULTICAST, NOT_A_DESTINATION, NOT_A_SOURCE, may_lack_a_source},
};
use crate::{
    frame::Frame,
    io::checksum::Sum,
    l2::Turn,
    meta::{Flags, Meta},
    verdict::{DropReason, Verdict},
};

/// Version 4 and no options: the first byte of nearly every packet.
const PLAIN: u8 = 0x45;

/// What becomes of a packet. `SOURCES`: some interfaces ask where sources lie.
#[inline(always)]
pub(super) fn judge<const SOURCES: bool>(
    asker: &mut Asker<'_>,
    vrf: &Vrf,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    if frame.data().get(usize::from(meta.l3)) == Some(&PLAIN) {
        return examine::<SOURCES, true>(asker, vrf, frame, meta);
    }
    with_options::<SOURCES>(asker, vrf, state, turn, frame, meta)
}

/// A packet with options, or of no version that is known here.
#[cold]
#[inline(never)]
fn with_options<const SOURCES: bool>(
    asker: &mut Asker<'_>,
    vrf: &Vrf,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let verdict = examine::<SOURCES, false>(asker, vrf, frame, meta);
    if let Verdict::Drop(_) = verdict {
        return verdict;
    }
    let options = frame.data().get(usize::from(meta.l3) + 20..usize::from(meta.l4)).unwrap_or_default();
    match option::check(options) {
        Ok(()) => verdict,
        Err(option::Fault::SourceRoute) => Verdict::Drop(DropReason::IpSourceRoute),
        Err(option::Fault::Malformed { .. }) if asker.refuses(frame, meta) => Verdict::Drop(DropReason::ReversePath),
        Err(option::Fault::Malformed { pointer }) => {
            let problem = Complaint::Problem { code: 0, pointer: pointer.into(), even_to_groups: false };
            icmp::complain(asker.table(), state, turn, frame, meta, problem);
            Verdict::Drop(DropReason::IpBadOption)
        }
    }
}

/// `IS_PLAIN`: the header begins with [`PLAIN`].
#[inline(always)]
fn examine<const SOURCES: bool, const IS_PLAIN: bool>(
    asker: &mut Asker<'_>,
    vrf: &Vrf,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let at = usize::from(meta.l3);
    // (1) The packet is at least as long as the smallest header.
    let Some(packet) = frame.data().get(at..) else { return Verdict::Drop(DropReason::IpTruncated) };
    let Some(header) = packet.first_chunk::<20>() else { return Verdict::Drop(DropReason::IpTruncated) };
    // (3), (4) Version 4, and a header of at least 20 bytes.
    let header_len = if IS_PLAIN { 20 } else { usize::from(header[0] & 0xf) * 4 };
    if !IS_PLAIN && (header[0] >> 4 != 4 || header_len < 20) {
        return Verdict::Drop(DropReason::IpBadHeader);
    }
    // (5) The total length covers the header, (1) and the link delivered all of it.
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total < header_len || total > packet.len() {
        return Verdict::Drop(if total < header_len { DropReason::IpBadHeader } else { DropReason::IpTruncated });
    }
    // (2) The header checksum.
    let sound = if IS_PLAIN { is_sound(header) } else { Sum::new().add(&packet[..header_len]).folded() == 0xffff };
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
    let mut flags = meta.flags;
    if SOURCES {
        flags |= asker.ask_v4(meta, source);
    }
    if from | to != 0 {
        meta.flags = flags;
        if let Some(verdict) = unusual(vrf, from, to, source, destination, meta) {
            return verdict;
        }
    }
    // The packet will be routed, by a table that may be too large for a cache.
    let ahead = vrf.fib4.prefetch(destination.to_bits());
    let is_special = vrf.addresses.may_hold_v4(source, destination)
        || flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST);
    if is_special {
        meta.flags = flags;
        if let Some(verdict) = ours(vrf, source, destination, meta) {
            return verdict;
        }
    }
    meta.next_hop = ahead.to_bits();
    // Once, and whole: a part written by itself would hold up whoever reads the whole next.
    meta.flags = flags | Flags::LOOKED_AHEAD;
    Verdict::Continue
}

/// What is to us, pretends to be from us, or came to all stations on the link; `None` when it only looks like that.
#[inline(never)]
fn ours(vrf: &Vrf, source: Ipv4Addr, destination: Ipv4Addr, meta: &mut Meta) -> Option<Verdict> {
    if let Some(reason) = own_source(vrf, source) {
        return Some(Verdict::Drop(reason));
    }
    match vrf.addresses.v4(destination) {
        // RFC 1812 §5.3.4: unicast that came by link broadcast is not forwarded.
        None => meta
            .flags
            .intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST)
            .then_some(Verdict::Drop(DropReason::NotForwardable)),
        Some((kind, _)) => {
            if kind != Kind::Unicast {
                meta.flags |= Flags::LINK_BROADCAST;
            }
            Some(Verdict::Deliver)
        }
    }
}

/// Why a packet from an address of ours, or from that of a whole subnet of ours, is lost.
fn own_source(vrf: &Vrf, source: Ipv4Addr) -> Option<DropReason> {
    vrf.addresses.v4(source).map(|(kind, _)| match kind {
        Kind::Unicast => DropReason::IpOwnSource,
        Kind::Broadcast | Kind::Anycast => DropReason::IpMartian,
    })
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
fn unusual(vrf: &Vrf, from: u8, to: u8, source: Ipv4Addr, destination: Ipv4Addr, meta: &mut Meta) -> Option<Verdict> {
    let bootstraps = source.is_unspecified() && may_lack_a_source(destination, meta.protocol);
    if bootstraps {
        // Nobody asks by which way a host would be reached that has no address yet.
        meta.flags.remove(Flags::SOURCE_ASKED);
    }
    if from & NOT_A_SOURCE != 0 && !bootstraps || to & NOT_A_DESTINATION != 0 && !destination.is_broadcast() {
        return Some(Verdict::Drop(DropReason::IpMartian));
    }
    if let Some(reason) = own_source(vrf, source) {
        return Some(Verdict::Drop(reason));
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
