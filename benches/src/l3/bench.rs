//! A router between two memory ports, and packets for all of its routes.

use tidegate_dataplane::{batch::BATCH, l2::Tags, l3::Route};

use super::extra::Extra;
use crate::{
    far::{self, Cost, Nothing, Rig, Shape, udp},
    random::Random,
    routes,
    stages::{Marks, Split},
};

/// Lengths without frame check sequence.
#[derive(Clone, Copy)]
pub(super) struct Mix {
    name: &'static str,
    lengths: [usize; 12],
}

/// The shortest packets, and those of the Internet.
pub(super) const fn mixes(v6: bool) -> [Mix; 2] {
    let shortest = udp::SHORTEST[v6 as usize];
    // The simple Internet mix: seven short ones, four of 576 bytes of IP, one of 1500.
    let imix = [shortest, 590, shortest, shortest, 590, shortest, 1514, shortest, 590, shortest, shortest, 590];
    let name = if v6 { "66 B" } else { "64 B" };
    [Mix { name, lengths: [shortest; 12] }, Mix { name: "IMIX", lengths: imix }]
}

/// What is measured.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Routes.
    pub(super) count: usize,
    pub(super) v6: bool,
    pub(super) extra: Option<Extra>,
}

impl Plan {
    /// As a case of a table.
    pub(super) fn name(&self, mix: Mix) -> String {
        let extra = self.extra.map_or_else(String::new, |extra| format!(", {}", extra.name()));
        format!("IPv{}, {} routes, {}{extra}", if self.v6 { 6 } else { 4 }, self.count, mix.name)
    }
}

/// Addresses, as small as they are: what makes the packets shares the caches with what is measured.
enum Hosts {
    V4(Vec<u32>),
    V6(Vec<u128>),
}

impl Hosts {
    fn new(addresses: Vec<u128>, v6: bool) -> Self {
        if v6 { Self::V6(addresses) } else { Self::V4(addresses.into_iter().map(|address| address as u32).collect()) }
    }

    fn len(&self) -> usize {
        match self {
            Self::V4(addresses) => addresses.len(),
            Self::V6(addresses) => addresses.len(),
        }
    }

    fn get(&self, at: usize) -> Option<u128> {
        match self {
            Self::V4(addresses) => addresses.get(at).copied().map(u128::from),
            Self::V6(addresses) => addresses.get(at).copied(),
        }
    }
}

/// The router and its packets.
pub(super) struct Bench {
    pub(super) rig: Rig<Nothing>,
    pub(super) plan: Plan,
    destinations: Hosts,
    /// As many sources, where they are looked at.
    sources: Hosts,
    /// What packets come with.
    tags: Tags,
    at: usize,
}

impl Bench {
    pub(super) fn new(plan: Plan) -> Self {
        let Plan { count, v6, extra } = plan;
        let (mut random, prefixes) = (Random::new(), routes::prefixes(count, v6));
        // As many destinations as there are routes, up to what is more than a cache holds.
        let wanted = count.clamp(1 << 12, 1 << 20);
        let mut l3 = far::links();
        let target = |number, to| extra.map_or_else(|| far::gateway(number, v6), |extra| extra.target(number, to));
        if let Some(extra) = extra {
            extra.ask(&mut l3);
        }
        l3.routes.extend(prefixes.iter().enumerate().map(|(number, to)| Route { to: *to, target: target(number, to) }));
        let onward: Vec<_> = prefixes.iter().filter(|to| extra.is_none_or(|extra| extra.goes_on(to))).collect();
        let destinations =
            (0..wanted).map(|_| routes::within(onward[random.below(onward.len())], &mut random)).collect();
        let sources = extra.map_or_else(Vec::new, |extra| extra.sources(&prefixes, wanted, &mut random));
        let tags = extra.map_or(Tags::NONE, |extra| extra.tags()[0]);
        Self {
            rig: Rig::new(Shape { l3, ..Shape::default() }, |_| Nothing),
            plan,
            destinations: Hosts::new(destinations, v6),
            sources: Hosts::new(sources, v6),
            tags,
            at: 0,
        }
    }

    /// A round of `turns` batches, as samples by stage; what it allocated.
    pub(super) fn sample(&mut self, mix: Mix, turns: usize, split: &mut Split) -> u64 {
        let before = Marks::of(&self.rig.stats);
        let cost = self.round(mix, turns);
        split.round(&before, &self.rig.stats, cost.cycles, (turns * BATCH) as u64);
        cost.allocations
    }

    /// A round of `turns` batches.
    pub(super) fn round(&mut self, mix: Mix, turns: usize) -> Cost {
        self.rig.take_cost();
        let mut forwarded = 0;
        for _ in 0..turns {
            for slot in 0..BATCH {
                let (to, from) = (self.destinations.get(self.at).unwrap_or_default(), self.sources.get(self.at));
                self.at = (self.at + 1) % self.destinations.len();
                let (arena, v6, len) = (self.rig.worker.arena(), self.plan.v6, mix.lengths[slot % mix.lengths.len()]);
                let frame = match from {
                    None => udp::packet(arena, v6, to, len),
                    Some(from) => udp::packet_from(arena, v6, from, to, len),
                };
                let mut frame = frame.unwrap_or_else(|| panic!("frames leak"));
                udp::put_tags(&mut frame, &self.tags);
                self.rig.send(0, frame);
            }
            self.rig.turn();
            forwarded += self.rig.from[1].borrow_mut().drain(..).count();
        }
        assert_eq!((forwarded, self.rig.losses()), (turns * BATCH, 0), "every packet is forwarded");
        self.rig.take_cost()
    }
}
