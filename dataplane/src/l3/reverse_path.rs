//! Does the source lie where the packet came from? Unicast reverse path forwarding (RFC 3704 §2.2, §2.4; RFC 8704), by interface.
//!
//! *Loose* asks whether there is a way to the source at all, *strict* whether that way leaves by the interface the packet came in by;
//! any hop of several will do. A default route is a way like another, as in Linux. A blackhole is none, so that one for a source drops
//! what comes from it (RFC 5635). What fails is dropped in silence: whoever is told is not who sent it.

use arrayvec::ArrayVec;

use super::{
    Table, Vrf,
    fib4::{Group4, Slot4},
    route::{self, Lookups},
    table::Action,
};
use crate::{
    batch::{BATCH, Batch, Slot},
    meta::{Flags, InterfaceId, Network, VrfId},
    verdict::{DropReason, Verdict},
};

/// What is asked of the sources of packets that come in by an interface.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ReversePath {
    /// Nothing.
    #[default]
    Off,
    /// There is a way to them.
    Loose,
    /// There is one by the interface itself.
    Strict,
}

/// Asks for what says that sources pass, where it may be too large for a cache, and notes for [`Table::doubts`] where that is. Packets
/// are not looked at closely: what is asked for in vain costs little.
#[inline]
pub(super) fn look_ahead(table: &Table, batch: &mut Batch) {
    if !table.has_large_source_map() {
        return;
    }
    let Some(first) = batch.slots().first() else { return };
    // Most packets come in by the same interface.
    let mut interface = first.meta.interface;
    let mut map = table.source_map(interface);
    for slot in batch.slots_mut() {
        let Slot { frame: Some(frame), meta, .. } = slot else { continue };
        if meta.interface != interface {
            interface = meta.interface;
            map = table.source_map(interface);
        }
        let at = usize::from(meta.l3) + 12;
        if let Some(map) = map
            && let Some(source) = frame.data().get(at..).and_then(|octets| octets.first_chunk())
        {
            meta.source = map.slot(u32::from_be_bytes(*source));
            map.prefetch_at(meta.source);
        }
    }
}

/// Drops what comes from where its source is not. To be called when [`input`](super::input) has found sources that are to be looked up.
///
/// `l3::input` has flagged what is to be looked at, and asked for the lines that the look-ups of IPv4 sources read. Those of the
/// destinations are asked for here.
#[inline(never)]
pub fn run(table: &Table, batch: &mut Batch) {
    if table.vrfs().is_empty() {
        // As in `l3::input`.
        return check(table, batch, |_| &table.main);
    }
    check(table, batch, |slot| table.vrf(slot.meta.vrf));
}

#[inline(always)]
fn check<'t>(table: &'t Table, batch: &mut Batch, domain: impl Fn(&Slot) -> &'t Vrf) {
    let slots = batch.slots_mut();
    let mut deeper = ArrayVec::<(u8, Group4), BATCH>::new();
    let mut v6 = false;
    for (index, slot) in slots.iter_mut().enumerate() {
        if !is_doubted(slot) {
            continue;
        }
        if slot.meta.network != Network::Ipv4 {
            v6 = true;
            continue;
        }
        let fib = &domain(slot).fib4;
        if slot.meta.flags.contains(Flags::LOOKED_AHEAD) {
            fib.prefetch_at(Slot4::from_bits(slot.meta.next_hop));
        }
        match fib.lookup_first(Slot4::from_bits(slot.meta.source), || source4(slot)) {
            Ok(next_hop) => judge(table, slot, next_hop),
            Err(group) => deeper.push((index as u8, group)),
        }
    }
    for (index, group) in deeper {
        let slot = &mut slots[usize::from(index)];
        let next_hop = domain(slot).fib4.lookup_in(group, source4(slot));
        judge(table, slot, next_hop);
    }
    if v6 {
        check_v6(table, slots);
    }
}

#[inline]
fn is_doubted(slot: &Slot) -> bool {
    matches!(slot.verdict, Verdict::Continue | Verdict::Deliver) && slot.meta.flags.contains(Flags::SOURCE_DOUBTED)
}

#[inline(never)]
fn check_v6(table: &Table, slots: &mut [Slot]) {
    let mut lookups = Lookups::new();
    for (index, slot) in slots.iter_mut().enumerate() {
        if !is_doubted(slot) || slot.meta.network != Network::Ipv6 {
            continue;
        }
        if slot.meta.vrf == VrfId::MAIN {
            lookups.push(index, source6(slot));
        } else {
            let next_hop = table.vrf(slot.meta.vrf).fib6.lookup(source6(slot));
            judge(table, slot, next_hop);
        }
    }
    for (index, next_hop) in lookups.resolve(|addresses, next_hops| table.main.fib6.lookup_many(addresses, next_hops)) {
        judge(table, &mut slots[index], next_hop);
    }
}

#[inline]
fn source4(slot: &Slot) -> u32 {
    let octets = route::address(slot, 12..16).and_then(|octets| octets.first_chunk());
    octets.map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[inline]
fn source6(slot: &Slot) -> u128 {
    let octets = route::address(slot, 8..24).and_then(|octets| octets.first_chunk());
    octets.map_or(0, |octets| u128::from_be_bytes(*octets))
}

/// Judges a packet by the next hop of its source.
#[inline(always)]
fn judge(table: &Table, slot: &mut Slot, next_hop: u32) {
    let (hop, interface) = (table.next_hop(next_hop), slot.meta.interface);
    let strict = table.reverse_path(interface) == ReversePath::Strict;
    let usual = hop.action == Action::Forward && (!strict || hop.interface == interface);
    if !usual && !lies_there(table, next_hop, strict.then_some(interface)) {
        slot.verdict = Verdict::Drop(DropReason::ReversePath);
    }
}

/// Whether packets for a next hop go out, and `by` that interface if one is given.
#[inline(never)]
pub(super) fn lies_there(table: &Table, next_hop: u32, by: Option<InterfaceId>) -> bool {
    let goes_out = || matches!(table.next_hop(next_hop).action, Action::Forward | Action::Spread(_));
    by.map_or_else(goes_out, |interface| table.leads_to(next_hop, interface))
}
