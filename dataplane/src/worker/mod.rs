//! The poll loop of one core: a flat list of stages, run to completion over each batch.
//!
//! Reading order: [`Worker::turn`], then the stages it names in their own modules. Nothing here decides anything about a packet; it
//! only says what looks at it next. A stage never calls another.

pub mod handover; // packets that landed on the wrong core
mod desk; // what the management thread asks
mod host; // what the kernel gets and sends
pub mod idle; // what a core does without work
mod meter; // where the cycles went
mod owner; // whose flow is it
mod ports; // a core's ports
mod run; // until told to stop
mod segments; // between the pipeline and TCP
mod watched; // the pipeline when somebody watches
mod way; // the stages in packet order

use std::{cell::RefCell, rc::Rc, sync::Arc};

use crate::{
    batch::{Batch, Egress},
    clock::{Clock, Instant},
    frame::Arena,
    io::{
        Port, PortInfo,
        park::{SleepSet, Waker},
    },
    l2::{self, Turn},
    l3,
    l4::{Secrets, Stats as TcpStats, TcpHandle, TcpOptions},
    l7::{
        app::{App, Host},
        exec::Executor,
    },
    see::Watches,
    stats::{CoreStats, Stage},
    sync::snapshot::Reader,
    tables::{Current, Generation, Phase, Tables},
    verdict::DropReason,
};
use handover::{Links, Notice};
pub use host::HostLink;
use host::Hosts;
use idle::{Idle, Idler};
use meter::Meter;
use ports::Ports;
use way::{Course, Way};

/// Packets this host may originate in one turn.
const EGRESS: usize = 4096;
/// Session polls in one turn, unless said otherwise: bounds how long packets wait while sessions run.
const POLLS: usize = 256;

/// What a worker is made from. All of it belongs to one core.
pub struct Spec {
    /// Number of this core, from 0.
    pub core: usize,
    /// The process's clock.
    pub clock: Clock,
    /// Time at the start.
    pub now: Instant,
    /// Frame memory; the ports are attached to it.
    pub arena: Arena,
    /// Ports, by `PortId`.
    pub ports: Vec<(Port, PortInfo)>,
    /// Tables.
    pub reader: Reader<Tables>,
    /// Rings to the other cores. Outlives the worker, so that a restarted one finds them.
    pub links: Rc<RefCell<Links>>,
    /// Wakes this core.
    pub waker: Arc<Waker>,
    /// Waiting for packets.
    pub idle: Idle,
    /// TCP settings of this core.
    pub tcp: TcpOptions,
    /// Keys of the process.
    pub secrets: Secrets,
    /// Counters of the core.
    pub stats: Arc<CoreStats>,
    /// Counters of its TCP.
    pub tcp_stats: Arc<TcpStats>,
    /// Random, per core: for what needs no secrecy but must differ (retransmission jitter, ICMP identifiers).
    pub seed: u64,
}

/// One core.
pub struct Worker<A> {
    app: A,
    host: Host,
    // The executor goes before what its tasks use, and the arena last: fields drop in order.
    ports: Ports,
    hosts: Hosts,
    batch: Batch,
    egress: Egress,
    reader: Reader<Tables>,
    link: l2::State,
    net: l3::State,
    links: Rc<RefCell<Links>>,
    watches: Watches,
    stats: Arc<CoreStats>,
    meter: Meter,
    clock: Clock,
    idler: Idler,
    polls: usize,
    joinery: segments::Joinery,
    arena: Arena,
}

impl<A: App> Worker<A> {
    /// A worker at rest, running `app` on its connections.
    pub fn new(spec: Spec, app: impl FnOnce(&Host) -> A) -> Self {
        let host = Host {
            core: spec.core,
            exec: Executor::new(spec.now),
            tcp: TcpHandle::new(spec.tcp, &spec.secrets, spec.tcp_stats, spec.now),
            tables: Current::new(&spec.reader),
        };
        let ports = Ports::new(spec.ports, Arc::clone(&spec.stats));
        let idler = Idler::new(spec.idle, spec.waker, ports.wait_fds().map(SleepSet::new));
        let mut link = l2::State::new(l2::Limits::default(), spec.seed);
        let mut net = l3::State::new();
        if spec.core == 0 {
            link.speak();
            net.speak(spec.seed);
        }
        link.adopt(host.tables.get().l3.link());
        net.adopt(&host.tables.get().l3);
        spec.stats.generation.set(spec.reader.generation());
        Self {
            app: app(&host),
            host,
            ports,
            hosts: Hosts::default(),
            batch: Batch::new(),
            egress: Egress::new(EGRESS),
            reader: spec.reader,
            link,
            net,
            links: spec.links,
            watches: Watches::default(),
            meter: Meter::new(spec.clock.clone(), Arc::clone(&spec.stats)),
            stats: spec.stats,
            clock: spec.clock,
            idler,
            polls: POLLS,
            joinery: segments::Joinery::default(),
            arena: spec.arena,
        }
    }

    /// Has `polls` session polls in one turn. What they write leaves at the end of the turn: few mean that the other end gets work
    /// early, at the price of more turns and more system calls.
    #[must_use]
    pub fn with_polls(mut self, polls: usize) -> Self {
        self.polls = polls;
        self
    }

