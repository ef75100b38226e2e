//! Ports: where packets come from and go to. The only place of the data plane that makes system calls.
//!
//! A port is opened in three steps. [`Device::open`] runs on the management thread and sets up what all cores share (an
//! interface's XDP program, a TAP, a DPDK device). [`Device::queue`] yields a [`QueueSeed`] per core, which is sent to the core's
//! thread; there [`QueueSeed::attach`] binds it to the core's frame memory and yields the [`Port`] that the worker polls.
//! A core that is restarted asks its device for a new seed.

pub mod affinity; // threads to processors
pub mod checksum; // RFC 1071, RFC 1624
pub mod heap; // where large blocks come from
pub mod error; // why a port did not open, and the remedy
pub mod spec; // what the operator asked for
mod device; // what all cores share of a port
mod drivers; // what all ports share
mod link; // network interfaces of the kernel
pub mod memory; // a wire within one thread
pub mod prefetch; // memory asked for ahead of its use
pub mod park; // sleeping on ports
pub mod pcap; // capture files
pub mod segment; // super-segments into packets
pub mod tap;
pub mod af_xdp;
#[cfg(feature = "dpdk")]
pub mod dpdk;

use core::fmt;
use std::os::fd::RawFd;

use arrayvec::ArrayVec;

use crate::{
    batch::{BATCH, Batch},
    frame::{Arena, Frame},
    meta::{Meta, PortId},
    stats::PortStats,
};

pub use device::{Device, QueueSeed};
pub use drivers::Drivers;
pub use error::PortError;
pub use link::LinkState;
pub use spec::{DriverSpec, PortSpec};

/// A hardware (MAC) address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group of stations (broadcast included).
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// A unicast, locally administered address that is always the same for `name`: FNV-1a of its bytes.
    pub fn local(name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
        Self([(a & 0xfc) | 0x02, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a port can do for the stages above.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Capabilities {
    /// The port completes transport checksums ([`Flags::CHECKSUM_PARTIAL`](crate::meta::Flags::CHECKSUM_PARTIAL)) on transmit.
    pub tx_checksum: bool,
    /// The port cuts TCP super-segments ([`Meta::segment_size`]) on transmit, up to this many bytes of IP packet; 0 = it does not.
    pub tx_segment: u32,
    /// The longest Ethernet frame the port may deliver, in bytes: above the MTU when the peer segments late.
    pub rx_max: u32,
}

/// What is known about an open device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// The address that frames to us carry.
    pub mac: MacAddr,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
    /// Receive and transmit queues that cores can be attached to.
    pub queues: u16,
    /// Offloads.
    pub capabilities: Capabilities,
    /// Driver and mode for people: `af_xdp native copy`, `tap vnet`, `dpdk net_tap`.
    pub driver: String,
}

/// Packets on their way to one port.
pub type TxQueue = ArrayVec<(Frame, Meta), BATCH>;

/// A port as one core sees it: one receive and one transmit queue. An enum, not a trait object, so that the poll loop inlines it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few per core, and a box would be one more cache line per batch")]
pub enum Port {
    /// A wire within the process.
    Memory(memory::MemoryPort),
    /// Capture files.
    Pcap(pcap::PcapPort),
    /// A queue of a TAP interface.
    Tap(tap::TapPort),
    /// A queue of a network interface.
    AfXdp(af_xdp::AfXdpPort),
    /// A queue of a DPDK device. Boxed: it holds two batches of buffer pointers.
    #[cfg(feature = "dpdk")]
    Dpdk(Box<dpdk::DpdkQueue>),
}

impl Port {
    /// Receives into `batch` as many packets as there are and fit. Each gets `id` as its port.
    #[inline]
    pub fn rx(&mut self, id: PortId, arena: &Arena, batch: &mut Batch, stats: &PortStats) {
        match self {
            Self::Memory(port) => port.rx(id, batch, stats),
            Self::Pcap(port) => port.rx(id, arena, batch, stats),
            Self::Tap(port) => port.rx(id, arena, batch, stats),
            Self::AfXdp(port) => port.rx(id, batch, stats),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(port) => port.rx(id, batch, stats),
        }
    }

    /// Sends packets from the front of `queue`. What stays in it did not fit; the caller decides whether to try again or drop it.
    /// What the driver refuses for good leaves the queue and is counted in [`PortStats::tx_errors`].
    #[inline]
    pub fn tx(&mut self, arena: &Arena, queue: &mut TxQueue, stats: &PortStats) {
        let _ = arena;
        match self {
            Self::Memory(port) => port.tx(queue, stats),
            Self::Pcap(port) => port.tx(queue, stats),
            Self::Tap(port) => port.tx(queue, stats),
            Self::AfXdp(port) => port.tx(queue, stats),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(port) => port.tx(queue, stats),
        }
    }

    /// Tells the driver that the turn's packets are all queued (one kick per turn).
    #[inline]
    pub fn flush(&mut self) {
        match self {
            Self::Memory(_) | Self::Tap(_) => {}
            Self::Pcap(port) => port.flush(),
            Self::AfXdp(port) => port.flush(),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(port) => port.flush(),
        }
    }

    /// A descriptor that becomes readable when packets arrive, to sleep on; `None` when the port can only be polled.
    pub fn wait_fd(&self) -> Option<RawFd> {
        match self {
            Self::Memory(_) | Self::Pcap(_) => None,
            Self::Tap(port) => Some(port.wait_fd()),
            Self::AfXdp(port) => Some(port.wait_fd()),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(_) => None,
        }
    }

    /// Makes sure that an arriving packet will wake a sleeper on [`Port::wait_fd`]; called before each sleep. `false` when there
    /// is something to do already, so that the core must not sleep.
    pub fn prepare_sleep(&mut self) -> bool {
        match self {
            Self::Memory(port) => port.is_idle(),
            Self::Pcap(port) => port.is_idle(),
            Self::Tap(_) => true,
            Self::AfXdp(port) => port.prepare_sleep(),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(_) => false,
        }
    }
}
