//! ARP (RFC 826): what neighbours say, and the answer to those who ask for us, written in place.
//!
//! Everything is taken as a claim, not as a fact. A request to us creates an entry that will be confirmed before it is trusted for
//! long; a reply counts only for a neighbour that we asked or already know (a gratuitous one is of that kind), so that nobody can
//! fill the table or divert traffic to addresses we do not speak to. A claim to one of our own addresses is a conflict (RFC 5227
//! §2.4): it is counted, and the address is defended at a bounded rate.

use core::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{Conflict, ETHERTYPE_ARP, Header, Interface, State, Table, Turn, neighbor::Claim};
use crate::{
    frame::Frame,
    io::MacAddr,
    meta::{InterfaceId, Meta},
    verdict::{DropReason, Verdict},
};

/// Bytes of an ARP message for IPv4 over Ethernet.
pub(super) const LENGTH: usize = 28;
pub(super) const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Ethernet, IPv4, address lengths 6 and 4.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// At most one defence of our addresses per interface in this time (RFC 5227 §2.4, DEFEND_INTERVAL).
pub(super) const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// An ARP message for IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) operation: u16,
    pub(super) sender_mac: MacAddr,
    pub(super) sender: Ipv4Addr,
    pub(super) target_mac: MacAddr,
    pub(super) target: Ipv4Addr,
}

impl Message {
    /// Reads a message; `None` when it is cut off, for other networks, or from an impossible hardware address.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<LENGTH>()?;
        let mac =
            |at: usize| MacAddr([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4], bytes[at + 5]]);
        let ip = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        let message = Self {
            operation: u16::from_be_bytes([bytes[6], bytes[7]]),
            sender_mac: mac(8),
            sender: ip(14),
            target_mac: mac(18),
            target: ip(24),
        };
        let possible = bytes[..6] == PREFIX
            && matches!(message.operation, REQUEST | REPLY)
            && !message.sender_mac.is_multicast()
            && message.sender_mac != MacAddr::default()
            && !message.sender.is_multicast()
            && !message.sender.is_broadcast();
        possible.then_some(message)
    }

    pub(super) fn write(&self, bytes: &mut [u8]) {
        bytes[..6].copy_from_slice(&PREFIX);
        bytes[6..8].copy_from_slice(&self.operation.to_be_bytes());
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..28].copy_from_slice(&self.target.octets());
    }
}

/// Learns from a message that came to this core, and turns a request for us into the answer.
pub(super) fn receive(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
) -> Verdict {
    let interface = table.interface(meta.interface);
    let Some(message) = frame.data().get(usize::from(meta.l3)..).and_then(Message::parse) else {
        return Verdict::Drop(DropReason::ArpMalformed);
    };
    if message.sender_mac == interface.mac {
        // Our own message, brought back by a loop or a mirror.
        return Verdict::Drop(DropReason::ArpIgnored);
    }
    if let Some(address) = disputed(interface, &message) {
        let conflict = Conflict { interface: meta.interface, address: address.into(), mac: message.sender_mac };
        state.contest(table, conflict, turn);
        return Verdict::Drop(DropReason::AddressConflict);
    }
    let learnt = learn_message(table, state, turn, meta.interface, message);
    let for_us = interface.owns(IpAddr::V4(message.target));
    if message.operation == REQUEST && for_us {
        return answer(frame, meta, interface, message);
    }
    if learnt { Verdict::Consumed } else { Verdict::Drop(DropReason::ArpIgnored) }
}

/// The address of ours that the sender claims, or wants to claim while we do (RFC 5227 §2.1.1, §2.4).
fn disputed(interface: &Interface, message: &Message) -> Option<Ipv4Addr> {
    if interface.claims(IpAddr::V4(message.sender)) {
        return Some(message.sender);
    }
    let probes = message.sender.is_unspecified() && message.operation == REQUEST;
    (probes && interface.is_tentative(IpAddr::V4(message.target))).then_some(message.target)
}

/// Learns from a copy of a message that another core received and answered.
pub fn learn(table: &Table, state: &mut State, turn: &mut Turn<'_>, frame: &Frame, meta: &Meta) {
    let message = frame.data().get(usize::from(meta.l3)..).and_then(Message::parse);
    if let Some(message) = message
        && !table.interface(meta.interface).claims(IpAddr::V4(message.sender))
    {
        learn_message(table, state, turn, meta.interface, message);
    }
}

fn learn_message(table: &Table, state: &mut State, turn: &mut Turn<'_>, id: InterfaceId, message: Message) -> bool {
    // A probe (RFC 5227 §1.1) says nothing about its sender.
    if message.sender.is_unspecified() {
        return false;
    }
    let interface = table.interface(id);
    let for_us = interface.owns(IpAddr::V4(message.target));
    let on_link = interface.is_on_link(IpAddr::V4(message.sender));
    let claim = Claim {
        interface: id,
        address: IpAddr::V4(message.sender),
        mac: Some(message.sender_mac),
        solicited: message.operation == REPLY && for_us,
        overrides: true,
        creates: message.operation == REQUEST && for_us && on_link,
    };
    state.learn(table, turn, claim)
}

fn answer(frame: &mut Frame, meta: &mut Meta, interface: &Interface, request: Message) -> Verdict {
    let reply = Message {
        operation: REPLY,
        sender_mac: interface.mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    // Padding of the request is not sent back.
    frame.truncate(usize::from(meta.l3) + LENGTH);
    reply.write(&mut frame.data_mut()[usize::from(meta.l3)..]);
    meta.out = meta.interface;
    Header::new(interface, request.sender_mac, ETHERTYPE_ARP).put(frame, meta)
}
