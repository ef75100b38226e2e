//! From samples to the record: medians and spreads, ratios taken within each round, bars met or missed, what failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::bar::{Bar, Whom};
use super::sample::{Better, Head, Metric, Outcome, PRODUCT, Program, Sample};
use crate::place::Place;

/// A probe this much longer than the fastest of the record is that of a slow machine.
const SLOW: f64 = 1.15;

/// What a scenario has found.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) scenario: String,
    pub(crate) title: String,
    pub(crate) port: String,
    pub(crate) command: String,
    pub(crate) machine: Place,
    pub(crate) programs: Vec<Program>,
    /// Rounds that were run.
    pub(crate) rounds: u32,
    pub(crate) rows: Vec<Row>,
    /// What should have been measured and was not, and what went wrong while it was.
    pub(crate) failures: Vec<Failure>,
    /// What a program cannot do on this machine.
    pub(crate) skipped: Vec<Failure>,
}

/// One metric in one case.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) product: Option<Spread>,
    pub(crate) peers: BTreeMap<String, Spread>,
    /// Median of product ÷ peer, each taken within a round.
    pub(crate) ratio: BTreeMap<String, f64>,
    /// Rounds with a figure of the product's, slow ones included.
    pub(crate) rounds: u32,
    /// Rounds that the verdict rests on: not left out, with figures of the product's and of every peer that the bars ask about. A record
    /// that does not say makes no claim.
    #[serde(default)]
    pub(crate) counted: u32,
    pub(crate) bar: Option<String>,
    /// Whether the bar holds; `None` without one, and when what it asks about was not measured.
    pub(crate) met: Option<bool>,
    /// Rounds in which some program of this row ran in a slow state of the machine.
    pub(crate) slow_rounds: Vec<u32>,
    /// Whether figures and ratios were taken without those rounds; not so when too few others are left.
    pub(crate) slow_left_out: bool,
}

/// A figure over the rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// A run that has no figure, or errors beside it.
#[derive(PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) case: String,
    pub(crate) program: String,
    pub(crate) round: u32,
    pub(crate) why: String,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]), min, max })
    }
}

/// The samples of a record, with what is known about the machine's state in each.
pub(crate) struct Rounds<'a> {
    samples: &'a [Sample],
    limit_ms: f64,
}

impl<'a> Rounds<'a> {
    /// Judged by the fastest probe among them. A run that was left out has none.
    pub(crate) fn of(samples: &'a [Sample]) -> Self {
        let measured = samples.iter().filter(|sample| sample.measured().is_some());
        let probes = measured.flat_map(|sample| sample.probe_ms).filter(|probe| *probe > 0.0);
        Self { samples, limit_ms: probes.fold(f64::INFINITY, f64::min) * SLOW }
    }

    /// Whether the machine was slow before or after it.
    pub(crate) fn is_slow(&self, sample: &Sample) -> bool {
        sample.probe_ms.iter().any(|probe| *probe > self.limit_ms)
    }

    /// Rounds of `case` in which some measured run was slow.
    fn slow(&self, case: &str) -> Vec<u32> {
        let slow = |sample: &&Sample| sample.case == case && sample.measured().is_some() && self.is_slow(sample);
        let mut rounds: Vec<_> = self.samples.iter().filter(slow).map(|sample| sample.round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        rounds
    }

    /// Value per round, of the runs without errors: what was answered wrongly or not at all was not measured.
    fn values(&self, case: &str, metric: &str, program: &str) -> BTreeMap<u32, f64> {
        let of = |sample: &&Sample| sample.case == case && sample.program == program;
        let value = |sample: &Sample| {
            let measured = sample.measured().filter(|measured| measured.errors == 0)?;
            Some((sample.round, measured.metrics.iter().find(|found| found.metric == metric)?.value))
        };
        self.samples.iter().filter(of).filter_map(value).collect()
    }

    /// Whose latencies belong into one curve: those of the rounds that count.
    pub(crate) fn counted(&self, case: &str) -> Vec<&'a Sample> {
        let (slow, left_out) = self.left_out(case);
        let of = |sample: &&Sample| sample.case == case && !(left_out && slow.contains(&sample.round));
        self.samples.iter().filter(of).collect()
    }

