//! What stands where: a frame as lines of text with a tone, for a terminal and for plain output alike.

use super::frame::{Core, Dropped, Frame, Port};
use super::grid::{Line, Tone, grid, line};
use super::number::{age, count, percent, scaled, time};

/// What is on a page.
type Page = fn(&Frame) -> Vec<Line>;

/// The pages, in the order of their keys.
pub(super) const PAGES: [(&str, Page); 6] = [
    ("overview", overview),
    ("cores", cores_and_stages),
    ("drops", drops),
    ("tcp", tcp),
    ("http", http),
    ("backends", backends),
];

/// Reasons of drops on the overview.
const TOP_DROPS: usize = 5;

/// What every page has above it.
pub(super) fn banner(frame: &Frame) -> Line {
    let mut text = format!(
        "tidegate {}  {}  generation {}  up {}",
        frame.version,
        frame.phase,
        frame.generation,
        age(frame.uptime_s)
    );
    let mut tone = if frame.phase == "serve" { Tone::Plain } else { Tone::Warn };
    if let Some(interval) = frame.interval_s {
        text += &format!("  over {interval:.1} s");
    }
    let refused = format!("  {} reloads refused", frame.reloads_refused);
    for (so, word) in [
        (frame.restarted, "  restarted"),
        (frame.generation_changed, "  new configuration"),
        (frame.reloads_refused > 0, refused.as_str()),
    ] {
        if so {
            text += word;
            tone = Tone::Warn;
        }
    }
    Line { tone, ..line(text) }
}

/// All there is, one after the other.
pub(super) fn everything(frame: &Frame) -> Vec<Line> {
    let mut lines = vec![banner(frame), line("")];
    lines.extend(ports(&frame.ports));
    for (_, page) in &PAGES[1..] {
        lines.push(line(""));
        lines.extend(page(frame));
    }
    lines
}

fn overview(frame: &Frame) -> Vec<Line> {
    let mut lines = ports(&frame.ports);
    lines.push(line(""));
    lines.extend(cores(&frame.cores));
    let (tcp, http) = (&frame.tcp, &frame.http);
    lines.push(line(""));
    lines.push(line(format!(
        "TCP   {} open ({} live, {} at rest), {} half-open, {} new/s",
        tcp.open,
        tcp.live,
        tcp.at_rest,
        tcp.half_open,
        scaled(tcp.accepted_per_s)
    )));
    lines.push(line(format!(
        "HTTP  {} requests/s, {} under way, {} 5xx/s, p50 {}, p99 {}",
        scaled(http.requests_per_s),
        http.active_requests,
        scaled(http.by_class_per_s[5]),
        time(http.p50_us),
        time(http.p99_us)
    )));
    if !frame.drops.is_empty() {
        lines.push(line(""));
        lines.extend(dropped(&frame.drops[..frame.drops.len().min(TOP_DROPS)]));
    }
    lines
}

fn ports(ports: &[Port]) -> Vec<Line> {
    let columns = [
        "PORT",
        "LINK",
        ">RX PPS",
        ">RX BIT/S",
        ">TX PPS",
        ">TX BIT/S",
        ">RX ERR/S",
        ">TX ERR/S",
        ">COPIES/S",
        ">ERRORS",
        "DRIVER",
    ];
    let rows = ports.iter().map(|port| {
        let errors = [port.rx_errors_per_s, port.tx_errors_per_s].into_iter().flatten().any(|rate| rate > 0.0);
        let cells = vec![
            port.name.clone(),
            port.link.clone(),
            scaled(port.rx_packets_per_s),
            scaled(port.rx_bits_per_s),
            scaled(port.tx_packets_per_s),
            scaled(port.tx_bits_per_s),
            scaled(port.rx_errors_per_s),
            scaled(port.tx_errors_per_s),
            scaled(port.tx_copies_per_s),
            count(port.rx_errors + port.tx_errors),
            port.driver.clone(),
        ];
        (cells, if errors || port.link != "up" { Tone::Warn } else { Tone::Plain })
    });
    grid(&columns, &rows.collect::<Vec<_>>())
}

fn cores(cores: &[Core]) -> Vec<Line> {
    let columns = [
        ">CPU",
        ">LOAD %",
        ">CYCLES/PKT",
        ">RX PPS",
        ">TX PPS",
        ">TURNS/S",
        ">SLEEPS/S",
        ">HANDOVER/S",
        ">FREE FRAMES",
        ">GENERATION",
        ">RESTARTS",
    ];
    let rows = cores.iter().map(|core| {
        let tone = match core {
            // Not even an empty turn: the core hangs.
            Core { turns_per_s: Some(0.0), .. } | Core { free_frames: 0, .. } => Tone::Bad,
            Core { behind: true, .. } => Tone::Warn,
            Core { load_percent: Some(load), .. } if *load >= 90.0 => Tone::Warn,
            _ => Tone::Plain,
        };
        let cells = vec![
            core.cpu.to_string(),
            percent(core.load_percent),
            scaled(core.cycles_per_packet),
            scaled(core.rx_packets_per_s),
            scaled(core.tx_packets_per_s),
            scaled(core.turns_per_s),
            scaled(core.sleeps_per_s),
            scaled(core.handovers_per_s),
            count(core.free_frames),
            count(core.generation),
            count(core.restarts),
        ];
        (cells, tone)
    });
    grid(&columns, &rows.collect::<Vec<_>>())
}

