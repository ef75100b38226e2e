//! The pipeline when somebody watches: the same stages over the same batches, with a look at them in between.
//!
//! A packet that a trace follows goes its way alone, so that what a stage spent was spent on it and what a stage made was made for
//! it. The packets before it go first, those behind it after: none overtakes another.

use super::{
    meter::Meter,
    owner,
    ports::Ports,
    segments,
    way::{Course, Probe, Way},
};
use crate::{
    batch::{Batch, Slot},
    clock::{Clock, Instant},
    frame::Frame,
    l2,
    l4::TcpHandle,
    meta::{Flags, Meta, Network},
    see::{Head, Origin, Record, Step, Watches, record::Made},
    stats::Stage,
    tables::Tables,
    verdict::{DropReason, Verdict},
};

/// Takes a batch along its course and to the ports, in the sight of `watches`.
#[cold]
#[inline(never)]
pub(super) fn travel(
    way: &mut Way<'_>,
    course: Course,
    batch: &mut Batch,
    meter: &mut Meter,
    ports: &mut Ports,
    watches: &mut Watches,
) {
    if matches!(course, Course::Wire | Course::Kernel(_)) {
        watches.received(batch, way.now);
    }
    if !watches.trace() {
        way.go(course, batch, meter);
        return leave(way, batch, meter, ports, watches);
    }
    let mut passing = Batch::new();
    for slot in batch.drain() {
        let followers = followers(watches, &slot, way);
        if followers == 0 {
            passing.push_slot(slot);
            continue;
        }
        if !passing.is_empty() {
            way.go(course, &mut passing, meter);
            leave(way, &mut passing, meter, ports, watches);
        }
        let mut record = Record::empty();
        passing.push_slot(slot);
        let made = way.egress.len();
        begin(&mut record, way, course, &passing);
        let mut follower = Follower { notes: Notes::new(&mut record, way.clock), meter };
        way.go(course, &mut passing, &mut follower);
        conclude(&mut record, way, &passing, made);
        watches.followed(followers, &record);
        leave(way, &mut passing, meter, ports, watches);
    }
    if !passing.is_empty() {
        way.go(course, &mut passing, meter);
        leave(way, &mut passing, meter, ports, watches);
    }
}

/// Tells what would become of a packet, on copies of everything that a stage may write to.
pub(super) fn rehearse(way: &mut Way<'_>, packet: &[u8], course: Course, meta: Meta, record: &mut Record) {
    let Some(frame) = way.arena.copy_from(packet) else { return };
    let mut batch = Batch::new();
    batch.push_slot(Slot { frame: Some(frame), meta, verdict: Verdict::Continue });
    begin(record, way, course, &batch);
    let mut actor = Actor { notes: Notes::new(record, way.clock) };
    way.go(course, &mut batch, &mut actor);
    conclude(record, way, &batch, 0);
}

fn followers(watches: &mut Watches, slot: &Slot, way: &Way<'_>) -> u32 {
    slot.frame.as_ref().map_or(0, |frame| watches.followers(frame, bare(slot), way.now))
}

/// The network of a packet of this host that has no Ethernet header yet.
fn bare(slot: &Slot) -> Option<Network> {
    let headless =
        slot.verdict == Verdict::Continue && slot.meta.l3 == 0 && slot.meta.flags.contains(Flags::ORIGINATED);
    (headless && matches!(slot.meta.network, Network::Ipv4 | Network::Ipv6)).then_some(slot.meta.network)
}

fn leave(way: &mut Way<'_>, batch: &mut Batch, meter: &mut Meter, ports: &mut Ports, watches: &mut Watches) {
    let n = batch.len();
    let links = way.generation.l3.link();
    watches.leaving(links, batch, way.now);
    ports.finish(way.arena, batch, &mut |reason: DropReason, frame: &Frame, meta: &Meta| {
        watches.lost(links, reason, frame, meta, way.now);
    });
    meter.lap(Stage::Tx, n);
}

fn begin(record: &mut Record, way: &Way<'_>, course: Course, batch: &Batch) {
    let Some(slot) = batch.slots().first() else { return };
    record.at = way.now;
    record.core = way.core;
    record.generation = way.generation.number;
    record.tables = Some(way.generation.tables.clone());
    record.origin = match course {
        Course::Wire => Origin::Wire,
        Course::Mail => Origin::Core,
        Course::Own => Origin::Host,
        Course::Kernel(_) => Origin::Kernel,
    };
    record.port = slot.meta.port;
    record.meta = slot.meta;
    record.head = slot.frame.as_ref().map_or(Head::NONE, |frame| Head::of(frame.data()));
    record.bare = bare(slot).is_some();
    (record.stood, record.verdict) = (slot.verdict, slot.verdict);
}

