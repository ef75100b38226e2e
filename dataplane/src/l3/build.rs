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
    table::{Action, NextHop, Table},
};
use crate::{
    io::MacAddr,
    l2::{
        self, Adjacency, LinkPort, Presence, StaticNeighbor,
        table::{is_link_local, link_local_of},
    },
    meta::PortId,
};

/// A port and its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortAddresses {
    /// Its index.
    pub port: PortId,
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
    /// What it tells hosts that configure themselves (RFC 4861 §6.2); `None` for nothing.
    pub advertise: Option<Advertise>,
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a router; the port is found by its address unless given. A link-local gateway needs the port.
    Via {
        /// The router's address.
        gateway: IpAddr,
        /// The port it is on.
        port: Option<PortId>,
    },
    /// The destinations themselves are on the link of this port.
    Link(PortId),
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
    pub ports: Vec<PortAddresses>,
    /// Static routes, in any order.
    pub routes: Vec<Route>,
    /// Static neighbours.
    pub neighbors: Vec<StaticNeighbor>,
}

/// Why a specification makes no table: always the operator's to correct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The port is not among the specification's ports.
    UnknownPort(PortId),
    /// The port is listed twice, or its index is above 4095.
    BadPort(PortId),
    /// The address is on two ports.
    DuplicateAddress(IpAddr),
    /// The address is not one a host can have: multicast, loopback, unspecified, or the network or broadcast address of its prefix.
    BadAddress(IpAddr),
    /// Two routes, or a route and a connected prefix, are for the same destinations.
    DuplicateRoute(IpNet),
    /// The gateway is on no port's link.
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
            Self::UnknownPort(port) => write!(f, "there is no port {}", port.0),
            Self::BadPort(port) => write!(f, "port {} is listed twice or its index is above 4095", port.0),
            Self::DuplicateAddress(address) => write!(f, "the address {address} is on two ports"),
            Self::BadAddress(address) => write!(f, "{address} is not an address that a port can have"),
            Self::DuplicateRoute(to) => write!(f, "there are two routes to {to}"),
            Self::GatewayNotOnLink { to, gateway } => {
                write!(f, "the gateway {gateway} of the route to {to} is on no port's link")
            }
            Self::BadGateway { to, gateway } => write!(f, "{gateway} cannot be the gateway of the route to {to}"),
        }
    }
}

impl core::error::Error for BuildError {}

const MAX_PORTS: u16 = 4096;

impl Table {
    /// Makes a table, sharing with `previous` what has not changed.
    ///
    /// # Errors
    /// The first contradiction found in the specification.
    pub fn build(spec: Spec, previous: Option<&Self>) -> Result<Self, BuildError> {
        let ports = link_ports(&spec.ports)?;
        if let Some(unknown) = spec.neighbors.iter().find(|n| !is_known(&ports, n.port)) {
            return Err(BuildError::UnknownPort(unknown.port));
        }
        let own = own_addresses(&spec.ports)?;
        let addresses = Addresses::new(&own);
        let mut draft = Draft::new(&ports);
        draft.add_own(&spec.ports, &own);
        for route in &spec.routes {
            draft.add_route(route, &ports, &addresses)?;
        }
        let Draft { hops, v4, v6, on_link, .. } = draft;
        let v4 = sorted(v4, |(net, _)| fib4::key(net)).map_err(|net| BuildError::DuplicateRoute(net.into()))?;
        let v6 = sorted(v6, |(net, _)| fib6::key(net)).map_err(|net| BuildError::DuplicateRoute(net.into()))?;
        let (next_hops, adjacencies): (Vec<_>, Vec<_>) = hops.into_iter().unzip();
        let fib4 = previous.map(|table| &table.fib4).filter(|fib| fib.entries() == v4).cloned();
        let fib6 = previous.map(|table| &table.fib6).filter(|fib| fib.entries() == v6).cloned();
        Ok(Self {
            link: Arc::new(l2::Table::new(ports, adjacencies, spec.neighbors)),
            addresses,
            fib4: fib4.unwrap_or_else(|| Arc::new(Fib4::new(v4))),
            fib6: fib6.unwrap_or_else(|| Arc::new(Fib6::new(v6))),
            next_hops: next_hops.into(),
            on_link: on_link.into(),
            advertise: advertise_by_port(&spec.ports),
        })
    }
}

/// What each port advertises, by index.
fn advertise_by_port(ports: &[PortAddresses]) -> Box<[Option<Advertise>]> {
    let count = ports.iter().map(|port| port.port.index() + 1).max().unwrap_or(0);
    let mut advertise = vec![None; count];
    for port in ports {
        advertise[port.port.index()].clone_from(&port.advertise);
    }
    advertise.into()
}

/// Ports by index; an index in between that is not used is a port without addresses.
fn link_ports(ports: &[PortAddresses]) -> Result<Vec<LinkPort>, BuildError> {
    let mut by_index: Vec<LinkPort> = Vec::new();
    for port in ports {
        let at = port.port.index();
        if port.port.0 >= MAX_PORTS || is_known(&by_index, port.port) {
            return Err(BuildError::BadPort(port.port));
        }
        if by_index.len() <= at {
            by_index.resize(at + 1, LinkPort::absent());
        }
        by_index[at] = LinkPort {
            mac: port.mac,
            mtu: port.mtu,
            v4: port.v4.clone(),
            v6: port.v6.clone(),
            link_local: link_local_of(port.mac),
            presence: port.presence.clone(),
        };
    }
    Ok(by_index)
}

