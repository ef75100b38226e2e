//! What the drivers of a process have in common: DPDK starts once, and only when a port asks for it.

use super::{Device, PortError, spec::PortSpec};
#[cfg(feature = "dpdk")]
use super::{dpdk::Eal, error::Cause, spec::DriverSpec};

/// Packet buffers made per DPDK port and queue: its descriptors, and what its packets may occupy elsewhere in the process.
#[cfg(feature = "dpdk")]
const BUFFERS: u32 = 8192;

/// Opens the ports of a process. Stays on the management thread.
pub struct Drivers {
    #[cfg(feature = "dpdk")]
    eal_args: Vec<String>,
    #[cfg(feature = "dpdk")]
    eal: Option<Eal>,
}

impl Drivers {
    /// `eal_args` is what the operator passes to DPDK's environment abstraction layer; unused without DPDK ports.
    #[cfg_attr(not(feature = "dpdk"), expect(clippy::needless_pass_by_value, reason = "kept with DPDK"))]
    pub fn new(eal_args: Vec<String>) -> Self {
        #[cfg(not(feature = "dpdk"))]
        let _ = eal_args;
        Self {
            #[cfg(feature = "dpdk")]
            eal_args,
            #[cfg(feature = "dpdk")]
            eal: None,
        }
    }

    /// Opens all ports, each to be served by `queues` cores. Those that are open when one fails are closed again.
    ///
    /// # Errors
    /// The first port that does not open, why, and what to do.
    pub fn open(&mut self, specs: &[PortSpec], queues: u16) -> Result<Vec<Device>, PortError> {
        #[cfg(feature = "dpdk")]
        self.start_dpdk(specs, queues)?;
        specs.iter().map(|spec| self.open_one(spec, queues)).collect()
    }

    #[cfg(feature = "dpdk")]
    fn open_one(&self, spec: &PortSpec, queues: u16) -> Result<Device, PortError> {
        match (&spec.driver, &self.eal) {
            (DriverSpec::Dpdk(dpdk), Some(eal)) => Device::on_dpdk(eal, spec, dpdk, queues),
            _ => Device::open(spec, queues),
        }
    }

    #[cfg(not(feature = "dpdk"))]
    fn open_one(&self, spec: &PortSpec, queues: u16) -> Result<Device, PortError> {
        Device::open(spec, queues)
    }

    /// Starts DPDK if a port needs it, with one pool of buffers for all, so that packets pass between its ports without a copy.
    #[cfg(feature = "dpdk")]
    fn start_dpdk(&mut self, specs: &[PortSpec], queues: u16) -> Result<(), PortError> {
        let ports: Vec<_> = specs.iter().filter(|spec| matches!(spec.driver, DriverSpec::Dpdk(_))).collect();
        let (Some(first), None) = (ports.first(), &self.eal) else { return Ok(()) };
        let blame = |error| Cause::Dpdk(error).of(&first.name);
        let eal = Eal::init(&self.eal_args).map_err(blame)?;
        let mtu = ports.iter().map(|spec| spec.mtu).max().unwrap_or(1500);
        eal.provide(ports.len() as u32 * u32::from(queues) * BUFFERS, mtu).map_err(blame)?;
        self.eal = Some(eal);
        Ok(())
    }
}

impl core::fmt::Debug for Drivers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Drivers").finish_non_exhaustive()
    }
}
