//! The file as it is written: every key with its place, nothing checked but form.
//!
//! Each declaration here is at once the decoder, the JSON Schema and the reference manual (`docs/configuration.md` is made from
//! it by a test), so a key's doc comment says unit, effect and cost.

mod bridge;
mod cluster;
mod interface;
mod kernel;
mod listener;
mod policy;
mod port;
mod process;
mod route;
mod target;
mod vlan;
mod vrf;

pub use bridge::{Bridge, Station};
pub use cluster::{Balance, Cluster, UpstreamTls};
pub use interface::{AdvertisedPrefix, DuplicateDetection, InterfaceKeys, ReversePath, RouterAdvertisements};
pub use kernel::{KernelRoutes, RouteProtocol};
pub use listener::{Alpn, CertifiedKey, ClientAuth, ForwardedField, Listener, ListenerTls, Protocol, TlsVersion};
pub use policy::Policy;
pub use port::{Capture, Driver, Neighbor, Port, Route, XdpMode, ZeroCopy};
pub use process::{
    AccessLog, Admin, Congestion, Dpdk, Icmp, Idle, Log, LogLevel, NeighborTable, Runtime, SynCookies, Tcp,
};
pub use route::{BackendRef, HttpMatch, HttpRoute, Retry, RetryOn, Timeouts};
pub use target::{RouteHop, TargetKeys};
pub use vlan::{TagProtocol, Vlan};
pub use vrf::{Loopback, Vrf};

use super::slot::{At, Tables};
use super::table::table;

table! {
    /// The configuration of one gateway.
    ///
    /// Addresses are strings, durations are whole numbers with the unit at the end of the key, paths are relative to the
    /// directory of the file.
    pub struct Raw("the file") {
        /// The cores that move packets and how they wait.
        runtime: At<Runtime>;
        /// Where the gateway is asked and told things while it runs.
        admin: At<Admin>;
        /// What is written where.
        log: At<Log>;
        /// Passed to DPDK's environment abstraction layer; only for ports with `driver = "dpdk"`.
        dpdk: At<Dpdk>;
        /// The TCP stack.
        tcp: At<Tcp>;
        /// How many ICMP messages are sent.
        icmp: At<Icmp>;
        /// How many neighbours are known and asked for.
        neighbor_table: At<NeighborTable>;
        /// The network ports the gateway owns.
        port: Tables<Port>;
        /// Interfaces made of frames with VLAN tags.
        vlan: Tables<Vlan>;
        /// Ports and VLANs as one Ethernet.
        bridge: Tables<Bridge>;
        /// Addresses that are on no link.
        loopback: Tables<Loopback>;
        /// Routing domains beside the main one.
        vrf: Tables<Vrf>;
        /// Static routes. The subnets of the ports are routes already.
        route: Tables<Route>;
        /// Rules that come before the routes, in order.
        policy: Tables<Policy>;
        /// Routes learnt from daemons on this machine.
        kernel_routes: At<KernelRoutes>;
        /// Static neighbours. All others are found by ARP and neighbour discovery.
        neighbor: Tables<Neighbor>;
        /// Addresses on which connections are accepted.
        listener: Tables<Listener>;
        /// Groups of backends that do the same work.
        cluster: Tables<Cluster>;
        /// Which requests go to which cluster.
        http_route: Tables<HttpRoute>;
    }
}

impl Raw {
    /// Decodes a parsed document.
    pub fn decode(document: &toml::de::DeTable<'_>, cx: &mut super::decode::Decoder) -> Self {
        Self::from_table(document, crate::diagnostic::Span::default(), cx)
    }
}
