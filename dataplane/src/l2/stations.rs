//! Which member of a bridge leads to which station: what a core has learnt from source addresses (IEEE 802.1Q-2018 §8.7).
//!
//! Each core learns for itself and tells the others what is new to it, so that a station whose frames arrive at one core is known to
//! all. An entry that no frame has confirmed for the bridge's ageing time is not used, and a sweep that looks at a few slots at a time
//! frees it. A bridge at its limit learns no more: what is not known is flooded, and the sender of made-up addresses gains nothing.
//! Fixed stations (static filtering entries, §8.8.1) do not age, do not count against the limit, and do not move.

use core::{hash::BuildHasher, time::Duration};

use arrayvec::ArrayVec;
use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::{bucket::Bucket, table::Bridge};
use crate::{clock::Instant, io::MacAddr, meta::InterfaceId};

/// Slots looked at by one sweep, and the least time between two.
const SWEEP: usize = 512;
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// News kept for the other cores until the end of a batch; what is more, they learn from a later frame.
const NEWS: usize = 64;

/// What is known about a station.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    key: u64,
    member: InterfaceId,
    live: bool,
    fixed: bool,
    /// When a frame of it was last seen, and when the other cores were last told.
    seen: Instant,
    told: Instant,
}

/// A station as one core tells it to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct News {
    pub(crate) bridge: u16,
    pub(crate) member: InterfaceId,
    pub(crate) mac: MacAddr,
}

/// What became of an address that was to be learnt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Learnt {
    /// It was known there.
    Known,
    /// It is new.
    New,
    /// It was behind another member.
    Moved,
    /// The bridge knows as many as it may, or knows better: a fixed station is behind another member.
    Refused,
}

/// The stations of all bridges of a core.
#[derive(Clone)]
pub(super) struct Stations {
    slots: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    /// How many each bridge knows.
    counts: Vec<u32>,
    hand: usize,
    sweep_at: Option<Instant>,
    news: ArrayVec<News, NEWS>,
    /// What each bridge may still flood.
    floods: Vec<Option<Bucket>>,
}

