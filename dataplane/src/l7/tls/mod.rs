//! TLS on a byte stream: rustls with ring, one stream type for both sides.

mod error;

pub use error::{CertificateFault, TlsError};
