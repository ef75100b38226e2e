//! Which addresses are ours on a link, and so are nobody else's.

use core::net::{IpAddr, Ipv6Addr};

use super::{Interface, Table, is_link_local, subnet_router};
use crate::{meta::InterfaceId, verdict::DropReason};

impl Interface {
    /// Whether `address` is ours on this interface, to be used and answered for.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.claims(address) && !self.is_tentative(address)
    }

    /// Whether `address` is ours on this interface, or will be when nobody else turns out to have it.
    pub fn claims(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.iter().any(|net| net.addr() == address),
            IpAddr::V6(address) => self.link_local == address || self.v6.iter().any(|net| net.addr() == address),
        }
    }

    /// Whether `address` is the broadcast or the network address of a prefix of this link.
    fn is_broadcast(&self, address: IpAddr) -> bool {
        let nets = self.v4.iter().filter(|net| net.prefix_len() < 31);
        nets.flat_map(|net| [net.broadcast(), net.network()]).any(|own| IpAddr::V4(own) == address)
    }

    /// Whether it is not yet known that nobody else has `address`.
    pub fn is_tentative(&self, address: IpAddr) -> bool {
        self.presence.tentative.contains(&address)
    }

    /// Whether `address` is the subnet-router anycast address of a prefix of this link, and not an address of ours besides.
    pub fn is_anycast(&self, address: Ipv6Addr) -> bool {
        self.v6.iter().any(|net| subnet_router(net) == Some(address)) && !self.claims(IpAddr::V6(address))
    }
}

impl Table {
    /// Why nobody is asked for `target` on the link of `interface`: it is ours in that routing domain. A question for it would look like
    /// a claim to it.
    pub(in crate::l2) fn is_nobody_else(&self, interface: InterfaceId, target: IpAddr) -> Option<DropReason> {
        let domain = |at: usize| self.domains.get(at).copied().unwrap_or_default();
        let on_link_only = matches!(target, IpAddr::V6(target) if is_link_local(target));
        let near = self.interfaces.iter().enumerate().filter(|(at, _)| {
            let at = *at;
            at == interface.index() || !on_link_only && domain(at) == domain(interface.index())
        });
        let owns = |own: &Interface| own.owns(target) || matches!(target, IpAddr::V6(target) if own.is_anycast(target));
        let mut found = None;
        for (_, own) in near {
            if owns(own) {
                return Some(DropReason::OwnAddress);
            }
            if own.is_broadcast(target) {
                found = Some(DropReason::NotForwardable);
            }
        }
        found
    }
}
