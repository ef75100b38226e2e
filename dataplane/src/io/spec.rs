//! What the operator wants a port to be: checked words of the configuration, without its format.

use std::path::PathBuf;

use ipnet::IpNet;

use super::MacAddr;

/// A port to open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSpec {
    /// The port's name in the configuration; errors and counters carry it.
    pub name: String,
    /// What moves its packets.
    pub driver: DriverSpec,
    /// Hardware address to use instead of the device's own.
    pub mac: Option<MacAddr>,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
}

/// The driver of a port and what only that driver knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriverSpec {
    /// A kernel network interface through AF_XDP sockets.
    AfXdp(AfXdpSpec),
    /// A TAP interface: the other end is this machine's own kernel.
    Tap(TapSpec),
    /// A device under DPDK, physical or virtual.
    Dpdk(DpdkSpec),
    /// Capture files in place of a wire, for tests and benches.
    Pcap(PcapSpec),
    /// A wire whose two ends are this port: what is sent is received again.
    Memory,
}

/// Which kernel hook runs the XDP program.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum XdpMode {
    /// Native, or generic where the driver has no native hook.
    #[default]
    Auto,
    /// In the driver, before a socket buffer exists. Refused where the driver cannot.
    Native,
    /// Behind the driver, on socket buffers: works everywhere, costs a copy and an allocation per packet.
    Generic,
}

/// Whether the NIC reads and writes the frame memory itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ZeroCopy {
    /// Where the driver can, else the kernel copies.
    #[default]
    Auto,
    /// Refused where the driver cannot.
    On,
    /// The kernel copies: one `memcpy` per packet, no demands on the driver.
    Off,
}

/// Which packets of the interface are ours.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Capture {
    /// All: the kernel sees none.
    #[default]
    All,
    /// Those to [`AfXdpSpec::owned`] addresses, with ARP and neighbour solicitations for them; the kernel keeps the rest.
    Owned,
}

/// An AF_XDP port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfXdpSpec {
    /// The network interface.
    pub interface: String,
    /// Native or generic XDP.
    pub mode: XdpMode,
    /// Zero-copy or copy.
    pub zero_copy: ZeroCopy,
    /// All packets or our own.
    pub capture: Capture,
    /// Destinations taken from the kernel with [`Capture::Owned`]; replaced by [`Device::own`](super::Device::own) on reload.
    pub owned: Vec<IpNet>,
    /// The core polls the driver in its own system calls, and the device holds its interrupts back for this many microseconds
    /// after each poll; 0 = off. Of no effect where the kernel does not know the NAPI instance of a queue (veth).
    pub busy_poll_us: u32,
}

impl AfXdpSpec {
    /// Everything that arrives on `interface`, in the best mode the driver has.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            mode: XdpMode::Auto,
            zero_copy: ZeroCopy::Auto,
            capture: Capture::All,
            owned: Vec::new(),
            busy_poll_us: 0,
        }
    }
}

/// A TAP port. The interface is made when the port opens and goes away with the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapSpec {
    /// Name of the kernel's end, at most 15 bytes.
    pub interface: String,
    /// Leave transport checksums to whoever is last to touch the packet, in both directions.
    pub checksum_offload: bool,
    /// Pass TCP super-segments in both directions. Needs `checksum_offload`, and frames of 65536 bytes to receive them.
    pub gso: bool,
}

impl TapSpec {
    /// A TAP called `interface` with checksum offload.
    pub fn new(interface: impl Into<String>) -> Self {
        Self { interface: interface.into(), checksum_offload: true, gso: false }
    }
}

/// A DPDK port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DpdkSpec {
    /// A virtual device with its arguments (`net_af_xdp0,iface=eth1`), or the PCI address or name of a device that DPDK finds.
    pub device: String,
    /// Use the device's checksum offloads where it has them.
    pub checksum_offload: bool,
}

/// Capture files (classic pcap, Ethernet) as a port with one queue.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PcapSpec {
    /// Packets to receive, in file order, as fast as they are asked for. Held in memory.
    pub read: Option<PathBuf>,
    /// Begin again at the end of `read`, for ever.
    pub repeat: bool,
    /// Where sent packets are written; an existing file is replaced.
    pub write: Option<PathBuf>,
}
