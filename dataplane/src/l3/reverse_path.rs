//! Does the source lie where the packet came from? Unicast reverse path forwarding (RFC 3704 §2.2, §2.4; RFC 8704), by interface.
//!
//! *Loose* asks whether there is a way to the source at all, *strict* whether that way leaves by the interface the packet came in by;
//! any hop of several will do. A default route is a way like another, as in Linux. A blackhole is none, so that one for a source drops
//! what comes from it (RFC 5635). What fails is dropped in silence: whoever is told is not who sent it.

use core::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;

use super::{
    Table, Vrf,
    fib4::{Group4, Slot4},
    input::addresses_of,
    route::{self, Lookups},
    sources::SourceMap,
    table::{Action, NO_ROUTE},
};
use crate::{
    batch::{BATCH, Batch, Slot},
    frame::Frame,
    meta::{Flags, InterfaceId, Meta, Network, VrfId},
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

/// Who asks: the interface that the packet looked at last came in by, as most of a batch do.
pub(super) struct Asker<'t> {
    table: &'t Table,
    interface: InterfaceId,
    asks: bool,
    map: Option<&'t SourceMap>,
}

impl<'t> Asker<'t> {
    pub(super) fn new(table: &'t Table) -> Self {
        let mut asker = Self { table, interface: InterfaceId(0), asks: false, map: None };
        asker.turn_to(InterfaceId(0));
        asker
    }

    fn turn_to(&mut self, interface: InterfaceId) {
        self.interface = interface;
        self.asks = self.table.reverse_path(interface) != ReversePath::Off;
        self.map = self.table.source_map(interface);
    }

    pub(super) const fn table(&self) -> &'t Table {
        self.table
    }

    /// What is known of sources to the interface that a packet came in by.
    #[inline]
    fn map(&mut self, interface: InterfaceId) -> Option<&'t SourceMap> {
        if interface != self.interface {
            self.turn_to(interface);
        }
        self.map
    }

    /// The flag of an IPv4 packet for whose source somebody asks, if so; the memory that will say where it lies is asked for.
    #[inline]
    pub(super) fn ask_v4(&mut self, meta: &mut Meta, source: Ipv4Addr) -> Flags {
        let Some(map) = self.map(meta.interface) else { return self.flag() };
        meta.source = map.prefetch(source.to_bits());
        Flags::SOURCE_ASKED
    }

    /// The same of an IPv6 packet, of which nothing is known without a look-up.
    #[inline]
    pub(super) fn ask_v6(&mut self, meta: &Meta) -> Flags {
        self.map(meta.interface);
        self.flag()
    }

    /// Whether a packet comes from where its source is not: for those whose sender would be told something before [`run`] is.
    #[cold]
    pub(super) fn refuses(&self, frame: &Frame, meta: &Meta) -> bool {
        let vrf = self.table.vrf(meta.vrf);
        let packet = frame.data().get(usize::from(meta.l3)..).unwrap_or_default();
        let next_hop = match addresses_of(packet) {
            Some((IpAddr::V4(source), _)) => vrf.fib4.lookup(source.to_bits()),
            Some((IpAddr::V6(source), _)) => vrf.fib6.lookup(source.to_bits()),
            None => NO_ROUTE,
        };
        meta.flags.contains(Flags::SOURCE_ASKED) && !passes(self.table, meta.interface, next_hop)
    }

    #[inline]
    const fn flag(&self) -> Flags {
        if self.asks { Flags::SOURCE_ASKED } else { Flags::empty() }
    }
}

/// Drops what comes from where its source is not, of the packets that [`Asker`] has flagged.
pub(super) fn run(table: &Table, batch: &mut Batch) {
    if table.vrfs().is_empty() {
        // As in `l3::input`.
        return check(table, batch, |_| &table.main);
    }
    check(table, batch, |slot| table.vrf(slot.meta.vrf));
}

#[inline(always)]
fn check<'t>(table: &'t Table, batch: &mut Batch, domain: impl Fn(&Slot) -> &'t Vrf) {
    let slots = batch.slots_mut();
    let mut asker = Asker::new(table);
    let mut doubted = ArrayVec::<u8, BATCH>::new();
    let mut v6 = false;
    for (index, slot) in slots.iter_mut().enumerate() {
        if !is_asked(slot) {
            continue;
        }
        if slot.meta.network != Network::Ipv4 {
            v6 = true;
            continue;
        }
        if asker.map(slot.meta.interface).is_some_and(|map| map.passes(slot.meta.source)) {
            continue;
        }
        slot.meta.source = domain(slot).fib4.prefetch(source4(slot)).to_bits();
        doubted.push(index as u8);
    }
    if !doubted.is_empty() {
        look_up(table, slots, &doubted, domain);
    }
    if v6 {
        check_v6(table, slots);
    }
}

/// Looks the sources up of which it is not known that they pass. Their first lines have been asked for.
#[inline(never)]
fn look_up<'t>(table: &'t Table, slots: &mut [Slot], doubted: &[u8], domain: impl Fn(&Slot) -> &'t Vrf) {
    let mut deeper = ArrayVec::<(u8, Group4), BATCH>::new();
    for index in doubted {
        let slot = &mut slots[usize::from(*index)];
        match domain(slot).fib4.lookup_first(Slot4::from_bits(slot.meta.source), || source4(slot)) {
            Ok(next_hop) => judge(table, slot, next_hop),
            Err(group) => deeper.push((*index, group)),
        }
    }
    for (index, group) in deeper {
        let slot = &mut slots[usize::from(index)];
        let next_hop = domain(slot).fib4.lookup_in(group, source4(slot));
        judge(table, slot, next_hop);
    }
}

#[inline]
fn is_asked(slot: &Slot) -> bool {
    matches!(slot.verdict, Verdict::Continue | Verdict::Deliver) && slot.meta.flags.contains(Flags::SOURCE_ASKED)
}

#[inline(never)]
fn check_v6(table: &Table, slots: &mut [Slot]) {
    let mut lookups = Lookups::new();
    for (index, slot) in slots.iter_mut().enumerate() {
        if !is_asked(slot) || slot.meta.network != Network::Ipv6 {
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
    if !passes(table, slot.meta.interface, next_hop) {
        slot.verdict = Verdict::Drop(DropReason::ReversePath);
    }
}

/// Whether a source that this next hop leads to may come in by an interface.
#[inline(always)]
fn passes(table: &Table, interface: InterfaceId, next_hop: u32) -> bool {
    let hop = table.next_hop(next_hop);
    let strict = table.reverse_path(interface) == ReversePath::Strict;
    let usual = hop.action == Action::Forward && (!strict || hop.interface == interface);
    usual || lies_there(table, next_hop, strict.then_some(interface))
}

/// Whether packets for a next hop go out, and `by` that interface if one is given.
#[inline(never)]
pub(super) fn lies_there(table: &Table, next_hop: u32, by: Option<InterfaceId>) -> bool {
    let goes_out = || matches!(table.next_hop(next_hop).action, Action::Forward | Action::Spread(_));
    by.map_or_else(goes_out, |interface| table.leads_to(next_hop, interface))
}
