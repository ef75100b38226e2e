//! What the gateway is doing now, as the admin API sees it: made anew by the control loop at each change, never changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tidegate_dataplane::io::LinkState;
use tidegate_dataplane::tables::Tables;

use crate::config::Config;
use crate::config::pem::Summary;
use crate::conflicts::Disputes;
use crate::kernel::monitor::Counts;
use crate::publish::Routes;

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Ports are opened and cores started.
    Start,
    /// New connections are accepted.
    Serve,
    /// Open connections finish.
    Drain,
    /// Cores leave their loops.
    Stop,
}

impl Phase {
    /// All, in the order of a life.
    pub const ALL: &'static [Self] = &[Self::Start, Self::Serve, Self::Drain, Self::Stop];

    /// The word in statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Serve => "serve",
            Self::Drain => "drain",
            Self::Stop => "stop",
        }
    }
}

/// A picture of the control loop's state.
#[derive(Clone, Debug)]
pub struct Status {
    /// What the process is doing.
    pub phase: Phase,
    /// Number of the tables published last.
    pub generation: u64,
    /// Older tables that are still held.
    pub retired: usize,
    /// The configuration they were made from.
    pub config: Arc<Config>,
    /// The certificates in use, by file.
    pub certificates: BTreeMap<PathBuf, Vec<Summary>>,
    /// The state of each port's link, by its number.
    pub links: Vec<LinkState>,
    /// The tables.
    pub tables: Arc<Tables>,
    /// Prefixes whose way was learnt from the kernel.
    pub learnt: usize,
    /// All routes.
    pub routes: Arc<Mutex<Routes>>,
    /// Other stations that use our addresses.
    pub disputes: Arc<Disputes>,
    /// How learning them went.
    pub kernel: Counts,
    /// CPUs of cores that do not turn.
    pub stalled: Vec<u16>,
    /// Reloads so far.
    pub reloads: Reloads,
    /// Access-log lines handed to the writer.
    pub access_written: u64,
    /// Access-log lines the writer lost.
    pub access_lost: u64,
}

/// Reloads so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Taken.
    pub accepted: u64,
    /// Refused.
    pub refused: u64,
    /// Whether the last one was taken; true before the first.
    pub last_accepted: bool,
    /// When the configuration in use was taken, Unix time.
    pub last_accepted_unix_s: u64,
    /// What the last refusal said.
    pub last_refusal: String,
}
