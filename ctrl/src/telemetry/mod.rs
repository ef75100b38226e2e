//! What is counted, for people and programs. Cores write their counters; here they are only read, so that asking costs them nothing.

/// The gateway's state as one document.
pub mod document;
/// Metric families and their text format.
pub mod family;

mod cores;
mod http;
mod process;
mod reading;
mod tcp;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l4;
use tidegate_dataplane::l7::metrics::HttpStats;
use tidegate_dataplane::stats::CoreStats;
use tidegate_dataplane::sync::counter::Counter;

use crate::status::Status;
use family::Family;

/// The counters of a process: made at start, the same until its end.
#[derive(Debug)]
pub struct Telemetry {
    /// When the process began.
    pub started: SystemTime,
    /// The same by a clock that is never set.
    pub since: Instant,
    /// Counters of each core.
    pub cores: Vec<CoreView>,
    /// The ports, in the order of their numbers.
    pub ports: Vec<PortView>,
}

/// One core's counters.
#[derive(Clone, Debug)]
pub struct CoreView {
    /// The CPU it is pinned to.
    pub cpu: u16,
    /// Turns, drops, stages, ports.
    pub stats: Arc<CoreStats>,
    /// TCP.
    pub tcp: Arc<l4::Stats>,
    /// HTTP.
    pub http: Arc<HttpStats>,
}

/// What is known about a port.
#[derive(Clone, Debug)]
pub struct PortView {
    /// Its name.
    pub name: String,
    /// Driver and mode.
    pub driver: String,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its MTU, bytes.
    pub mtu: u16,
}

impl Telemetry {
    /// Every metric.
    pub fn families(&self, status: &Status) -> Vec<Family> {
        let mut families = process::families(self, status);
        families.extend(cores::families(self, &status.tables, &status.links));
        families.extend(tcp::families(self));
        families.extend(http::families(self));
        families.extend(http::clusters(&status.tables));
        families
    }

    /// Milliseconds since the process began.
    pub fn uptime_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }

    /// A counter summed over all cores.
    pub(crate) fn sum(&self, counter: impl Fn(&CoreView) -> &Counter) -> u64 {
        self.cores.iter().map(|core| counter(core).value()).sum()
    }

    /// Client connections that are open.
    pub fn open_connections(&self) -> u64 {
        self.sum(|core| &core.http.open_connections)
    }
}
