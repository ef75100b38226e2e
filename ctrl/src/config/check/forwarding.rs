//! `[[route]]`: where prefixes lead.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use ipnet::IpNet;

use super::network::{Domain, Network};
use super::{Checker, Names};
use crate::config::bulk::Bulk;
use crate::config::decode::Decoder;
use crate::config::model::{self, NextHop, Reference, RouteTarget};
use crate::config::raw::{Route, RouteHop, TargetKeys};
use crate::config::scalar::{Name, Prefix};
use crate::config::slot::{At, List, Optional};
use crate::diagnostic::{Code, Diagnostic, Span};

/// The operator chooses the keys: they need no secret.
const FIXED: FixedState = FixedState::with_seed(0);
/// Next hops of a route: beyond this the table of 2048 buckets divides the flows too coarsely.
const MOST_HOPS: usize = 64;
const NOWHERE: &str = "add `via` (the next router, or several), `interface` (neighbours on it), `next_hops`, `blackhole = true`, \
                       `unreachable = true` or `prohibit = true`";

/// All routes of a file.
#[derive(Default)]
pub(super) struct Routes {
    /// Those that can be used.
    pub(super) list: Vec<model::Route>,
    /// Destinations in the main domain of those with mistakes, if they could be read.
    broken: Vec<Option<IpNet>>,
}

impl Routes {
    /// Whether a route has a router at an address on an interface.
    pub(super) fn lead_by(&self, interface: &Reference, router: IpAddr) -> bool {
        let by = |route: &model::Route| match &*route.target {
            RouteTarget::NextHops(hops) => {
                hops.iter().any(|hop| hop.via == Some(router) && hop.interface.index == interface.index)
            }
            _ => false,
        };
        self.list.iter().any(by)
    }

    /// Whether packets to an address have, or may be meant to have, a route in the main domain.
    pub(super) fn may_lead_to(&self, ip: IpAddr) -> bool {
        let leads = |route: &model::Route| {
            route.vrf.is_none() && matches!(*route.target, RouteTarget::NextHops(_)) && route.to.contains(&ip)
        };
        self.list.iter().any(leads) || self.broken.iter().any(|to| to.is_none_or(|to| to.contains(&ip)))
    }
}

/// Checks the routes that the parser has read and those of `bulk`, in the order of the file.
pub(super) fn routes(
    raw: &[At<Route>],
    bulk: &Bulk<'_>,
    network: &Network,
    names: &Names,
    cx: &mut Checker<'_>,
) -> Routes {
    network.overlaps(cx);
    let mut reading = Reading { network, names, routes: Routes::default(), places: Vec::new(), seen: HashTable::new() };
    let mut known = Known::default();
    let mut raw = raw.iter().peekable();
    bulk.each(&mut Decoder::default(), |route, decoder| {
        while let Some(earlier) = raw.next_if(|earlier| earlier.span < route.span) {
            reading.add(earlier, &mut known, cx);
        }
        cx.diagnostics.append(&mut decoder.diagnostics);
        reading.add(&route, &mut known, cx);
    });
    raw.for_each(|route| reading.add(route, &mut known, cx));
    reading.routes
}

/// Routes while they are checked one after the other.
struct Reading<'a> {
    network: &'a Network,
    names: &'a Names,
    routes: Routes,
    /// Where the destinations of all routes stand, with the number of their domain.
    places: Vec<(Option<usize>, IpNet, Span)>,
    /// Numbers of `places`.
    seen: HashTable<u32>,
}

/// Where a router of the main domain leads, for destinations of its family: known once it has been found without a mistake.
#[derive(Default)]
struct Known(HashMap<IpAddr, Arc<RouteTarget>>);

impl Known {
    /// The key, for a route that says nothing else.
    fn key(route: &Route) -> Option<IpAddr> {
        let Route { to, vrf, way, .. } = route;
        let [via] = &way.via.ok()?.value.0[..] else { return None };
        let plain = vrf.is_absent() && way.interface.is_absent() && way.next_hops.is_absent() && !way.is_end();
        (plain && to.ok()?.0.addr().is_ipv4() == via.is_ipv4()).then_some(via.value)
    }
}

