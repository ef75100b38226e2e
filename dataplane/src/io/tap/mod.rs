//! TAP ports: an interface of this machine's kernel whose wire is us.
//!
//! Each packet travels behind a virtio-net header ([`vnet`]), so that neither side computes a checksum that the other would only
//! verify again, and TCP super-segments pass whole.

mod device;
mod port;
mod vnet;

pub(super) use device::{TapDevice, TapSeed};
pub use port::TapPort;