    /// What the sessions of this core use.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<CoreStats> {
        &self.stats
    }

    /// The application.
    pub fn app(&mut self) -> &mut A {
        &mut self.app
    }

    /// The frame memory.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// One turn at the time `now`: everything that arrived goes all its way. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.refresh();
        let generation = self.host.tables.get();
        self.host.tcp.set_now(now);
        let mut work = 0;
        for port in 0..self.ports.len() {
            self.meter.skip();
            self.ports.rx(port, &self.arena, &mut self.batch);
            if !self.batch.is_empty() {
                work += self.batch.len();
                self.meter.lap(Stage::Rx, self.batch.len());
                match self.hosts.behind(port) {
                    None => self.incoming(&generation, now),
                    // It is whole, and no stage looks at it.
                    Some(interface) => self.travel(&generation, now, Course::Kernel(interface)),
                }
            }
        }
        work += self.mail(&generation, now);
        work += self.orders(&generation, now);
        work += self.timers(&generation, now);
        work += self.sessions(&generation);
        work += self.outgoing(&generation, now);
        self.meter.skip();
        self.ports.flush(&self.arena);
        self.links.borrow_mut().flush();
        if work > 0 {
            self.meter.lap(Stage::Tx, 0);
            while let Some(conflict) = self.link.take_conflict() {
                self.links.borrow_mut().notify(Notice::Conflict(conflict));
            }
            while let Some(disagreement) = self.net.take_disagreement() {
                self.links.borrow_mut().notify(Notice::Disagreement(disagreement));
            }
        }
        self.stats.free_frames.set(self.arena.available() as u64);
        self.meter.turn(work > 0);
        work > 0
    }

    /// The next time at which [`Worker::turn`] has something to do without new packets; `None` if never.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.host.exec.next_deadline(),
            self.host.tcp.next_deadline(),
            self.link.next_deadline(),
            self.net.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Takes the newest tables. One load when they are the same.
    #[inline]
    fn refresh(&mut self) {
        if self.reader.refresh() {
            let before = self.host.tables.get();
            self.host.tables.replace(&self.reader);
            let tables = self.host.tables.get();
            tables.l3.policies().begin_counting(before.l3.policies(), &self.stats);
            self.link.adopt(tables.l3.link());
            self.net.adopt(&tables.l3);
            self.app.tables_changed(&self.host);
            self.stats.generation.set(self.reader.generation());
        }
        let Self { host, net, link, .. } = self;
        l3::heed(&host.tables.get().l3, net, link);
    }

    /// A batch from a port: all stages, in packet order.
    fn incoming(&mut self, generation: &Generation, now: Instant) {
        self.travel(generation, now, Course::Wire);
    }

    /// Takes the batch through its stages, and to the ports.
    #[inline(always)]
    fn travel(&mut self, generation: &Generation, now: Instant, course: Course) {
        let Self {
            batch,
            meter,
            clock,
            arena,
            egress,
            stats,
            link,
            net,
            host,
            hosts,
            ports,
            links,
            joinery,
            watches,
            ..
        } = self;
        let n = batch.len();
        let mut way = Way {
            generation,
            core: host.core,
            now,
            clock,
            arena,
            egress,
            stats,
            link,
            net,
            links: &mut links.borrow_mut(),
            hosts,
            tcp: &host.tcp,
            joinery,
            capabilities: ports.common_capabilities(),
        };
        if !watches.is_empty() {
            return watched::travel(&mut way, course, batch, meter, ports, watches);
        }
        way.go(course, batch, meter);
        ports.finish(arena, batch, &mut ());
        meter.lap(Stage::Tx, n);
    }

    /// Packets that other cores handed over: neighbour messages are learnt, segments go to TCP.
    fn mail(&mut self, generation: &Generation, now: Instant) -> usize {
        let lost = self.links.borrow_mut().receive(&self.arena, &mut self.batch);
        self.stats.drops(DropReason::NoFrame).add(lost);
        let n = self.batch.len();
        if n == 0 {
            return 0;
        }
        self.travel(generation, now, Course::Mail);
        n
    }

    fn timers(&mut self, generation: &Generation, now: Instant) -> usize {
        let due = self.next_deadline().is_some_and(|at| at <= now);
        self.host.exec.set_now(now);
        if due {
            self.meter.skip();
            let Self { arena, egress, stats, link, net, watches, .. } = self;
            let mut turn = Turn { now, arena, egress, stats };
            l3::tick(&generation.l3, net, link, &mut turn);
            while let Some((frame, meta)) = l3::undelivered(&generation.l3, net, link, &mut turn) {
                watches.lost(generation.l3.link(), DropReason::NeighborUnreachable, &frame, &meta, now);
            }
            self.meter.lap(Stage::Timers, 1);
        }
        usize::from(due)
    }

    /// Starts sessions for new connections and runs those that can go on.
    fn sessions(&mut self, generation: &Generation) -> usize {
        let mut accepted = 0;
        while let Some(stream) = self.host.tcp.accept() {
            accepted += 1;
            if generation.phase == Phase::Serve {
                self.app.accept(&self.host, stream);
            }
        }
        if !self.host.exec.has_runnable() {
            return accepted;
        }
        self.meter.skip();
        let polls = self.host.exec.run(self.polls);
        self.meter.lap(Stage::Tasks, polls);
        accepted + polls
    }

    /// What this host wants to send: segments of TCP, and what the stages have made in this turn.
    fn outgoing(&mut self, generation: &Generation, now: Instant) -> usize {
        self.meter.skip();
        let capabilities = self.ports.common_capabilities();
        let mut sink = segments::Sink::new(&self.arena, &mut self.egress, &mut self.joinery.scratch, capabilities);
        let segments = segments::output(&self.host.tcp, now, &mut sink);
        self.stats.drops(DropReason::NoFrame).add(sink.lost());
        if segments > 0 {
            self.meter.lap(Stage::TcpOutput, segments);
        }
        let mut sent = 0;
        while !self.egress.is_empty() {
            sent += self.egress.fill(&mut self.batch);
            self.travel(generation, now, Course::Own);
        }
        let (reason, refused) = self.egress.take_refused();
        self.stats.drops(reason).add(refused);
        sent
    }
}
