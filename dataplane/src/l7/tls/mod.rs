//! TLS on a byte stream: rustls with ring, one stream type for both sides.
//!
//! Configurations are built by pure functions from plain values ([`ServerSpec`], [`ClientSpec`]) off the packet path;
//! [`accept`] and [`connect`] turn a transport into a [`TlsStream`], whose [`TlsStream::peer`] is proof of who is there.

mod client; // a cluster's configuration
mod error; // what can go wrong on a connection
mod identity; // who the peer is
mod names; // which certificate for which name
mod pem; // PEM to checked keys and CAs
mod provider; // cipher suites, groups, versions
mod queue; // records that wait to be sent
mod server; // a listener's configuration
mod session; // rustls without I/O
mod spec; // what a configuration is made of, and what can be wrong with it
mod stream; // the byte stream
mod tickets; // keys for resumption

pub use client::{ClientTls, Connector, Connectors};
pub use error::{CertificateFault, TlsError};
pub use identity::{Authenticated, Identity};
pub use server::ServerTls;
pub use spec::{
    ClientAuth, ClientSpec, ConfigFault, Doubt, KeyPair, MinVersion, Part, ServerSpec, TlsConfigError, TlsWarning,
    Trust, wall_clock,
};
pub use stream::{TlsStream, accept, connect};
pub use tickets::{ROTATION_S, TicketKeys};

use queue::Queue;

#[cfg(test)]
mod tests;
