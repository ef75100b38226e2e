//! Routing by more than the destination: which packets go another way than the routes of their domain say.
//!
//! Rules are in order, and the first that fits a packet decides, wherever it leads: when that is nowhere, later rules are not asked,
//! so that nothing slips past a rule. This stage finds the rule; [`route`](super::route) then goes the rule's way. Asked are packets in
//! transit and, by rules of their own, those that this host sends; what is for this host is delivered before. The reverse path is
//! looked for in the routes alone.
//!
//! An interface of which no rule speaks costs its packets one comparison, and a table without rules does not run the stage.

mod classify; // the first rule that fits
mod spec; // what the operator says

use std::sync::Arc;

use super::{
    Table, extension,
    spec::BuildError,
    target::Find,
    ways::{Wanted, Ways},
};
pub use crate::meta::MAX_RULES;
use crate::{
    batch::{Batch, Slot},
    l2::table::is_link_local,
    meta::{Flags, Meta, Network, VrfId},
    stats::CoreStats,
    verdict::Verdict,
};
use classify::{Addresses, Classifier, Header, Set};
pub use spec::{Match, PolicySpec, Then};

/// Where a rule sends packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Where the routes of this domain lead.
    Domain(VrfId),
    /// To the next hop, or the group, of this number.
    Hop(u32),
}

/// A rule of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// Where its packets go.
    pub way: Way,
    /// Number of its counters: the same in all tables that have a rule of this name.
    pub counter: u16,
}

/// The rules of a table.
#[derive(Default, Debug)]
pub struct Policies {
    rules: Box<[Rule]>,
    classifier: Classifier,
}

/// A rule that has been checked, before its way has a number.
pub(super) enum Draft {
    Domain(VrfId),
    Wanted(Wanted),
}

/// Checks where the rules lead.
pub(super) fn drafts(specs: &[PolicySpec], find: &Find<'_>) -> Result<Vec<Draft>, BuildError> {
    if specs.len() > MAX_RULES {
        return Err(BuildError::TooManyPolicies);
    }
    let draft = |spec: &PolicySpec| match &spec.then {
        Then::Lookup(vrf) if vrf.index() >= find.own.len() => Err(BuildError::UnknownVrf(*vrf)),
        Then::Lookup(vrf) => Ok(Draft::Domain(*vrf)),
        Then::Target(target) => {
            Ok(Draft::Wanted(Find { vrf: spec.vrf, to: spec.then.destinations(), ..*find }.target(target)?))
        }
    };
    specs.iter().map(draft).collect()
}

impl Policies {
    /// The rules after `before`: those of the same name count on.
    pub(super) fn new(
        specs: &[PolicySpec],
        drafts: &[Draft],
        vrf_of: &[VrfId],
        ways: &mut Ways,
        before: &Self,
    ) -> Self {
        let mut rules: Vec<Rule> = Vec::with_capacity(specs.len());
        let known = |name: &str| before.rules.iter().find(|rule| *rule.name == *name).map(|rule| rule.counter);
        let kept: Vec<u16> = specs.iter().filter_map(|spec| known(&spec.name)).collect();
        let mut free = (0..MAX_RULES as u16).filter(|counter| !kept.contains(counter));
        for (spec, draft) in specs.iter().zip(drafts) {
            let way = match draft {
                Draft::Domain(vrf) => Way::Domain(*vrf),
                Draft::Wanted(wanted) => Way::Hop(ways.take_wanted(wanted)),
            };
            // There are as many counters as there may be rules.
            let counter = known(&spec.name).or_else(|| free.next()).unwrap_or_default();
            rules.push(Rule { name: spec.name.as_str().into(), way, counter });
        }
        Self { rules: rules.into(), classifier: Classifier::new(specs, vrf_of) }
    }

