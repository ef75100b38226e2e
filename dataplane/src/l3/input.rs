//! May this packet be here, and is it ours? The checks of RFC 1812 §5.2.2 and RFC 8200 §3, martians, own addresses.
//!
//! What is for this host gets [`Verdict::Deliver`], the rest stays in transit. Padding behind the packet is cut off.

use core::net::{IpAddr, Ipv4Addr};

use super::{
    State, Table, Vrf, input4,
    input6::{self, address_at},
    reverse_path::{self, Asker},
};
use crate::{
    batch::Batch,
    l2::Turn,
    meta::{Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Checks every packet in transit and decides whether it is for this host. Returns whether any is.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) -> bool {
    if !table.checks_sources() {
        return select::<false>(table, state, turn, batch);
    }
    let ours = select::<true>(table, state, turn, batch);
    reverse_path::run(table, batch);
    ours
}

/// `SOURCES`: some interfaces ask where sources lie. Each of the loops has the checks in line: called for every packet they cost a fifth more.
#[inline(always)]
fn select<const SOURCES: bool>(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) -> bool {
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
) -> bool {
    let (mut ours, mut asker) = (false, Asker::new(table));
    batch.each(Verdict::Continue, |frame, meta| {
        let vrf = domain(meta);
        let verdict = match meta.network {
            Network::Ipv4 => input4::judge::<SOURCES>(&mut asker, vrf, state, turn, frame, meta),
            Network::Ipv6 => input6::judge::<SOURCES>(&mut asker, vrf, state, turn, frame, meta),
            _ => Verdict::Drop(DropReason::L2UnknownType),
        };
        // First, so that what most packets get is a constant to all that follows.
        if verdict == Verdict::Continue {
            return Verdict::Continue;
        }
        ours |= verdict == Verdict::Deliver;
        verdict
    });
    ours
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
