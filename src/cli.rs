//! The command line.

pub(crate) mod see; // packets
pub(crate) mod show; // parts of the state

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Kernel-bypass gateway: router and mTLS/HTTP proxy in one program.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 the command failed, 2 wrong command line.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway until SIGTERM, which drains it; a second one stops it at once.
    ///
    /// SIGHUP and a changed file reload the configuration, SIGUSR1 opens the access log again.
    Run(Run),
    /// Show counters of a running gateway.
    Stats(Stats),
    /// Show a part of a running gateway's state: ports, neighbours, routes, policies, drops, cores.
    Show(show::Show),
    /// Copy packets of a running gateway to a pcapng file, live: as they come in, as they go out, or as they are lost.
    ///
    /// Ctrl-C ends it properly.
    Capture(see::Capture),
    /// Follow real packets through a running gateway: what each stage decided, why, and what it cost.
    ///
    /// Ctrl-C ends it.
    Trace(see::Trace),
    /// Say what a running gateway would do with a packet, and why, without sending anything.
    ///
    /// The packet goes through the stages of a real core, on copies of what that core knows.
    Explain(see::Explain),
    /// Watch a running gateway: ports, cores, stages, drops, connections, requests, backends.
    ///
    /// Keys: q quits, Tab and 1 to 6 turn pages, arrows scroll, p pauses.
    Top(Top),
    /// Let a running gateway load its configuration again, and say what is wrong with it if it does not.
    Reload(Reload),
    /// Check configuration files and report every mistake with its place.
    Check(Check),
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
    /// Print shell completions.
    Completions(Completions),
    /// Print the manual page, or write one for each command to a directory.
    Man(Man),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// Which gateway is meant.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// Its admin socket: `socket` in `[admin]` of its configuration.
    #[arg(long, value_name = "PATH", default_value = "/run/tidegate/admin.sock", env = "TIDEGATE_SOCKET")]
    pub(crate) socket: PathBuf,
}

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// Seconds between two pictures, 0.1 to 3600.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = Interval::parse)]
    pub(crate) interval: Interval,
    /// Print one picture of all pages as plain text, after one interval, and exit.
    #[arg(long)]
    pub(crate) once: bool,
    /// Form of that picture.
    #[arg(short, long, value_enum, default_value_t = Output::Table, requires_if("json", "once"))]
    pub(crate) output: Output,
}

/// A time between two pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Duration);

impl Interval {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let seconds = text.trim_end_matches('s').parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
        seconds.map(|seconds| Self(Duration::from_secs_f64(seconds))).ok_or("seconds, from 0.1 to 3600")
    }
}

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Form of the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Do not read the certificates and keys that a file refers to.
    #[arg(long)]
    pub(crate) no_files: bool,
}

/// Forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: file:line:column, the line, a caret.
    Text,
    /// For programs: an array with an object per file.
    Json,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for one page per command; without it the main page goes to standard output.
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
