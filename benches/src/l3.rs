//! Cycles per packet of the whole way through the router, and of each stage.

use core::time::Duration;

use tidegate_dataplane::{
    batch::BATCH,
    l3::{ReversePath, Route},
};

use crate::{
    Missed,
    far::{self, Cost, Nothing, Rig, Shape, udp},
    place::ticks_per_nanosecond,
    random::Random,
    report::{Figure, Report, Table},
    routes,
    stages::{Marks, Split},
};

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
    /// What is asked of the sources of packets; as many runs. Asked, they are random ones that a route leads to (loose), or of one
    /// network behind the port (strict).
    #[arg(long, value_delimiter = ',', default_values_t = ["off".to_owned()], value_parser = ["off", "loose", "strict"])]
    reverse_path: Vec<String>,
}

/// Turns between two looks at the clock.
const TURNS: usize = 64;

/// Lengths without frame check sequence.
#[derive(Clone, Copy)]
struct Mix {
    name: &'static str,
    lengths: [usize; 12],
}

const fn mixes(v6: bool) -> [Mix; 2] {
    let shortest = udp::SHORTEST[v6 as usize];
    // The simple Internet mix: seven short ones, four of 576 bytes of IP, one of 1500.
    let imix = [shortest, 590, shortest, shortest, 590, shortest, 1514, shortest, 590, shortest, shortest, 590];
    let name = if v6 { "66 B" } else { "64 B" };
    [Mix { name, lengths: [shortest; 12] }, Mix { name: "IMIX", lengths: imix }]
}

/// Measures and reports.
///
/// # Errors
/// Something was allocated.
pub(crate) fn run(options: &Options, rounds: usize, report: &mut Report) -> Result<(), Missed> {
    let mut whole = Table::new("IP forwarding: the worker's turn from memory port to memory port, batches of 64");
    let mut splits = Vec::new();
    let mut allocations = 0;
    for (v6, counts) in [(false, &options.routes), (true, &options.routes6)] {
        let counts = counts.iter().filter(|count| **count > 0);
        for (count, asked) in counts.flat_map(|count| options.reverse_path.iter().map(move |asked| (count, asked))) {
            let mut bench = Bench::new(*count, v6, reverse_path(asked));
            for mix in mixes(v6) {
                let (split, cost) = bench.measure(mix, options.packets.div_ceil(BATCH), rounds);
                let asked = if asked == "off" { String::new() } else { format!(", sources {asked}") };
                let case = format!("IPv{}, {count} routes, {}{asked}", if v6 { 6 } else { 4 }, mix.name);
                let packets = (options.packets.div_ceil(BATCH) * BATCH * rounds) as f64;
                allocations += cost.allocations;
                whole.row(
                    case.clone(),
                    vec![
                        ("per packet", split.whole()),
                        ("allocations per packet", Figure::once("count", cost.allocations as f64 / packets)),
                    ],
                );
                let mut table = Table::new(format!("{case}: by stage, per packet"));
                split.rows(&mut table);
                splits.push(table);
            }
        }
    }
    report.add(whole);
    splits.into_iter().for_each(|table| report.add(table));
    if allocations == 0 {
        return Ok(());
    }
    Err(Missed { goal: "forwarding a packet allocates nothing", measured: allocations as f64 })
}

fn reverse_path(word: &str) -> ReversePath {
    match word {
        "loose" => ReversePath::Loose,
        "strict" => ReversePath::Strict,
        _ => ReversePath::Off,
    }
}

/// IPv4 packets of 64 bytes per second of the processor's time, 1000 routes: what `scale` compares between cores.
pub(crate) fn rate(length: Duration) -> f64 {
    let mut bench = Bench::new(1_000, false, ReversePath::Off);
    let ticks = ticks_per_nanosecond(&bench.rig.clock);
    let (mut packets, mut cycles, begun) = (0, 0, bench.rig.clock.now());
    while bench.rig.clock.now() - begun < length {
        cycles += bench.round(mixes(false)[0], TURNS).cycles;
        packets += TURNS * BATCH;
    }
    packets as f64 * ticks * 1e9 / cycles as f64
}

struct Bench {
    rig: Rig<Nothing>,
    destinations: Vec<u128>,
    /// As many sources, where they are looked at.
    sources: Vec<u128>,
    at: usize,
    v6: bool,
}

impl Bench {
    fn new(count: usize, v6: bool, reverse_path: ReversePath) -> Self {
        let (mut random, prefixes) = (Random::new(), routes::prefixes(count, v6));
        // As many destinations as there are routes, up to what is more than a cache holds.
        let wanted = count.clamp(1 << 12, 1 << 20);
        let destinations = (0..wanted).map(|_| routes::within(&prefixes[random.below(count)], &mut random)).collect();
        let within = |random: &mut Random| routes::within(&prefixes[random.below(count)], random);
        // Within what the port's neighbour leads to.
        let near = |random: &mut Random| {
            let host = random.below(1 << 16) as u128;
            if v6 { 0xfd64 << 112 | host } else { 0x0a40_0000 | host }
        };
        let sources = match reverse_path {
            ReversePath::Off => Vec::new(),
            ReversePath::Loose => (0..wanted).map(|_| within(&mut random)).collect(),
            ReversePath::Strict => (0..wanted).map(|_| near(&mut random)).collect(),
        };
        let mut l3 = far::links();
        l3.interfaces[0].reverse_path = reverse_path;
        let route = |(number, to): (usize, &ipnet::IpNet)| Route { to: *to, target: far::gateway(number, v6) };
        l3.routes.extend(prefixes.iter().enumerate().map(route));
        let rig = Rig::new(Shape { l3, ..Shape::default() }, |_| Nothing);
        Self { rig, destinations, sources, at: 0, v6 }
    }

    /// Rounds of `turns` batches, after one to warm up.
    fn measure(&mut self, mix: Mix, turns: usize, rounds: usize) -> (Split, Cost) {
        let mut split = Split::default();
        let mut total = Cost::default();
        self.round(mix, turns);
        for _ in 0..rounds {
            let before = Marks::of(&self.rig.stats);
            let cost = self.round(mix, turns);
            split.round(&before, &self.rig.stats, cost.cycles, (turns * BATCH) as u64);
            total.allocations += cost.allocations;
        }
        (split, total)
    }

    fn round(&mut self, mix: Mix, turns: usize) -> Cost {
        self.rig.take_cost();
        let mut forwarded = 0;
        for _ in 0..turns {
            for slot in 0..BATCH {
                let to = self.destinations[self.at % self.destinations.len()];
                self.at += 1;
                let len = mix.lengths[slot % mix.lengths.len()];
                let from = self.sources.get(self.at % self.destinations.len());
                let arena = self.rig.worker.arena();
                let frame = match from {
                    None => udp::packet(arena, self.v6, to, len),
                    Some(from) => udp::packet_from(arena, self.v6, *from, to, len),
                };
                self.rig.send(0, frame.unwrap_or_else(|| panic!("frames leak")));
            }
            self.rig.turn();
            forwarded += self.rig.from[1].borrow_mut().drain(..).count();
        }
        assert_eq!((forwarded, self.rig.losses()), (turns * BATCH, 0), "every packet is forwarded");
        self.rig.take_cost()
    }
}
