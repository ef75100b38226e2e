//! The one line that a run prints.

use serde_json::{Value, json};

use super::{search::Found, stand::Trial};
use crate::latency;

/// Bits that a frame takes on a wire beside its bytes: check sequence, preamble, gap.
const OVERHEAD: f64 = 24.0 * 8.0;

/// What was found.
pub(super) struct Outcome {
    metrics: Vec<Value>,
    latency: Option<String>,
    /// Packets that arrived as they should, in all that was counted.
    pub(super) received: u64,
    /// Packets that arrived altered.
    pub(super) errors: u64,
}

impl Outcome {
    /// Of one trial at a fixed rate.
    pub(super) fn of_trial(trial: &Trial) -> Self {
        let mut outcome = Self { metrics: Vec::new(), latency: None, received: trial.received, errors: trial.wrong };
        outcome.add("offered", "packets/s", trial.offered(), "higher");
        outcome.add("delivered", "packets/s", trial.delivered(), "higher");
        outcome.add("loss", "%", trial.loss(), "lower");
        let counts =
            [("sent", trial.sent, "higher"), ("unsent", trial.unsent, "lower"), ("lost", trial.lost(), "lower")];
        for (metric, count, better) in counts {
            outcome.add(metric, "packets", count as f64, better);
        }
        outcome.add("moves", "count", trial.moves as f64, "higher");
        outcome.describe(trial);
        outcome
    }

    /// Of a search. Latency is that of the trial whose rate was found (RFC 2544 §26.2), loss that of the flood (§26.3).
    pub(super) fn of_search(found: &Found) -> Self {
        let Found { flood, best, wrong, trials } = found;
        let received = flood.received + best.as_ref().map_or(0, |best| best.received);
        let mut outcome = Self { metrics: Vec::new(), latency: None, received, errors: *wrong };
        outcome.add("throughput", "packets/s", best.as_ref().map_or(0.0, Trial::delivered), "higher");
        outcome.add("flooded", "packets/s", flood.delivered(), "higher");
        outcome.add("flood", "packets/s", flood.offered(), "higher");
        outcome.add("loss", "%", flood.loss(), "lower");
        outcome.add("trials", "count", f64::from(*trials), "lower");
        // Without a rate that is carried there is no latency at it.
        if let Some(best) = best {
            outcome.describe(best);
        }
        outcome
    }

    fn describe(&mut self, trial: &Trial) {
        let bits = (trial.bytes * 8.0 + OVERHEAD) * trial.delivered();
        self.add("wire", "Gbit/s", bits / 1e9, "higher");
        if !trial.latency.is_empty() {
            self.latency = Some(latency::encode(&trial.latency));
            for (metric, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
                self.add(metric, "us", trial.latency.value_at_quantile(quantile) as f64 / 1e3, "lower");
            }
            self.add("max", "us", trial.latency.max() as f64 / 1e3, "lower");
        }
        self.add("generator_cost", "cycles", trial.cost, "lower");
        self.add("generator_busy", "%", 100.0 * trial.busy, "lower");
    }

    fn add(&mut self, metric: &str, unit: &str, value: f64, better: &str) {
        self.metrics.push(json!({ "metric": metric, "unit": unit, "value": value, "better": better }));
    }

    /// One line of JSON.
    pub(super) fn line(&self) -> String {
        json!({ "metrics": self.metrics, "latency": self.latency, "errors": self.errors }).to_string()
    }
}
