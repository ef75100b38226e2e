//! Rules as the operator says them.

use core::{net::IpAddr, ops::RangeInclusive};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    l3::spec::{Hop, Target},
    meta::{InterfaceId, VrfId},
};

/// What a rule asks of a packet; what is empty asks nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Match {
    /// It came in by one of these interfaces, which are of the rule's domain.
    pub incoming: Vec<InterfaceId>,
    /// Its source is in one of these prefixes.
    pub from: Vec<IpNet>,
    /// Its destination is in one of these prefixes.
    pub to: Vec<IpNet>,
    /// Its transport protocol, behind IPv6 extension headers, is one of these (IANA).
    pub protocols: Vec<u8>,
    /// Its source port is in one of these ranges; all fragments but the first have none.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// Its destination port is in one of these ranges.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// Its DSCP is one of these (RFC 2474).
    pub dscp: Vec<u8>,
}

/// Where the packets of a rule go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// Where the routes of this domain lead; their own domain is one as well.
    Lookup(VrfId),
    /// There, whatever the routes say. IPv6 packets do not fit the rule if a gateway of it has an IPv4 address; those of IPv4 go by either
    /// (RFC 8950).
    Target(Target),
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicySpec {
    /// Its name, which no other has.
    pub name: String,
    /// The routing domain whose packets it is for.
    pub vrf: VrfId,
    /// Whether it is for packets that this host sends, instead of those in transit.
    pub own: bool,
    /// Which of them.
    pub matches: Match,
    /// Where they go.
    pub then: Then,
}

/// The family of packets that a rule's next hops can serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
    Any,
}

impl Then {
    pub(super) fn family(&self) -> Family {
        if self.gateways().any(|gateway| gateway.is_ipv4()) { Family::V4 } else { Family::Any }
    }

    /// All addresses that a route to the same next hops would be for.
    pub(super) fn destinations(&self) -> IpNet {
        let only_v6 = self.gateways().next().is_some() && self.family() == Family::Any;
        if only_v6 { Ipv6Net::default().into() } else { Ipv4Net::default().into() }
    }

    fn gateways(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let (one, many): (_, &[Hop]) = match self {
            Self::Target(Target::Via { gateway, .. }) => (Some(*gateway), &[]),
            Self::Target(Target::Spread(hops)) => (None, hops),
            Self::Lookup(_) | Self::Target(_) => (None, &[]),
        };
        one.into_iter().chain(many.iter().filter_map(|hop| hop.gateway))
    }
}
