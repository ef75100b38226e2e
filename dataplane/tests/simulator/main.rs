//! A seeded simulator: clients, the gateway and origins as the real code, in one thread, on virtual time.
//!
//! A seed decides everything (`scenario`); what lies between the hosts is `wire`; what the hosts do is `client` and `origin`; what
//! must hold is `judge`. `SIM_SEED=7` runs one seed and tells about it (`SIM_LOG=1`: every packet), `SIM_SEEDS=0..10000` a range.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, clippy::disallowed_types)] // A test tells about itself; it is on no packet's path.

mod answer;
mod client;
mod dice;
mod gateway;
mod http;
mod judge;
mod ledger;
mod net;
mod origin;
mod pattern;
mod plan;
mod scenario;
mod talk;
mod trace;
mod wire;
mod world;

use std::{
    env, fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tidegate_dataplane::clock::Instant;

use wire::Fates;

/// Seeds of an ordinary test run.
const SEEDS: Range<u64> = 0..1_500;
const THREADS: usize = 2;

/// What came of one seed.
#[derive(Debug, Default)]
struct Report {
    digest: u64,
    fates: Fates,
    violations: Vec<(Instant, String)>,
    asks: usize,
    whole: usize,
    bytes: u64,
    turns: u64,
    virtual_ms: u64,
    no_frame: u64,
    drops: Vec<(&'static str, u64)>,
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.asks += other.asks;
        self.whole += other.whole;
        self.bytes += other.bytes;
        self.turns += other.turns;
        self.virtual_ms += other.virtual_ms;
        self.no_frame += other.no_frame;
        self.fates.sent += other.fates.sent;
        for (reason, count) in &other.drops {
            match self.drops.iter_mut().find(|(known, _)| known == reason) {
                Some((_, sum)) => *sum += count,
                None => self.drops.push((reason, *count)),
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asks, whole, bytes, turns, virtual_ms, no_frame, fates, .. } = self;
        let (hours, packets) = (virtual_ms / 3_600_000, fates.sent);
        write!(f, "{asks} requests, {whole} answered in full with {bytes} bytes; {packets} packets, {turns} turns, ")?;
        write!(f, "{hours} hours of virtual time; {no_frame} packets found no frame; drops:")?;
        self.drops.iter().try_for_each(|(reason, count)| write!(f, " {reason} {count}"))
    }
}

fn simulate(seed: u64, log: bool) -> Report {
    let mut world = world::World::new(scenario::generate(seed), log);
    judge::run(&mut world);
    let ledger = world.shared.ledger.borrow();
    let mut report = Report {
        digest: world.wires.digest,
        fates: world.wires.fates,
        violations: ledger.violations.clone(),
        asks: ledger.asks.len(),
        whole: ledger.asks.iter().flatten().filter(|entry| entry.outcome == ledger::Outcome::Whole).count(),
        bytes: ledger.checked,
        turns: world.seats.iter().map(|seat| seat.turns).sum(),
        virtual_ms: (world.now - scenario::START).as_millis() as u64,
        no_frame: world.no_frame,
        drops: Vec::new(),
    };
    for reason in tidegate_dataplane::verdict::DropReason::ALL {
        let count = world.seats.iter().map(|seat| seat.stats.drops(*reason).value()).sum::<u64>();
        if count > 0 {
            report.drops.push((reason.label(), count));
        }
    }
    report
}

/// Runs a seed and describes what went wrong, if anything did.
fn attempt(seed: u64) -> Result<Report, String> {
    let result = catch_unwind(AssertUnwindSafe(|| simulate(seed, false)));
    let broken = match result {
        Ok(report) if report.violations.is_empty() => return Ok(report),
        Ok(report) => {
            report.violations.iter().map(|(at, what)| format!("at {} ms: {what}\n", at.as_millis())).collect()
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            format!("panic: {}\n", words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
        }
    };
    let plan = scenario::generate(seed);
    Err(format!(
        "{plan}\nseed {seed} breaks:\n{broken}replay: SIM_SEED={seed} cargo test --release -p tidegate-dataplane \
         --no-default-features --test simulator -- --nocapture seeds\n"
    ))
}

fn range() -> Range<u64> {
    let parse = |text: &str| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    match env::var("SIM_SEEDS") {
        Ok(text) => parse(&text).expect("SIM_SEEDS is FROM..TO"),
        Err(_) => SEEDS,
    }
}

#[test]
fn seeds_break_no_invariant() {
    if let Ok(seed) = env::var("SIM_SEED") {
        let seed = seed.parse().expect("SIM_SEED is a number");
        println!("{}", scenario::generate(seed));
        if env::var("SIM_TWICE").is_ok() {
            simulate(seed, true);
            println!("AGAIN");
        }
        let report = simulate(seed, env::var("SIM_LOG").is_ok());
        println!("{report:#?}");
        assert!(report.violations.is_empty(), "seed {seed} breaks an invariant");
        return;
    }
    let seeds = range();
    let next = AtomicU64::new(seeds.start);
    let (failures, totals) = (Mutex::new(Vec::new()), Mutex::new(Report::default()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match attempt(seed) {
                        Ok(report) => totals.lock().expect("no panic while held").add(&report),
                        Err(failure) => {
                            if env::var("SIM_BRIEF").is_ok() {
                                let what = failure.lines().skip_while(|line| !line.ends_with("breaks:"));
                                println!("seed {seed}: {}", what.skip(1).collect::<Vec<_>>().join(" | "));
                            }
                            failures.lock().expect("no panic while held").push((seed, failure));
                        }
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic while held");
    failures.sort();
    println!("{} seeds: {}", seeds.end - seeds.start, totals.into_inner().expect("no panic while held"));
    if let Some((_, first)) = failures.first() {
        let all: Vec<_> = failures.iter().map(|(seed, _)| seed).collect();
        panic!("{} seeds break an invariant: {all:?}\n{first}", failures.len());
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..12 {
        let (first, second) = (simulate(seed, false), simulate(seed, false));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.fates, second.fates, "seed {seed}");
    }
}