    /// Gives back the numbers of the ways.
    pub(super) fn release(&self, ways: &mut Ways) {
        for rule in &self.rules {
            if let Way::Hop(number) = rule.way {
                ways.release(number);
            }
        }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Sets the counters of rules to zero that `before` did not have: they may have been another's.
    pub fn begin_counting(&self, before: &Self, stats: &CoreStats) {
        let had = |rule: &Rule| before.rules.iter().any(|old| old.counter == rule.counter && old.name == rule.name);
        for rule in self.rules.iter().filter(|rule| !had(rule)) {
            let counts = stats.policy(rule.counter);
            counts.packets.set(0);
            counts.bytes.set(0);
        }
    }

    /// The rules that a packet is asked by, if there are any.
    #[inline]
    fn scope(&self, meta: &Meta) -> Option<&Set> {
        match meta.flags.contains(Flags::ORIGINATED) {
            true => self.classifier.scopes.own(meta.vrf),
            false => self.classifier.scopes.incoming(meta.interface),
        }
    }
}

/// What rules ask of a packet.
#[inline]
fn header(packet: &[u8], network: Network) -> Option<Header> {
    if network == Network::Ipv4 {
        let fixed = packet.first_chunk::<20>()?;
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let later = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0;
        let behind = packet.get(usize::from(fixed[0] & 0xf) * 4..).filter(|_| !later);
        return Some(Header {
            addresses: Addresses::V4 { from: word(12), to: word(16) },
            protocol: fixed[9],
            dscp: fixed[1] >> 2,
            ports: ports(fixed[9], behind),
        });
    }
    let fixed = packet.first_chunk::<40>()?;
    let address = |at: usize| fixed[at..at + 16].first_chunk().map_or(0, |octets| u128::from_be_bytes(*octets));
    let to = address(24);
    if is_link_local(core::net::Ipv6Addr::from_bits(to)) {
        // On the link that the packet names; no route leads there (RFC 4007 §9).
        return None;
    }
    // A chain of headers that does not end has the protocol that its beginning names, and no ports.
    let (protocol, at) = extension::upper(packet).unwrap_or((fixed[6], packet.len()));
    Some(Header {
        addresses: Addresses::V6 { from: address(8), to },
        protocol,
        dscp: (fixed[0] << 4 | fixed[1] >> 4) >> 2,
        ports: ports(protocol, packet.get(at..)),
    })
}

/// Source and destination port, of the protocols that begin with them: TCP, UDP, DCCP, SCTP, UDP-Lite.
#[inline]
fn ports(protocol: u8, behind: Option<&[u8]>) -> Option<(u16, u16)> {
    let [a, b, c, d] = *behind.filter(|_| matches!(protocol, 6 | 17 | 33 | 132 | 136))?.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Finds each packet's rule and leaves its number in [`Meta::next_hop`], with [`Flags::POLICY`]. Not to be called without rules (see
/// [`Table::has_policies`]).
#[inline(never)]
pub fn run(table: &Table, stats: &CoreStats, batch: &mut Batch) {
    let Policies { rules, classifier } = &*table.policies;
    for Slot { frame, meta, verdict } in batch.slots_mut() {
        if *verdict != Verdict::Continue || meta.flags.contains(Flags::ROUTED) {
            continue;
        }
        let Some(scope) = table.policies.scope(meta) else { continue };
        let packet = frame.as_ref().and_then(|frame| frame.data().get(usize::from(meta.l3)..)).unwrap_or_default();
        let Some(header) = header(packet, meta.network) else { continue };
        let Some(at) = classifier.first(scope, &header) else { continue };
        let rule = &rules[at];
        let counts = stats.policy(rule.counter);
        counts.packets.add(1);
        counts.bytes.add(packet.len() as u64);
        if let (Way::Domain(vrf), Addresses::V4 { to, .. }) = (rule.way, header.addresses) {
            // `route` will read it.
            table.vrf(vrf).fib4.prefetch(to);
        }
        meta.flags.remove(Flags::LOOKED_AHEAD);
        meta.flags |= Flags::POLICY;
        meta.next_hop = at as u32;
    }
}
