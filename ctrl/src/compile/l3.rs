//! Interfaces and their addresses, routes and neighbours.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;
use tidegate_dataplane::io::{MacAddr, PortInfo};
use tidegate_dataplane::l2::{self, Bounds, Presence, StaticNeighbor, Tags, tag};
use tidegate_dataplane::l3::{
    self, Advertise, Hop, IcmpLimits, InterfaceSpec, Learnt, LearntTarget, Match, PolicySpec, Prefix, Route, Shared,
    Spec, Table, Target, Then, VrfId, VrfSpec,
};
use tidegate_dataplane::meta::{InterfaceId, PortId};

use super::Inputs;
use crate::config::Config;
use crate::config::model::{
    self, DuplicateDetection, Link, Name, PolicyAction, Reference, RouteTarget, RouterAdvertisements, TagProtocol,
};
use crate::kernel::{self, NextHop, ObjectChange, RouteChange, Way};

/// Whether both make the same table.
pub(super) fn same(a: &Inputs, b: &Inputs) -> bool {
    a.ports == b.ports
        && a.config.interfaces == b.config.interfaces
        && a.tentative == b.tentative
        && a.config.vrfs == b.config.vrfs
        && a.config.routes == b.config.routes
        && a.config.policies == b.config.policies
        && a.config.kernel_routes.override_static == b.config.kernel_routes.override_static
        && a.config.neighbors == b.config.neighbors
        && a.config.icmp == b.config.icmp
        && a.config.neighbor_table == b.config.neighbor_table
}

/// What the configuration says.
pub(super) fn spec(inputs: &Inputs, previous: Option<&Table>) -> Spec {
    let config = &inputs.config;
    let ids = ids(&config.interfaces, previous);
    let interfaces = config.interfaces.iter().enumerate().map(|(at, item)| interface(inputs, ids[at], item));
    let interfaces: Vec<_> = interfaces.collect();
    let routes = |vrf: Option<usize>| {
        let inside = config.routes.iter().filter(move |route| route.vrf.as_ref().map(|vrf| vrf.index) == vrf);
        inside.map(|route| Route { to: route.to, target: target(&route.target, &ids) }).collect()
    };
    let vrf = |at: usize| {
        let inside = |interface: &model::Interface| interface.vrf.as_ref().is_some_and(|vrf| vrf.index == at);
        let members = config.interfaces.iter().zip(&ids).filter(|(interface, _)| inside(interface));
        VrfSpec {
            name: config.vrfs[at].0.clone(),
            interfaces: members.map(|(_, id)| *id).collect(),
            routes: routes(Some(at)),
        }
    };
    let neighbors = config.neighbors.iter().map(|neighbor| StaticNeighbor {
        interface: ids[neighbor.interface.index],
        address: neighbor.address,
        mac: MacAddr(neighbor.mac.0),
    });
    Spec {
        interfaces,
        routes: routes(None),
        neighbors: neighbors.collect(),
        bridges: bridges(config, &ids),
        icmp: IcmpLimits {
            errors: config.icmp.errors_per_second,
            errors_at_once: config.icmp.errors_at_once,
            replies: config.icmp.replies_per_second,
        },
        neighbor_bounds: Bounds {
            entries: config.neighbor_table.entries as usize,
            questions: config.neighbor_table.questions_per_second,
        },
        learnt_wins: config.kernel_routes.override_static,
        vrfs: (0..config.vrfs.len()).map(vrf).collect(),
        policies: config.policies.iter().map(|rule| policy(rule, &ids)).collect(),
    }
}

/// The numbers of interfaces. A port's untagged side has that of the port; what the previous table knows by its name keeps its number,
/// so that its neighbours stay known when others come and go; what is new gets one that the previous table does not use.
fn ids(interfaces: &[model::Interface], previous: Option<&Table>) -> Vec<InterfaceId> {
    let known = previous.map(|table| table.link().interfaces()).unwrap_or_default();
    let numbered = known.iter().enumerate().map(|(at, interface)| (interface.name.as_str(), at));
    let numbers: HashMap<&str, usize> = numbered.filter(|(name, _)| !name.is_empty()).collect();
    let ports = interfaces.iter().filter(|interface| interface.link == Link::Port).count();
    let mut free = (ports..).filter(|at| known.get(*at).is_none_or(|interface| interface.name.is_empty()));
    let mut number = |(at, interface): (usize, &model::Interface)| match interface.link {
        Link::Port => id(at),
        Link::Vlan { .. } | Link::Bridge { .. } | Link::Loopback => {
            let had = numbers.get(interface.name.0.as_str()).copied();
            id(had.or_else(|| free.next()).unwrap_or(usize::MAX))
        }
    };
    interfaces.iter().enumerate().map(&mut number).collect()
}

