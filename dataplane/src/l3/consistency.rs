//! What other routers of a link tell its hosts, compared with what we tell them (RFC 4861 §6.2.7): hosts that hear both keep what they
//! heard last, so that a difference is some operator's mistake. It changes nothing here: it is counted, and reported once.
//!
//! As the RFC says, what a router leaves to the hosts (0, or an option that is not there) is no difference, nor are other prefixes. A
//! router's good-bye, with lifetime 0 and without prefixes, is not compared.

use core::net::Ipv6Addr;

use arrayvec::ArrayVec;
use ipnet::Ipv6Net;

use super::{
    Table,
    advertise::{Advertise, MANAGED, OTHER},
};
use crate::{
    clock::Instant,
    frame::Frame,
    l2::{Bucket, Turn, table::is_link_local},
    meta::{InterfaceId, Meta},
    verdict::{DropReason, Verdict},
};

/// Bytes of an advertisement before its options (§4.2).
const HEAD: usize = 16;
/// Routers of which it is known what was reported of them.
const KNOWN: usize = 16;
/// Reports per second, and at once; all are counted.
const REPORTS: Bucket = Bucket::per_second(1, 8);

/// What routers can tell differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Variable {
    /// The hop limit that hosts should use.
    HopLimit,
    /// Whether addresses are to be had by DHCPv6.
    Managed,
    /// Whether other configuration is.
    Other,
    /// How long a neighbour counts as reachable.
    ReachableTime,
    /// The time between questions to a neighbour.
    RetransmitTime,
    /// The MTU of the link.
    Mtu,
    /// How long a prefix is valid or preferred.
    PrefixLifetimes,
}

impl Variable {
    /// The key of `router_advertisements` that says it here.
    pub const fn key(self) -> &'static str {
        match self {
            Self::HopLimit => "hop_limit",
            Self::Managed => "managed",
            Self::Other => "other_configuration",
            Self::ReachableTime => "reachable_ms",
            Self::RetransmitTime => "retransmit_ms",
            Self::Mtu => "mtu",
            Self::PrefixLifetimes => "prefixes",
        }
    }
}

/// Another router of a link tells its hosts something else than we do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disagreement {
    /// The link.
    pub interface: InterfaceId,
    /// The router's link-local address.
    pub router: Ipv6Addr,
    /// The first thing that differs, in the order of the message.
    pub variable: Variable,
    /// What it says of it, and what we say: as in the message, lifetimes in seconds.
    pub theirs: u32,
    /// Ours.
    pub ours: u32,
}

/// What a core has noticed.
#[derive(Default, Debug)]
pub(super) struct Consistency {
    /// What was reported of whom, oldest first.
    known: ArrayVec<Disagreement, KNOWN>,
    waiting: ArrayVec<Disagreement, 4>,
    reports: Option<Bucket>,
}

impl Consistency {
    /// After a change of what we say, what still differs is reported again.
    pub(super) fn adopt(&mut self) {
        self.known.clear();
    }

    /// What is to be reported, if anything.
    pub(super) fn take(&mut self) -> Option<Disagreement> {
        self.waiting.pop()
    }

    fn note(&mut self, found: Disagreement, now: Instant) {
        if self.known.contains(&found) || self.waiting.is_full() || !self.reports.get_or_insert(REPORTS).take(now) {
            return;
        }
        let same = |known: &Disagreement| (known.interface, known.router) == (found.interface, found.router);
        if let Some(before) = self.known.iter().position(same) {
            self.known.remove(before);
        } else if self.known.is_full() {
            self.known.remove(0);
        }
        self.known.push(found);
        self.waiting.push(found);
    }
}

