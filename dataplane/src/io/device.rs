//! From a specification to ports: the device that all cores share, and the seed that travels to a core.

#[cfg(feature = "dpdk")]
use std::cell::RefCell;

use ipnet::IpNet;

use super::{
    LinkState, MacAddr, Port, PortInfo,
    af_xdp::{AfXdpDevice, AfXdpSeed},
    error::{Cause, PortError},
    memory::MemoryPort,
    pcap::{PcapDevice, PcapSeed},
    spec::{DriverSpec, PortSpec},
    tap::{TapDevice, TapSeed},
};
#[cfg(feature = "dpdk")]
use super::{
    dpdk::{DpdkPort, DpdkPortSpec, DpdkSeed, Eal},
    spec::DpdkSpec,
};
use crate::frame::Arena;

/// Packets a memory port's wire holds.
const MEMORY_DEPTH: usize = 1024;

/// An open device, kept by the management thread. It closes when it and all its ports are dropped.
#[derive(Debug)]
pub struct Device {
    name: String,
    info: PortInfo,
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    AfXdp(AfXdpDevice),
    #[cfg(feature = "dpdk")]
    /// In a cell because taking a queue must be exclusive; devices do not leave their lock.
    Dpdk(RefCell<DpdkPort>),
    Tap(TapDevice),
    Pcap(PcapDevice),
    Memory,
}

impl Device {
    /// Opens what `spec` describes, to be served by `queues` cores.
    ///
    /// # Errors
    /// The device does not exist, is in a state or use that forbids it, or a privilege is missing; the error says which, and what
    /// to do.
    pub fn open(spec: &PortSpec, queues: u16) -> Result<Self, PortError> {
        let opened = match &spec.driver {
            DriverSpec::Tap(tap) => TapDevice::open(spec, tap, queues).map(|(info, tap)| (info, Driver::Tap(tap))),
            DriverSpec::Pcap(pcap) => {
                PcapDevice::open(spec, pcap, queues).map(|(info, pcap)| (info, Driver::Pcap(pcap)))
            }
            DriverSpec::AfXdp(xdp) => {
                AfXdpDevice::open(spec, xdp, queues).map(|(info, xdp)| (info, Driver::AfXdp(xdp)))
            }
            DriverSpec::Memory => Ok((memory_info(spec, queues), Driver::Memory)),
            DriverSpec::Dpdk(_) => Err(Cause::NoDpdk),
        };
        let (info, driver) = opened.map_err(|cause| cause.of(&spec.name))?;
        Ok(Self { name: spec.name.clone(), info, driver })
    }

    /// Opens a DPDK port.
    #[cfg(feature = "dpdk")]
    pub(super) fn on_dpdk(eal: &Eal, spec: &PortSpec, dpdk: &DpdkSpec, queues: u16) -> Result<Self, PortError> {
        let port = DpdkPortSpec {
            queues,
            mtu: spec.mtu,
            mac: spec.mac,
            promiscuous: spec.mac.is_some(),
            checksum_offload: dpdk.checksum_offload,
            ..DpdkPortSpec::new(&spec.name, &dpdk.device)
        };
        let port = DpdkPort::open(eal, &port).map_err(|error| Cause::Dpdk(error).of(&spec.name))?;
        Ok(Self { name: spec.name.clone(), info: port.info().clone(), driver: Driver::Dpdk(RefCell::new(port)) })
    }

    /// The port's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was found out when it was opened.
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// The seed of queue `queue`, for one core. A queue that already has a port yields another one only once that port is dropped.
    ///
    /// # Errors
    /// There is no such queue, or the kernel is out of descriptors.
    pub fn queue(&self, queue: u16) -> Result<QueueSeed, PortError> {
        let name = &self.name;
        let of = |cause: Cause| cause.of(name);
        if queue >= self.info.queues {
            return Err(of(Cause::NoQueue { queue, has: self.info.queues }));
        }
        let seed = match &self.driver {
            #[cfg(feature = "dpdk")]
            Driver::Dpdk(port) => Seed::Dpdk(port.borrow_mut().queue(queue).map_err(|error| of(Cause::Dpdk(error)))?),
            Driver::AfXdp(xdp) => Seed::AfXdp(xdp.queue(queue)),
            Driver::Tap(tap) => Seed::Tap(tap.queue(queue).map_err(of)?),
            Driver::Pcap(pcap) => Seed::Pcap(pcap.queue().map_err(of)?),
            Driver::Memory => Seed::Memory,
        };
        Ok(QueueSeed { name: name.clone(), seed })
    }