/// What is known only when all stages have passed: the neighbour, the owner, what was made.
fn conclude(record: &mut Record, way: &Way<'_>, batch: &Batch, made: usize) {
    let Some(slot) = batch.slots().first() else { return };
    record.verdict = slot.verdict;
    let routed = record.steps.iter().rfind(|step| step.stage == Stage::L3Route).map(|step| (step.meta, step.verdict));
    if let Some((meta, Verdict::Continue)) = routed {
        let gateway = way.generation.l3.link().adjacencies().get(meta.next_hop as usize).and_then(|next| next.gateway);
        let target = gateway.or_else(|| record.routed_to());
        record.target = target;
        record.neighbor = target.and_then(|target| way.link.neighbor(meta.out, target));
    }
    let by_bridge = |step: &Step| step.stage == Stage::Bridge && matches!(step.verdict, Verdict::Transmit(_));
    if record.steps.iter().any(by_bridge)
        && let Some(frame) = &slot.frame
    {
        record.station_known = l2::bridge::knows(way.generation.l3.link(), way.link, slot.meta.out, frame, way.now);
    }
    let handed = record.steps.iter().any(|step| step.stage == Stage::Handover && step.verdict == Verdict::Consumed);
    if handed && let Some(frame) = &slot.frame {
        record.handed_to = owner::owner(frame, &slot.meta, way.links.cores());
    }
    for (frame, bare, exit) in way.egress.waiting(made) {
        let network = bare.unwrap_or(Network::Other);
        let port = if let Verdict::Transmit(port) = exit { Some(port) } else { None };
        if record.made.try_push(Made { head: Head::of(frame.data()), network, port }).is_err() {
            break;
        }
    }
}

/// Writes a record.
struct Notes<'a> {
    record: &'a mut Record,
    clock: &'a Clock,
    last: u64,
    head: Head,
}

impl<'a> Notes<'a> {
    fn new(record: &'a mut Record, clock: &'a Clock) -> Self {
        let head = record.head;
        Self { last: clock.cycles(), record, clock, head }
    }

    fn after(&mut self, stage: Stage, batch: &Batch) {
        let cycles = self.clock.cycles().saturating_sub(self.last);
        if let Some(slot) = batch.slots().first() {
            let head = slot.frame.as_ref().map(|frame| Head::of(frame.data())).filter(|head| *head != self.head);
            self.head = head.unwrap_or(self.head);
            // There is room for every stage.
            let _ = self.record.steps.try_push(Step { stage, cycles, verdict: slot.verdict, meta: slot.meta, head });
        }
        self.last = self.clock.cycles();
    }

    fn segment(&mut self, tcp: &TcpHandle, now: Instant, tables: &Tables, batch: &Batch) {
        if let Some(Slot { frame: Some(frame), meta, verdict: Verdict::Deliver }) = batch.slots().first()
            && segments::is_segment(meta)
        {
            self.record.segment = Some(segments::fate(tcp, now, tables, frame, meta));
        }
    }
}

/// Follows a real packet.
struct Follower<'a> {
    notes: Notes<'a>,
    meter: &'a mut Meter,
}

impl Probe for Follower<'_> {
    fn after(&mut self, stage: Stage, packets: usize, batch: &Batch) {
        self.meter.lap(stage, packets);
        self.notes.after(stage, batch);
        self.meter.skip();
    }

    fn segments(&mut self, tcp: &TcpHandle, now: Instant, tables: &Tables, batch: &mut Batch) -> bool {
        self.notes.segment(tcp, now, tables, batch);
        true
    }
}

/// Follows a packet that does not exist.
struct Actor<'a> {
    notes: Notes<'a>,
}

impl Probe for Actor<'_> {
    fn after(&mut self, stage: Stage, _: usize, batch: &Batch) {
        self.notes.after(stage, batch);
    }

    fn segments(&mut self, tcp: &TcpHandle, now: Instant, tables: &Tables, batch: &mut Batch) -> bool {
        self.notes.segment(tcp, now, tables, batch);
        segments::rehearse(tcp, now, tables, batch);
        false
    }
}
