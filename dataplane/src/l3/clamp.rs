//! The longest segments that TCP connections in transit may announce, where an interface says so: MSS clamping.
//!
//! A SYN says how long the segments may be that its sender takes (RFC 9293 §3.7.1). It knows its own link only. Where the path is
//! narrower and errors about it are lost (RFC 2923 §2.1), long segments vanish and the connection stands still; a router that writes
//! a smaller number into the SYN spares both ends the search. Only numbers that are there are lowered, none is raised or added: who
//! announces none takes 536 bytes, or 1220 over IPv6.

use super::Table;
use crate::{
    batch::Batch,
    io::checksum,
    meta::{Flags, InterfaceId, Meta, Network},
    verdict::Verdict,
};

const TCP: u8 = 6;
const TCP_HEADER: usize = 20;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
/// Kind and length of the option (RFC 9293 §3.2).
const MSS_KIND: u8 = 2;
const MSS_LEN: u8 = 4;
/// Longest segment that every host takes over IPv4 (RFC 9293 §3.7.1): not lowered further, whatever an MTU says.
const LEAST: u16 = 536;

/// What an interface makes of the segments that connections through it announce.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SegmentLimit {
    /// Nothing.
    #[default]
    Off,
    /// As many bytes of data at most.
    Bytes(u16),
    /// What fits the MTU of the way in and of the way out, behind headers without options.
    PathMtu,
}

impl SegmentLimit {
    /// Bytes per segment, when the shorter MTU is `mtu` and headers take `headers`. `None` for any number.
    fn bytes(self, mtu: u16, headers: u16) -> Option<u16> {
        match self {
            Self::Off => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::PathMtu => Some(mtu.saturating_sub(headers).max(LEAST)),
        }
    }
}

/// Lowers what SYNs in transit announce. Not to be called where no interface asks for it (see [`Table::limits_segments`]).
#[inline(never)]
pub fn run(table: &Table, batch: &mut Batch) {
    batch.each(Verdict::Continue, |frame, meta| {
        if meta.protocol == TCP
            && !meta.flags.intersects(Flags::ORIGINATED | Flags::LATER_FRAGMENT)
            && let Some(limit) = limit(table, meta)
            && let Some(segment) = frame.data_mut().get_mut(usize::from(meta.l4)..)
        {
            clamp(segment, limit, meta.flags.contains(Flags::CHECKSUM_PARTIAL));
        }
        Verdict::Continue
    });
}

