//! `[[policy]]`: which packets a rule is for, and where they go.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use tidegate_dataplane::l3::policy::MAX_RULES;

use super::forwarding::{Place, target};
use super::network::{Domain, Network};
use super::{Checker, Names};
use crate::config::model::{self, PolicyAction, Reference, RouteTarget};
use crate::config::raw::{Policy, Raw};
use crate::config::scalar::Prefix;
use crate::config::select::{PortRange, Transport};
use crate::config::slot::{At, List, OneOrMany, Optional};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Items of a list: what a rule costs grows with them.
const MOST_ITEMS: usize = 1024;
const NOWHERE: &str = "add `lookup` (the routes of a domain), `via` (the next router, or several), `interface` (neighbours on it), \
                       `next_hops`, `blackhole = true`, `unreachable = true` or `prohibit = true`";

pub(super) fn check(raw: &Raw, network: &Network, names: &Names, cx: &mut Checker<'_>) -> Vec<model::Policy> {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    let mut policies: Vec<(model::Policy, Span)> = Vec::new();
    for (at, rule) in raw.policy.0.iter().enumerate() {
        if at == MAX_RULES {
            let message = format!("{} rules; there can be {MAX_RULES}", raw.policy.0.len());
            let most = Diagnostic::error(Code::OutOfRange, rule.head, message);
            cx.push(most.help("one rule may have many prefixes, ports and protocols, as lists"));
        }
        if let Some(name) = rule.name.ok()
            && let Some(first) = seen.insert(&name.0, name.span)
        {
            let message = format!("there is already a policy `{}`", name.0);
            let twice = Diagnostic::error(Code::Duplicate, name.span, message);
            cx.push(twice.related(first, "the first is here").help("give each its own name"));
        }
        let found = cx.diagnostics.len();
        let policy = one(rule, raw, network, names, cx);
        let whole = cx.diagnostics.len() == found && rule.asks().all(|span| !cx.broken(span));
        // What a rule with a mistake is for is not known.
        let (Some(policy), Some(name), true) = (policy, rule.name.ok(), whole) else { continue };
        if let Some((earlier, span)) = policies.iter().find(|(earlier, _)| covers(earlier, &policy)) {
            let message = format!("no packet gets to `{}`: all of its packets are `{}`'s", name.0, earlier.name.0);
            let unused = Diagnostic::warning(Code::Unused, name.span, message).related(*span, "which is asked first");
            cx.push(unused.help("write the rule that asks for more in front"));
        }
        policies.push((policy, name.span));
    }
    policies.into_iter().map(|(policy, _)| policy).collect()
}

impl Policy {
    /// Where the file says which packets it is for.
    fn asks(&self) -> impl Iterator<Item = Span> {
        let names = [self.vrf.span(), self.incoming.span()];
        let numbers = [self.protocol.span(), self.source_port.span(), self.destination_port.span(), self.dscp.span()];
        names.into_iter().chain([self.from.span(), self.to.span()]).chain(numbers).flatten()
    }
}

fn one(rule: &At<Policy>, raw: &Raw, network: &Network, names: &Names, cx: &mut Checker<'_>) -> Option<model::Policy> {
    let domain = Domain::of(&rule.vrf, names, cx);
    let incoming = incoming(rule, &domain, raw, network, names, cx);
    let (from, to) = (nets(&rule.from, cx), nets(&rule.to, cx));
    let protocols = list(&rule.protocol, cx);
    ports_without_protocol(rule, protocols, cx);
    let head = rule.name.ok().map_or(rule.head, |name| name.span);
    let place = Place { kind: "policy", help: NOWHERE, head, to: None, domain: &domain, network, names };
    let action = action(rule, &place, cx);
    families(rule, action.as_ref(), cx);
    let vrf = if let Domain::Vrf(vrf) = domain { Some(vrf) } else { None };
    Some(model::Policy {
        name: rule.name.ok()?.value.clone(),
        vrf,
        incoming: incoming?,
        own: rule.own.value,
        from,
        to,
        protocols: values(protocols),
        source_ports: values(list(&rule.source_port, cx)),
        destination_ports: values(list(&rule.destination_port, cx)),
        dscp: values(list(&rule.dscp, cx)),
        action: action?,
    })
}

