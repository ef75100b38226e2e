//! Cycles per packet of the whole way through the router, of each stage, and of what a packet's way may have beside.

mod bench; // a router between two memory ports
mod extra; // what more is asked of it

use core::time::Duration;

use tidegate_dataplane::batch::BATCH;

use crate::{
    Missed,
    place::ticks_per_nanosecond,
    report::{Figure, Report, Table},
    stages::Split,
};
use bench::{Bench, Plan, mixes};
use extra::Extra;

/// Options of `l3`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Packets per round: a few milliseconds, so that an interruption spoils one round of many.
    #[arg(long, default_value_t = 1 << 15)]
    packets: usize,
    /// IPv4 routes; as many runs; 0 is none.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 1_000_000])]
    routes: Vec<usize>,
    /// IPv6 routes; as many runs; 0 is none.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 250_000])]
    routes6: Vec<usize>,
    /// Measure what this adds to the shortest packets' way, round by round beside packets without; each should add 15 cycles at most.
    /// `strict` is left out where there are too few routes to lead both ways.
    #[arg(long, value_delimiter = ',', value_enum)]
    with: Vec<Extra>,
}

/// Turns between two looks at the clock.
const TURNS: usize = 64;
/// Cycles that something beside plain forwarding should cost a packet at most.
const BAR: f64 = 15.0;

/// Measures and reports.
///
/// # Errors
/// Something was allocated, or what a packet's way has beside costs more than it should.
pub(crate) fn run(options: &Options, rounds: usize, report: &mut Report) -> Result<(), Missed> {
    let mut said = Said {
        whole: Table::new("IP forwarding: the worker's turn from memory port to memory port, batches of 64"),
        adds: Table::new("What is added to the plain way, measured beside it in the same rounds"),
        splits: Vec::new(),
        allocations: 0,
        dearest: 0.0,
    };
    for (v6, counts) in [(false, &options.routes), (true, &options.routes6)] {
        for count in counts.iter().filter(|count| **count > 0) {
            if options.with.is_empty() {
                said.forwarding(Bench::new(Plan { count: *count, v6, extra: None }), options.packets, rounds);
            } else {
                said.additions(Plan { count: *count, v6, extra: None }, options, rounds);
            }
        }
    }
    let Said { whole, adds, splits, allocations, dearest } = said;
    report.add(whole);
    if !options.with.is_empty() {
        report.add(adds);
    }
    splits.into_iter().for_each(|table| report.add(table));
    if allocations > 0 {
        return Err(Missed { goal: "forwarding a packet allocates nothing", measured: allocations as f64 });
    }
    if dearest > BAR {
        return Err(Missed { goal: "what a packet's way has beside adds 15 cycles at most", measured: dearest });
    }
    Ok(())
}

/// What there is to say so far.
struct Said {
    whole: Table,
    adds: Table,
    splits: Vec<Table>,
    allocations: u64,
    /// The most that something adds.
    dearest: f64,
}

impl Said {
    /// The plain way, for packets of several lengths.
    fn forwarding(&mut self, mut bench: Bench, packets: usize, rounds: usize) {
        for mix in mixes(bench.plan.v6) {
            let mut split = Split::default();
            let turns = packets.div_ceil(BATCH);
            // One to warm up.
            bench.round(mix, turns);
            let allocations = (0..rounds).map(|_| bench.sample(mix, turns, &mut split)).sum();
            self.case(&bench.plan.name(mix), &split, allocations, (turns * BATCH * rounds) as f64);
        }
    }

    /// The plain way and those with something beside, one after the other in every round.
    fn additions(&mut self, plain: Plan, options: &Options, rounds: usize) {
        let (mix, turns) = (mixes(plain.v6)[0], options.packets.div_ceil(BATCH));
        let with = options.with.iter().copied().filter(|extra| extra.fits(plain.count));
        let plans = [None].into_iter().chain(with.map(Some));
        let mut benches: Vec<_> =
            plans.map(|extra| (Bench::new(Plan { extra, ..plain }), Split::default(), 0)).collect();
        for _ in 0..rounds {
            for (bench, split, allocations) in &mut benches {
                // The tables of the others are in the cache.
                bench.round(mix, turns);
                *allocations += bench.sample(mix, turns, split);
            }
        }
        let plain = benches[0].1.samples().to_vec();
        for (bench, split, allocations) in benches {
            let case = bench.plan.name(mix);
            self.case(&case, &split, allocations, (turns * BATCH * rounds) as f64);
            if bench.plan.extra.is_some() {
                let adds = split.samples().iter().zip(&plain).map(|(with, plain)| with - plain).collect();
                let adds = Figure::of("cycles", adds);
                self.dearest = self.dearest.max(adds.median());
                self.adds.row(case, vec![("adds", adds), ("at most", Figure::once("cycles", BAR))]);
            }
        }
    }

    fn case(&mut self, case: &str, split: &Split, allocations: u64, packets: f64) {
        self.allocations += allocations;
        let allocations = Figure::once("count", allocations as f64 / packets);
        self.whole.row(case, vec![("per packet", split.whole()), ("allocations per packet", allocations)]);
        let mut table = Table::new(format!("{case}: by stage, per packet"));
        split.rows(&mut table);
        self.splits.push(table);
    }
}

/// IPv4 packets of 64 bytes per second of the processor's time, 1000 routes: what `scale` compares between cores.
pub(crate) fn rate(length: Duration) -> f64 {
    let mut bench = Bench::new(Plan { count: 1_000, v6: false, extra: None });
    let ticks = ticks_per_nanosecond(&bench.rig.clock);
    let (mut packets, mut cycles, begun) = (0, 0, bench.rig.clock.now());
    while bench.rig.clock.now() - begun < length {
        cycles += bench.round(mixes(false)[0], TURNS).cycles;
        packets += TURNS * BATCH;
    }
    packets as f64 * ticks * 1e9 / cycles as f64
}
