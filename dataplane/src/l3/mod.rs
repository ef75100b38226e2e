//! IP: header checks, what is for this host, routes, hop limits and MTU.
//!
//! Stages in packet order: [`input`], [`local`] (ICMP and ND; TCP is left for `l4`), [`policy`], [`route`], [`forward`] and [`clamp`]. The worker
//! calls [`tick`] once per turn and [`learn`] with the neighbour messages that other cores received. What the configuration says is in the
//! immutable [`Table`], what a core counts and limits in its [`State`].
//!
//! Deliberately absent: processing of IPv4 options (see [`option`]), ICMP redirects, and the forwarding of multicast.

pub mod input; // RFC 1812 §5.2.2, RFC 8200: may this packet be here, and is it ours?
mod input4; // RFC 1812 §5.2.2
mod input6; // RFC 8200
mod special; // addresses that are no station's
mod option; // IPv4 options
pub mod extension; // IPv6 extension headers of packets for us
mod join; // fragments of packets for us
pub mod local; // ICMP, ND, and what nobody serves
pub mod icmp; // errors received about our flows, and limits on those we send
pub mod icmp4; // RFC 792
pub mod icmp6; // RFC 4443
pub mod nd; // RFC 4861: neighbour discovery
pub mod advertise; // RFC 4861: what hosts are told about us as a router
pub mod consistency; // RFC 4861 §6.2.7: what other routers tell them
mod listener; // RFC 9777: the groups we listen to
pub mod reverse_path; // RFC 3704: does the source lie where the packet came from?
mod sources; // a bit for each /24 that does
pub mod policy; // rules that come before the routes
pub mod route; // longest-prefix match
pub mod forward; // TTL, MTU
pub mod clamp; // how long segments in transit may be
pub mod fragment; // RFC 791: a packet in pieces
pub mod fib4; // IPv4 prefixes to next hops
pub mod rib4; // how they change
pub mod fib6; // IPv6 prefixes to next hops
pub mod rib6; // how they change
mod prefix; // which contains which
mod records6; // in memory
mod paged; // what versions of both share
mod pool; // and when nobody has it any more
pub mod addresses; // which addresses are ours
pub mod spec; // what the operator says
pub mod build; // from that to a table
mod interfaces; // by number
mod own; // our addresses
mod target; // where routes lead
mod layers; // routes of the file and of daemons
mod ways; // the next hops of all routes
pub mod group; // those that share the traffic
mod flow; // and by what a packet chooses among them
pub mod table; // what the configuration says

#[cfg(test)]
mod tests; // what a router must do, packet in and packet out

pub use crate::meta::VrfId;
pub use advertise::{Advertise, Prefix};
pub use build::{Builder, Used};
pub use clamp::SegmentLimit;
pub use consistency::Disagreement;
pub use group::Group;
pub use icmp::{IcmpLimits, State};
pub use policy::{Match, PolicySpec, Then};
pub use reverse_path::ReversePath;
pub use spec::{BuildError, Hop, InterfaceSpec, Learnt, LearntTarget, Route, Shared, Spec, Target, VrfSpec};
pub use table::{Action, NextHop, Table, Vrf};
pub use target::is_host;

use crate::{
    frame::Frame,
    l2::{self, Turn},
    meta::{Flags, Meta, Network},
    verdict::DropReason,
};

/// Before the packets of a turn: takes note of gateways that have begun or ceased to answer. One load when there are none.
#[inline]
pub fn heed(table: &Table, state: &mut State, link: &mut l2::State) {
    if state.silent.is_outdated(table.link().changes()) {
        state.silent.read(table.link());
        link.forsake(table.link(), &state.silent);
    }
}

/// Once per turn: ages neighbours, and advertises. [`undelivered`] has something to do afterwards.
#[inline]
pub fn tick(table: &Table, state: &mut State, link: &mut l2::State, turn: &mut Turn<'_>) {
    link.tick(table.link(), turn);
    state.advertiser.tick(table, turn);
    state.listener.tick(table, turn);
    join::tick(table, state, turn);
}

/// A packet whose next hop did not answer; its sender is told (RFC 1812 §4.3.3.1, RFC 4443 §3.1).
#[inline]
pub fn undelivered(
    table: &Table,
    state: &mut State,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
) -> Option<(Frame, Meta)> {
    let (frame, meta) = link.take_failed()?;
    turn.stats.drops(DropReason::NeighborUnreachable).add(1);
    if !meta.flags.contains(Flags::ORIGINATED) {
        icmp::unreachable(table, state, turn, &frame, &meta, icmp::Unreachable::Host);
    }
    Some((frame, meta))
}

/// Says on every link where this router advertises itself that it is going (RFC 4861 §6.2.5).
pub fn cease(table: &Table, state: &mut State, turn: &mut Turn<'_>) {
    state.advertiser.cease(table, turn);
}

/// Learns from a copy of a neighbour message that another core received. It is answered there; here it only fills the table and
/// hastens the next router advertisement.
pub fn learn(table: &Table, state: &mut State, link: &mut l2::State, turn: &mut Turn<'_>, frame: &Frame, meta: &Meta) {
    match meta.network {
        Network::Arp => l2::arp::learn(table.link(), link, turn, frame, meta),
        Network::Ipv6 => nd::learn(table, state, link, turn, frame, meta),
        _ => {}
    }
}
