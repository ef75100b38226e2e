//! ICMPv6 (RFC 4443). Neighbour discovery is next door, in `nd`.

use core::net::{IpAddr, Ipv6Addr};

use super::{
    State, Table, consistency, extension,
    icmp::{self, Complaint, FlowError, QuotedFlow, Unreachable},
    input::addresses_of,
    listener, nd,
};
use crate::{
    frame::Frame,
    io::checksum::Sum,
    l2::{self, Turn, solicit::write_header, table::is_link_local},
    meta::{Flags, Meta, Network, VrfId},
    verdict::{DropReason, Verdict},
};

const UNREACHABLE: u8 = 1;
const TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;
pub(super) const ECHO_REQUEST: u8 = 128;
pub(super) const ECHO_REPLY: u8 = 129;
pub(super) const REDIRECT: u8 = 137;
/// Longest error, IPv6 header included: the minimum MTU (RFC 4443 §2.4 (c)).
const LONGEST_ERROR: usize = 1280;
/// Least MTU of a link (RFC 8200 §5).
const LEAST_MTU: u32 = 1280;
/// Hop limit of what we send, where no RFC asks for 255.
pub(super) const HOP_LIMIT: u8 = 64;
/// Protocol number.
pub(super) const PROTOCOL: u8 = 58;

/// A message for this host: an echo request becomes the reply, a solicitation the advertisement, and an error about one of
/// our flows is left for `l4`.
pub(super) fn receive(
    table: &Table,
    state: &mut State,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let Some((source, destination, message)) = checked(frame, meta) else {
        return Verdict::Drop(DropReason::IcmpMalformed);
    };
    match message[0] {
        ECHO_REQUEST if !state.may_reply(turn.now) => Verdict::Drop(DropReason::IcmpRateLimited),
        ECHO_REQUEST => echo(table, frame, meta, source, destination),
        // RFC 6980 §5: not even in a packet that has the header of a fragment and is whole.
        nd::ROUTER_SOLICITATION..=REDIRECT if extension::names_fragment(frame, meta) => {
            Verdict::Drop(DropReason::IcmpMalformed)
        }
        nd::SOLICITATION | nd::ADVERTISEMENT => nd::receive(table, link, turn, frame, meta, source, destination),
        nd::ROUTER_SOLICITATION => nd::solicited(table, state, link, turn, frame, meta, source),
        nd::ROUTER_ADVERTISEMENT => {
            consistency::receive(table, &mut state.consistency, turn, (frame, meta), (source, message))
        }
        listener::QUERY => listener::receive(&mut state.listener, frame, meta, (source, message), turn.now),
        UNREACHABLE..=PARAMETER_PROBLEM
            // Connections are in the main domain.
            if meta.vrf == VrfId::MAIN
                && quoted_flow(message).is_some_and(|flow| table.main.addresses.contains(flow.local.ip())) =>
        {
            Verdict::Deliver
        }
        _ => Verdict::Drop(DropReason::IcmpIgnored),
    }
}

/// Addresses and message; `None` when it is cut off or its checksum is wrong.
pub(super) fn checked<'a>(frame: &'a Frame, meta: &Meta) -> Option<(Ipv6Addr, Ipv6Addr, &'a [u8])> {
    let packet = frame.data().get(usize::from(meta.l3)..)?;
    let (IpAddr::V6(source), IpAddr::V6(destination)) = addresses_of(packet)? else { return None };
    let message = frame.data().get(usize::from(meta.l4)..)?;
    let sum = Sum::new().add_pseudo(&source.octets(), &destination.octets(), PROTOCOL, message.len()).add(message);
    (message.len() >= 8 && sum.folded() == 0xffff).then_some((source, destination, message))
}

/// Turns a request into its reply, without the extension headers of the request.
fn echo(table: &Table, frame: &mut Frame, meta: &mut Meta, source: Ipv6Addr, destination: Ipv6Addr) -> Verdict {
    let at = usize::from(meta.l3);
    // RFC 4443 §4.2: a request to a group is answered from a unicast address of the port.
    // RFC 4443 §2.2 (b): one to an anycast address from any unicast address of ours.
    let own = if destination.is_multicast() {
        table.link().interface(meta.interface).source_v6(source)
    } else {
        self::source(table, meta, source, destination)
    };
    let Some(own) = own else { return Verdict::Drop(DropReason::IcmpIgnored) };
    let extensions = usize::from(meta.l4).saturating_sub(at + 40);
    if extensions > 0 {
        frame.data_mut().copy_within(at..at + 40, at + extensions);
        frame.trim_front(extensions);
        meta.l4 -= extensions as u16;
    }
    let Some((ip, message)) = frame.data_mut().get_mut(at..).and_then(|packet| packet.split_at_mut_checked(40)) else {
        return Verdict::Drop(DropReason::IpTruncated);
    };
    message[0] = ECHO_REPLY;
    write_header(ip, own, source, HOP_LIMIT, message);
    meta.flags |= Flags::ORIGINATED;
    meta.flags.remove(Flags::LINK_MULTICAST | Flags::ANYCAST);
    meta.out = meta.interface;
    Verdict::Continue
}

