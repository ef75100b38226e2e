//! The checked configuration: every value possible, every reference resolved, every path absolute.
//!
//! Only [`Raw::check`](super::raw::Raw) makes one. It serializes to what `/config_dump` shows.

mod interface;
mod kernel;
mod policy;
mod port;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

pub use super::raw::{
    AccessLog, Alpn, Balance, Capture, ClientAuth, Congestion, DuplicateDetection, ForwardedField, Idle, LogLevel,
    Protocol, RetryOn, ReversePath, SynCookies, TagProtocol, TlsVersion, XdpMode, ZeroCopy,
};
pub use super::scalar::{InterfaceAddress, Mac, Name};
pub use super::segment::SegmentLimit;
pub use super::select::{Dscp, PortRange, Transport};
pub use interface::{AdvertisedPrefix, HostLink, Interface, Link, RouterAdvertisements, Station};
pub use kernel::{KernelRoutes, VrfTable};
pub use policy::{Policy, PolicyAction};
pub use port::{Driver, Port};

/// What the main routing domain is called where it must be named.
pub const MAIN: &str = "main";
/// What stands for every routing domain in questions.
pub const ALL: &str = "all";

/// The configuration of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[admin]`.
    pub admin: Admin,
    /// `[log]`.
    pub log: Log,
    /// `[dpdk]`.
    pub dpdk: Dpdk,
    /// `[tcp]`.
    pub tcp: Tcp,
    /// `[icmp]`.
    pub icmp: Icmp,
    /// `[neighbor_table]`.
    pub neighbor_table: NeighborTable,
    /// `[[port]]`, in the order of the file; a port's place here is its number.
    pub ports: Vec<Port>,
    /// What IP sees: the ports in their order, then everything else that has addresses. References to interfaces count here.
    pub interfaces: Vec<Interface>,
    /// `[[vrf]]`: the routing domains beside the main one.
    pub vrfs: Vec<Name>,
    /// `[[route]]`.
    pub routes: Vec<Route>,
    /// `[[policy]]`, in the order of the file.
    pub policies: Vec<Policy>,
    /// `[kernel_routes]`.
    pub kernel_routes: KernelRoutes,
    /// `[[neighbor]]`.
    pub neighbors: Vec<Neighbor>,
    /// `[[listener]]`.
    pub listeners: Vec<Listener>,
    /// `[[cluster]]`.
    pub clusters: Vec<Cluster>,
    /// `[[http_route]]`.
    pub http_routes: Vec<HttpRoute>,
}

/// A table of the same configuration that another table names: its place in the list of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Place in the list.
    pub index: usize,
    /// The name in the file.
    pub name: Name,
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name.serialize(serializer)
    }
}

/// The cores and how they wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// CPU numbers, each once, at least one.
    pub cores: Vec<u16>,
    /// What a core does without work.
    pub idle: Idle,
    /// Turns without a packet before it sleeps.
    pub idle_turns: u32,
    /// Packet buffers per core.
    pub frames_per_core: u32,
    /// Bytes of a packet buffer, a power of two.
    pub frame_size: u32,
    /// Seconds a drain may take.
    pub drain_timeout_s: u32,
}

/// The admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Unix socket.
    pub socket: PathBuf,
    /// Kernel address for the read-only part.
    pub http: Option<SocketAddr>,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Where the access log goes.
    pub access: AccessLog,
    /// Least severe message written.
    pub level: LogLevel,
}

/// DPDK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dpdk {
    /// Arguments of its environment abstraction layer.
    pub eal_args: Vec<String>,
}

/// The TCP stack, per core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tcp {
    /// Most connections.
    pub max_connections: u32,
    /// Most half-open connections.
    pub half_open_limit: u32,
    /// When SYN cookies are used.
    pub syn_cookies: SynCookies,
    /// Seconds to a keep-alive probe.
    pub keepalive_s: Option<u32>,
    /// Seconds data may stay unacknowledged.
    pub user_timeout_s: u32,
    /// Receive buffer, bytes.
    pub receive_buffer: u32,
    /// Send buffer, bytes.
    pub send_buffer: u32,
    /// Bytes of buffers of all connections.
    pub buffer_memory: u64,
    /// Congestion control.
    pub congestion: Congestion,
}

/// ICMP messages of each core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Icmp {
    /// Errors per second.
    pub errors_per_second: u32,
    /// Errors at once.
    pub errors_at_once: u32,
    /// Echo replies per second.
    pub replies_per_second: u32,
}

