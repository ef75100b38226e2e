//! What IP does on an interface: the keys that ports and everything else with addresses have in common.

use super::network::Domain;
use super::ports::{device_name, mtu_of};
use super::{Checker, Names, advertisements, bridges, vlans};
use crate::config::model::{self, Link};
use crate::config::raw::{Capture, DuplicateDetection, InterfaceKeys, Loopback, Raw, ReversePath};
use crate::config::scalar::{InterfaceAddress, Name};
use crate::config::segment::SegmentLimit;
use crate::config::slot::{At, List, Optional, Required};
use crate::diagnostic::{Code, Diagnostic};

/// Packets per second and core for the kernel, unless the file says otherwise: some megabytes per second for an operator's
/// session, a routing daemon's full table in a minute, and a few percent of a core for a flood.
const DEFAULT_HOST_LIMIT: u32 = 20_000;

/// What every interface has, on a link or not.
pub(super) struct Addressed<'r> {
    pub(super) name: &'r Required<Name>,
    pub(super) addresses: &'r At<List<InterfaceAddress>>,
    pub(super) vrf: &'r Optional<Name>,
}

impl Raw {
    /// Everything that is an interface, in the order of its numbers: ports first, each with the index of its port; loopbacks last.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = Addressed<'_>> {
        let linked = self.linked().map(|(name, keys)| Addressed { name, addresses: &keys.addresses, vrf: &keys.vrf });
        linked.chain(self.loopback.0.iter().map(|loopback| {
            let Loopback { name, addresses, vrf, .. } = &loopback.value;
            Addressed { name, addresses, vrf }
        }))
    }

    /// Those that are on a link: all but the loopbacks.
    pub(super) fn linked(&self) -> impl Iterator<Item = (&Required<Name>, &InterfaceKeys)> {
        let ports = self.port.0.iter().map(|port| (&port.name, &port.ip));
        let vlans = self.vlan.0.iter().map(|vlan| (&vlan.name, &vlan.ip));
        let bridges = self.bridge.0.iter().map(|bridge| (&bridge.name, &bridge.ip));
        ports.chain(vlans).chain(bridges)
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
    interfaces.extend(raw.loopback.0.iter().filter_map(|loopback| without_link(loopback, cx)));
    // Only of a good file is every interface there, and only of that a place in the list means anything.
    for (interface, domain) in interfaces.iter_mut().zip(domains) {
        interface.vrf = if let Domain::Vrf(vrf) = domain { Some(vrf.clone()) } else { None };
    }
    interfaces
}

/// Nothing is sent there: as long as can be.
const LOOPBACK_MTU: u16 = 65_000;

/// A loopback: addresses without a link, on which there could be others.
fn without_link(raw: &Loopback, cx: &mut Checker<'_>) -> Option<model::Interface> {
    for address in raw.addresses.iter() {
        let net = address.value.0;
        if net.prefix_len() == net.max_prefix_len() {
            continue;
        }
        let message = format!("{net} would be a subnet, and there is no link with other stations");
        let help = format!("write `\"{}/{}\"`", net.addr(), net.max_prefix_len());
        cx.push(Diagnostic::error(Code::InvalidValue, address.span, message).help(help));
    }
    Some(model::Interface {
        name: raw.name.ok()?.value.clone(),
        link: Link::Loopback,
        vrf: None,
        mtu: LOOPBACK_MTU,
        addresses: raw.addresses.iter().map(|address| address.value).collect(),
        host: None,
        announce: false,
        duplicate_detection: DuplicateDetection::Off,
        reverse_path: ReversePath::Off,
        tcp_mss: SegmentLimit::Off,
        router_advertisements: None,
    })
}

/// An interface on a link; `None` without a name or a link.
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
