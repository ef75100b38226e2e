//! `[[cluster]]` and `[cluster.tls]`: the backends.

use std::net::SocketAddr;

use crate::config::scalar::{FilePath, Int, Name};
use crate::config::slot::{At, List, Optional, Required};
use crate::config::table::{table, words};

use super::listener::{Alpn, TlsVersion};

table! {
    /// A group of backends that do the same work.
    pub struct Cluster("[[cluster]]") {
        /// Name in metrics, logs and routes; unique.
        name: Required<Name>;
        /// How the next backend is chosen.
        balance: At<Balance> = Balance::RoundRobin, "\"round_robin\"";
        /// Addresses of the backends. A change here reaches new requests at once; connections in use finish.
        endpoints: Required<List<SocketAddr>>;
        /// Milliseconds a connection to a backend may take to be made, TLS included; then the request is retried or answered
        /// with 504.
        connect_timeout_ms: At<Int<1, 600_000>> = Int::new(1000), "1000";
        /// Seconds an unused connection to a backend is kept. Keep it below the backend's own limit, or a request may meet a
        /// connection that is just being closed.
        idle_timeout_s: At<Int<0, 86_400>> = Int::new(30), "30";
        /// Most unused connections each core keeps per backend; 0 makes a connection for every request.
        max_idle_per_core: At<Int<0, 65_536>> = Int::new(256), "256";
        /// TLS towards the backends. Without it they are spoken to in plain text.
        tls: Optional<UpstreamTls>;
    }
}

words! {
    /// How the next backend is chosen.
    pub enum Balance {
        /// One after the other, each core for itself.
        RoundRobin = "round_robin",
    }
}

table! {
    /// TLS towards backends.
    pub struct UpstreamTls("[cluster.tls]") {
        /// Name the backend's certificate must have, also sent as its server name (SNI) unless it is an IP address.
        server_name: Required<String>;
        /// PEM file with the authorities that may sign the backends' certificates.
        ca: Required<FilePath>;
        /// PEM file with our own certificate chain, for backends that ask for one. Needs `key`.
        certificate: Optional<FilePath>;
        /// PEM file with the private key of `certificate`.
        key: Optional<FilePath>;
        /// Oldest version spoken.
        min_version: At<TlsVersion> = TlsVersion::V12, "\"1.2\"";
        /// Protocols offered in the handshake, best first.
        alpn: At<List<Alpn>> = Vec::new(), "[]";
    }
}
