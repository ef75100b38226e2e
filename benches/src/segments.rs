//! Cycles per TCP segment with few and with many open connections.

use core::time::Duration;

use tidegate_dataplane::l4::TcpOptions;

use crate::{
    Missed,
    far::{
        Rig,
        answer::{self, Answer},
        tcp::Client,
    },
    place::ticks_per_nanosecond,
    random::Random,
    report::{Figure, Report, Table},
};

/// Options of `segments`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Open connections; as many runs.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000, 10_000, 100_000])]
    connections: Vec<usize>,
    /// Exchanges per round, each on a connection drawn at random.
    #[arg(long, default_value_t = 1_000)]
    exchanges: usize,
}

/// What the connections are doing when a request comes.
#[derive(Clone, Copy)]
struct Case {
    title: &'static str,
    /// Connections that have a request at the same time.
    together: usize,
    /// The connection was left alone until it had given its buffers back.
    rested: bool,
}

const CASES: [Case; 3] = [
    Case { title: "one busy connection at a time", together: 1, rested: false },
    Case { title: "32 busy connections at a time", together: 32, rested: false },
    Case { title: "one connection at a time, roused from rest by each request", together: 1, rested: true },
];

/// Measures and reports.
///
/// # Errors
/// The cost of a segment depends on the number of connections.
pub(crate) fn run(options: &Options, rounds: usize, report: &mut Report) -> Result<(), Missed> {
    let mut tables = CASES
        .map(|case| Table::new(format!("TCP: request of 100 B, response of 1 KiB, acknowledgement; {}", case.title)));
    let mut medians = CASES.map(|_| Vec::new());
    for count in &options.connections {
        let mut bench = Bench::new(*count);
        for ((case, table), medians) in CASES.iter().zip(&mut tables).zip(&mut medians) {
            if case.together > *count {
                continue;
            }
            let (cycles, allocations) = bench.measure(*case, options.exchanges, rounds);
            let nanos = cycles.iter().map(|cycles| cycles / bench.ticks).collect();
            let cycles = Figure::of("cycles", cycles);
            medians.push(cycles.median());
            table.row(
                format!("{count} open connections"),
                vec![
                    ("per segment", cycles),
                    ("per segment", Figure::of("ns", nanos)),
                    ("allocations per segment", Figure::once("count", allocations)),
                ],
            );
        }
    }
    tables.into_iter().for_each(|table| report.add(table));
    for medians in medians {
        let (least, most) =
            (medians.iter().copied().fold(f64::MAX, f64::min), medians.iter().copied().fold(0.0, f64::max));
        if most > 2.0 * least {
            return Err(Missed { goal: "a segment costs the same, within a factor of 2", measured: most / least });
        }
    }
    Ok(())
}

struct Bench {
    rig: Rig<Answer>,
    clients: Vec<Client>,
    random: Random,
    ticks: f64,
}

impl Bench {
    /// Opens the connections. All may be busy at once: the limit of buffer memory is not what is measured.
    fn new(count: usize) -> Self {
        let tcp = TcpOptions { keepalive: None, buffer_memory: 64 << 30, ..TcpOptions::default() };
        let mut rig = answer::rig(tcp);
        let clients = rig.open(0..count);
        let ticks = ticks_per_nanosecond(&rig.clock);
        Self { rig, clients, random: Random::new(), ticks }
    }

    /// Cycles per segment of each round, and allocations per segment.
    fn measure(&mut self, case: Case, exchanges: usize, rounds: usize) -> (Vec<f64>, f64) {
        self.warm_up(case);
        let (mut samples, mut allocations, mut all) = (Vec::new(), 0, 0);
        for _ in 0..rounds {
            let (mut cycles, before) = (0, self.segments());
            for _ in 0..exchanges.div_ceil(case.together) {
                let chosen = self.choose(case.together);
                self.rig.take_cost();
                self.rig.exchange(&chosen, &mut self.clients);
                let cost = self.rig.take_cost();
                cycles += cost.cycles;
                allocations += cost.allocations;
                self.rest(case);
            }
            let segments = self.segments() - before;
            samples.push(cycles as f64 / segments as f64);
            all += segments;
        }
        (samples, allocations as f64 / all as f64)
    }

    /// Every connection has said something before anything is measured; then it is as the case wants it.
    fn warm_up(&mut self, case: Case) {
        for first in (0..self.clients.len()).step_by(32) {
            let some: Vec<usize> = (first..self.clients.len().min(first + 32)).collect();
            self.rig.exchange(&some, &mut self.clients);
        }
        self.rest(case);
        let live = self.rig.tcp.live.value() as usize;
        assert_eq!(live, if case.rested { 0 } else { self.clients.len() }, "connections with buffers");
    }

    /// Different connections, drawn at random.
    fn choose(&mut self, count: usize) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let one = self.random.below(self.clients.len());
            if !chosen.contains(&one) {
                chosen.push(one);
            }
        }
        chosen
    }

    /// Lets time pass, uncounted, until connections rest.
    fn rest(&mut self, case: Case) {
        if case.rested {
            for _ in 0..2 {
                self.rig.now += Duration::from_secs(2);
                self.rig.settle(|seen| panic!("nothing to say: {seen:?}"));
            }
        }
    }

    fn segments(&self) -> u64 {
        self.rig.tcp.segments_in.value() + self.rig.tcp.segments_out.value()
    }
}