    /// Whether `program` was left out of `case` on purpose.
    fn is_skipped(&self, case: &str, program: &str) -> bool {
        let of = |sample: &&Sample| sample.case == case && sample.program == program;
        self.samples.iter().filter(of).any(|sample| matches!(sample.outcome, Outcome::Skipped { .. }))
    }

    /// Cases with fewer than `wanted` rounds in which the machine was not slow, each with how many it has.
    pub(crate) fn short_of(&self, wanted: usize) -> Vec<(&'a str, usize)> {
        let mut cases: Vec<&str> = Vec::new();
        for sample in self.samples {
            if !cases.contains(&sample.case.as_str()) {
                cases.push(&sample.case);
            }
        }
        let quiet = |case| (case, self.all(case).len() - self.slow(case).len());
        cases.into_iter().map(quiet).filter(|(_, quiet)| *quiet < wanted).collect()
    }

    /// Rounds of `case`.
    fn all(&self, case: &str) -> BTreeSet<u32> {
        self.samples.iter().filter(|sample| sample.case == case).map(|sample| sample.round).collect()
    }

    /// The slow rounds, and whether they are left out: if at least half of the rounds, and no fewer than three, remain.
    fn left_out(&self, case: &str) -> (Vec<u32>, bool) {
        let slow = self.slow(case);
        let all = self.all(case);
        let remain = all.len() - slow.len();
        let left_out = !slow.is_empty() && remain >= 3 && remain * 2 >= all.len();
        (slow, left_out)
    }
}

impl Record {
    /// Judges the samples.
    pub(crate) fn of(head: Head, samples: &[Sample]) -> Self {
        let rounds = Rounds::of(samples);
        let mut asked = metrics(samples);
        asked.extend(unmeasured(&head, samples, &asked));
        let rows = asked.iter().map(|(case, metric)| row(&head, &rounds, case, metric)).collect();
        let (failures, skipped) = incidents(samples);
        let count = samples.iter().map(|sample| sample.round).max().unwrap_or(0);
        let Head { scenario, title, port, command, machine, programs, .. } = head;
        Self { scenario, title, port, command, machine, programs, rounds: count, rows, failures, skipped }
    }

    /// Whether everything that was to be measured was, without errors.
    pub(crate) fn is_sound(&self) -> bool {
        self.failures.is_empty() && !self.rows.is_empty()
    }
}

/// Cases and metrics in the order in which they first appeared.
fn metrics(samples: &[Sample]) -> Vec<(String, Metric)> {
    let mut found: Vec<(String, Metric)> = Vec::new();
    let mut cases: Vec<&str> = Vec::new();
    for sample in samples {
        if !cases.contains(&sample.case.as_str()) {
            cases.push(&sample.case);
        }
        for metric in sample.measured().iter().flat_map(|measured| &measured.metrics) {
            if !found.iter().any(|(case, known)| *case == sample.case && known.metric == metric.metric) {
                found.push((sample.case.clone(), metric.clone()));
            }
        }
    }
    let place = |case: &str| cases.iter().position(|known| *known == case);
    found.sort_by_key(|(case, _)| place(case));
    found
}

/// What bars ask about and no run of their case has told: reported all the same, as not measured.
fn unmeasured(head: &Head, samples: &[Sample], known: &[(String, Metric)]) -> Vec<(String, Metric)> {
    let mut missing: Vec<(String, Metric)> = Vec::new();
    let was_run = |bar: &&Bar| samples.iter().any(|sample| sample.case == bar.case);
    for Bar { case, metric, at_least, .. } in head.bars.iter().filter(was_run) {
        let same = |(of, found): &(String, Metric)| of == case && found.metric == *metric;
        if !known.iter().chain(&missing).any(same) {
            let better = if *at_least { Better::Higher } else { Better::Lower };
            missing.push((case.clone(), Metric { metric: metric.clone(), unit: String::new(), value: 0.0, better }));
        }
    }
    missing
}

