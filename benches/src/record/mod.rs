//! The record of a race: samples are collected while it runs (`record`), then judged and shown (`report`).

mod sample; // the samples file
mod bar; // what must be reached
mod judge; // medians, ratios, bars, failures
mod text; // for people: tables
mod curve; // for people: latency over percentile
mod html; // for people: a page
mod tools; // for comparison: wrk, h2load
mod tables; // what the questions about memory ports print
mod summary; // several records: what was to be reached

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use bar::Bar;
use judge::{Record, Rounds, Spread};
use sample::{BadSamples, Head, Metric, Outcome, Program, Sample};

pub(crate) use sample::{Better, Measured};
pub(crate) use tools::metric;

use crate::place::Place;

/// Options of `record`: the steps of collecting samples, for scripts.
#[derive(clap::Subcommand)]
pub(crate) enum Step {
    /// Begin a samples file.
    Begin(Begin),
    /// Add a run to it and say in a line what it came to; the measuring program's line is read from the standard input.
    Add(Add),
    /// Print the line of a measurement that was made elsewhere.
    Line {
        /// NAME=VALUE,UNIT,higher|lower.
        #[arg(long = "metric", required = true)]
        metrics: Vec<Given>,
        /// What failed meanwhile and must not.
        #[arg(long, default_value_t = 0)]
        errors: u64,
    },
    /// Print the line on the standard input with more metrics.
    Also {
        /// NAME=VALUE,UNIT,higher|lower.
        #[arg(long = "metric")]
        metrics: Vec<Given>,
        /// Make the errors a metric of this name: where failures are what is measured, they do not spoil the run.
        #[arg(long, value_name = "NAME")]
        errors_as: Option<String>,
    },
    /// Print the figure of one metric of the line on the standard input.
    Value {
        /// Its name.
        metric: String,
    },
    /// Print the cases that lack rounds for a claim because the machine was slow, a line each: CASE and how many count.
    Short {
        /// The samples file.
        #[arg(long)]
        samples: PathBuf,
        /// Rounds that were asked for: if fewer than a claim takes, none are missed.
        #[arg(long)]
        asked: u32,
    },
    /// Print the line of what `wrk --latency` said on the standard input.
    Wrk,
    /// Print the line of what `h2load` said on the standard input.
    H2load,
    /// Print the line of what a question about memory ports said with --json on the standard input.
    Tables,
}

/// Options of `record begin`.
#[derive(Clone, clap::Args)]
pub(crate) struct Begin {
    /// The samples file.
    #[arg(long)]
    samples: PathBuf,
    /// The scenario's name.
    #[arg(long)]
    scenario: String,
    /// What it asks.
    #[arg(long)]
    title: String,
    /// What moves the packets.
    #[arg(long)]
    port: String,
    /// What was typed.
    #[arg(long)]
    command: String,
    /// NAME=VERSION of each program, the product first.
    #[arg(long = "program", required = true)]
    programs: Vec<String>,
    /// "CASE METRIC PEER|best|self >=|<= NUMBER".
    #[arg(long = "bar")]
    bars: Vec<Bar>,
    /// A peer that the scenario has, raced or not.
    #[arg(long = "peer", value_name = "NAME")]
    peers: Vec<String>,
}

/// Options of `record add`.
#[derive(Clone, clap::Args)]
pub(crate) struct Add {
    /// The samples file.
    #[arg(long)]
    samples: PathBuf,
    /// From 1.
    #[arg(long)]
    round: u32,
    /// Who ran.
    #[arg(long)]
    program: String,
    /// What it did.
    #[arg(long)]
    case: String,
    /// Milliseconds of the probe, before and after.
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    probe_ms: Vec<f64>,
    /// What the program has spent meanwhile: nanoseconds of processor time, and ticks of the time-stamp counter beside them.
    #[arg(long, num_args = 2, value_names = ["NS", "TICKS"])]
    spent: Vec<u64>,
    /// Why there is no figure; nothing is read.
    #[arg(long, conflicts_with = "skipped")]
    failed: Option<String>,
    /// Why there can be none on this machine; nothing is read.
    #[arg(long)]
    skipped: Option<String>,
}

/// Options of `report`.
#[derive(clap::Args)]
pub(crate) struct Report {
    /// The samples file.
    #[arg(long)]
    samples: PathBuf,
    /// Write the record as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a page with tables and latency curves.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Print nothing but the median of one figure: PROGRAM CASE METRIC.
    #[arg(long, num_args = 3, value_names = ["PROGRAM", "CASE", "METRIC"])]
    median: Option<Vec<String>>,
}

