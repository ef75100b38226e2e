//! Neighbour discovery (RFC 4861): solicitations answered in place, what neighbours say learnt. Router solicitations are answered by
//! the next advertisement, see [`advertise`](super::advertise).
//!
//! Of the advertisements of other routers only their [consistency](super::consistency) with ours is looked at; redirects concern hosts
//! alone (§8).

use core::net::{IpAddr, Ipv6Addr};

use super::{State, Table, icmp6, listener};
use crate::{
    frame::Frame,
    io::MacAddr,
    l2::{
        self, Conflict, ETHERTYPE_IPV6, Header, Interface, Turn,
        neighbor::Claim,
        solicit::{ALL_NODES, multicast_mac, write_header},
        table::solicited_node,
    },
    meta::{InterfaceId, Meta},
    verdict::{DropReason, Verdict},
};

pub(super) const ROUTER_SOLICITATION: u8 = 133;
pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement: we are a router; it answers a question; it replaces what was known.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A valid message (RFC 4861 §7.1.1, §7.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Message {
    kind: u8,
    flags: u8,
    source: Ipv6Addr,
    target: Ipv6Addr,
    /// Of the source in a solicitation, of the target in an advertisement.
    mac: Option<MacAddr>,
}

impl Message {
    fn parse(frame: &Frame, meta: &Meta, source: Ipv6Addr, destination: Ipv6Addr) -> Option<Self> {
        let hop_limit = *frame.data().get(usize::from(meta.l3) + 7)?;
        let bytes = frame.data().get(usize::from(meta.l4)..)?;
        let (head, options) = bytes.split_first_chunk::<24>()?;
        let mut target = [0; 16];
        target.copy_from_slice(&head[8..24]);
        let kind = head[0];
        let mac = link_address(options, if kind == SOLICITATION { 1 } else { 2 })?;
        let message = Self { kind, flags: head[4], source, target: Ipv6Addr::from_octets(target), mac };
        let nobody_asks = source.is_unspecified();
        let valid = hop_limit == 255
            && head[1] == 0
            && !message.target.is_multicast()
            && match kind {
                SOLICITATION if nobody_asks => mac.is_none() && destination == solicited_node(message.target),
                SOLICITATION => true,
                _ => !(destination.is_multicast() && message.flags & SOLICITED != 0),
            };
        valid.then_some(message)
    }
}

/// The link-layer address option of the given kind, if there is one; `None` outside when an option is malformed.
fn link_address(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while let Some((kind, rest)) = options.split_first() {
        let len = usize::from(*rest.first()?) * 8;
        // §4.6: a length of zero is malformed.
        if len == 0 {
            return None;
        }
        let option = options.get(..len)?;
        if *kind == wanted && found.is_none() {
            let mac = MacAddr([option[2], option[3], option[4], option[5], option[6], option[7]]);
            if mac.is_multicast() || mac == MacAddr::default() {
                return None;
            }
            found = Some(mac);
        }
        options = &options[len..];
    }
    Some(found)
}

/// A message whose checksum is right, for this host.
pub(super) fn receive(
    table: &Table,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    frame: &mut Frame,
    meta: &mut Meta,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Verdict {
    let Some(message) = Message::parse(frame, meta, source, destination) else {
        return Verdict::Drop(DropReason::IcmpMalformed);
    };
    let interface = table.link().interface(meta.interface);
    let from = sender(frame);
    if from == Some(interface.mac) || message.mac == Some(interface.mac) {
        // Our own message, brought back by a loop or a mirror.
        return Verdict::Drop(DropReason::IcmpIgnored);
    }
    if let Some(address) = disputed(interface, message) {
        let mac = message.mac.or(from).unwrap_or_default();
        link.contest(table.link(), Conflict { interface: meta.interface, address, mac }, turn);
        return Verdict::Drop(DropReason::AddressConflict);
    }
    let ours = interface.owns(IpAddr::V6(message.target)) || interface.is_anycast(message.target);
    if message.kind == ADVERTISEMENT {
        let known = learn_message(table, link, turn, meta.interface, message);
        return if known { Verdict::Consumed } else { Verdict::Drop(DropReason::IcmpIgnored) };
    }
    if !ours {
        return Verdict::Drop(DropReason::IcmpIgnored);
    }
    learn_message(table, link, turn, meta.interface, message);
    answer(frame, meta, interface, message)
}

/// The address of ours that the sender has, or wants while we do (RFC 4862 §5.4.3, §5.4.4): it advertises it, speaks from it, or probes
/// for one that is only tentative here.
fn disputed(interface: &Interface, message: Message) -> Option<IpAddr> {
    let [source, target] = [message.source, message.target].map(IpAddr::V6);
    let is_ours = match message.kind {
        ADVERTISEMENT => interface.claims(target),
        _ => source.is_unspecified() && interface.is_tentative(target),
    };
    is_ours.then_some(target).or(interface.claims(source).then_some(source))
}

/// The source of the Ethernet header.
fn sender(frame: &Frame) -> Option<MacAddr> {
    frame.data().get(6..)?.first_chunk::<6>().copied().map(MacAddr)
}

/// A router solicitation (RFC 4861 §4.1, §6.1.1): learnt from like a neighbour solicitation, answered by an early advertisement.
pub(super) fn solicited(
    table: &Table,
    state: &mut State,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    frame: &Frame,
    meta: &Meta,
    source: Ipv6Addr,
) -> Verdict {
    let hop_limit = frame.data().get(usize::from(meta.l3) + 7);
    let message = frame.data().get(usize::from(meta.l4)..).and_then(|bytes| bytes.split_first_chunk::<8>());
    let Some((head, options)) = message else { return Verdict::Drop(DropReason::IcmpMalformed) };
    let mac = match link_address(options, 1) {
        Some(mac) if hop_limit == Some(&255) && head[1] == 0 && !(source.is_unspecified() && mac.is_some()) => mac,
        _ => return Verdict::Drop(DropReason::IcmpMalformed),
    };
    let address = IpAddr::V6(source);
    let on_link = !source.is_unspecified() && table.link().interface(meta.interface).is_on_link(address);
    if mac.is_some() && on_link {
        let claim = Claim { interface: meta.interface, address, mac, solicited: false, overrides: true, creates: true };
        link.learn(table.link(), turn, claim);
    }
    state.advertiser.solicited(meta.interface, turn.now);
    Verdict::Consumed
}

/// Learns from a copy of a message that another core received and answered.
pub(super) fn learn(
    table: &Table,
    state: &mut State,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    frame: &Frame,
    meta: &Meta,
) {
    // A query of groups comes behind a router alert.
    let extensions = if l2::is_group_query(frame, meta) { 8 } else { 0 };
    let at = Meta { l4: meta.l3 + 40 + extensions, ..*meta };
    let Some((source, destination, message)) = icmp6::checked(frame, &at) else { return };
    if message[0] == listener::QUERY {
        listener::receive(&mut state.listener, frame, &at, (source, message), turn.now);
        return;
    }
    if message[0] == ROUTER_SOLICITATION {
        solicited(table, state, link, turn, frame, &at, source);
        return;
    }
    let Some(message) = Message::parse(frame, &at, source, destination) else { return };
    let interface = table.link().interface(meta.interface);
    if disputed(interface, message).is_some() {
        return;
    }
    let ours = interface.claims(IpAddr::V6(message.target)) || interface.is_anycast(message.target);
    if ours == (message.kind == SOLICITATION) {
        learn_message(table, link, turn, meta.interface, message);
    }
}

fn learn_message(
    table: &Table,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    interface: InterfaceId,
    message: Message,
) -> bool {
    let claim = if message.kind == SOLICITATION {
        if message.source.is_unspecified() || message.mac.is_none() {
            return false;
        }
        let address = IpAddr::V6(message.source);
        let creates = table.link().interface(interface).is_on_link(address);
        Claim { interface, address, mac: message.mac, solicited: false, overrides: true, creates }
    } else {
        Claim {
            interface,
            address: IpAddr::V6(message.target),
            mac: message.mac,
            solicited: message.flags & SOLICITED != 0,
            overrides: message.flags & OVERRIDE != 0,
            creates: false,
        }
    };
    link.learn(table.link(), turn, claim)
}

/// Writes the advertisement over the solicitation (RFC 4861 §7.2.4).
fn answer(frame: &mut Frame, meta: &mut Meta, interface: &Interface, asked: Message) -> Verdict {
    let at = usize::from(meta.l3);
    // Who checks its address for duplicates has none to be answered at: all nodes hear it.
    let (to, solicited) = if asked.source.is_unspecified() { (ALL_NODES, 0) } else { (asked.source, SOLICITED) };
    // Other routers answer for an anycast address too, and the first answer is to stay (§7.2.7).
    let (source, overrides) = if interface.is_anycast(asked.target) {
        (interface.source_v6(to).unwrap_or(interface.link_local), 0)
    } else {
        (asked.target, OVERRIDE)
    };
    let flags = ROUTER | solicited | overrides;
    let Some(asker) = sender(frame) else { return Verdict::Drop(DropReason::IcmpMalformed) };
    let mac = if to == ALL_NODES { multicast_mac(to) } else { asked.mac.unwrap_or(asker) };
    frame.truncate(at);
    let Some(packet) = frame.extend(40 + 32) else { return Verdict::Drop(DropReason::TooLong) };
    let (ip, message) = packet.split_at_mut(40);
    message[..8].copy_from_slice(&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    message[8..24].copy_from_slice(&asked.target.octets());
    message[24..26].copy_from_slice(&[2, 1]); // target link-layer address, one unit of eight bytes
    message[26..32].copy_from_slice(&interface.mac.0);
    write_header(ip, source, to, 255, message);
    (meta.l4, meta.out) = (meta.l3 + 40, meta.interface);
    Header::new(interface, mac, ETHERTYPE_IPV6).put(frame, meta)
}