fn row(head: &Head, rounds: &Rounds<'_>, case: &str, metric: &Metric) -> Row {
    let (slow_rounds, slow_left_out) = rounds.left_out(case);
    let counts = |round: &u32| !(slow_left_out && slow_rounds.contains(round));
    let values = |program: &str| -> BTreeMap<u32, f64> {
        rounds.values(case, &metric.metric, program).into_iter().filter(|(round, _)| counts(round)).collect()
    };
    let bars: Vec<_> = head.bars.iter().filter(|bar| bar.case == case && bar.metric == metric.metric).collect();
    let own = values(PRODUCT);
    let product = Spread::of(own.values().copied());
    let (mut peers, mut ratio) = (BTreeMap::new(), Vec::new());
    let mut counted = own.len();
    for Program { name, .. } in head.programs.iter().filter(|program| program.name != PRODUCT) {
        let theirs = values(name);
        let Some(spread) = Spread::of(theirs.values().copied()) else { continue };
        peers.insert(name.clone(), spread);
        // A growth may be negative by what else the machine did, and then it is no multiple of anything.
        let pair = |(round, own): (&u32, &f64)| {
            let theirs = theirs.get(round).filter(|value| **value > 0.0)?;
            (*own >= 0.0).then_some(own / theirs)
        };
        let pairs: Vec<f64> = own.iter().filter_map(pair).collect();
        if bars.iter().any(|bar| bar.concerns(name)) {
            counted = counted.min(pairs.len());
        }
        ratio.extend(Spread::of(pairs).map(|spread| (name.clone(), spread.median)));
    }
    let absent = Absent::of(head, rounds, case, &ratio);
    let met = verdict(&bars, product.map(|spread| spread.median), &ratio, absent.unknown.is_empty());
    let said = |bar: &&Bar| if bar.whom == Whom::Best { format!("{bar}{absent}") } else { bar.to_string() };
    Row {
        case: case.to_owned(),
        metric: metric.metric.clone(),
        unit: metric.unit.clone(),
        better: metric.better,
        product,
        peers,
        ratio: ratio.into_iter().collect(),
        rounds: rounds.values(case, &metric.metric, PRODUCT).len() as u32,
        counted: counted as u32,
        bar: (!bars.is_empty()).then(|| bars.iter().map(said).collect::<Vec<_>>().join(", ")),
        met,
        slow_rounds,
        slow_left_out,
    }
}

/// Peers of the scenario without a ratio in a row, which the best of them might be.
struct Absent {
    /// They could not be measured on this machine, and the record says why.
    skipped: Vec<String>,
    /// Not raced, or without a figure.
    unknown: Vec<String>,
}

impl Absent {
    fn of(head: &Head, rounds: &Rounds<'_>, case: &str, ratio: &[(String, f64)]) -> Self {
        let raced = head.programs.iter().map(|program| &program.name).filter(|name| *name != PRODUCT);
        let mut all: Vec<&String> = head.peers.iter().collect();
        all.extend(raced.filter(|name| !head.peers.contains(name)));
        all.retain(|name| ratio.iter().all(|(known, _)| known != *name));
        let (skipped, unknown) = all.into_iter().cloned().partition(|name| rounds.is_skipped(case, name));
        Self { skipped, unknown }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (names, what) in [(&self.skipped, "left out, see below"), (&self.unknown, "not measured")] {
            if !names.is_empty() {
                write!(f, " ({}: {what})", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// One missed bar is a miss, whatever else is unknown. `complete`: every peer has a ratio but those left out on purpose.
fn verdict(bars: &[&Bar], own: Option<f64>, ratios: &[(String, f64)], complete: bool) -> Option<bool> {
    let met: Vec<_> = bars.iter().map(|bar| bar.met(own, ratios, complete)).collect();
    if met.contains(&Some(false)) {
        return Some(false);
    }
    (!met.is_empty() && met.iter().all(Option::is_some)).then_some(true)
}

/// What failed, and what was left out on purpose: that once per program and case.
fn incidents(samples: &[Sample]) -> (Vec<Failure>, Vec<Failure>) {
    let (mut failures, mut skips): (Vec<Failure>, Vec<Failure>) = (Vec::new(), Vec::new());
    for sample in samples {
        let incident = |why: String| Failure {
            case: sample.case.clone(),
            program: sample.program.clone(),
            round: sample.round,
            why,
        };
        match &sample.outcome {
            Outcome::Failed { failed } => failures.push(incident(failed.clone())),
            Outcome::Measured(measured) if measured.errors > 0 => {
                failures.push(incident(measured.blame()));
            }
            Outcome::Skipped { skipped }
                if !skips.iter().any(|known| known.program == sample.program && known.case == sample.case) =>
            {
                skips.push(incident(skipped.clone()));
            }
            Outcome::Measured(_) | Outcome::Skipped { .. } => {}
        }
    }
    (failures, skips)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
