//! For tests: a router made of the stages of `l2` and `l3`, wired as the worker does. Packets in, packets out, time by hand.

use core::time::Duration;

use crate::{
    batch::{Batch, Egress},
    clock::Instant,
    frame::Arena,
    io::MacAddr,
    l2::{self, Limits, StaticNeighbor, Turn},
    l3::{self, InterfaceSpec, Route, Spec, State, Table, Target},
    meta::{InterfaceId, Meta, PortId},
    stats::CoreStats,
    verdict::{DropReason, Verdict},
};

/// A packet that left, and by which port.
pub(crate) type Sent = (PortId, Vec<u8>);

pub(crate) struct Router {
    pub(crate) table: Table,
    pub(crate) link: l2::State,
    pub(crate) state: State,
    pub(crate) arena: Arena,
    pub(crate) egress: Egress,
    pub(crate) stats: CoreStats,
    pub(crate) now: Instant,
    /// Packets that were left for `l4`.
    pub(crate) delivered: Vec<(Meta, Vec<u8>)>,
}

/// Hardware address of our port.
pub(crate) fn our_mac(port: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, port as u8, 1])
}

/// Hardware address of the neighbour `.2` on a port.
pub(crate) fn peer_mac(port: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, port as u8, 2])
}

/// Three ports 10.77.1P.1/24 and fd77:1P::1/64; port 1 has an MTU of 1280; static neighbours .2 and ::2.
pub(crate) fn spec() -> Spec {
    let port = |p: u16, mtu| InterfaceSpec {
        id: InterfaceId(p),
        name: format!("port {p}"),
        link: l2::Link::of(PortId(p)),
        mac: our_mac(p),
        mtu,
        v4: vec![format!("10.77.1{p}.1/24").parse().unwrap()],
        v6: vec![format!("fd77:1{p}::1/64").parse().unwrap()],
        presence: l2::Presence::default(),
        ..InterfaceSpec::default()
    };
    let via = |to: &str, gateway: &str| Route {
        to: to.parse().unwrap(),
        target: Target::Via { gateway: gateway.parse().unwrap(), interface: None },
    };
    let neighbor = |p: u16, address: String| StaticNeighbor {
        interface: InterfaceId(p),
        address: address.parse().unwrap(),
        mac: peer_mac(p),
    };
    Spec {
        interfaces: vec![port(0, 1500), port(1, 1280), port(2, 1500)],
        routes: vec![
            via("10.200.0.0/16", "10.77.11.2"),
            via("10.200.7.0/24", "10.77.12.2"),
            via("10.200.7.9/32", "10.77.11.2"),
            via("fd00:200::/32", "fd77:11::2"),
            via("fd00:200:7::/48", "fd77:12::2"),
            Route { to: "10.66.0.0/16".parse().unwrap(), target: Target::Blackhole },
            Route { to: "10.67.0.0/16".parse().unwrap(), target: Target::Unreachable },
        ],
        neighbors: (0..3)
            .flat_map(|p| [neighbor(p, format!("10.77.1{p}.2")), neighbor(p, format!("fd77:1{p}::2"))])
            .collect(),
        ..Spec::default()
    }
}

impl Router {
    pub(crate) fn new(spec: Spec) -> Self {
        Self::with_limits(spec, Limits::default())
    }

    pub(crate) fn with_limits(spec: Spec, limits: Limits) -> Self {
        Self::of(Table::build(spec).unwrap(), limits)
    }

    pub(crate) fn of(table: Table, limits: Limits) -> Self {
        let mut link = l2::State::new(limits, 7);
        link.speak();
        let mut state = State::new();
        state.speak(7);
        link.adopt(table.link());
        state.adopt(&table);
        Self {
            stats: CoreStats::new(table.link().interfaces().len()),
            table,
            link,
            state,
            arena: Arena::new(1024, 2048).unwrap(),
            egress: Egress::new(256),
            now: Instant::from_millis(1_000),
            delivered: Vec::new(),
        }
    }

