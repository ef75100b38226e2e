//! Multicast listener discovery (RFC 9777): which groups we listen to, so that switches which look (RFC 4541) bring us what is sent to
//! them. Without it a neighbour's solicitation would not reach us behind such a switch.
//!
//! One core speaks. What is new or left is told at once and once more within a second (§7.1); a querier is answered within the time it
//! gives, with all groups, whichever it asks for. A querier of version 1 is answered in its own words for as long as it may be there
//! (§8.2.1). IPv4 needs nothing of the kind: the only group a router is in, 224.0.0.1, is never reported (RFC 9776 §6).

use core::{net::Ipv6Addr, time::Duration};

use super::Table;
use crate::{
    clock::Instant,
    frame::Frame,
    l2::{
        ETHERTYPE_IPV6, Header, Interface, Link, Turn,
        presence::draw,
        solicit::{leave, multicast_mac, write_header},
        table::is_link_local,
    },
    meta::{InterfaceId, Meta},
    verdict::{DropReason, Verdict},
};

pub(super) const QUERY: u8 = 130;
const REPORT_1: u8 = 131;
const DONE_1: u8 = 132;
const REPORT_2: u8 = 143;
/// Kinds of records (§5.2.12): all sources are listened to, none any more, and all from now on.
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;
/// Times that a change is told (§9.1), and the most time between two of them (§9.11).
const ROBUSTNESS: u8 = 2;
const SPACING: Duration = Duration::from_secs(1);
/// An answer is spread over this time at least.
const LEAST: Duration = Duration::from_millis(100);
/// How long a querier of version 1 counts as there (§9.12): two intervals of 125 s and an answer's time.
const OLD_QUERIER: Duration = Duration::from_secs(260);
/// Bytes of a query of version 1; those of version 2 are longer (§8.1).
const QUERY_1: usize = 24;
/// Records of a report: what the least MTU of IPv6 takes.
const RECORDS: usize = 60;
/// Hop-by-hop options before ICMPv6: the router alert for MLD (RFC 2711), and padding.
const ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Where reports of version 2 go (§5.2.14).
const ALL_MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// What one interface listens to, and what is still to be told.
#[derive(Default, Debug)]
struct Membership {
    groups: Vec<Ipv6Addr>,
    left: Vec<Ipv6Addr>,
    /// Times that the last change is still to be told, and when.
    changes: u8,
    change_at: Instant,
    /// When a querier is to be answered.
    answer_at: Option<Instant>,
    /// Until then a querier of version 1 is there.
    old_until: Instant,
}

/// A core's part in it.
#[derive(Debug)]
pub(super) struct Listener {
    /// Only one core speaks.
    speaks: bool,
    memberships: Vec<Membership>,
    random: u64,
}

impl Listener {
    pub(super) const fn new() -> Self {
        Self { speaks: false, memberships: Vec::new(), random: 0 }
    }

    /// Makes this the core that speaks.
    pub(super) const fn speak(&mut self, seed: u64) {
        self.speaks = true;
        self.random = seed;
    }

    /// Takes over a generation: what it adds or takes away will be told.
    pub(super) fn adopt(&mut self, table: &Table) {
        if !self.speaks {
            return;
        }
        let interfaces = table.link().interfaces();
        self.memberships.resize_with(interfaces.len().max(self.memberships.len()), Membership::default);
        for (at, membership) in self.memberships.iter_mut().enumerate() {
            let groups = interfaces.get(at).map(groups_of).unwrap_or_default();
            if membership.groups == groups {
                continue;
            }
            let before = core::mem::replace(&mut membership.groups, groups);
            membership.left.extend(before);
            membership.left.retain(|group| !membership.groups.contains(group));
            (membership.changes, membership.change_at) = (ROBUSTNESS, Instant::ZERO);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.memberships.iter().filter_map(Membership::next).min()
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, table: &Table, turn: &mut Turn<'_>) {
        let now = turn.now;
        for (at, membership) in self.memberships.iter_mut().enumerate() {
            if membership.next().is_none_or(|next| next > now) {
                continue;
            }
            let id = InterfaceId(at as u16);
            let on = (id, table.link().interface(id));
            let changed = membership.changes > 0 && membership.change_at <= now;
            // A change says everything that an answer does.
            membership.answer_at = None;
            membership.report(on, changed, turn);
            if changed {
                membership.changes -= 1;
                membership.change_at = now + draw(&mut self.random, SPACING);
                if membership.changes == 0 {
                    membership.left.clear();
                }
            }
        }
    }

    /// A querier asks (§6.2), to be answered at a random time within what it gives.
    fn asked(&mut self, interface: InterfaceId, message: &[u8], now: Instant) {
        let Some(membership) = self.memberships.get_mut(interface.index()).filter(|one| !one.groups.is_empty()) else {
            return;
        };
        let Some(within) = patience(message) else { return };
        if message.len() == QUERY_1 {
            membership.old_until = now + OLD_QUERIER;
        }
        // A querier that is in a hurry is not answered in every turn.
        let at = now + draw(&mut self.random, within.max(LEAST));
        membership.answer_at = Some(membership.answer_at.map_or(at, |before| before.min(at)));
    }
}

impl Membership {
    fn next(&self) -> Option<Instant> {
        let change = (self.changes > 0).then_some(self.change_at);
        [change, self.answer_at].into_iter().flatten().min()
    }

