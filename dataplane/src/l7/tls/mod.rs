//! TLS on a byte stream, one stream type for both sides: rustls shakes hands and keeps the secrets that keys come from;
//! records are sealed and opened here, with ring, where they lie (docs/adr/0006).
//!
//! Configurations are built by pure functions from plain values ([`ServerSpec`], [`ClientSpec`]) off the packet path;
//! [`accept`] and [`connect`] turn a transport into a [`TlsStream`], whose [`TlsStream::peer`] is proof of who is there.

mod client; // a cluster's configuration
mod control; // what a peer says besides data
mod error; // what can go wrong on a connection
mod handshake; // rustls, until there are keys
mod identity; // who the peer is
mod names; // which certificate for which name
mod pem; // PEM to checked keys and CAs
mod provider; // cipher suites, groups, versions
mod record; // records and their keys
mod server; // a listener's configuration
mod spec; // what a configuration is made of, and what can be wrong with it
mod stream; // the byte stream
mod tickets; // keys for resumption
mod traffic; // an established connection without I/O
mod window; // buffers

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
pub use window::Buffers;

#[cfg(test)]
mod tests;
