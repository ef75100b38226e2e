//! Cycles per packet of the L3 path, stage by stage, on memory frames: 64-byte UDP packets to random destinations.
//!
//! `cargo run --release -p tidegate-dataplane --no-default-features --example l3_cycles [PACKETS]`
//!
//! Cycles are ticks of the time-stamp counter. Frames come from the arena and go back to it in every round, as they do behind a port.
//! A round is a batch of 64; the figure of a stage is the median over rounds, so an interrupt does not count.

use std::io::Write as _;

use tidegate_dataplane::{
    batch::{BATCH, Batch, Egress},
    clock::{Clock, Instant},
    frame::Arena,
    io::{MacAddr, checksum::Sum},
    l2::{self, Limits, StaticNeighbor, Turn},
    l3::{self, PortAddresses, Route, Spec, Table, Target},
    meta::{Meta, PortId},
    stats::CoreStats,
    verdict::Verdict,
};

const STAGES: [&str; 8] =
    ["rx (memory)", "l2::parse", "l2::input", "l3::input", "l3::local", "l3::route", "l3::forward", "l2::output"];

fn main() -> std::io::Result<()> {
    let packets: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2_000_000);
    let mut out = std::io::stdout().lock();
    for v6 in [false, true] {
        for routes in [1, 1_000, if v6 { 250_000 } else { 1_000_000 }] {
            let mut bench = Bench::new(routes, v6);
            let table = &bench.table;
            let bytes = if v6 { table.fib6().bytes() } else { table.fib4().bytes() };
            let medians = bench.run(packets / BATCH);
            let total: f64 = medians[1..].iter().sum();
            let family = if v6 { "IPv6" } else { "IPv4" };
            writeln!(out, "{family}, {routes} routes ({} KiB of tables): {total:.1} cycles per packet", bytes >> 10)?;
            for (stage, cycles) in STAGES.iter().zip(medians) {
                writeln!(out, "  {stage:<12} {cycles:6.1}")?;
            }
        }
    }
    Ok(())
}

struct Bench {
    table: Table,
    link: l2::State,
    state: l3::State,
    arena: Arena,
    egress: Egress,
    stats: CoreStats,
    clock: Clock,
    destinations: Vec<u128>,
    v6: bool,
}

/// A small generator of even numbers' worth of randomness (xorshift64*), so that every run sees the same packets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

impl Bench {
    fn new(routes: usize, v6: bool) -> Self {
        let mut random = Random(42);
        let mut spec = Spec { ports: vec![port(0), port(1)], ..Spec::default() };
        // Sixteen gateways, as many as a border router has peers.
        for gateway in 2..18 {
            let mac = MacAddr([2, 0, 0, 1, 0, gateway]);
            let v4 = StaticNeighbor { port: PortId(1), address: format!("10.0.1.{gateway}").parse().unwrap(), mac };
            let v6 = StaticNeighbor { address: format!("fd00:1::{gateway:x}").parse().unwrap(), ..v4 };
            spec.neighbors.extend([v4, v6]);
        }
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < routes {
            let bits = random.next();
            // The lengths of the global tables: mostly /24 (IPv4) and /48 (IPv6), some longer in our own network.
            let len = match bits >> 60 {
                0..=9 => 24,
                10..=13 => 16 + (bits >> 56 & 7) as u8,
                14 => 22,
                _ => 28,
            };
            let to = if v6 {
                let address = (0x2000u128 << 112) | u128::from(bits & 0x1fff_ffff_ffff) << 80;
                ipnet::Ipv6Net::new(address.into(), len * 2).unwrap().trunc().into()
            } else {
                let address = 0x1400_0000 + (bits as u32 % 0xa000_0000);
                ipnet::IpNet::from(ipnet::Ipv4Net::new(address.into(), len).unwrap().trunc())
            };
            // Loopback is no destination.
            if !to.to_string().starts_with("127.") {
                seen.insert(to);
            }
        }
        let mut destinations = Vec::with_capacity(1 << 16);
        spec.routes.extend(seen.iter().enumerate().map(|(at, to)| {
            let gateway = 2 + at % 16;
            let gateway = if v6 { format!("fd00:1::{gateway:x}") } else { format!("10.0.1.{gateway}") };
            Route { to: *to, target: Target::Via { gateway: gateway.parse().unwrap(), port: None } }
        }));
        for _ in 0..1 << 16 {
            let route = &spec.routes[random.next() as usize % spec.routes.len()];
            destinations.push(match route.to {
                ipnet::IpNet::V4(net) => {
                    u128::from(net.network().to_bits() | random.next() as u32 & net.hostmask().to_bits())
                }
                ipnet::IpNet::V6(net) => net.network().to_bits() | u128::from(random.next()),
            });
        }
        let table = Table::build(spec, None).unwrap_or_else(|error| panic!("{error}"));
        let mut link = l2::State::new(Limits::default(), 1);
        link.adopt(table.link());
        Self {
            table,
            link,
            state: l3::State::new(),
            arena: Arena::new(1024, 2048).unwrap(),
            egress: Egress::new(64),
            stats: CoreStats::new(2),
            clock: Clock::new(),
            destinations,
            v6,
        }
    }

