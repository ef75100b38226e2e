//! The benchmark harness: what the data plane costs on memory ports, where nothing but the program itself is measured.
//!
//! One subcommand answers one question. Figures are medians over rounds with the smallest and the largest beside; a fixed
//! piece of work before and after shows whether the machine was quiet. Cycles are ticks of the time-stamp counter.

// Shared with the tests of the data plane, so that what is measured is what is proved.
#[path = "../../dataplane/tests/counting/mod.rs"]
mod counting; // an allocator that counts
#[path = "../../dataplane/tests/far/mod.rs"]
mod far; // a core between two wires, and who is at their ends
mod conns; // memory of idle connections
mod crypto; // what ring alone allows
mod handshakes; // cycles per TLS handshake
mod http; // cycles per request
mod l3; // cycles per packet
mod impair; // a hop that treats packets badly
mod latency; // histograms as text
mod load; // a load generator on any port
mod lpm; // routing tables
mod memory; // what the kernel says this process takes
mod micro; // instructions per operation
mod origin; // what a proxy under test forwards to
mod packets; // packets to forward, on any port
mod place; // machine, kernel, revision
mod record; // races: samples, judgement, reports
mod random; // the same numbers in every run
mod report; // figures for people and programs
mod routes; // routing tables like those of the Internet
mod scale; // several cores at a time
mod segments; // cycles per TCP segment
mod station; // a host at the end of a wire
mod swap; // all routes replaced under load
mod stages; // where the cycles of a turn went

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use report::Report;

/// What the data plane costs on memory ports: cycles, bytes, allocations.
#[derive(Parser)]
#[command(name = "tidegate-bench", version)]
struct Cli {
    #[command(subcommand)]
    question: Question,
}

/// A question about memory ports.
#[derive(Args)]
struct Asked<O: Args> {
    #[command(flatten)]
    options: O,
    #[command(flatten)]
    common: Common,
}

/// Options of every question about memory ports.
#[derive(Args, Clone, Copy)]
struct Common {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Bind to this processor.
    #[arg(long)]
    cpu: Option<usize>,
}

#[derive(Subcommand)]
enum Question {
    /// Cycles per packet of the whole way through the router, and of each stage. Fails if anything is allocated.
    L3(Asked<l3::Options>),
    /// Cycles per TCP segment with few and with many open connections.
    Segments(Asked<segments::Options>),
    /// Memory of idle connections through the gateway.
    Conns(Asked<conns::Options>),
    /// Routing tables: time to build, bytes, time per look-up and per change.
    Lpm(Asked<lpm::Options>),
    /// All routes of a full table replaced again and again while packets are forwarded: what is lost, how long a core stands still. Fails
    /// if a packet is lost.
    Swap(Asked<swap::Options>),
    /// Instructions per operation of each part, counted by callgrind; and whether they became more.
    Micro(micro::Options),
    /// Cycles per HTTP request through the gateway, and of each stage.
    Http(Asked<http::Options>),
    /// Cycles per TLS 1.3 handshake through the gateway, beside those of its cryptography alone; records. Fails below 85 %.
    Handshakes(Asked<handshakes::Options>),
    /// Load from our own data plane on any port, with an origin beside it or without: one line of JSON. Fails if anything failed.
    Load(Box<load::Options>),
    /// An origin on our own data plane, on any port, until it is told to stop.
    Origin(Box<origin::Options>),
    /// A hop between two ports with loss, delay, reordering, limited bandwidth. Prints its counts when it is told to stop.
    Impair(Box<impair::Options>),
    /// Handshakes per second that ring alone allows on a core: what a server could reach at most.
    Crypto(crypto::Options),
    /// One core and several at a time, on memory ports.
    Scale(scale::Options),
    /// Packets to forward and who receives them, on any port: throughput (RFC 2544), latency and loss, as one line of JSON. Fails if
    /// packets come back altered.
    Packets(Box<packets::Options>),
    /// The routes that lead to those packets' destinations, for the program that is to forward them.
    Routes(packets::RouteOptions),
    /// Collect the samples of a race: the steps of scripts/bench.
    #[command(subcommand)]
    Record(record::Step),
    /// Judge the samples of a race: medians, ratios within rounds, bars, latency curves. Fails if a run has failed.
    Report(record::Report),
    /// One table of what was to be reached in several records.
    Summary(record::Summary),
    /// Machine, kernel, revision and the speed of the time-stamp counter, as JSON.
    Place,
    /// Milliseconds that a fixed piece of work takes: tells a fast spell of the machine from a slow one.
    Probe {
        /// Bind to this processor.
        #[arg(long)]
        cpu: Option<usize>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // As the gateway does.
    let _ = tidegate_dataplane::io::heap::map_large_blocks();
    match &cli.question {
        Question::L3(asked) => answer(asked, l3::run),
        Question::Segments(asked) => answer(asked, segments::run),
        Question::Conns(asked) => answer(asked, |options, _, report| conns::run(options, report)),
        Question::Lpm(asked) => answer(asked, lpm::run),
        Question::Swap(asked) => answer(asked, |options, _, report| swap::run(options, report)),
        Question::Micro(options) => micro::run(options),
        Question::Http(asked) => answer(asked, http::run),
        Question::Handshakes(asked) => answer(asked, handshakes::run),
        Question::Load(options) => verdict("load", load::run(options)),
        Question::Origin(options) => verdict("origin", origin::run(options)),
        Question::Impair(options) => verdict("impair", impair::run(options)),
        Question::Crypto(options) => verdict("crypto", line(crypto::run(options))),
        Question::Scale(options) => verdict("scale", line(scale::run(options))),
        Question::Packets(options) => verdict("packets", packets::run(options)),
        Question::Routes(options) => verdict("routes", packets::print_routes(options)),
        Question::Record(step) => verdict("record", record::step(step)),
        Question::Report(options) => verdict("report", record::report(options)),
        Question::Summary(options) => verdict("summary", record::summary(options)),
        Question::Place => verdict("place", place::print()),
        Question::Probe { cpu } => verdict("probe", pinned(*cpu).map(|()| println!("{:.1}", place::probe()))),
    }
}

/// Measures, with a probe of the machine before and after, and prints the report.
fn answer<O: Args>(asked: &Asked<O>, measure: impl FnOnce(&O, usize, &mut Report) -> Result<(), Missed>) -> ExitCode {
    let Asked { options, common } = asked;
    if let Err(error) = pinned(common.cpu) {
        return verdict("cannot run on that processor", Err::<(), _>(error));
    }
    let mut report = Report::begin();
    let outcome = measure(options, common.rounds as usize, &mut report);
    report.end();
    // `conns` leaves several numbers of connections to processes of their own, which report for themselves.
    if !report.is_empty() {
        report::print(&if common.json { report.json() } else { report.text() });
    }
    verdict("missed", outcome)
}

/// Prints the line of a measurement.
fn line<E: std::error::Error + 'static>(
    measured: Result<record::Measured, E>,
) -> Result<(), Box<dyn std::error::Error>> {
    Ok(record::print(&measured?)?)
}

/// Binds this thread to a processor, if one is named.
fn pinned(cpu: Option<usize>) -> std::io::Result<()> {
    cpu.map_or(Ok(()), tidegate_dataplane::io::affinity::pin)
}

fn verdict<E: std::fmt::Display>(what: &str, outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{what}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A goal that a measurement has missed.
#[derive(Debug)]
pub(crate) struct Missed {
    /// What was to hold.
    goal: &'static str,
    /// What was measured instead.
    measured: f64,
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (measured {:.2})", self.goal, self.measured)
    }
}
