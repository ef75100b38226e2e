//! What becomes of a packet of which all fragments are here.
//!
//! One that fits a frame is put together and goes on as if it had come in one piece. An echo request is answered in pieces as it came, so
//! that one of any size is answered, without a buffer of any size.

use core::net::{IpAddr, Ipv6Addr};

use super::{
    super::{
        State, Table, extension,
        fragment::{MORE_FRAGMENTS, finish_header},
        icmp::{self, Unreachable},
        icmp4, icmp6,
        local::{ICMP, UDP},
        nd,
    },
    Partial, Piece,
};
use crate::{
    batch::Slot,
    frame::Frame,
    io::checksum::Sum,
    l2::Turn,
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Of IPv6: other fragments follow.
const MORE6: u16 = 1;
/// Bytes of the headers of a reply's fragment.
const HEADER4: usize = 20;
const HEADER6: usize = 48;

/// Decides about a whole packet; `slot` is that of the fragment which came last, and is empty.
pub(super) fn deliver(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &mut Slot, partial: &Partial) {
    let Some(meta) = partial.first else { return };
    let lost = partial.pieces.len() as u64;
    let kind = partial.pieces[0].frame.data().get(usize::from(meta.l4)).copied();
    match (meta.network, meta.protocol, kind) {
        (Network::Ipv4, ICMP, Some(icmp4::ECHO_REQUEST))
        | (Network::Ipv6, icmp6::PROTOCOL, Some(icmp6::ECHO_REQUEST)) => {
            if let Err(reason) = answer(table, state, turn, partial, &meta) {
                turn.stats.drops(reason).add(lost);
            }
        }
        // RFC 6980 §5: neighbours do not speak in fragments.
        (Network::Ipv6, icmp6::PROTOCOL, Some(nd::ROUTER_SOLICITATION..=icmp6::REDIRECT)) => {
            turn.stats.drops(DropReason::IcmpMalformed).add(lost);
        }
        _ => match put_together(turn, partial, meta) {
            Some((frame, meta)) => {
                (slot.frame, slot.meta, slot.verdict) = (Some(frame), meta, Verdict::Deliver);
            }
            None if meta.protocol == UDP => {
                icmp::unreachable(table, state, turn, &partial.pieces[0].frame, &meta, Unreachable::Port);
                turn.stats.drops(DropReason::NoListener).add(lost);
            }
            None => turn.stats.drops(DropReason::FragmentForHost).add(lost),
        },
    }
}

/// The packet in one frame; `None` if it is too long for one.
fn put_together(turn: &mut Turn<'_>, partial: &Partial, mut meta: Meta) -> Option<(Frame, Meta)> {
    let first = &partial.pieces[0];
    let head = first.frame.data().get(..usize::from(first.place.head))?;
    let mut frame = turn.arena.alloc()?;
    frame.extend(head.len())?.copy_from_slice(head);
    for piece in &partial.pieces {
        let payload = piece.payload();
        frame.extend(payload.len())?.copy_from_slice(payload);
    }
    let at = usize::from(meta.l3);
    let total = frame.len() - at;
    let named = first.frame.data().get(usize::from(first.place.head)).copied();
    let packet = frame.data_mut().get_mut(at..)?;
    if meta.network == Network::Ipv4 {
        u16::try_from(total).ok()?;
        let header = packet.get_mut(..head.len() - at)?;
        finish_header(header, total - header.len(), 0);
    } else {
        packet[4..6].copy_from_slice(&u16::try_from(total - 40).ok()?.to_be_bytes());
        *packet.get_mut(usize::from(first.place.named_at) - at)? = named?;
    }
    // A port's word was about the fragment.
    meta.flags.remove(Flags::FRAGMENT | Flags::LATER_FRAGMENT | Flags::RX_CHECKSUM_GOOD);
    if meta.network == Network::Ipv6 {
        extension::walk(&frame, &mut meta).ok()?;
    }
    Some((frame, meta))
}

/// Answers an echo request in pieces that the way back can take.
fn answer(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    partial: &Partial,
    meta: &Meta,
) -> Result<(), DropReason> {
    let (to, about) = (partial.key.source, partial.key.destination);
    if sum(about, to, meta, &partial.pieces).folded() != 0xffff {
        return Err(DropReason::IcmpMalformed);
    }
    let own = match (about, to) {
        (IpAddr::V6(about), IpAddr::V6(to)) => icmp6::source(table, meta, to, about).map(IpAddr::V6),
        _ => Some(about),
    };
    let Some(own) = own else { return Err(DropReason::IcmpIgnored) };
    if !state.may_reply(turn.now) {
        return Err(DropReason::IcmpRateLimited);
    }
    let out = table.source_in(meta.vrf, to).map_or(meta.interface, |(_, out)| out);
    let mtu = usize::from(table.link().interface(out).mtu);
    let headers = if meta.network == Network::Ipv4 { HEADER4 } else { HEADER6 };
    let step = mtu.saturating_sub(headers) & !7;
    if step == 0 {
        return Err(DropReason::TooLong);
    }
    let needed = partial.pieces.iter().map(|piece| piece.place.len.div_ceil(step)).sum::<usize>();
    if turn.egress.room() < needed {
        return Err(DropReason::EgressFull);
    }
    if turn.arena.available() < needed {
        return Err(DropReason::NoFrame);
    }
    let total = partial.total.unwrap_or(0);
    let mut first = Some(reply_head(own, to, meta, partial));
    for piece in &partial.pieces {
        for (index, part) in piece.payload().chunks(step).enumerate() {
            let offset = piece.place.offset + index * step;
            let more = offset + part.len() < total;
            let Reply { frame, l4 } = fragment(turn, (own, to), partial, meta, (offset, more), part)?;
            push(turn, frame, l4, meta, offset, first.take());
        }
    }
    Ok(())
}

/// A fragment of the reply, and where its payload begins.
struct Reply {
    frame: Frame,
    l4: usize,
}

fn fragment(
    turn: &mut Turn<'_>,
    (own, to): (IpAddr, IpAddr),
    partial: &Partial,
    asked: &Meta,
    (offset, more): (usize, bool),
    part: &[u8],
) -> Result<Reply, DropReason> {
    let mut frame = turn.arena.alloc().ok_or(DropReason::NoFrame)?;
    let l4 = if own.is_ipv4() { HEADER4 } else { HEADER6 };
    let bytes = frame.extend(l4 + part.len()).ok_or(DropReason::TooLong)?;
    let (header, payload) = bytes.split_at_mut(l4);
    payload.copy_from_slice(part);
    // Who asked has chosen it so that it is unique between the two of us.
    let identification = partial.key.identification;
    match (own, to) {
        (IpAddr::V4(own), IpAddr::V4(to)) => {
            let service = partial.pieces[0].frame.data().get(usize::from(asked.l3) + 1).copied().unwrap_or_default();
            let field = (offset / 8) as u16 | if more { MORE_FRAGMENTS } else { 0 };
            header[..2].copy_from_slice(&[0x45, service]);
            header[4..6].copy_from_slice(&(identification as u16).to_be_bytes());
            header[8..10].copy_from_slice(&[icmp6::HOP_LIMIT, ICMP]);
            header[12..16].copy_from_slice(&own.octets());
            header[16..20].copy_from_slice(&to.octets());
            finish_header(header, part.len(), field);
        }
        (IpAddr::V6(own), IpAddr::V6(to)) => {
            let field = offset as u16 | if more { MORE6 } else { 0 };
            header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            header[4..6].copy_from_slice(&((l4 - 40 + part.len()) as u16).to_be_bytes());
            header[6..8].copy_from_slice(&[extension::FRAGMENT, icmp6::HOP_LIMIT]);
            header[8..24].copy_from_slice(&own.octets());
            header[24..40].copy_from_slice(&to.octets());
            header[40..42].copy_from_slice(&[icmp6::PROTOCOL, 0]);
            header[42..44].copy_from_slice(&field.to_be_bytes());
            header[44..48].copy_from_slice(&identification.to_be_bytes());
        }
        _ => return Err(DropReason::IcmpIgnored),
    }
    Ok(Reply { frame, l4 })
}

/// Sends a fragment of the reply; the first of them gets `head` as the beginning of its message.
fn push(turn: &mut Turn<'_>, mut frame: Frame, l4: usize, asked: &Meta, offset: usize, head: Option<[u8; 4]>) {
    if let (Some(head), Some(message)) = (head, frame.data_mut().get_mut(l4..l4 + 4)) {
        message.copy_from_slice(&head);
    }
    let later = if offset > 0 { Flags::LATER_FRAGMENT } else { Flags::empty() };
    let meta = Meta {
        interface: asked.interface,
        vrf: asked.vrf,
        out: asked.interface,
        l4: l4 as u16,
        protocol: asked.protocol,
        flags: Flags::FRAGMENT | later,
        ..Meta::default()
    };
    turn.egress.push_ip(frame, asked.network, meta);
}

/// Type, code and checksum of the reply.
fn reply_head(own: IpAddr, to: IpAddr, meta: &Meta, partial: &Partial) -> [u8; 4] {
    let kind = if own.is_ipv4() { icmp4::ECHO_REPLY } else { icmp6::ECHO_REPLY };
    let code = partial.pieces[0].payload().get(1).copied().unwrap_or_default();
    let asked = partial.pieces[0].payload().first_chunk::<4>().copied().unwrap_or_default();
    // The sum without the words that the reply has instead of those of the request.
    let rest = sum(own, to, meta, &partial.pieces).add_word(!u16::from_be_bytes([asked[0], asked[1]]));
    let rest = rest.add_word(!u16::from_be_bytes([asked[2], asked[3]]));
    let checksum = rest.add(&[kind, code]).finish().to_be_bytes();
    [kind, code, checksum[0], checksum[1]]
}

/// The sum over a message in pieces, with the pseudo-header that ICMPv6 has. All pieces but the last are of even length.
fn sum(a: IpAddr, b: IpAddr, meta: &Meta, pieces: &[Piece]) -> Sum {
    let length = pieces.iter().map(|piece| piece.place.len).sum();
    let pseudo = |a: Ipv6Addr, b: Ipv6Addr| Sum::new().add_pseudo(&a.octets(), &b.octets(), meta.protocol, length);
    let start = match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => pseudo(a, b),
        _ => Sum::new(),
    };
    pieces.iter().fold(start, |sum, piece| sum.add(piece.payload()))
}