/// An interface of the file, by its number.
fn interface(inputs: &Inputs, id: InterfaceId, interface: &model::Interface) -> InterfaceSpec {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in &interface.addresses {
        match address.0 {
            IpNet::V4(net) => v4.push(net),
            IpNet::V6(net) => v6.push(net),
        }
    }
    let tentative = inputs.tentative.addresses.iter().filter(|(name, _)| *name == interface.name);
    let presence = Presence {
        announce: interface.announce,
        probe: interface.duplicate_detection != DuplicateDetection::Off,
        tentative: tentative.map(|(_, address)| *address).collect(),
        attempt: inputs.tentative.attempt,
    };
    let (link, mac, mtu) = match &interface.link {
        Link::Port => {
            let port = &inputs.ports[id.index()];
            (l2::Link::of(PortId(id.0)), port.mac, port.mtu)
        }
        Link::Vlan { port, protocol, outer, id } => {
            let kind = match protocol {
                TagProtocol::Customer => tag::CUSTOMER,
                TagProtocol::Service => tag::SERVICE,
            };
            let tags = outer.map_or(Tags::one(kind, *id), |outer| Tags::two(kind, outer, *id));
            let link = l2::Link::Port { port: PortId(self::id(port.index).0), tags };
            (link, inputs.ports[port.index].mac, interface.mtu)
        }
        Link::Loopback => (l2::Link::None, MacAddr::default(), interface.mtu),
        Link::Bridge { .. } => (l2::Link::Bridge, mac(&inputs.config, &inputs.ports, interface), interface.mtu),
    };
    InterfaceSpec {
        id,
        name: interface.name.0.clone(),
        link,
        mac,
        mtu,
        v4,
        v6,
        presence,
        reverse_path: match interface.reverse_path {
            model::ReversePath::Off => l3::ReversePath::Off,
            model::ReversePath::Loose => l3::ReversePath::Loose,
            model::ReversePath::Strict => l3::ReversePath::Strict,
        },
        segments: match interface.tcp_mss {
            model::SegmentLimit::Off => l3::SegmentLimit::Off,
            model::SegmentLimit::Bytes(bytes) => l3::SegmentLimit::Bytes(bytes),
            model::SegmentLimit::PathMtu => l3::SegmentLimit::PathMtu,
        },
        advertise: interface.router_advertisements.as_ref().map(advertise),
    }
}

/// The hardware address of an interface: its port's, for a bridge that of its first member.
pub(super) fn mac(config: &Config, ports: &[PortInfo], interface: &model::Interface) -> MacAddr {
    let below = |name: &Name| config.interfaces.iter().find(|other| other.name == *name);
    let port = match &interface.link {
        Link::Port => Some(&interface.name),
        Link::Loopback => None,
        Link::Vlan { port, .. } => Some(&port.name),
        Link::Bridge { members, .. } => {
            members.first().and_then(|member| below(&member.name)).map(|member| match &member.link {
                Link::Vlan { port, .. } => &port.name,
                Link::Port | Link::Bridge { .. } | Link::Loopback => &member.name,
            })
        }
    };
    let at = port.and_then(|name| config.ports.iter().position(|port| port.name == *name));
    at.and_then(|at| ports.get(at)).map_or(MacAddr::default(), |info| info.mac)
}

fn bridges(config: &Config, ids: &[InterfaceId]) -> Vec<l2::Bridge> {
    let bridge = |(at, interface): (usize, &model::Interface)| {
        let Link::Bridge { members, mac_limit, mac_age_s, flood_limit, stations } = &interface.link else {
            return None;
        };
        Some(l2::Bridge {
            interface: ids[at],
            members: members.iter().map(|member| ids[member.index]).collect(),
            mac_limit: *mac_limit,
            mac_age: Duration::from_secs(u64::from(*mac_age_s)),
            flood_limit: *flood_limit,
            fixed: stations.iter().map(|station| (MacAddr(station.mac.0), ids[station.member.index])).collect(),
        })
    };
    config.interfaces.iter().enumerate().filter_map(bridge).collect()
}

