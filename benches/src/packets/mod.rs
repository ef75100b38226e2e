//! Packets to forward, and who receives them: a generator and a sink on our own ports, on any driver the product has.
//!
//! Reading order: [`run`], then [`options`] for what can be asked, [`pattern`] for what a packet is, [`stand`] for how packets are
//! sent and received, [`search`] for the throughput of RFC 2544, [`outcome`] for the line that is printed. Generator and sink share a
//! thread, so that one clock stamps and reads; the program under test has another processor.

mod options; // the command line
mod outcome; // the line of JSON
mod pattern; // what a packet is
mod search; // RFC 2544 §26.1
mod stand; // sending and receiving
#[cfg(test)]
mod tests;

use core::{fmt, time::Duration};
use std::{fs, io, path::PathBuf};

use tidegate_dataplane::clock::Clock;

use crate::station::SetUpError;
use outcome::Outcome;
use pattern::Pattern;
use stand::Stand;

pub(crate) use options::{Options, RouteOptions};

/// How long packets go before those of a trial at a fixed rate.
const WARM_UP: Duration = Duration::from_millis(500);

/// Why nothing was measured, or nothing that counts.
#[derive(Debug)]
pub(crate) enum PacketsError {
    /// A port did not open, or could not be used.
    SetUp(SetUpError),
    /// The result could not be written.
    Write(PathBuf, io::Error),
    /// Not a single packet arrived at its end.
    Nothing,
    /// Packets arrived otherwise than they should: the figures are those of something else.
    Wrong(u64),
}

impl fmt::Display for PacketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp(error) => error.fmt(f),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Nothing => f.write_str("no packet came back: are the hardware address and the routes right?"),
            Self::Wrong(count) => {
                write!(f, "{count} packets were altered otherwise than by the hop that --hops tells of")
            }
        }
    }
}

impl std::error::Error for PacketsError {}

impl From<SetUpError> for PacketsError {
    fn from(error: SetUpError) -> Self {
        Self::SetUp(error)
    }
}

/// Sends, receives, and prints what was found.
///
/// # Errors
/// [`PacketsError`].
pub(crate) fn run(options: &Options) -> Result<(), PacketsError> {
    options.seating.pin()?;
    let clock = Clock::new();
    let mut pattern = Pattern::new(&options.traffic);
    if let Some(path) = &options.write {
        return stand::write(&mut pattern, path, options.packets);
    }
    let mut stand = Stand::open(options, pattern, clock)?;
    let outcome = match options.rate {
        Some(rate) => {
            // Wires are joined, and memory is there, once packets have gone.
            stand.trial(Some(rate), WARM_UP);
            Outcome::of_trial(&stand.trial(Some(rate), options.seconds))
        }
        None => {
            let mut trial = |rate| stand.trial(rate, options.seconds);
            Outcome::of_search(&search::throughput(&mut trial, &options.search))
        }
    };
    let line = outcome.line();
    match &options.json {
        Some(path) => fs::write(path, line + "\n").map_err(|error| PacketsError::Write(path.clone(), error))?,
        None => println!("{line}"),
    }
    match (outcome.received, outcome.errors) {
        (0, _) => Err(PacketsError::Nothing),
        (_, 0) => Ok(()),
        (_, errors) => Err(PacketsError::Wrong(errors)),
    }
}

/// Prints the routes that lead to the destinations of the packets, for whoever is to forward them.
pub(crate) fn print_routes(options: &RouteOptions) -> io::Result<()> {
    options.syntax.write(&mut io::BufWriter::new(io::stdout().lock()), options)
}
