//! From a specification to a table: connected prefixes, our own addresses and broadcast addresses are derived, routes checked.
//!
//! A pure function. When the prefixes have not changed, the new table shares their tries with the previous one.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    addresses::{Addresses, Kind},
    advertise::Advertise,
    fib4::{self, Fib4},
    fib6::{self, Fib6},
    reverse_path::ReversePath,
    table::{Action, NextHop, Table},
};
use crate::{
    io::MacAddr,
    l2::{
        self, Adjacency, Interface, Link, Presence, StaticNeighbor,
        table::{is_link_local, link_local_of},
    },
    meta::InterfaceId,
};

/// An interface and its addresses.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct InterfaceSpec {
    /// Its index. The untagged side of a port has that of the port.
    pub id: InterfaceId,
    /// Its name.
    pub name: String,
    /// What is below it.
    pub link: Link,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
    /// Its IPv4 addresses, each with the prefix of the link.
    pub v4: Vec<Ipv4Net>,
    /// Its IPv6 addresses, each with the prefix of the link. The link-local address is derived.
    pub v6: Vec<Ipv6Net>,
    /// How it shows itself on the link. A tentative address is listed above as well.
    pub presence: Presence,
    /// What it asks of the sources of packets.
    pub reverse_path: ReversePath,
    /// What it tells hosts that configure themselves (RFC 4861 §6.2); `None` for nothing.
    pub advertise: Option<Advertise>,
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a router; the interface is found by its address unless given. A link-local gateway needs the interface.
    Via {
        /// The router's address.
        gateway: IpAddr,
        /// The interface it is on.
        interface: Option<InterfaceId>,
    },
    /// The destinations themselves are on the link of this interface.
    Link(InterfaceId),
    /// Drop in silence.
    Blackhole,
    /// Drop and tell the sender.
    Unreachable,
}

/// A static route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destinations.
    pub to: IpNet,
    /// Where they are sent.
    pub target: Target,
}

/// All that a [`Table`] is made of.
#[derive(Clone, Default, Debug)]
pub struct Spec {
    /// Ports, in any order.
    pub interfaces: Vec<InterfaceSpec>,
    /// Static routes, in any order.
    pub routes: Vec<Route>,
    /// Static neighbours.
    pub neighbors: Vec<StaticNeighbor>,
    /// Bridges, in any order; their interfaces and members are among the interfaces.
    pub bridges: Vec<l2::Bridge>,
}

/// Why a specification makes no table: always the operator's to correct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The interface is not among the specification's interfaces.
    UnknownInterface(InterfaceId),
    /// The interface is listed twice, or its index is above 4095.
    BadInterface(InterfaceId),
    /// The address is on two interfaces.
    DuplicateAddress(IpAddr),
    /// The address is not one a host can have: multicast, loopback, unspecified, or the network or broadcast address of its prefix.
    BadAddress(IpAddr),
    /// Two routes, or a route and a connected prefix, are for the same destinations.
    DuplicateRoute(IpNet),
    /// The gateway is on no interface's link.
    GatewayNotOnLink {
        /// The route.
        to: IpNet,
        /// Its gateway.
        gateway: IpAddr,
    },
    /// The gateway is not of the route's family, or is one of our own addresses.
    BadGateway {
        /// The route.
        to: IpNet,
        /// Its gateway.
        gateway: IpAddr,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownInterface(interface) => write!(f, "there is no interface {}", interface.0),
            Self::BadInterface(interface) => {
                write!(f, "interface {} is listed twice or its index is above 4095", interface.0)
            }
            Self::DuplicateAddress(address) => write!(f, "the address {address} is on two interfaces"),
            Self::BadAddress(address) => write!(f, "{address} is not an address that an interface can have"),
            Self::DuplicateRoute(to) => write!(f, "there are two routes to {to}"),
            Self::GatewayNotOnLink { to, gateway } => {
                write!(f, "the gateway {gateway} of the route to {to} is on no interface's link")
            }
            Self::BadGateway { to, gateway } => write!(f, "{gateway} cannot be the gateway of the route to {to}"),
        }
    }
}