impl Reading<'_> {
    fn add(&mut self, route: &Route, known: &mut Known, cx: &mut Checker<'_>) {
        let domain = Domain::of(&route.vrf, self.names, cx);
        let vrf = if let Domain::Vrf(vrf) = &domain { Some(vrf.clone()) } else { None };
        if let Some(to) = route.to.ok().filter(|_| domain != Domain::Unknown) {
            self.note(vrf.as_ref().map(|vrf| vrf.index), to, cx);
            if let Some((interface, span)) = self.network.has_subnet(&domain, to.0) {
                let message =
                    format!("{} is the subnet of `{}`: it is reached without a route", to.0, interface.name.0);
                cx.push(Diagnostic::error(Code::Conflict, to.span, message).related(span, "its address"));
            } else if let Some((what, interface, span)) = self.network.reserved(&domain, to.0) {
                let message =
                    format!("{} is {what} of `{}`: what is sent there ends here", to.0.addr(), interface.name.0);
                cx.push(Diagnostic::error(Code::Conflict, to.span, message).related(span, "its address"));
            } else if to.0 == limited_broadcast() {
                let message = format!("{} is all hosts on a link: what is sent there ends here", to.0.addr());
                cx.push(Diagnostic::error(Code::Conflict, to.span, message));
            } else if !route.way.is_end()
                && let Some(what) = never_routed(to.0)
            {
                let unused = format!("no packet is routed to {}: {what} addresses stay on their link, or host", to.0);
                cx.push(Diagnostic::warning(Code::Unused, to.span, unused).help("leave the route out"));
            }
        }
        let to = route.to.ok();
        let key = Known::key(route);
        let target = key.and_then(|key| known.0.get(&key)).cloned().or_else(|| {
            let Self { network, names, .. } = *self;
            let head = to.map_or(route.head, |to| to.span);
            let place = Place { kind: "route", help: NOWHERE, head, to, domain: &domain, network, names };
            let target = Arc::new(target(&route.way, &place, cx)?);
            if let Some(key) = key {
                known.0.insert(key, Arc::clone(&target));
            }
            Some(target)
        });
        match (to, target) {
            (Some(to), Some(target)) => self.routes.list.push(model::Route { to: to.0, vrf, target }),
            _ if vrf.is_none() && !route.way.is_end() => self.routes.broken.push(to.map(|to| to.0)),
            _ => {}
        }
    }

    /// Notes a destination; one that is there already is recorded.
    fn note(&mut self, vrf: Option<usize>, to: &At<Prefix>, cx: &mut Checker<'_>) {
        let Self { places, seen, .. } = self;
        let hash = |key: (Option<usize>, IpNet)| FIXED.hash_one(key);
        let same = |place: &u32| {
            let (other, net, _) = places[*place as usize];
            (other, net) == (vrf, to.0)
        };
        if let Some(first) = seen.find(hash((vrf, to.0)), same) {
            let twice = Diagnostic::error(Code::Duplicate, to.span, format!("there is already a route to {}", to.0));
            cx.push(twice.related(places[*first as usize].2, "the first is here"));
            return;
        }
        seen.insert_unique(hash((vrf, to.0)), places.len() as u32, |place| {
            let (vrf, net, _) = places[*place as usize];
            hash((vrf, net))
        });
        places.push((vrf, to.0, to.span));
    }
}

/// The destination of what is for all hosts on a link (RFC 919 §7).
fn limited_broadcast() -> IpNet {
    IpAddr::V4(Ipv4Addr::BROADCAST).into()
}

/// What addresses these are, if packets to none of them get to the routes.
fn never_routed(net: IpNet) -> Option<&'static str> {
    let within = |of: IpNet| of.contains(&net);
    let v4 = |octets, len| within(IpNet::new_assert(IpAddr::V4(Ipv4Addr::from_octets(octets)), len));
    let v6 = |bits, len| within(IpNet::new_assert(IpAddr::V6(Ipv6Addr::from_bits(bits)), len));
    if v4([224, 0, 0, 0], 4) || v6(0xff << 120, 8) {
        return Some("multicast");
    }
    if v4([127, 0, 0, 0], 8) || v6(1, 128) {
        return Some("loopback");
    }
    if v6(0xfe80 << 112, 10) {
        return Some("link-local");
    }
    (v4([0, 0, 0, 0], 8) || v4([240, 0, 0, 0], 4) || v6(0, 128) || v6(0xffff << 32, 96)).then_some("reserved")
}

/// A route, or something else that leads somewhere.
pub(super) struct Place<'a> {
    /// What it is called.
    pub(super) kind: &'a str,
    /// How to say where it leads.
    pub(super) help: &'a str,
    /// What a mistake is about that is nowhere in the file.
    pub(super) head: Span,
    /// Its destinations, if they are of one family.
    pub(super) to: Option<&'a At<Prefix>>,
    pub(super) domain: &'a Domain,
    pub(super) network: &'a Network,
    pub(super) names: &'a Names,
}

