//! The checked ports.

use std::path::PathBuf;

use serde::Serialize;

use super::{Capture, Mac, Name, XdpMode, ZeroCopy};

/// A port: a device that moves frames. What IP does on it is its [`Interface`](super::Interface).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: Name,
    /// What moves its packets.
    #[serde(flatten)]
    pub driver: Driver,
    /// Its Ethernet address, if not the device's own.
    pub mac: Option<Mac>,
    /// Largest IP packet, bytes.
    pub mtu: u16,
}

/// A driver with what only it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "driver", rename_all = "snake_case")]
pub enum Driver {
    /// AF_XDP.
    AfXdp {
        /// Kernel device.
        interface: String,
        /// Where the XDP program runs.
        xdp_mode: XdpMode,
        /// Whether the device writes into our buffers.
        zero_copy: ZeroCopy,
        /// Which packets are taken.
        capture: Capture,
        /// Busy polling, µs; 0 is off.
        busy_poll_us: u32,
    },
    /// TAP.
    Tap {
        /// Name of the device.
        interface: String,
        /// Checksums left to the other end.
        checksum_offload: bool,
        /// Long segments.
        gso: bool,
    },
    /// DPDK.
    Dpdk {
        /// PCI address or virtual device.
        device: String,
        /// Checksums left to the device.
        checksum_offload: bool,
    },
    /// Files in pcap format.
    Pcap {
        /// What is received.
        read: Option<PathBuf>,
        /// Again and again.
        repeat: bool,
        /// Where the sent goes.
        write: Option<PathBuf>,
    },
    /// Memory.
    Memory,
}
