//! What the configuration says about links: our own addresses, the next hops that routes use, static neighbours.

mod ours; // which addresses are

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Bounds, HEADER, Presence, Tags, Watched, header::retag, tag::Vlans};
use crate::{
    frame::Frame,
    io::MacAddr,
    meta::{InterfaceId, Meta, PortId, VrfId},
    sync::pulse::Changes,
    verdict::{DropReason, Verdict},
};

/// What is below an interface.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Link {
    /// Nothing: packets sent there are lost.
    #[default]
    None,
    /// The frames of a port that have these tags.
    Port {
        /// The port.
        port: PortId,
        /// The tags.
        tags: Tags,
    },
    /// The members of a bridge: see [`Bridge`].
    Bridge,
}

impl Link {
    /// The frames of a port without a tag.
    pub const fn of(port: PortId) -> Self {
        Self::Port { port, tags: Tags::NONE }
    }

    /// The tags of its frames.
    pub const fn tags(&self) -> Tags {
        match self {
            Self::Port { tags, .. } => *tags,
            Self::None | Self::Bridge => Tags::NONE,
        }
    }
}

/// One interface as a station on its link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name in the configuration; empty where there is none of this index.
    pub name: String,
    /// What is below it.
    pub link: Link,
    /// Our hardware address.
    pub mac: MacAddr,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
    /// Our IPv4 addresses, tentative ones among them, with the prefixes that are on the link.
    pub v4: Vec<Ipv4Net>,
    /// Our IPv6 addresses, tentative ones among them, with the prefixes that are on the link, without the link-local one.
    pub v6: Vec<Ipv6Net>,
    /// Our link-local address (RFC 4291 §2.5.6), made from the hardware address.
    pub link_local: Ipv6Addr,
    /// How we show ourselves on the link.
    pub presence: Presence,
}

impl Interface {
    /// An interface that has no address at all: what an unknown [`InterfaceId`] stands for.
    pub(crate) const fn absent() -> Self {
        Self {
            name: String::new(),
            link: Link::None,
            mac: MacAddr([0; 6]),
            mtu: 0,
            v4: Vec::new(),
            v6: Vec::new(),
            link_local: Ipv6Addr::UNSPECIFIED,
            presence: Presence { announce: false, probe: false, tentative: Vec::new(), attempt: 0 },
        }
    }

    /// Whether it has counters of its own: a port's untagged side has those of the port.
    pub fn has_counters(&self) -> bool {
        self.link == Link::Bridge || self.link.tags() != Tags::NONE
    }

    /// Where its frames go.
    pub(super) const fn exit(&self) -> Verdict {
        match self.link {
            Link::Port { port, .. } => Verdict::Transmit(port),
            Link::Bridge => Verdict::Bridge,
            Link::None => Verdict::Drop(DropReason::TxError),
        }
    }

    /// Sends a frame whose addresses are in place out of this interface, with its tags instead of those it has.
    pub(crate) fn send_framed(&self, frame: &mut Frame, meta: &mut Meta) -> Verdict {
        let tags = self.link.tags();
        let as_they_are = tags == Tags::NONE && usize::from(meta.l3) == HEADER;
        if !as_they_are && !retag(frame, meta, &tags) {
            return Verdict::Drop(DropReason::TooLong);
        }
        self.exit()
    }

    /// Whether `address` is the solicited-node multicast group of one of our addresses.
    pub fn in_solicited_group(&self, address: Ipv6Addr) -> bool {
        self.solicited_groups().any(|group| group == address)
    }

    /// The solicited-node multicast groups (RFC 4291 §2.7.1) of our addresses, anycast ones among them (§2.8).
    pub fn solicited_groups(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        let v6 = self.v6.iter().flat_map(|net| [Some(net.addr()), subnet_router(net)]);
        core::iter::once(self.link_local).chain(v6.flatten()).map(solicited_node)
    }