fn is_known(ports: &[LinkPort], port: PortId) -> bool {
    ports.get(port.index()).is_some_and(|port| port.mtu != 0)
}

/// Our unicast addresses first, then broadcast addresses, so that an address that is both counts as ours.
fn own_addresses(ports: &[PortAddresses]) -> Result<Vec<(IpAddr, Kind, PortId)>, BuildError> {
    let mut own: Vec<(IpAddr, Kind, PortId)> = Vec::new();
    for port in ports {
        for address in nets(port).map(|net| net.addr()) {
            if !is_possible(address) {
                return Err(BuildError::BadAddress(address));
            }
            if !port.presence.tentative.contains(&address) {
                own.push((address, Kind::Unicast, port.port));
            }
        }
    }
    let mut seen: Vec<IpAddr> = ports.iter().flat_map(nets).map(|net| net.addr()).collect();
    seen.sort_unstable();
    if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(BuildError::DuplicateAddress(pair[0]));
    }
    for port in ports {
        // A /31 has no broadcast address (RFC 3021), nor has a /32.
        for net in port.v4.iter().filter(|net| net.prefix_len() < 31) {
            for address in [net.broadcast(), net.network()] {
                if own.iter().any(|(own, ..)| *own == IpAddr::V4(address)) {
                    return Err(BuildError::BadAddress(IpAddr::V4(address)));
                }
            }
        }
    }
    for port in ports {
        for net in port.v4.iter().filter(|net| net.prefix_len() < 31) {
            for address in [net.broadcast(), net.network()] {
                // Two addresses of one prefix share its broadcast addresses.
                let entry = (IpAddr::V4(address), Kind::Broadcast, port.port);
                if !own.contains(&entry) {
                    own.push(entry);
                }
            }
        }
    }
    own.push((IpAddr::V4(Ipv4Addr::BROADCAST), Kind::Broadcast, PortId(0)));
    Ok(own)
}

fn nets(port: &PortAddresses) -> impl Iterator<Item = IpNet> + '_ {
    port.v4.iter().copied().map(IpNet::V4).chain(port.v6.iter().copied().map(IpNet::V6))
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
    fn new(ports: &[LinkPort]) -> Self {
        let mut draft = Self {
            hops: Vec::new(),
            index: HashMap::default(),
            v4: Vec::new(),
            v6: Vec::new(),
            on_link: Vec::with_capacity(ports.len()),
        };
        // Index 0: no route.
        draft.hop(Action::NoRoute, PortId(0), 0, None);
        for (at, port) in ports.iter().enumerate() {
            let on_link = draft.hop(Action::Forward, PortId(at as u16), port.mtu, None);
            draft.on_link.push(on_link);
        }
        draft
    }

    fn hop(&mut self, action: Action, port: PortId, mtu: u16, gateway: Option<IpAddr>) -> u32 {
        let hop = (NextHop { action, port, mtu }, Adjacency { port, gateway });
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

    fn add_own(&mut self, ports: &[PortAddresses], own: &[(IpAddr, Kind, PortId)]) {
        for (address, _, port) in own {
            let local = self.hop(Action::Local, *port, 0, None);
            self.push(IpNet::from(*address), local);
        }
        for port in ports {
            // Two addresses of one prefix make one connected prefix; a host prefix is the address itself.
            let mut connected: Vec<_> =
                nets(port).filter(|net| net.prefix_len() < net.max_prefix_len()).map(|net| net.trunc()).collect();
            connected.sort_unstable();
            connected.dedup();
            for net in connected {
                self.push(net, self.on_link[port.port.index()]);
            }
        }
    }

    fn add_route(&mut self, route: &Route, ports: &[LinkPort], own: &Addresses) -> Result<(), BuildError> {
        let to = route.to.trunc();
        let hop = match route.target {
            Target::Blackhole => self.hop(Action::Blackhole, PortId(0), 0, None),
            Target::Unreachable => self.hop(Action::Unreachable, PortId(0), 0, None),
            Target::Link(port) if is_known(ports, port) => self.on_link[port.index()],
            Target::Link(port) => return Err(BuildError::UnknownPort(port)),
            Target::Via { gateway, port } => {
                let same_family = gateway.is_ipv4() == matches!(to, IpNet::V4(_));
                if !same_family || own.contains(gateway) || gateway.is_multicast() || gateway.is_unspecified() {
                    return Err(BuildError::BadGateway { to, gateway });
                }
                let port = port_of(gateway, port, to, ports)?;
                self.hop(Action::Forward, port, ports[port.index()].mtu, Some(gateway))
            }
        };
        self.push(to, hop);
        Ok(())
    }
}

/// The port a gateway is on: the one given, or the one with the longest prefix that contains it.
fn port_of(gateway: IpAddr, port: Option<PortId>, to: IpNet, ports: &[LinkPort]) -> Result<PortId, BuildError> {
    if let Some(port) = port {
        return if is_known(ports, port) { Ok(port) } else { Err(BuildError::UnknownPort(port)) };
    }
    let prefix = |port: &LinkPort| match gateway {
        IpAddr::V4(gateway) => port.v4.iter().filter(|net| net.contains(&gateway)).map(Ipv4Net::prefix_len).max(),
        IpAddr::V6(gateway) => port.v6.iter().filter(|net| net.contains(&gateway)).map(Ipv6Net::prefix_len).max(),
    };
    let near = ports.iter().enumerate().filter_map(|(at, port)| prefix(port).map(|len| (len, PortId(at as u16))));
    near.max_by_key(|(len, _)| *len).map(|(_, port)| port).ok_or(BuildError::GatewayNotOnLink { to, gateway })
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