    /// Median cycles per packet of each stage.
    fn run(&mut self, rounds: usize) -> [f64; STAGES.len()] {
        let mut samples = vec![Vec::with_capacity(rounds); STAGES.len()];
        let mut at = 0;
        for _ in 0..rounds {
            let mut batch = Batch::new();
            let mut marks = [0; STAGES.len() + 1];
            marks[0] = self.clock.cycles();
            for _ in 0..BATCH {
                let packet = packet(self.destinations[at % self.destinations.len()], self.v6);
                at += 1;
                let Some(frame) = self.arena.copy_from(&packet) else { panic!("frames leaked") };
                let _ = batch.push(frame, Meta { port: PortId(0), ..Meta::default() });
            }
            let Self { table, link, state, arena, egress, stats, clock, .. } = self;
            let turn = &mut Turn { now: Instant::from_millis(1), arena, egress, stats };
            marks[1] = clock.cycles();
            l2::parse::run(&mut batch);
            marks[2] = clock.cycles();
            l2::input::run(table.link(), link, turn, &mut batch);
            marks[3] = clock.cycles();
            l3::input::run(table, state, turn, &mut batch);
            marks[4] = clock.cycles();
            l3::local::run(table, state, link, turn, &mut batch);
            marks[5] = clock.cycles();
            l3::route::run(table, state, turn, &mut batch);
            marks[6] = clock.cycles();
            l3::forward::run(table, state, turn, &mut batch);
            marks[7] = clock.cycles();
            l2::output::run(table.link(), link, turn, &mut batch);
            marks[8] = clock.cycles();
            assert!(
                batch.slots().iter().all(|slot| slot.verdict == Verdict::Transmit(PortId(1))),
                "{:?}",
                batch.slots()[0]
            );
            for (samples, pair) in samples.iter_mut().zip(marks.windows(2)) {
                samples.push(pair[1] - pair[0]);
            }
        }
        let mut medians = [0.0; STAGES.len()];
        for (median, samples) in medians.iter_mut().zip(&mut samples) {
            samples.sort_unstable();
            *median = samples[samples.len() / 2] as f64 / BATCH as f64;
        }
        medians
    }
}

fn port(id: u16) -> PortAddresses {
    PortAddresses {
        port: PortId(id),
        mac: MacAddr([2, 0, 0, 0, id as u8, 1]),
        mtu: 1500,
        v4: vec![format!("10.0.{id}.1/24").parse().unwrap()],
        v6: vec![format!("fd00:{id}::1/64").parse().unwrap()],
    }
}

/// 64 bytes on the wire: 60 without the frame check sequence (74 for IPv6, whose headers are longer).
fn packet(destination: u128, v6: bool) -> Vec<u8> {
    let mut bytes = vec![0; if v6 { 74 } else { 60 }];
    bytes[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9]);
    if v6 {
        bytes[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 17, 64]);
        bytes[22..38].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        bytes[38..54].copy_from_slice(&destination.to_be_bytes());
    } else {
        bytes[12..26].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]);
        bytes[26..30].copy_from_slice(&[10, 0, 0, 9]);
        bytes[30..34].copy_from_slice(&(destination as u32).to_be_bytes());
        let sum = Sum::new().add(&bytes[14..34]).finish();
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}
