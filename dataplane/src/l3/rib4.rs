//! All IPv4 prefixes, and the versions of [`Fib4`] made from them: one prefix more or less copies a page of 16 KiB and writes the cells
//! that it covers.
//!
//! The prefixes are in a sorted map beside the trie, 20 bytes each: it says which prefix a withdrawn one had hidden. In the trie a cell
//! is written by the longest prefix that covers it, and says how long that is: a new prefix overwrites the shorter ones, a
//! withdrawn one is overwritten by the one that covers it.

use core::ops::Bound;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::{
    fib4::{BELOW_16, BELOW_24, Entry4, Fib4, GROUP, LENGTH},
    paged::Pages,
    pool::{Pool, Versions},
    prefix::{extend, longest},
    table::NO_ROUTE,
};
use crate::io::heap::Cells;

/// Prefixes above which DIR-24-8 pays: its 64 MiB are then mostly in use. Below half of them the trie is taken again.
pub(super) const LARGE: usize = 20_000;
/// Least room for groups; what is not used costs nothing.
const GROUPS: usize = 16 << 10;

/// The prefixes of IPv4, and what was published of them.
#[derive(Debug)]
pub struct Rib4 {
    prefixes: BTreeMap<Ipv4Net, u32>,
    trie: Trie,
    /// The trie does not say what `prefixes` say: it is made anew.
    is_behind: bool,
    published: Option<Arc<Fib4>>,
}

impl Default for Rib4 {
    fn default() -> Self {
        Self { prefixes: BTreeMap::new(), trie: Trie::new(BELOW_16, 0), is_behind: false, published: None }
    }
}

impl Rib4 {
    /// The prefixes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry4> + '_ {
        self.prefixes.iter().map(|(net, hop)| (*net, *hop))
    }

    /// The prefixes behind one, or all, in order.
    pub fn after(&self, net: Option<Ipv4Net>) -> impl Iterator<Item = Entry4> + '_ {
        let from = net.map_or(Bound::Unbounded, Bound::Excluded);
        self.prefixes.range((from, Bound::Unbounded)).map(|(net, hop)| (*net, *hop))
    }

    /// The longest prefix that contains one.
    pub fn longest(&self, net: Ipv4Net) -> Option<Entry4> {
        longest(&self.prefixes, net.trunc())
    }

    /// The next hop of a prefix.
    pub fn get(&self, net: Ipv4Net) -> Option<u32> {
        self.prefixes.get(&net.trunc()).copied()
    }

    /// Adds a prefix or gives it another next hop; the one it had.
    pub fn insert(&mut self, net: Ipv4Net, hop: u32) -> Option<u32> {
        let net = net.trunc();
        let old = self.prefixes.insert(net, hop);
        if old != Some(hop) {
            self.write(net, u32::from(net.prefix_len()) << LENGTH | hop);
        }
        old
    }

    /// Removes a prefix; the next hop it had.
    pub fn remove(&mut self, net: Ipv4Net) -> Option<u32> {
        let net = net.trunc();
        let old = self.prefixes.remove(&net)?;
        let cover = longest(&self.prefixes, net).filter(|(cover, _)| cover.prefix_len() > 0);
        self.write(net, cover.map_or(NO_ROUTE, |(cover, hop)| u32::from(cover.prefix_len()) << LENGTH | hop));
        Some(old)
    }

    /// Adds many at once: faster than one after the other when they are more than a few of all.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = Entry4>) {
        self.is_behind |= extend(&mut self.prefixes, entries.into_iter().map(|(net, hop)| (net.trunc(), hop)));
    }

    /// Many changes come, all before the next [`Self::publish`]: the trie is then made anew instead of being changed.
    pub fn expect_many(&mut self, changes: usize) {
        self.is_behind |= changes > 4096 && changes > self.prefixes.len() / 4;
    }

    /// What it has become. Shares with the version before all that is equal; it is the same if nothing has changed.
    pub fn publish(&mut self) -> Arc<Fib4> {
        let is_large = self.trie.shift == BELOW_24;
        let wants_large = self.prefixes.len() > if is_large { LARGE / 2 } else { LARGE };
        if self.is_behind || is_large != wants_large {
            self.rebuild(wants_large);
        }
        if let Some(published) = self.published.as_ref().filter(|_| !self.trie.is_changed) {
            return Arc::clone(published);
        }
        let fib = Arc::new(self.trie.publish(self.prefixes.len()));
        self.published = Some(Arc::clone(&fib));
        fib
    }

    /// Bytes of the map of prefixes, about: entries of 12 bytes in nodes of up to eleven that are two thirds full.
    pub fn bytes(&self) -> usize {
        self.prefixes.len() * 20
    }

    fn write(&mut self, net: Ipv4Net, entry: u32) {
        if !self.is_behind && self.trie.write(net.addr().to_bits(), u32::from(net.prefix_len()), entry).is_none() {
            // No room: old versions are held that have much else.
            self.is_behind = true;
        }
    }

    /// In other memory: versions that are held keep theirs.
    fn rebuild(&mut self, large: bool) {
        let shift = if large { BELOW_24 } else { BELOW_16 };
        let mut room = self.prefixes.keys().filter(|net| u32::from(net.prefix_len()) > 32 - shift).count() * 2;
        loop {
            self.trie = Trie::new(shift, room);
            // Sorted like this, a prefix comes before every more specific one within it, which then overwrites its part.
            let fits = self.prefixes.iter().try_for_each(|(net, hop)| {
                let len = u32::from(net.prefix_len());
                self.trie.write(net.addr().to_bits(), len, len << LENGTH | hop)
            });
            if fits.is_some() {
                break;
            }
            room = (room + GROUPS) * 2;
        }
        self.is_behind = false;
    }
}

