//! `[[bridge]]`: what it joins.

use std::collections::HashMap;

use super::{Checker, Names};
use crate::config::model::{self, Interface, Link, Mac};
use crate::config::raw::{Bridge, Capture, Raw};
use crate::diagnostic::{Code, Diagnostic, Span};

/// The link and the MTU of each `[[bridge]]`; `members` are the ports and VLANs. `None` if it joins nothing.
pub(super) fn links(raw: &Raw, members: &[Interface], names: &Names, cx: &mut Checker<'_>) -> Vec<Option<(Link, u16)>> {
    let mut taken = HashMap::new();
    raw.bridge.0.iter().map(|bridge| link(bridge, raw, members, names, &mut taken, cx)).collect()
}

fn link(
    bridge: &Bridge,
    raw: &Raw,
    interfaces: &[Interface],
    names: &Names,
    taken: &mut HashMap<usize, Span>,
    cx: &mut Checker<'_>,
) -> Option<(Link, u16)> {
    let mut members = Vec::new();
    for name in bridge.ports.iter() {
        let Some(member) = names.interfaces.resolve(name, cx) else { continue };
        let Some((_, keys)) = raw.linked().nth(member.index).filter(|_| member.index < interfaces_below(raw)) else {
            let message = format!("`{}` is neither a port nor a VLAN", name.0);
            cx.push(Diagnostic::error(Code::InvalidValue, name.span, message).help("members are ports and VLANs"));
            continue;
        };
        if let Some(first) = taken.insert(member.index, name.span) {
            let message = format!("`{}` is a member already", name.0);
            cx.push(Diagnostic::error(Code::Duplicate, name.span, message).related(first, "the first is here"));
            continue;
        }
        let given = [
            ("addresses", keys.addresses.given.then_some(keys.addresses.span)),
            ("host", keys.host.span()),
            ("vrf", keys.vrf.span()),
            ("router_advertisements", keys.router_advertisements.ok().map(|raw| raw.head)),
        ];
        for (key, span) in given.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            let message = format!("`{}` is a member of a bridge and has no `{key}` of its own", name.0);
            let both = Diagnostic::error(Code::Conflict, span, message).related(name.span, "a member here");
            cx.push(both.help(format!("give `{key}` to the bridge")));
        }
        let owned = raw.port.0.get(member.index).and_then(|port| port.capture.ok());
        if let Some(capture) = owned.filter(|capture| capture.value == Capture::Owned) {
            let message = format!("`{}` would hear only what is to its own addresses", name.0);
            let both = Diagnostic::error(Code::Conflict, capture.span, message).related(name.span, "a member here");
            cx.push(both.help("write `capture = \"all\"`"));
        }
        members.push(member);
    }
    if bridge.ports.is_empty() && !cx.broken(bridge.ports.span) {
        let span = if bridge.ports.given { bridge.ports.span } else { bridge.head };
        let nothing = Diagnostic::error(Code::MissingKey, span, "the bridge joins nothing");
        cx.push(nothing.help("name its members: `ports = [\"lan\", \"wan\"]`"));
    }
    let joined = members.iter().filter_map(|member| interfaces.iter().find(|other| other.name == member.name));
    let most = joined.map(|member| member.mtu).min()?;
    let mtu = bridge.ip.mtu.ok().map_or(most, |mtu| mtu.to());
    if let Some(given) = bridge.ip.mtu.ok().filter(|_| mtu > most) {
        let message = format!("a packet of {mtu} bytes does not fit every member: at most {most}");
        cx.push(Diagnostic::error(Code::OutOfRange, given.span, message));
    }
    let link = Link::Bridge {
        members,
        mac_limit: bridge.mac_limit.to(),
        mac_age_s: bridge.mac_age_s.to(),
        flood_limit: bridge.flood_limit.ok().map(|limit| limit.to()),
        stations: stations(bridge, names, cx),
    };
    Some((link, mtu))
}

/// The fixed stations, each behind a member of the bridge.
fn stations(bridge: &Bridge, names: &Names, cx: &mut Checker<'_>) -> Vec<model::Station> {
    let mut places: HashMap<Mac, Span> = HashMap::new();
    let mut stations = Vec::new();
    for station in bridge.stations.iter() {
        let (Some(mac), Some(port)) = (station.mac.ok(), station.port.ok()) else { continue };
        let Some(member) = names.interfaces.resolve(port, cx) else { continue };
        if let Some(first) = places.insert(mac.value, mac.span) {
            let twice = Diagnostic::error(Code::Duplicate, mac.span, "this station has a place already");
            cx.push(twice.related(first, "the first is here"));
        }
        if !bridge.ports.iter().any(|name| name.value == port.value) {
            let message = format!("`{}` is not a member of this bridge", port.0);
            let elsewhere = Diagnostic::error(Code::InvalidValue, port.span, message);
            cx.push(elsewhere.related(bridge.ports.span, "its members are here"));
        }
        stations.push(model::Station { mac: mac.value, member });
    }
    stations
}

/// How many interfaces may be members.
fn interfaces_below(raw: &Raw) -> usize {
    raw.port.0.len() + raw.vlan.0.len()
}
