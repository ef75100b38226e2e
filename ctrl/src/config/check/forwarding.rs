//! `[[route]]`: where prefixes lead.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::network::{Domain, Network};
use super::{Checker, Names};
use crate::config::model::{self, NextHop, Reference, RouteTarget};
use crate::config::raw::{Route, RouteHop};
use crate::config::scalar::Name;
use crate::config::slot::{At, List};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Next hops of a route: beyond this the table of 2048 buckets divides the flows too coarsely.
const MOST_HOPS: usize = 64;

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
            }
        }
        let target = target(route, &Place { domain: &domain, network, names }, cx);
        if let (Some(to), Some(target)) = (route.to.ok(), target) {
            routes.push(model::Route { to: to.0, vrf, target });
        }
    }
    routes
}

/// Where a route is.
struct Place<'a> {
    domain: &'a Domain,
    network: &'a Network,
    names: &'a Names,
}

impl Place<'_> {
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

/// The keys that say that a route is an end, each with what it means.
fn ends(route: &Route) -> [(&'static str, &At<bool>, RouteTarget); 3] {
    [
        ("blackhole", &route.blackhole, RouteTarget::Blackhole),
        ("unreachable", &route.unreachable, RouteTarget::Unreachable),
        ("prohibit", &route.prohibit, RouteTarget::Prohibit),
    ]
}

impl Route {
    /// Whether packets for it are dropped.
    pub(super) fn is_end(&self) -> bool {
        ends(self).into_iter().any(|(_, flag, _)| flag.value)
    }
}

fn target(route: &At<Route>, from: &Place<'_>, cx: &mut Checker<'_>) -> Option<RouteTarget> {
    let hops =
        [("via", route.via.span()), ("interface", route.interface.span()), ("next_hops", route.next_hops.span())];
    let mut ends = ends(route).into_iter().filter(|(_, flag, _)| flag.value);
    if let Some((word, _, end)) = ends.next() {
        let others = ends.map(|(other, flag, _)| (other, Some(flag.span)));
        for (key, span) in hops.into_iter().chain(others).filter_map(|(key, span)| Some((key, span?))) {
            let both = format!("a route with `{word} = true` has no `{key}`");
            cx.push(Diagnostic::error(Code::Conflict, span, both).help("leave out one of them"));
        }
        return Some(end);
    }
    if let Some(list) = route.next_hops.ok() {
        for (key, span) in hops.into_iter().filter(|(key, _)| *key != "next_hops") {
            let Some(span) = span else { continue };
            let both = Diagnostic::error(Code::Conflict, span, format!("a route with `next_hops` has no `{key}`"));
            cx.push(both.related(list.span, "these are its next hops").help(format!("move `{key}` into `next_hops`")));
        }
        bounds(list, list.span, cx);
        let hops: Vec<_> = list.iter().map(|item| listed(route, item, from, cx)).collect();
        return all(hops, list, cx);
    }
    let interface = route.interface.ok().map(|name| (from.exit(name, cx), name.span));
    if let Some(list) = route.via.ok() {
        let hop = |via: &At<IpAddr>, cx: &mut Checker<'_>| {
            let interface = interface.as_ref().map(|(interface, _)| interface.clone());
            Some(NextHop { via: Some(via.value), interface: leads(route, via, interface, from, cx)?, weight: 1 })
        };
        bounds(&list.value.0, list.span, cx);
        let hops: Vec<_> = list.value.0.iter().map(|via| hop(via, cx)).collect();
        return all(hops, &list.value.0, cx);
    }
    if hops.iter().all(|(_, span)| span.is_none()) && !self::ends(route).iter().any(|(_, flag, _)| cx.broken(flag.span))
    {
        let span = route.to.ok().map_or(route.head, |to| to.span);
        let missing = Diagnostic::error(Code::MissingKey, span, "the route leads nowhere");
        cx.push(missing.help(
            "add `via` (the next router, or several), `interface` (neighbours on it), `next_hops`, `blackhole = true`, \
             `unreachable = true` or `prohibit = true`",
        ));
    }
    let interface = interface?.0?;
    Some(RouteTarget::NextHops(vec![NextHop { via: None, interface, weight: 1 }]))
}

fn bounds<T>(list: &List<T>, span: Span, cx: &mut Checker<'_>) {
    if list.is_empty() && !cx.broken(span) {
        let none = Diagnostic::error(Code::InvalidValue, span, "the route leads nowhere");
        cx.push(none.help("list its next routers, or leave the key out"));
    }
    if let Some(beyond) = list.get(MOST_HOPS) {
        let message = format!("{} next hops; at most {MOST_HOPS} share the flows of a route", list.len());
        cx.push(Diagnostic::error(Code::OutOfRange, beyond.span, message));
    }
}

/// An item of `next_hops`.
fn listed(route: &Route, item: &At<RouteHop>, from: &Place<'_>, cx: &mut Checker<'_>) -> Option<NextHop> {
    let interface = item.interface.ok().map(|name| from.exit(name, cx));
    let weight = item.weight.to();
    if let Some(via) = item.via.ok() {
        return Some(NextHop { via: Some(via.value), interface: leads(route, via, interface, from, cx)?, weight });
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
    route: &Route,
    via: &At<IpAddr>,
    interface: Option<Option<Reference>>,
    from: &Place<'_>,
    cx: &mut Checker<'_>,
) -> Option<Reference> {
    if let Some(to) = route.to.ok()
        && to.0.addr().is_ipv4() != via.is_ipv4()
    {
        let families = format!("{} and {} are of different families", to.0, via.value);
        cx.push(Diagnostic::error(Code::Conflict, via.span, families));
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
            if network.complete && **domain != Domain::Unknown && route.interface.is_absent() {
                let message = format!("{} is in no interface's subnet", via.value);
                cx.push(Diagnostic::error(Code::Unreachable, via.span, message).help(network.subnets(domain)));
            }
            None
        }
    }
}
