//! What the target of a route means: the interface of a gateway, and whether it can be one.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    addresses::Addresses,
    spec::{BuildError, Hop, Target},
    ways::{Wanted, Way},
};
use crate::{
    l2::Interface,
    meta::{InterfaceId, VrfId},
};

/// What a configured route's target means.
pub(super) struct Find<'a> {
    pub(super) interfaces: &'a [Interface],
    pub(super) vrf_of: &'a [VrfId],
    pub(super) vrf: VrfId,
    /// Our addresses in each domain.
    pub(super) own: &'a [Addresses],
    pub(super) to: IpNet,
}

impl Find<'_> {
    pub(super) fn target(&self, target: &Target) -> Result<Wanted, BuildError> {
        let hop = |hop: &Hop| Ok((self.hop(hop.gateway, hop.interface)?, hop.weight));
        Ok(Wanted::One(match target {
            Target::Blackhole => Way::Blackhole,
            Target::Unreachable => Way::Unreachable,
            Target::Prohibit => Way::Prohibit,
            Target::Link(interface) => self.hop(None, Some(*interface))?,
            Target::Via { gateway, interface } => self.hop(Some(*gateway), *interface)?,
            Target::Spread(hops) => return Ok(Wanted::Many(hops.iter().map(hop).collect::<Result<_, _>>()?)),
        }))
    }

    fn hop(&self, gateway: Option<IpAddr>, interface: Option<InterfaceId>) -> Result<Way, BuildError> {
        if let Some(interface) = interface
            .filter(|interface| self.interfaces.get(interface.index()).is_none_or(|interface| interface.mtu == 0))
        {
            return Err(BuildError::UnknownInterface(interface));
        }
        let to = self.to.trunc();
        let (gateway, interface) = match (gateway, interface) {
            (None, Some(interface)) => return Ok(Way::Link(interface)),
            (None, None) => return Err(BuildError::NoHop(to)),
            (Some(gateway), Some(interface)) => (gateway, interface),
            (Some(gateway), None) => (gateway, self.interface_of(gateway)?),
        };
        let vrf = self.vrf_of[interface.index()];
        let own = self.own[vrf.index()].contains(gateway);
        if own || !is_gateway(gateway, to) {
            return Err(BuildError::BadGateway { to, gateway });
        }
        Ok(Way::Via(interface, gateway))
    }

    /// The interface a gateway is on: the one of the domain with the longest prefix that contains it.
    fn interface_of(&self, gateway: IpAddr) -> Result<InterfaceId, BuildError> {
        let prefix = |interface: &Interface| match gateway {
            IpAddr::V4(gateway) => {
                interface.v4.iter().filter(|net| net.contains(&gateway)).map(Ipv4Net::prefix_len).max()
            }
            IpAddr::V6(gateway) => {
                interface.v6.iter().filter(|net| net.contains(&gateway)).map(Ipv6Net::prefix_len).max()
            }
        };
        let inside = self.interfaces.iter().enumerate().filter(|(at, _)| self.vrf_of[*at] == self.vrf);
        let near = inside.filter_map(|(at, interface)| prefix(interface).map(|len| (len, InterfaceId(at as u16))));
        let nearest = near.max_by_key(|(len, _)| *len).map(|(_, interface)| interface);
        // One of our own addresses is the better complaint than one that is nowhere near.
        let own = self.own[self.vrf.index()].contains(gateway);
        let (to, bad) = (self.to.trunc(), own || !is_gateway(gateway, self.to));
        nearest.ok_or(if bad {
            BuildError::BadGateway { to, gateway }
        } else {
            BuildError::GatewayNotOnLink { to, gateway }
        })
    }
}

/// Whether packets to a prefix can be sent to such an address: those of IPv4 to either family's (RFC 8950).
fn is_gateway(gateway: IpAddr, to: IpNet) -> bool {
    (gateway.is_ipv6() || matches!(to, IpNet::V4(_))) && is_host(gateway)
}

/// Whether a single host on a link can have the address: no network's, group's or nobody's, none of the host itself, none that is
/// reserved (RFC 6890 §2.2), and none of IPv4 in disguise (RFC 4291 §2.5.5.2).
pub fn is_host(address: IpAddr) -> bool {
    let reserved = match address {
        IpAddr::V4(address) => address.octets()[0] == 0 || address.octets()[0] >= 240,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    !reserved && !address.is_multicast() && !address.is_loopback() && !address.is_unspecified()
}

/// What of a learnt target can be used at all: a daemon may say more than we understand. `None` if it is nothing.
pub(super) fn learnt(target: &Target, to: IpNet) -> Option<Wanted> {
    usable(target, |gateway| is_gateway(gateway, to))
}

/// The same of a target that routes share: whoever leads a route there knows that its gateways are for it.
pub(super) fn shared(target: &Target) -> Option<Wanted> {
    usable(target, is_host)
}

fn usable(target: &Target, is_gateway: impl Fn(IpAddr) -> bool) -> Option<Wanted> {
    let way = |gateway: Option<IpAddr>, interface: Option<InterfaceId>| match (gateway, interface?) {
        (None, interface) => Some(Way::Link(interface)),
        (Some(gateway), interface) => is_gateway(gateway).then_some(Way::Via(interface, gateway)),
    };
    Some(Wanted::One(match target {
        Target::Blackhole => Way::Blackhole,
        Target::Unreachable => Way::Unreachable,
        Target::Prohibit => Way::Prohibit,
        Target::Link(interface) => Way::Link(*interface),
        Target::Via { gateway, interface } => way(Some(*gateway), *interface)?,
        Target::Spread(hops) => {
            let hops = hops.iter().filter_map(|hop| Some((way(hop.gateway, hop.interface)?, hop.weight.max(1))));
            return Some(Wanted::Many(hops.collect()))
                .filter(|wanted| !matches!(wanted, Wanted::Many(many) if many.is_empty()));
        }
    }))
}
