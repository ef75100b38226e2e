//! Next hops that share traffic: which of them answer, for people and programs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tidegate_dataplane::l2::{Adjacency, Table, Watched};

/// A gateway that shares traffic with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Number of its interface.
    pub interface: usize,
    /// Its address.
    pub address: IpAddr,
    /// Whether it has ceased to answer, so that its flows take the others.
    pub silent: bool,
}

/// All of them.
pub fn gateways(links: &Table) -> impl Iterator<Item = Gateway> + '_ {
    links.watched().iter().filter_map(|Watched { next_hop, pulse }| {
        let Adjacency { interface, gateway } = links.adjacencies().get(*next_hop as usize)?;
        Some(Gateway { interface: interface.index(), address: (*gateway)?, silent: pulse.is_silent() })
    })
}

/// Those that were silent when they were last looked at, by interface and address.
#[derive(Clone, Debug, Default)]
pub struct Quiet(BTreeSet<(usize, IpAddr)>);

impl Quiet {
    /// Looks again, and reports what has changed.
    pub fn look(&mut self, links: &Table) {
        let silent: BTreeSet<_> =
            gateways(links).filter(|hop| hop.silent).map(|hop| (hop.interface, hop.address)).collect();
        for (interface, address) in silent.difference(&self.0) {
            let interface = name(links, *interface);
            tracing::warn!(%address, interface, "the next hop does not answer; its flows take others");
        }
        for (interface, address) in self.0.difference(&silent) {
            let interface = name(links, *interface);
            tracing::info!(%address, interface, "the next hop answers again, or is no longer one of several");
        }
        self.0 = silent;
    }
}

fn name(links: &Table, interface: usize) -> &str {
    links.interfaces().get(interface).map_or("?", |interface| &interface.name)
}