impl Place<'_> {
    /// What a key says of the interface by which packets leave: nothing, or which, if that can be known.
    fn named(&self, key: &Optional<Name>, cx: &mut Checker<'_>) -> Option<Option<Reference>> {
        match key {
            Optional::Absent => None,
            Optional::Bad(_) => Some(None),
            Optional::Given(name) => Some(self.exit(name, cx)),
        }
    }

    /// The interface by which packets leave.
    fn exit(&self, name: &At<Name>, cx: &mut Checker<'_>) -> Option<Reference> {
        let interface = self.names.interfaces.resolve(name, cx)?;
        if self.network.is_loopback(&interface) {
            let message = format!("`{}` is a loopback: nothing is behind it", name.0);
            cx.push(Diagnostic::error(Code::InvalidValue, name.span, message).help("name a port, a VLAN or a bridge"));
            return None;
        }
        Some(interface)
    }
}

impl TargetKeys {
    /// The keys that say that packets are dropped, each with how.
    fn ends(&self) -> [(&'static str, &At<bool>, RouteTarget); 3] {
        [
            ("blackhole", &self.blackhole, RouteTarget::Blackhole),
            ("unreachable", &self.unreachable, RouteTarget::Unreachable),
            ("prohibit", &self.prohibit, RouteTarget::Prohibit),
        ]
    }

    /// Whether packets are dropped.
    pub(super) fn is_end(&self) -> bool {
        self.ends().into_iter().any(|(_, flag, _)| flag.value)
    }

    /// Where the file says something, by key.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&'static str, Span)> {
        let hops =
            [("via", self.via.span()), ("interface", self.interface.span()), ("next_hops", self.next_hops.span())];
        let ends = self.ends().map(|(key, flag, _)| (key, Some(flag.span).filter(|_| flag.value)));
        hops.into_iter().chain(ends).filter_map(|(key, span)| Some((key, span?)))
    }
}

/// Where it leads.
pub(super) fn target(keys: &TargetKeys, from: &Place<'_>, cx: &mut Checker<'_>) -> Option<RouteTarget> {
    let kind = from.kind;
    let hops = [("via", keys.via.span()), ("interface", keys.interface.span()), ("next_hops", keys.next_hops.span())];
    let mut ends = keys.ends().into_iter().filter(|(_, flag, _)| flag.value);
    if let Some((word, _, end)) = ends.next() {
        let others = ends.map(|(other, flag, _)| (other, Some(flag.span)));
        for (key, span) in hops.into_iter().chain(others).filter_map(|(key, span)| Some((key, span?))) {
            let both = format!("a {kind} with `{word} = true` has no `{key}`");
            cx.push(Diagnostic::error(Code::Conflict, span, both).help("leave out one of them"));
        }
        return Some(end);
    }
    if let Some(list) = keys.next_hops.ok() {
        for (key, span) in hops.into_iter().filter(|(key, _)| *key != "next_hops") {
            let Some(span) = span else { continue };
            let both = Diagnostic::error(Code::Conflict, span, format!("a {kind} with `next_hops` has no `{key}`"));
            cx.push(both.related(list.span, "these are its next hops").help(format!("move `{key}` into `next_hops`")));
        }
        bounds(list, list.span, kind, cx);
        let hops: Vec<_> = list.iter().map(|item| listed(item, from, cx)).collect();
        return all(hops, list, cx);
    }
    let interface = from.named(&keys.interface, cx);
    if let Some(list) = keys.via.ok() {
        let alone = list.value.0.len() == 1;
        let hop = |via: &At<IpAddr>, cx: &mut Checker<'_>| {
            let interface = leads(via, interface.clone(), alone, from, cx)?;
            Some(NextHop { via: Some(via.value), interface, weight: 1 })
        };
        bounds(&list.value.0, list.span, kind, cx);
        let hops: Vec<_> = list.value.0.iter().map(|via| hop(via, cx)).collect();
        return all(hops, &list.value.0, cx);
    }
    if hops.iter().all(|(_, span)| span.is_none()) && !keys.ends().iter().any(|(_, flag, _)| cx.broken(flag.span)) {
        let missing = Diagnostic::error(Code::MissingKey, from.head, format!("the {kind} leads nowhere"));
        cx.push(missing.help(from.help));
    }
    Some(RouteTarget::NextHops(vec![NextHop { via: None, interface: interface??, weight: 1 }]))
}

fn bounds<T>(list: &List<T>, span: Span, kind: &str, cx: &mut Checker<'_>) {
    if list.is_empty() && !cx.broken(span) {
        let none = Diagnostic::error(Code::InvalidValue, span, format!("the {kind} leads nowhere"));
        cx.push(none.help("list its next routers, or leave the key out"));
    }
    if let Some(beyond) = list.get(MOST_HOPS) {
        let message = format!("{} next hops; at most {MOST_HOPS} share the flows of a {kind}", list.len());
        cx.push(Diagnostic::error(Code::OutOfRange, beyond.span, message));
    }
}

