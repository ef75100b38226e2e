//! What one change costs when the table is full: a route learnt or withdrawn, until the next table stands to be published.

use std::sync::Arc;

use ipnet::IpNet;
use tidegate_dataplane::{
    clock::Clock,
    l3::{Builder, Learnt, ReversePath, Table, Target, VrfId},
    meta::InterfaceId,
};

use crate::{
    far, memory,
    random::Random,
    report::{self, Figure},
    routes::{self, Shape},
};

/// Changes of each kind and family in a round.
const CHANGES: usize = 500;

/// Both families in one table, and single routes of it that go and come back; then IPv4 alone where sources are asked for, too.
pub(super) fn measure(shape: Shape, (routes, routes6): (usize, usize), rounds: usize, table: &mut report::Table) {
    let nets: [Vec<IpNet>; 2] = [routes::shaped(routes, false, shape), routes::shaped(routes6, true, shape)];
    rows(shape, &nets, ReversePath::Off, rounds, table);
    // Only of IPv4 sources is there more to be kept.
    let [v4, _] = nets;
    rows(shape, &[v4, Vec::new()], ReversePath::Loose, rounds, table);
}

fn rows(shape: Shape, nets: &[Vec<IpNet>; 2], asked: ReversePath, rounds: usize, table: &mut report::Table) {
    let before = memory::resident().now;
    let mut full = Full::new(nets, asked);
    let memory = (memory::resident().now - before) as f64 / f64::from(1 << 20);
    let asked = if asked == ReversePath::Off { "" } else { ", sources asked for" };
    for (nets, family) in nets.iter().zip([4, 6]).filter(|(nets, _)| !nets.is_empty()) {
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        for _ in 0..rounds * CHANGES {
            let (number, net) = full.any(nets);
            gone.push(full.change(net, None));
            back.push(full.change(net, Some(number)));
        }
        let [gone, back] = [gone, back].map(percentiles);
        table.row(
            format!("IPv{family}, {} lengths{asked}", shape.name()),
            vec![
                ("withdrawn, median", gone[0].clone()),
                ("withdrawn, 99 of 100 within", gone[1].clone()),
                ("added, median", back[0].clone()),
                ("added, 99 of 100 within", back[1].clone()),
                ("all routes, resident", Figure::once("MiB", memory)),
            ],
        );
    }
}

/// A full table.
struct Full {
    builder: Builder,
    /// A core has it still when the next one is made.
    in_use: [Arc<Table>; 2],
    clock: Clock,
    random: Random,
}

impl Full {
    fn new(nets: &[Vec<IpNet>; 2], asked: ReversePath) -> Self {
        let (mut builder, mut links) = (Builder::default(), far::links());
        links.interfaces[0].reverse_path = asked;
        builder.configure(links).unwrap_or_else(|error| panic!("{error}"));
        let all: Vec<_> = nets
            .iter()
            .flat_map(|nets| nets.iter().enumerate().map(|(number, net)| learnt(*net, Some(number))))
            .collect();
        builder.learn(&all);
        let table = Arc::new(builder.table());
        Self { builder, in_use: [Arc::clone(&table), table], clock: Clock::new(), random: Random::new() }
    }

    fn any(&mut self, nets: &[IpNet]) -> (usize, IpNet) {
        let number = self.random.below(nets.len());
        (number, nets[number])
    }

    /// Microseconds until there is a table without the route, or with it.
    fn change(&mut self, net: IpNet, number: Option<usize>) -> f64 {
        let change = [learnt(net, number)];
        let from = self.clock.now();
        self.builder.learn(&change);
        let table = Arc::new(self.builder.table());
        let passed = self.clock.now() - from;
        // The one before the last is used no more.
        self.in_use.rotate_left(1);
        self.in_use[1] = table;
        passed.as_nanos() as f64 / 1e3
    }
}

fn learnt(to: IpNet, number: Option<usize>) -> Learnt {
    // As a daemon says it: with the interface.
    let via =
        |number| Target::Via { gateway: far::gateway_of(number, to.addr().is_ipv6()), interface: Some(InterfaceId(1)) };
    let target = number.map(|number| via(number).into());
    Learnt { vrf: VrfId::MAIN, to, target }
}

/// The median, and what 99 of 100 do not exceed.
fn percentiles(mut samples: Vec<f64>) -> [Figure; 2] {
    samples.sort_unstable_by(f64::total_cmp);
    [50, 99].map(|percent| Figure::once("µs", samples[samples.len() * percent / 100]))
}
