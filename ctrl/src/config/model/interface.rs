//! The checked interfaces: what IP sees of the links.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::Serialize;

use super::{DuplicateDetection, InterfaceAddress, Mac, Name, Reference, ReversePath, SegmentLimit, TagProtocol};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name: that of the table it is made from.
    pub name: Name,
    /// What is below it.
    #[serde(flatten)]
    pub link: Link,
    /// Its routing domain; `None` for the main one.
    pub vrf: Option<Reference>,
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
    /// What is asked of the sources of packets.
    pub reverse_path: ReversePath,
    /// How long segments of TCP connections through it may be.
    pub tcp_mss: SegmentLimit,
    /// What hosts on the link are told.
    pub router_advertisements: Option<RouterAdvertisements>,
}

/// What is below an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "link", rename_all = "snake_case")]
pub enum Link {
    /// The port of the same name and place: its frames without a tag.
    Port,
    /// The frames of a port that have tags.
    Vlan {
        /// The port.
        port: Reference,
        /// EtherType of the tag, or of the outer of two.
        protocol: TagProtocol,
        /// Identifier of the outer tag, if there are two.
        outer: Option<u16>,
        /// Identifier of the tag, or of the inner of two.
        id: u16,
    },
    /// None: it only has addresses.
    Loopback,
    /// Ports and VLANs as one Ethernet.
    Bridge {
        /// What it joins.
        members: Vec<Reference>,
        /// Stations it learns.
        mac_limit: u32,
        /// Seconds it remembers a silent one.
        mac_age_s: u32,
        /// Frames per second and core that are flooded; `None` for no limit.
        flood_limit: Option<u32>,
        /// Stations that are known without being learnt.
        stations: Vec<Station>,
    },
}

/// A station of a bridge whose place is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Station {
    /// Its Ethernet address.
    pub mac: Mac,
    /// The member it is behind.
    pub member: Reference,
}

/// A TAP beside an interface, whose other end looks to the kernel like the interface.
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
    /// Least milliseconds between two.
    pub least_interval_ms: u32,
    /// Seconds for which the gateway is a default router; 0 if it is none.
    pub lifetime_s: u16,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other configuration is to be had by DHCPv6.
    pub other_configuration: bool,
    /// Hop limit of what hosts send; 0 if it is left to them.
    pub hop_limit: u8,
    /// Milliseconds for which a neighbour is reachable; 0 if it is left to the hosts.
    pub reachable_ms: u32,
    /// Milliseconds after which hosts ask again; 0 if it is left to them.
    pub retransmit_ms: u32,
    /// MTU of the link, bytes, if hosts are told.
    pub mtu: Option<u16>,
    /// The prefixes hosts are told of, each once.
    pub prefixes: Vec<AdvertisedPrefix>,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
}

/// What hosts are told about a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdvertisedPrefix {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Its addresses are on the link.
    pub on_link: bool,
    /// Hosts make addresses of their own in it.
    pub autonomous: bool,
    /// Seconds for which it is valid.
    pub valid_lifetime_s: u32,
    /// Seconds for which addresses in it are preferred.
    pub preferred_lifetime_s: u32,
}