    /// Replaces the destinations that the port takes from the kernel, when it shares the interface with it (`capture = "owned"`);
    /// every other port receives all there is and changes nothing.
    ///
    /// # Errors
    /// The kernel refused; addresses added before that stay added.
    pub fn own(&mut self, owned: &[IpNet]) -> Result<(), PortError> {
        match &mut self.driver {
            Driver::AfXdp(xdp) => xdp.own(owned).map_err(|cause| cause.of(&self.name)),
            #[cfg(feature = "dpdk")]
            Driver::Dpdk(_) => Ok(()),
            Driver::Tap(_) | Driver::Pcap(_) | Driver::Memory => Ok(()),
        }
    }

    /// The kernel's number for the interface below the port, where the kernel's news about it (`RTM_NEWLINK`) say the state of its link.
    pub fn interface(&self) -> Option<u32> {
        if let Driver::AfXdp(xdp) = &self.driver { Some(xdp.index()) } else { None }
    }

    /// The state of the link as the device itself knows it; `None` when it is to be learnt from the kernel's news about its
    /// [`interface`](Self::interface).
    pub fn link(&self) -> Option<LinkState> {
        match &self.driver {
            Driver::AfXdp(_) => None,
            #[cfg(feature = "dpdk")]
            Driver::Dpdk(port) => Some(if port.borrow().link().up { LinkState::Up } else { LinkState::NoCarrier }),
            Driver::Tap(tap) => Some(tap.link()),
            Driver::Pcap(_) | Driver::Memory => Some(LinkState::Up),
        }
    }

    /// Whether nothing that is sent now would leave. What a DPDK driver says of its link is not relied on: not every one keeps it.
    pub fn is_shut(&self, link: LinkState) -> bool {
        match &self.driver {
            Driver::AfXdp(_) => link != LinkState::Up,
            Driver::Tap(_) => matches!(link, LinkState::Down | LinkState::Gone),
            #[cfg(feature = "dpdk")]
            Driver::Dpdk(_) => false,
            Driver::Pcap(_) | Driver::Memory => false,
        }
    }

    /// Lets the kernel see a carrier on its end of a TAP, or none; on other ports there is no such end, and nothing happens.
    ///
    /// # Errors
    /// The kernel refused: the interface has gone.
    pub fn set_carrier(&self, carrier: bool) -> Result<(), PortError> {
        if let Driver::Tap(tap) = &self.driver {
            tap.set_carrier(carrier).map_err(|cause| cause.of(&self.name))?;
        }
        Ok(())
    }
}

/// A queue on its way to the core that will poll it.
#[derive(Debug)]
pub struct QueueSeed {
    name: String,
    seed: Seed,
}

#[derive(Debug)]
enum Seed {
    AfXdp(AfXdpSeed),
    #[cfg(feature = "dpdk")]
    Dpdk(DpdkSeed),
    Tap(TapSeed),
    Pcap(PcapSeed),
    Memory,
}

const _: () = {
    const fn crosses_threads<T: Send>() {}
    crosses_threads::<Device>();
    crosses_threads::<QueueSeed>();
};

impl QueueSeed {
    /// The port's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Binds the queue to the core's frame memory.
    ///
    /// # Errors
    /// The memory's shape does not suit the port, or the queue is in use.
    pub fn attach(self, arena: &Arena) -> Result<Port, PortError> {
        let port = match self.seed {
            Seed::AfXdp(xdp) => xdp.attach(arena).map(Port::AfXdp),
            #[cfg(feature = "dpdk")]
            Seed::Dpdk(dpdk) => Ok(Port::Dpdk(Box::new(dpdk.attach()))),
            Seed::Tap(tap) => tap.attach(arena).map(Port::Tap),
            Seed::Pcap(pcap) => Ok(Port::Pcap(pcap.attach())),
            Seed::Memory => Ok(Port::Memory(MemoryPort::looped(MEMORY_DEPTH))),
        };
        port.map_err(|cause| cause.of(&self.name))
    }
}

fn memory_info(spec: &PortSpec, queues: u16) -> PortInfo {
    PortInfo {
        mac: spec.mac.unwrap_or_else(|| MacAddr::local(&spec.name)),
        mtu: spec.mtu,
        queues,
        capabilities: super::Capabilities { rx_max: u32::from(spec.mtu) + ETHERNET, ..Default::default() },
        driver: "memory".to_owned(),
    }
}

/// Bytes of an Ethernet header with one VLAN tag.
pub(super) const ETHERNET: u32 = 18;
