//! What the configuration says about IP: our addresses, the prefixes, the next hops. Immutable, one per generation.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::{
    addresses::Addresses, advertise::Advertise, clamp::SegmentLimit, fib4::Fib4, fib6::Fib6, group::Group,
    icmp::IcmpLimits, policy::Policies, reverse_path::ReversePath, sources::SourceMap,
};
use crate::{
    l2::{self, table::is_link_local},
    meta::{InterfaceId, VrfId},
};

/// What is done with a packet for a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// There is no route: tell the sender, drop.
    NoRoute,
    /// To the next hop on its interface: a router or, for a connected prefix, the destination itself.
    Forward,
    /// One of our own addresses, or a broadcast address of a link.
    Local,
    /// Drop in silence.
    Blackhole,
    /// Tell the sender that the host is unreachable, drop.
    Unreachable,
    /// Tell the sender that this is forbidden, drop.
    Prohibit,
    /// To one of several next hops: the number of their [`Group`].
    Spread(u16),
}

/// Where a prefix leads. Its gateway, if any, is in the [`l2::Adjacency`] of the same index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NextHop {
    /// What is done.
    pub action: Action,
    /// The interface of [`Action::Forward`] and [`Action::Local`].
    pub interface: InterfaceId,
    /// Longest IP packet that interface carries, in bytes.
    pub mtu: u16,
}

/// Index of the next hop that stands for "no route".
pub const NO_ROUTE: u32 = 0;

/// A routing domain: what is ours in it, and where its prefixes lead.
#[derive(Debug)]
pub struct Vrf {
    pub(super) name: Arc<str>,
    pub(super) addresses: Addresses,
    pub(super) fib4: Arc<Fib4>,
    pub(super) fib6: Arc<Fib6>,
}

impl Vrf {
    /// Its name; empty for the main one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which addresses are ours.
    #[inline]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The IPv4 prefixes.
    pub fn fib4(&self) -> &Arc<Fib4> {
        &self.fib4
    }

    /// The IPv6 prefixes.
    pub fn fib6(&self) -> &Arc<Fib6> {
        &self.fib6
    }
}

/// IP as the configuration describes it. Made by [`Table::build`] or a [`Builder`](super::Builder).
#[derive(Debug)]
pub struct Table {
    pub(super) main: Vrf,
    /// Domains beside the main one.
    pub(super) others: Box<[Vrf]>,
    /// The domain of each interface.
    pub(super) vrf_of: Box<[VrfId]>,
    pub(super) link: Arc<l2::Table>,
    pub(super) next_hops: Arc<[NextHop]>,
    pub(super) groups: Arc<[Arc<Group>]>,
    /// Index of the connected next hop of each interface.
    pub(super) on_link: Box<[u32]>,
    /// What each interface asks of sources; empty when none asks for anything.
    pub(super) reverse_paths: Box<[ReversePath]>,
    /// By interface as above: IPv4 sources that are known to pass.
    pub(super) source_maps: Box<[Option<Arc<SourceMap>>]>,
    /// What each interface makes of segments; empty when none limits them.
    pub(super) segment_limits: Box<[SegmentLimit]>,
    /// Rules that come before the routes.
    pub(super) policies: Arc<Policies>,
    /// How many ICMP messages a core sends.
    pub(super) icmp: IcmpLimits,
    /// What each interface advertises to hosts.
    pub(super) advertise: Box<[Option<Advertise>]>,
}

impl Table {
    /// The links of the same generation, for the stages of `l2`.
    #[inline]
    pub fn link(&self) -> &Arc<l2::Table> {
        &self.link
    }

    /// Which addresses are ours in the main domain.
    #[inline]
    pub fn addresses(&self) -> &Addresses {
        &self.main.addresses
    }

    /// The main routing domain.
    #[inline]
    pub fn main(&self) -> &Vrf {
        &self.main
    }

    /// A routing domain; the main one if there is none of this number.
    pub fn vrf(&self, vrf: VrfId) -> &Vrf {
        vrf.index().checked_sub(1).and_then(|at| self.others.get(at)).unwrap_or(&self.main)
    }