/// The version being written.
#[derive(Debug)]
struct Trie {
    root: Pages,
    shift: u32,
    groups: Cells<AtomicU32>,
    pool: Pool,
    default: u32,
    versions: Versions,
    is_changed: bool,
}

impl Trie {
    fn new(shift: u32, groups: usize) -> Self {
        let versions = Versions::new();
        let room = groups.max(GROUPS);
        Self {
            root: Pages::zeros(32 - shift, &versions),
            shift,
            groups: Cells::zeros(room << 8),
            pool: Pool::new(room),
            default: NO_ROUTE,
            versions,
            is_changed: true,
        }
    }

    fn publish(&mut self, len: usize) -> Fib4 {
        self.is_changed = false;
        let held = self.versions.publish();
        // Those of before are let go about now; their places serve the next changes.
        self.versions.forget();
        self.root.reclaim(&self.versions);
        self.pool.reclaim(&self.versions);
        Fib4 {
            root: self.root.version().clone(),
            shift: self.shift,
            groups: self.groups.clone(),
            default: self.default,
            len,
            bytes: self.root.bytes() + self.pool.used() * 1024,
            _held: held,
        }
    }

    /// Gives all cells of a prefix that belong to none that is longer a new entry. `None` when there is no room.
    fn write(&mut self, address: u32, len: u32, entry: u32) -> Option<()> {
        self.is_changed = true;
        if len == 0 {
            self.default = entry;
            return Some(());
        }
        let bits = 32 - self.shift;
        let mut index = address >> self.shift;
        if len > bits {
            let slot = self.root.writable(index, &self.versions)?;
            let value = self.write_below(self.root.version().at(slot), address, len, entry, self.shift - 8)?;
            self.root.store(slot, value);
            return Some(());
        }
        let end = index + (1 << (bits - len));
        while index < end {
            let next = Pages::run(index, end);
            let first = self.root.writable(index, &self.versions)?;
            for slot in first..first + (next - index) {
                let old = self.root.version().at(slot);
                let new = self.overwritten(old, len, entry)?;
                if new != old {
                    self.root.store(slot, new);
                }
            }
            index = next;
        }
        Some(())
    }

    /// What becomes of an entry all of whose addresses a prefix of `len` covers.
    fn overwritten(&mut self, old: u32, len: u32, entry: u32) -> Option<u32> {
        if old & GROUP == 0 {
            return Some(if old >> LENGTH <= len { entry } else { old });
        }
        let group = self.writable(old)?;
        for at in group << 8..(group + 1) << 8 {
            let old = self.load(at);
            let new = self.overwritten(old, len, entry)?;
            self.store(at, new);
        }
        Some(GROUP | group)
    }

