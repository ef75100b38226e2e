//! The hash by which a flow stays on one of several paths.
//!
//! IPv4 by addresses, protocol and ports; a packet that is cut in pieces by addresses and protocol, so that all its pieces go one way
//! (RFC 2992). IPv6 by addresses and flow label where there is one (RFC 6438), else like IPv4. The hash has no secret: every gateway
//! sends a flow the same way, and a group is filled from its members' names, so that two routers one behind the other do not choose
//! alike.

use crate::{
    frame::Frame,
    meta::{Flags, Meta, Network},
};

/// Odd, with the bits of the golden ratio.
const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a checked packet's flow; its upper bits are the best.
#[inline]
pub(super) fn hash(frame: &Frame, meta: &Meta) -> u32 {
    let Some(packet) = frame.data().get(usize::from(meta.l3)..) else { return 0 };
    if meta.network == Network::Ipv4 {
        let Some(header) = packet.first_chunk::<20>() else { return 0 };
        let addresses = word(header, 12);
        if meta.flags.contains(Flags::FRAGMENT) {
            return fold(addresses, u64::from(header[9]));
        }
        return fold(addresses, u64::from(header[9]) | ports(frame, meta, header[9]) << 32);
    }
    let Some(header) = packet.first_chunk::<40>() else { return 0 };
    let label = u32::from_be_bytes([0, header[1] & 0xf, header[2], header[3]]);
    let addresses = mix(word(header, 8), word(header, 16)) ^ mix(word(header, 24), word(header, 32)).rotate_left(32);
    let rest = match label {
        0 => u64::from(header[6]) | ports(frame, meta, header[6]) << 32,
        label => u64::from(label),
    };
    fold(addresses, rest)
}

/// Source and destination port of the protocols that begin with them: TCP, UDP, DCCP, SCTP, UDP-Lite; 0 for others.
#[inline]
fn ports(frame: &Frame, meta: &Meta, protocol: u8) -> u64 {
    if !matches!(protocol, 6 | 17 | 33 | 132 | 136) {
        return 0;
    }
    let ports = frame.data().get(usize::from(meta.l4)..).and_then(|segment| segment.first_chunk::<4>());
    ports.map_or(0, |ports| u64::from(u32::from_ne_bytes(*ports)))
}

#[inline]
fn word<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&header[at..at + 8]);
    u64::from_ne_bytes(word)
}

/// Both halves of a product: every bit of either number has a say in every bit of the result.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ K) * u128::from(b ^ K.rotate_left(32));
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn fold(addresses: u64, rest: u64) -> u32 {
    let bits = mix(addresses, rest).wrapping_mul(K);
    (bits >> 32) as u32
}
