//! What a fragment says of its place in a packet.

use core::net::IpAddr;

use super::super::{
    extension::{self, Fault},
    input::addresses_of,
    local::{TCP, UDP},
};
use crate::{
    frame::{Frame, octets},
    l2::table::is_link_local,
    meta::{Flags, InterfaceId, Meta, Network, VrfId},
};

/// Longest packet, and payload of IPv6.
const LONGEST: usize = 65535;

/// What the fragments of one packet have in common (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    vrf: VrfId,
    /// Of addresses that mean something on a link only.
    link: Option<InterfaceId>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) identification: u32,
    /// Of IPv4; an IPv6 packet has that of its first fragment.
    protocol: u8,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where its payload begins in the frame, and what of it is in every fragment: for IPv6 where the fragment header begins.
    pub(super) at: u16,
    pub(super) head: u16,
    /// The field of IPv6 that names the fragment header, as an offset in the frame.
    pub(super) named_at: u16,
    /// Place in the payload of the whole, and length.
    pub(super) offset: usize,
    pub(super) len: usize,
    /// Others follow.
    pub(super) more: bool,
}

impl Place {
    pub(super) const fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// Reads a fragment that `l3::input` has passed.
///
/// # Errors
/// What its sender is told of one that is none.
pub(super) fn read(frame: &Frame, meta: &Meta) -> Result<(Key, Place), Fault> {
    let packet = frame.data().get(usize::from(meta.l3)..).ok_or(Fault::Silent)?;
    let (source, destination) = addresses_of(packet).ok_or(Fault::Silent)?;
    let (place, identification, protocol) = match meta.network {
        Network::Ipv4 => {
            let field = u16::from_be_bytes(octets(packet, 6).ok_or(Fault::Silent)?);
            let identification = u16::from_be_bytes(octets(packet, 4).ok_or(Fault::Silent)?);
            (
                place(frame, meta.l4, meta.l4, (field & 0x1fff) * 8, field & 0x2000 != 0),
                identification.into(),
                meta.protocol,
            )
        }
        _ => {
            let (named_at, header) = extension::fragment_header(packet).ok_or(Fault::Silent)?;
            let field = u16::from_be_bytes(octets(packet, header + 2).ok_or(Fault::Silent)?);
            let identification = u32::from_be_bytes(octets(packet, header + 4).ok_or(Fault::Silent)?);
            let head = meta.l3 + header as u16;
            let mut place = place(frame, head, head + 8, field & 0xfff8, field & 1 != 0);
            place.named_at = meta.l3 + named_at as u16;
            check_v6(frame, meta, header, &place)?;
            (place, identification, 0)
        }
    };
    if place.len == 0 {
        return Err(Fault::Silent);
    }
    let is_local = |address| matches!(address, IpAddr::V6(address) if is_link_local(address));
    let link = (is_local(source) || is_local(destination)).then_some(meta.interface);
    Ok((Key { vrf: meta.vrf, link, source, destination, identification, protocol }, place))
}

fn place(frame: &Frame, head: u16, at: u16, offset: u16, more: bool) -> Place {
    Place { at, head, named_at: 0, offset: offset.into(), len: frame.len().saturating_sub(at.into()), more }
}

/// The checks of RFC 8200 §4.5, with what it says of senders that fail them. IPv4 has had its own.
fn check_v6(frame: &Frame, meta: &Meta, header: usize, place: &Place) -> Result<(), Fault> {
    let problem = |code, pointer| Err(Fault::Problem { code, pointer, even_to_groups: false });
    if place.more && !place.len.is_multiple_of(8) {
        // The payload length is wrong.
        return problem(0, 4);
    }
    if header - 40 + place.end() > LONGEST {
        // The offset is.
        return problem(0, header as u32 + 2);
    }
    // RFC 7112 §5: the first fragment has all headers.
    let least = match meta.protocol {
        TCP => 20,
        UDP | super::super::icmp6::PROTOCOL => 8,
        _ => 0,
    };
    let later = meta.flags.contains(Flags::LATER_FRAGMENT);
    if !later && frame.len() < usize::from(meta.l4) + least { problem(3, 0) } else { Ok(()) }
}
