//! The way out: next hop to neighbour, neighbour to Ethernet header.
//!
//! For a neighbour that is known the header is copied from its entry; one that is not is asked for, and the packet waits.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{State, Table, Turn};
use crate::{
    batch::Batch,
    frame::Frame,
    meta::{Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Gives every routed packet its Ethernet header and sends it to the port that leads to its next hop. Returns whether any was led to
/// ourselves, and is lost.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) -> bool {
    let mut met_ourselves = false;
    for slot in batch.slots_mut() {
        if slot.verdict != Verdict::Continue {
            continue;
        }
        let Some(frame) = slot.frame.as_mut() else { continue };
        if let Some(header) = state.fresh(slot.meta.next_hop, turn.now) {
            slot.verdict = header.carry(frame, &mut slot.meta);
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
        if let Some(header) = state.resolve(next, slot.meta.next_hop, target, turn.now) {
            slot.verdict = header.carry(frame, &mut slot.meta);
            continue;
        }
        match state.awaited(table, turn, next.interface, target) {
            Ok(neighbor) => {
                if let Some(frame) = slot.take()
                    && let Some(reason) = state.wait(turn, neighbor, frame, slot.meta)
                {
                    slot.verdict = Verdict::Drop(reason);
                }
            }
            Err(reason) => {
                met_ourselves |= reason == DropReason::OwnAddress;
                slot.verdict = Verdict::Drop(reason);
            }
        }
    }
    met_ourselves
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
