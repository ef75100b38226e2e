//! `tidegate`: the commands and the wiring of the gateway.

mod cli;
mod command;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::Run(args) => command::run::run(&args),
        cli::Command::Stats(args) => command::ask::stats(&args),
        cli::Command::Show(args) => command::show::show(&args),
        cli::Command::Capture(args) => command::capture::capture(&args),
        cli::Command::Trace(args) => command::trace::trace(&args),
        cli::Command::Explain(args) => command::trace::explain(&args),
        cli::Command::Top(args) => command::top::top(&args),
        cli::Command::Reload(args) => command::ask::reload(&args),
        cli::Command::Check(args) => command::check::run(&args),
        cli::Command::Schema => command::text::schema(),
        cli::Command::Completions(args) => command::text::completions(&args),
        cli::Command::Man(args) => command::text::man(&args),
    }
}
