//! The gateway's state as one document: what `/stats?format=json` answers, and what `tidegate stats` and `tidegate top` show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything at a glance. Counters count from the start of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The running version.
    pub version: String,
    /// `serve`, `drain` or `stop`.
    pub phase: String,
    /// Number of the tables published last.
    pub generation: u64,
    /// Older tables still held.
    pub retired_generations: usize,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Milliseconds since the start, by a clock that is never set: the time between two documents of one process.
    pub uptime_ms: u64,
    /// Reloads taken and refused.
    pub reloads: Reloads,
    /// Each core.
    pub cores: Vec<Core>,
    /// Each port.
    pub ports: Vec<Port>,
    /// Packets lost, by reason; reasons that did not occur are left out.
    pub drops: BTreeMap<String, u64>,
    /// TCP.
    pub tcp: Tcp,
    /// HTTP.
    pub http: Http,
    /// Each cluster.
    pub clusters: Vec<Cluster>,
}

/// Reloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// Taken.
    pub accepted: u64,
    /// Refused.
    pub refused: u64,
    /// What the last refusal said; empty if the last reload was taken.
    pub last_refusal: String,
}

/// A core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Core {
    /// Its CPU.
    pub cpu: u16,
    /// Number of the tables it runs on.
    pub generation: u64,
    /// Turns.
    pub turns: u64,
    /// Turns without work.
    pub idle_turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Share of the cycles that had work, since the start.
    pub busy_percent: f64,
    /// Time-stamp counter ticks in turns that had work.
    pub busy_cycles: u64,
    /// Ticks since the core began, sleep included.
    pub total_cycles: u64,
    /// Packets received, over all ports.
    pub rx_packets: u64,
    /// Packets sent, over all ports.
    pub tx_packets: u64,
    /// Free packet buffers.
    pub free_frames: u64,
    /// Panics contained.
    pub restarts: u64,
    /// Packets passed to other cores.
    pub handovers: u64,
    /// Cycles per packet of each stage that had packets, since the start.
    pub cycles_per_packet: BTreeMap<String, f64>,
    /// What went through each stage that had packets, and what it took.
    pub stages: BTreeMap<String, StageCounts>,
}

/// A stage on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCounts {
    /// Packets; polls of the stage `tasks`, expiries of `timers`.
    pub packets: u64,
    /// Time-stamp counter ticks.
    pub cycles: u64,
}

/// A port, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Driver and mode.
    pub driver: String,
    /// State of its link: `up`, `no-carrier`, `down` or `gone`.
    pub link: String,
    /// Its Ethernet address.
    pub mac: String,
    /// Its MTU.
    pub mtu: u16,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the driver could not deliver.
    pub rx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets refused for good: the link is down, or the driver cannot send them.
    pub tx_errors: u64,
    /// Packets copied on their way out.
    pub tx_copies: u64,
}

/// TCP, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Connections with buffers.
    pub live: u64,
    /// Established connections at rest.
    pub idle: u64,
    /// Half-open connections.
    pub half_open: u64,
    /// TIME-WAIT records.
    pub time_wait: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections that could not be opened.
    pub failed_opens: u64,
    /// Half-open connections given up.
    pub half_open_timeouts: u64,
    /// SYN cookies sent.
    pub cookies_sent: u64,
    /// Connections given up for silence of the peer.
    pub timeouts: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Resets received.
    pub resets_received: u64,
    /// Segments received.
    pub segments_in: u64,
    /// Segments sent.
    pub segments_out: u64,
    /// Data segments sent again.
    pub retransmits: u64,
    /// Times there was no buffer memory left.
    pub buffer_shortages: u64,
    /// Bytes of buffers.
    pub buffer_bytes: u64,
}

/// HTTP, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open.
    pub open_connections: u64,
    /// Client connections whose TLS handshake failed.
    pub handshake_failures: u64,
    /// Requests under way.
    pub active_requests: u64,
    /// Finished requests by class: none, 1xx to 5xx.
    pub requests: [u64; 6],
    /// Requests sent again.
    pub retries: u64,
    /// Pooled connections waiting.
    pub pooled: u64,
    /// Requests sent on a pooled connection.
    pub pool_hits: u64,
    /// Tunnels open.
    pub tunnels: u64,
    /// Bytes of request content received.
    pub request_bytes: u64,
    /// Bytes of response content sent.
    pub response_bytes: u64,
    /// From the first byte of a request to the last byte of its response.
    pub latency: Latency,
}

/// A distribution of times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Upper bounds of the buckets, microseconds; one bucket more than bounds.
    pub bounds_us: Vec<u64>,
    /// Requests up to each bound and above the one before; the last bucket has no bound.
    pub buckets: Vec<u64>,
    /// Sum of all times, microseconds.
    pub sum_us: u64,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: String,
    /// False if it could not be connected to, on any core, and nothing has come from it since.
    pub up: bool,
    /// Requests sent.
    pub requests: u64,
    /// Requests under way.
    pub active: u64,
    /// Requests that failed by its fault.
    pub failures: u64,
    /// Connections established.
    pub connects: u64,
    /// Connections that could not be established.
    pub connect_failures: u64,
}