impl core::error::Error for BuildError {}

impl Table {
    /// Makes a table, sharing with `previous` what has not changed.
    ///
    /// # Errors
    /// The first contradiction found in the specification.
    pub fn build(spec: Spec, previous: Option<&Self>) -> Result<Self, BuildError> {
        let interfaces = link_interfaces(&spec.interfaces)?;
        if let Some(unknown) = spec.neighbors.iter().find(|n| !is_known(&interfaces, n.interface)) {
            return Err(BuildError::UnknownInterface(unknown.interface));
        }
        let own = own_addresses(&spec.interfaces)?;
        let addresses = Addresses::new(&own);
        let mut draft = Draft::new(&interfaces);
        draft.add_own(&spec.interfaces, &own);
        for route in &spec.routes {
            draft.add_route(route, &interfaces, &addresses)?;
        }
        let Draft { hops, v4, v6, on_link, .. } = draft;
        let v4 = sorted(v4, |(net, _)| fib4::key(net)).map_err(|net| BuildError::DuplicateRoute(net.into()))?;
        let v6 = sorted(v6, |(net, _)| fib6::key(net)).map_err(|net| BuildError::DuplicateRoute(net.into()))?;
        let (next_hops, adjacencies): (Vec<_>, Vec<_>) = hops.into_iter().unzip();
        let fib4 = previous.map(|table| &table.fib4).filter(|fib| fib.entries() == v4).cloned();
        let fib6 = previous.map(|table| &table.fib6).filter(|fib| fib.entries() == v6).cloned();
        Ok(Self {
            link: Arc::new(l2::Table::new(interfaces, adjacencies, spec.neighbors).with_bridges(spec.bridges)),
            addresses,
            fib4: fib4.unwrap_or_else(|| Arc::new(Fib4::new(v4))),
            fib6: fib6.unwrap_or_else(|| Arc::new(Fib6::new(v6))),
            next_hops: next_hops.into(),
            on_link: on_link.into(),
            reverse_paths: reverse_paths(&spec.interfaces),
            advertise: advertise_by_interface(&spec.interfaces),
        })
    }
}

/// What each interface asks of sources, by index; nothing when nobody asks.
fn reverse_paths(interfaces: &[InterfaceSpec]) -> Box<[ReversePath]> {
    let asking = || interfaces.iter().filter(|interface| interface.reverse_path != ReversePath::Off);
    let count = asking().map(|interface| interface.id.index() + 1).max().unwrap_or(0);
    let mut by_index = vec![ReversePath::Off; count];
    for interface in asking() {
        by_index[interface.id.index()] = interface.reverse_path;
    }
    by_index.into()
}

/// What each interface advertises, by index.
fn advertise_by_interface(interfaces: &[InterfaceSpec]) -> Box<[Option<Advertise>]> {
    let count = interfaces.iter().map(|interface| interface.id.index() + 1).max().unwrap_or(0);
    let mut advertise = vec![None; count];
    for interface in interfaces {
        advertise[interface.id.index()].clone_from(&interface.advertise);
    }
    advertise.into()
}

/// Interfaces by index; an index in between that is not used is an interface without addresses.
fn link_interfaces(interfaces: &[InterfaceSpec]) -> Result<Vec<Interface>, BuildError> {
    let mut by_index: Vec<Interface> = Vec::new();
    for interface in interfaces {
        let at = interface.id.index();
        if interface.id.index() >= InterfaceId::LIMIT || is_known(&by_index, interface.id) {
            return Err(BuildError::BadInterface(interface.id));
        }
        if by_index.len() <= at {
            by_index.resize(at + 1, Interface::absent());
        }
        by_index[at] = Interface {
            name: interface.name.clone(),
            link: interface.link,
            mac: interface.mac,
            mtu: interface.mtu,
            v4: interface.v4.clone(),
            v6: interface.v6.clone(),
            link_local: link_local_of(interface.mac),
            presence: interface.presence.clone(),
        };
    }
    Ok(by_index)
}

