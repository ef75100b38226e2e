//! What sessions need of the core they run on: the current tables, and a way to reach endpoints. The product's core gives them TCP
//! and TLS; a test gives them streams in memory.

use core::fmt;
use core::ops::Deref;

use super::cluster::{Cluster, Endpoint};
use super::reason::Reason;
use super::stream::{ByteStream, StreamError};
use super::table::Table;

/// A core, as its sessions see it.
pub trait Platform: 'static {
    /// A connection to an endpoint, TLS included.
    type Upstream: ByteStream + 'static;
    /// Keeps the tables of one generation alive for one request.
    type Tables: Deref<Target = Table> + Clone;

    /// The tables for whatever starts now.
    fn tables(&self) -> Self::Tables;

    /// Whether open connections shall finish what they are doing and close.
    fn is_draining(&self) -> bool;

    /// Opens a connection that is ready to carry a request. The caller bounds the time by dropping the future.
    fn connect(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<Self::Upstream, UpstreamError>>;
}

/// Why an endpoint could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// It answered SYN with RST.
    Refused,
    /// There is no way to it.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// No local port, slot or memory is free.
    Exhausted,
    /// The TLS handshake failed.
    Tls(StreamError),
}

impl UpstreamError {
    /// How it is told to the client.
    pub fn reason(self) -> Reason {
        match self {
            UpstreamError::Refused => Reason::UpstreamConnectRefused,
            UpstreamError::Unreachable => Reason::UpstreamConnectUnreachable,
            UpstreamError::TimedOut => Reason::UpstreamConnectTimeout,
            UpstreamError::Exhausted => Reason::UpstreamConnectExhausted,
            UpstreamError::Tls(_) => Reason::UpstreamTlsFailed,
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamError::Tls(error) => write!(f, "TLS with the endpoint failed: {error}"),
            other => f.write_str(other.reason().word()),
        }
    }
}

impl core::error::Error for UpstreamError {}
