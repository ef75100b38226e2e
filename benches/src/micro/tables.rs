//! Tables that packets are looked up in: prefixes, flows.

use core::{hint::black_box, net::IpAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tidegate_dataplane::{
    l3::{fib4::Fib4, fib6::Fib6},
    l4::{Flow, FlowTable},
};

use super::{Counted, Kernel, Plain};
use crate::{random::Random, routes};

/// Look-ups per call: as many as a batch has packets.
const LOOKUPS: usize = 64;
const PREFIXES: usize = 1000;
const FLOWS: u32 = 10_000;

/// The tables.
pub(super) fn kernels() -> Vec<Kernel> {
    let kernel = |name, unit, make| Kernel { name, unit, per_call: LOOKUPS as u32, counted: Counted::Run, make };
    vec![
        kernel("lpm/v4_one", "look-up", || {
            let (fib, destinations) = v4();
            Box::new(Plain(move || {
                for to in &destinations {
                    black_box(fib.lookup(*to));
                }
            }))
        }),
        kernel("lpm/v4_batch", "look-up", || {
            let (fib, destinations) = v4();
            let mut hops = [0; LOOKUPS];
            Box::new(Plain(move || {
                fib.lookup_many(&destinations, &mut hops);
                black_box(&hops);
            }))
        }),
        kernel("lpm/v6_one", "look-up", || {
            let (fib, destinations) = v6();
            Box::new(Plain(move || {
                for to in &destinations {
                    black_box(fib.lookup(*to));
                }
            }))
        }),
        kernel("lpm/v6_batch", "look-up", || {
            let (fib, destinations) = v6();
            let mut hops = [0; LOOKUPS];
            Box::new(Plain(move || {
                fib.lookup_many(&destinations, &mut hops);
                black_box(&hops);
            }))
        }),
        kernel("flow/hit", "look-up", || lookups(0)),
        kernel("flow/miss", "look-up", || lookups(FLOWS)),
        kernel("flow/insert_remove", "flow", || {
            let (mut table, flows) = (full(), (0..2 * FLOWS).map(flow).collect::<Vec<_>>());
            Box::new(Plain(move || {
                for number in FLOWS..FLOWS + LOOKUPS as u32 {
                    table.insert(&flows[number as usize], number, |other| flows[other as usize]);
                }
                for number in FLOWS..FLOWS + LOOKUPS as u32 {
                    table.remove(&flows[number as usize], number);
                }
            }))
        }),
    ]
}

fn v4() -> (Arc<Fib4>, Vec<u32>) {
    let prefixes = routes::prefixes(PREFIXES, false);
    let entries = prefixes.iter().zip(1..).filter_map(|(net, hop)| match net {
        IpNet::V4(net) => Some((*net, hop)),
        IpNet::V6(_) => None,
    });
    let destinations = destinations(&prefixes).into_iter().map(|address| address as u32);
    (Fib4::new(entries.collect()), destinations.collect())
}

fn v6() -> (Arc<Fib6>, Vec<u128>) {
    let prefixes = routes::prefixes(PREFIXES, true);
    let entries = prefixes.iter().zip(1..).filter_map(|(net, hop)| match net {
        IpNet::V6(net) => Some((*net, hop)),
        IpNet::V4(_) => None,
    });
    (Fib6::new(entries.collect()), destinations(&prefixes))
}

fn destinations(prefixes: &[IpNet]) -> Vec<u128> {
    let mut random = Random::new();
    (0..LOOKUPS).map(|_| routes::within(&prefixes[random.below(prefixes.len())], &mut random)).collect()
}

fn flow(number: u32) -> Flow {
    Flow {
        local: IpAddr::from([10, 0, 0, 1]),
        remote: IpAddr::from((0x0a40_0000 + number / 1000).to_be_bytes()),
        local_port: 80,
        remote_port: 10_000 + (number % 1000) as u16,
    }
}

fn full() -> FlowTable {
    let mut table = FlowTable::new(2 * FLOWS as usize, (1, 2));
    (0..FLOWS).for_each(|number| table.insert(&flow(number), number, flow));
    table
}

/// Look-ups of the flows from `first` on.
fn lookups(first: u32) -> Box<dyn super::Work> {
    let (table, flows) = (full(), (0..2 * FLOWS).map(flow).collect::<Vec<_>>());
    Box::new(Plain(move || {
        for number in first..first + LOOKUPS as u32 {
            black_box(table.find(&flows[number as usize], |other| flows[other as usize]));
        }
    }))
}
