//! What a core knows about the stations on its links: one table for ARP and ND, with the states of RFC 4861 §7.3.2.
//!
//! An entry that was confirmed lately is used without a second look. After [`REACHABLE`] the next use starts a delay, then unicast
//! probes; an entry that nobody answers for is removed. Everything is bounded: entries, packets that wait, questions per entry.
//! When the table is full, the oldest entry that still waits for an answer gives way (it is the one least likely to get it), then one
//! that was confirmed long ago and not used since.

mod bounds; // of the table and of the questions
mod look; // at the table, without touching it
pub mod vigil; // gateways that share traffic

use core::{net::IpAddr, time::Duration};
use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    Adjacency, Header, News, Table, Turn, arp,
    bucket::Bucket,
    entries::{Bounds, Entries, Limits, NONE, Phase},
    pending::Pending,
    presence::{Announcer, Conflict},
    solicit,
    stations::Stations,
    table::StaticNeighbor,
};
use crate::{
    clock::Instant,
    frame::Frame,
    io::MacAddr,
    meta::{InterfaceId, Meta},
    verdict::{DropReason, Verdict},
};
use vigil::Vigil;

/// How long a confirmation is trusted (RFC 4861 §10, REACHABLE_TIME).
pub const REACHABLE: Duration = Duration::from_secs(30);
/// How long a use without confirmation may go on before the neighbour is asked (DELAY_FIRST_PROBE_TIME).
pub const DELAY: Duration = Duration::from_secs(5);
/// Time between two questions (RETRANS_TIMER).
pub const RETRANSMIT: Duration = Duration::from_secs(1);
/// Questions before a neighbour counts as unreachable (MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
pub const TRIES: u8 = 3;
/// Timers handled per turn: bounds the length of a turn.
const EXPIRIES_PER_TURN: usize = 64;

/// What a message says about a neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Where it came in.
    pub interface: InterfaceId,
    /// The neighbour.
    pub address: IpAddr,
    /// Its hardware address; `None` in an advertisement without that option.
    pub mac: Option<MacAddr>,
    /// It is an answer to a question.
    pub solicited: bool,
    /// It replaces a hardware address that differs (RFC 4861 §4.4, override flag).
    pub overrides: bool,
    /// It is reason to make an entry: the neighbour is about to speak to us.
    pub creates: bool,
}

/// A core's neighbours.
pub struct State {
    entries: Entries,
    /// Entry of each next hop that has a gateway: slot and serial.
    adjacent: Vec<(u32, u32)>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    pending: Pending,
    failed: Vec<(Frame, Meta)>,
    bounds: Bounds,
    /// About new neighbours, by interface.
    questions: Vec<Bucket>,
    /// When an address of ours was last defended, by interface.
    defended: Vec<Option<Instant>>,
    announcer: Announcer,
    vigil: Vigil,
    pub(super) stations: Stations,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").field("neighbors", &self.entries.len()).field("waiting", &self.pending.len()).finish()
    }
}

