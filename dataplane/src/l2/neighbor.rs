//! What a core knows about the stations on its links: one table for ARP and ND, with the states of RFC 4861 §7.3.2.
//!
//! An entry that was confirmed lately is used without a second look. After [`REACHABLE`] the next use starts a delay, then unicast
//! probes; an entry that nobody answers for is removed. Everything is bounded: entries, packets that wait, questions per entry.
//! When the table is full, the oldest entry that still waits for an answer gives way (it is the one least likely to get it), then one
//! that was confirmed long ago and not used since.

use core::{hash::BuildHasher, net::IpAddr, time::Duration};
use std::{cmp::Reverse, collections::BinaryHeap};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::{
    Adjacency, Table, Turn, arp,
    output::finish,
    pending::{Pending, Queue},
    solicit,
};
use crate::{
    clock::Instant,
    frame::Frame,
    io::MacAddr,
    meta::{Meta, PortId},
    verdict::{DropReason, Verdict},
};

/// How long a confirmation is trusted (RFC 4861 §10, REACHABLE_TIME).
pub const REACHABLE: Duration = Duration::from_secs(30);
/// How long a use without confirmation may go on before the neighbour is asked (DELAY_FIRST_PROBE_TIME).
pub const DELAY: Duration = Duration::from_secs(5);
/// Time between two questions (RETRANS_TIMER).
pub const RETRANSMIT: Duration = Duration::from_secs(1);
/// Questions before a neighbour counts as unreachable (MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
pub const TRIES: u8 = 3;
/// Entries looked at to find one that can give way: bounds the cost of a packet to a new neighbour.
const SWEEP: usize = 64;
/// Timers handled per turn: bounds the length of a turn.
const EXPIRIES_PER_TURN: usize = 64;
const NONE: u32 = u32::MAX;

/// Bounds of one core's neighbour table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries beside the static ones. 100 bytes each.
    pub neighbors: usize,
    /// Packets that wait for one neighbour.
    pub waiting_per_neighbor: usize,
    /// Packets that wait in total. Each holds a frame.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { neighbors: 4096, waiting_per_neighbor: 4, waiting: 512 }
    }
}

/// Where an entry stands (RFC 4861 §7.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Asked for, not answered yet.
    Incomplete,
    /// Confirmed within the last [`REACHABLE`].
    Reachable,
    /// Known, not confirmed lately and not used since.
    Stale,
    /// In use without confirmation; asked for when [`DELAY`] has passed.
    Delay,
    /// In use and being asked for.
    Probe,
    /// Given by the operator.
    Static,
}

/// What a message says about a neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Where it came in.
    pub port: PortId,
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

/// An entry, for display.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// The port it is on.
    pub port: PortId,
    /// Its IP address.
    pub address: IpAddr,
    /// Its hardware address; zero while unknown.
    pub mac: MacAddr,
    /// Where the entry stands.
    pub phase: Phase,
}

struct Entry {
    /// Destination and source address, as the header begins.
    addresses: [u8; 12],
    /// Tells a slot's present entry from earlier ones.
    serial: u32,
    /// Until then the entry is used without a second look.
    fresh_until: Instant,
    address: IpAddr,
    port: PortId,
    phase: Phase,
    tries: u8,
    /// A timer of this slot is in the heap.
    scheduled: bool,
    live: bool,
    /// When its phase asks for something to be done.
    deadline: Instant,
    /// When it was last confirmed, or used after the confirmation had run out.
    touched: Instant,
    waiting: Queue,
    /// Neighbours in the list of incomplete entries, oldest first.
    older: u32,
    newer: u32,
}

impl Entry {
    fn mac(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.addresses;
        MacAddr([a, b, c, d, e, f])
    }

    fn set_mac(&mut self, mac: MacAddr) {
        self.addresses[..6].copy_from_slice(&mac.0);
    }

    fn is_resolved(&self) -> bool {
        self.phase != Phase::Incomplete
    }
}

/// A core's neighbours.
pub struct State {
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    /// Entry of each next hop that has a gateway: slot and serial.
    adjacent: Vec<(u32, u32)>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    pending: Pending,
    failed: Vec<(Frame, Meta)>,
    limits: Limits,
    dynamic: usize,
    oldest: u32,
    newest: u32,
    hand: usize,
    defended: Vec<Option<Instant>>,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").field("neighbors", &self.index.len()).field("waiting", &self.pending.len()).finish()
    }
}

