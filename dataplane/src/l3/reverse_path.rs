//! Does the source lie where the packet came from? Unicast reverse path forwarding (RFC 3704 §2.2, §2.4; RFC 8704), by interface.
//!
//! *Loose* asks whether there is a way to the source at all, *strict* whether that way leaves by the interface the packet came in by;
//! any hop of several will do. A default route is a way like another, as in Linux. A blackhole is none, so that one for a source drops
//! what comes from it (RFC 5635). What fails is dropped in silence: whoever is told is not who sent it.

use core::net::Ipv6Addr;

use super::{
    Table,
    route::{self, Lookups},
    table::Action,
};
use crate::{
    batch::{BATCH, Batch, Slot},
    l2::table::is_link_local,
    meta::{Network, VrfId},
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

/// Drops what comes from where its source is not. Not to be called when no interface asks (see [`Table::checks_sources`]).
///
/// First all lines that the look-ups will read are asked for, then they are read.
#[inline(never)]
pub fn run(table: &Table, batch: &mut Batch) {
    let slots = batch.slots_mut();
    let (mut v4, mut v4_len) = ([(0u8, 0u32); BATCH], 0);
    let mut v6 = Lookups::new();
    for (index, slot) in slots.iter_mut().enumerate() {
        if !matches!(slot.verdict, Verdict::Continue | Verdict::Deliver)
            || table.reverse_path(slot.meta.interface) == ReversePath::Off
        {
            continue;
        }
        match slot.meta.network {
            Network::Ipv4 => {
                let octets = route::address(slot, 12..16).and_then(|octets| octets.first_chunk());
                let address = octets.map_or(0, |octets| u32::from_be_bytes(*octets));
                // A host that has no address yet asks for one.
                if address != 0 {
                    table.vrf(slot.meta.vrf).fib4.prefetch(address);
                    v4[v4_len] = (index as u8, address);
                    v4_len += 1;
                }
            }
            Network::Ipv6 => {
                let octets = route::address(slot, 8..24).and_then(|octets| octets.first_chunk());
                let address = Ipv6Addr::from_bits(octets.map_or(0, |octets| u128::from_be_bytes(*octets)));
                // On the link it came from, or of a host that has none yet: neighbour discovery speaks so.
                if is_link_local(address) || address.is_unspecified() {
                    continue;
                }
                if slot.meta.vrf == VrfId::MAIN {
                    v6.push(index, address.to_bits());
                } else {
                    let next_hop = table.vrf(slot.meta.vrf).fib6.lookup(address.to_bits());
                    judge(table, slot, next_hop);
                }
            }
            _ => {}
        }
    }
    for (index, address) in &v4[..v4_len] {
        let slot = &mut slots[usize::from(*index)];
        let next_hop = table.vrf(slot.meta.vrf).fib4.lookup(*address);
        judge(table, slot, next_hop);
    }
    for (index, next_hop) in v6.resolve(|addresses, next_hops| table.main.fib6.lookup_many(addresses, next_hops)) {
        judge(table, &mut slots[index], next_hop);
    }
}

/// Judges a packet by the next hop of its source.
#[inline]
fn judge(table: &Table, slot: &mut Slot, next_hop: u32) {
    let interface = slot.meta.interface;
    let lies_there = match table.reverse_path(interface) {
        ReversePath::Strict => table.leads_to(next_hop, interface),
        ReversePath::Loose | ReversePath::Off => {
            matches!(table.next_hop(next_hop).action, Action::Forward | Action::Spread(_))
        }
    };
    if !lies_there {
        slot.verdict = Verdict::Drop(DropReason::ReversePath);
    }
}
