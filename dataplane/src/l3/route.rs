//! Longest-prefix match: from destination to next hop.

use core::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::{
    State, Table, Vrf,
    addresses::Kind,
    fib4::{Group4, Slot4},
    flow,
    icmp::{self, Unreachable},
    policy,
    table::{Action, NO_ROUTE},
};
use crate::{
    batch::{BATCH, Batch, Slot},
    l2::{Turn, table::is_link_local},
    meta::{Flags, Network, VrfId},
    verdict::{DropReason, Verdict},
};

/// IPv6 packets whose next hops are looked up together: for their destinations, or for their sources.
pub(super) struct Lookups {
    /// Their slots.
    at: [u8; BATCH],
    addresses: [u128; BATCH],
    next_hops: [u32; BATCH],
    len: usize,
}

impl Lookups {
    #[inline]
    pub(super) fn new() -> Self {
        Self { at: [0; BATCH], addresses: [0; BATCH], next_hops: [NO_ROUTE; BATCH], len: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, slot: usize, address: u128) {
        self.at[self.len] = slot as u8;
        self.addresses[self.len] = address;
        self.len += 1;
    }

    /// Slots and their next hops, as found by `lookup`.
    #[inline]
    pub(super) fn resolve(&mut self, lookup: impl FnOnce(&[u128], &mut [u32])) -> impl Iterator<Item = (usize, u32)> {
        lookup(&self.addresses[..self.len], &mut self.next_hops[..self.len]);
        self.at[..self.len].iter().zip(&self.next_hops).map(|(at, next_hop)| (usize::from(*at), *next_hop))
    }
}

/// Sets `next_hop`, `out` and `mtu` of every packet in transit; what has no way is dropped and its sender told.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    if table.has_policies() {
        return find::<true>(table, state, turn, batch, |slot| table.vrf(slot.meta.vrf));
    }
    if table.others.is_empty() {
        // As in `l3::input`.
        return find::<false>(table, state, turn, batch, |_| &table.main);
    }
    find::<false>(table, state, turn, batch, |slot| table.vrf(slot.meta.vrf));
}

/// `RULES` says whether there are packets that rules have decided about.
#[inline(always)]
fn find<'t, const RULES: bool>(
    table: &'t Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    batch: &mut Batch,
    domain: impl Fn(&Slot) -> &'t Vrf,
) {
    let mut v6 = false;
    let slots = batch.slots_mut();
    let mut deeper = ArrayVec::<(u8, Group4), BATCH>::new();
    for (index, slot) in slots.iter_mut().enumerate() {
        if slot.verdict != Verdict::Continue {
            continue;
        }
        match slot.meta.network {
            // One by one: `l3::input` has asked for the line that the look-up reads, so that there is nothing to wait for.
            Network::Ipv4 => {
                let fib = &domain(slot).fib4;
                let (flags, found) = (slot.meta.flags, slot.meta.next_hop);
                let found = if flags.contains(Flags::LOOKED_AHEAD) {
                    fib.lookup_first(Slot4::from_bits(found), || destination4(slot))
                } else if flags.contains(Flags::ROUTED) {
                    Ok(found)
                } else if RULES && flags.contains(Flags::POLICY) {
                    Ok(by_rule(table, slot))
                } else {
                    let address = destination4(slot);
                    fib.lookup_first(fib.slot(address), || address)
                };
                match found {
                    Ok(next_hop) => apply(table, state, turn, slot, next_hop),
                    // Nobody could ask for its line before.
                    Err(group) => deeper.push((index as u8, group)),
                }
            }
            Network::Ipv6 => v6 = true,
            _ => slot.verdict = Verdict::Drop(DropReason::L2UnknownType),
        }
    }
    for (index, group) in deeper {
        let slot = &mut slots[usize::from(index)];
        let next_hop = domain(slot).fib4.lookup_in(group, destination4(slot));
        apply(table, state, turn, slot, next_hop);
    }
    if v6 {
        run_v6::<RULES>(table, state, turn, batch);
    }
}

/// The next hop of a packet that a rule has decided about.
#[inline(never)]
fn by_rule(table: &Table, slot: &Slot) -> u32 {
    match table.policies.rules().get(slot.meta.next_hop as usize).map(|rule| rule.way) {
        Some(policy::Way::Hop(next_hop)) => next_hop,
        Some(policy::Way::Domain(vrf)) if slot.meta.network == Network::Ipv4 => {
            table.vrf(vrf).fib4.lookup(destination4(slot))
        }
        Some(policy::Way::Domain(vrf)) => table.vrf(vrf).fib6.lookup(destination6(slot)),
        None => NO_ROUTE,
    }
}

/// The destination of an IPv4 packet.
#[inline]
fn destination4(slot: &Slot) -> u32 {
    let octets = address(slot, 16..20).and_then(|octets| octets.first_chunk());
    octets.map_or(0, |octets| u32::from_be_bytes(*octets))
}

