//! The extension headers of an IPv6 packet for this host (RFC 8200 §4): a bounded walk to the transport header.
//!
//! Packets in transit are not looked into (§4: only the destination processes them, and a router may skip hop-by-hop options, §4.3).

use crate::{
    frame::Frame,
    meta::{Flags, Meta},
};

/// Headers looked at before a packet is given up: a legitimate one has at most one of each kind.
const MAX_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// What is wrong with a packet, and what its sender is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Nothing is said.
    Silent,
    /// Parameter problem (RFC 4443 §3.4).
    Problem {
        code: u8,
        /// Offset from the start of the IPv6 header.
        pointer: u32,
        /// Also when the packet was sent to a group (RFC 8200 §4.2, option action 10).
        even_to_groups: bool,
    },
}

/// Sets `protocol`, `l4` and the fragment flags. Returns the offset, from the start of the IPv6 header, of the field that names the
/// transport protocol.
pub(super) fn walk(frame: &Frame, meta: &mut Meta) -> Result<u32, Fault> {
    let packet = frame.data().get(usize::from(meta.l3)..).ok_or(Fault::Silent)?;
    let (mut next, mut named_at, mut at) = (*packet.get(6).ok_or(Fault::Silent)?, 6, 40);
    for _ in 0..=MAX_HEADERS {
        let rest = packet.get(at..).ok_or(Fault::Silent)?;
        match next {
            HOP_BY_HOP if at != 40 => return Err(problem(1, named_at)),
            HOP_BY_HOP | DESTINATION => options(rest, at)?,
            // A routing header that has done its work is skipped, whatever its type; none is worked on (RFC 5095).
            ROUTING if *rest.get(3).ok_or(Fault::Silent)? != 0 => return Err(problem(0, at + 2)),
            ROUTING => {}
            FRAGMENT => {
                let field = rest.get(2..4).ok_or(Fault::Silent)?;
                let field = u16::from_be_bytes([field[0], field[1]]);
                // An atomic fragment is a whole packet (RFC 6946).
                if field & 0xfff9 != 0 {
                    meta.flags |= Flags::FRAGMENT;
                }
                if field & 0xfff8 != 0 {
                    meta.flags |= Flags::LATER_FRAGMENT;
                    next = rest[0];
                    return Ok(found(meta, next, at, at + 8));
                }
            }
            protocol => return Ok(found(meta, protocol, named_at, at)),
        }
        let len = if next == FRAGMENT { 8 } else { (usize::from(*rest.get(1).ok_or(Fault::Silent)?) + 1) * 8 };
        (next, named_at, at) = (rest[0], at, at + len);
    }
    Err(Fault::Silent)
}

/// The protocol behind the extension headers of a packet in transit, and where it begins. In a later fragment of ICMPv6 that is behind
/// the end. `None` if there are too many or they are cut off: where a chain ends that [`walk`] finds fault with is told as well.
pub(super) fn upper(packet: &[u8]) -> Option<(u8, usize)> {
    let (mut next, mut at) = (*packet.get(6)?, 40);
    for _ in 0..=MAX_HEADERS {
        let len = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            FRAGMENT if u16::from_be_bytes([*packet.get(at + 2)?, *packet.get(at + 3)?]) & 0xfff8 != 0 => {
                return Some((packet[at], packet.len()));
            }
            FRAGMENT => 8,
            protocol => return Some((protocol, at)),
        };
        (next, at) = (packet[at], at + len);
    }
    None
}

/// Where the fragment header of an IPv6 packet is, behind the field that names it.
pub(super) fn fragment_header(packet: &[u8]) -> Option<(usize, usize)> {
    let (mut next, mut named_at, mut at) = (*packet.get(6)?, 6, 40);
    for _ in 0..=MAX_HEADERS {
        match next {
            FRAGMENT => return Some((named_at, at)),
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let len = (usize::from(*packet.get(at + 1)?) + 1) * 8;
                (next, named_at, at) = (*packet.get(at)?, at, at + len);
            }
            _ => return None,
        }
    }
    None
}

/// Whether a fragment header is among the extension headers of a packet that [`walk`] has passed.
pub(super) fn names_fragment(frame: &Frame, meta: &Meta) -> bool {
    let packet = frame.data().get(usize::from(meta.l3)..usize::from(meta.l4)).unwrap_or_default();
    let (mut next, mut at) = (packet.get(6).copied(), 40);
    while let Some(header) = packet.get(at..at + 8) {
        if next == Some(FRAGMENT) {
            return true;
        }
        (next, at) = (Some(header[0]), at + (usize::from(header[1]) + 1) * 8);
    }
    false
}

fn found(meta: &mut Meta, protocol: u8, named_at: usize, at: usize) -> u32 {
    meta.protocol = protocol;
    meta.l4 = meta.l3 + at as u16;
    named_at as u32
}