    /// Whether `address` lies in a prefix of this link.
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.iter().any(|net| net.contains(&address)),
            IpAddr::V6(address) => is_link_local(address) || self.v6.iter().any(|net| net.contains(&address)),
        }
    }

    /// The address from which to speak to `peer` on this link: one that shares a prefix with it, else the first of its family.
    pub fn source_for(&self, peer: IpAddr) -> Option<IpAddr> {
        match peer {
            IpAddr::V4(peer) => self.source_v4(peer).map(IpAddr::V4),
            IpAddr::V6(peer) => self.source_v6(peer).map(IpAddr::V6),
        }
    }

    /// [`Self::source_for`] for IPv4.
    pub fn source_v4(&self, peer: Ipv4Addr) -> Option<Ipv4Addr> {
        let usable = || self.v4.iter().filter(|net| !self.is_tentative(IpAddr::V4(net.addr())));
        usable().find(|net| net.contains(&peer)).or_else(|| usable().next()).map(Ipv4Net::addr)
    }

    /// [`Self::source_for`] for IPv6: the link-local address for a link-local peer (RFC 6724 §5 rule 2), else a global one.
    pub fn source_v6(&self, peer: Ipv6Addr) -> Option<Ipv6Addr> {
        if is_link_local(peer) {
            return (!self.link_local.is_unspecified()).then_some(self.link_local);
        }
        let usable = || self.v6.iter().filter(|net| !self.is_tentative(IpAddr::V6(net.addr())));
        usable().find(|net| net.contains(&peer)).or_else(|| usable().next()).map(Ipv6Net::addr)
    }
}

/// Whether `address` is in fe80::/10.
#[inline]
pub const fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// The link-local address made from a hardware address (RFC 4291 appendix A, modified EUI-64).
pub const fn link_local_of(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The address that every router has in a prefix (RFC 4291 §2.6.1). Between two routers there is none (RFC 6164 §5), nor has an
/// address without a link one.
pub fn subnet_router(net: &Ipv6Net) -> Option<Ipv6Addr> {
    (net.prefix_len() < 127).then(|| net.network())
}

/// The solicited-node multicast group of an address (RFC 4291 §2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let octets = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, octets[13], octets[14], octets[15]])
}

/// A next hop as the link sees it. The index of an adjacency is the index of its next hop in `l3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Adjacency {
    /// The interface that leads there.
    pub interface: InterfaceId,
    /// The router to send to; `None` when the destination itself is on the link.
    pub gateway: Option<IpAddr>,
}

/// A neighbour whose hardware address the operator gave: never asked for, never aged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticNeighbor {
    /// The interface it is on.
    pub interface: InterfaceId,
    /// Its IP address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: MacAddr,
}

/// A bridge: what it joins, and within which limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// Its own interface.
    pub interface: InterfaceId,
    /// What it joins; an interface is a member of one bridge at most.
    pub members: Vec<InterfaceId>,
    /// Stations it learns.
    pub mac_limit: u32,
    /// How long it remembers one that is silent.
    pub mac_age: Duration,
    /// Frames per second that a core floods; `None` for no limit.
    pub flood_limit: Option<u32>,
    /// Stations that are known without being learnt, each behind its member, and that are there whatever frames say.
    pub fixed: Vec<(MacAddr, InterfaceId)>,
}

/// The links of one generation. Immutable; made by `l3::Table::build`.
#[derive(Clone, Debug)]
pub struct Table {
    interfaces: Box<[Interface]>,
    adjacencies: Box<[Adjacency]>,
    neighbors: Box<[StaticNeighbor]>,
    bounds: Bounds,
    /// The routing domain of each interface.
    domains: Box<[VrfId]>,
    /// By port.
    vlans: Box<[Vlans]>,
    no_vlans: Vlans,
    bridges: Box<[Bridge]>,
    /// By interface: the bridge of which it is a member, as an index.
    bridge_of: Box<[Option<u16>]>,
    /// Gateways that share traffic, and how often any of them has begun or ceased to answer.
    watched: Box<[Watched]>,
    changes: Arc<Changes>,
    absent: Interface,
}

impl Table {
    /// A table of interfaces (indexed by [`InterfaceId`]), next hops and static neighbours.
    pub fn new(interfaces: Vec<Interface>, adjacencies: Vec<Adjacency>, neighbors: Vec<StaticNeighbor>) -> Self {
        let vlans = vlans(&interfaces);
        Self {
            interfaces: interfaces.into(),
            adjacencies: adjacencies.into(),
            neighbors: neighbors.into(),
            bounds: Bounds::default(),
            domains: Box::default(),
            vlans,
            no_vlans: Vlans::default(),
            bridges: Box::default(),
            bridge_of: Box::default(),
            watched: Box::default(),
            changes: Arc::default(),
            absent: Interface::absent(),
        }
    }

    /// The interface; one without any address when there is none of this index.
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> &Interface {
        self.interfaces.get(id.index()).unwrap_or(&self.absent)
    }

    /// All interfaces.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The same with the routing domain of each interface.
    #[must_use]
    pub fn with_domains(mut self, domains: Box<[VrfId]>) -> Self {
        self.domains = domains;
        self
    }