fn target(target: &RouteTarget, ids: &[InterfaceId]) -> Target {
    match target {
        RouteTarget::NextHops(hops) => {
            let id = |hop: &model::NextHop| ids[hop.interface.index];
            match &hops[..] {
                // Without a list, which a million routes would have each.
                [hop] => hop
                    .via
                    .map_or_else(|| Target::Link(id(hop)), |gateway| Target::Via { gateway, interface: Some(id(hop)) }),
                hops => {
                    let hop =
                        |hop: &model::NextHop| Hop { gateway: hop.via, interface: Some(id(hop)), weight: hop.weight };
                    Target::Spread(hops.iter().map(hop).collect())
                }
            }
        }
        RouteTarget::Prohibit => Target::Prohibit,
        RouteTarget::Blackhole => Target::Blackhole,
        RouteTarget::Unreachable => Target::Unreachable,
    }
}

fn policy(rule: &model::Policy, ids: &[InterfaceId]) -> PolicySpec {
    let domain = |vrf: &Option<Reference>| vrf.as_ref().map_or(VrfId::MAIN, |vrf| VrfId(vrf.index as u16 + 1));
    PolicySpec {
        name: rule.name.0.clone(),
        vrf: domain(&rule.vrf),
        own: rule.own,
        matches: Match {
            incoming: rule.incoming.iter().map(|interface| ids[interface.index]).collect(),
            from: rule.from.clone(),
            to: rule.to.clone(),
            protocols: rule.protocols.iter().map(|protocol| protocol.0).collect(),
            source_ports: rule.source_ports.iter().map(|range| range.0.clone()).collect(),
            destination_ports: rule.destination_ports.iter().map(|range| range.0.clone()).collect(),
            dscp: rule.dscp.iter().map(|dscp| dscp.0).collect(),
        },
        then: match &rule.action {
            PolicyAction::Lookup(vrf) => Then::Lookup(domain(vrf)),
            PolicyAction::Target(to) => Then::Target(target(to, ids)),
        },
    }
}

/// A learnt route's change, in the data plane's words.
pub fn learnt(change: &RouteChange) -> Learnt {
    let target = change.target.as_ref().map(|target| match target {
        kernel::Target::Own(way) => self::way(way).into(),
        kernel::Target::Object(id) => LearntTarget::Shared(*id),
    });
    Learnt { vrf: VrfId(change.vrf), to: change.to, target }
}

/// The change of an object that learnt routes lead to.
pub fn shared(change: &ObjectChange) -> Shared {
    Shared { name: change.id, target: change.way.as_ref().map(way) }
}

fn way(way: &Way) -> Target {
    let hop = |hop: &NextHop| Hop { gateway: hop.gateway, interface: Some(id(hop.port)), weight: hop.weight };
    match way {
        Way::Hops(hops) => Target::Spread(hops.iter().map(hop).collect()),
        Way::Blackhole => Target::Blackhole,
        Way::Unreachable => Target::Unreachable,
        Way::Prohibit => Target::Prohibit,
    }
}

fn advertise(config: &RouterAdvertisements) -> Advertise {
    let prefixes = config.prefixes.iter().map(|said| Prefix {
        net: said.prefix,
        on_link: said.on_link,
        autonomous: said.autonomous,
        valid_lifetime_s: said.valid_lifetime_s,
        preferred_lifetime_s: said.preferred_lifetime_s,
    });
    Advertise {
        interval: Duration::from_secs(config.interval_s.into()),
        least_interval: Duration::from_millis(config.least_interval_ms.into()),
        lifetime_s: config.lifetime_s,
        managed: config.managed,
        other: config.other_configuration,
        hop_limit: config.hop_limit,
        reachable_ms: config.reachable_ms,
        retransmit_ms: config.retransmit_ms,
        mtu: config.mtu,
        prefixes: prefixes.collect(),
        dns: config.dns.clone(),
    }
}

