//! The memory of the neighbour table: entries in slots, found by interface and address, and the choice of the one that gives way.
//!
//! Slots are reused, so whoever remembers one also remembers its serial number. Entries that wait for their first answer are linked in
//! the order in which they were made: the oldest of them is the first to go.

use core::{
    hash::BuildHasher,
    net::IpAddr,
    ops::{Index, IndexMut},
};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::{Header, Interface, pending::Queue};
use crate::{clock::Instant, io::MacAddr, meta::InterfaceId};

/// Entries looked at to find one that can give way: bounds the cost of a packet to a new neighbour.
const SWEEP: usize = 64;
/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// What the operator says of one core's neighbour table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Entries beside the static ones. 100 bytes each.
    pub entries: usize,
    /// New neighbours asked for per second on each interface, a quarter of it at once: a scan of a link must not become a broadcast
    /// storm.
    pub questions: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 4096, questions: 1_000 }
    }
}

/// Bounds of what waits in one core for neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packets that wait for one neighbour: as many connections as a proxy opens at once to an endpoint nobody has spoken to.
    pub waiting_per_neighbor: usize,
    /// Packets that wait in total. Each holds a frame.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiting_per_neighbor: 64, waiting: 512 }
    }
}

/// Where an entry stands (RFC 4861 §7.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Asked for, not answered yet.
    Incomplete,
    /// Confirmed within the last [`REACHABLE`](super::neighbor::REACHABLE).
    Reachable,
    /// Known, not confirmed lately and not used since.
    Stale,
    /// In use without confirmation; asked for when [`DELAY`](super::neighbor::DELAY) has passed.
    Delay,
    /// In use and being asked for.
    Probe,
    /// Given by the operator.
    Static,
}

/// An entry, for display.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// The interface it is on.
    pub interface: InterfaceId,
    /// Its IP address.
    pub address: IpAddr,
    /// Its hardware address; zero while unknown.
    pub mac: MacAddr,
    /// Where the entry stands.
    pub phase: Phase,
    /// Packets that wait for it.
    pub waiting: u32,
    /// When it was last confirmed, or first used after that had run out.
    pub touched: Instant,
}

impl Neighbor {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            interface: entry.interface,
            address: entry.address,
            mac: entry.mac(),
            phase: entry.phase,
            waiting: entry.waiting.len(),
            touched: entry.touched,
        }
    }
}

/// What is known about one neighbour.
#[derive(Clone)]
pub(super) struct Entry {
    /// Until then the entry is used without a second look.
    pub(super) fresh_until: Instant,
    /// How its packets leave.
    pub(super) header: Header,
    /// Tells a slot's present entry from earlier ones.
    pub(super) serial: u32,
    pub(super) address: IpAddr,
    pub(super) interface: InterfaceId,
    pub(super) phase: Phase,
    /// Questions asked in this phase.
    pub(super) tries: u8,
    /// The timer of this slot that will fire first. It outlives the entry.
    pub(super) timer: Option<Instant>,
    pub(super) live: bool,
    /// When its phase asks for something to be done.
    pub(super) deadline: Instant,
    /// When it was last confirmed, or used after the confirmation had run out.
    pub(super) touched: Instant,
    pub(super) waiting: Queue,
    /// Its place in the list of incomplete entries.
    older: u32,
    newer: u32,
}

impl Entry {
    pub(super) fn mac(&self) -> MacAddr {
        self.header.to()
    }

    /// Says who the neighbour is, and by what interface it is reached.
    pub(super) fn lead(&mut self, interface: &Interface, to: MacAddr) {
        self.header = header(interface, to);
    }
}

/// The header of packets to a neighbour: each brings its own type.
fn header(interface: &Interface, to: MacAddr) -> Header {
    Header::new(interface, to, 0)
}

/// All entries of a core.
#[derive(Clone)]
pub(super) struct Entries {
    slots: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    /// Entries that are not static.
    dynamic: usize,
    oldest: u32,
    newest: u32,
    hand: usize,
}