/// The destination of an IPv6 packet.
#[inline]
fn destination6(slot: &Slot) -> u128 {
    let octets = address(slot, 24..40).and_then(|octets| octets.first_chunk());
    octets.map_or(0, |octets| u128::from_be_bytes(*octets))
}

/// The IPv6 packets of a batch together, so that their cache misses overlap.
#[inline(never)]
fn run_v6<const RULES: bool>(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    let slots = batch.slots_mut();
    let mut lookups = Lookups::new();
    for (index, slot) in slots.iter_mut().enumerate() {
        if slot.verdict != Verdict::Continue || slot.meta.network != Network::Ipv6 {
            continue;
        }
        let destination = destination6(slot);
        if RULES && slot.meta.flags.contains(Flags::POLICY) {
            let next_hop = by_rule(table, slot);
            apply(table, state, turn, slot, next_hop);
        } else if is_link_local(Ipv6Addr::from_bits(destination)) {
            // On the link its packet names (RFC 4007); packets in transit never get here with one.
            let next_hop = table.on_link(slot.meta.out);
            apply(table, state, turn, slot, next_hop);
        } else if slot.meta.vrf == VrfId::MAIN {
            lookups.push(index, destination);
        } else {
            let next_hop = table.vrf(slot.meta.vrf).fib6.lookup(destination);
            apply(table, state, turn, slot, next_hop);
        }
    }
    for (index, next_hop) in lookups.resolve(|addresses, next_hops| table.main.fib6.lookup_many(addresses, next_hops)) {
        apply(table, state, turn, &mut slots[index], next_hop);
    }
}

/// An address in the header. A packet without it (which the checks let nobody send) has none that any route leads to: callers take zero.
#[inline]
pub(super) fn address(slot: &Slot, within: core::ops::Range<usize>) -> Option<&[u8]> {
    slot.frame.as_ref()?.data().get(usize::from(slot.meta.l3)..)?.get(within)
}

#[inline(always)]
fn apply(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &mut Slot, next_hop: u32) {
    let (mut next_hop, mut hop) = (next_hop, table.next_hop(next_hop));
    if let Action::Spread(group) = hop.action {
        next_hop = choose(table, state, slot, group);
        hop = table.next_hop(next_hop);
    }
    slot.meta.next_hop = next_hop;
    slot.meta.out = hop.interface;
    slot.meta.mtu = hop.mtu;
    if hop.action != Action::Forward {
        slot.verdict = refuse(table, state, turn, slot, hop.action);
    }
}

/// The member of a group that the packet's flow takes.
#[inline]
fn choose(table: &Table, state: &State, slot: &Slot, group: u16) -> u32 {
    let (Some(group), Some(frame)) = (table.group(group), &slot.frame) else { return NO_ROUTE };
    group.choose(flow::hash(frame, &slot.meta), &state.silent)
}

#[cold]
fn refuse(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &Slot, action: Action) -> Verdict {
    let (reason, error) = match action {
        Action::Blackhole => return Verdict::Drop(DropReason::Blackhole),
        // By a rule or from another domain; what is for us in its own domain has not come here.
        Action::Local if !is_broadcast(table, slot) => (DropReason::OwnAddress, Unreachable::Host),
        // A broadcast address of one of our links (RFC 2644).
        Action::Local | Action::Forward => return Verdict::Drop(DropReason::NotForwardable),
        Action::NoRoute => (DropReason::NoRoute, Unreachable::Net),
        Action::Unreachable => (DropReason::NoRoute, Unreachable::Host),
        Action::Prohibit => (DropReason::Prohibited, Unreachable::Prohibited),
        // A group has no groups.
        Action::Spread(_) => (DropReason::NoRoute, Unreachable::Net),
    };
    tell(table, state, turn, slot, error);
    Verdict::Drop(reason)
}

/// Tells the sender of a packet, unless it is this host.
fn tell(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &Slot, error: Unreachable) {
    if let Some(frame) = &slot.frame
        && !slot.meta.flags.contains(Flags::ORIGINATED)
    {
        icmp::unreachable(table, state, turn, frame, &slot.meta, error);
    }
}

/// Whether a packet that was led to ourselves is for a broadcast address.
fn is_broadcast(table: &Table, slot: &Slot) -> bool {
    let own = table.vrf(table.vrf_of(slot.meta.out)).addresses();
    slot.meta.network == Network::Ipv4
        && matches!(own.v4(Ipv4Addr::from_bits(destination4(slot))), Some((Kind::Broadcast, _)))
}

/// After `l2::output` has met ourselves at the end of a next hop on a link: the senders are told, as those are whom [`run`] has refused.
#[cold]
pub fn refuse_own(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &Batch) {
    for slot in batch.slots() {
        let by_link = table.next_hop(slot.meta.next_hop).action == Action::Forward;
        if by_link && slot.verdict == Verdict::Drop(DropReason::OwnAddress) {
            tell(table, state, turn, slot, Unreachable::Host);
        }
    }
}
