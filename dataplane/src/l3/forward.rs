//! The hop limit and the MTU of the way out.

use super::{
    State, Table, fragment,
    icmp::{self, Complaint},
};
use crate::{
    batch::Batch,
    frame::Frame,
    io::checksum,
    l2::Turn,
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Counts down the hop limit of every routed packet that is not our own, and sees to it that it fits the way out.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    batch.each(Verdict::Continue, |frame, meta| {
        let mtu = meta.mtu;
        let Some(packet) = frame.data_mut().get_mut(usize::from(meta.l3)..) else {
            return Verdict::Drop(DropReason::IpTruncated);
        };
        let fits = packet.len() <= usize::from(mtu);
        let Some(header) = packet.first_chunk_mut::<20>() else { return Verdict::Drop(DropReason::IpTruncated) };
        let hops = if meta.network == Network::Ipv4 { header[8] } else { header[7] };
        let transit = !meta.flags.contains(Flags::ORIGINATED);
        // RFC 1812 §5.3.1, RFC 8200 §3: the last hop is not ours to use.
        if transit && hops <= 1 {
            icmp::complain(table, state, turn, frame, meta, Complaint::TimeExceeded);
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        if !fits {
            return too_long(table, state, turn, frame, meta, mtu);
        }
        if transit {
            count_down(header, meta.network);
        }
        Verdict::Continue
    });
}

/// Takes one off a hop limit of more than one.
#[inline]
fn count_down(header: &mut [u8; 20], network: Network) {
    if network == Network::Ipv4 {
        let sum = checksum::after_hop([header[10], header[11]]);
        header[8] -= 1;
        header[10..12].copy_from_slice(&sum);
    } else {
        header[7] -= 1;
    }
}

/// A packet that is longer than the way out carries, and may live.
#[inline(never)]
fn too_long(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
    mtu: u16,
) -> Verdict {
    let in_pieces = !is_cut_later(frame, meta, mtu);
    if in_pieces && (meta.network != Network::Ipv4 || must_not_fragment(frame, meta)) {
        icmp::complain(table, state, turn, frame, meta, Complaint::TooBig { mtu });
        return Verdict::Drop(DropReason::PacketTooBig);
    }
    let header = frame.data_mut().get_mut(usize::from(meta.l3)..).and_then(|packet| packet.first_chunk_mut());
    if let Some(header) = header
        && !meta.flags.contains(Flags::ORIGINATED)
    {
        count_down(header, meta.network);
    }
    if in_pieces && let Err(reason) = fragment::split(frame, meta, usize::from(mtu), turn) {
        return Verdict::Drop(reason);
    }
    Verdict::Continue
}

/// Whether the port cuts the packet into segments that fit.
#[cold]
fn is_cut_later(frame: &Frame, meta: &Meta, mtu: u16) -> bool {
    let tcp_header = frame.data().get(usize::from(meta.l4) + 12).map_or(0, |offset| u32::from(offset >> 4) * 4);
    let before = u32::from(meta.l4.saturating_sub(meta.l3)) + tcp_header;
    meta.segment_size != 0 && before + u32::from(meta.segment_size) <= u32::from(mtu)
}

/// The sender said so, or the packet is a super-segment whose parts do not fit: to cut it, its sender has to know.
#[cold]
fn must_not_fragment(frame: &Frame, meta: &Meta) -> bool {
    let dont_fragment = frame.data().get(usize::from(meta.l3) + 6).is_some_and(|flags| flags & 0x40 != 0);
    dont_fragment || meta.segment_size != 0
}