fn is_known(interfaces: &[Interface], interface: InterfaceId) -> bool {
    interfaces.get(interface.index()).is_some_and(|interface| interface.mtu != 0)
}

/// Our unicast addresses first, then broadcast addresses, so that an address that is both counts as ours.
fn own_addresses(interfaces: &[InterfaceSpec]) -> Result<Vec<(IpAddr, Kind, InterfaceId)>, BuildError> {
    let mut own: Vec<(IpAddr, Kind, InterfaceId)> = Vec::new();
    for interface in interfaces {
        for address in nets(interface).map(|net| net.addr()) {
            if !is_possible(address) {
                return Err(BuildError::BadAddress(address));
            }
            if !interface.presence.tentative.contains(&address) {
                own.push((address, Kind::Unicast, interface.id));
            }
        }
    }
    let mut seen: Vec<IpAddr> = interfaces.iter().flat_map(nets).map(|net| net.addr()).collect();
    seen.sort_unstable();
    if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(BuildError::DuplicateAddress(pair[0]));
    }
    for interface in interfaces {
        // A /31 has no broadcast address (RFC 3021), nor has a /32.
        for net in interface.v4.iter().filter(|net| net.prefix_len() < 31) {
            for address in [net.broadcast(), net.network()] {
                if own.iter().any(|(own, ..)| *own == IpAddr::V4(address)) {
                    return Err(BuildError::BadAddress(IpAddr::V4(address)));
                }
            }
        }
    }
    for interface in interfaces {
        for net in interface.v4.iter().filter(|net| net.prefix_len() < 31) {
            for address in [net.broadcast(), net.network()] {
                // Two addresses of one prefix share its broadcast addresses.
                let entry = (IpAddr::V4(address), Kind::Broadcast, interface.id);
                if !own.contains(&entry) {
                    own.push(entry);
                }
            }
        }
    }
    own.push((IpAddr::V4(Ipv4Addr::BROADCAST), Kind::Broadcast, InterfaceId(0)));
    Ok(own)
}

fn nets(interface: &InterfaceSpec) -> impl Iterator<Item = IpNet> + '_ {
    interface.v4.iter().copied().map(IpNet::V4).chain(interface.v6.iter().copied().map(IpNet::V6))
}

fn is_possible(address: IpAddr) -> bool {
    let wrong = match address {
        IpAddr::V4(address) => address.octets()[0] == 0 || address.octets()[0] >= 240,
        IpAddr::V6(address) => is_link_local(address) || address.to_ipv4_mapped().is_some(),
    };
    !wrong && !address.is_multicast() && !address.is_loopback() && !address.is_unspecified()
}

/// A table being made.
struct Draft {
    hops: Vec<(NextHop, Adjacency)>,
    index: HashMap<(NextHop, Adjacency), u32, FixedState>,
    v4: Vec<(Ipv4Net, u32)>,
    v6: Vec<(Ipv6Net, u32)>,
    on_link: Vec<u32>,
}

impl Draft {
    fn new(interfaces: &[Interface]) -> Self {
        let mut draft = Self {
            hops: Vec::new(),
            index: HashMap::default(),
            v4: Vec::new(),
            v6: Vec::new(),
            on_link: Vec::with_capacity(interfaces.len()),
        };
        // Index 0: no route.
        draft.hop(Action::NoRoute, InterfaceId(0), 0, None);
        for (at, interface) in interfaces.iter().enumerate() {
            let on_link = draft.hop(Action::Forward, InterfaceId(at as u16), interface.mtu, None);
            draft.on_link.push(on_link);
        }
        draft
    }

