//! What load, origin and every other station have to be told alike.

use core::net::IpAddr;

use tidegate_dataplane::io::{Drivers, PortSpec};

use super::{SetUpError, Wire};

/// Options of a program whose stations are at ports.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Seating {
    /// Processor to run on, with everything in this process.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Router for everything that is not on the link; once per family.
    #[arg(long)]
    pub(crate) gateway: Vec<IpAddr>,
    /// Longest IP packet, in bytes.
    #[arg(long, default_value_t = 1500)]
    pub(crate) mtu: u16,
    /// Microseconds an AF_XDP receive call may poll the driver on our own processor; 0 leaves that work to the sender's.
    #[arg(long, default_value_t = 0, value_name = "MICROSECONDS")]
    pub(crate) busy_poll: u32,
    /// Arguments of DPDK's environment abstraction layer.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, default_value = "--no-pci")]
    pub(crate) eal: String,
}

impl Seating {
    /// Binds this thread to its processor, if one is named.
    ///
    /// # Errors
    /// [`SetUpError::Cpu`].
    pub(crate) fn pin(&self) -> Result<(), SetUpError> {
        let pin = |cpu| tidegate_dataplane::io::affinity::pin(cpu).map_err(|error| SetUpError::Cpu(cpu, error));
        self.cpu.map_or(Ok(()), pin)
    }

    /// The port at `wire`, called `name` in errors.
    pub(crate) fn port(&self, wire: &Wire, name: &str) -> PortSpec {
        wire.spec(name, self.mtu, self.busy_poll)
    }

    /// The drivers behind all ports.
    pub(crate) fn drivers(&self) -> Drivers {
        Drivers::new(self.eal.split_whitespace().map(str::to_owned).collect())
    }
}