/// The number at a place of the list.
pub(super) fn id(index: usize) -> InterfaceId {
    // More than 65535 interfaces are refused by the check.
    InterfaceId(u16::try_from(index).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;

    use ipnet::IpNet;
    use proptest::prelude::*;
    use tidegate_dataplane::l3::{Action, BuildError, Builder};
    use tidegate_dataplane::l7::tls::{TicketKeys, wall_clock};
    use tidegate_dataplane::tables::Phase;

    use super::*;
    use crate::config::{Surroundings, check};
    use crate::diagnostic::Source;

    /// What is made of a file with two ports; `None` if the check refuses it.
    fn built(text: String) -> Option<Result<Builder, BuildError>> {
        let surroundings =
            Surroundings { directory: Path::new("."), files: None, now: SystemTime::UNIX_EPOCH, dpdk: false };
        let checked = check(Source::new("test", text), &surroundings);
        let info = PortInfo {
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            queues: 1,
            capabilities: Default::default(),
            driver: "memory".into(),
        };
        let inputs = Inputs {
            config: Arc::new(checked.config?),
            certs: Arc::default(),
            ports: [info.clone(), info].into(),
            tickets: Arc::new(TicketKeys::generate().unwrap()),
            tentative: Arc::default(),
            clock: wall_clock(),
            phase: Phase::Serve,
        };
        let mut builder = Builder::default();
        Some(builder.configure(spec(&inputs, None)).map(|()| builder))
    }

    /// The table of a router with two ports and a route of its own, which has learnt `learnt`.
    fn table(more: &str, learnt: &[(&str, Way)]) -> Table {
        let text = format!(
            "{more}\n[[port]]\nname = \"a\"\ndriver = \"memory\"\naddresses = [\"10.0.1.1/24\", \"fd00:1::1/64\"]\nhost = \"h0\"\n\
             [[port]]\nname = \"b\"\ndriver = \"memory\"\naddresses = [\"10.0.2.1/24\"]\nhost = \"h1\"\n\
             [[route]]\nto = \"10.9.0.0/16\"\nvia = \"10.0.1.9\"\n"
        );
        let change = |(to, way): &(&str, Way)| RouteChange {
            vrf: 0,
            to: to.parse().unwrap(),
            target: Some(kernel::Target::Own(way.clone())),
        };
        let changes: Vec<_> = learnt.iter().map(|one| super::learnt(&change(one))).collect();
        let mut builder = built(text).expect("a good file").expect("a table");
        builder.learn(&changes);
        builder.table()
    }

    /// Addresses that are something special, or near it.
    fn odd() -> impl Strategy<Value = IpAddr> {
        let v4 = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.1.0",
            "10.0.1.1",
            "10.0.1.2",
            "10.0.1.255",
            "10.0.2.9",
            "127.0.0.1",
            "169.254.1.1",
            "223.255.255.255",
            "224.0.0.5",
            "240.0.0.1",
            "255.255.255.255",
        ];
        let v6 =
            ["::", "::1", "::ffff:10.0.1.9", "fd00:1::", "fd00:1::1", "fd00:1::9", "fe80::1", "ff02::1", "2001:db8::1"];
        prop::sample::select([&v4[..], &v6[..]].concat()).prop_map(|text| text.parse().unwrap())
    }

    fn odd_net() -> impl Strategy<Value = IpNet> {
        (odd(), 0u8..=128)
            .prop_map(|(address, len)| IpNet::new_assert(address, len % if address.is_ipv4() { 33 } else { 129 }))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        /// What the check lets pass makes a table: else the operator would hear of it without a place.
        #[test]
        fn a_good_file_makes_a_table(
            own in prop::option::of(odd_net()),
            to in odd_net(),
            via in odd(),
            by in prop::option::of(prop::sample::select(vec!["a", "b"])),
            neighbor in odd(),
            is_rule in any::<bool>(),
        ) {
            let own = own.map_or_else(String::new, |own| format!(", \"{own}\""));
            let by = by.map_or_else(String::new, |by| format!("interface = \"{by}\"\n"));
            let to = to.trunc();
            let way = if is_rule { "policy" } else { "route" };
            let name = if is_rule { "name = \"p\"\n" } else { "" };
            let ports = format!(
                "[[port]]\nname = \"a\"\ndriver = \"memory\"\naddresses = [\"10.0.1.1/24\", \"fd00:1::1/64\"{own}]\n\
                 [[port]]\nname = \"b\"\ndriver = \"memory\"\naddresses = [\"10.0.2.1/24\"]\n"
            );
            let way = format!("[[{way}]]\n{name}to = \"{to}\"\nvia = \"{via}\"\n{by}");
            let neighbor = format!("[[neighbor]]\ninterface = \"a\"\naddress = \"{neighbor}\"\nmac = \"02:00:00:00:00:09\"\n");
            for text in [format!("{ports}{way}"), format!("{ports}{neighbor}")] {
                if let Some(Err(error)) = built(text.clone()) {
                    prop_assert!(false, "{error}\n{text}");
                }
            }
        }
    }

    fn by(hops: &[(usize, Option<&str>, u16)]) -> Way {
        let hop = |(port, gateway, weight): &(usize, Option<&str>, u16)| NextHop {
            port: *port,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            weight: *weight,
        };
        Way::Hops(hops.iter().map(hop).collect())
    }

    /// What a packet to `to` meets: an action, a port, a gateway.
    fn lookup(table: &Table, to: &str) -> (Action, usize, Option<IpAddr>) {
        let index = match to.parse().unwrap() {
            IpAddr::V4(to) => table.lookup_v4(to),
            IpAddr::V6(to) => table.lookup_v6(to),
        };
        let hop = table.next_hop(index);
        (hop.action, hop.interface.index(), table.link().adjacencies()[index as usize].gateway)
    }

    fn gateway(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn learnt_routes_are_routes() {
        let table = table(
            "",
            &[
                ("10.77.0.0/16", by(&[(1, Some("10.0.2.9"), 1)])),
                ("10.78.0.0/16", by(&[(0, Some("10.0.1.7"), 1), (1, Some("10.0.2.9"), 3)])),
                ("10.79.0.0/16", by(&[(1, None, 1)])),
                ("10.80.0.0/16", Way::Blackhole),
                ("10.81.0.0/16", Way::Unreachable),
                ("10.82.0.0/16", Way::Prohibit),
                ("fd77::/32", by(&[(0, Some("fe80::9"), 1)])),
                ("10.83.0.0/16", by(&[(0, Some("fe80::9"), 1)])),
            ],
        );
        assert_eq!(lookup(&table, "10.77.1.1"), (Action::Forward, 1, gateway("10.0.2.9")));
        let (Action::Spread(group), ..) = lookup(&table, "10.78.1.1") else { panic!("two ways") };
        let group = table.group(group).unwrap();
        let shares: Vec<_> =
            group.members().iter().map(|member| (member.weight, group.share(member.next_hop))).collect();
        assert!(shares.iter().all(|(weight, share)| share.abs_diff(usize::from(*weight) * 512) < 60), "{shares:?}");
        assert_eq!(lookup(&table, "10.79.1.1"), (Action::Forward, 1, None));
        assert_eq!(lookup(&table, "10.80.1.1").0, Action::Blackhole);
        assert_eq!(lookup(&table, "10.81.1.1").0, Action::Unreachable);
        assert_eq!(lookup(&table, "10.82.1.1").0, Action::Prohibit);
        assert_eq!(lookup(&table, "fd77::1"), (Action::Forward, 0, gateway("fe80::9")));
        assert_eq!(lookup(&table, "10.83.1.1"), (Action::Forward, 0, gateway("fe80::9")), "RFC 8950");
    }

    #[test]
    fn the_file_wins_unless_it_says_otherwise() {
        let learnt = [("10.9.0.0/16", by(&[(1, Some("10.0.2.9"), 1)]))];
        let given = table("", &learnt);
        assert_eq!(lookup(&given, "10.9.1.1").2, gateway("10.0.1.9"));
        let told = table("[kernel_routes]\noverride_static = true", &learnt);
        assert_eq!(lookup(&told, "10.9.1.1").2, gateway("10.0.2.9"));
    }

    #[test]
    fn what_would_contradict_the_ports_is_left_out() {
        let elsewhere = by(&[(1, Some("10.0.2.9"), 1)]);
        let own = ["10.0.1.0/24", "10.0.1.1/32", "10.0.1.255/32", "10.0.1.0/32", "255.255.255.255/32"];
        let mut learnt: Vec<_> = own.iter().map(|to| (*to, elsewhere.clone())).collect();
        let wrong = ["10.0.1.1", "224.0.0.9", "0.0.0.0", "ff02::9"];
        let bad: Vec<String> = (0..wrong.len()).map(|at| format!("10.9{at}.0.0/16")).collect();
        learnt.extend(bad.iter().zip(wrong).map(|(to, gateway)| (&**to, by(&[(0, Some(gateway), 1)]))));
        learnt.push(("10.99.0.0/16", by(&[(0, Some("10.0.1.1"), 9), (1, Some("10.0.2.9"), 1)])));
        let table = table("", &learnt);
        assert_eq!(lookup(&table, "10.0.1.7"), (Action::Forward, 0, None));
        assert_eq!(lookup(&table, "10.0.1.1").0, Action::Local);
        assert_eq!(lookup(&table, "10.0.1.255").0, Action::Local);
        for (at, gateway) in wrong.iter().enumerate() {
            assert_eq!(lookup(&table, &format!("10.9{at}.1.1")).0, Action::NoRoute, "{gateway}");
        }
        assert_eq!(lookup(&table, "10.99.1.1").2, gateway("10.0.2.9"), "one of its hops can be used");
    }
}