/// An advertisement of another router, its checksum found right.
pub(super) fn receive(
    table: &Table,
    consistency: &mut Consistency,
    turn: &Turn<'_>,
    (frame, meta): (&Frame, &Meta),
    (source, message): (Ipv6Addr, &[u8]),
) -> Verdict {
    let Some(ours) = table.advertise.get(meta.interface.index()).and_then(Option::as_ref) else {
        return Verdict::Drop(DropReason::IcmpIgnored);
    };
    let hop_limit = frame.data().get(usize::from(meta.l3) + 7);
    let Some((head, options)) = message.split_first_chunk::<HEAD>().filter(|(_, options)| are_whole(options)) else {
        return Verdict::Drop(DropReason::IcmpMalformed);
    };
    // §6.1.2.
    if hop_limit != Some(&255) || head[1] != 0 || !is_link_local(source) {
        return Verdict::Drop(DropReason::IcmpMalformed);
    }
    if source == table.link().interface(meta.interface).link_local {
        return Verdict::Drop(DropReason::IcmpIgnored);
    }
    let Some((variable, theirs, said)) = difference(ours, head, options) else {
        return Verdict::Drop(DropReason::IcmpIgnored);
    };
    let found = Disagreement { interface: meta.interface, router: source, variable, theirs, ours: said };
    consistency.note(found, turn.now);
    Verdict::Drop(DropReason::RouterDisagrees)
}

/// The first thing that differs: theirs, and ours.
fn difference(ours: &Advertise, head: &[u8; HEAD], options: &[u8]) -> Option<(Variable, u32, u32)> {
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let flag = |bit: u8| u32::from(head[5] & bit != 0);
    if (head[6], head[7]) == (0, 0) && all(options).all(|option| option[0] != 3) {
        return None;
    }
    let fixed = [
        (Variable::HopLimit, u32::from(head[4]), u32::from(ours.hop_limit), true),
        (Variable::Managed, flag(MANAGED), u32::from(ours.managed), false),
        (Variable::Other, flag(OTHER), u32::from(ours.other), false),
        (Variable::ReachableTime, word(8), ours.reachable_ms, true),
        (Variable::RetransmitTime, word(12), ours.retransmit_ms, true),
    ];
    // Of numbers zero says nothing.
    let differs = |(_, theirs, ours, number): &(Variable, u32, u32, bool)| {
        theirs != ours && !(*number && (*theirs == 0 || *ours == 0))
    };
    let fixed = fixed.into_iter().find(differs).map(|(variable, theirs, ours, _)| (variable, theirs, ours));
    fixed.or_else(|| all(options).find_map(|option| of_option(ours, option)))
}

/// The same of an option: that of the MTU (§4.6.4) or of a prefix (§4.6.2).
fn of_option(ours: &Advertise, option: &[u8]) -> Option<(Variable, u32, u32)> {
    let word = |at: usize| option.get(at..at + 4)?.first_chunk().map(|four| u32::from_be_bytes(*four));
    if option[0] == 5 {
        let (theirs, said) = (word(4)?, u32::from(ours.mtu?));
        return (theirs != said).then_some((Variable::Mtu, theirs, said));
    }
    let address = option.get(16..32).filter(|_| option[0] == 3)?.first_chunk::<16>()?;
    let net = Ipv6Net::new(Ipv6Addr::from_octets(*address), option[2]).ok()?.trunc();
    let known = ours.prefixes.iter().find(|known| known.net == net)?;
    let lifetimes = [(word(4)?, known.valid_lifetime_s), (word(8)?, known.preferred_lifetime_s)];
    let (theirs, said) = lifetimes.into_iter().find(|(theirs, ours)| theirs != ours)?;
    Some((Variable::PrefixLifetimes, theirs, said))
}

/// The options, which are known to be whole.
fn all(mut options: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let len = usize::from(*options.get(1)?) * 8;
        let (option, rest) = options.split_at_checked(len.max(8))?;
        options = rest;
        Some(option)
    })
}

/// §6.1.2: no option is of length zero, and none is cut off.
fn are_whole(mut options: &[u8]) -> bool {
    while let [_, units, ..] = options
        && *units > 0
        && let Some(rest) = options.get(usize::from(*units) * 8..)
    {
        options = rest;
    }
    options.is_empty()
}
