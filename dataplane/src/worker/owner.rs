//! Whose packet is it? Segments of a connection belong to one core; neighbour messages to all.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{handover::Links, segments::is_segment};
use crate::{
    batch::Batch,
    frame::Frame,
    l2::{self, Turn},
    l3, l4,
    meta::{Meta, Network},
    stats::CoreStats,
    verdict::{DropReason, Verdict},
};

/// Copies ARP and neighbour discovery messages to the other cores, so that each learns; this core alone answers. Before `l2::input`,
/// which uses ARP up.
pub(super) fn share_neighbor_messages(links: &mut Links, stats: &CoreStats, batch: &mut Batch) {
    if links.cores() <= 1 {
        return;
    }
    batch.each(Verdict::Continue, |frame, meta| {
        if l2::is_neighbor_message(frame, meta) {
            let lost = links.send_all(frame, *meta);
            stats.drops(DropReason::HandoverFull).add(lost);
        }
        Verdict::Continue
    });
}

/// Passes segments for this host, and ICMP errors about segments of this host, to the core that owns the flow. Returns whether
/// there is any other core.
pub(super) fn hand_over(links: &mut Links, stats: &CoreStats, me: usize, batch: &mut Batch) -> bool {
    let cores = links.cores();
    if cores <= 1 {
        return false;
    }
    batch.each(Verdict::Deliver, |frame, meta| {
        let Some(owner) = owner(frame, meta, cores) else { return Verdict::Deliver };
        if owner == me {
            return Verdict::Deliver;
        }
        if links.send(owner, frame, *meta) {
            stats.handovers.add(1);
            Verdict::Consumed
        } else {
            Verdict::Drop(DropReason::HandoverFull)
        }
    });
    true
}

/// What other cores sent: neighbour messages are learnt and used up, segments stay to be delivered.
pub(super) fn receive(table: &l3::Table, link: &mut l2::State, turn: &mut Turn<'_>, batch: &mut Batch) {
    batch.each(Verdict::Continue, |frame, meta| {
        if l2::is_neighbor_message(frame, meta) {
            l3::learn(table, link, turn, frame, meta);
            Verdict::Consumed
        } else {
            Verdict::Deliver
        }
    });
}

/// The core that owns the flow of a segment, or of the segment that an ICMP error quotes; `None` for anything else.
fn owner(frame: &Frame, meta: &Meta, cores: usize) -> Option<usize> {
    if !is_segment(meta) {
        let quoted = l3::icmp::quoted_flow(frame, meta)?;
        return Some(l4::owner(
            quoted.local.ip(),
            quoted.remote.ip(),
            quoted.local.port(),
            quoted.remote.port(),
            cores,
        ));
    }
    let packet = frame.data().get(usize::from(meta.l3)..)?;
    let ports = frame.data().get(usize::from(meta.l4)..)?.first_chunk::<4>()?;
    let (src, dst): (IpAddr, IpAddr) = match meta.network {
        Network::Ipv4 => (Ipv4Addr::from(*part(packet, 12)?).into(), Ipv4Addr::from(*part(packet, 16)?).into()),
        Network::Ipv6 => {
            (Ipv6Addr::from(*part::<16>(packet, 8)?).into(), Ipv6Addr::from(*part::<16>(packet, 24)?).into())
        }
        Network::Arp | Network::Other => return None,
    };
    let [a, b, c, d] = *ports;
    Some(l4::owner(src, dst, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), cores))
}

fn part<const N: usize>(packet: &[u8], at: usize) -> Option<&[u8; N]> {
    packet.get(at..)?.first_chunk()
}