/// Sends an error about `packet`, which came in as `meta` says, to its sender.
#[expect(clippy::too_many_arguments, reason = "a packet, its addresses and what is to be said about it")]
pub(super) fn complain(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    packet: &[u8],
    meta: &Meta,
    to: Ipv6Addr,
    about: Ipv6Addr,
    complaint: Complaint,
) {
    let (kind, code, rest) = match complaint {
        Complaint::Unreachable(Unreachable::Net) => (UNREACHABLE, 0, 0),
        Complaint::Unreachable(Unreachable::Prohibited) => (UNREACHABLE, 1, 0),
        Complaint::Unreachable(Unreachable::BeyondScope) => (UNREACHABLE, 2, 0),
        Complaint::Unreachable(Unreachable::Host | Unreachable::Protocol) => (UNREACHABLE, 3, 0),
        Complaint::Unreachable(Unreachable::Port) => (UNREACHABLE, 4, 0),
        Complaint::TooBig { mtu } => (TOO_BIG, 0, u32::from(mtu)),
        Complaint::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        Complaint::JoinTimeExceeded => (TIME_EXCEEDED, 1, 0),
        Complaint::Problem { code, pointer, .. } => (PARAMETER_PROBLEM, code, pointer),
    };
    if is_error(packet) {
        return;
    }
    let Some(source) = source(table, meta, to, about) else { return };
    if !state.may_complain(turn.now) {
        turn.stats.drops(DropReason::IcmpRateLimited).add(1);
        return;
    }
    let quoted = &packet[..packet.len().min(LONGEST_ERROR - 48)];
    let Some(mut frame) = turn.arena.alloc() else { return };
    let Some(bytes) = frame.extend(48 + quoted.len()) else { return };
    let (ip, message) = bytes.split_at_mut(40);
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..8].copy_from_slice(&rest.to_be_bytes());
    message[8..].copy_from_slice(quoted);
    write_header(ip, source, to, HOP_LIMIT, message);
    let (interface, vrf) = (meta.interface, meta.vrf);
    let meta = Meta { interface, vrf, out: interface, l4: 40, protocol: PROTOCOL, ..Meta::default() };
    turn.egress.push_ip(frame, Network::Ipv6, meta);
}

/// RFC 4443 §2.2: the address that was spoken to if it is ours alone, else one of the port that the message leaves by.
pub(super) fn source(table: &Table, meta: &Meta, to: Ipv6Addr, about: Ipv6Addr) -> Option<Ipv6Addr> {
    let link = table.link().interface(meta.interface);
    if table.vrf(meta.vrf).addresses.contains(IpAddr::V6(about)) || about == link.link_local {
        return Some(about);
    }
    if is_link_local(to) {
        return link.source_v6(to);
    }
    match table.source_of_error(meta.vrf, meta.interface, IpAddr::V6(to))? {
        IpAddr::V6(source) => Some(source),
        IpAddr::V4(_) => None,
    }
}

/// Whether the packet is itself an ICMPv6 error or a redirect, or one of which that cannot be told (RFC 4443 §2.4 (e)).
fn is_error(packet: &[u8]) -> bool {
    match extension::upper(packet) {
        Some((PROTOCOL, at)) => !packet.get(at).is_some_and(|kind| *kind >= 128 && *kind != REDIRECT),
        Some(_) => false,
        None => true,
    }
}

/// The TCP flow that an error quotes. A segment of ours has no extension headers.
pub(super) fn quoted_flow(message: &[u8]) -> Option<QuotedFlow> {
    let (head, packet) = message.split_first_chunk::<8>()?;
    let error = match (head[0], head[1]) {
        (TOO_BIG, _) => {
            let mtu = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            let total = 40 + u32::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            // RFC 8201 §4: no link has less than 1280, and a packet that is no longer than the MTU was no trouble.
            FlowError::TooBig { mtu: u16::try_from(mtu).ok().filter(|_| mtu >= LEAST_MTU && mtu < total)? }
        }
        (UNREACHABLE, 1 | 4 | 5 | 6) | (PARAMETER_PROBLEM, 1) => FlowError::Hard,
        (UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM, _) => FlowError::Soft,
        _ => return None,
    };
    let (IpAddr::V6(source), IpAddr::V6(destination)) = addresses_of(packet)? else { return None };
    if packet[0] >> 4 != 6 || packet[6] != 6 {
        return None;
    }
    icmp::flow(source.into(), destination.into(), packet.get(40..)?, error)
}
