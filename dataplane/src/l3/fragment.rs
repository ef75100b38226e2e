//! An IPv4 packet in pieces (RFC 791 §3.2; RFC 1812 §5.2.6), for senders that allow it.

use crate::{
    frame::Frame,
    io::checksum::{self, Sum},
    l2::Turn,
    meta::{Flags, Meta, Network},
    verdict::DropReason,
};

/// Set on options that go into every fragment.
const COPIED: u8 = 0x80;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
const TCP: u8 = 6;
/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// Cuts the packet down to its first fragment; the others are queued, to go the same way.
pub(super) fn split(frame: &mut Frame, meta: &mut Meta, mtu: usize, turn: &mut Turn<'_>) -> Result<(), DropReason> {
    if meta.flags.contains(Flags::CHECKSUM_PARTIAL) {
        checksum::complete(frame, meta);
    }
    let at = usize::from(meta.l3);
    let packet = frame.data().get(at..).ok_or(DropReason::IpTruncated)?;
    let header_len = usize::from(packet.first().ok_or(DropReason::IpTruncated)? & 0xf) * 4;
    let (header, payload) = packet.split_at_checked(header_len).ok_or(DropReason::IpTruncated)?;
    if header_len < 20 || mtu < header_len + 8 {
        return Err(DropReason::TooLong);
    }
    let (later_header, later_len) = without_uncopied_options(header);
    let original = u16::from_be_bytes([header[6], header[7]]);
    let first = (mtu - header_len) & !7;
    let step = (mtu - later_len) & !7;
    let rest = payload.len().saturating_sub(first);
    let pieces = rest.div_ceil(step);
    // All of the packet or nothing: a piece alone is of no use to the receiver.
    if turn.egress.room() < pieces {
        return Err(DropReason::EgressFull);
    }
    if turn.arena.available() < pieces {
        return Err(DropReason::NoFrame);
    }
    for piece in 0..pieces {
        let from = first + piece * step;
        let part = &payload[from..(from + step).min(payload.len())];
        let last = piece + 1 == pieces;
        let more = if last { original & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
        let offset = (original & 0x1fff) + (from / 8) as u16;
        let mut copy = turn.arena.alloc().ok_or(DropReason::NoFrame)?;
        let bytes = copy.extend(later_len + part.len()).ok_or(DropReason::TooLong)?;
        bytes[..later_len].copy_from_slice(&later_header[..later_len]);
        bytes[later_len..].copy_from_slice(part);
        finish_header(&mut bytes[..later_len], part.len(), more | offset);
        let flags = Flags::FRAGMENT | Flags::LATER_FRAGMENT | Flags::ROUTED;
        let meta = Meta {
            interface: meta.interface,
            vrf: meta.vrf,
            l4: later_len as u16,
            protocol: meta.protocol,
            next_hop: meta.next_hop,
            flags,
            ..Meta::default()
        };
        turn.egress.push_ip(copy, Network::Ipv4, meta);
    }
    frame.truncate(at + header_len + first);
    finish_header(&mut frame.data_mut()[at..at + header_len], first, MORE_FRAGMENTS | original & 0x1fff);
    meta.flags |= Flags::FRAGMENT;
    Ok(())
}

/// Length, fragment field and checksum of a header whose other fields are in place.
pub(super) fn finish_header(header: &mut [u8], payload: usize, fragment: u16) {
    let total = (header.len() + payload) as u16;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[10..12].fill(0);
    let sum = Sum::new().add(header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The header of later fragments: only options with the copied flag, padded to a multiple of four bytes.
fn without_uncopied_options(header: &[u8]) -> ([u8; 60], usize) {
    let mut out = [0; 60];
    out[..20].copy_from_slice(&header[..20]);
    let mut len = 20;
    let mut options = &header[20..];
    while let Some((kind, rest)) = options.split_first() {
        let size = match kind {
            0 => break,
            1 => 1,
            // A malformed option ends the list: nobody could read what follows.
            _ => match rest.first() {
                Some(size) if *size >= 2 && usize::from(*size) <= options.len() => usize::from(*size),
                _ => break,
            },
        };
        if kind & COPIED != 0 {
            out[len..len + size].copy_from_slice(&options[..size]);
            len += size;
        }
        options = &options[size..];
    }
    len = len.next_multiple_of(4);
    out[0] = 0x40 | (len / 4) as u8;
    (out, len)
}

/// Flags a fragment. `false` for one that no honest sender makes.
#[cold]
pub(super) fn is_honest(field: u16, header_len: usize, total: usize, meta: &mut Meta) -> bool {
    let offset = usize::from(field & 0x1fff) * 8;
    let more = field & MORE_FRAGMENTS != 0;
    meta.flags |= if offset == 0 { Flags::FRAGMENT } else { Flags::FRAGMENT | Flags::LATER_FRAGMENT };
    let len = total - header_len;
    // RFC 791 §3.2: a whole packet is no longer than its length field can say, and all pieces but the last end at a multiple of 8.
    let fits = len > 0 && header_len + offset + len <= 65535 && (!more || len.is_multiple_of(8));
    // RFC 1858 §3, RFC 3128: a TCP header is in one piece, so that whoever filters by it sees what the receiver will.
    let hides = meta.protocol == TCP && (if offset == 0 { len < TCP_HEADER } else { offset < TCP_HEADER });
    fits && !hides
}
