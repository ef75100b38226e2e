//! The kernel of the machine as a neighbour: its side of the host links (docs/adr/0005).

/// The kernel's image of a port.
pub mod link;

mod socket;
mod wire;

pub use link::{HostInterface, LinkError};