    /// Takes over other tables, as a reload does.
    pub(crate) fn reload(&mut self, spec: Spec) {
        self.table = Table::build(spec).unwrap();
        self.link.adopt(self.table.link());
        self.state.adopt(&self.table);
    }

    /// One packet through all stages, and what follows from it.
    pub(crate) fn receive(&mut self, port: u16, bytes: &[u8]) -> Vec<Sent> {
        self.receive_all(port, &[bytes])
    }

    /// Up to a batch of packets through all stages.
    pub(crate) fn receive_all(&mut self, port: u16, packets: &[&[u8]]) -> Vec<Sent> {
        let mut batch = Batch::new();
        for bytes in packets {
            let frame = self.arena.copy_from(bytes).unwrap();
            batch.push(frame, Meta { port: PortId(port), ..Meta::default() }).unwrap();
        }
        let Self { table, link, state, arena, egress, stats, now, .. } = self;
        let turn = &mut Turn { now: *now, arena, egress, stats };
        l3::heed(table, state, link);
        l2::parse::run(table.link(), turn.stats, &mut batch);
        l2::bridge::receive(table.link(), link, turn, &mut batch);
        l2::input::run(table.link(), link, turn, &mut batch);
        l3::input::run(table, state, turn, &mut batch);
        l3::local::run(table, state, link, turn, &mut batch);
        let mut sent = Vec::new();
        self.finish(&mut batch, &mut sent);
        self.originate(&mut sent);
        sent
    }

    /// Lets time pass in steps of 100 ms, and does what is due.
    pub(crate) fn wait(&mut self, time: Duration) -> Vec<Sent> {
        let mut sent = Vec::new();
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(100);
            let Self { table, link, state, arena, egress, stats, now, .. } = self;
            let mut turn = Turn { now: *now, arena, egress, stats };
            l3::heed(table, state, link);
            l3::tick(table, state, link, &mut turn);
            while l3::undelivered(table, state, link, &mut turn).is_some() {}
            self.originate(&mut sent);
        }
        sent
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.stats.drops(reason).value()
    }

    /// Frames that are neither free nor waiting for a neighbour or for other fragments: none, after every call.
    pub(crate) fn leaked(&self) -> usize {
        self.arena.capacity() - self.arena.available() - self.link.waiting() - self.state.joiner.waiting()
    }

    fn originate(&mut self, sent: &mut Vec<Sent>) {
        // What is originated may ask for a neighbour, which is originated too; nothing goes on for ever.
        for _ in 0..10 {
            let mut batch = Batch::new();
            if self.egress.fill(&mut batch) == 0 {
                return;
            }
            self.finish(&mut batch, sent);
        }
        panic!("egress never ends");
    }

    fn finish(&mut self, batch: &mut Batch, sent: &mut Vec<Sent>) {
        let Self { table, link, state, arena, egress, stats, now, .. } = self;
        let turn = &mut Turn { now: *now, arena, egress, stats };
        if table.has_policies() {
            l3::policy::run(table, turn.stats, batch);
        }
        l3::route::run(table, state, turn, batch);
        l3::forward::run(table, state, turn, batch);
        if table.limits_segments() {
            l3::clamp::run(table, batch);
        }
        if l2::output::run(table.link(), link, turn, batch) {
            l3::route::refuse_own(table, state, turn, batch);
        }
        l2::bridge::send(table.link(), link, turn, batch);
        for slot in batch.drain() {
            match slot.verdict {
                Verdict::Transmit(port) => sent.push((port, slot.frame.unwrap().data().to_vec())),
                Verdict::Deliver => self.delivered.push((slot.meta, slot.frame.unwrap().data().to_vec())),
                Verdict::Drop(reason) => stats.drops(reason).add(1),
                Verdict::Consumed => assert!(slot.frame.is_some()),
                Verdict::Taken => assert!(slot.frame.is_none()),
                Verdict::Continue | Verdict::Bridge => panic!("a packet without an end: {slot:?}"),
            }
        }
    }
}