    /// The same with bridges.
    #[must_use]
    pub fn with_bridges(mut self, bridges: Vec<Bridge>) -> Self {
        let mut bridge_of = vec![None; self.interfaces.len()];
        for (bridge, number) in bridges.iter().zip(0u16..) {
            for member in &bridge.members {
                if let Some(of) = bridge_of.get_mut(member.index()) {
                    *of = Some(number);
                }
            }
        }
        (self.bridges, self.bridge_of) = (bridges.into(), bridge_of.into());
        self
    }

    /// The same with other bounds of what a core knows of neighbours.
    #[must_use]
    pub const fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Bounds of what a core knows of neighbours.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The same with gateways to be watched, whose changes are counted by `changes`.
    #[must_use]
    pub fn with_watched(mut self, watched: Vec<Watched>, changes: Arc<Changes>) -> Self {
        (self.watched, self.changes) = (watched.into(), changes);
        self
    }

    /// The gateways that share traffic with others.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Whether the gateway of a next hop is one of those, and silent.
    pub fn is_silent(&self, next_hop: u32) -> bool {
        self.watched.iter().any(|watched| watched.next_hop == next_hop && watched.pulse.is_silent())
    }

    /// How often any of them has begun or ceased to answer.
    #[inline]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The bridges.
    #[inline]
    pub fn bridges(&self) -> &[Bridge] {
        &self.bridges
    }

    /// The bridge that an interface is a member of, with its index.
    #[inline]
    pub fn bridge_of(&self, member: InterfaceId) -> Option<(u16, &Bridge)> {
        let number = (*self.bridge_of.get(member.index())?)?;
        Some((number, self.bridges.get(usize::from(number))?))
    }

    /// What the tags of frames on a port mean.
    #[inline]
    pub(super) fn vlans(&self, port: PortId) -> &Vlans {
        self.vlans.get(port.index()).unwrap_or(&self.no_vlans)
    }

    /// All next hops.
    #[inline]
    pub fn adjacencies(&self) -> &[Adjacency] {
        &self.adjacencies
    }

    /// All static neighbours.
    pub fn neighbors(&self) -> &[StaticNeighbor] {
        &self.neighbors
    }
}

/// The interfaces with tags, by port.
fn vlans(interfaces: &[Interface]) -> Box<[Vlans]> {
    let mut vlans: Vec<Vlans> = Vec::new();
    for (at, interface) in interfaces.iter().enumerate() {
        let Link::Port { port, tags } = interface.link else { continue };
        if tags == Tags::NONE {
            continue;
        }
        if vlans.len() <= port.index() {
            vlans.resize(port.index() + 1, Vlans::default());
        }
        vlans[port.index()].add(&tags, InterfaceId(at as u16));
    }
    vlans.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_derived_as_rfc_4291_says() {
        // The example of RFC 4291 appendix A and of §2.7.1.
        let link_local = link_local_of(MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]));
        assert_eq!(link_local, "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
        let group = solicited_node("4037::1:800:200e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn every_prefix_with_more_than_two_addresses_has_a_router_anycast_address() {
        let of = |net: &str| subnet_router(&net.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("2001:db8:1:2::3/64").as_deref(), Some("2001:db8:1:2::"));
        assert_eq!(of("2001:db8::7/126").as_deref(), Some("2001:db8::4"));
        assert_eq!((of("2001:db8::1/127"), of("2001:db8::1/128")), (None, None));
    }

    #[test]
    fn the_source_shares_the_peers_prefix() {
        let interface = Interface {
            name: "lan".to_owned(),
            link: Link::Port { port: PortId(0), tags: Tags::NONE },
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            v4: vec!["10.0.1.1/24".parse().unwrap(), "10.0.2.1/24".parse().unwrap()],
            v6: vec!["fd00:1::1/64".parse().unwrap()],
            link_local: link_local_of(MacAddr([2, 0, 0, 0, 0, 1])),
            presence: Presence::default(),
        };
        let source = |peer: &str| interface.source_for(peer.parse().unwrap()).unwrap().to_string();
        assert_eq!(source("10.0.2.9"), "10.0.2.1");
        assert_eq!(source("192.0.2.1"), "10.0.1.1");
        assert_eq!(source("fe80::9"), interface.link_local.to_string());
        assert_eq!(source("2001:db8::1"), "fd00:1::1");
        assert!(interface.in_solicited_group("ff02::1:ff00:1".parse().unwrap()));
        assert!(interface.in_solicited_group("ff02::1:ff00:0".parse().unwrap()), "that of fd00:1::");
        assert!(!interface.in_solicited_group("ff02::1:ff00:2".parse().unwrap()));
        assert!(
            interface.is_on_link("10.0.2.77".parse().unwrap()) && !interface.is_on_link("10.0.3.1".parse().unwrap())
        );
    }
}