/// Looks for options that must be understood (RFC 8200 §4.2): none is, beside padding.
fn options(header: &[u8], start: usize) -> Result<(), Fault> {
    let len = (usize::from(*header.get(1).ok_or(Fault::Silent)?) + 1) * 8;
    let header = header.get(..len).ok_or(Fault::Silent)?;
    let mut at = 2;
    while at < len {
        let kind = header[at];
        if kind == 0 {
            at += 1;
            continue;
        }
        let pointer = (start + at) as u32;
        match kind >> 6 {
            0 => {}
            1 => return Err(Fault::Silent),
            action => return Err(Fault::Problem { code: 2, pointer, even_to_groups: action == 2 }),
        }
        at += 2 + usize::from(*header.get(at + 1).ok_or(problem(0, start + at))?);
    }
    if at == len { Ok(()) } else { Err(problem(0, start + 1)) }
}

fn problem(code: u8, pointer: usize) -> Fault {
    Fault::Problem { code, pointer: pointer as u32, even_to_groups: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Arena;

    fn walked(next: u8, rest: &[u8]) -> (Result<u32, Fault>, Meta) {
        let mut packet = vec![0u8; 40];
        packet[6] = next;
        packet.extend(rest);
        let arena = Arena::new(1, 2048).unwrap();
        let frame = arena.copy_from(&packet).unwrap();
        let mut meta = Meta::default();
        (walk(&frame, &mut meta), meta)
    }

    #[test]
    fn a_chain_is_followed_to_the_transport() {
        let chain = [[60, 0, 1, 4, 0, 0, 0, 0], [43, 0, 1, 4, 0, 0, 0, 0], [6, 0, 3, 0, 0, 0, 0, 0]].concat();
        let (result, meta) = walked(0, &[chain, vec![0; 20]].concat());
        assert_eq!((result, meta.protocol, meta.l4), (Ok(56), 6, 64));
    }

    #[test]
    fn fragments_are_flagged_and_atomic_ones_are_not() {
        let (_, whole) = walked(44, &[17, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((whole.flags, whole.protocol, whole.l4), (Flags::empty(), 17, 48));
        let (_, first) = walked(44, &[17, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(first.flags, Flags::FRAGMENT);
        let (_, later) = walked(44, &[17, 0, 0, 8, 0, 0, 0, 1]);
        assert_eq!((later.flags, later.protocol), (Flags::FRAGMENT | Flags::LATER_FRAGMENT, 17));
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        let at = |code, pointer, even_to_groups| Err(Fault::Problem { code, pointer, even_to_groups });
        assert_eq!(walked(0, &[6, 0, 0x85, 4, 0, 0, 0, 0]).0, at(2, 42, true));
        assert_eq!(walked(0, &[6, 0, 0xc5, 4, 0, 0, 0, 0]).0, at(2, 42, false));
        assert_eq!(walked(0, &[6, 0, 0x45, 4, 0, 0, 0, 0]).0, Err(Fault::Silent));
        assert_eq!(walked(43, &[6, 0, 0, 1, 0, 0, 0, 0]).0, at(0, 42, false));
        assert_eq!(walked(60, &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]).0, at(1, 40, false));
        assert_eq!(walked(0, &[6, 9, 1, 4]).0, Err(Fault::Silent), "cut off");
        let endless = [60u8, 0, 1, 4, 0, 0, 0, 0].repeat(20);
        assert_eq!(walked(60, &endless).0, Err(Fault::Silent));
    }

    #[test]
    fn the_protocol_of_a_packet_in_transit_is_found() {
        let found = |next: u8, rest: &[u8]| {
            let packet = [&[0; 6][..], &[next], &[0; 33], rest].concat();
            upper(&packet)
        };
        assert_eq!(found(58, &[1]), Some((58, 40)));
        assert_eq!(found(0, &[60, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0, 3]), Some((58, 56)));
        assert_eq!(found(44, &[58, 0, 0, 1, 0, 0, 0, 1, 3]), Some((58, 48)), "a first fragment");
        assert_eq!(found(44, &[58, 0, 0, 8, 0, 0, 0, 1, 128]), Some((58, 49)), "of a later one nothing is known");
        assert_eq!((found(60, &[58]), found(44, &[58, 0])), (None, None), "cut off");
        assert_eq!(found(60, &[60u8, 0, 1, 4, 0, 0, 0, 0].repeat(20)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_walk(next: u8, rest in prop::collection::vec(any::<u8>(), 0..120)) {
            let (result, meta) = walked(next, &rest);
            if result.is_ok() {
                prop_assert!(usize::from(meta.l4) <= 40 + rest.len() + 8);
            }
        }
    }
}