impl Stations {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            counts: Vec::new(),
            hand: 0,
            sweep_at: None,
            news: ArrayVec::new_const(),
            floods: Vec::new(),
        }
    }

    /// Takes over a generation: room for what its bridges may learn, and none for members that have gone.
    pub(super) fn adopt(&mut self, bridges: &[Bridge]) {
        self.counts.resize(bridges.len(), 0);
        let flood = |limit: u32| Bucket::per_second(limit.max(1), (limit / 10).max(64));
        self.floods = bridges.iter().map(|bridge| bridge.flood_limit.map(flood)).collect();
        let most: usize = bridges.iter().map(|bridge| bridge.mac_limit as usize + bridge.fixed.len()).sum();
        self.slots.reserve(most.saturating_sub(self.slots.len()));
        self.free.reserve(most.saturating_sub(self.free.len()));
        let (slots, hasher) = (&self.slots, &self.hasher);
        let room = most.saturating_sub(self.index.len());
        self.index.reserve(room, |slot| hasher.hash_one(slots[*slot as usize].key));
        for slot in 0..self.slots.len() {
            let entry = self.slots[slot];
            let belongs =
                bridges.get(bridge_of(entry.key)).is_some_and(|bridge| bridge.members.contains(&entry.member));
            if entry.live && (!belongs || entry.fixed) {
                self.remove(slot as u32);
            }
        }
        for (bridge, number) in bridges.iter().zip(0u16..) {
            for (mac, member) in &bridge.fixed {
                self.fix(key(number, *mac), *member);
            }
        }
    }

    /// A station that is where the configuration says.
    fn fix(&mut self, key: u64, member: InterfaceId) {
        if let Some(learnt) = self.slot(key) {
            self.remove(learnt);
        }
        self.enter(Entry { key, member, live: true, fixed: true, seen: Instant::ZERO, told: Instant::ZERO });
    }

    /// The member that leads to a station.
    #[inline]
    pub(super) fn find(&self, number: u16, bridge: &Bridge, mac: MacAddr, now: Instant) -> Option<InterfaceId> {
        let slot = self.slot(key(number, mac))?;
        let entry = &self.slots[slot as usize];
        (entry.fixed || now < entry.seen + bridge.mac_age).then_some(entry.member)
    }

    /// Takes note of a station behind `member`. `tell` says whether the other cores should know.
    #[inline]
    pub(super) fn learn(&mut self, bridge: &Bridge, news: News, now: Instant, tell: bool) -> Learnt {
        let key = key(news.bridge, news.mac);
        let Some(slot) = self.slot(key) else { return self.insert(bridge, key, news, now, tell) };
        let entry = &mut self.slots[slot as usize];
        let moved = entry.member != news.member;
        if entry.fixed {
            return if moved { Learnt::Refused } else { Learnt::Known };
        }
        (entry.member, entry.seen) = (news.member, now);
        // The others forget what they do not see: they are told before that.
        if tell && (moved || now >= entry.told + bridge.mac_age / 4) {
            entry.told = now;
            let _ = self.news.try_push(news);
        }
        if moved { Learnt::Moved } else { Learnt::Known }
    }

    fn insert(&mut self, bridge: &Bridge, key: u64, news: News, now: Instant, tell: bool) -> Learnt {
        let Some(count) = self.counts.get_mut(usize::from(news.bridge)) else { return Learnt::Refused };
        if *count >= bridge.mac_limit {
            return Learnt::Refused;
        }
        *count += 1;
        self.enter(Entry { key, member: news.member, live: true, fixed: false, seen: now, told: now });
        self.sweep_at = self.sweep_at.or(Some(now + bridge.mac_age.max(LEAST_PAUSE)));
        if tell {
            let _ = self.news.try_push(news);
        }
        Learnt::New
    }

    fn enter(&mut self, entry: Entry) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(slot as usize) {
            Some(vacant) => *vacant = entry,
            None => self.slots.push(entry),
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = hasher.hash_one(entry.key);
        self.index.insert_unique(hash, slot, |slot| hasher.hash_one(slots[*slot as usize].key));
    }

    /// Whether a bridge may flood another frame.
    #[inline]
    pub(super) fn may_flood(&mut self, bridge: u16, now: Instant) -> bool {
        match self.floods.get_mut(usize::from(bridge)) {
            Some(Some(bucket)) => bucket.take(now),
            _ => true,
        }
    }

    /// When [`Stations::sweep`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Frees what is too old, a few slots at a time, so that all are looked at once in the shortest ageing time.
    pub(super) fn sweep(&mut self, bridges: &[Bridge], now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let slots = self.slots.len();
        for _ in 0..SWEEP.min(slots) {
            self.hand = (self.hand + 1) % slots;
            let entry = self.slots[self.hand];
            let age = bridges.get(bridge_of(entry.key)).map_or(Duration::ZERO, |bridge| bridge.mac_age);
            if entry.live && !entry.fixed && now >= entry.seen + age {
                self.remove(self.hand as u32);
            }
        }
        let shortest = bridges.iter().map(|bridge| bridge.mac_age).min().unwrap_or(LEAST_PAUSE);
        let pause = shortest / (slots / SWEEP + 1) as u32;
        self.sweep_at = (self.len() > 0).then(|| now + pause.max(LEAST_PAUSE));
    }

    /// Stations known.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Something for the other cores.
    pub(super) fn take_news(&mut self) -> Option<News> {
        self.news.pop()
    }

    #[inline]
    fn slot(&self, key: u64) -> Option<u32> {
        self.index.find(self.hasher.hash_one(key), |slot| self.slots[*slot as usize].key == key).copied()
    }

    fn remove(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        entry.live = false;
        if let Some(count) = self.counts.get_mut(bridge_of(entry.key)).filter(|_| !entry.fixed) {
            *count = count.saturating_sub(1);
        }
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(entry.key), |other| *other == slot) {
            found.remove();
        }
        self.free.push(slot);
    }
}