/// The items of a key, of which there may be none only if the key is left out.
fn list<'r, T: PartialEq>(key: &'r Optional<OneOrMany<T>>, cx: &mut Checker<'_>) -> &'r [At<T>] {
    let Some(given) = key.ok() else { return &[] };
    let items: &List<T> = &given.value.0;
    if items.is_empty() && !cx.broken(given.span) {
        let none = Diagnostic::error(Code::InvalidValue, given.span, "an empty list fits no packet");
        cx.push(none.help("leave the key out to fit every packet"));
    }
    if let Some(beyond) = items.get(MOST_ITEMS) {
        let message = format!("{} items; there can be {MOST_ITEMS}", items.len());
        cx.push(Diagnostic::error(Code::OutOfRange, beyond.span, message).help("make two rules of it"));
        return items;
    }
    for (at, item) in items.iter().enumerate() {
        if let Some(first) = items[..at].iter().find(|first| first.value == item.value) {
            let twice = Diagnostic::error(Code::Duplicate, item.span, "this is listed twice");
            cx.push(twice.related(first.span, "the first is here"));
        }
    }
    items
}

fn values<T: Clone>(items: &[At<T>]) -> Vec<T> {
    items.iter().map(|item| item.value.clone()).collect()
}

fn nets(key: &Optional<OneOrMany<Prefix>>, cx: &mut Checker<'_>) -> Vec<IpNet> {
    list(key, cx).iter().map(|prefix| prefix.0).collect()
}

/// The interfaces by which packets come in; `None` if one of them cannot be known.
fn incoming(
    rule: &Policy,
    domain: &Domain,
    raw: &Raw,
    network: &Network,
    names: &Names,
    cx: &mut Checker<'_>,
) -> Option<Vec<Reference>> {
    if let Some(given) = rule.incoming.ok().filter(|_| rule.own.value) {
        let message = "what the gateway itself sends comes in by no interface";
        let both = Diagnostic::error(Code::Conflict, given.span, message);
        cx.push(both.related(rule.own.span, "`own` is here").help("leave out one of them"));
    }
    let members = || raw.bridge.0.iter().flat_map(|bridge| bridge.ports.iter().map(move |member| (bridge, member)));
    let mut interfaces = Vec::new();
    for name in list(&rule.incoming, cx) {
        let interface = names.interfaces.resolve(name, cx)?;
        let wrong = |message: String| Diagnostic::error(Code::InvalidValue, name.span, message);
        if network.is_loopback(&interface) {
            let message = format!("`{}` is a loopback: nothing comes in by it", name.0);
            cx.push(wrong(message).help("name a port, a VLAN or a bridge"));
        } else if let Some((bridge, member)) = members().find(|(_, member)| member.0 == name.0) {
            let message = format!("`{}` is a member of a bridge: what is routed comes in by the bridge", name.0);
            let bridge = bridge.name.ok().map_or("its name".to_owned(), |name| format!("`\"{}\"`", name.0));
            cx.push(wrong(message).related(member.span, "the bridge").help(format!("write {bridge}")));
        } else {
            outside(&interface, name.span, domain, network, cx);
        }
        interfaces.push(interface);
    }
    Some(interfaces)
}

/// An interface must be of the domain that the rule is for.
fn outside(interface: &Reference, span: Span, domain: &Domain, network: &Network, cx: &mut Checker<'_>) {
    let its = network.domain(interface);
    if its == domain || *its == Domain::Unknown || *domain == Domain::Unknown {
        return;
    }
    let message = format!("`{}` is in {its}", interface.name.0);
    let help = match its {
        Domain::Vrf(vrf) => format!("write `vrf = \"{}\"`", vrf.name.0),
        _ => "leave out `vrf`".to_owned(),
    };
    cx.push(Diagnostic::error(Code::Conflict, span, message).help(format!("{help}: a rule is for one domain")));
}

/// Ports are asked for, but of protocols that have none.
fn ports_without_protocol(rule: &Policy, protocols: &[At<Transport>], cx: &mut Checker<'_>) {
    let Some(ports) = rule.source_port.span().or(rule.destination_port.span()) else { return };
    for protocol in protocols.iter().filter(|protocol| !protocol.has_ports()) {
        let message = format!("`{}` has no ports", protocol.value);
        let none = Diagnostic::error(Code::Conflict, protocol.span, message).related(ports, "they are asked for here");
        cx.push(none.help("those with ports are `tcp`, `udp`, `sctp`, `dccp` and `udplite`"));
    }
}

fn action(rule: &At<Policy>, place: &Place<'_>, cx: &mut Checker<'_>) -> Option<PolicyAction> {
    if rule.lookup.is_absent() {
        return target(&rule.way, place, cx).map(PolicyAction::Target);
    }
    for (key, span) in rule.way.spans() {
        let both = Diagnostic::error(Code::Conflict, span, format!("a policy with `lookup` has no `{key}`"));
        cx.push(both.help("leave out one of them"));
    }
    match Domain::of(&rule.lookup, place.names, cx) {
        Domain::Unknown => None,
        Domain::Main => Some(PolicyAction::Lookup(None)),
        Domain::Vrf(vrf) => Some(PolicyAction::Lookup(Some(vrf))),
    }
}

