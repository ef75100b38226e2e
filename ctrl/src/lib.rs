//! Everything that thinks: the configuration, its compilation to the data plane's tables, publishing and reloading, the admin API
//! and telemetry. One thread, a tokio current-thread runtime, everything that may block; packets are the data plane's.
//!
//! The modules in the order in which a configuration passes them:

/// What is wrong with a configuration file, where, and what to write instead.
pub mod diagnostic;

/// The configuration file: text, raw tables, checked configuration.
pub mod config;

/// The threads that move packets.
pub mod cores;
