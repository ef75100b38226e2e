//! All counters read once, into a [`Document`].

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_dataplane::io::LinkState;
use tidegate_dataplane::l4;
use tidegate_dataplane::l7::cluster::Seen;
use tidegate_dataplane::l7::metrics::{HttpStats, LATENCY_BOUNDS_US};
use tidegate_dataplane::meta::PortId;
use tidegate_dataplane::stats::Stage;
use tidegate_dataplane::sync::counter::Counter;
use tidegate_dataplane::verdict::DropReason;

use super::Telemetry;
use super::document::{Cluster, Core, Document, Endpoint, Http, Latency, Port, Reloads, StageCounts, Tcp};
use crate::status::Status;

impl Document {
    /// Reads all counters once.
    pub fn of(telemetry: &Telemetry, status: &Status, now: Instant) -> Self {
        let uptime_ms = telemetry.uptime_ms(now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: status.phase.as_str().to_owned(),
            generation: status.generation,
            retired_generations: status.retired,
            uptime_s: uptime_ms / 1000,
            uptime_ms,
            reloads: Reloads {
                accepted: status.reloads.accepted,
                refused: status.reloads.refused,
                last_refusal: status.reloads.last_refusal.clone(),
            },
            cores: telemetry.cores.iter().map(core).collect(),
            ports: ports(telemetry, &status.links),
            drops: DropReason::ALL
                .iter()
                .map(|reason| (reason.label().to_owned(), telemetry.sum(|core| core.stats.drops(*reason))))
                .filter(|(_, count)| *count > 0)
                .collect(),
            tcp: tcp(telemetry),
            http: http(telemetry),
            clusters: clusters(status),
        }
    }
}

#[allow(clippy::cast_precision_loss)] // Ratios for people.
fn core(view: &super::CoreView) -> Core {
    let stats = &view.stats;
    let total = stats.total_cycles.value();
    let stages: BTreeMap<String, StageCounts> = Stage::ALL
        .iter()
        .map(|stage| (stage.label().to_owned(), stats.stage(*stage)))
        .map(|(label, counted)| {
            (label, StageCounts { packets: counted.packets.value(), cycles: counted.cycles.value() })
        })
        .filter(|(_, counts)| counts.packets > 0)
        .collect();
    let per_packet = stages.iter().map(|(label, counts)| (label.clone(), counts.cycles as f64 / counts.packets as f64));
    Core {
        cpu: view.cpu,
        generation: stats.generation.value(),
        turns: stats.turns.value(),
        idle_turns: stats.idle_turns.value(),
        sleeps: stats.sleeps.value(),
        busy_cycles: stats.busy_cycles.value(),
        total_cycles: total,
        rx_packets: stats.ports().iter().map(|port| port.rx_packets.value()).sum(),
        tx_packets: stats.ports().iter().map(|port| port.tx_packets.value()).sum(),
        busy_percent: if total == 0 { 0.0 } else { stats.busy_cycles.value() as f64 * 100.0 / total as f64 },
        free_frames: stats.free_frames.value(),
        restarts: stats.restarts.value(),
        handovers: stats.handovers.value(),
        cycles_per_packet: per_packet.collect(),
        stages,
    }
}

fn ports(telemetry: &Telemetry, links: &[LinkState]) -> Vec<Port> {
    let numbered = telemetry.ports.iter().zip(links).zip(0u16..);
    numbered
        .map(|((port, link), number)| {
            let id = PortId(number);
            Port {
                name: port.name.clone(),
                driver: port.driver.clone(),
                link: link.as_str().to_owned(),
                mac: port.mac.to_string(),
                mtu: port.mtu,
                rx_packets: telemetry.sum(|core| &core.stats.port(id).rx_packets),
                rx_bytes: telemetry.sum(|core| &core.stats.port(id).rx_bytes),
                rx_errors: telemetry.sum(|core| &core.stats.port(id).rx_errors),
                tx_packets: telemetry.sum(|core| &core.stats.port(id).tx_packets),
                tx_bytes: telemetry.sum(|core| &core.stats.port(id).tx_bytes),
                tx_errors: telemetry.sum(|core| &core.stats.port(id).tx_errors),
                tx_copies: telemetry.sum(|core| &core.stats.port(id).tx_copies),
            }
        })
        .collect()
}

fn tcp(telemetry: &Telemetry) -> Tcp {
    let sum = |of: fn(&l4::Stats) -> &Counter| telemetry.sum(|core| of(&core.tcp));
    Tcp {
        live: sum(|t| &t.live),
        idle: sum(|t| &t.idle),
        half_open: sum(|t| &t.half_open),
        time_wait: sum(|t| &t.time_wait),
        accepted: sum(|t| &t.passive_opens),
        opened: sum(|t| &t.active_opens),
        failed_opens: sum(|t| &t.failed_opens),
        half_open_timeouts: sum(|t| &t.half_open_timeouts),
        cookies_sent: sum(|t| &t.cookies_sent),
        timeouts: sum(|t| &t.timeouts),
        resets_sent: sum(|t| &t.resets_sent),
        resets_received: sum(|t| &t.resets_received),
        segments_in: sum(|t| &t.segments_in),
        segments_out: sum(|t| &t.segments_out),
        retransmits: sum(|t| &t.retransmits),
        buffer_shortages: sum(|t| &t.buffer_shortages),
        buffer_bytes: sum(|t| &t.buffer_bytes),
    }
}

fn http(telemetry: &Telemetry) -> Http {
    let sum = |of: fn(&HttpStats) -> &Counter| telemetry.sum(|core| of(&core.http));
    Http {
        connections: sum(|h| &h.connections),
        open_connections: telemetry.open_connections(),
        handshake_failures: sum(|h| &h.handshake_failures),
        active_requests: sum(|h| &h.active_requests),
        requests: std::array::from_fn(|class| telemetry.sum(|core| &core.http.requests[class])),
        retries: sum(|h| &h.retries),
        pooled: sum(|h| &h.pool_idle),
        pool_hits: sum(|h| &h.pool_hits),
        tunnels: sum(|h| &h.open_tunnels),
        request_bytes: sum(|h| &h.bytes_in),
        response_bytes: sum(|h| &h.bytes_out),
        latency: Latency {
            bounds_us: LATENCY_BOUNDS_US.to_vec(),
            buckets: (0..=LATENCY_BOUNDS_US.len())
                .map(|bucket| telemetry.sum(|core| &core.http.latency.buckets[bucket]))
                .collect(),
            sum_us: sum(|h| &h.latency.sum_us),
        },
    }
}

fn clusters(status: &Status) -> Vec<Cluster> {
    let endpoint = |endpoint: &tidegate_dataplane::l7::cluster::Endpoint| {
        let mut shown = Endpoint {
            address: endpoint.address.to_string(),
            up: !endpoint.seen.iter().any(Seen::failing),
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