    /// What becomes of an entry some of whose addresses a prefix covers, those of a part of the group that answers bits down to `shift`.
    fn write_below(&mut self, old: u32, address: u32, len: u32, entry: u32, shift: u32) -> Option<u32> {
        let group = self.writable(old)?;
        let first = group << 8 | (address >> shift) & 0xff;
        if len <= 32 - shift {
            for at in first..first + (1 << (32 - shift - len)) {
                let old = self.load(at);
                let new = self.overwritten(old, len, entry)?;
                self.store(at, new);
            }
        } else {
            let new = self.write_below(self.load(first), address, len, entry, shift - 8)?;
            self.store(first, new);
        }
        // Where no longer prefix is left one entry serves again.
        let whole = self.load(group << 8);
        if entry >> LENGTH < len && whole & GROUP == 0 && whole >> LENGTH <= 24 - shift {
            let same = (group << 8..(group + 1) << 8).all(|at| self.load(at) == whole);
            if same {
                self.pool.retire(group, 1, &self.versions);
                return Some(whole);
            }
        }
        Some(GROUP | group)
    }

    /// The group of an entry, to be written: a new one, filled with the entry, if it has none.
    fn writable(&mut self, entry: u32) -> Option<u32> {
        let old = entry & !GROUP;
        if entry & GROUP != 0 && self.pool.is_new(old, &self.versions) {
            return Some(old);
        }
        let group = self.pool.take(1, &self.versions)?;
        for at in 0..256 {
            let value = if entry & GROUP != 0 { self.load(old << 8 | at) } else { entry };
            self.store(group << 8 | at, value);
        }
        if entry & GROUP != 0 {
            self.pool.retire(old, 1, &self.versions);
        }
        Some(group)
    }

    fn load(&self, at: u32) -> u32 {
        // Relaxed: this thread wrote it, or the versions say that nobody reads it any more.
        self.groups[at as usize].load(Relaxed)
    }

