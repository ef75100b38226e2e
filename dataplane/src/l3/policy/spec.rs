//! Rules as the operator says them.

use core::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    l3::spec::Target,
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
    /// There, whatever the routes say. Packets of another family than its gateways do not fit the rule.
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

/// The family of addresses that a rule's next hops can serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
    Any,
}

impl Then {
    pub(super) fn family(&self) -> Family {
        let gateway = match self {
            Self::Target(Target::Via { gateway, .. }) => Some(*gateway),
            Self::Target(Target::Spread(hops)) => hops.iter().find_map(|hop| hop.gateway),
            Self::Lookup(_) | Self::Target(_) => None,
        };
        match gateway {
            Some(gateway) if gateway.is_ipv4() => Family::V4,
            Some(_) => Family::V6,
            None => Family::Any,
        }
    }

    /// All addresses of that family, which a route to the same next hops would be for.
    pub(super) fn destinations(&self) -> IpNet {
        match self.family() {
            Family::V6 => Ipv6Net::default().into(),
            Family::V4 | Family::Any => Ipv4Net::default().into(),
        }
    }
}
