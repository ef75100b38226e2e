//! What `tidegate top` shows, and prints with `-o json`: a picture of a gateway and what happened since the one before.
//!
//! A rate that cannot be known is `None`, `null` in JSON.

use serde::Serialize;

/// One picture of a gateway, with what happened since the one before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Frame {
    pub(super) version: String,
    pub(super) phase: String,
    pub(super) generation: u64,
    /// The tables are others than those of the picture before.
    pub(super) generation_changed: bool,
    /// The process is another than that of the picture before.
    pub(super) restarted: bool,
    pub(super) reloads_refused: u64,
    pub(super) uptime_s: u64,
    /// Time between the pictures; none for the first.
    pub(super) interval_s: Option<f64>,
    pub(super) ports: Vec<Port>,
    pub(super) cores: Vec<Core>,
    /// Most frequent first, then by name.
    pub(super) drops: Vec<Dropped>,
    pub(super) tcp: Tcp,
    pub(super) http: Http,
    pub(super) clusters: Vec<Cluster>,
}

/// A port, per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) link: String,
    pub(super) rx_packets_per_s: Option<f64>,
    pub(super) rx_bits_per_s: Option<f64>,
    pub(super) rx_errors_per_s: Option<f64>,
    pub(super) tx_packets_per_s: Option<f64>,
    pub(super) tx_bits_per_s: Option<f64>,
    pub(super) tx_errors_per_s: Option<f64>,
    pub(super) tx_copies_per_s: Option<f64>,
    /// Since the start.
    pub(super) rx_errors: u64,
    /// Since the start.
    pub(super) tx_errors: u64,
}

/// A core.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Core {
    pub(super) cpu: u16,
    /// Share of the time that had work.
    pub(super) load_percent: Option<f64>,
    /// Cycles with work per packet received or sent, whichever are more; none without packets.
    pub(super) cycles_per_packet: Option<f64>,
    pub(super) rx_packets_per_s: Option<f64>,
    pub(super) tx_packets_per_s: Option<f64>,
    pub(super) turns_per_s: Option<f64>,
    pub(super) sleeps_per_s: Option<f64>,
    pub(super) handovers_per_s: Option<f64>,
    pub(super) free_frames: u64,
    pub(super) generation: u64,
    /// It runs on tables that are not the last published.
    pub(super) behind: bool,
    pub(super) restarts: u64,
    /// Every stage that had work between the pictures, in packet order.
    pub(super) stages: Vec<Stage>,
}

/// A stage on a core.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) packets_per_s: f64,
    pub(super) cycles_per_packet: f64,
    /// Of all cycles that had work.
    pub(super) share_percent: f64,
}

/// A reason for which packets were lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Dropped {
    pub(super) reason: String,
    pub(super) per_s: Option<f64>,
    pub(super) total: u64,
}

/// TCP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tcp {
    /// Established: live and at rest.
    pub(super) open: u64,
    pub(super) live: u64,
    pub(super) at_rest: u64,
    pub(super) half_open: u64,
    pub(super) time_wait: u64,
    pub(super) buffer_bytes: u64,
    pub(super) accepted_per_s: Option<f64>,
    pub(super) opened_per_s: Option<f64>,
    pub(super) failed_opens_per_s: Option<f64>,
    pub(super) half_open_timeouts_per_s: Option<f64>,
    pub(super) cookies_sent_per_s: Option<f64>,
    pub(super) timeouts_per_s: Option<f64>,
    pub(super) resets_sent_per_s: Option<f64>,
    pub(super) resets_received_per_s: Option<f64>,
    pub(super) segments_in_per_s: Option<f64>,
    pub(super) segments_out_per_s: Option<f64>,
    pub(super) retransmits_per_s: Option<f64>,
    pub(super) buffer_shortages_per_s: Option<f64>,
}

/// HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Http {
    pub(super) open_connections: u64,
    pub(super) active_requests: u64,
    pub(super) pooled: u64,
    pub(super) tunnels: u64,
    pub(super) connections_per_s: Option<f64>,
    pub(super) handshake_failures_per_s: Option<f64>,
    pub(super) requests_per_s: Option<f64>,
    /// By class of status: none (cut off), 1xx to 5xx.
    pub(super) by_class_per_s: [Option<f64>; 6],
    pub(super) retries_per_s: Option<f64>,
    pub(super) pool_hits_per_s: Option<f64>,
    pub(super) request_bits_per_s: Option<f64>,
    pub(super) response_bits_per_s: Option<f64>,
    /// Of the requests that finished between the pictures, within the bucket by interpolation.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) mean_us: Option<f64>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) endpoints: Vec<Endpoint>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) up: bool,
    pub(super) active: u64,
    pub(super) requests_per_s: Option<f64>,
    pub(super) failures_per_s: Option<f64>,
    pub(super) connects_per_s: Option<f64>,
    pub(super) connect_failures_per_s: Option<f64>,
    /// Since the start.
    pub(super) failures: u64,
    /// Since the start.
    pub(super) connect_failures: u64,
}
