//! All hosts of a run, what connects them, and virtual time.

use core::{cell::RefCell, time::Duration};
use std::{rc::Rc, sync::Arc};

use tidegate_dataplane::{
    clock::{Clock, Instant},
    frame::Arena,
    io::{
        Capabilities, Port, PortInfo,
        memory::{Lane, MemoryPort},
        park::Waker,
    },
    l4::{Congestion, Secrets, TcpOptions},
    l7::{
        app::{App, Host},
        metrics::HttpStats,
    },
    stats::CoreStats,
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    worker::{
        Spec, Worker,
        handover::{self, Links},
        idle::Idle,
    },
};

use crate::{
    client::Client,
    dice::{Dice, mix},
    gateway,
    ledger::Shared,
    net::{self, Who},
    origin::Origin,
    plan::{Change, Scenario, Stack},
    scenario::START,
    wire::{Target, Wires},
};

/// Packets that wait at a port between two turns.
const LANE_DEPTH: usize = 1 << 16;
/// Turns of one core without time passing; then it polls on a microsecond later, as a real one would.
const TURNS_AT_ONCE: usize = 64;
const POLL: Duration = Duration::from_micros(1);

thread_local! {
    static CLOCK: Clock = Clock::new();
    static WAKER: Arc<Waker> = Arc::new(Waker::new().expect("a file descriptor"));
}

/// A worker, whatever runs on it.
pub(crate) trait Core {
    fn turn(&mut self, now: Instant);
    fn next_deadline(&self) -> Option<Instant>;
    fn host(&self) -> &Host;
    fn arena(&self) -> &Arena;
}

impl<A: App> Core for Worker<A> {
    fn turn(&mut self, now: Instant) {
        Worker::turn(self, now);
    }
    fn next_deadline(&self) -> Option<Instant> {
        Worker::next_deadline(self)
    }
    fn host(&self) -> &Host {
        Worker::host(self)
    }
    fn arena(&self) -> &Arena {
        Worker::arena(self)
    }
}

/// A core in its place.
pub(crate) struct Seat {
    pub(crate) who: Who,
    pub(crate) core: Box<dyn Core>,
    pub(crate) stats: Arc<CoreStats>,
    pub(crate) http: Option<Arc<HttpStats>>,
    /// Tasks that run as long as the core does.
    pub(crate) permanent: usize,
    incoming: Vec<Lane>,
    outgoing: Vec<Lane>,
    links: Rc<RefCell<Links>>,
    deadline: Option<Instant>,
    dirty: bool,
    pub(crate) turns: u64,
}

/// A run in progress.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) seats: Vec<Seat>,
    pub(crate) wires: Wires,
    pub(crate) shared: Shared,
    pub(crate) gateway: Publisher<Tables>,
    hosts: Vec<Publisher<Tables>>,
    rss: Dice,
    next_change: usize,
    /// Packets that found no frame at their receiver.
    pub(crate) no_frame: u64,
}

impl World {
    pub(crate) fn new(scenario: Scenario, log: bool) -> Self {
        let mut dice = Dice::new(!scenario.seed);
        let mut wires = Wires::new(log);
        let shared = Shared::new(scenario);
        let scenario = &*shared.scenario;
        for [from, to] in scenario.client_lanes.iter().chain(&scenario.origin_lanes) {
            wires.lane(from.clone(), dice.split());
            wires.lane(to.clone(), dice.split());
        }
        let gateway = Publisher::new(net::gateway(scenario, &scenario.clusters, Phase::Serve, None));
        let mut world = Self {
            now: START,
            seats: Vec::new(),
            wires,
            gateway,
            hosts: Vec::new(),
            rss: dice.split(),
            next_change: 0,
            no_frame: 0,
            shared: shared.clone(),
        };
        world.seat_gateway(&mut dice);
        for who in (0..scenario.client_lanes.len()).map(Who::Client) {
            world.seat_host(who, &mut dice);
        }
        for who in (0..scenario.origin_lanes.len()).map(Who::Origin) {
            world.seat_host(who, &mut dice);
        }
        world
    }

    fn seat_gateway(&mut self, dice: &mut Dice) {
        let shared = self.shared.clone();
        let scenario = &*shared.scenario;
        let wakers: Vec<_> = (0..scenario.cores).map(|_| WAKER.with(Arc::clone)).collect();
        let links = match scenario.cores {
            1 => vec![Links::default()],
            _ => handover::mesh(&wakers, 2048),
        };
        let secrets = secrets(dice);
        for (core, links) in links.into_iter().enumerate() {
            let place = Place { who: Who::Gateway, core: (core, scenario.cores), links, secrets, seed: dice.roll() };
            let seed = place.seed;
            let (spec, seat) = place.prepare(scenario, &scenario.gateway, self.gateway.reader());
            let http = Arc::new(HttpStats::default());
            let worker = Worker::new(spec, |host| gateway::app(host, &http, seed));
            self.seats.push(Seat { http: Some(http), ..seat(Box::new(worker)) });
        }
    }

