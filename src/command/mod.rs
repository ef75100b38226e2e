//! What each command does. A command says what went wrong on standard error and returns the exit code.

pub(crate) mod ask;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod run;
pub(crate) mod show;
mod story;
mod table;
pub(crate) mod text;
pub(crate) mod top;
pub(crate) mod trace;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tidegate_ctrl::diagnostic::Style;

/// The command could not do what it was asked.
pub(crate) const FAILED: u8 = 1;

/// Colour for a terminal, unless the user does not want any (<https://no-color.org>).
pub(crate) fn style(stream: &impl IsTerminal) -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !unwanted { Style::Colour } else { Style::Plain }
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> ExitCode {
    written(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// What it means that standard output took something, or not.
fn written(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("cannot write to standard output: {error}")),
    }
}

/// Says why the command failed.
pub(crate) fn fail(reason: &dyn std::fmt::Display) -> ExitCode {
    // Nothing is left to do if standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "tidegate: {reason}");
    ExitCode::from(FAILED)
}
