//! Everything that thinks: the configuration, its compilation to the data plane's tables, publishing and reloading, the admin API
//! and telemetry. One thread, a tokio current-thread runtime, everything that may block; packets are the data plane's.
//!
//! The modules in the order in which a configuration passes them:

/// What is wrong with a configuration file, where, and what to write instead.
pub mod diagnostic;

/// The configuration file: text, raw tables, checked configuration.
pub mod config;

/// From a checked configuration to the data plane's tables.
pub mod compile;

/// The tables in use, and those before them.
pub mod publish;

/// Taking over a changed file, or refusing it.
pub mod reload;

/// Addresses that wait until it is known that nobody else has them.
pub mod probation;

/// Other stations that use our addresses.
pub mod conflicts;

/// Next hops that cease to answer.
pub mod hops;

/// Notices changed files.
pub mod watch;

/// The kernel of the machine as a neighbour.
pub mod kernel;

/// The threads that move packets.
pub mod cores;

/// Prefixes in questions.
pub mod prefix;

/// Filters of captures and traces.
pub mod filter;

mod unix;

/// Asking the cores.
pub mod lines;

/// Capture files.
pub mod pcapng;

/// Packets that do not exist.
pub mod craft;

/// Packets' ways in words.
pub mod story;

/// What the gateway is doing, as the admin API sees it.
pub mod status;

/// What is counted, for people and programs.
pub mod telemetry;

/// The access log: from the cores' rings to JSON lines.
pub mod access_log;

/// The admin API and its client.
pub mod admin;

/// The loop that ties them together.
pub mod control;

/// From a loaded configuration to a running gateway.
pub mod boot;
