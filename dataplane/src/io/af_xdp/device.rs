//! An interface with our XDP program on it, and the seeds of its queues.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, OnceLock},
};

use ipnet::IpNet;

use super::{
    napi::Deferral,
    port::AfXdpPort,
    program::Program,
    ring::Sizes,
    socket::{Socket, Wish},
    umem,
};
use crate::{
    frame::Arena,
    io::{
        Capabilities, PortInfo,
        device::ETHERNET,
        error::Cause,
        link::{self, Link},
        spec::{AfXdpSpec, Capture, PortSpec, ZeroCopy},
    },
};

/// Entries of each ring at most.
const LARGEST_RING: usize = 2048;
/// Up to this MTU every driver has a packet in one buffer.
const PLAIN_MTU: u16 = 1500;
/// Share of the arena that one port may have in each direction: with many ports none starves the others.
const SHARE: usize = 8;

/// An interface that is ours, wholly or for the owned destinations.
#[derive(Debug)]
pub(in crate::io) struct AfXdpDevice {
    attached: Arc<Attached>,
    owned: Vec<IpNet>,
}

/// What is on the interface; goes away with the device and all its ports.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) link: Link,
    program: Program,
    spec: AfXdpSpec,
    mtu: u16,
    /// From the first queue that is polled until the last port has gone.
    deferral: OnceLock<Deferral>,
    _promiscuous: Option<OwnedFd>,
}

impl Attached {
    /// Lets the interface hold its interrupts back while it is polled.
    pub(super) fn defer_interrupts(&self, us: u32) {
        self.deferral.get_or_init(|| Deferral::start(&self.link, us));
    }
}

impl AfXdpDevice {
    /// Attaches the program. Until a queue has its port, its packets still go to the kernel.
    pub(in crate::io) fn open(spec: &PortSpec, xdp: &AfXdpSpec, queues: u16) -> Result<(PortInfo, Self), Cause> {
        let link = Link::find(&xdp.interface)?;
        link.check(spec.mtu)?;
        if link.queues != queues {
            return Err(Cause::Queues { interface: link.name, has: link.queues, wanted: queues });
        }
        let program = Program::attach(&link, xdp.mode, xdp.capture, queues, spec.mtu > PLAIN_MTU)?;
        if program.generic && xdp.zero_copy == ZeroCopy::On {
            return Err(Cause::NoZeroCopy { interface: link.name });
        }
        let promiscuous = match spec.mac {
            Some(mac) if mac != link.mac => Some(link::promiscuous(link.index)?),
            _ => None,
        };
        let info = PortInfo {
            mac: spec.mac.unwrap_or(link.mac),
            mtu: spec.mtu,
            queues,
            capabilities: Capabilities { rx_max: u32::from(spec.mtu) + ETHERNET, ..Capabilities::default() },
            driver: if program.generic { "af_xdp generic" } else { "af_xdp native" }.to_owned(),
        };
        let attached = Attached {
            link,
            program,
            spec: xdp.clone(),
            mtu: spec.mtu,
            deferral: OnceLock::new(),
            _promiscuous: promiscuous,
        };
        let mut device = Self { attached: Arc::new(attached), owned: Vec::new() };
        device.own(&xdp.owned)?;
        Ok((info, device))
    }

    /// Replaces the owned destinations: new ones are taken before old ones are given back, so that what stays is never missed.
    pub(in crate::io) fn own(&mut self, owned: &[IpNet]) -> Result<(), Cause> {
        if self.attached.spec.capture != Capture::Owned {
            return Ok(());
        }
        let program = &self.attached.program;
        let mut wanted: Vec<_> = owned.iter().map(IpNet::trunc).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for prefix in &wanted {
            if !self.owned.contains(prefix) {
                program.own(prefix, true)?;
                self.owned.push(*prefix);
            }
        }
        for prefix in self.owned.iter().filter(|prefix| wanted.binary_search(prefix).is_err()) {
            program.own(prefix, false)?;
        }
        self.owned = wanted;
        Ok(())
    }

    /// The kernel's number for the interface.
    pub(in crate::io) fn index(&self) -> u32 {
        self.attached.link.index
    }

    pub(in crate::io) fn queue(&self, queue: u16) -> AfXdpSeed {
        AfXdpSeed { attached: Arc::clone(&self.attached), queue }
    }
}

/// A queue of the interface on its way to its core.
#[derive(Debug)]
pub(in crate::io) struct AfXdpSeed {
    attached: Arc<Attached>,
    queue: u16,
}

impl AfXdpSeed {
    /// Binds a socket to the queue and to `arena`, and starts to receive.
    pub(in crate::io) fn attach(self, arena: &Arena) -> Result<AfXdpPort, Cause> {
        let Self { attached, queue } = self;
        umem::check(arena, attached.mtu, u32::from(attached.mtu) + ETHERNET)?;
        let share = (arena.capacity() / SHARE).clamp(1, LARGEST_RING);
        let entries = (share.next_power_of_two() as u32).max(64);
        // In generic mode no driver could take part in zero-copy.
        let zero_copy = if attached.program.generic { ZeroCopy::Off } else { attached.spec.zero_copy };
        let sizes = Sizes { rx: entries, tx: entries };
        let longest = u32::from(attached.mtu) + ETHERNET;
        let wish = Wish { queue, zero_copy, busy_poll_us: attached.spec.busy_poll_us, sizes, longest };
        let socket = Socket::bind(&attached.link, arena, &wish)?;
        let mut port = AfXdpPort::new(Arc::clone(&attached), arena.share(), socket, &wish, share as u32);
        port.refill();
        port.start_polling();
        attached.program.serve(queue, port.socket())?;
        Ok(port)
    }
}
