//! `tidegate check`: like `nginx -t`, but with every mistake at once.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use tidegate_ctrl::config::{self, Disk, Surroundings};
use tidegate_ctrl::diagnostic::Report;

use super::{FAILED, print, style};
use crate::cli::{Check, Format};

pub(crate) fn run(args: &Check) -> ExitCode {
    let reports: Vec<Report> = args.files.iter().map(|file| report(file, args.no_files)).collect();
    let good = reports.iter().all(|report| report.errors() == 0);
    let written = match args.format {
        Format::Text => print(&text(&reports)),
        Format::Json => {
            let all: Vec<_> = reports.iter().map(Report::json).collect();
            match serde_json::to_string_pretty(&all) {
                Ok(json) => print(&(json + "\n")),
                Err(error) => super::fail(&error),
            }
        }
    };
    if good { written } else { ExitCode::from(FAILED) }
}

fn report(file: &Path, no_files: bool) -> Report {
    let surroundings = Surroundings {
        directory: config::directory_of(file),
        files: if no_files { None } else { Some(&Disk) },
        now: SystemTime::now(),
        dpdk: cfg!(feature = "dpdk"),
    };
    match config::load_with(file, &surroundings) {
        Ok(loaded) => loaded.report,
        Err(report) => *report,
    }
}

fn text(reports: &[Report]) -> String {
    let style = style(&std::io::stdout());
    let mut out = String::new();
    for report in reports {
        out.push_str(&report.text(style));
        if report.errors() == 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}: the configuration is good", report.source.name());
        }
    }
    out
}