/// A station of a bridge: its number above the address.
#[inline]
fn key(bridge: u16, mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from(bridge) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn bridge_of(key: u64) -> usize {
    (key >> 48) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn bridges() -> Vec<Bridge> {
        let bridge = |own: u16, members: [u16; 2], limit, age| Bridge {
            interface: InterfaceId(own),
            members: members.map(InterfaceId).to_vec(),
            mac_limit: limit,
            mac_age: Duration::from_secs(age),
            flood_limit: None,
            fixed: Vec::new(),
        };
        vec![bridge(10, [0, 1], 4, 10), bridge(11, [2, 3], 100, 20)]
    }

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_that_forgets(frames in prop::collection::vec((0u16..2, 0u8..8, 0u16..2, 0u64..6), 1..200)) {
            let bridges = bridges();
            let mut stations = Stations::new(1);
            stations.adopt(&bridges);
            let mut model: BTreeMap<(u16, u8), (InterfaceId, Instant)> = BTreeMap::new();
            let mut now = Instant::from_millis(1);
            for (number, n, side, pause) in frames {
                now += Duration::from_secs(pause);
                stations.sweep(&bridges, now);
                model.retain(|(number, _), (_, seen)| now < *seen + bridges[usize::from(*number)].mac_age);
                let bridge = &bridges[usize::from(number)];
                let member = bridge.members[usize::from(side)];
                let known = model.contains_key(&(number, n));
                match stations.learn(bridge, News { bridge: number, member, mac: mac(n) }, now, false) {
                    Learnt::Refused => prop_assert!(!known),
                    _ => drop(model.insert((number, n), (member, now))),
                }
                let of = |wanted: u16| model.keys().filter(|(bridge, _)| *bridge == wanted).count();
                prop_assert!(of(0) <= 4 && of(0) + of(1) <= stations.len());
                for ((number, n), (member, seen)) in &model {
                    let bridge = &bridges[usize::from(*number)];
                    let expected = (now < *seen + bridge.mac_age).then_some(*member);
                    prop_assert_eq!(stations.find(*number, bridge, mac(*n), now), expected);
                }
            }
        }
    }

    #[test]
    fn a_full_bridge_learns_no_more_until_somebody_is_forgotten() {
        let bridges = bridges();
        let mut stations = Stations::new(1);
        stations.adopt(&bridges);
        let at = Instant::from_millis;
        let learn = |stations: &mut Stations, n, now| {
            stations.learn(&bridges[0], News { bridge: 0, member: InterfaceId(0), mac: mac(n) }, now, true)
        };
        for n in 0..4 {
            assert_eq!(learn(&mut stations, n, at(0)), Learnt::New);
        }
        assert_eq!(learn(&mut stations, 4, at(1)), Learnt::Refused);
        assert_eq!(learn(&mut stations, 3, at(9_000)), Learnt::Known);
        assert_eq!(stations.next_deadline(), Some(at(10_000)));
        stations.sweep(&bridges, at(10_000));
        assert_eq!(stations.len(), 1, "one was seen again");
        assert_eq!(learn(&mut stations, 4, at(10_001)), Learnt::New);
        // Told: five that were new, and one before it would be forgotten elsewhere.
        assert_eq!(std::iter::from_fn(|| stations.take_news()).count(), 6);
        stations.adopt(&bridges[1..]);
        assert_eq!(stations.len(), 0, "bridges have their numbers by place");
    }

    #[test]
    fn a_fixed_station_neither_moves_nor_ages_nor_counts() {
        let mut bridges = bridges();
        let mut stations = Stations::new(1);
        stations.adopt(&bridges);
        let at = Instant::from_millis;
        let news = |n, member| News { bridge: 0, member: InterfaceId(member), mac: mac(n) };
        assert_eq!(stations.learn(&bridges[0], news(9, 0), at(0), true), Learnt::New);
        assert_eq!(stations.learn(&bridges[0], news(1, 0), at(0), true), Learnt::New);
        bridges[0].fixed = vec![(mac(9), InterfaceId(1))];
        stations.adopt(&bridges);
        assert_eq!(stations.learn(&bridges[0], news(9, 0), at(1), true), Learnt::Refused, "somebody pretends to be it");
        assert_eq!(stations.learn(&bridges[0], news(9, 1), at(1), true), Learnt::Known);
        for n in 2..5 {
            assert_eq!(stations.learn(&bridges[0], news(n, 0), at(2), false), Learnt::New, "four beside the fixed one");
        }
        assert_eq!(stations.learn(&bridges[0], news(5, 0), at(2), false), Learnt::Refused);
        stations.sweep(&bridges, at(60_000));
        assert_eq!(stations.len(), 1);
        assert_eq!(stations.find(0, &bridges[0], mac(9), at(60_000)), Some(InterfaceId(1)));
        bridges[0].fixed.clear();
        stations.adopt(&bridges);
        assert_eq!((stations.len(), stations.find(0, &bridges[0], mac(9), at(60_000))), (0, None));
        assert_eq!(stations.learn(&bridges[0], news(9, 0), at(60_001), false), Learnt::New, "as any other");
    }
}
