//! The way out: next hop to neighbour, neighbour to Ethernet header.
//!
//! For a neighbour that is known the header is copied from its entry; one that is not is asked for, and the packet waits.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, State, Table, Turn, entries::Rewrite};
use crate::{
    batch::Batch,
    frame::Frame,
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Gives every routed packet its Ethernet header and sends it to the port that leads to its next hop.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    for slot in batch.slots_mut() {
        if slot.verdict != Verdict::Continue {
            continue;
        }
        let Some(frame) = slot.frame.as_mut() else { continue };
        if let Some(rewrite) = state.fresh(slot.meta.next_hop, turn.now) {
            slot.verdict = finish(frame, &mut slot.meta, &rewrite);
            continue;
        }
        let Some(next) = table.adjacencies().get(slot.meta.next_hop as usize) else {
            slot.verdict = Verdict::Drop(DropReason::NoRoute);
            continue;
        };
        let Some(target) = next.gateway.or_else(|| destination(frame, &slot.meta)) else {
            slot.verdict = Verdict::Drop(DropReason::IpTruncated);
            continue;
        };
        slot.meta.out = next.interface;
        if let Some(rewrite) = state.resolve(next, slot.meta.next_hop, target, turn.now) {
            slot.verdict = finish(frame, &mut slot.meta, &rewrite);
        } else if let Some(frame) = slot.take()
            && let Some(reason) = state.wait(table, turn, target, frame, slot.meta)
        {
            slot.verdict = Verdict::Drop(reason);
        }
    }
}

#[inline]
fn destination(frame: &Frame, meta: &Meta) -> Option<IpAddr> {
    let header = frame.data().get(usize::from(meta.l3)..)?;
    match meta.network {
        Network::Ipv4 => {
            header.get(16..20)?.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from_octets(*octets)))
        }
        Network::Ipv6 => {
            header.get(24..40)?.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from_octets(*octets)))
        }
        _ => None,
    }
}

/// Puts the Ethernet header right in front of the IP header.
#[inline]
pub(super) fn finish(frame: &mut Frame, meta: &mut Meta, rewrite: &Rewrite) -> Verdict {
    if usize::from(meta.l3) != HEADER && !make_room(frame, meta) {
        return Verdict::Drop(DropReason::TooLong);
    }
    let Some(header) = frame.data_mut().first_chunk_mut::<HEADER>() else {
        return Verdict::Drop(DropReason::IpTruncated);
    };
    let ethertype = if meta.network == Network::Ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    header[..12].copy_from_slice(&rewrite.addresses);
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    Verdict::Transmit(rewrite.port)
}

/// Makes the space before the IP header exactly one Ethernet header long; offsets move along.
fn make_room(frame: &mut Frame, meta: &mut Meta) -> bool {
    let before = usize::from(meta.l3);
    if before > HEADER {
        frame.trim_front(before - HEADER);
    } else if frame.prepend(HEADER - before).is_none() {
        return false;
    }
    let moved = |offset: u16| (usize::from(offset) + HEADER).saturating_sub(before) as u16;
    meta.l4 = moved(meta.l4);
    if meta.flags.contains(Flags::CHECKSUM_PARTIAL) {
        meta.checksum_start = moved(meta.checksum_start);
    }
    meta.l3 = HEADER as u16;
    true
}