fn cores_and_stages(frame: &Frame) -> Vec<Line> {
    let mut lines = cores(&frame.cores);
    let rows: Vec<_> = (frame.cores.iter())
        .flat_map(|core| {
            core.stages.iter().map(|stage| {
                let cells = vec![
                    core.cpu.to_string(),
                    stage.name.clone(),
                    scaled(Some(stage.packets_per_s)),
                    scaled(Some(stage.cycles_per_packet)),
                    percent(Some(stage.share_percent)),
                ];
                (cells, Tone::Plain)
            })
        })
        .collect();
    lines.push(line(""));
    lines.extend(grid(&[">CPU", "STAGE", ">PACKETS/S", ">CYCLES/PKT", ">SHARE %"], &rows));
    lines
}

fn drops(frame: &Frame) -> Vec<Line> {
    if frame.drops.is_empty() { vec![line("no packet has been dropped")] } else { dropped(&frame.drops) }
}

fn dropped(drops: &[Dropped]) -> Vec<Line> {
    let rows = drops.iter().map(|drop| {
        let tone = if drop.per_s.is_some_and(|rate| rate > 0.0) { Tone::Warn } else { Tone::Plain };
        (vec![drop.reason.clone(), scaled(drop.per_s), count(drop.total)], tone)
    });
    grid(&["DROPPED BECAUSE", ">PACKETS/S", ">TOTAL"], &rows.collect::<Vec<_>>())
}

fn tcp(frame: &Frame) -> Vec<Line> {
    let tcp = &frame.tcp;
    #[allow(clippy::cast_precision_loss)] // Three digits are shown.
    let buffers = tcp.buffer_bytes as f64;
    let now = [
        ("open", count(tcp.open)),
        ("live", count(tcp.live)),
        ("at rest", count(tcp.at_rest)),
        ("half-open", count(tcp.half_open)),
        ("TIME-WAIT", count(tcp.time_wait)),
        ("buffer bytes", scaled(Some(buffers))),
    ];
    let rates = [
        ("accepted", tcp.accepted_per_s),
        ("opened", tcp.opened_per_s),
        ("segments in", tcp.segments_in_per_s),
        ("segments out", tcp.segments_out_per_s),
        ("sent again", tcp.retransmits_per_s),
        ("resets sent", tcp.resets_sent_per_s),
        ("resets received", tcp.resets_received_per_s),
        ("SYN cookies sent", tcp.cookies_sent_per_s),
        ("opens failed", tcp.failed_opens_per_s),
        ("half-open given up", tcp.half_open_timeouts_per_s),
        ("given up for silence", tcp.timeouts_per_s),
        ("no buffer memory", tcp.buffer_shortages_per_s),
    ];
    two_grids(["TCP CONNECTIONS", ">NOW"], &now, ["TCP", ">PER SECOND"], &rates)
}

fn http(frame: &Frame) -> Vec<Line> {
    let http = &frame.http;
    let now = [
        ("client connections", count(http.open_connections)),
        ("requests under way", count(http.active_requests)),
        ("pooled upstream connections", count(http.pooled)),
        ("tunnels", count(http.tunnels)),
        ("latency p50", time(http.p50_us)),
        ("latency p99", time(http.p99_us)),
        ("latency mean", time(http.mean_us)),
    ];
    let [none, informational, good, redirect, client, server] = http.by_class_per_s;
    let rates = [
        ("requests", http.requests_per_s),
        ("  2xx", good),
        ("  3xx", redirect),
        ("  4xx", client),
        ("  5xx", server),
        ("  1xx", informational),
        ("  cut off", none),
        ("retries", http.retries_per_s),
        ("on a pooled connection", http.pool_hits_per_s),
        ("client connections", http.connections_per_s),
        ("TLS handshakes failed", http.handshake_failures_per_s),
        ("request bits", http.request_bits_per_s),
        ("response bits", http.response_bits_per_s),
    ];
    two_grids(["HTTP", ">NOW"], &now, ["HTTP", ">PER SECOND"], &rates)
}

fn backends(frame: &Frame) -> Vec<Line> {
    let rows = frame.clusters.iter().flat_map(|cluster| {
        cluster.endpoints.iter().map(|endpoint| {
            let failing = endpoint.failures_per_s.is_some_and(|rate| rate > 0.0);
            let tone = match endpoint.up {
                false => Tone::Bad,
                true if failing => Tone::Warn,
                true => Tone::Plain,
            };
            let cells = vec![
                cluster.name.clone(),
                endpoint.address.clone(),
                if endpoint.up { "UP" } else { "DOWN" }.to_owned(),
                scaled(endpoint.requests_per_s),
                count(endpoint.active),
                scaled(endpoint.failures_per_s),
                scaled(endpoint.connects_per_s),
                scaled(endpoint.connect_failures_per_s),
                count(endpoint.failures),
                count(endpoint.connect_failures),
            ];
            (cells, tone)
        })
    });
    let columns = [
        "CLUSTER",
        "ENDPOINT",
        "STATE",
        ">REQUESTS/S",
        ">ACTIVE",
        ">FAILED/S",
        ">CONNECTS/S",
        ">REFUSED/S",
        ">FAILED",
        ">REFUSED",
    ];
    grid(&columns, &rows.collect::<Vec<_>>())
}

fn two_grids(
    now_head: [&str; 2],
    now: &[(&str, String)],
    rate_head: [&str; 2],
    rates: &[(&str, Option<f64>)],
) -> Vec<Line> {
    let now = now.iter().map(|(name, value)| (vec![(*name).to_owned(), value.clone()], Tone::Plain));
    let rates = rates.iter().map(|(name, rate)| (vec![(*name).to_owned(), scaled(*rate)], Tone::Plain));
    let mut lines = grid(&now_head, &now.collect::<Vec<_>>());
    lines.push(line(""));
    lines.extend(grid(&rate_head, &rates.collect::<Vec<_>>()));
    lines
}
