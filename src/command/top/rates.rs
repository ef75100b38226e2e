//! What happened between two documents: rates, shares, quantiles. Pure; a rate that cannot be known is `None`, never a guess.
//!
//! It cannot be known for the first document, after a restart of the gateway, for what was not there before, and for a counter
//! that went backwards.

use tidegate_ctrl::telemetry::document::{self, Document, Latency};

use super::frame::{Cluster, Core, Dropped, Endpoint, Frame, Http, Port, Stage, Tcp};

/// The time between two documents of one process.
#[derive(Clone, Copy)]
struct Span(f64);

impl Span {
    /// Growth per second. `then` is none for what did not exist.
    fn rate(self, then: Option<u64>, now: u64) -> Option<f64> {
        growth(then, now).map(|growth| growth / self.0)
    }
}

#[allow(clippy::cast_precision_loss)] // For people: three digits are shown.
fn growth(then: Option<u64>, now: u64) -> Option<f64> {
    now.checked_sub(then?).map(|growth| growth as f64)
}

fn bits(bytes: Option<f64>) -> Option<f64> {
    bytes.map(|bytes| bytes * 8.0)
}

fn ratio(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|whole| *whole > 0.0)?)
}

impl Frame {
    /// The picture of `now`, seen after `then`.
    pub(super) fn between(then: Option<&Document>, now: &Document) -> Self {
        let restarted = then.is_some_and(|then| then.uptime_ms > now.uptime_ms);
        let then = then.filter(|_| !restarted);
        let elapsed = growth(then.map(|then| then.uptime_ms), now.uptime_ms).filter(|elapsed| *elapsed > 0.0);
        let interval_s = elapsed.map(|elapsed| elapsed / 1e3);
        // Without an interval nothing is compared, so that its length does not matter.
        let (then, span) = (then.filter(|_| interval_s.is_some()), Span(interval_s.unwrap_or(1.0)));
        Self {
            version: now.version.clone(),
            phase: now.phase.clone(),
            generation: now.generation,
            generation_changed: then.is_some_and(|then| then.generation != now.generation),
            restarted,
            reloads_refused: now.reloads.refused,
            uptime_s: now.uptime_s,
            interval_s,
            ports: now.ports.iter().map(|port| self::port(then, port, span)).collect(),
            cores: now.cores.iter().map(|core| self::core(then, core, now.generation, span)).collect(),
            drops: drops(then, now, span),
            tcp: tcp(then.map(|then| &then.tcp), &now.tcp, span),
            http: http(then.map(|then| &then.http), &now.http, span),
            clusters: now.clusters.iter().map(|cluster| self::cluster(then, cluster, span)).collect(),
        }
    }
}

fn port(then: Option<&Document>, now: &document::Port, span: Span) -> Port {
    let then = then.and_then(|then| then.ports.iter().find(|port| port.name == now.name));
    let rate = |of: fn(&document::Port) -> u64| span.rate(then.map(of), of(now));
    Port {
        name: now.name.clone(),
        driver: now.driver.clone(),
        link: now.link.clone(),
        rx_packets_per_s: rate(|port| port.rx_packets),
        rx_bits_per_s: bits(rate(|port| port.rx_bytes)),
        rx_errors_per_s: rate(|port| port.rx_errors),
        tx_packets_per_s: rate(|port| port.tx_packets),
        tx_bits_per_s: bits(rate(|port| port.tx_bytes)),
        tx_errors_per_s: rate(|port| port.tx_errors),
        tx_copies_per_s: rate(|port| port.tx_copies),
        rx_errors: now.rx_errors,
        tx_errors: now.tx_errors,
    }
}

fn core(then: Option<&Document>, now: &document::Core, generation: u64, span: Span) -> Core {
    let then = then.and_then(|then| then.cores.iter().find(|core| core.cpu == now.cpu));
    let grown = |of: fn(&document::Core) -> u64| growth(then.map(of), of(now));
    let rate = |of: fn(&document::Core) -> u64| span.rate(then.map(of), of(now));
    let busy = grown(|core| core.busy_cycles);
    let packets = Option::zip(grown(|core| core.rx_packets), grown(|core| core.tx_packets));
    Core {
        cpu: now.cpu,
        load_percent: ratio(busy.map(|busy| busy * 100.0), grown(|core| core.total_cycles)),
        cycles_per_packet: ratio(busy, packets.map(|(rx, tx)| rx.max(tx))),
        rx_packets_per_s: rate(|core| core.rx_packets),
        tx_packets_per_s: rate(|core| core.tx_packets),
        turns_per_s: rate(|core| core.turns),
        sleeps_per_s: rate(|core| core.sleeps),
        handovers_per_s: rate(|core| core.handovers),
        free_frames: now.free_frames,
        generation: now.generation,
        behind: now.generation < generation,
        restarts: now.restarts,
        stages: then.map_or_else(Vec::new, |then| stages(then, now, busy, span)),
    }
}