    /// The routing domain of a name.
    pub fn vrf_named(&self, name: &str) -> Option<VrfId> {
        let at = self.others.iter().position(|vrf| vrf.name() == name && !name.is_empty())?;
        Some(VrfId(at as u16 + 1))
    }

    /// The routing domains beside the main one.
    pub fn vrfs(&self) -> &[Vrf] {
        &self.others
    }

    /// The routing domain of an interface.
    #[inline]
    pub fn vrf_of(&self, interface: InterfaceId) -> VrfId {
        self.vrf_of.get(interface.index()).copied().unwrap_or_default()
    }

    /// The longest prefix that contains an address, and the index of its next hop.
    pub fn matched(&self, vrf: VrfId, address: IpAddr) -> Option<(IpNet, u32)> {
        let vrf = self.vrf(vrf);
        match address {
            IpAddr::V4(address) => vrf.fib4.matched(address.to_bits()).map(|(net, hop)| (net.into(), hop)),
            IpAddr::V6(address) => vrf.fib6.matched(address.to_bits()).map(|(net, hop)| (net.into(), hop)),
        }
    }

    /// Next hops that share the traffic of some prefixes: those of an [`Action::Spread`].
    #[inline]
    pub fn group(&self, number: u16) -> Option<&Group> {
        self.groups.get(usize::from(number)).map(|group| &**group)
    }

    /// The next hop of an index found by [`Table::lookup_v4`] or [`Table::lookup_v6`].
    #[inline]
    pub fn next_hop(&self, index: u32) -> NextHop {
        let none = NextHop { action: Action::NoRoute, interface: InterfaceId(0), mtu: 0 };
        self.next_hops.get(index as usize).copied().unwrap_or(none)
    }

    /// The next hop for destinations on the link of `interface` itself.
    #[inline]
    pub fn on_link(&self, interface: InterfaceId) -> u32 {
        self.on_link.get(interface.index()).copied().unwrap_or(NO_ROUTE)
    }

    /// Whether any interface asks where sources lie.
    #[inline]
    pub fn checks_sources(&self) -> bool {
        !self.reverse_paths.is_empty()
    }

    /// What `interface` asks of the sources of what it receives.
    #[inline]
    pub fn reverse_path(&self, interface: InterfaceId) -> ReversePath {
        self.reverse_paths.get(interface.index()).copied().unwrap_or_default()
    }

    /// IPv4 sources that are known to pass where packets come in by `interface`.
    #[inline]
    pub(super) fn source_map(&self, interface: InterfaceId) -> Option<&SourceMap> {
        self.source_maps.get(interface.index())?.as_deref()
    }

    /// Whether there are rules that come before the routes.
    #[inline]
    pub fn has_policies(&self) -> bool {
        !self.policies.rules().is_empty()
    }

    /// The rules that come before the routes.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether any interface limits how long segments in transit are.
    #[inline]
    pub fn limits_segments(&self) -> bool {
        !self.segment_limits.is_empty()
    }

    /// How long segments of connections through `interface` may be.
    #[inline]
    pub fn segment_limit(&self, interface: InterfaceId) -> SegmentLimit {
        self.segment_limits.get(interface.index()).copied().unwrap_or_default()
    }

    /// Whether packets for the next hop of this index go out by `interface`; of several, by any of them (RFC 8704 §3).
    #[inline]
    pub fn leads_to(&self, index: u32, interface: InterfaceId) -> bool {
        let hop = self.next_hop(index);
        match hop.action {
            Action::Forward => hop.interface == interface,
            Action::Spread(group) => self
                .group(group)
                .is_some_and(|group| group.members().iter().any(|m| self.next_hop(m.next_hop).interface == interface)),
            _ => false,
        }
    }

    /// Longest-prefix match; the index of a next hop.
    #[inline]
    pub fn lookup_v4(&self, destination: Ipv4Addr) -> u32 {
        self.main.fib4.lookup(destination.to_bits())
    }