/// Addresses that no packet has together, nor can be sent to by that router.
fn families(rule: &Policy, action: Option<&PolicyAction>, cx: &mut Checker<'_>) {
    let items = |key: &Optional<OneOrMany<Prefix>>| key.ok().map(|list| list.value.0.clone()).unwrap_or_default();
    let (from, to) = (items(&rule.from), items(&rule.to));
    let v4 = |prefix: &At<Prefix>| prefix.0.addr().is_ipv4();
    if let (Some(source), Some(destination)) = (from.first(), to.first())
        && to.iter().all(|prefix| v4(prefix) != v4(source))
        && from.iter().all(|prefix| v4(prefix) == v4(source))
    {
        let message = format!("no packet is from {} and to {}: their families differ", source.0, destination.0);
        cx.push(Diagnostic::error(Code::Conflict, destination.span, message).related(source.span, "the source"));
        return;
    }
    let Some(PolicyAction::Target(RouteTarget::NextHops(hops))) = action else { return };
    // A router's IPv6 address is as good for IPv4 (RFC 8950).
    let routers: Vec<IpAddr> = hops.iter().filter_map(|hop| hop.via).collect();
    let Some(router) = routers.iter().find(|router| router.is_ipv4()) else { return };
    let spans = || rule.way.spans().find(|(key, _)| ["via", "next_hops"].contains(key)).map(|(_, span)| span);
    if from.is_empty()
        && to.is_empty()
        && let (Some(other), Some(span)) = (routers.iter().find(|other| other.is_ipv6()), spans())
    {
        let message = format!("{other} takes IPv6 packets as well, and {router} does not");
        let help = "make a rule for each family, or say by `from` or `to` that this one is for IPv4";
        cx.push(Diagnostic::error(Code::Conflict, span, message).help(help));
        return;
    }
    for prefix in from.iter().chain(&to).filter(|prefix| !v4(prefix)) {
        let message = format!("{} is IPv6, and {router} is not", prefix.0);
        let help = "make a rule for each family; one by a router's IPv6 address can be for both";
        cx.push(Diagnostic::error(Code::Conflict, prefix.span, message).help(help));
    }
}

/// Whether a packet that fits `later` fits `earlier`.
fn covers(earlier: &model::Policy, later: &model::Policy) -> bool {
    fn all<T>(earlier: &[T], later: &[T], within: impl Fn(&T, &T) -> bool) -> bool {
        let one = |item: &T| earlier.iter().any(|wide| within(wide, item));
        earlier.is_empty() || !later.is_empty() && later.iter().all(one)
    }
    let nets = |earlier: &[IpNet], later: &[IpNet]| all(earlier, later, |wide, net| wide.contains(net));
    let ports = |earlier: &[PortRange], later: &[PortRange]| {
        all(earlier, later, |wide, range| wide.0.start() <= range.0.start() && range.0.end() <= wide.0.end())
    };
    let [served, asked] = [earlier, later].map(fitting_families);
    (0..2).all(|family| served[family] || !asked[family])
        && (&earlier.vrf, earlier.own) == (&later.vrf, later.own)
        && all(&earlier.incoming, &later.incoming, |a, b| a == b)
        && nets(&earlier.from, &later.from)
        && nets(&earlier.to, &later.to)
        && all(&earlier.protocols, &later.protocols, |a, b| a == b)
        && all(&earlier.dscp, &later.dscp, |a, b| a == b)
        && ports(&earlier.source_ports, &later.source_ports)
        && ports(&earlier.destination_ports, &later.destination_ports)
}

/// Whether IPv4 and whether IPv6 packets may fit.
fn fitting_families(policy: &model::Policy) -> [bool; 2] {
    let only_v4 = match &policy.action {
        PolicyAction::Target(RouteTarget::NextHops(hops)) => {
            hops.iter().any(|hop| hop.via.is_some_and(|via| via.is_ipv4()))
        }
        PolicyAction::Target(_) | PolicyAction::Lookup(_) => false,
    };
    [true, false].map(|v4| {
        let some = |nets: &[IpNet]| nets.is_empty() || nets.iter().any(|net| net.addr().is_ipv4() == v4);
        some(&policy.from) && some(&policy.to) && (v4 || !only_v4)
    })
}