fn stages(then: &document::Core, now: &document::Core, busy: Option<f64>, span: Span) -> Vec<Stage> {
    let stage = |stage: &tidegate_dataplane::stats::Stage| {
        let counts = now.stages.get(stage.label())?;
        // A stage that had no packets before is not in the older document.
        let before = then.stages.get(stage.label()).copied();
        let before = before.unwrap_or(document::StageCounts { packets: 0, cycles: 0 });
        let packets = growth(Some(before.packets), counts.packets).filter(|packets| *packets > 0.0)?;
        let cycles = growth(Some(before.cycles), counts.cycles)?;
        Some(Stage {
            name: stage.label().to_owned(),
            packets_per_s: packets / span.0,
            cycles_per_packet: cycles / packets,
            share_percent: ratio(Some(cycles * 100.0), busy).unwrap_or_default(),
        })
    };
    tidegate_dataplane::stats::Stage::ALL.iter().filter_map(stage).collect()
}

fn drops(then: Option<&Document>, now: &Document, span: Span) -> Vec<Dropped> {
    // Reasons that have not occurred are left out of a document.
    let before = |reason: &String| then.map(|then| then.drops.get(reason).copied().unwrap_or_default());
    let mut drops: Vec<Dropped> = (now.drops.iter())
        .map(|(reason, total)| Dropped {
            reason: reason.clone(),
            per_s: span.rate(before(reason), *total),
            total: *total,
        })
        .collect();
    drops.sort_by(|a, b| b.per_s.unwrap_or_default().total_cmp(&a.per_s.unwrap_or_default()));
    drops
}

fn tcp(then: Option<&document::Tcp>, now: &document::Tcp, span: Span) -> Tcp {
    let rate = |of: fn(&document::Tcp) -> u64| span.rate(then.map(of), of(now));
    Tcp {
        open: now.live + now.idle,
        live: now.live,
        at_rest: now.idle,
        half_open: now.half_open,
        time_wait: now.time_wait,
        buffer_bytes: now.buffer_bytes,
        accepted_per_s: rate(|tcp| tcp.accepted),
        opened_per_s: rate(|tcp| tcp.opened),
        failed_opens_per_s: rate(|tcp| tcp.failed_opens),
        half_open_timeouts_per_s: rate(|tcp| tcp.half_open_timeouts),
        cookies_sent_per_s: rate(|tcp| tcp.cookies_sent),
        timeouts_per_s: rate(|tcp| tcp.timeouts),
        resets_sent_per_s: rate(|tcp| tcp.resets_sent),
        resets_received_per_s: rate(|tcp| tcp.resets_received),
        segments_in_per_s: rate(|tcp| tcp.segments_in),
        segments_out_per_s: rate(|tcp| tcp.segments_out),
        retransmits_per_s: rate(|tcp| tcp.retransmits),
        buffer_shortages_per_s: rate(|tcp| tcp.buffer_shortages),
    }
}

fn http(then: Option<&document::Http>, now: &document::Http, span: Span) -> Http {
    let rate = |of: fn(&document::Http) -> u64| span.rate(then.map(of), of(now));
    let requests = |http: &document::Http| http.requests.iter().sum();
    let latencies = then.and_then(|then| since(&then.latency, &now.latency));
    let quantile = |share: f64| latencies.as_ref().and_then(|counts| quantile(&now.latency.bounds_us, counts, share));
    let finished = growth(then.map(requests), requests(now));
    Http {
        open_connections: now.open_connections,
        active_requests: now.active_requests,
        pooled: now.pooled,
        tunnels: now.tunnels,
        connections_per_s: rate(|http| http.connections),
        handshake_failures_per_s: rate(|http| http.handshake_failures),
        requests_per_s: span.rate(then.map(requests), requests(now)),
        by_class_per_s: std::array::from_fn(|class| {
            span.rate(then.map(|then| then.requests[class]), now.requests[class])
        }),
        retries_per_s: rate(|http| http.retries),
        pool_hits_per_s: rate(|http| http.pool_hits),
        request_bits_per_s: bits(rate(|http| http.request_bytes)),
        response_bits_per_s: bits(rate(|http| http.response_bytes)),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        mean_us: ratio(growth(then.map(|then| then.latency.sum_us), now.latency.sum_us), finished),
    }
}

