//! Layer 7: sessions as tasks on the core's own executor.

pub mod exec;
pub mod stream;
pub mod tls;