    fn store(&self, at: u32, value: u32) {
        // Relaxed: made visible by the release with which the version is published.
        self.groups[at as usize].store(value, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use prefix_trie::PrefixMap;
    use proptest::prelude::*;

    use super::*;

    fn net(bits: u32, len: u8) -> Ipv4Net {
        Ipv4Net::new(bits.into(), len).unwrap().trunc()
    }

    /// What a version says must be what the oracle says, wherever something could begin or end.
    fn agrees(fib: &Fib4, oracle: &PrefixMap<Ipv4Net, u32>, probes: &[u32]) {
        let ends = oracle.iter().flat_map(|(net, _)| {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
        });
        let all: Vec<u32> = ends.chain(probes.iter().copied()).collect();
        let mut many = vec![0; all.len()];
        fib.lookup_many(&all, &mut many);
        for (address, many) in all.iter().zip(many) {
            let host = Ipv4Net::new((*address).into(), 32).unwrap();
            let expected = oracle.get_lpm(&host).map(|(net, hop)| (net, *hop));
            let hop = expected.map_or(NO_ROUTE, |(_, hop)| hop);
            assert_eq!(fib.lookup(*address), hop, "{host} with {oracle:?}");
            assert_eq!((many, fib.matched(*address)), (hop, expected));
            assert_eq!(fib.lookup_at(fib.prefetch(*address), || *address), hop);
        }
        assert_eq!(fib.len(), oracle.len());
    }

    /// Prefixes that often nest, and hops to them; `None` withdraws.
    fn change() -> impl Strategy<Value = (u32, u8, Option<u32>)> {
        let address = prop_oneof![any::<u32>(), 0x0a00_0000u32..0x0a00_0800, Just(0x0a00_0000)];
        (address, 0u8..=32, prop_oneof![2 => (1u32..9).prop_map(Some), 1 => Just(None)])
    }

    fn follow(mut rib: Rib4, steps: Vec<Vec<(u32, u8, Option<u32>)>>, hold: &[bool], probes: &[u32]) {
        let (mut oracle, mut held) = (PrefixMap::new(), Vec::new());
        for (step, hold) in steps.into_iter().zip(hold.iter().cycle()) {
            for (bits, len, hop) in step {
                let net = net(bits, len);
                match hop {
                    Some(hop) => assert_eq!(rib.insert(net, hop), oracle.insert(net, hop)),
                    // What is there is withdrawn more often than what is not.
                    None => {
                        let net = oracle.get_lpm(&net).map_or(net, |(net, _)| net);
                        assert_eq!(rib.remove(net), oracle.remove(&net));
                    }
                }
            }
            let fib = rib.publish();
            agrees(&fib, &oracle, probes);
            if *hold {
                held.push((fib, oracle.clone()));
            }
        }
        // Nothing that came later has changed what was published.
        for (fib, oracle) in held {
            agrees(&fib, &oracle, probes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn agrees_with_the_oracle_through_changes(
            steps in prop::collection::vec(prop::collection::vec(change(), 0..12), 1..24),
            hold in prop::collection::vec(any::<bool>(), 1..7),
            probes in prop::collection::vec(prop_oneof![any::<u32>(), 0x0a00_0000u32..0x0a00_0800], 0..20),
        ) {
            follow(Rib4::default(), steps, &hold, &probes);
        }
    }

    /// As large as a large one in shape, without the prefixes.
    fn large() -> Rib4 {
        Rib4 { trie: Trie::new(8, 0), ..Rib4::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]
        #[test]
        fn agrees_with_the_oracle_when_large(
            // Short prefixes touch megabytes of the root: /10 is as short as these tests go.
            changes in prop::collection::vec((change(), 10u8..=32), 0..200),
            probes in prop::collection::vec(any::<u32>(), 0..20),
        ) {
            let (mut rib, mut oracle) = (large(), PrefixMap::new());
            for ((bits, len, hop), longer) in changes {
                let net = net(bits, len.max(longer));
                match hop {
                    Some(hop) => drop((rib.insert(net, hop), oracle.insert(net, hop))),
                    None => drop((rib.remove(net), oracle.remove(&net))),
                }
            }
            agrees(&rib.trie.publish(oracle.len()), &oracle, &probes);
        }
    }

    #[test]
    fn the_shape_follows_the_size() {
        assert!(Fib4::new(Vec::new()).bytes() < 300 << 10);
        let mut rib = Rib4::default();
        rib.extend((0..=LARGE as u32).map(|i| (net(i << 8, 24), 1 + i % 7)));
        let fib = rib.publish();
        assert!(fib.bytes() >= 64 << 20);
        assert_eq!(fib.lookup(5 << 8 | 9), 1 + 5);
        assert!(Arc::ptr_eq(&fib, &rib.publish()), "nothing has changed");
        for i in 0..LARGE as u32 {
            rib.remove(net(i << 8, 24));
        }
        assert!(rib.publish().bytes() < 300 << 10);
        assert_eq!(fib.lookup(5 << 8 | 9), 1 + 5, "who holds the old version still has it");
    }

    #[test]
    fn places_are_used_again_also_while_an_old_version_is_held() {
        let mut rib = Rib4::default();
        rib.insert(net(0x0a00_0000, 8), 1);
        let old = rib.publish();
        let mut most = 0;
        for i in 0..100_000u32 {
            let (net, last) = (net(0x0a00_0000 | i << 6, 26), net(0x0a00_0000 | i.wrapping_sub(1) << 6, 26));
            rib.insert(net, 2);
            rib.remove(last);
            most = most.max(rib.publish().bytes());
        }
        assert!(most < 400 << 10, "{most}");
        assert_eq!((old.lookup(0x0a00_0041), old.len()), (1, 1));
    }

    #[test]
    fn many_at_once_take_the_place_of_what_was_there() {
        let mut rib = Rib4::default();
        rib.extend([(net(0x0a00_0000, 8), 1), (net(0x0a01_0000, 16), 2)]);
        let before = rib.publish();
        rib.extend([(net(0x0a01_0000, 16), 3)]);
        let after = rib.publish();
        assert_eq!((before.lookup(0x0a01_0001), after.lookup(0x0a01_0001), after.len()), (2, 3, 2));
        rib.extend([(net(0x0a01_0000, 16), 3)]);
        assert!(Arc::ptr_eq(&after, &rib.publish()), "nothing has changed");
    }
}
