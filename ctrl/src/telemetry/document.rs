//! The gateway's state as one document: what `/stats?format=json` answers and `tidegate stats` shows.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tidegate_dataplane::meta::PortId;
use tidegate_dataplane::stats::Stage;
use tidegate_dataplane::verdict::DropReason;

use super::Telemetry;
use crate::status::Status;

/// Everything at a glance. Counters count from the start of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The running version.
    pub version: String,
    /// `serve`, `drain` or `stop`.
    pub phase: String,
    /// Number of the tables published last.
    pub generation: u64,
    /// Older tables still held.
    pub retired_generations: usize,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Reloads taken and refused.
    pub reloads: Reloads,
    /// Each core.
    pub cores: Vec<Core>,
    /// Each port.
    pub ports: Vec<Port>,
    /// Packets lost, by reason; reasons that did not occur are left out.
    pub drops: BTreeMap<String, u64>,
    /// TCP.
    pub tcp: Tcp,
    /// HTTP.
    pub http: Http,
    /// Each cluster.
    pub clusters: Vec<Cluster>,
}

/// Reloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// Taken.
    pub accepted: u64,
    /// Refused.
    pub refused: u64,
    /// What the last refusal said; empty if the last reload was taken.
    pub last_refusal: String,
}

/// A core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Core {
    /// Its CPU.
    pub cpu: u16,
    /// Number of the tables it runs on.
    pub generation: u64,
    /// Turns.
    pub turns: u64,
    /// Turns without work.
    pub idle_turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Share of the cycles that had work, since the start.
    pub busy_percent: f64,
    /// Free packet buffers.
    pub free_frames: u64,
    /// Panics contained.
    pub restarts: u64,
    /// Packets passed to other cores.
    pub handovers: u64,
    /// Cycles per packet of each stage that had packets.
    pub cycles_per_packet: BTreeMap<String, f64>,
}

/// A port, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Driver and mode.
    pub driver: String,
    /// Its Ethernet address.
    pub mac: String,
    /// Its MTU.
    pub mtu: u16,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the driver could not deliver.
    pub rx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// TCP, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Connections with buffers.
    pub live: u64,
    /// Established connections at rest.
    pub idle: u64,
    /// Half-open connections.
    pub half_open: u64,
    /// TIME-WAIT records.
    pub time_wait: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections opened.
    pub opened: u64,
    /// Data segments sent again.
    pub retransmits: u64,
    /// Bytes of buffers.
    pub buffer_bytes: u64,
}

/// HTTP, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Client connections open.
    pub open_connections: u64,
    /// Requests under way.
    pub active_requests: u64,
    /// Finished requests by class: none, 1xx to 5xx.
    pub requests: [u64; 6],
    /// Requests sent again.
    pub retries: u64,
    /// Pooled connections waiting.
    pub pooled: u64,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint, over all cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: String,
    /// Requests sent.
    pub requests: u64,
    /// Requests under way.
    pub active: u64,
    /// Requests that failed by its fault.
    pub failures: u64,
    /// Connections established.
    pub connects: u64,
    /// Connections that could not be established.
    pub connect_failures: u64,
}

impl Document {
    /// Reads all counters once.
    pub fn of(telemetry: &Telemetry, status: &Status, now: SystemTime) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: status.phase.as_str().to_owned(),
            generation: status.generation,
            retired_generations: status.retired,
            uptime_s: now.duration_since(telemetry.started).map_or(0, |since| since.as_secs()),
            reloads: Reloads {
                accepted: status.reloads.accepted,
                refused: status.reloads.refused,
                last_refusal: status.reloads.last_refusal.clone(),
            },
            cores: telemetry.cores.iter().map(core).collect(),
            ports: ports(telemetry),
            drops: DropReason::ALL
                .iter()
                .map(|reason| (reason.label().to_owned(), telemetry.sum(|core| core.stats.drops(*reason))))
                .filter(|(_, count)| *count > 0)
                .collect(),
            tcp: Tcp {
                live: telemetry.sum(|core| &core.tcp.live),
                idle: telemetry.sum(|core| &core.tcp.idle),
                half_open: telemetry.sum(|core| &core.tcp.half_open),
                time_wait: telemetry.sum(|core| &core.tcp.time_wait),
                accepted: telemetry.sum(|core| &core.tcp.passive_opens),
                opened: telemetry.sum(|core| &core.tcp.active_opens),
                retransmits: telemetry.sum(|core| &core.tcp.retransmits),
                buffer_bytes: telemetry.sum(|core| &core.tcp.buffer_bytes),
            },
            http: Http {
                open_connections: telemetry.open_connections(),
                active_requests: telemetry.sum(|core| &core.http.active_requests),
                requests: std::array::from_fn(|class| telemetry.sum(|core| &core.http.requests[class])),
                retries: telemetry.sum(|core| &core.http.retries),
                pooled: telemetry.sum(|core| &core.http.pool_idle),
            },
            clusters: clusters(status),
        }
    }
}

#[allow(clippy::cast_precision_loss)] // Ratios for people.
fn core(view: &super::CoreView) -> Core {
    let stats = &view.stats;
    let total = stats.total_cycles.value();
    let per_packet = Stage::ALL.iter().filter_map(|stage| {
        let counted = stats.stage(*stage);
        let packets = counted.packets.value();
        (packets > 0).then(|| (stage.label().to_owned(), counted.cycles.value() as f64 / packets as f64))
    });
    Core {
        cpu: view.cpu,
        generation: stats.generation.value(),
        turns: stats.turns.value(),
        idle_turns: stats.idle_turns.value(),
        sleeps: stats.sleeps.value(),
        busy_percent: if total == 0 { 0.0 } else { stats.busy_cycles.value() as f64 * 100.0 / total as f64 },
        free_frames: stats.free_frames.value(),
        restarts: stats.restarts.value(),
        handovers: stats.handovers.value(),
        cycles_per_packet: per_packet.collect(),
    }
}

fn ports(telemetry: &Telemetry) -> Vec<Port> {
    let numbered = telemetry.ports.iter().zip(0u16..);
    numbered
        .map(|(port, number)| {
            let id = PortId(number);
            Port {
                name: port.name.clone(),
                driver: port.driver.clone(),
                mac: port.mac.to_string(),
                mtu: port.mtu,
                rx_packets: telemetry.sum(|core| &core.stats.port(id).rx_packets),
                rx_bytes: telemetry.sum(|core| &core.stats.port(id).rx_bytes),
                rx_errors: telemetry.sum(|core| &core.stats.port(id).rx_errors),
                tx_packets: telemetry.sum(|core| &core.stats.port(id).tx_packets),
                tx_bytes: telemetry.sum(|core| &core.stats.port(id).tx_bytes),
            }
        })
        .collect()
}

fn clusters(status: &Status) -> Vec<Cluster> {
    let endpoint = |endpoint: &tidegate_dataplane::l7::cluster::Endpoint| {
        let mut shown = Endpoint {
            address: endpoint.address.to_string(),
            requests: 0,
            active: 0,
            failures: 0,
            connects: 0,
            connect_failures: 0,
        };
        for seen in endpoint.seen.iter() {
            shown.requests += seen.requests.value();
            shown.active += seen.active.value();
            shown.failures += seen.failures.value();
            shown.connects += seen.connects.value();
            shown.connect_failures += seen.connect_failures.value();
        }
        shown
    };
    let clusters = status.tables.l7.clusters().iter();
    clusters
        .map(|cluster| Cluster {
            name: cluster.name.to_string(),
            endpoints: cluster.endpoints.iter().map(|one| endpoint(one)).collect(),
        })
        .collect()
}
