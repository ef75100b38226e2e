//! Longest-prefix match: from destination to next hop.

use core::net::Ipv6Addr;

use super::{
    State, Table,
    icmp::{self, Unreachable},
    table::{Action, NO_ROUTE},
};
use crate::{
    batch::{BATCH, Batch, Slot},
    l2::{Turn, table::is_link_local},
    meta::{Flags, Network},
    verdict::{DropReason, Verdict},
};

/// Sets `next_hop` and `out` of every packet in transit; what has no way is dropped and its sender told.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    let slots = batch.slots_mut();
    // All IPv4 look-ups of a batch together, so that their cache misses overlap.
    let mut at = [0u8; BATCH];
    let mut destinations = [0u32; BATCH];
    let mut next_hops = [NO_ROUTE; BATCH];
    let mut n = 0;
    for (index, slot) in slots.iter_mut().enumerate() {
        if slot.verdict != Verdict::Continue {
            continue;
        }
        match slot.meta.network {
            Network::Ipv4 => {
                at[n] = index as u8;
                destinations[n] = destination_v4(slot);
                n += 1;
            }
            Network::Ipv6 => {
                let next_hop = next_hop_v6(table, slot);
                apply(table, state, turn, slot, next_hop);
            }
            _ => slot.verdict = Verdict::Drop(DropReason::L2UnknownType),
        }
    }
    table.fib4.lookup_many(&destinations[..n], &mut next_hops[..n]);
    for (index, next_hop) in at.iter().zip(next_hops).take(n) {
        apply(table, state, turn, &mut slots[usize::from(*index)], next_hop);
    }
}

/// The destination; 0 (which has no route) when the packet has none.
#[inline]
fn destination_v4(slot: &Slot) -> u32 {
    let at = usize::from(slot.meta.l3) + 16;
    let field = slot.frame.as_ref().and_then(|frame| frame.data().get(at..at + 4)?.first_chunk::<4>());
    field.map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[inline]
fn next_hop_v6(table: &Table, slot: &Slot) -> u32 {
    let at = usize::from(slot.meta.l3) + 24;
    let field = slot.frame.as_ref().and_then(|frame| frame.data().get(at..at + 16)?.first_chunk::<16>());
    let Some(octets) = field else { return NO_ROUTE };
    let destination = Ipv6Addr::from_octets(*octets);
    // A link-local destination is on the link its packet names (RFC 4007); packets in transit never get here with one.
    if is_link_local(destination) {
        return table.on_link(slot.meta.out);
    }
    table.lookup_v6(destination)
}

#[inline]
fn apply(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &mut Slot, next_hop: u32) {
    let hop = table.next_hop(next_hop);
    slot.meta.next_hop = next_hop;
    slot.meta.out = hop.port;
    if hop.action != Action::Forward {
        slot.verdict = refuse(table, state, turn, slot, hop.action);
    }
}

#[cold]
fn refuse(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &Slot, action: Action) -> Verdict {
    let (reason, error) = match action {
        Action::Blackhole => return Verdict::Drop(DropReason::Blackhole),
        // A packet of this host to itself, or to a broadcast address: nothing here sends such a thing on purpose.
        Action::Local | Action::Forward => return Verdict::Drop(DropReason::NotForwardable),
        Action::NoRoute => (DropReason::NoRoute, Unreachable::Net),
        Action::Unreachable => (DropReason::NoRoute, Unreachable::Host),
    };
    if let Some(frame) = &slot.frame
        && !slot.meta.flags.contains(Flags::ORIGINATED)
    {
        icmp::unreachable(table, state, turn, frame, &slot.meta, error);
    }
    Verdict::Drop(reason)
}
