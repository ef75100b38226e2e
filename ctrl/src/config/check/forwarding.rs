//! `[[route]]`: where prefixes lead.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::network::{Domain, Network};
use super::{Checker, Names};
use crate::config::model::{self, NextHop, Reference, RouteTarget};
use crate::config::raw::{Route, RouteHop, TargetKeys};
use crate::config::scalar::{Name, Prefix};
use crate::config::slot::{At, List, Optional};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Next hops of a route: beyond this the table of 2048 buckets divides the flows too coarsely.
const MOST_HOPS: usize = 64;
const NOWHERE: &str = "add `via` (the next router, or several), `interface` (neighbours on it), `next_hops`, `blackhole = true`, \
                       `unreachable = true` or `prohibit = true`";

pub(super) fn routes(raw: &[At<Route>], network: &Network, names: &Names, cx: &mut Checker<'_>) -> Vec<model::Route> {
    network.overlaps(cx);
    let mut seen: HashMap<(Option<usize>, IpNet), Span> = HashMap::new();
    let mut routes = Vec::new();
    for route in raw {
        let domain = Domain::of(&route.vrf, names, cx);
        let vrf = if let Domain::Vrf(vrf) = &domain { Some(vrf.clone()) } else { None };
        if let Some(to) = route.to.ok().filter(|_| domain != Domain::Unknown) {
            if let Some(first) = seen.insert((vrf.as_ref().map(|vrf| vrf.index), to.0), to.span) {
                let twice =
                    Diagnostic::error(Code::Duplicate, to.span, format!("there is already a route to {}", to.0));
                cx.push(twice.related(first, "the first is here"));
            }
            if let Some((interface, span)) = network.has_subnet(&domain, to.0) {
                let message =
                    format!("{} is the subnet of `{}`: it is reached without a route", to.0, interface.name.0);
                cx.push(Diagnostic::error(Code::Conflict, to.span, message).related(span, "its address"));
            } else if let Some((what, interface, span)) = network.reserved(&domain, to.0) {
                let message =
                    format!("{} is {what} of `{}`: what is sent there ends here", to.0.addr(), interface.name.0);
                cx.push(Diagnostic::error(Code::Conflict, to.span, message).related(span, "its address"));
            }
        }
        let to = route.to.ok();
        let head = to.map_or(route.head, |to| to.span);
        let target =
            target(&route.way, &Place { kind: "route", help: NOWHERE, head, to, domain: &domain, network, names }, cx);
        if let (Some(to), Some(target)) = (route.to.ok(), target) {
            routes.push(model::Route { to: to.0, vrf, target });
        }
    }
    routes
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
        let hop = |via: &At<IpAddr>, cx: &mut Checker<'_>| {
            Some(NextHop { via: Some(via.value), interface: leads(via, interface.clone(), from, cx)?, weight: 1 })
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
        return Some(NextHop { via: Some(via.value), interface: leads(via, interface, from, cx)?, weight });
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

/// The interface by which a router is reached. `interface` is what the file says, if it could be resolved.
fn leads(
    via: &At<IpAddr>,
    interface: Option<Option<Reference>>,
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
    if network.owns(there, via.value) {
        cx.push(Diagnostic::error(Code::Conflict, via.span, format!("{} is our own address", via.value)));
        return None;
    }
    match (interface, network.interface_to(domain, via.value)) {
        (Some(interface), _) => interface,
        (None, Some(interface)) => Some(interface.clone()),
        (None, None) => {
            if network.complete && **domain != Domain::Unknown {
                let message = format!("{} is in no interface's subnet", via.value);
                let help = match via.value {
                    IpAddr::V6(address) if address.is_unicast_link_local() => {
                        "every link has such addresses: add the `interface` that leads there".to_owned()
                    }
                    _ => network.subnets(domain),
                };
                cx.push(Diagnostic::error(Code::Unreachable, via.span, message).help(help));
            }
            None
        }
    }
}