impl State {
    /// An empty table. `seed` should be random: it keeps a sender from choosing addresses that collide.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            entries: Vec::with_capacity(limits.neighbors),
            free: Vec::with_capacity(limits.neighbors),
            index: HashTable::with_capacity(limits.neighbors),
            hasher: FixedState::with_seed(seed),
            adjacent: Vec::new(),
            timers: BinaryHeap::with_capacity(limits.neighbors),
            pending: Pending::new(limits.waiting_per_neighbor, limits.waiting),
            failed: Vec::with_capacity(limits.waiting),
            limits,
            dynamic: 0,
            oldest: NONE,
            newest: NONE,
            hand: 0,
            defended: Vec::new(),
        }
    }

    /// Takes over a new generation of tables: static neighbours, our own addresses, next hops. What was learnt stays. To be called
    /// before the first packet of the generation.
    pub fn adopt(&mut self, table: &Table) {
        for slot in 0..self.entries.len() as u32 {
            let entry = &self.entries[slot as usize];
            let kept = table.neighbors().iter().any(|n| n.port == entry.port && n.address == entry.address);
            if entry.live && ((entry.phase == Phase::Static && !kept) || entry.port.index() >= table.ports().len()) {
                self.remove(slot);
            } else {
                let source = table.port(entry.port).mac;
                self.entries[slot as usize].addresses[6..].copy_from_slice(&source.0);
            }
        }
        for neighbor in table.neighbors() {
            let found = self.find(neighbor.port, neighbor.address);
            let slot = found.unwrap_or_else(|| self.insert(table, neighbor.port, neighbor.address));
            if self.entries[slot as usize].phase == Phase::Incomplete {
                self.unlink(slot);
            }
            if self.entries[slot as usize].phase != Phase::Static {
                self.dynamic -= 1;
            }
            let entry = &mut self.entries[slot as usize];
            entry.set_mac(neighbor.mac);
            entry.phase = Phase::Static;
            entry.fresh_until = Instant::from_nanos(u64::MAX);
        }
        self.adjacent.clear();
        self.adjacent.resize(table.adjacencies().len(), (NONE, 0));
        self.defended.resize(table.ports().len(), None);
    }

    /// The addresses of a next hop that needs no second look: the fast path of a routed packet.
    #[inline]
    pub(super) fn fresh(&self, next_hop: u32, now: Instant) -> Option<[u8; 12]> {
        let (slot, serial) = *self.adjacent.get(next_hop as usize)?;
        let entry = self.entries.get(slot as usize)?;
        (entry.serial == serial && now < entry.fresh_until).then_some(entry.addresses)
    }

    /// The addresses of a neighbour, by its address; `None` when it must be asked for. A use of an entry that is not fresh starts
    /// its confirmation.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        next: &Adjacency,
        next_hop: u32,
        target: IpAddr,
        now: Instant,
    ) -> Option<[u8; 12]> {
        let slot = self.find(next.port, target)?;
        let entry = &mut self.entries[slot as usize];
        if now >= entry.fresh_until {
            if !entry.is_resolved() {
                return None;
            }
            if matches!(entry.phase, Phase::Reachable | Phase::Stale) {
                entry.phase = Phase::Delay;
                entry.touched = now;
                entry.fresh_until = now + DELAY;
                self.schedule(slot, now + DELAY);
            }
        }
        let entry = &self.entries[slot as usize];
        if next.gateway.is_some()
            && let Some(cached) = self.adjacent.get_mut(next_hop as usize)
        {
            *cached = (slot, entry.serial);
        }
        Some(entry.addresses)
    }

    /// Lets a packet wait for a neighbour that is not known; asks for it when nobody has. Returns why something was lost, if so.
    pub(super) fn wait(
        &mut self,
        table: &Table,
        turn: &mut Turn<'_>,
        target: IpAddr,
        frame: Frame,
        meta: Meta,
    ) -> Option<DropReason> {
        let slot = match self.find(meta.out, target) {
            Some(slot) => slot,
            None => {
                let Some(slot) = self.create(table, turn, meta.out, target) else {
                    return Some(DropReason::NeighborTableFull);
                };
                self.link(slot);
                self.ask(table, turn, slot);
                slot
            }
        };
        let entry = &mut self.entries[slot as usize];
        self.pending.push(&mut entry.waiting, frame, meta).map(|_| DropReason::NeighborQueueFull)
    }

    /// Takes a claim into account (RFC 826; RFC 4861 §7.2.3, §7.2.5). `false` when it concerns nobody we know.
    pub fn learn(&mut self, table: &Table, turn: &mut Turn<'_>, claim: Claim) -> bool {
        let Some(slot) = self.find(claim.port, claim.address) else {
            let Some(mac) = claim.mac.filter(|_| claim.creates) else { return false };
            let Some(slot) = self.create(table, turn, claim.port, claim.address) else { return false };
            self.resolved(slot, mac, Phase::Stale, turn);
            return true;
        };
        let entry = &mut self.entries[slot as usize];
        let changed = claim.mac.is_some_and(|mac| mac != entry.mac());
        match (entry.phase, claim.mac) {
            (Phase::Static, _) => {}
            (Phase::Incomplete, None) => return false,
            (Phase::Incomplete, Some(mac)) => {
                self.unlink(slot);
                self.resolved(slot, mac, if claim.solicited { Phase::Reachable } else { Phase::Stale }, turn);
            }
            (phase, _) if changed && !claim.overrides => {
                // Two stations claim the address, and this one does not insist: doubt the entry, keep it.
                if phase == Phase::Reachable {
                    entry.phase = Phase::Stale;
                    entry.fresh_until = Instant::ZERO;
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
        for _ in 0..EXPIRIES_PER_TURN {
            let Some(&Reverse((at, slot))) = self.timers.peek() else { return };
            if at > turn.now {
                return;
            }
            self.timers.pop();
            let entry = &mut self.entries[slot as usize];
            entry.scheduled = false;
            if !entry.live {
                continue;
            }
            match entry.phase {
                Phase::Static | Phase::Reachable | Phase::Stale => {}
                _ if entry.deadline > turn.now => {
                    let deadline = entry.deadline;
                    self.schedule(slot, deadline);
                }
                Phase::Incomplete | Phase::Probe if entry.tries >= TRIES => self.give_up(slot),
                Phase::Delay => {
                    entry.phase = Phase::Probe;
                    entry.tries = 0;
                    self.ask(table, turn, slot);
                }
                Phase::Incomplete | Phase::Probe => self.ask(table, turn, slot),
            }
        }
    }

    /// When [`State::tick`] next has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// A packet that waited for a neighbour that did not answer.
    pub fn take_failed(&mut self) -> Option<(Frame, Meta)> {
        self.failed.pop()
    }

    /// Packets that wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// All entries, in no order.
    pub fn neighbors(&self) -> impl Iterator<Item = Neighbor> + '_ {
        self.entries.iter().filter(|entry| entry.live).map(|entry| Neighbor {
            port: entry.port,
            address: entry.address,
            mac: entry.mac(),
            phase: entry.phase,
        })
    }

    /// Whether one of our addresses on `port` may be defended now; if so, the next time is [`arp::DEFEND_INTERVAL`] away.
    pub(super) fn may_defend(&mut self, port: PortId, now: Instant) -> bool {
        let Some(last) = self.defended.get_mut(port.index()) else { return false };
        let due = last.is_none_or(|at| now - at >= arp::DEFEND_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }

    fn resolved(&mut self, slot: u32, mac: MacAddr, phase: Phase, turn: &mut Turn<'_>) {
        let entry = &mut self.entries[slot as usize];
        entry.set_mac(mac);
        entry.phase = phase;
        entry.touched = turn.now;
        entry.fresh_until = if phase == Phase::Reachable { turn.now + REACHABLE } else { Instant::ZERO };
        while let Some((mut frame, mut meta)) = self.pending.pop(&mut entry.waiting) {
            match finish(&mut frame, &mut meta, &entry.addresses) {
                Verdict::Drop(reason) => turn.stats.drops(reason).add(1),
                _ => turn.egress.push_link(frame, meta),
            }
        }
    }

    fn ask(&mut self, table: &Table, turn: &mut Turn<'_>, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        let known = (entry.phase == Phase::Probe).then(|| entry.mac());
        entry.tries += 1;
        if known.is_some() {
            entry.fresh_until = turn.now + RETRANSMIT;
        }
        let (port, address) = (entry.port, entry.address);
        // A question that could not be sent counts as asked: the next one comes with the timer.
        solicit::ask(port, table.port(port), address, known, turn);
        self.schedule(slot, turn.now + RETRANSMIT);
    }

    fn give_up(&mut self, slot: u32) {
        let mut waiting = self.entries[slot as usize].waiting;
        while let Some(packet) = self.pending.pop(&mut waiting) {
            self.failed.push(packet);
        }
        self.entries[slot as usize].waiting = Queue::EMPTY;
        self.remove(slot);
    }

    fn schedule(&mut self, slot: u32, at: Instant) {
        let entry = &mut self.entries[slot as usize];
        entry.deadline = at;
        // One timer per slot: an earlier one that fires finds the deadline moved and comes back.
        if !entry.scheduled {
            entry.scheduled = true;
            self.timers.push(Reverse((at, slot)));
        }
    }

    fn find(&self, port: PortId, address: IpAddr) -> Option<u32> {
        let same = |slot: &u32| {
            let entry = &self.entries[*slot as usize];
            entry.address == address && entry.port == port
        };
        self.index.find(hash(&self.hasher, port, address), same).copied()
    }

    /// Makes an entry within the limits, evicting another if need be.
    fn create(&mut self, table: &Table, turn: &mut Turn<'_>, port: PortId, address: IpAddr) -> Option<u32> {
        if self.dynamic >= self.limits.neighbors {
            let victim = if self.oldest == NONE { self.idle_victim(turn.now)? } else { self.oldest };
            let mut waiting = core::mem::replace(&mut self.entries[victim as usize].waiting, Queue::EMPTY);
            while self.pending.pop(&mut waiting).is_some() {
                turn.stats.drops(DropReason::NeighborTableFull).add(1);
            }
            self.remove(victim);
        }
        Some(self.insert(table, port, address))
    }

    fn insert(&mut self, table: &Table, port: PortId, address: IpAddr) -> u32 {
        let slot = self.free.pop().unwrap_or(self.entries.len() as u32);
        let mut addresses = [0; 12];
        addresses[6..].copy_from_slice(&table.port(port).mac.0);
        let previous = self.entries.get(slot as usize);
        let entry = Entry {
            addresses,
            serial: previous.map_or(1, |entry| entry.serial.wrapping_add(1)),
            fresh_until: Instant::ZERO,
            address,
            port,
            phase: Phase::Incomplete,
            tries: 0,
            scheduled: previous.is_some_and(|entry| entry.scheduled),
            live: true,
            deadline: Instant::ZERO,
            touched: Instant::ZERO,
            waiting: Queue::EMPTY,
            older: NONE,
            newer: NONE,
        };
        match self.entries.get_mut(slot as usize) {
            Some(vacant) => *vacant = entry,
            None => self.entries.push(entry),
        }
        self.dynamic += 1;
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |slot: &u32| {
            let entry = &entries[*slot as usize];
            hash(hasher, entry.port, entry.address)
        };
        self.index.insert_unique(hash(hasher, port, address), slot, rehash);
        slot
    }

    fn remove(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        let (port, address, phase) = (entry.port, entry.address, entry.phase);
        entry.live = false;
        entry.serial = entry.serial.wrapping_add(1);
        entry.fresh_until = Instant::ZERO;
        if phase == Phase::Incomplete {
            self.unlink(slot);
        }
        if phase != Phase::Static {
            self.dynamic -= 1;
        }
        let hash = hash(&self.hasher, port, address);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        self.free.push(slot);
    }

    /// An entry that was confirmed long ago: the one untouched for longest among the next [`SWEEP`] that are not fresh.
    fn idle_victim(&mut self, now: Instant) -> Option<u32> {
        let n = self.entries.len();
        let window = (self.hand..self.hand + SWEEP.min(n)).map(|at| at % n);
        let idle = window.filter(|at| {
            let entry = &self.entries[*at];
            entry.live && entry.phase != Phase::Static && entry.fresh_until <= now
        });
        let victim = idle.min_by_key(|at| self.entries[*at].touched).map(|at| at as u32);
        self.hand = (self.hand + SWEEP) % n.max(1);
        victim
    }

    /// Appends to the list of incomplete entries.
    fn link(&mut self, slot: u32) {
        let newest = core::mem::replace(&mut self.newest, slot);
        self.entries[slot as usize].older = newest;
        self.entries[slot as usize].newer = NONE;
        match self.entries.get_mut(newest as usize) {
            Some(entry) => entry.newer = slot,
            None => self.oldest = slot,
        }
    }

    /// Takes an entry out of that list; one that is not in it stays out.
    fn unlink(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        let older = core::mem::replace(&mut entry.older, NONE);
        let newer = core::mem::replace(&mut entry.newer, NONE);
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None if self.oldest == slot => self.oldest = newer,
            None => {}
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None if self.newest == slot => self.newest = older,
            None => {}
        }
    }
}

fn hash(hasher: &FixedState, port: PortId, address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    hasher.hash_one((bits, port.0))
}