    /// Longest-prefix match; the index of a next hop.
    #[inline]
    pub fn lookup_v6(&self, destination: Ipv6Addr) -> u32 {
        self.main.fib6.lookup(destination.to_bits())
    }

    /// The IPv4 prefixes of the main domain.
    pub fn fib4(&self) -> &Arc<Fib4> {
        &self.main.fib4
    }

    /// The IPv6 prefixes of the main domain.
    pub fn fib6(&self) -> &Arc<Fib6> {
        &self.main.fib6
    }

    /// The address a packet of ours to `destination` is sent from, and the interface it leaves by: an address of that interface
    /// (RFC 1812 §4.3.2.4, RFC 6724 §5). If it has none of that family, as links between routers that know each other by link-local
    /// addresses (RFC 8950), one of a loopback interface or any other of the domain. `None` when there is no way there, or no address.
    pub fn source_for(&self, destination: IpAddr) -> Option<(IpAddr, InterfaceId)> {
        let (interface, near) = self.leaves_by(VrfId::MAIN, destination)?;
        let own = || self.link.interface(interface).source_for(near);
        let loopbacks = || self.members(VrfId::MAIN).filter(|id| self.link.interface(*id).link == l2::Link::None);
        let any =
            || loopbacks().chain(self.members(VrfId::MAIN)).find_map(|id| self.link.interface(id).source_for(near));
        Some((own().or_else(any)?, interface))
    }

    /// The source of an error to `peer`, about a packet that came in by `near`. An address of the interface it leaves by; if that has
    /// none, one of `near`, or any of the domain (RFC 1812 §4.3.2.4 calls it the router-id). `None` if there is no way there.
    pub fn source_of_error(&self, vrf: VrfId, near: InterfaceId, peer: IpAddr) -> Option<IpAddr> {
        if let Some((source, _)) = self.source_in(vrf, peer) {
            return Some(source);
        }
        self.matched(vrf, peer)?;
        core::iter::once(near).chain(self.members(vrf)).find_map(|id| self.link.interface(id).source_for(peer))
    }

    /// The address of the interface that a packet of ours in a routing domain leaves by, and that interface. `None` when there is no way
    /// there or the interface has no address of that family.
    pub fn source_in(&self, vrf: VrfId, destination: IpAddr) -> Option<(IpAddr, InterfaceId)> {
        let (interface, near) = self.leaves_by(vrf, destination)?;
        Some((self.link.interface(interface).source_for(near)?, interface))
    }

    /// The interfaces of a routing domain.
    pub fn members(&self, vrf: VrfId) -> impl Iterator<Item = InterfaceId> + '_ {
        (0..self.link.interfaces().len()).map(|at| InterfaceId(at as u16)).filter(move |id| self.vrf_of(*id) == vrf)
    }

    /// The interface that a packet of ours leaves by, and an address on its link that says which of ours there is the right source.
    fn leaves_by(&self, vrf: VrfId, destination: IpAddr) -> Option<(InterfaceId, IpAddr)> {
        let vrf = self.vrf(vrf);
        let mut index = match destination {
            IpAddr::V4(destination) => vrf.fib4.lookup(destination.to_bits()),
            IpAddr::V6(destination) if is_link_local(destination) => return None,
            IpAddr::V6(destination) => vrf.fib6.lookup(destination.to_bits()),
        };
        let mut hop = self.next_hop(index);
        if let Action::Spread(group) = hop.action {
            // Any of them: which one the packet takes depends on what is not known yet.
            index = self.group(group)?.members().first()?.next_hop;
            hop = self.next_hop(index);
        }
        if hop.action != Action::Forward {
            return None;
        }
        let gateway = self.link.adjacencies().get(index as usize).and_then(|adjacency| adjacency.gateway);
        // A link-local gateway says nothing about which global address to use.
        let gateway = gateway.filter(|gateway| !matches!(gateway, IpAddr::V6(address) if is_link_local(*address)));
        let near = gateway.filter(|gateway| gateway.is_ipv4() == destination.is_ipv4()).unwrap_or(destination);
        Some((hop.interface, near))
    }
}