impl State {
    /// An empty table. `seed` should be random: it keeps a sender from choosing addresses that collide.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            entries: Entries::new(seed),
            adjacent: Vec::new(),
            timers: BinaryHeap::new(),
            pending: Pending::new(limits.waiting_per_neighbor, limits.waiting),
            failed: Vec::with_capacity(limits.waiting),
            bounds: Bounds::default(),
            questions: Vec::new(),
            defended: Vec::new(),
            announcer: Announcer::new(seed),
            vigil: Vigil::new(),
            stations: Stations::new(seed),
        }
    }

    /// Makes this the core that probes for and announces our addresses, and asks gateways whether they are there. To be called before
    /// the first [`State::adopt`].
    pub const fn speak(&mut self) {
        self.announcer.speak();
        self.vigil.speak();
    }

    /// Takes over a new generation of tables: static neighbours, our own addresses, next hops. What was learnt stays. To be called
    /// before the first packet of the generation.
    pub fn adopt(&mut self, table: &Table) {
        self.bound(table);
        for slot in 0..self.entries.slots() {
            let entry = &mut self.entries[slot];
            let (to, interface) = (entry.mac(), table.interface(entry.interface));
            let elsewhere = !entry.header.is_by(interface);
            entry.lead(interface, to);
            let same = |n: &StaticNeighbor| n.interface == entry.interface && n.address == entry.address;
            let is_unsaid = || entry.phase == Phase::Static && !table.neighbors().iter().any(same);
            if entry.live && (elsewhere || is_unsaid()) {
                self.give_up(slot);
            }
        }
        for neighbor in table.neighbors() {
            let found = self.entries.find(neighbor.interface, neighbor.address);
            let own = table.interface(neighbor.interface);
            let slot = found.unwrap_or_else(|| self.entries.insert(neighbor.interface, own, neighbor.address));
            self.entries.set_phase(slot, Phase::Static);
            self.entries[slot].lead(own, neighbor.mac);
            self.entries[slot].fresh_until = Instant::from_nanos(u64::MAX);
            if !self.entries[slot].waiting.is_empty() {
                // They leave with the next tick.
                self.schedule(slot, Instant::ZERO);
            }
        }
        self.adjacent.clear();
        self.adjacent.resize(table.adjacencies().len(), (NONE, 0));
        self.defended.resize(table.interfaces().len(), None);
        self.announcer.adopt(table);
        self.vigil.adopt(table);
        self.stations.adopt(table.bridges());
    }

    /// The way to a next hop that needs no second look: the fast path of a routed packet.
    #[inline]
    pub(super) fn fresh(&self, next_hop: u32, now: Instant) -> Option<&Header> {
        let (slot, serial) = *self.adjacent.get(next_hop as usize)?;
        let entry = self.entries.slot(slot)?;
        (entry.serial == serial && now < entry.fresh_until).then_some(&entry.header)
    }

    /// The way to a neighbour, by its address; `None` when it must be asked for. A use of an entry that is not fresh starts
    /// its confirmation.
    #[inline]
    pub(super) fn resolve(&mut self, next: &Adjacency, next_hop: u32, target: IpAddr, now: Instant) -> Option<&Header> {
        let slot = self.entries.find(next.interface, target)?;
        let entry = &mut self.entries[slot];
        if now >= entry.fresh_until {
            if entry.phase == Phase::Incomplete {
                return None;
            }
            if matches!(entry.phase, Phase::Reachable | Phase::Stale) {
                entry.touched = now;
                entry.fresh_until = now + DELAY;
                self.entries.set_phase(slot, Phase::Delay);
                self.schedule(slot, now + DELAY);
            }
        }
        let entry = &self.entries[slot];
        if next.gateway.is_some()
            && let Some(cached) = self.adjacent.get_mut(next_hop as usize)
        {
            *cached = (slot, entry.serial);
        }
        Some(&entry.header)
    }

    /// The entry of a neighbour that is not known, for packets to wait at; it is asked for when nobody has. `Err` says why they are lost.
    pub(super) fn awaited(
        &mut self,
        table: &Table,
        turn: &mut Turn<'_>,
        interface: InterfaceId,
        target: IpAddr,
    ) -> Result<u32, DropReason> {
        if let Some(slot) = self.entries.find(interface, target) {
            return Ok(slot);
        }
        if !self.may_ask(interface, turn.now) {
            return Err(DropReason::NeighborRateLimited);
        }
        // Looked for as rarely as others are asked.
        if let Some(reason) = table.is_nobody_else(interface, target) {
            return Err(reason);
        }
        let slot = self.create(table, turn, interface, target).ok_or(DropReason::NeighborTableFull)?;
        self.ask(table, turn, slot);
        Ok(slot)
    }

    /// Lets a packet wait at the entry of its next hop. Returns why it was lost, if so; an older one that gives way to it is counted.
    pub(super) fn wait(&mut self, turn: &mut Turn<'_>, slot: u32, frame: Frame, meta: Meta) -> Option<DropReason> {
        let entry = &mut self.entries[slot];
        match self.pending.push(&mut entry.waiting, frame, meta) {
            Ok(None) => None,
            Ok(Some(_older)) => {
                turn.stats.drops(DropReason::NeighborQueueFull).add(1);
                None
            }
            Err(_) => Some(DropReason::NeighborQueueFull),
        }
    }

    /// Takes a claim into account (RFC 826; RFC 4861 §7.2.3, §7.2.5). `false` when it concerns nobody we know.
    pub fn learn(&mut self, table: &Table, turn: &mut Turn<'_>, claim: Claim) -> bool {
        self.vigil.hear(&claim, turn.now);
        let Some(slot) = self.entries.find(claim.interface, claim.address) else {
            let answers = claim.solicited && self.vigil.watches(claim.interface, claim.address);
            let Some(mac) = claim.mac.filter(|_| claim.creates || answers) else { return false };
            let Some(slot) = self.create(table, turn, claim.interface, claim.address) else { return false };
            self.resolved(slot, mac, if answers { Phase::Reachable } else { Phase::Stale }, turn);
            return true;
        };
        let entry = &mut self.entries[slot];
        let changed = claim.mac.is_some_and(|mac| mac != entry.mac());
        match (entry.phase, claim.mac) {
            (Phase::Static, _) => {}
            (Phase::Incomplete, None) => return false,
            (Phase::Incomplete, Some(mac)) => {
                self.resolved(slot, mac, if claim.solicited { Phase::Reachable } else { Phase::Stale }, turn);
            }
            (phase, _) if changed && !claim.overrides => {
                // Two stations claim the address, and this one does not insist: doubt the entry, keep it.
                if phase == Phase::Reachable {
                    self.entries.set_phase(slot, Phase::Stale);
                    self.entries[slot].fresh_until = Instant::ZERO;
                }
            }
            (phase, mac) => {
                let mac = mac.unwrap_or(entry.mac());
                // An answer with another hardware address is believed for good only if we have just asked.
                if claim.solicited && (!changed || phase == Phase::Probe) {
                    self.resolved(slot, mac, Phase::Reachable, turn);
                } else if changed {
                    self.resolved(slot, mac, Phase::Stale, turn);
                }
            }
        }
        true
    }

    /// Does what is due: asks again, confirms, gives up. Packets whose neighbour did not answer are then in [`State::take_failed`].
    pub fn tick(&mut self, table: &Table, turn: &mut Turn<'_>) {
        self.announcer.tick(table, turn);
        self.watch(table, turn);
        self.stations.sweep(table.bridges(), turn.now);
        turn.stats.bridge_stations.set(self.stations.len() as u64);
        for _ in 0..EXPIRIES_PER_TURN {
            let Some(&Reverse((at, slot))) = self.timers.peek() else { return };
            if at > turn.now {
                return;
            }
            self.timers.pop();
            let entry = &mut self.entries[slot];
            // A timer that was overtaken by an earlier one, or whose entry has gone.
            if entry.timer != Some(at) {
                continue;
            }
            entry.timer = None;
            if !entry.live {
                continue;
            }
            match entry.phase {
                Phase::Static => self.release(slot, turn),
                Phase::Reachable | Phase::Stale => {}
                _ if entry.deadline > turn.now => {
                    let deadline = entry.deadline;
                    self.schedule(slot, deadline);
                }
                Phase::Incomplete | Phase::Probe if entry.tries >= TRIES => self.give_up(slot),
                Phase::Delay => {
                    entry.tries = 0;
                    self.entries.set_phase(slot, Phase::Probe);
                    self.ask(table, turn, slot);
                }
                Phase::Incomplete | Phase::Probe => self.ask(table, turn, slot),
            }
        }
    }

    /// When [`State::tick`] next has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let aging = self.timers.peek().map(|Reverse((at, _))| *at);
        let others = [self.announcer.next_deadline(), self.vigil.next_deadline(), self.stations.next_deadline()];
        others.into_iter().chain([aging]).flatten().min()
    }

    /// A conflict about one of our addresses, for the management thread.
    pub fn take_conflict(&mut self) -> Option<Conflict> {
        self.announcer.take_conflict()
    }

    /// Another station uses an address of ours: the management thread will hear of it, and one in use is defended. RFC 4862 does not ask
    /// for that as RFC 5227 does; but who has heard the other station would speak to it from now on.
    pub(crate) fn contest(&mut self, table: &Table, conflict: Conflict, turn: &mut Turn<'_>) {
        let Conflict { interface: id, address, .. } = conflict;
        let interface = table.interface(id);
        let tentative = interface.is_tentative(address);
        self.announcer.conflict(conflict, tentative, turn.now);
        if !tentative && self.may_defend(id, turn.now) {
            solicit::announce(id, interface, address, turn);
        }
    }

    /// A station that was learnt here, for the other cores.
    pub(crate) fn take_news(&mut self) -> Option<News> {
        self.stations.take_news()
    }

    /// A packet that waited for a neighbour that did not answer.
    pub fn take_failed(&mut self) -> Option<(Frame, Meta)> {
        self.failed.pop()
    }

    /// Packets that wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether one of our addresses on `interface` may be defended now; if so, the next time is [`arp::DEFEND_INTERVAL`] away.
    fn may_defend(&mut self, interface: InterfaceId, now: Instant) -> bool {
        let Some(last) = self.defended.get_mut(interface.index()) else { return false };
        let due = last.is_none_or(|at| now - at >= arp::DEFEND_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }

    fn resolved(&mut self, slot: u32, mac: MacAddr, phase: Phase, turn: &mut Turn<'_>) {
        self.entries.set_phase(slot, phase);
        let entry = &mut self.entries[slot];
        entry.header.lead_to(mac);
        entry.touched = turn.now;
        entry.fresh_until = if phase == Phase::Reachable { turn.now + REACHABLE } else { Instant::ZERO };
        self.release(slot, turn);
    }

    /// Sends what has waited for a neighbour that is now known.
    fn release(&mut self, slot: u32, turn: &mut Turn<'_>) {
        let entry = &mut self.entries[slot];
        while let Some((mut frame, mut meta)) = self.pending.pop(&mut entry.waiting) {
            match entry.header.carry(&mut frame, &mut meta) {
                Verdict::Drop(reason) => turn.stats.drops(reason).add(1),
                exit => turn.egress.push_link(frame, exit, meta),
            }
        }
    }

    fn ask(&mut self, table: &Table, turn: &mut Turn<'_>, slot: u32) {
        let entry = &mut self.entries[slot];
        let known = (entry.phase == Phase::Probe).then(|| entry.mac());
        entry.tries += 1;
        if known.is_some() {
            entry.fresh_until = turn.now + RETRANSMIT;
        }
        let (interface, address) = (entry.interface, entry.address);
        // A question that could not be sent counts as asked: the next one comes with the timer.
        solicit::ask(interface, table.interface(interface), address, known, turn);
        self.schedule(slot, turn.now + RETRANSMIT);
    }

    /// Removes an entry; what waited for it has failed.
    fn give_up(&mut self, slot: u32) {
        let entry = &mut self.entries[slot];
        while let Some(packet) = self.pending.pop(&mut entry.waiting) {
            self.failed.push(packet);
        }
        self.entries.remove(slot);
    }

    fn schedule(&mut self, slot: u32, at: Instant) {
        let entry = &mut self.entries[slot];
        entry.deadline = at;
        // A timer that fires too early finds the deadline moved and comes back, so only an earlier one is new.
        if entry.timer.is_none_or(|timer| at < timer) {
            entry.timer = Some(at);
            self.timers.push(Reverse((at, slot)));
        }
    }
}
