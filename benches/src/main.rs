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
mod http; // cycles per request
mod l3; // cycles per packet
mod lpm; // routing tables
mod memory; // what the kernel says this process takes
mod place; // machine, kernel, revision
mod random; // the same numbers in every run
mod report; // figures for people and programs
mod routes; // routing tables like those of the Internet
mod segments; // cycles per TCP segment
mod stages; // where the cycles of a turn went
mod tls; // the far end of TLS connections

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use report::Report;

/// What the data plane costs on memory ports: cycles, bytes, allocations.
#[derive(Parser)]
#[command(name = "tidegate-bench", version)]
struct Cli {
    #[command(subcommand)]
    question: Question,
    #[command(flatten)]
    common: Common,
}

/// Options of every question.
#[derive(Args, Clone, Copy)]
struct Common {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    /// Rounds; figures are medians over them.
    #[arg(long, global = true, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Bind to this processor.
    #[arg(long, global = true)]
    cpu: Option<usize>,
}

#[derive(Subcommand)]
enum Question {
    /// Cycles per packet of the whole way through the router, and of each stage. Fails if anything is allocated.
    L3(l3::Options),
    /// Cycles per TCP segment with few and with many open connections.
    Segments(segments::Options),
    /// Memory of idle connections through the gateway.
    Conns(conns::Options),
    /// Routing tables: time to build, bytes, time per look-up.
    Lpm(lpm::Options),
    /// Cycles per HTTP request through the gateway, and of each stage.
    Http(http::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // As the gateway does.
    let _ = tidegate_dataplane::io::heap::map_large_blocks();
    if let Some(cpu) = cli.common.cpu
        && let Err(error) = tidegate_dataplane::io::affinity::pin(cpu)
    {
        eprintln!("cannot run on processor {cpu}: {error}");
        return ExitCode::FAILURE;
    }
    let rounds = cli.common.rounds as usize;
    let mut report = Report::begin();
    let outcome = match &cli.question {
        Question::L3(options) => l3::run(options, rounds, &mut report),
        Question::Segments(options) => segments::run(options, rounds, &mut report),
        Question::Conns(options) => conns::run(options, &mut report),
        Question::Lpm(options) => lpm::run(options, rounds, &mut report),
        Question::Http(options) => http::run(options, rounds, &mut report),
    };
    report.end();
    // `conns` leaves several numbers of connections to processes of their own, which report for themselves.
    if !report.is_empty() {
        print!("{}", if cli.common.json { report.json() } else { report.text() });
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(goal) => {
            eprintln!("missed: {goal}");
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
