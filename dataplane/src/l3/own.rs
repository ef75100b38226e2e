//! Our own addresses, as they follow from those of the interfaces.

use core::net::{IpAddr, Ipv4Addr};

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use ipnet::IpNet;

use super::{
    addresses::Kind,
    spec::{BuildError, InterfaceSpec},
    target::is_host,
};
use crate::{
    l2::table::{is_link_local, subnet_router},
    meta::InterfaceId,
};

/// Our unicast addresses first, then broadcast and anycast addresses, so that an address that is both counts as ours.
pub(super) fn own_addresses(interfaces: &[InterfaceSpec]) -> Result<Vec<(IpAddr, Kind, InterfaceId)>, BuildError> {
    let mut own: Vec<(IpAddr, Kind, InterfaceId)> = Vec::new();
    // The operator chooses the keys: they need no secret.
    let mut known = HashSet::with_hasher(FixedState::with_seed(0));
    for interface in interfaces {
        for address in nets(interface).map(|net| net.addr()) {
            if !is_possible(address) {
                return Err(BuildError::BadAddress(address));
            }
            if !interface.presence.tentative.contains(&address) {
                own.push((address, Kind::Unicast, interface.id));
                known.insert(address);
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
                if known.contains(&IpAddr::V4(address)) {
                    return Err(BuildError::BadAddress(IpAddr::V4(address)));
                }
            }
        }
    }
    for interface in interfaces {
        for net in interface.v4.iter().filter(|net| net.prefix_len() < 31) {
            for address in [net.broadcast(), net.network()] {
                // Two addresses of one prefix share its broadcast addresses, and a prefix within another may have one of its.
                if known.insert(IpAddr::V4(address)) {
                    own.push((IpAddr::V4(address), Kind::Broadcast, interface.id));
                }
            }
        }
    }
    own.push((IpAddr::V4(Ipv4Addr::BROADCAST), Kind::Broadcast, InterfaceId(0)));
    for interface in interfaces {
        for address in interface.v6.iter().filter_map(subnet_router).map(IpAddr::V6) {
            // One that the operator gave to an interface is its own, and one prefix within another may begin with the same address.
            if seen.binary_search(&address).is_err() && known.insert(address) {
                own.push((address, Kind::Anycast, interface.id));
            }
        }
    }
    Ok(own)
}

pub(super) fn nets(interface: &InterfaceSpec) -> impl Iterator<Item = IpNet> + '_ {
    interface.v4.iter().copied().map(IpNet::V4).chain(interface.v6.iter().copied().map(IpNet::V6))
}

fn is_possible(address: IpAddr) -> bool {
    // Each interface has one of the link already.
    is_host(address) && !matches!(address, IpAddr::V6(address) if is_link_local(address))
}