impl Index<u32> for Entries {
    type Output = Entry;
    #[inline]
    fn index(&self, slot: u32) -> &Entry {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for Entries {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.slots[slot as usize]
    }
}

impl Entries {
    /// No entries, and room for none: see [`Entries::expect`].
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            dynamic: 0,
            oldest: NONE,
            newest: NONE,
            hand: 0,
        }
    }

    /// Makes room for so many entries in all, so that none of them costs an allocation.
    pub(super) fn expect(&mut self, entries: usize) {
        self.slots.reserve(entries.saturating_sub(self.slots.len()));
        self.free.reserve(entries.saturating_sub(self.free.len()));
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.reserve(entries.saturating_sub(self.index.len()), |slot: &u32| {
            let entry = &slots[*slot as usize];
            hash(hasher, entry.interface, entry.address)
        });
    }

    /// The entry in a slot, live or not.
    #[inline]
    pub(super) fn slot(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)
    }

    /// Slots in use or free again.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Live entries.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Live entries that are not static.
    pub(super) fn dynamic(&self) -> usize {
        self.dynamic
    }

    /// All live entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.slots.iter().filter(|entry| entry.live)
    }

    #[inline]
    pub(super) fn find(&self, interface: InterfaceId, address: IpAddr) -> Option<u32> {
        let same = |slot: &u32| {
            let entry = &self.slots[*slot as usize];
            entry.address == address && entry.interface == interface
        };
        self.index.find(hash(&self.hasher, interface, address), same).copied()
    }

    /// Makes an incomplete entry for an address that has none.
    pub(super) fn insert(&mut self, interface: InterfaceId, own: &Interface, address: IpAddr) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        let previous = self.slots.get(slot as usize);
        let entry = Entry {
            fresh_until: Instant::ZERO,
            header: header(own, MacAddr::default()),
            serial: previous.map_or(1, |entry| entry.serial.wrapping_add(1)),
            address,
            interface,
            phase: Phase::Incomplete,
            tries: 0,
            timer: previous.and_then(|entry| entry.timer),
            live: true,
            deadline: Instant::ZERO,
            touched: Instant::ZERO,
            waiting: Queue::EMPTY,
            older: NONE,
            newer: NONE,
        };
        match self.slots.get_mut(slot as usize) {
            Some(vacant) => *vacant = entry,
            None => self.slots.push(entry),
        }
        self.dynamic += 1;
        self.link(slot);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |slot: &u32| {
            let entry = &slots[*slot as usize];
            hash(hasher, entry.interface, entry.address)
        };
        self.index.insert_unique(hash(hasher, interface, address), slot, rehash);
        slot
    }

    /// Removes an entry. Its waiting packets have been taken before.
    pub(super) fn remove(&mut self, slot: u32) {
        self.set_phase(slot, Phase::Stale);
        let entry = &mut self.slots[slot as usize];
        entry.live = false;
        entry.serial = entry.serial.wrapping_add(1);
        entry.fresh_until = Instant::ZERO;
        let hash = hash(&self.hasher, entry.interface, entry.address);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        self.dynamic -= 1;
        self.free.push(slot);
    }

    /// Moves an entry to another phase.
    pub(super) fn set_phase(&mut self, slot: u32, phase: Phase) {
        let old = core::mem::replace(&mut self.slots[slot as usize].phase, phase);
        if old == Phase::Incomplete && phase != Phase::Incomplete {
            self.unlink(slot);
        }
        match (old == Phase::Static, phase == Phase::Static) {
            (false, true) => self.dynamic -= 1,
            (true, false) => self.dynamic += 1,
            _ => {}
        }
    }

    /// The entry that gives way to a new one: the oldest that waits for its first answer, else the one among the next
    /// [`SWEEP`] that was untouched for longest and is not fresh.
    pub(super) fn victim(&mut self, now: Instant) -> Option<u32> {
        if self.oldest != NONE {
            return Some(self.oldest);
        }
        let n = self.slots.len();
        let window = (self.hand..self.hand + SWEEP.min(n)).map(|at| at % n);
        let idle = window.filter(|at| {
            let entry = &self.slots[*at];
            entry.live && entry.phase != Phase::Static && entry.fresh_until <= now
        });
        let victim = idle.min_by_key(|at| self.slots[*at].touched).map(|at| at as u32);
        self.hand = (self.hand + SWEEP) % n.max(1);
        victim
    }

    /// Appends to the list of incomplete entries.
    fn link(&mut self, slot: u32) {
        let newest = core::mem::replace(&mut self.newest, slot);
        self.slots[slot as usize].older = newest;
        match self.slots.get_mut(newest as usize) {
            Some(entry) => entry.newer = slot,
            None => self.oldest = slot,
        }
    }

    /// Takes an entry out of that list.
    fn unlink(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        let older = core::mem::replace(&mut entry.older, NONE);
        let newer = core::mem::replace(&mut entry.newer, NONE);
        match self.slots.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

fn hash(hasher: &FixedState, interface: InterfaceId, address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    hasher.hash_one((bits, interface.0))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u8),
        Remove(u8),
        Resolve(u8),
        Fix(u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        (0u8..4, 0u8..12).prop_map(|(kind, n)| match kind {
            0 => Op::Insert(n),
            1 => Op::Remove(n),
            2 => Op::Resolve(n),
            _ => Op::Fix(n),
        })
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_with_a_queue_of_incomplete_entries(ops in prop::collection::vec(op(), 0..120)) {
            let address = |n: u8| IpAddr::from([10, 0, 0, n]);
            let mut entries = Entries::new(1);
            let mut model: Vec<(u8, Phase)> = Vec::new();
            let mut incomplete = VecDeque::new();
            for op in ops {
                match op {
                    Op::Insert(n) if model.iter().all(|(m, _)| *m != n) => {
                        entries.insert(InterfaceId(0), &Interface::absent(), address(n));
                        model.push((n, Phase::Incomplete));
                        incomplete.push_back(n);
                    }
                    Op::Remove(n) if model.iter().any(|(m, _)| *m == n) => {
                        entries.remove(entries.find(InterfaceId(0), address(n)).unwrap());
                        model.retain(|(m, _)| *m != n);
                        incomplete.retain(|m| *m != n);
                    }
                    Op::Resolve(n) | Op::Fix(n) if model.iter().any(|(m, _)| *m == n) => {
                        let phase = if matches!(op, Op::Fix(_)) { Phase::Static } else { Phase::Reachable };
                        entries.set_phase(entries.find(InterfaceId(0), address(n)).unwrap(), phase);
                        for entry in model.iter_mut().filter(|(m, _)| *m == n) { entry.1 = phase; }
                        incomplete.retain(|m| *m != n);
                    }
                    _ => {}
                }
                prop_assert_eq!(entries.len(), model.len());
                prop_assert_eq!(entries.dynamic(), model.iter().filter(|(_, phase)| *phase != Phase::Static).count());
                for n in 0..12 {
                    let found = entries.find(InterfaceId(0), address(n)).map(|slot| entries[slot].phase);
                    prop_assert_eq!(found, model.iter().find(|(m, _)| *m == n).map(|(_, phase)| *phase));
                    prop_assert!(entries.find(InterfaceId(1), address(n)).is_none());
                }
                if let Some(oldest) = incomplete.front() {
                    let victim = entries.victim(Instant::ZERO).unwrap();
                    prop_assert_eq!(entries[victim].address, address(*oldest));
                }
            }
        }
    }
}
