//! What layer 7 counts, per core: written by that core alone, read by anybody at any time.

use core::time::Duration;

use super::reason::Reason;
use crate::sync::counter::Counter;

/// Counters of one core.
#[derive(Debug, Default)]
pub struct HttpStats {
    /// Client connections accepted.
    pub connections: Counter,
    /// Client connections whose TLS handshake failed.
    pub handshake_failures: Counter,
    /// Client connections open.
    pub open_connections: Counter,
    /// Requests under way.
    pub active_requests: Counter,
    /// Finished requests by status class: index 0 counts those without a status (cut off), 1 to 5 are 1xx to 5xx.
    pub requests: [Counter; 6],
    /// Finished requests by [`Reason`].
    pub reasons: Reasons,
    /// Time from first request byte to last response byte.
    pub latency: Histogram,
    /// Request content received, bytes.
    pub bytes_in: Counter,
    /// Response content sent, bytes.
    pub bytes_out: Counter,
    /// Upstream connections established.
    pub upstream_connects: Counter,
    /// Upstream connections that could not be established.
    pub upstream_connect_failures: Counter,
    /// Requests sent on a pooled connection.
    pub pool_hits: Counter,
    /// Pooled connections waiting.
    pub pool_idle: Counter,
    /// Requests sent again.
    pub retries: Counter,
    /// Tunnels open.
    pub open_tunnels: Counter,
    /// Access records that found the ring full.
    pub access_lost: Counter,
}

/// One counter per reason.
#[derive(Debug)]
pub struct Reasons([Counter; Reason::COUNT]);

impl Default for Reasons {
    fn default() -> Self {
        Reasons([const { Counter::new() }; Reason::COUNT])
    }
}

impl Reasons {
    /// The counter of a reason.
    pub fn of(&self, reason: Reason) -> &Counter {
        &self.0[reason as usize]
    }
}

/// Upper bounds of the latency buckets, in microseconds.
pub const LATENCY_BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// A latency distribution in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Observations up to each bound and above the previous one; the last bucket has no bound.
    pub buckets: [Counter; LATENCY_BOUNDS_US.len() + 1],
    /// Sum of all observations, in microseconds.
    pub sum_us: Counter,
}

impl Histogram {
    /// Counts one observation.
    pub fn record(&self, latency: Duration) {
        let micros = latency.as_micros() as u64;
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[bucket].add(1);
        self.sum_us.add(micros);
    }
}

impl HttpStats {
    /// Counts a finished request.
    pub fn finished(&self, status: u16, reason: Reason, latency: Duration) {
        self.requests[usize::from(status / 100).min(5)].add(1);
        self.reasons.of(reason).add(1);
        self.latency.record(latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_closed_above() {
        let stats = HttpStats::default();
        for micros in [100, 101, 20_000_000] {
            stats.finished(204, Reason::Ok, Duration::from_micros(micros));
        }
        let filled: Vec<_> = stats.latency.buckets.iter().map(Counter::value).collect();
        assert_eq!((filled[0], filled[1], filled[16]), (1, 1, 1));
        assert_eq!(stats.requests[2].value(), 3);
        assert_eq!(stats.reasons.of(Reason::Ok).value(), 3);
    }
}
