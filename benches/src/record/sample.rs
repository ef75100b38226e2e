//! What the rounds of a scenario left behind: a file of JSON lines, the head first, then a line per run.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{bar::Bar, text::number};
use crate::place::Place;

/// The program all others are compared with.
pub(crate) const PRODUCT: &str = "tidegate";

/// The first line: what was to be measured, and where.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) scenario: String,
    /// What the scenario asks, for people.
    pub(crate) title: String,
    pub(crate) port: String,
    /// What was typed.
    pub(crate) command: String,
    pub(crate) machine: Place,
    /// In the order of the columns: the product first.
    pub(crate) programs: Vec<Program>,
    pub(crate) bars: Vec<Bar>,
    /// All peers that the scenario has, raced or not: the best of some of them is not the best.
    #[serde(default)]
    pub(crate) peers: Vec<String>,
}

/// A program that was run.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// One run of one program in one case.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// From 1.
    pub(crate) round: u32,
    pub(crate) program: String,
    pub(crate) case: String,
    /// A fixed piece of work on the program's processor, in ms, before it started and after it ended.
    pub(crate) probe_ms: [f64; 2],
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl Sample {
    /// Its figures, if it has any.
    pub(crate) fn measured(&self) -> Option<&Measured> {
        match &self.outcome {
            Outcome::Measured(measured) => Some(measured),
            Outcome::Failed { .. } | Outcome::Skipped { .. } => None,
        }
    }

    /// What it came to, for who watches.
    pub(crate) fn line(&self) -> String {
        match &self.outcome {
            Outcome::Failed { failed } => format!("failed: {failed}"),
            Outcome::Skipped { skipped } => format!("left out: {skipped}"),
            Outcome::Measured(measured) => {
                let figure = |found: &Metric| format!("{} {} {}", found.metric, number(found.value), found.unit);
                let mut line = measured.metrics.iter().take(6).map(figure).collect::<Vec<_>>().join(", ");
                if measured.errors > 0 {
                    line += &format!(", {}", measured.blame().replacen("errors", "ERRORS", 1));
                }
                line
            }
        }
    }
}

/// What a run came to.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// It was measured.
    Measured(Measured),
    /// It was not, and should have been.
    Failed {
        /// Why.
        failed: String,
    },
    /// The program cannot do this here.
    Skipped {
        /// Why.
        skipped: String,
    },
}

/// The line that every measuring program prints.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) metrics: Vec<Metric>,
    /// All latencies, see [`crate::latency`].
    #[serde(default)]
    pub(crate) latency: Option<String>,
    /// Requests, connections, packets… that failed, of those that must not.
    #[serde(default)]
    pub(crate) errors: u64,
    /// The same by name, if the measuring program has names for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) failures: BTreeMap<String, u64>,
    /// Pieces of work done from the first connection to the last, warm-up included, if the measuring program has counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pieces: Option<u64>,
}

impl Measured {
    /// How many errors there were, and of which kinds.
    pub(crate) fn blame(&self) -> String {
        let kinds: Vec<_> = self.failures.iter().map(|(name, count)| format!("{count} × {name}")).collect();
        let colon = if kinds.is_empty() { "" } else { ": " };
        format!("{} errors{colon}{}", self.errors, kinds.join(", "))
    }

    /// Adds what the program under test has spent on each piece of work, as far as the pieces were counted. Beside a rate that the load
    /// limits, it says what the program itself would be limited by.
    pub(crate) fn spent(&mut self, cycles: f64) {
        if let Some(pieces) = self.pieces.filter(|pieces| *pieces > 0)
            && cycles > 0.0
        {
            self.metrics.push(super::metric("program_cost", "cycles", cycles / pieces as f64, Better::Lower));
        }
    }
}

/// One figure.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
    pub(crate) better: Better,
}

/// Which direction is an improvement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A samples file that cannot be used.
#[derive(Debug)]
pub(crate) enum BadSamples {
    /// It cannot be read or written.
    File(io::Error),
    /// A line is not what it should be; lines count from 1.
    Line { number: usize, error: serde_json::Error },
    /// There is nothing in it.
    Empty,
}

impl fmt::Display for BadSamples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Line { number, error } => write!(f, "line {number}: {error}"),
            Self::Empty => f.write_str("no head: `record begin` writes it"),
        }
    }
}

/// Reads all of it.
///
/// # Errors
/// The file cannot be read, or a line of it not be understood.
pub(crate) fn read(path: &Path) -> Result<(Head, Vec<Sample>), BadSamples> {
    parse(&fs::read_to_string(path).map_err(BadSamples::File)?)
}

/// The text of a samples file.
pub(crate) fn parse(text: &str) -> Result<(Head, Vec<Sample>), BadSamples> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.next().ok_or(BadSamples::Empty)?;
    let head = serde_json::from_str(first).map_err(|error| BadSamples::Line { number: 1, error })?;
    let sample = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| BadSamples::Line { number: index + 1, error })
    };
    Ok((head, lines.map(sample).collect::<Result<_, _>>()?))
}

/// Writes `line` as a new file, or at the end of one.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, line: &impl Serialize, append: bool) -> Result<(), BadSamples> {
    let text = serde_json::to_string(line).map_err(|error| BadSamples::Line { number: 0, error })?;
    let mut options = fs::OpenOptions::new();
    let options = if append { options.append(true) } else { options.write(true).create(true).truncate(true) };
    let mut file = options.open(path).map_err(BadSamples::File)?;
    writeln!(file, "{text}").map_err(BadSamples::File)
}