/// Bounds of each core's table of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NeighborTable {
    /// Neighbours beside the static ones.
    pub entries: u32,
    /// New ones asked for per second.
    pub questions_per_second: u32,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Destinations.
    pub to: IpNet,
    /// The routing domain whose packets it is for; `None` for the main one.
    pub vrf: Option<Reference>,
    /// What happens to packets for them. Many routes have the same.
    pub target: Arc<RouteTarget>,
}

/// What happens to packets of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    /// Each flow takes one of these, at least one.
    NextHops(Vec<NextHop>),
    /// Dropped in silence.
    Blackhole,
    /// Dropped, and the sender is told.
    Unreachable,
    /// Dropped, and the sender is told that it is forbidden.
    Prohibit,
}

/// A next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NextHop {
    /// The router; `None` when the destinations are neighbours on the interface.
    pub via: Option<IpAddr>,
    /// The interface that leads there.
    pub interface: Reference,
    /// Share of the flows.
    pub weight: u16,
}

/// A static neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbor {
    /// The interface.
    pub interface: Reference,
    /// Its address.
    pub address: IpAddr,
    /// Its Ethernet address.
    pub mac: Mac,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Address and port; unspecified means every own address of the family.
    pub address: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// Seconds between requests.
    pub idle_timeout_s: u32,
    /// Seconds for a head.
    pub header_timeout_s: u32,
    /// Seconds for a request.
    pub request_timeout_s: Option<u32>,
    /// Bytes of a head.
    pub max_head_bytes: u32,
    /// Bytes of request content; `None` is no limit.
    pub max_body_bytes: Option<u64>,
    /// Milliseconds for which unread content is discarded.
    pub linger_ms: u32,
    /// Least average rate of a client, bytes per second; 0 is none.
    pub min_rate_bytes_s: u32,
    /// Fields that tell backends about the client.
    pub forwarded: Vec<ForwardedField>,
    /// Peers whose own forwarding fields are believed.
    pub trusted_peers: Vec<IpNet>,
    /// Whether connections may become WebSocket tunnels.
    pub websocket: bool,
    /// TLS.
    pub tls: Option<ListenerTls>,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerTls {
    /// At least one.
    pub certificates: Vec<CertifiedKey>,
    /// Client certificates.
    pub client_auth: ClientVerification,
    /// Oldest version.
    pub min_version: TlsVersion,
    /// Protocols offered, best first.
    pub alpn: Vec<Alpn>,
    /// Resumption.
    pub session_tickets: bool,
}

/// Files of a certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertifiedKey {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Whether and how client certificates are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "client_auth", rename_all = "snake_case")]
pub enum ClientVerification {
    /// Not asked for.
    None,
    /// Verified if shown.
    Optional(ClientTrust),
    /// Demanded.
    Required(ClientTrust),
}

/// Who vouches for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientTrust {
    /// Authorities.
    pub ca: PathBuf,
    /// Revocation lists.
    pub crl: Vec<PathBuf>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: Name,
    /// How a backend is chosen.
    pub balance: Balance,
    /// Backends, each once, at least one.
    pub endpoints: Vec<SocketAddr>,
    /// Milliseconds to connect.
    pub connect_timeout_ms: u32,
    /// Seconds an unused connection is kept.
    pub idle_timeout_s: u32,
    /// Unused connections kept per core and backend.
    pub max_idle_per_core: u32,
    /// TLS.
    pub tls: Option<UpstreamTls>,
}

/// TLS towards backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamTls {
    /// The name that must be in the certificate.
    pub server_name: String,
    /// Authorities.
    pub ca: PathBuf,
    /// Our own certificate.
    pub identity: Option<CertifiedKey>,
    /// Oldest version.
    pub min_version: TlsVersion,
    /// Protocols offered, best first.
    pub alpn: Vec<Alpn>,
}

/// An HTTP route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRoute {
    /// Its name, given or `route-N`.
    pub name: Name,
    /// The listeners, at least one if the file has any.
    pub listeners: Vec<Reference>,
    /// Hosts in lower case, `*.` in front of a wildcard; empty is all.
    pub hostnames: Vec<String>,
    /// One of these must hold; at least one.
    pub matches: Vec<PathMatch>,
    /// Shares; the sum of weights is not 0.
    pub backends: Vec<BackendRef>,
    /// Milliseconds for a request; 0 is no limit; `None` is the listener's.
    pub request_timeout_ms: Option<u32>,
    /// Retries.
    pub retry: Retry,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// It, or something below it. No slash at the end, except for the root.
    PathPrefix(String),
    /// Exactly it.
    PathExact(String),
}

/// A share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendRef {
    /// The cluster.
    pub cluster: Reference,
    /// Its share.
    pub weight: u32,
}

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// How often.
    pub attempts: u32,
    /// After which failures.
    pub on: Vec<RetryOn>,
}