/// Options of `summary`.
#[derive(clap::Args)]
pub(crate) struct Summary {
    /// Records, as `report --json` has written them.
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Also write a page that leads to those of the records, which are named as they are, in the same directory.
    #[arg(long)]
    html: Option<PathBuf>,
}

/// A metric on the command line.
#[derive(Clone)]
pub(crate) struct Given(Metric);

impl FromStr for Given {
    type Err = Trouble;

    fn from_str(text: &str) -> Result<Self, Trouble> {
        let parts = || {
            let (name, rest) = text.split_once('=')?;
            let mut rest = rest.split(',');
            let (value, unit, better) = (rest.next()?.parse().ok()?, rest.next()?, rest.next()?);
            let better = match better {
                "higher" => Better::Higher,
                "lower" => Better::Lower,
                _ => return None,
            };
            rest.next().is_none().then(|| metric(name, unit, value, better))
        };
        parts().map(Self).ok_or_else(|| Trouble::NoMetric(text.to_owned()))
    }
}

/// Why a step could not be done, or what it says at its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// With this samples file.
    Samples(PathBuf, BadSamples),
    /// With another file.
    File(PathBuf, io::Error),
    /// The measuring program's line is none.
    Line(serde_json::Error),
    /// A file is no record.
    Record(PathBuf, serde_json::Error),
    /// The output of another tool.
    Tool(tools::NotFinished),
    /// A metric that is not NAME=VALUE,UNIT,higher|lower.
    NoMetric(String),
    /// A program that is not NAME=VERSION.
    NoProgram(String),
    /// There is no such figure.
    NoFigure,
    /// Runs failed; the report names them.
    Unsound(usize),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Samples(path, error) => write!(f, "{}: {error}", path.display()),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Line(error) => write!(f, "not the line of a measurement: {error}"),
            Self::Record(path, error) => write!(f, "{}: not a record of scripts/bench: {error}", path.display()),
            Self::Tool(error) => error.fmt(f),
            Self::NoMetric(text) => write!(f, "`{text}`: a metric is NAME=VALUE,UNIT,higher or …,lower"),
            Self::NoProgram(text) => write!(f, "`{text}`: a program is NAME=VERSION"),
            Self::NoFigure => f.write_str("no such figure was measured"),
            Self::Unsound(0) => f.write_str("nothing was measured"),
            Self::Unsound(count) => write!(f, "{count} runs failed or had errors, see above"),
        }
    }
}

impl std::error::Error for Trouble {}

/// Does a step.
///
/// # Errors
/// A file or the standard input is not what it should be.
pub(crate) fn step(step: &Step) -> Result<(), Trouble> {
    match step {
        Step::Begin(options) => begin(options.clone()),
        Step::Add(options) => add(options.clone()),
        Step::Line { metrics, errors } => {
            let metrics = metrics.iter().map(|given| given.0.clone()).collect();
            print(&Measured { metrics, errors: *errors, ..Measured::default() })
        }
        Step::Also { metrics, errors_as } => {
            let mut measured: Measured = serde_json::from_str(&input()?).map_err(Trouble::Line)?;
            measured.metrics.extend(metrics.iter().map(|given| given.0.clone()));
            if let Some(name) = errors_as {
                let errors = core::mem::take(&mut measured.errors);
                measured.metrics.push(metric(name, "count", errors as f64, Better::Lower));
            }
            print(&measured)
        }
        Step::Value { metric } => {
            let measured: Measured = serde_json::from_str(&input()?).map_err(Trouble::Line)?;
            let found = measured.metrics.iter().find(|found| found.metric == *metric).ok_or(Trouble::NoFigure)?;
            println!("{}", found.value);
            Ok(())
        }
        Step::Short { samples, asked } => short(samples, *asked),
        Step::Wrk => print(&tools::wrk(&input()?).map_err(Trouble::Tool)?),
        Step::H2load => print(&tools::h2load(&input()?).map_err(Trouble::Tool)?),
        Step::Tables => match tables::line(&input()?).map_err(Trouble::Line)? {
            measured if measured.metrics.is_empty() => Err(Trouble::NoFigure),
            measured => print(&measured),
        },
    }
}

