//! ICMP for IPv4 (RFC 792; RFC 1122 §3.2.2; RFC 1812 §4.3).

use core::net::{IpAddr, Ipv4Addr};

use super::{
    State, Table,
    icmp::{self, Complaint, FlowError, QuotedFlow, Unreachable},
};
use crate::{
    frame::Frame,
    io::checksum::{self, Sum},
    l2::Turn,
    meta::{Flags, Meta, Network, VrfId},
    verdict::{DropReason, Verdict},
};

pub(super) const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
pub(super) const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// Longest error, IP header included (RFC 1812 §4.3.2.3).
const LONGEST_ERROR: usize = 576;
/// Hop limit of what we send.
const TTL: u8 = 64;
/// Precedence of errors: internetwork control (RFC 1812 §4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 6 << 5;

/// A message for this host: an echo request becomes the reply, an error about one of our flows is left for `l4`.
pub(super) fn receive(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let message = frame.data().get(usize::from(meta.l4)..).unwrap_or_default();
    if message.len() < 8 || Sum::new().add(message).folded() != 0xffff {
        return Verdict::Drop(DropReason::IcmpMalformed);
    }
    match message[0] {
        // RFC 1122 §3.2.2.6: a request to a group may be ignored, and then cannot be used to flood a third party.
        ECHO_REQUEST if meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST) => {
            Verdict::Drop(DropReason::IcmpIgnored)
        }
        ECHO_REQUEST if !state.may_reply(turn.now) => Verdict::Drop(DropReason::IcmpRateLimited),
        ECHO_REQUEST => echo(frame, meta),
        UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM
            // Connections are in the main domain.
            if meta.vrf == VrfId::MAIN
                && quoted_flow(message).is_some_and(|flow| table.main.addresses.contains(flow.local.ip())) =>
        {
            Verdict::Deliver
        }
        _ => Verdict::Drop(DropReason::IcmpIgnored),
    }
}

/// Turns a request into its reply, without the options of the request.
fn echo(frame: &mut Frame, meta: &mut Meta) -> Verdict {
    let at = usize::from(meta.l3);
    let options = usize::from(meta.l4).saturating_sub(at + 20);
    if options > 0 {
        frame.data_mut().copy_within(at..at + 20, at + options);
        frame.trim_front(options);
        meta.l4 -= options as u16;
    }
    let Some((ip, message)) = frame.data_mut().get_mut(at..).and_then(|packet| packet.split_at_mut_checked(20)) else {
        return Verdict::Drop(DropReason::IpTruncated);
    };
    let total = 20 + message.len() as u16;
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[8] = TTL;
    let (source, destination) = ip[12..20].split_at_mut(4);
    source.swap_with_slice(destination);
    ip[10..12].fill(0);
    let sum = Sum::new().add(ip).finish();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let code = u16::from(message[1]);
    let sum = checksum::update(
        u16::from_be_bytes([message[2], message[3]]),
        u16::from(ECHO_REQUEST) << 8 | code,
        u16::from(ECHO_REPLY) << 8 | code,
    );
    message[0] = ECHO_REPLY;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    meta.flags |= Flags::ORIGINATED;
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
    to: Ipv4Addr,
    about: Ipv4Addr,
    complaint: Complaint,
) {
    let (kind, code, rest) = match complaint {
        Complaint::Unreachable(Unreachable::Net) => (UNREACHABLE, 0, 0),
        Complaint::Unreachable(Unreachable::Host | Unreachable::BeyondScope) => (UNREACHABLE, 1, 0),
        Complaint::Unreachable(Unreachable::Prohibited) => (UNREACHABLE, 13, 0),
        Complaint::Unreachable(Unreachable::Protocol) => (UNREACHABLE, 2, 0),
        Complaint::Unreachable(Unreachable::Port) => (UNREACHABLE, 3, 0),
        Complaint::TooBig { mtu } => (UNREACHABLE, 4, u32::from(mtu)), // RFC 1191 §4
        Complaint::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        Complaint::JoinTimeExceeded => (TIME_EXCEEDED, 1, 0),
        Complaint::Problem { pointer, .. } => (PARAMETER_PROBLEM, 0, pointer << 24),
    };
    if is_error(packet) {
        return;
    }
    // A host speaks from the address that was spoken to; a router from that of the port it answers by (RFC 1812 §4.3.2.4).
    let source = if table.vrf(meta.vrf).addresses.contains(IpAddr::V4(about)) {
        about
    } else {
        let source = table.source_of_error(meta.vrf, meta.interface, IpAddr::V4(to));
        let Some(IpAddr::V4(source)) = source else { return };
        source
    };
    if !state.may_complain(turn.now) {
        turn.stats.drops(DropReason::IcmpRateLimited).add(1);
        return;
    }
    let quoted = &packet[..packet.len().min(LONGEST_ERROR - 28)];
    let Some(mut frame) = turn.arena.alloc() else { return };
    let Some(bytes) = frame.extend(28 + quoted.len()) else { return };
    let (ip, message) = bytes.split_at_mut(20);
    ip[..2].copy_from_slice(&[0x45, INTERNETWORK_CONTROL]);
    ip[2..4].copy_from_slice(&((28 + quoted.len()) as u16).to_be_bytes());
    ip[4..6].copy_from_slice(&state.identification().to_be_bytes());
    ip[6..12].copy_from_slice(&[0, 0, TTL, 1, 0, 0]);
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let sum = Sum::new().add(ip).finish();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..8].copy_from_slice(&rest.to_be_bytes());
    message[8..].copy_from_slice(quoted);
    let sum = Sum::new().add(message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let meta = Meta { interface: meta.interface, vrf: meta.vrf, l4: 20, protocol: 1, ..Meta::default() };
    turn.egress.push_ip(frame, Network::Ipv4, meta);
}

/// Whether the packet is itself an ICMP error, or one too short to tell: never answered (RFC 1122 §3.2.2).
fn is_error(packet: &[u8]) -> bool {
    let header_len = usize::from(packet[0] & 0xf) * 4;
    // Echo, timestamp, information and address mask messages are queries.
    packet[9] == 1 && !packet.get(header_len).is_some_and(|kind| matches!(kind, 0 | 8 | 13..=18))
}

/// The MTU that a router has named, if the quoted packet is longer. A router from before RFC 1191 names none: then the next of the
/// sizes that links have (RFC 1191 §7.1).
fn shorter(named: u16, packet: &[u8]) -> Option<u16> {
    const PLATEAUS: [u16; 10] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];
    let total = u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]);
    if named != 0 {
        return (named < total).then_some(named);
    }
    PLATEAUS.into_iter().find(|size| *size < total)
}

/// The TCP flow that an error quotes.
pub(super) fn quoted_flow(message: &[u8]) -> Option<QuotedFlow> {
    let (head, packet) = message.split_first_chunk::<8>()?;
    let error = match (head[0], head[1]) {
        (UNREACHABLE, 4) => FlowError::TooBig { mtu: shorter(u16::from_be_bytes([head[6], head[7]]), packet)? },
        (UNREACHABLE, 2 | 3 | 9 | 10 | 13) => FlowError::Hard,
        (UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM, _) => FlowError::Soft,
        _ => return None,
    };
    let header = packet.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let first_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    if header[0] >> 4 != 4 || header_len < 20 || header[9] != 6 || !first_fragment {
        return None;
    }
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    icmp::flow(source.into(), destination.into(), packet.get(header_len..)?, error)
}
