//! The checked ports.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use serde::Serialize;

use super::{Capture, DuplicateDetection, InterfaceAddress, Mac, Name, XdpMode, ZeroCopy};

/// A port.
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
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Its way to the kernel.
    pub host: Option<HostLink>,
    /// New addresses are announced.
    pub announce: bool,
    /// Whether others are asked for them.
    pub duplicate_detection: DuplicateDetection,
    /// What hosts on the link are told.
    pub router_advertisements: Option<RouterAdvertisements>,
}

/// A TAP beside a port, whose other end looks to the kernel like the port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostLink {
    /// Name of the TAP.
    pub interface: String,
    /// Packets per second and core for the kernel.
    pub limit: u32,
}

/// What hosts on a link are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouterAdvertisements {
    /// Most seconds between two advertisements.
    pub interval_s: u32,
    /// Seconds for which the gateway is a default router; 0 if it is none.
    pub lifetime_s: u16,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other configuration is to be had by DHCPv6.
    pub other_configuration: bool,
    /// Hosts make addresses of their own.
    pub autonomous: bool,
    /// Seconds for which the prefixes are valid.
    pub valid_lifetime_s: u32,
    /// Seconds for which addresses in them are preferred.
    pub preferred_lifetime_s: u32,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
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