    fn seat_host(&mut self, who: Who, dice: &mut Dice) {
        let shared = self.shared.clone();
        let scenario = &*shared.scenario;
        let publisher = Publisher::new(net::host(scenario, who, Phase::Serve));
        let secrets = secrets(dice);
        let place = Place { who, core: (0, 1), links: Links::default(), secrets, seed: dice.roll() };
        let stack = if let Who::Client(_) = who { &scenario.client } else { &scenario.origin };
        let (spec, seat) = place.prepare(scenario, stack, publisher.reader());
        let core: Box<dyn Core> = match who {
            Who::Client(number) => Box::new(Worker::new(spec, |host| Client::new(&shared, number, host))),
            _ => Box::new(Worker::new(spec, |_| Origin { shared: shared.clone() })),
        };
        self.seats.push(seat(core));
        self.hosts.push(publisher);
    }

    fn clients(&self) -> usize {
        self.shared.scenario.client_lanes.len()
    }

    /// Goes on to the next thing that happens, if that is not later than `limit`.
    pub(crate) fn step(&mut self, limit: Instant) -> bool {
        let change = self.shared.scenario.changes.get(self.next_change).map(|(at, _)| *at);
        let deadlines = self.seats.iter().filter_map(|seat| seat.deadline);
        let dirty = self.seats.iter().any(|seat| seat.dirty).then_some(self.now);
        let next = deadlines.chain(change).chain(self.wires.next_arrival()).chain(dirty).min();
        let Some(next) = next.filter(|at| *at <= limit) else { return false };
        self.now = self.now.max(next);
        self.change();
        while let Some(flying) = self.wires.arrived(self.now) {
            self.deliver(flying.to, &flying.packet);
            self.wires.reuse(flying.packet);
        }
        loop {
            let due = |seat: &Seat| seat.dirty || seat.deadline.is_some_and(|at| at <= self.now);
            let Some(index) = self.seats.iter().position(due) else { break };
            self.run(index);
        }
        true
    }

    /// Publishes what the plan changes now.
    fn change(&mut self) {
        let scenario = Rc::clone(&self.shared.scenario);
        while let Some((_, change)) = scenario.changes.get(self.next_change).filter(|(at, _)| *at <= self.now) {
            self.next_change += 1;
            let old = Arc::clone(self.gateway.current());
            match change {
                Change::Clusters(a, b) => {
                    let clusters = [a.clone(), b.clone()];
                    self.gateway.publish(net::gateway(&scenario, &clusters, old.phase, Some(&old.l7)));
                }
                Change::Drain => {
                    self.gateway.publish(Arc::new(Tables { phase: Phase::Drain, ..(*old).clone() }));
                }
                Change::Refuse(origin, refuse) => {
                    let phase = if *refuse { Phase::Drain } else { Phase::Serve };
                    let host = self.clients() + *origin;
                    self.hosts[host].publish(net::host(&scenario, Who::Origin(*origin), phase));
                }
            }
            self.seats.iter_mut().for_each(|seat| seat.dirty = true);
        }
    }

    fn deliver(&mut self, to: Target, packet: &[u8]) {
        let seat = &mut self.seats[to.node];
        match seat.core.arena().copy_from(packet) {
            Some(frame) => {
                seat.incoming[to.port].borrow_mut().push(frame);
                seat.dirty = true;
            }
            None => self.no_frame += 1,
        }
    }

    /// Turns one core until it has nothing more to do now.
    fn run(&mut self, index: usize) {
        self.seats[index].dirty = false;
        for turn in 0.. {
            let seat = &mut self.seats[index];
            seat.core.turn(self.now);
            seat.turns += 1;
            let waiting = seat.incoming.iter().any(|lane| !lane.borrow().is_empty());
            seat.deadline = seat.core.next_deadline();
            let due = seat.deadline.is_some_and(|at| at <= self.now);
            let busy = waiting || due || seat.core.host().exec.has_runnable();
            self.transmit(index);
            if !busy {
                break;
            }
            if turn == TURNS_AT_ONCE {
                self.seats[index].deadline = Some(self.now + POLL);
                break;
            }
        }
        for seat in &mut self.seats {
            seat.dirty |= seat.links.borrow_mut().has_mail();
        }
    }

    /// Puts what a core has sent on the wires.
    fn transmit(&mut self, index: usize) {
        for port in 0..self.seats[index].outgoing.len() {
            let lane = Rc::clone(&self.seats[index].outgoing[port]);
            let who = self.seats[index].who;
            for frame in lane.borrow_mut().drain(..) {
                self.carry(who, port, frame.data());
            }
        }
    }