    fn report(&self, on: (InterfaceId, &Interface), changed: bool, turn: &mut Turn<'_>) {
        let (of_groups, of_left) = if changed { (TO_EXCLUDE, &self.left[..]) } else { (IS_EXCLUDE, &[][..]) };
        let groups = self.groups.iter().map(|group| (of_groups, *group));
        let all = groups.chain(of_left.iter().map(|group| (TO_INCLUDE, *group)));
        if turn.now < self.old_until {
            for (kind, group) in all {
                let (kind, to) = if kind == TO_INCLUDE { (DONE_1, ALL_ROUTERS) } else { (REPORT_1, group) };
                let text = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &group.octets()].concat();
                send(on, to, &text, turn);
            }
            return;
        }
        let records: Vec<_> = all.collect();
        for some in records.chunks(RECORDS) {
            let mut text = vec![REPORT_2, 0, 0, 0, 0, 0, 0, some.len() as u8];
            for (kind, group) in some {
                text.extend([*kind, 0, 0, 0]);
                text.extend(group.octets());
            }
            send(on, ALL_MLD_ROUTERS, &text, turn);
        }
    }
}

/// The groups of an interface, in order: all routers, and the solicited-node groups of its addresses (RFC 4291 §2.8). All nodes are
/// never reported (§6). An interface that says nothing of itself (`announce`) says nothing of its groups.
fn groups_of(interface: &Interface) -> Vec<Ipv6Addr> {
    if interface.link == Link::None || interface.v6.is_empty() || !interface.presence.announce {
        return Vec::new();
    }
    let mut groups: Vec<_> = interface.solicited_groups().chain([ALL_ROUTERS]).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The time that a query gives (§5.1.3): milliseconds, in version 2 large ones as a mantissa and an exponent.
fn patience(message: &[u8]) -> Option<Duration> {
    let code = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    let millis = match code {
        0x8000.. if message.len() > QUERY_1 => (u64::from(code & 0xfff) | 0x1000) << ((code >> 12 & 7) + 3),
        code => u64::from(code),
    };
    (message.len() >= QUERY_1).then_some(Duration::from_millis(millis))
}

/// A query, or what came as one: from the link itself and with a router alert (§5.1.14), else it is not listened to.
pub(super) fn receive(
    listener: &mut Listener,
    frame: &Frame,
    meta: &Meta,
    (source, message): (Ipv6Addr, &[u8]),
    now: Instant,
) -> Verdict {
    let hop_limit = frame.data().get(usize::from(meta.l3) + 7);
    if !is_link_local(source) || hop_limit != Some(&1) || meta.l4 != meta.l3 + 48 || message.len() < QUERY_1 {
        return Verdict::Drop(DropReason::IcmpMalformed);
    }
    listener.asked(meta.interface, message, now);
    Verdict::Consumed
}

/// Sends an ICMPv6 message to a group of the link, with a router alert.
fn send((id, interface): (InterfaceId, &Interface), to: Ipv6Addr, text: &[u8], turn: &mut Turn<'_>) {
    let Some(mut frame) = turn.arena.alloc() else { return };
    let Some(packet) = frame.extend(40 + ALERT.len() + text.len()) else { return };
    let (ip, rest) = packet.split_at_mut(40);
    let (alert, message) = rest.split_at_mut(ALERT.len());
    alert.copy_from_slice(&ALERT);
    message.copy_from_slice(text);
    write_header(ip, interface.link_local, to, 1, message);
    // The message is behind the options.
    ip[4..6].copy_from_slice(&((ALERT.len() + text.len()) as u16).to_be_bytes());
    ip[6] = 0;
    leave(id, &Header::new(interface, multicast_mac(to), ETHERTYPE_IPV6), frame, turn);
}
