//! What the kernel's next hops are to the data plane: hops over its ports.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use smallvec::SmallVec;

use super::route::Hop;

/// A way to a prefix over a port of the data plane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NextHop {
    /// The port's place in the configuration.
    pub port: usize,
    /// The router; `None` when destinations are on the link.
    pub gateway: Option<IpAddr>,
    /// Share of the traffic among the hops of a route, from 1.
    pub weight: u16,
}

/// What happens to packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// They take one of these hops, at least one, in order.
    Hops(SmallVec<[NextHop; 1]>),
    /// They are dropped in silence.
    Blackhole,
    /// They are dropped, and the sender is told.
    Unreachable,
    /// They are dropped, and the sender is told that it is forbidden.
    Prohibit,
}

impl Way {
    /// By these hops; `None` if there are none.
    pub(super) fn by(hops: impl Iterator<Item = NextHop>) -> Option<Self> {
        let mut hops: SmallVec<[NextHop; 1]> = hops.collect();
        hops.sort_unstable();
        (!hops.is_empty()).then_some(Self::Hops(hops))
    }
}

/// The kernel's devices that stand beside ports.
#[derive(Debug)]
pub(super) struct Ports {
    /// Ports by number of the device.
    by_device: HashMap<u32, usize>,
    /// Devices among them that are down: the kernel drops their routes without a word.
    down: BTreeSet<u32>,
}

impl Ports {
    pub(super) fn new(by_device: HashMap<u32, usize>) -> Self {
        Self { by_device, down: BTreeSet::new() }
    }

    /// Whether a device is that of a host link.
    pub(super) fn has(&self, device: u32) -> bool {
        self.by_device.contains_key(&device)
    }

    /// A device went up or down. Returns whether it is one of these, and it was not before.
    pub(super) fn set_up(&mut self, device: u32, up: bool) -> bool {
        self.has(device) && if up { self.down.remove(&device) } else { self.down.insert(device) }
    }

    /// A hop, if it leads over a host link that is up.
    pub(super) fn hop(&self, hop: &Hop, weight: u16) -> Option<NextHop> {
        let port = self.by_device.get(&hop.device).filter(|_| !self.down.contains(&hop.device))?;
        Some(NextHop { port: *port, gateway: hop.gateway, weight })
    }
}
