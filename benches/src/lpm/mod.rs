//! Routing tables: time to build, bytes per prefix, time per look-up, time per change.

mod changes; // one route that comes or goes
#[cfg(test)]
mod tests; // full tables against an oracle

use core::hint::black_box;

use ipnet::IpNet;
use tidegate_dataplane::{
    clock::Clock,
    l3::{fib4::Fib4, fib6::Fib6},
};

use crate::{
    Missed,
    random::{Random, Zipf},
    report::{Figure, Report, Table},
    routes::{self, Shape},
};

/// Options of `lpm`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// IPv4 prefixes; as many runs.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 1_000_000])]
    routes: Vec<usize>,
    /// IPv6 prefixes; as many runs.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 250_000])]
    routes6: Vec<usize>,
    /// How long prefixes are; as many runs.
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["internet"])]
    shape: Vec<Shape>,
}

/// Look-ups of a round: more destinations than a cache holds.
const PROBES: usize = 1 << 20;
/// Look-ups together, as many as a batch has packets.
const BATCH: usize = 64;

/// Measures and reports.
///
/// # Errors
/// None: there is no goal but the figure.
pub(crate) fn run(options: &Options, rounds: usize, report: &mut Report) -> Result<(), Missed> {
    let mut table =
        Table::new("Longest-prefix match; one at a time each look-up waits for the last, in batches 64 go together");
    let mut changed = Table::new(
        "One route that comes or goes in a full table of both families, until the next table stands to be published",
    );
    for shape in &options.shape {
        look_ups(*shape, options, rounds, &mut table);
        let most = |counts: &[usize]| counts.iter().copied().max().unwrap_or_default();
        changes::measure(*shape, (most(&options.routes), most(&options.routes6)), rounds.min(5), &mut changed);
    }
    report.add(table);
    report.add(changed);
    Ok(())
}

fn look_ups(shape: Shape, options: &Options, rounds: usize, table: &mut Table) {
    for count in &options.routes {
        let entries: Vec<_> = routes::shaped(*count, false, shape)
            .into_iter()
            .enumerate()
            .filter_map(|(number, net)| if let IpNet::V4(net) = net { Some((net, hop(number))) } else { None })
            .collect();
        let nets: Vec<IpNet> = entries.iter().map(|(net, _)| (*net).into()).collect();
        let (fib, build) = timed_build(rounds, || Fib4::new(entries.clone()));
        let many = |addresses: &[u128], hops: &mut [u32]| {
            let mut narrow = [0u32; BATCH];
            narrow.iter_mut().zip(addresses).for_each(|(narrow, wide)| *narrow = *wide as u32);
            fib.lookup_many(&narrow, hops);
        };
        row(
            table,
            &case(4, *count, shape),
            rounds,
            &nets,
            (build, fib.bytes()),
            |address| fib.lookup(address as u32),
            many,
        );
    }
    for count in &options.routes6 {
        let entries: Vec<_> = routes::shaped(*count, true, shape)
            .into_iter()
            .enumerate()
            .filter_map(|(number, net)| if let IpNet::V6(net) = net { Some((net, hop(number))) } else { None })
            .collect();
        let nets: Vec<IpNet> = entries.iter().map(|(net, _)| (*net).into()).collect();
        let (fib, build) = timed_build(rounds, || Fib6::new(entries.clone()));
        let many = |addresses: &[u128], hops: &mut [u32]| fib.lookup_many(addresses, hops);
        row(table, &case(6, *count, shape), rounds, &nets, (build, fib.bytes()), |address| fib.lookup(address), many);
    }
}

fn case(family: u8, count: usize, shape: Shape) -> String {
    match shape {
        Shape::Internet => format!("IPv{family}, {count} prefixes"),
        Shape::Random => format!("IPv{family}, {count} prefixes, random lengths"),
    }
}

fn hop(number: usize) -> u32 {
    1 + number as u32 % 16
}

/// The last of the tables built, and how long each took, in milliseconds.
fn timed_build<T>(rounds: usize, build: impl Fn() -> T) -> (T, Figure) {
    let clock = Clock::new();
    let mut samples = Vec::new();
    loop {
        let from = clock.now();
        let built = build();
        samples.push((clock.now() - from).as_micros() as f64 / 1e3);
        if samples.len() >= rounds.min(5) {
            return (built, Figure::of("ms", samples));
        }
    }
}

fn row(
    table: &mut Table,
    case: &str,
    rounds: usize,
    nets: &[IpNet],
    (build, bytes): (Figure, usize),
    one: impl Fn(u128) -> u32,
    many: impl Fn(&[u128], &mut [u32]),
) {
    let mut random = Random::new();
    let zipf = Zipf::new(nets.len());
    // The popular prefixes lie anywhere in the table.
    let mut order: Vec<u32> = (0..nets.len() as u32).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at + 1));
    }
    let even: Vec<u128> = (0..PROBES).map(|_| routes::within(&nets[random.below(nets.len())], &mut random)).collect();
    let skewed: Vec<u128> =
        (0..PROBES).map(|_| routes::within(&nets[order[zipf.draw(&mut random)] as usize], &mut random)).collect();
    table.row(
        case,
        vec![
            ("build", build),
            ("bytes per prefix", Figure::once("B", bytes as f64 / nets.len() as f64)),
            ("random, one at a time", in_turn(rounds, &even, &one)),
            ("random, batches", in_batches(rounds, &even, &many)),
            ("Zipf, one at a time", in_turn(rounds, &skewed, &one)),
            ("Zipf, batches", in_batches(rounds, &skewed, &many)),
        ],
    );
}

/// Nanoseconds per look-up, each of an address that depends on the answer before.
fn in_turn(rounds: usize, addresses: &[u128], one: impl Fn(u128) -> u32) -> Figure {
    let clock = Clock::new();
    let round = |_| {
        let (from, mut last) = (clock.now(), 0u32);
        for address in addresses {
            // Next hops are small numbers, so that nothing is added, but the processor does not know that.
            last = one(*address | u128::from(last >> 31));
        }
        black_box(last);
        (clock.now() - from).as_nanos() as f64 / addresses.len() as f64
    };
    Figure::of("ns", (0..rounds).map(round).collect())
}

/// Nanoseconds per look-up in batches.
fn in_batches(rounds: usize, addresses: &[u128], many: impl Fn(&[u128], &mut [u32])) -> Figure {
    let clock = Clock::new();
    let round = |_| {
        let (from, mut hops) = (clock.now(), [0; BATCH]);
        for batch in addresses.chunks_exact(BATCH) {
            many(batch, &mut hops);
            black_box(&hops);
        }
        (clock.now() - from).as_nanos() as f64 / addresses.len() as f64
    };
    Figure::of("ns", (0..rounds).map(round).collect())
}