    fn carry(&mut self, from: Who, port: usize, packet: &[u8]) {
        let (cores, clients) = (self.shared.scenario.cores, self.clients());
        let host = |who| match who {
            Who::Client(n) => n,
            Who::Origin(n) => clients + n,
            Who::Gateway => 0,
        };
        let is_for = |who: Who, link: usize| packet[0] & 1 == 1 || packet[..6] == who.mac(link).0;
        if from != Who::Gateway {
            let link = from.links()[0];
            if is_for(Who::Gateway, link) {
                let to = Target { node: self.gateway_core(packet), port: link };
                self.wires.send(self.now, 2 * host(from), to, packet);
            }
            return;
        }
        let origins = self.shared.scenario.origin_lanes.len();
        let on_link: &[Who] = &match port {
            0 => (0..clients).map(Who::Client).collect::<Vec<_>>(),
            _ => (0..origins).map(Who::Origin).collect(),
        };
        for who in on_link.iter().filter(|who| is_for(**who, port)) {
            let to = Target { node: cores + host(*who), port: 0 };
            self.wires.send(self.now, 2 * host(*who) + 1, to, packet);
        }
    }

    /// The core of the gateway that receives this packet.
    fn gateway_core(&mut self, packet: &[u8]) -> usize {
        let cores = self.shared.scenario.cores as u64;
        if cores == 1 {
            return 0;
        }
        if !self.shared.scenario.rss {
            return self.rss.below(cores) as usize;
        }
        // Source, destination and ports of IPv4 without options; more of IPv6's header, which is as good.
        let (from, to) = if packet[12..14] == [0x08, 0x00] { (26, 38) } else { (22, 58) };
        let flow = packet.get(from..to).unwrap_or_default();
        let hash = flow.iter().fold(self.shared.scenario.seed, |hash, octet| mix(hash ^ u64::from(*octet)));
        (hash % cores) as usize
    }
}

fn secrets(dice: &mut Dice) -> Secrets {
    let mut pair = || (dice.roll(), dice.roll());
    Secrets { flows: pair(), sequence: pair(), cookies: pair() }
}

/// What tells one core from another.
struct Place {
    who: Who,
    core: (usize, usize),
    links: Links,
    secrets: Secrets,
    seed: u64,
}

type Finish = Box<dyn FnOnce(Box<dyn Core>) -> Seat>;

impl Place {
    fn prepare(
        self,
        scenario: &Scenario,
        stack: &Stack,
        reader: tidegate_dataplane::sync::snapshot::Reader<Tables>,
    ) -> (Spec, Finish) {
        let mut ports = Vec::new();
        let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
        for link in self.who.links() {
            let (rx, tx) = (Lane::default(), Lane::default());
            let port = MemoryPort::new(Rc::clone(&rx), Rc::clone(&tx), LANE_DEPTH);
            let info = PortInfo {
                mac: self.who.mac(*link),
                mtu: scenario.mtu[*link],
                queues: scenario.cores as u16,
                capabilities: Capabilities::default(),
                driver: "memory".into(),
            };
            ports.push((Port::Memory(port), info));
            incoming.push(rx);
            outgoing.push(tx);
        }
        let stats = Arc::new(CoreStats::new(ports.len()));
        let links = Rc::new(RefCell::new(self.links));
        let mtu = self.who.links().iter().map(|link| scenario.mtu[*link]).min().unwrap_or(1500);
        let spec = Spec {
            core: self.core.0,
            clock: CLOCK.with(Clock::clone),
            now: START,
            arena: Arena::new(stack.frames, 2048).expect("memory for frames"),
            ports,
            reader,
            links: Rc::clone(&links),
            waker: WAKER.with(Arc::clone),
            idle: Idle::Poll,
            tcp: tcp_options(stack, self.core, mtu),
            secrets: self.secrets,
            stats: Arc::clone(&stats),
            tcp_stats: Arc::default(),
            seed: self.seed,
        };
        let who = self.who;
        let seat = move |core: Box<dyn Core>| Seat {
            who,
            permanent: if who == Who::Gateway { core.host().exec.live_tasks() } else { 0 },
            core,
            stats,
            http: None,
            incoming,
            outgoing,
            links,
            deadline: None,
            dirty: true,
            turns: 0,
        };
        (spec, Box::new(seat))
    }
}

fn tcp_options(stack: &Stack, core: (usize, usize), mtu: u16) -> TcpOptions {
    TcpOptions {
        core,
        mtu,
        max_connections: 256,
        // Without room for half-open connections each SYN is answered by a cookie, as under a flood.
        half_open_limit: if stack.cookies { 0 } else { 32 },
        keepalive: Some(Duration::from_secs(20)),
        keepalive_interval: Duration::from_secs(5),
        keepalive_probes: 3,
        user_timeout: Duration::from_secs(30),
        fin_wait_timeout: Duration::from_secs(10),
        time_wait: Duration::from_secs(20),
        dehydrate_after: stack.dehydrate_after,
        receive_buffer: stack.receive_buffer,
        send_buffer: stack.send_buffer,
        congestion: if stack.reno { Congestion::Reno } else { Congestion::Cubic },
        ..TcpOptions::default()
    }
}