/// The smaller of what both interfaces say.
#[inline]
fn limit(table: &Table, meta: &Meta) -> Option<u16> {
    let (inward, outward) = (table.segment_limit(meta.interface), table.segment_limit(meta.out));
    if inward == SegmentLimit::Off && outward == SegmentLimit::Off {
        return None;
    }
    let mtu = meta.mtu.min(mtu_of(table, meta.interface));
    let headers = if meta.network == Network::Ipv4 { 40 } else { 60 };
    match (inward.bytes(mtu, headers), outward.bytes(mtu, headers)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn mtu_of(table: &Table, interface: InterfaceId) -> u16 {
    table.link().interface(interface).mtu
}

/// Lowers the number in a segment, if it is a SYN and the number is greater. A segment that nobody can read is left as it is.
fn clamp(segment: &mut [u8], limit: u16, checksum_partial: bool) {
    let Some(header) = segment.first_chunk::<TCP_HEADER>() else { return };
    if header[13] & (SYN | RST) != SYN {
        return;
    }
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len <= TCP_HEADER || header_len > segment.len() {
        return;
    }
    let mut at = TCP_HEADER;
    while let Some(field) = next_mss(&segment[..header_len], &mut at) {
        let old = u16::from_be_bytes([segment[field], segment[field + 1]]);
        if old <= limit {
            continue;
        }
        segment[field..field + 2].copy_from_slice(&limit.to_be_bytes());
        // A partial checksum covers the pseudo-header alone; whoever completes it reads the new number.
        if checksum_partial {
            continue;
        }
        // A number at an odd place counts with its octets exchanged (RFC 1071 §2 B).
        let (old, new) = if field % 2 == 0 { (old, limit) } else { (old.swap_bytes(), limit.swap_bytes()) };
        let sum = checksum::update(u16::from_be_bytes([segment[16], segment[17]]), old, new);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Where the next MSS option behind `at` has its number; `at` moves behind it. `None` at the end of what can be read.
fn next_mss(header: &[u8], at: &mut usize) -> Option<usize> {
    loop {
        let (kind, start) = (*header.get(*at)?, *at);
        match kind {
            0 => return None,
            1 => *at += 1,
            _ => {
                let len = *header.get(start + 1)?;
                *at += usize::from(len);
                if len < 2 || *at > header.len() {
                    return None;
                }
                if kind == MSS_KIND && len == MSS_LEN {
                    return Some(start + 2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::checksum::Sum;

    /// A segment with these flags and options, and a right checksum (of a pseudo-header of zeros).
    fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; TCP_HEADER];
        bytes.extend(options);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[12] = (bytes.len() as u8 / 4) << 4;
        bytes[13] = flags;
        bytes.extend([0xa5; 7]);
        let sum = Sum::new().add(&bytes).finish();
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn clamped(mut bytes: Vec<u8>, limit: u16) -> Vec<u8> {
        clamp(&mut bytes, limit, false);
        assert_eq!(Sum::new().add(&bytes).folded(), 0xffff, "the checksum stays right");
        bytes
    }

    #[test]
    fn the_number_is_lowered_and_never_raised() {
        for flags in [0x02, 0x12] {
            let syn = segment(flags, &[2, 4, 0x05, 0xb4]);
            assert_eq!(clamped(syn.clone(), 1240)[20..24], [2, 4, 0x04, 0xd8]);
            assert_eq!(clamped(syn.clone(), 1460), syn);
            assert_eq!(clamped(syn.clone(), 9000), syn);
        }
    }

    #[test]
    fn only_in_a_syn() {
        for flags in [0x10, 0x04, 0x06, 0x11, 0x18] {
            let other = segment(flags, &[2, 4, 0x05, 0xb4]);
            assert_eq!(clamped(other.clone(), 1240), other, "{flags:#x}");
        }
    }

    #[test]
    fn wherever_it_stands() {
        let options = [4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7];
        for before in [0, 2, 12, 13, 16] {
            let (head, rest) = options.split_at(before);
            let all = [head, &[2, 4, 0x23, 0x28], rest].concat();
            let at = TCP_HEADER + before + 2;
            assert_eq!(clamped(segment(2, &all), 1240)[at..at + 2], [0x04, 0xd8], "behind {before}");
        }
        // One at an odd place, and two of them.
        let odd = clamped(segment(2, &[1, 2, 4, 0x05, 0xb4, 1, 2, 4, 0x05, 0xb5]), 1000);
        assert_eq!((&odd[23..25], &odd[28..30]), (&[0x03, 0xe8][..], &[0x03, 0xe8][..]));
    }

    #[test]
    fn what_cannot_be_read_stays() {
        for options in
            [&[2, 0, 0x05, 0xb4][..], &[2, 1, 5, 180], &[2, 3, 0x05, 0xb4], &[0, 2, 4, 0x05, 0xb4], &[1, 1, 1, 2]]
        {
            let syn = segment(2, options);
            assert_eq!(clamped(syn.clone(), 536), syn, "{options:?}");
        }
        // Options that the segment does not hold.
        let mut short = segment(2, &[2, 4, 0x05, 0xb4]);
        short.truncate(22);
        let before = short.clone();
        clamp(&mut short, 536, false);
        assert_eq!(short, before);
    }

    #[test]
    fn a_partial_checksum_is_left_to_whoever_completes_it() {
        let mut syn = segment(2, &[2, 4, 0x05, 0xb4]);
        let sum = [syn[16], syn[17]];
        clamp(&mut syn, 1000, true);
        assert_eq!((&syn[22..24], &syn[16..18]), (&[0x03, 0xe8][..], &sum[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..80), limit: u16) {
            if bytes.len() > 18 {
                bytes[13] |= SYN;
                bytes[13] &= !RST;
                bytes[16..18].fill(0);
                let sum = Sum::new().add(&bytes).finish();
                bytes[16..18].copy_from_slice(&sum.to_be_bytes());
            }
            let sound = Sum::new().add(&bytes).folded() == 0xffff;
            clamp(&mut bytes, limit, false);
            if sound {
                prop_assert_eq!(Sum::new().add(&bytes).folded(), 0xffff);
            }
        }
    }
}