    fn hop(&mut self, action: Action, interface: InterfaceId, mtu: u16, gateway: Option<IpAddr>) -> u32 {
        let hop = (NextHop { action, interface, mtu }, Adjacency { interface, gateway });
        *self.index.entry(hop).or_insert_with(|| {
            self.hops.push(hop);
            self.hops.len() as u32 - 1
        })
    }

    fn push(&mut self, to: IpNet, hop: u32) {
        match to {
            IpNet::V4(net) => self.v4.push((net.trunc(), hop)),
            IpNet::V6(net) => self.v6.push((net.trunc(), hop)),
        }
    }

    fn add_own(&mut self, interfaces: &[InterfaceSpec], own: &[(IpAddr, Kind, InterfaceId)]) {
        for (address, _, interface) in own {
            let local = self.hop(Action::Local, *interface, 0, None);
            self.push(IpNet::from(*address), local);
        }
        for interface in interfaces {
            // Two addresses of one prefix make one connected prefix; a host prefix is the address itself.
            let mut connected: Vec<_> =
                nets(interface).filter(|net| net.prefix_len() < net.max_prefix_len()).map(|net| net.trunc()).collect();
            connected.sort_unstable();
            connected.dedup();
            for net in connected {
                self.push(net, self.on_link[interface.id.index()]);
            }
        }
    }

    fn add_route(&mut self, route: &Route, interfaces: &[Interface], own: &Addresses) -> Result<(), BuildError> {
        let to = route.to.trunc();
        let hop = match route.target {
            Target::Blackhole => self.hop(Action::Blackhole, InterfaceId(0), 0, None),
            Target::Unreachable => self.hop(Action::Unreachable, InterfaceId(0), 0, None),
            Target::Link(interface) if is_known(interfaces, interface) => self.on_link[interface.index()],
            Target::Link(interface) => return Err(BuildError::UnknownInterface(interface)),
            Target::Via { gateway, interface } => {
                let same_family = gateway.is_ipv4() == matches!(to, IpNet::V4(_));
                if !same_family || own.contains(gateway) || gateway.is_multicast() || gateway.is_unspecified() {
                    return Err(BuildError::BadGateway { to, gateway });
                }
                let interface = interface_of(gateway, interface, to, interfaces)?;
                self.hop(Action::Forward, interface, interfaces[interface.index()].mtu, Some(gateway))
            }
        };
        self.push(to, hop);
        Ok(())
    }
}

/// The interface a gateway is on: the one given, or the one with the longest prefix that contains it.
fn interface_of(
    gateway: IpAddr,
    interface: Option<InterfaceId>,
    to: IpNet,
    interfaces: &[Interface],
) -> Result<InterfaceId, BuildError> {
    if let Some(interface) = interface {
        return if is_known(interfaces, interface) {
            Ok(interface)
        } else {
            Err(BuildError::UnknownInterface(interface))
        };
    }
    let prefix = |interface: &Interface| match gateway {
        IpAddr::V4(gateway) => interface.v4.iter().filter(|net| net.contains(&gateway)).map(Ipv4Net::prefix_len).max(),
        IpAddr::V6(gateway) => interface.v6.iter().filter(|net| net.contains(&gateway)).map(Ipv6Net::prefix_len).max(),
    };
    let near = interfaces
        .iter()
        .enumerate()
        .filter_map(|(at, interface)| prefix(interface).map(|len| (len, InterfaceId(at as u16))));
    near.max_by_key(|(len, _)| *len).map(|(_, interface)| interface).ok_or(BuildError::GatewayNotOnLink { to, gateway })
}

/// Sorts as the tries want it; a prefix that is there twice is the error.
fn sorted<N: Copy + PartialEq, K: Ord>(
    mut entries: Vec<(N, u32)>,
    key: impl Fn(&(N, u32)) -> K,
) -> Result<Vec<(N, u32)>, N> {
    entries.sort_unstable_by_key(&key);
    match entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(pair[0].0),
        None => Ok(entries),
    }
}
