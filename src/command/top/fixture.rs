//! What the tests of the live view show.

use std::collections::BTreeMap;

use tidegate_ctrl::telemetry::document::{self, Document, Latency};

/// A gateway with one of everything, `ms` after its start, each counter as if it had grown by its number every second.
pub(super) fn document(ms: u64) -> Document {
    let at = |per_s: u64| per_s * ms / 1000;
    Document {
        version: "9.9.9".to_owned(),
        phase: "serve".to_owned(),
        generation: 3,
        retired_generations: 0,
        uptime_s: ms / 1000,
        uptime_ms: ms,
        reloads: document::Reloads { accepted: 2, refused: 0, last_refusal: String::new() },
        cores: vec![core(at)],
        ports: vec![port(at)],
        drops: [("no_route".to_owned(), at(10)), ("ttl_exceeded".to_owned(), at(40))].into(),
        tcp: tcp(at),
        http: http(at),
        clusters: vec![cluster(at)],
    }
}

fn core(at: impl Fn(u64) -> u64) -> document::Core {
    let stage = |packets: u64, cycles: u64| document::StageCounts { packets: at(packets), cycles: at(cycles) };
    document::Core {
        cpu: 2,
        generation: 3,
        turns: at(50_000),
        idle_turns: at(10_000),
        sleeps: at(7),
        busy_percent: 25.0,
        busy_cycles: at(600_000_000),
        total_cycles: at(2_400_000_000),
        rx_packets: at(1_000_000),
        tx_packets: at(500_000),
        free_frames: 1000,
        restarts: 0,
        handovers: at(20),
        cycles_per_packet: BTreeMap::new(),
        stages: [("tcp", stage(1_000_000, 300_000_000)), ("rx", stage(1_000_000, 60_000_000))]
            .map(|(name, counts)| (name.to_owned(), counts))
            .into(),
    }
}

fn port(at: impl Fn(u64) -> u64) -> document::Port {
    document::Port {
        name: "wan".to_owned(),
        driver: "af_xdp".to_owned(),
        link: "up".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1500,
        rx_packets: at(1_000_000),
        rx_bytes: at(125_000_000),
        rx_errors: at(3),
        tx_packets: at(500_000),
        tx_bytes: at(62_500_000),
        tx_errors: 0,
        tx_copies: at(9),
    }
}

fn tcp(at: impl Fn(u64) -> u64) -> document::Tcp {
    document::Tcp {
        live: 30,
        idle: 70,
        half_open: 5,
        time_wait: 6,
        accepted: at(200),
        opened: at(100),
        failed_opens: 0,
        half_open_timeouts: 0,
        cookies_sent: 0,
        timeouts: 0,
        resets_sent: 0,
        resets_received: at(1),
        segments_in: at(90_000),
        segments_out: at(80_000),
        retransmits: at(2),
        buffer_shortages: 0,
        buffer_bytes: 3 << 20,
    }
}

fn http(at: impl Fn(u64) -> u64) -> document::Http {
    document::Http {
        connections: at(200),
        open_connections: 60,
        handshake_failures: 0,
        active_requests: 12,
        requests: [0, 0, at(990), 0, at(8), at(2)],
        retries: at(4),
        pooled: 16,
        pool_hits: at(950),
        tunnels: 1,
        request_bytes: at(1_000),
        response_bytes: at(1_000_000),
        latency: Latency {
            bounds_us: vec![100, 250, 500],
            buckets: vec![at(500), at(400), at(90), at(10)],
            sum_us: at(150_000),
        },
    }
}

fn cluster(at: impl Fn(u64) -> u64) -> document::Cluster {
    document::Cluster {
        name: "pool".to_owned(),
        endpoints: vec![
            document::Endpoint {
                address: "10.0.0.1:80".to_owned(),
                up: true,
                requests: at(1000),
                active: 12,
                failures: 0,
                connects: at(50),
                connect_failures: 0,
            },
            document::Endpoint {
                address: "10.0.0.2:80".to_owned(),
                up: false,
                requests: 0,
                active: 0,
                failures: 0,
                connects: 0,
                connect_failures: at(2),
            },
        ],
    }
}