/// An item of `next_hops`.
fn listed(item: &At<RouteHop>, from: &Place<'_>, cx: &mut Checker<'_>) -> Option<NextHop> {
    let interface = from.named(&item.interface, cx);
    let weight = item.weight.to();
    if let Some(via) = item.via.ok() {
        return Some(NextHop { via: Some(via.value), interface: leads(via, interface, true, from, cx)?, weight });
    }
    if item.via.is_absent() && item.interface.is_absent() && !cx.broken(item.span) {
        let missing = Diagnostic::error(Code::MissingKey, item.span, "the next hop leads nowhere");
        cx.push(missing.help("add `via` (a router) or `interface` (neighbours on it)"));
    }
    Some(NextHop { via: None, interface: interface??, weight })
}

/// The hops together, if all could be read; none may be there twice.
fn all<T>(hops: Vec<Option<NextHop>>, list: &List<T>, cx: &mut Checker<'_>) -> Option<RouteTarget> {
    for (at, hop) in hops.iter().enumerate().filter_map(|(at, hop)| Some((at, hop.as_ref()?))) {
        let same = |other: &Option<NextHop>| {
            other.as_ref().is_some_and(|other| (other.via, &other.interface) == (hop.via, &hop.interface))
        };
        if let Some(first) = hops[..at].iter().position(same) {
            let twice = Diagnostic::error(Code::Duplicate, list[at].span, "this next hop is listed twice");
            cx.push(twice.related(list[first].span, "the first is here").help("give one of them more `weight`"));
        }
    }
    let hops: Option<Vec<_>> = hops.into_iter().collect();
    hops.filter(|hops| !hops.is_empty()).map(RouteTarget::NextHops)
}

/// The interface by which a router is reached. `interface` is what the file says, if it could be resolved; the router is `alone` if
/// nothing else has to be reached by that.
fn leads(
    via: &At<IpAddr>,
    interface: Option<Option<Reference>>,
    alone: bool,
    from: &Place<'_>,
    cx: &mut Checker<'_>,
) -> Option<Reference> {
    if let Some(to) = from.to
        && to.0.addr().is_ipv6()
        && via.is_ipv4()
    {
        let families = format!("{} is IPv6, and {} is not", to.0, via.value);
        let only = "give the router's IPv6 address; the other way about, IPv4 by an IPv6 router, is possible";
        cx.push(Diagnostic::error(Code::Conflict, via.span, families).help(only));
        return None;
    }
    let Place { domain, network, .. } = from;
    // The router's address is one of the domain that its interface is in.
    let there = interface.as_ref().and_then(Option::as_ref).map_or(*domain, |interface| network.domain(interface));
    if let Some(wrong) = network.no_neighbor(there, via) {
        cx.push(wrong);
        return None;
    }
    match (interface, network.interface_to(domain, via.value)) {
        (Some(interface), _) => interface,
        (None, Some(interface)) => Some(interface.clone()),
        (None, None) => {
            if network.is_whole(domain) {
                cx.push(off_link(via, alone, from));
            }
            None
        }
    }
}

/// A router that is in no subnet of the domain, and no interface is named: one of another domain's may be meant.
fn off_link(via: &At<IpAddr>, alone: bool, from: &Place<'_>) -> Diagnostic {
    let Place { domain, network, .. } = from;
    let wrong = |message: String| Diagnostic::error(Code::Unreachable, via.span, message);
    let nowhere = || wrong(format!("{} is in no interface's subnet", via.value));
    if matches!(via.value, IpAddr::V6(address) if address.is_unicast_link_local()) {
        return nowhere().help("every link has such addresses: add the `interface` that leads there");
    }
    let beyond = network.interfaces_beyond(domain, via.value);
    let its = |interface| network.domain(interface);
    let (possible, impossible): (Vec<_>, Vec<_>) =
        beyond.into_iter().partition(|(there, _)| network.no_neighbor(its(there), via).is_none());
    let Some(((there, span), others)) = possible.split_first() else {
        let why = impossible.first().and_then(|(there, _)| network.no_neighbor(its(there), via));
        return why.unwrap_or_else(|| nowhere().help(network.subnets(domain)));
    };
    let name = &there.name.0;
    let message = format!("{} is in the subnet of `{name}`, which is in {}", via.value, its(there));
    let help = match alone {
        true => format!("add `interface = \"{name}\"`"),
        false => format!("write `next_hops`, this one with `interface = \"{name}\"`"),
    };
    let wrong = wrong(message).related(*span, "its address").help(format!("{help} to leave {domain} by it"));
    others.iter().fold(wrong, |wrong, (other, _)| {
        wrong.help(format!("or `{}`, in whose subnet it is as well: that is in {}", other.name.0, its(other)))
    })
}
