//! What IP does on an interface: the keys that ports and everything else with addresses have in common.

use super::network::Domain;
use super::ports::{device_name, mtu_of};
use super::{Checker, Names, advertisements, bridges, vlans};
use crate::config::model::{self, Link};
use crate::config::raw::{Capture, InterfaceKeys, Raw};
use crate::config::scalar::Name;
use crate::config::slot::{At, Required};
use crate::diagnostic::{Code, Diagnostic};

/// Packets per second and core for the kernel, unless the file says otherwise: some megabytes per second for an operator's
/// session, a routing daemon's full table in a minute, and a few percent of a core for a flood.
const DEFAULT_HOST_LIMIT: u32 = 20_000;

impl Raw {
    /// Everything that is an interface, in the order of its numbers: ports first, each with the index of its port.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&Required<Name>, &InterfaceKeys)> {
        let ports = self.port.0.iter().map(|port| (&port.name, &port.ip));
        let vlans = self.vlan.0.iter().map(|vlan| (&vlan.name, &vlan.ip));
        let bridges = self.bridge.0.iter().map(|bridge| (&bridge.name, &bridge.ip));
        let loopbacks = self.loopback.0.iter().map(|loopback| (&loopback.name, &loopback.ip));
        ports.chain(vlans).chain(bridges).chain(loopbacks)
    }
}

/// The interfaces of the file.
pub(super) fn check(raw: &Raw, domains: &[Domain], names: &Names, cx: &mut Checker<'_>) -> Vec<model::Interface> {
    let mut interfaces = Vec::new();
    for port in &raw.port.0 {
        let link = Some((Link::Port, mtu_of(port)));
        interfaces.extend(interface(&port.name, &port.ip, link, port.capture.ok(), cx));
    }
    let links = vlans::links(raw, names, cx);
    for (vlan, link) in raw.vlan.0.iter().zip(links) {
        interfaces.extend(interface(&vlan.name, &vlan.ip, link, None, cx));
    }
    let links = bridges::links(raw, &interfaces, names, cx);
    for (bridge, link) in raw.bridge.0.iter().zip(links) {
        interfaces.extend(interface(&bridge.name, &bridge.ip, link, None, cx));
    }
    for loopback in &raw.loopback.0 {
        without_link(&loopback.ip, cx);
        interfaces.extend(interface(&loopback.name, &loopback.ip, Some((Link::Loopback, LOOPBACK_MTU)), None, cx));
    }
    // Only of a good file is every interface there, and only of that a place in the list means anything.
    for (interface, domain) in interfaces.iter_mut().zip(domains) {
        interface.vrf = if let Domain::Vrf(vrf) = domain { Some(vrf.clone()) } else { None };
    }
    interfaces
}

/// Nothing is sent there: as long as can be.
const LOOPBACK_MTU: u16 = 65_000;

/// A loopback has addresses of its own and nothing else: what speaks to a link needs one.
fn without_link(keys: &InterfaceKeys, cx: &mut Checker<'_>) {
    let of_a_link = [
        ("mtu", keys.mtu.span()),
        ("host", keys.host.span()),
        ("host_limit", keys.host_limit.span()),
        ("announce", keys.announce.given.then_some(keys.announce.span)),
        ("duplicate_detection", keys.duplicate_detection.given.then_some(keys.duplicate_detection.span)),
        ("tcp_mss", keys.tcp_mss.given.then_some(keys.tcp_mss.span)),
        ("reverse_path", keys.reverse_path.given.then_some(keys.reverse_path.span)),
        ("router_advertisements", keys.router_advertisements.ok().map(|raw| raw.head)),
    ];
    for (key, span) in of_a_link.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        let message = format!("a loopback is on no link and has no `{key}`");
        cx.push(Diagnostic::error(Code::NotApplicable, span, message).help("it has `addresses` and `vrf`"));
    }
    for address in
        keys.addresses.iter().filter(|address| address.value.0.prefix_len() < address.value.0.max_prefix_len())
    {
        let net = address.value.0;
        let message = format!("{net} would be a subnet, and there is no link with other stations");
        let help = format!("write `\"{}/{}\"`", net.addr(), net.max_prefix_len());
        cx.push(Diagnostic::error(Code::InvalidValue, address.span, message).help(help));
    }
}

/// An interface with the keys that all have; `None` without a name or a link.
fn interface(
    name: &Required<Name>,
    keys: &InterfaceKeys,
    link: Option<(Link, u16)>,
    capture: Option<&At<Capture>>,
    cx: &mut Checker<'_>,
) -> Option<model::Interface> {
    let host = host(keys, capture, cx);
    let mtu = link.as_ref().map(|(_, mtu)| *mtu);
    let router_advertisements = keys.router_advertisements.ok().map(|raw| advertisements::check(keys, raw, mtu, cx));
    let (link, mtu) = link?;
    Some(model::Interface {
        name: name.ok()?.value.clone(),
        link,
        vrf: None,
        mtu,
        addresses: keys.addresses.iter().map(|address| address.value).collect(),
        host,
        announce: keys.announce.value,
        duplicate_detection: keys.duplicate_detection.value,
        reverse_path: keys.reverse_path.value,
        tcp_mss: keys.tcp_mss.value,
        router_advertisements,
    })
}

/// The way to the kernel beside the interface.
fn host(keys: &InterfaceKeys, capture: Option<&At<Capture>>, cx: &mut Checker<'_>) -> Option<model::HostLink> {
    if let (Some(limit), true) = (keys.host_limit.span(), keys.host.is_absent()) {
        let alone = Diagnostic::error(Code::NotApplicable, limit, "`host_limit` is for an interface with `host`");
        cx.push(alone.help("write `host = \"NAME\"`, or leave out `host_limit`"));
    }
    let name = keys.host.ok()?;
    device_name(name, cx);
    if let Some(capture) = capture.filter(|capture| capture.value == Capture::Owned) {
        let message =
            "with `capture = \"owned\"` the kernel has the rest of the device already: there is nothing for `host`";
        let both = Diagnostic::error(Code::Conflict, name.span, message).related(capture.span, "it is asked for here");
        cx.push(both.help("leave out one of them"));
    }
    let limit = keys.host_limit.ok().map_or(DEFAULT_HOST_LIMIT, |limit| limit.to());
    Some(model::HostLink { interface: name.value.clone(), limit })
}