fn short(path: &Path, asked: u32) -> Result<(), Trouble> {
    let (_, samples) = sample::read(path).map_err(|error| Trouble::Samples(path.to_owned(), error))?;
    let wanted = if asked < text::ENOUGH { 0 } else { text::ENOUGH };
    for (case, quiet) in Rounds::of(&samples).short_of(wanted as usize) {
        println!("{case} {quiet}");
    }
    Ok(())
}

/// Judges a samples file and shows what came of it.
///
/// # Errors
/// A file cannot be read or written, or runs have failed.
pub(crate) fn report(options: &Report) -> Result<(), Trouble> {
    let (head, samples) =
        sample::read(&options.samples).map_err(|error| Trouble::Samples(options.samples.clone(), error))?;
    if let Some([program, case, metric]) = options.median.as_deref() {
        let of = |sample: &&Sample| sample.program == *program && sample.case == *case;
        let metrics = samples.iter().filter(of).filter_map(Sample::measured).flat_map(|measured| &measured.metrics);
        let values = metrics.filter(|found| found.metric == *metric).map(|found| found.value);
        println!("{}", Spread::of(values).ok_or(Trouble::NoFigure)?.median);
        return Ok(());
    }
    let record = Record::of(head, &samples);
    print!("{}", record.text());
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&record).map_err(Trouble::Line)?;
        write(path, &(json + "\n"))?;
    }
    if let Some(path) = &options.html {
        write(path, &html::page(&record, &samples))?;
    }
    if record.is_sound() { Ok(()) } else { Err(Trouble::Unsound(record.failures.len())) }
}

/// Prints one table of what was to be reached in several records.
///
/// # Errors
/// A record cannot be read, or the page not be written.
pub(crate) fn summary(options: &Summary) -> Result<(), Trouble> {
    let mut records = Vec::new();
    for path in &options.records {
        let text = fs::read_to_string(path).map_err(|error| Trouble::File(path.clone(), error))?;
        let record: Record = serde_json::from_str(&text).map_err(|error| Trouble::Record(path.clone(), error))?;
        records.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), record));
    }
    print!("{}", summary::text(&records));
    options.html.as_ref().map_or(Ok(()), |path| write(path, &summary::page(&records)))
}

fn begin(options: Begin) -> Result<(), Trouble> {
    let Begin { samples, scenario, title, port, command, programs, bars, peers } = options;
    let program = |text: &String| {
        let (name, version) = text.split_once('=').ok_or_else(|| Trouble::NoProgram(text.clone()))?;
        Ok(Program { name: name.to_owned(), version: version.to_owned() })
    };
    let programs = programs.iter().map(program).collect::<Result<_, _>>()?;
    let head = Head { scenario, title, port, command, machine: Place::here(), programs, bars, peers };
    sample::write(&samples, &head, false).map_err(|error| Trouble::Samples(samples, error))
}

fn add(options: Add) -> Result<(), Trouble> {
    let Add { samples, round, program, case, probe_ms, spent, failed, skipped } = options;
    let outcome = match (failed, skipped) {
        (Some(failed), _) => Outcome::Failed { failed },
        (None, Some(skipped)) => Outcome::Skipped { skipped },
        (None, None) => {
            let mut measured: Measured = serde_json::from_str(&input()?).map_err(Trouble::Line)?;
            if let [nanos, ticks] = spent[..] {
                let (head, _) = sample::read(&samples).map_err(|error| Trouble::Samples(samples.clone(), error))?;
                measured.spent(nanos as f64 * head.machine.ticks_per_nanosecond() + ticks as f64);
            }
            Outcome::Measured(measured)
        }
    };
    let probe_ms = [probe_ms.first(), probe_ms.last()].map(|probe| probe.copied().unwrap_or(0.0));
    let sample = Sample { round, program, case, probe_ms, outcome };
    println!("{}", sample.line());
    sample::write(&samples, &sample, true).map_err(|error| Trouble::Samples(samples, error))
}

fn input() -> Result<String, Trouble> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| Trouble::File("standard input".into(), error))?;
    Ok(text)
}

/// Prints the line of a measurement.
///
/// # Errors
/// None that is known: the line is numbers and text.
pub(crate) fn print(measured: &Measured) -> Result<(), Trouble> {
    println!("{}", serde_json::to_string(measured).map_err(Trouble::Line)?);
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, text).map_err(|error| Trouble::File(path.to_owned(), error))
}
