//! Where a figure comes from: machine, kernel, revision, day; and whether the machine was quiet.

use std::{fs, hint::black_box, process::Command};

use serde::{Deserialize, Serialize};
use tidegate_dataplane::clock::Clock;

/// What is printed above the figures.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    machine: String,
    processors: usize,
    /// Ticks of the time-stamp counter per second, in millions.
    counter_mhz: u64,
    kernel: String,
    revision: String,
    date: String,
    command: String,
}

impl Place {
    /// This machine, now.
    pub(crate) fn here() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let mut command = vec!["tidegate-bench".to_owned()];
        command.extend(std::env::args().skip(1));
        let dirty =
            said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some_and(|said| !said.is_empty());
        let revision = said("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
        Self {
            machine: model.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            counter_mhz: (ticks_per_nanosecond(&Clock::new()) * 1e3).round() as u64,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            revision: revision + if dirty { " with changes" } else { "" },
            date: said("date", &["-u", "+%F %R UTC"]).unwrap_or_default(),
            command: command.join(" "),
        }
    }

    /// Ticks of its time-stamp counter.
    pub(crate) fn ticks_per_nanosecond(&self) -> f64 {
        self.counter_mhz as f64 / 1e3
    }

    /// In two lines: what was typed, and where.
    pub(crate) fn text(&self) -> String {
        format!("`{}`\n\n{}", self.command, self.line())
    }

    /// Where and when, in one line.
    pub(crate) fn line(&self) -> String {
        format!("{}; {}", self.setting(), self.date)
    }

    /// Where, and of which revision.
    pub(crate) fn setting(&self) -> String {
        let Self { machine, processors, counter_mhz, kernel, revision, .. } = self;
        format!("{machine}, {processors} processors, counter at {counter_mhz} MHz; Linux {kernel}; revision {revision}")
    }
}

/// Prints [`Place::here`] as JSON.
pub(crate) fn print() -> serde_json::Result<()> {
    println!("{}", serde_json::to_string(&Place::here())?);
    Ok(())
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// How fast the counter runs.
pub(crate) fn ticks_per_nanosecond(clock: &Clock) -> f64 {
    let (from, start) = (clock.now(), clock.cycles());
    while (clock.now() - from).as_millis() < 20 {}
    let (nanos, ticks) = ((clock.now() - from).as_nanos(), clock.cycles() - start);
    ticks as f64 / nanos as f64
}

/// Milliseconds that a fixed piece of work takes: dependent multiplications, and loads all over four megabytes.
pub(crate) fn probe() -> f64 {
    let clock = Clock::new();
    let table: Vec<u32> = (0..1u32 << 20).map(|i| i.wrapping_mul(0x9e37_79b1) >> 12).collect();
    let from = clock.now();
    let (mut at, mut sum) = (1u32, 1u64);
    for _ in 0..4_000_000 {
        at = table[at as usize] ^ (sum as u32 & 1);
        sum = sum.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(u64::from(at));
    }
    black_box(sum);
    (clock.now() - from).as_micros() as f64 / 1e3
}
