//! Instructions per operation, counted by callgrind: the same on any machine and in every run, so that a difference of a few
//! percent is a difference of the program.

mod callgrind; // this program under valgrind
mod compare; // two revisions beside each other
mod http1; // heads, chunks, routes
mod kernel; // what is counted
mod parts; // rings, counters, timers, tasks, checksums
mod pipeline; // stages over a batch, whole turns
mod tables; // routes and flows
mod tls; // records

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::report;
use callgrind::Trouble;
use compare::{Count, Counts};
use kernel::{Counted, Kernel, Plain, Prepared, Work};

/// A kernel grew by more than the tolerance.
const SLOWER: u8 = 1;
/// Something could not be counted or read.
const TROUBLE: u8 = 3;
/// Calls before the boundary, and after it.
const CALLS: u32 = 20;

/// Options of `micro`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only kernels whose name contains one of these.
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<String>,
    /// Say which kernels there are.
    #[arg(long)]
    list: bool,
    /// Also write the counts to this file.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Count nothing: compare two files that --save wrote.
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with_all = ["only", "list", "save"])]
    compare: Vec<PathBuf>,
    /// Percent by which a kernel may grow before it counts as slower.
    #[arg(long, default_value_t = 5.0, value_parser = percent, value_name = "PERCENT")]
    tolerance: f64,
    /// Also write the comparison to this file, as JSON.
    #[arg(long, value_name = "FILE", requires = "compare")]
    json: Option<PathBuf>,
    /// Run this kernel here, for callgrind to watch.
    #[arg(long, hide = true)]
    kernel: Option<String>,
    /// How often.
    #[arg(long, hide = true, default_value_t = CALLS)]
    calls: u32,
}

/// With `nan` or `inf` nothing would ever be slower.
fn percent(text: &str) -> Result<f64, &'static str> {
    let percent = text.parse().ok().filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
    percent.ok_or("a number of percent from 0, such as 5 or 0.5")
}

/// Counts, or compares counts. 0: done, no kernel is slower. 1: one is. 3: something cannot be counted or read.
pub(crate) fn run(options: &Options) -> ExitCode {
    let outcome = match (&options.compare[..], &options.kernel) {
        ([before, after], _) => compared(before, after, options),
        (_, Some(name)) => watched(name, options),
        _ if options.list => Ok(listed(options)),
        _ => counted(options),
    };
    outcome.unwrap_or_else(|trouble| {
        eprintln!("tidegate-bench: {trouble}");
        ExitCode::from(TROUBLE)
    })
}

/// Every kernel, from the wire up.
fn kernels() -> Vec<Kernel> {
    [pipeline::kernels(), tables::kernels(), http1::kernels(), tls::kernels(), parts::kernels()]
        .into_iter()
        .flatten()
        .collect()
}

/// The rehearsals only by their names.
fn chosen(options: &Options) -> Vec<Kernel> {
    if options.only.is_empty() {
        return kernels();
    }
    let wanted = |kernel: &Kernel| options.only.iter().any(|part| kernel.name.contains(&**part));
    kernels().into_iter().chain(parts::rehearsals()).filter(wanted).collect()
}

fn listed(options: &Options) -> ExitCode {
    let line = |kernel: &Kernel| format!("{:<28} {}\n", kernel.name, kernel.unit);
    report::print(&chosen(options).iter().map(line).collect::<String>());
    ExitCode::SUCCESS
}

fn watched(name: &str, options: &Options) -> Result<ExitCode, Trouble> {
    let kernel = kernels().into_iter().chain(parts::rehearsals()).find(|kernel| kernel.name == name);
    let Some(kernel) = kernel else { return Ok(ExitCode::from(TROUBLE)) };
    kernel::run(&kernel, options.calls);
    Ok(ExitCode::SUCCESS)
}

fn counted(options: &Options) -> Result<ExitCode, Trouble> {
    let mut counts = Counts::default();
    for kernel in chosen(options) {
        eprintln!("{}", kernel.name);
        let instructions = callgrind::count(&kernel, options.calls)?;
        counts.kernels.push(Count { name: kernel.name.to_owned(), unit: kernel.unit.to_owned(), instructions });
    }
    if let Some(path) = &options.save {
        counts.write(path)?;
    }
    report::print(&counts.text());
    Ok(ExitCode::SUCCESS)
}

fn compared(before: &Path, after: &Path, options: &Options) -> Result<ExitCode, Trouble> {
    let rows = compare::compare(&Counts::read(before)?, &Counts::read(after)?, options.tolerance);
    if let Some(path) = &options.json {
        compare::write(&rows, path)?;
    }
    report::print(&compare::text(&rows));
    Ok(if compare::is_slower(&rows) { ExitCode::from(SLOWER) } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_tolerance_is_a_number() {
        assert_eq!((percent("5"), percent("0.5")), (Ok(5.0), Ok(0.5)));
        for wrong in ["nan", "inf", "-1", "five", ""] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
