//! Metric families and the Prometheus text format (version 0.0.4).
//!
//! Written by hand: it is forty lines, and OpenMetrics encoders name counters in a way that `promtool check metrics` refuses.

use std::fmt::Write as _;

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Samples of one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// With the prefix `tidegate_` and the base unit at the end.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// A value with its labels.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Appended to the name: `_bucket`, `_sum`, `_count` of a histogram, else empty.
    pub suffix: &'static str,
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Family {
    /// A counter without samples.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    /// A gauge without samples.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    /// A histogram without samples.
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Histogram, samples: Vec::new() }
    }

    /// Adds a sample.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: u64) -> Self {
        self.push(labels, value);
        self
    }

    /// Adds a sample. Counts above 2^53 lose their last digits, as in every Prometheus.
    #[allow(clippy::cast_precision_loss)]
    pub fn push(&mut self, labels: &[(&'static str, &str)], value: u64) {
        self.push_as("", labels, value as f64);
    }

    /// Adds a sample under the name with a suffix.
    pub fn push_as(&mut self, suffix: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { suffix, labels, value });
    }
}

/// The families in Prometheus's text format.
pub fn exposition(families: &[Family]) -> String {
    let mut out = String::with_capacity(families.len() * 256);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {} {}", family.name, escape(family.help, false));
        let _ = writeln!(out, "# TYPE {} {}", family.name, family.kind.as_str());
        for sample in &family.samples {
            let _ = writeln!(out, "{} {}", series(family, sample), sample.value);
        }
    }
    out
}

/// The families as `name{labels}: value` lines, for people.
pub fn plain(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        for sample in &family.samples {
            let _ = writeln!(out, "{}: {}", series(family, sample), sample.value);
        }
    }
    out
}

fn series(family: &Family, sample: &Sample) -> String {
    let mut out = format!("{}{}", family.name, sample.suffix);
    if !sample.labels.is_empty() {
        let pairs: Vec<String> =
            sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value, true))).collect();
        out.push('{');
        out.push_str(&pairs.join(","));
        out.push('}');
    }
    out
}

fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_empty_families_left_out() {
        let families = [
            Family::counter("tidegate_x_total", "Counts\nx.").with(&[("port", "a\"b\\c\n"), ("core", "1")], 7),
            Family::gauge("tidegate_y", "Nothing yet."),
            Family::gauge("tidegate_z", "One.").with(&[], 1),
        ];
        let expected = "# HELP tidegate_x_total Counts\\nx.\n# TYPE tidegate_x_total counter\n\
            tidegate_x_total{port=\"a\\\"b\\\\c\\n\",core=\"1\"} 7\n\
            # HELP tidegate_z One.\n# TYPE tidegate_z gauge\ntidegate_z 1\n";
        assert_eq!(exposition(&families), expected);
        assert_eq!(plain(&families[2..]), "tidegate_z: 1\n");
    }
}
