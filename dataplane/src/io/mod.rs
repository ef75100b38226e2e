//! Ports: where packets come from and go to. The only place of the data plane that makes system calls.
//!
//! A port is opened in three steps. [`Device::open`] runs on the management thread and sets up what all cores share (an
//! interface's XDP program, a TAP, a DPDK device). [`Device::queue`] yields a [`QueueSeed`] per core, which is sent to the core's
//! thread; there [`QueueSeed::attach`] binds it to the core's frame memory and yields the [`Port`] that the worker polls.
//! A core that is restarted asks its device for a new seed.

pub mod checksum;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod memory;

use core::fmt;
use std::os::fd::RawFd;

use arrayvec::ArrayVec;

use crate::{
    batch::{BATCH, Batch},
    frame::{Arena, Frame},
    meta::{Meta, PortId},
    stats::PortStats,
};

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
pub enum Port {
    /// A wire within the process.
    Memory(memory::MemoryPort),
    /// A queue of a DPDK device. Boxed: it holds two batches of buffer pointers.
    #[cfg(feature = "dpdk")]
    Dpdk(Box<dpdk::DpdkQueue>),
}

impl Port {
    /// Receives into `batch` as many packets as there are and fit. Each gets `id` as its port.
    #[inline]
    pub fn rx(&mut self, id: PortId, arena: &Arena, batch: &mut Batch, stats: &PortStats) {
        let _ = arena;
        match self {
            Self::Memory(port) => port.rx(id, batch, stats),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(port) => port.rx(id, batch, stats),
        }
    }

    /// Sends packets from the front of `queue`. What stays in it did not fit; the caller decides whether to try again or drop it.
    #[inline]
    pub fn tx(&mut self, arena: &Arena, queue: &mut TxQueue, stats: &PortStats) {
        let _ = arena;
        match self {
            Self::Memory(port) => port.tx(queue, stats),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(port) => port.tx(queue, stats),
        }
    }

    /// Tells the driver that the turn's packets are all queued (one kick per turn).
    #[inline]
    pub fn flush(&mut self) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "dpdk")]
            Self::Dpdk(port) => port.flush(),
        }
    }

    /// A descriptor that becomes readable when packets arrive, to sleep on; `None` when the port can only be polled.
    pub fn wait_fd(&self) -> Option<RawFd> {
        match self {
            Self::Memory(_) => None,
            #[cfg(feature = "dpdk")]
            Self::Dpdk(_) => None,
        }
    }
}
