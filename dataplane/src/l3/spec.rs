//! What a table is made of, as the operator says it, and what can be wrong with it.

use core::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    advertise::Advertise, clamp::SegmentLimit, icmp::IcmpLimits, policy::PolicySpec, reverse_path::ReversePath,
};
use crate::{
    io::MacAddr,
    l2::{Bounds, Bridge, Link, Presence, StaticNeighbor},
    meta::{InterfaceId, VrfId},
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
    /// What it tells hosts that configure themselves (RFC 4861 §6.2); `None` for nothing.
    pub advertise: Option<Advertise>,
    /// What it asks of the sources of packets.
    pub reverse_path: ReversePath,
    /// How long segments of TCP connections through it may be.
    pub segments: SegmentLimit,
}

/// A router, or a link, that packets are sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The router's address; `None` when the destinations themselves are on the link, which then must be given.
    pub gateway: Option<IpAddr>,
    /// The interface; found by the gateway's address unless given. A link-local gateway needs it, and one in another routing domain.
    pub interface: Option<InterfaceId>,
    /// Share of the traffic among the hops of a route, from 1.
    pub weight: u16,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// Each flow takes one of these, in proportion to their weights.
    Spread(Vec<Hop>),
    /// Drop in silence.
    Blackhole,
    /// Drop and tell the sender.
    Unreachable,
    /// Drop and tell the sender that this is forbidden (RFC 1812 §5.2.7.1).
    Prohibit,
}

/// A static route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destinations.
    pub to: IpNet,
    /// Where they are sent.
    pub target: Target,
}

/// All that a [`Table`](super::Table) is made of.
#[derive(Clone, Default, Debug)]
pub struct Spec {
    /// Ports, in any order.
    pub interfaces: Vec<InterfaceSpec>,
    /// Static routes, in any order.
    pub routes: Vec<Route>,
    /// Static neighbours.
    pub neighbors: Vec<StaticNeighbor>,
    /// Bridges, in any order; their interfaces and members are among the interfaces.
    pub bridges: Vec<Bridge>,
    /// How many ICMP messages are sent.
    pub icmp: IcmpLimits,
    /// How many neighbours a core knows and asks for.
    pub neighbor_bounds: Bounds,
    /// Whether a learnt route wins over a static one with the same prefix.
    pub learnt_wins: bool,
    /// Routing domains beside the main one; the first is [`VrfId`] 1.
    pub vrfs: Vec<VrfSpec>,
    /// Rules that come before the routes, in order.
    pub policies: Vec<PolicySpec>,
}

/// A routing domain: addresses and routes of its own, so that what is in another may be the same.
#[derive(Clone, Default, Debug)]
pub struct VrfSpec {
    /// Its name.
    pub name: String,
    /// Its interfaces; each belongs to one domain.
    pub interfaces: Vec<InterfaceId>,
    /// Its static routes, in any order.
    pub routes: Vec<Route>,
}

/// A change of the learnt routes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Learnt {
    /// The routing domain.
    pub vrf: VrfId,
    /// Destinations.
    pub to: IpNet,
    /// Where they are sent from now on; `None` when no route is learnt for them any more.
    pub target: Option<LearntTarget>,
}

/// Where a learnt route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LearntTarget {
    /// Here, which is this route's own affair.
    Own(Target),
    /// To a [`Shared`] target, by its name; nowhere while there is none.
    Shared(u32),
}

impl From<Target> for LearntTarget {
    fn from(target: Target) -> Self {
        Self::Own(target)
    }
}

/// A change of a target that many learnt routes share: of all of them at once, at the price of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shared {
    /// Its name, for all routing domains.
    pub name: u32,
    /// Where it leads from now on; `None` when there is none of this name any more.
    pub target: Option<Target>,
}

/// Why a specification makes no table: always the operator's to correct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The interface is not among the specification's interfaces.
    UnknownInterface(InterfaceId),
    /// The interface is listed twice, is in two routing domains, or its index is above 4095.
    BadInterface(InterfaceId),
    /// The address is on two interfaces.
    DuplicateAddress(IpAddr),
    /// The address is not one a host can have: multicast, loopback, unspecified, or the network or broadcast address of its prefix.
    BadAddress(IpAddr),
    /// The route has neither a gateway nor an interface.
    NoHop(IpNet),
    /// There are more than 4095 routing domains.
    TooManyVrfs,
    /// There are more than [`MAX_RULES`](super::policy::MAX_RULES) policy rules.
    TooManyPolicies,
    /// There is no routing domain of this number.
    UnknownVrf(VrfId),
    /// Two routes, or a route and a connected prefix, are for the same destinations.
    DuplicateRoute(IpNet),
    /// The gateway is on no interface's link.
    GatewayNotOnLink {
        /// The route.
        to: IpNet,
        /// Its gateway.
        gateway: IpAddr,
    },
    /// No packet of the route can be sent to the gateway: one of IPv6 to an IPv4 address, or any to one of our own, or to one that no
    /// single station has.
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
                write!(
                    f,
                    "interface {} is listed twice, is in two routing domains, or its index is above 4095",
                    interface.0
                )
            }
            Self::DuplicateAddress(address) => write!(f, "the address {address} is on two interfaces"),
            Self::BadAddress(address) => write!(f, "{address} is not an address that an interface can have"),
            Self::NoHop(to) => write!(f, "the route to {to} leads nowhere"),
            Self::TooManyVrfs => f.write_str("there are more than 4095 routing domains"),
            Self::TooManyPolicies => write!(f, "there are more than {} policy rules", super::policy::MAX_RULES),
            Self::UnknownVrf(vrf) => write!(f, "there is no routing domain {}", vrf.0),
            Self::DuplicateRoute(to) => write!(f, "there are two routes to {to}"),
            Self::GatewayNotOnLink { to, gateway } => {
                write!(f, "the gateway {gateway} of the route to {to} is on no interface's link")
            }
            Self::BadGateway { to, gateway } => write!(f, "{gateway} cannot be the gateway of the route to {to}"),
        }
    }
}

impl core::error::Error for BuildError {}
