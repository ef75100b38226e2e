//! Layer 7: sessions as tasks on the core's own executor.

pub mod exec;
