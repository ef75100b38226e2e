//! The one line that a run prints.

use serde::Serialize;

use super::tally::Tally;
use crate::latency;

/// One quantity.
#[derive(Serialize, Debug)]
pub(crate) struct Metric {
    metric: &'static str,
    unit: &'static str,
    value: f64,
    /// Which way is good.
    better: &'static str,
}

/// The line.
#[derive(Serialize)]
pub(crate) struct Outcome {
    metrics: Vec<Metric>,
    /// HdrHistogram V2 in base64, nanoseconds.
    pub(crate) latency: Option<String>,
    /// Failures of all kinds, from the first connection to the last.
    errors: u64,
    /// The same by name.
    failures: serde_json::Map<String, serde_json::Value>,
    /// Pieces of work done from the first connection to the last, whether they count or not.
    pieces: u64,
}

/// What the load has cost so far, at one moment, in ticks of the time-stamp counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// That moment.
    pub(crate) at: u64,
    /// Spent in turns of the generator that had something to do.
    pub(crate) generator: u64,
    /// In those of an origin beside it.
    pub(crate) origin: Option<u64>,
}

impl Outcome {
    /// Of what was counted.
    pub(crate) fn new(tally: &Tally, unit: &'static str) -> Self {
        // A run that was stopped in its warm-up has measured nothing.
        let seconds = tally.window().map_or(0.0, |window| window.length().as_secs_f64()).max(1e-9);
        let mut outcome = Self {
            metrics: Vec::new(),
            latency: (!tally.latency.is_empty()).then(|| latency::encode(&tally.latency)),
            errors: tally.errors(),
            failures: tally.failures().map(|(name, count)| (name.to_owned(), count.into())).collect(),
            pieces: tally.pieces,
        };
        outcome.higher("rate", unit, tally.done as f64 / seconds);
        outcome.higher("goodput", "Gbit/s", tally.bytes as f64 * 8e-9 / seconds);
        let micros = |nanos: u64| nanos as f64 / 1e3;
        // Of nothing there is no percentile: a zero would be the best of all.
        if !tally.latency.is_empty() {
            for (metric, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
                outcome.lower(metric, "us", micros(tally.latency.value_at_quantile(quantile)));
            }
            outcome.lower("max", "us", micros(tally.latency.max()));
        }
        outcome.higher("opened", "connections/s", tally.opened as f64 / seconds);
        outcome
    }

    /// Adds what the load itself has cost per piece of work, and how much of the processor it took: close to 100 % the figures
    /// are its own and not those of the program under test.
    pub(crate) fn cost(&mut self, before: &Spent, after: &Spent, done: u64) {
        let each = done.max(1) as f64;
        let mut busy = (after.generator - before.generator) as f64;
        self.lower("generator_cost", "cycles", busy / each);
        if let (Some(before), Some(after)) = (before.origin, after.origin) {
            self.lower("origin_cost", "cycles", (after - before) as f64 / each);
            busy += (after - before) as f64;
        }
        self.lower("load_busy", "%", 100.0 * busy / (after.at - before.at).max(1) as f64);
    }

    /// Adds a quantity that is better the higher it is.
    pub(crate) fn higher(&mut self, metric: &'static str, unit: &'static str, value: f64) {
        self.metrics.push(Metric { metric, unit, value, better: "higher" });
    }

    /// Adds a quantity that is better the lower it is.
    pub(crate) fn lower(&mut self, metric: &'static str, unit: &'static str, value: f64) {
        self.metrics.push(Metric { metric, unit, value, better: "lower" });
    }

    /// One of the quantities.
    #[cfg(test)]
    pub(crate) fn value(&self, metric: &str) -> f64 {
        let found = self.metrics.iter().find(|candidate| candidate.metric == metric);
        found.unwrap_or_else(|| panic!("no {metric} in {}", self.line())).value
    }

    /// Whether nothing was done in the time that counts, and nothing failed at any time.
    pub(crate) fn is_empty(&self) -> bool {
        self.latency.is_none() && self.errors == 0
    }

    /// Failures of all kinds.
    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    /// One line of JSON.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("numbers and text: {error}"))
    }

    /// A few lines for people.
    pub(crate) fn text(&self) -> String {
        let quantities =
            self.metrics.iter().map(|metric| format!("{} {:.1} {}", metric.metric, metric.value, metric.unit));
        let mut text = quantities.collect::<Vec<_>>().join(", ");
        for (name, count) in &self.failures {
            text.push_str(&format!("\n{count} × {name}"));
        }
        text
    }
}
