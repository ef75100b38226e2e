//! A million routes replaced while packets of 64 bytes are forwarded: what is lost, and how long a core stands still.
//!
//! One thread forwards without pause; another makes tables in which every route leads elsewhere and publishes them, as the
//! management thread does on a reload.

use core::time::Duration;
use std::{sync::Arc, thread};

use tidegate_dataplane::{
    batch::BATCH,
    clock::{Clock, Instant},
    io::affinity,
    l3::{Builder, Route},
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
};

use crate::{
    Missed,
    far::{self, Nothing, Rig, Shape, udp},
    place::ticks_per_nanosecond,
    random::Random,
    report::{Figure, Report, Table},
    routes,
};

/// Options of `swap`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// IPv4 routes.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    routes: u32,
    /// IPv6 routes, which are replaced too.
    #[arg(long, default_value_t = 250_000)]
    routes6: u32,
    /// How often all of them are replaced.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    swaps: u32,
    /// Make tables on this processor.
    #[arg(long)]
    builder_cpu: Option<usize>,
}

/// Measures and reports.
///
/// # Errors
/// A packet was lost, or a table was not taken over.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), Missed> {
    let prefixes = [routes::prefixes(options.routes as usize, false), routes::prefixes(options.routes6 as usize, true)];
    let mut builder = Builder::default();
    builder.configure(spec(&prefixes, 0)).unwrap_or_else(|error| panic!("{error}"));
    let mut rig = Rig::with(Shape::default(), builder.table(), |_| Nothing);
    let publisher = rig.tables.take().unwrap_or_else(|| unreachable!("nobody has taken it"));
    let destinations = destinations(&prefixes[0]);
    let (swaps, cpu) = (options.swaps, options.builder_cpu);
    let builder = thread::spawn(move || {
        // A processor that does not exist: wherever the kernel likes.
        let _ = cpu.map(affinity::pin);
        replace(builder, publisher, &prefixes, swaps)
    });
    let course = forward(&mut rig, &destinations, || builder.is_finished());
    let made = builder.join().unwrap_or_else(|_| panic!("the builder has failed"));
    let taken = rig.stats.generation.value();
    say(report, &course, made);
    if taken != u64::from(swaps) + 1 {
        return Err(Missed { goal: "every table is taken over", measured: taken as f64 - 1.0 });
    }
    if course.lost > 0 {
        return Err(Missed { goal: "no packet is lost by a swap", measured: course.lost as f64 });
    }
    Ok(())
}

fn spec(prefixes: &[Vec<ipnet::IpNet>; 2], swap: usize) -> tidegate_dataplane::l3::Spec {
    let mut spec = far::links();
    for prefixes in prefixes {
        let route = |(number, to): (usize, &ipnet::IpNet)| Route {
            to: *to,
            target: far::gateway(number + swap, to.addr().is_ipv6()),
        };
        spec.routes.extend(prefixes.iter().enumerate().map(route));
    }
    spec
}

fn destinations(prefixes: &[ipnet::IpNet]) -> Vec<u128> {
    let mut random = Random::new();
    (0..1 << 16).map(|_| routes::within(&prefixes[random.below(prefixes.len())], &mut random)).collect()
}

/// What it took to replace all routes, by swap.
#[derive(Default)]
struct Made {
    /// From what the operator says to a table, in milliseconds.
    build: Vec<f64>,
    /// The swap itself, in milliseconds.
    publish: Vec<f64>,
    /// Until no core has the table before any more and its memory is free, in milliseconds.
    free: Vec<f64>,
}

fn replace(
    mut builder: Builder,
    mut publisher: Publisher<Tables>,
    prefixes: &[Vec<ipnet::IpNet>; 2],
    swaps: u32,
) -> Made {
    let (clock, mut made) = (Clock::new(), Made::default());
    let since = |from: Instant| (clock.now() - from).as_nanos() as f64;
    for swap in 1..=swaps as usize {
        let spec = spec(prefixes, swap);
        let from = clock.now();
        builder.configure(spec).unwrap_or_else(|error| panic!("{error}"));
        let l3 = Arc::new(builder.table());
        made.build.push(since(from) / 1e6);
        let l7 = Arc::clone(&publisher.current().l7);
        let from = clock.now();
        publisher.publish(Arc::new(Tables { phase: Phase::Serve, l3, l7 }));
        made.publish.push(since(from) / 1e6);
        while publisher.reclaim() > 0 {
            thread::sleep(Duration::from_micros(100));
        }
        made.free.push(since(from) / 1e6);
    }
    made
}

/// What the core did meanwhile.
#[derive(Default)]
struct Course {
    sent: u64,
    lost: u64,
    /// Microseconds of each turn in which a table was taken over.
    swapped: Vec<f64>,
    /// Those of the others.
    others: Vec<f64>,
}

/// Forwards batches until the other thread has ended, and some more.
fn forward(rig: &mut Rig<Nothing>, destinations: &[u128], is_over: impl Fn() -> bool) -> Course {
    let ticks = ticks_per_nanosecond(&rig.clock) * 1e3;
    let (mut course, mut forwarded, mut more, mut at) = (Course::default(), 0, 1000, 0);
    // Of turns without a swap one in sixteen is kept.
    let mut number = 0u64;
    while more > 0 {
        more -= u32::from(is_over());
        for _ in 0..BATCH {
            let frame = udp::packet(rig.worker.arena(), false, destinations[at], udp::SHORTEST[0]);
            at = (at + 1) % destinations.len();
            rig.send(0, frame.unwrap_or_else(|| panic!("frames leak")));
        }
        course.sent += BATCH as u64;
        let generation = rig.stats.generation.value();
        rig.take_cost();
        rig.turn();
        let length = rig.take_cost().cycles as f64 / ticks;
        forwarded += rig.from[1].borrow_mut().drain(..).count() as u64;
        number += 1;
        if rig.stats.generation.value() != generation {
            course.swapped.push(length);
        } else if number.is_multiple_of(16) {
            course.others.push(length);
        }
    }
    course.lost = course.sent - forwarded;
    course
}

fn say(report: &mut Report, course: &Course, made: Made) {
    let count = |value: u64| Figure::once("count", value as f64);
    let mut packets = Table::new("All routes replaced while packets of 64 bytes are forwarded");
    let swaps = course.swapped.len() as u64;
    packets.row(
        "packets",
        vec![("swaps", count(swaps)), ("forwarded", count(course.sent - course.lost)), ("lost", count(course.lost))],
    );
    report.add(packets);
    let mut turns = Table::new("How long a turn with 64 packets takes");
    turns.row("with a swap", vec![("length", Figure::of("µs", course.swapped.clone()))]);
    turns.row("without", vec![("length", Figure::of("µs", course.others.clone()))]);
    report.add(turns);
    let mut steps = Table::new("What replacing all routes takes");
    steps.row("from routes to a table", vec![("time", Figure::of("ms", made.build))]);
    steps.row("the swap", vec![("time", Figure::of("ms", made.publish))]);
    steps.row("until the table before is gone", vec![("time", Figure::of("ms", made.free))]);
    report.add(steps);
}