/// Counts per bucket since `then`; none if the buckets are others or one went backwards.
fn since(then: &Latency, now: &Latency) -> Option<Vec<f64>> {
    if then.bounds_us != now.bounds_us || then.buckets.len() != now.buckets.len() {
        return None;
    }
    then.buckets.iter().zip(&now.buckets).map(|(then, now)| growth(Some(*then), *now)).collect()
}

/// As Prometheus' `histogram_quantile`: evenly distributed within a bucket; the last bound for what is above it.
#[allow(clippy::cast_precision_loss)]
fn quantile(bounds: &[u64], counts: &[f64], share: f64) -> Option<f64> {
    let total: f64 = counts.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let (rank, mut below) = (share * total, 0.0);
    for (bucket, count) in counts.iter().enumerate() {
        if *count > 0.0 && below + count >= rank {
            let lower = if bucket == 0 { 0.0 } else { bounds[bucket - 1] as f64 };
            let upper = bounds.get(bucket).map_or(lower, |upper| *upper as f64);
            return Some(lower + (upper - lower) * (rank - below) / count);
        }
        below += count;
    }
    None
}

fn cluster(then: Option<&Document>, now: &document::Cluster, span: Span) -> Cluster {
    let then = then.and_then(|then| then.clusters.iter().find(|cluster| cluster.name == now.name));
    let endpoint = |now: &document::Endpoint| {
        let then = then.and_then(|then| then.endpoints.iter().find(|endpoint| endpoint.address == now.address));
        let rate = |of: fn(&document::Endpoint) -> u64| span.rate(then.map(of), of(now));
        Endpoint {
            address: now.address.clone(),
            up: now.up,
            active: now.active,
            requests_per_s: rate(|endpoint| endpoint.requests),
            failures_per_s: rate(|endpoint| endpoint.failures),
            connects_per_s: rate(|endpoint| endpoint.connects),
            connect_failures_per_s: rate(|endpoint| endpoint.connect_failures),
            failures: now.failures,
            connect_failures: now.connect_failures,
        }
    };
    Cluster { name: now.name.clone(), endpoints: now.endpoints.iter().map(endpoint).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::document;
    use super::*;

    fn after(change: impl FnOnce(&mut Document)) -> Frame {
        let mut now = document(3_000);
        change(&mut now);
        Frame::between(Some(&document(1_000)), &now)
    }

    #[test]
    fn counters_become_rates() {
        let frame = after(|_| {});
        assert_eq!((frame.interval_s, frame.restarted, frame.generation_changed), (Some(2.0), false, false));
        let port = &frame.ports[0];
        assert_eq!((port.rx_packets_per_s, port.rx_bits_per_s), (Some(1e6), Some(1e9)));
        assert_eq!((port.rx_errors_per_s, port.rx_errors, port.tx_errors_per_s), (Some(3.0), 9, Some(0.0)));
        let core = &frame.cores[0];
        assert_eq!((core.load_percent, core.cycles_per_packet), (Some(25.0), Some(600.0)));
        assert_eq!((core.turns_per_s, core.sleeps_per_s, core.behind), (Some(50_000.0), Some(7.0), false));
        // In packet order, not in that of the alphabet.
        let stages: Vec<_> =
            core.stages.iter().map(|s| (s.name.as_str(), s.cycles_per_packet, s.share_percent)).collect();
        assert_eq!(stages, [("rx", 60.0, 10.0), ("tcp", 300.0, 50.0)]);
        let drops: Vec<_> = frame.drops.iter().map(|d| (d.reason.as_str(), d.per_s, d.total)).collect();
        assert_eq!(drops, [("ttl_exceeded", Some(40.0), 120), ("no_route", Some(10.0), 30)]);
        assert_eq!((frame.tcp.open, frame.tcp.accepted_per_s), (100, Some(200.0)));
        assert_eq!((frame.http.requests_per_s, frame.http.by_class_per_s[2]), (Some(1000.0), Some(990.0)));
        // Half of the requests took up to 100 us; the last hundredth is above the last bound.
        assert_eq!((frame.http.p50_us, frame.http.p99_us, frame.http.mean_us), (Some(100.0), Some(500.0), Some(150.0)));
        let endpoint = &frame.clusters[0].endpoints[0];
        assert_eq!((endpoint.requests_per_s, endpoint.connects_per_s, endpoint.up), (Some(1000.0), Some(50.0), true));
    }

    #[test]
    fn the_first_picture_has_no_rates() {
        let frame = Frame::between(None, &document(1_000));
        assert_eq!((frame.interval_s, frame.ports[0].rx_packets_per_s, frame.drops[0].per_s), (None, None, None));
        assert_eq!((frame.cores[0].stages.len(), frame.cores[0].free_frames, frame.http.p50_us), (0, 1000, None));
        // The same instant twice is no interval either.
        let same = Frame::between(Some(&document(1_000)), &document(1_000));
        assert_eq!((same.interval_s, same.ports[0].rx_packets_per_s), (None, None));
    }

    #[test]
    fn a_restart_begins_anew() {
        let frame = Frame::between(Some(&document(9_000)), &document(1_000));
        assert!(frame.restarted && !frame.generation_changed);
        assert_eq!((frame.ports[0].rx_packets_per_s, frame.http.requests_per_s), (None, None));
    }

    #[test]
    fn a_counter_that_went_backwards_has_no_rate() {
        let frame = after(|now| {
            now.ports[0].rx_packets = 5;
            now.cores[0].busy_cycles = 0;
            now.http.latency.buckets[1] = 0;
        });
        assert_eq!((frame.ports[0].rx_packets_per_s, frame.ports[0].tx_packets_per_s), (None, Some(500_000.0)));
        assert_eq!((frame.cores[0].load_percent, frame.cores[0].cycles_per_packet), (None, None));
        assert_eq!((frame.http.p50_us, frame.http.requests_per_s), (None, Some(1000.0)));
    }

    #[test]
    fn what_is_new_has_no_rate_and_what_is_gone_is_not_shown() {
        let frame = after(|now| {
            now.generation = 4;
            let mut other = now.cores[0].clone();
            other.cpu = 3;
            now.cores.push(other);
            now.clusters[0].endpoints[0].address = "10.0.0.9:80".to_owned();
            now.drops.insert("tx_full".to_owned(), 8);
            now.drops.remove("no_route");
        });
        assert!(frame.generation_changed && frame.cores[0].behind);
        assert_eq!((frame.cores[0].load_percent, frame.cores[1].load_percent), (Some(25.0), None));
        assert!(frame.cores[1].stages.is_empty());
        let endpoints = &frame.clusters[0].endpoints;
        assert_eq!((endpoints[0].requests_per_s, endpoints[1].connect_failures_per_s), (None, Some(2.0)));
        let drops: Vec<_> = frame.drops.iter().map(|d| (d.reason.as_str(), d.per_s)).collect();
        assert_eq!(drops, [("ttl_exceeded", Some(40.0)), ("tx_full", Some(4.0))]);
        let without = after(|now| now.cores.clear());
        assert!(without.cores.is_empty());
    }

    #[test]
    fn a_stage_that_begins_counts_from_zero_and_an_idle_core_has_no_cycles_per_packet() {
        let frame = after(|now| {
            now.cores[0].stages.insert("tasks".to_owned(), document::StageCounts { packets: 4, cycles: 400 });
            now.cores[0].rx_packets = document(1_000).cores[0].rx_packets;
            now.cores[0].tx_packets = document(1_000).cores[0].tx_packets;
        });
        let tasks = frame.cores[0].stages.last().expect("a stage");
        assert_eq!((tasks.name.as_str(), tasks.packets_per_s, tasks.cycles_per_packet), ("tasks", 2.0, 100.0));
        assert_eq!(frame.cores[0].cycles_per_packet, None);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let bounds = [100, 200];
        assert_eq!(quantile(&bounds, &[0.0, 10.0, 0.0], 0.5), Some(150.0));
        assert_eq!(quantile(&bounds, &[1.0, 0.0, 0.0], 0.99), Some(99.0));
        assert_eq!(quantile(&bounds, &[0.0, 0.0, 3.0], 0.5), Some(200.0));
        assert_eq!(quantile(&bounds, &[0.0, 0.0, 0.0], 0.5), None);
    }
}
