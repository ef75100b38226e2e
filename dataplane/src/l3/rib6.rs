//! All IPv6 prefixes, and the versions of [`Fib6`] made from them: one prefix more or less copies the records on the way to it.
//!
//! The prefixes are in a sorted map beside the trie, some 32 bytes each. It says what the part of the trie that a change concerns looks
//! like from now on; the trie itself says what of it can stay. The form of the trie depends on what happened: a record that was needed
//! once may stay. A trie made anew is as small as it can be.

use core::ops::Bound;
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::Ipv6Net;

use super::{
    fib6::{DIRECT, Entry6, Fib6, RECORD, Record, STRIDE, entry},
    paged::Pages,
    prefix::{extend, longest},
    records6::Records,
    table::NO_ROUTE,
};

/// The prefixes of IPv6, and what was published of them.
#[derive(Debug)]
pub struct Rib6 {
    prefixes: Prefixes,
    trie: Trie,
    /// The trie does not say what `prefixes` say: it is made anew.
    is_behind: bool,
    published: Option<Arc<Fib6>>,
}

impl Default for Rib6 {
    fn default() -> Self {
        Self { prefixes: Prefixes(BTreeMap::new()), trie: Trie::new(0), is_behind: false, published: None }
    }
}

impl Rib6 {
    /// The prefixes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry6> + '_ {
        self.prefixes.0.iter().map(|(net, hop)| (*net, *hop))
    }

    /// The prefixes behind one, or all, in order.
    pub fn after(&self, net: Option<Ipv6Net>) -> impl Iterator<Item = Entry6> + '_ {
        let from = net.map_or(Bound::Unbounded, Bound::Excluded);
        self.prefixes.0.range((from, Bound::Unbounded)).map(|(net, hop)| (*net, *hop))
    }

    /// The longest prefix that contains one.
    pub fn longest(&self, net: Ipv6Net) -> Option<Entry6> {
        longest(&self.prefixes.0, net.trunc())
    }

    /// The next hop of a prefix.
    pub fn get(&self, net: Ipv6Net) -> Option<u32> {
        self.prefixes.0.get(&net.trunc()).copied()
    }

    /// Adds a prefix or gives it another next hop; the one it had.
    pub fn insert(&mut self, net: Ipv6Net, hop: u32) -> Option<u32> {
        let net = net.trunc();
        let old = self.prefixes.0.insert(net, hop);
        if old != Some(hop) {
            self.change(net);
        }
        old
    }

    /// Removes a prefix; the next hop it had.
    pub fn remove(&mut self, net: Ipv6Net) -> Option<u32> {
        let net = net.trunc();
        let old = self.prefixes.0.remove(&net)?;
        self.change(net);
        Some(old)
    }

    /// Adds many at once: faster than one after the other when they are more than a few of all.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = Entry6>) {
        self.is_behind |= extend(&mut self.prefixes.0, entries.into_iter().map(|(net, hop)| (net.trunc(), hop)));
    }

    /// Many changes come, all before the next [`Self::publish`]: the trie is then made anew instead of being changed.
    pub fn expect_many(&mut self, changes: usize) {
        self.is_behind |= changes > 4096 && changes > self.prefixes.0.len() / 4;
    }

    /// What it has become. Shares with the version before all that is equal; it is the same if nothing has changed.
    pub fn publish(&mut self) -> Arc<Fib6> {
        if self.is_behind {
            self.rebuild();
        }
        if let Some(published) = self.published.as_ref().filter(|_| !self.trie.is_changed) {
            return Arc::clone(published);
        }
        let fib = Arc::new(self.trie.publish(self.prefixes.0.len()));
        self.published = Some(Arc::clone(&fib));
        fib
    }

    /// Bytes of the map of prefixes, about: entries of 21 bytes in nodes of up to eleven that are two thirds full.
    pub fn bytes(&self) -> usize {
        self.prefixes.0.len() * 34
    }

    fn change(&mut self, net: Ipv6Net) {
        if !self.is_behind && self.trie.change(&self.prefixes, net).is_none() {
            // No room: old versions are held that have much else.
            self.is_behind = true;
        }
    }

    /// In other memory: versions that are held keep theirs.
    fn rebuild(&mut self) {
        let mut room = self.prefixes.0.len();
        loop {
            self.trie = Trie::new(room);
            if self.trie.fill(&self.prefixes).is_some() {
                break;
            }
            room = (room + 1024) * 2;
        }
        self.is_behind = false;
    }
}

/// The prefixes and what is asked of them.
#[derive(Debug)]
struct Prefixes(BTreeMap<Ipv6Net, u32>);

impl Prefixes {
    /// The entry for a part of the address space as far as no longer prefix says otherwise, and the length of the prefix that says it. The
    /// default route does not count.
    fn of(&self, part: Ipv6Net) -> (u8, u32) {
        let longest = longest(&self.0, part).filter(|(net, _)| net.prefix_len() > 0);
        longest.map_or((0, NO_ROUTE), |(net, hop)| (net.prefix_len(), entry(net, hop)))
    }

    /// Those within a part that are longer than it, in order.
    fn longer(&self, part: Ipv6Net) -> impl Iterator<Item = Entry6> {
        let last = part.broadcast();
        self.0
            .range((Bound::Excluded(part), Bound::Unbounded))
            .map(|(net, hop)| (*net, entry(*net, *hop)))
            .take_while(move |(net, _)| net.addr() <= last)
    }

    fn has_longer(&self, part: Ipv6Net) -> bool {
        self.longer(part).next().is_some()
    }
}

/// The addresses that share the first `len` bits with `bits`.
fn region(bits: u128, len: u32) -> Ipv6Net {
    // 128 at most, as every depth here; else nothing is shared.
    Ipv6Net::new(bits.into(), len as u8).unwrap_or_default().trunc()
}

/// The version being written.
#[derive(Debug)]
struct Trie {
    direct: Pages,
    records: Records,
    default: u32,
    is_changed: bool,
}

impl Trie {
    fn new(prefixes: usize) -> Self {
        let records = Records::new(prefixes);
        Self { direct: Pages::zeros(DIRECT, &records.versions), records, default: NO_ROUTE, is_changed: true }
    }

    fn publish(&mut self, len: usize) -> Fib6 {
        self.is_changed = false;
        let held = self.records.publish();
        self.direct.reclaim(&self.records.versions);
        Fib6 {
            direct: self.direct.version().clone(),
            records: self.records.records().clone(),
            leaves: self.records.leaves().clone(),
            default: self.default,
            len,
            bytes: self.direct.bytes() + self.records.bytes(),
            _held: held,
        }
    }

    fn fill(&mut self, all: &Prefixes) -> Option<()> {
        let sorted: Vec<Entry6> = all.0.iter().map(|(net, hop)| (*net, entry(*net, *hop))).collect();
        // The entry of a prefix of no bits is its next hop.
        self.default = sorted.first().filter(|(net, _)| net.prefix_len() == 0).map_or(NO_ROUTE, |(_, hop)| *hop);
        // Sorted like this, a prefix comes before every more specific one within it, which then overwrites its part.
        for (net, hop) in sorted.iter().filter(|(net, _)| (1..=DIRECT).contains(&u32::from(net.prefix_len()))) {
            let first = head(*net);
            for at in first..first + (1 << (DIRECT - u32::from(net.prefix_len()))) {
                self.store(at, *hop)?;
            }
        }
        for group in sorted.chunk_by(|(a, _), (b, _)| head(*a) == head(*b)) {
            let longer = group.partition_point(|(net, _)| u32::from(net.prefix_len()) <= DIRECT);
            let group = &group[longer..];
            if let Some((first, _)) = group.first() {
                let at = head(*first);
                let record = self.records.of(group, DIRECT, self.direct.version().load(at))?;
                let named = self.records.place(record)?;
                self.store(at, named)?;
            }
        }
        Some(())
    }

    /// Takes over what has become of one prefix. `None` when there is no room.
    fn change(&mut self, all: &Prefixes, net: Ipv6Net) -> Option<()> {
        self.is_changed = true;
        let len = u32::from(net.prefix_len());
        if len == 0 {
            self.default = all.0.get(&net).copied().unwrap_or(NO_ROUTE);
            return Some(());
        }
        let first = head(net);
        let count = 1 << DIRECT.saturating_sub(len);
        for at in first..first + count {
            let part = region(u128::from(at) << (128 - DIRECT), DIRECT);
            let old = self.direct.version().load(at);
            let new = if !all.has_longer(part) {
                self.records.free(old);
                all.of(part).1
            } else if old & RECORD != 0 && len > DIRECT {
                let record = self.records.read(old);
                let record = self.changed(all, record, part, net)?;
                self.records.replace(old, record)?
            } else if old & RECORD != 0 && u32::from(all.of(part).0) > len {
                // A longer prefix than this one covers all of it.
                old
            } else {
                self.records.free(old);
                let record = self.build(all, part)?;
                self.records.place(record)?
            };
            if new != old {
                self.store(at, new)?;
            }
        }
        Some(())
    }

    fn store(&mut self, at: u32, entry: u32) -> Option<()> {
        let slot = self.direct.writable(at, &self.records.versions)?;
        self.direct.store(slot, entry);
        Some(())
    }

    /// The record for a part of the address space that has longer prefixes.
    fn build(&mut self, all: &Prefixes, part: Ipv6Net) -> Option<Record> {
        let group: Vec<Entry6> = all.longer(part).collect();
        self.records.of(&group, u32::from(part.prefix_len()), all.of(part).1)
    }

    /// What becomes of the record of `part` by a change of `net`, which is longer than it. What no longer is in use is retired.
    fn changed(&mut self, all: &Prefixes, record: Record, part: Ipv6Net, net: Ipv6Net) -> Option<Record> {
        let len = u32::from(net.prefix_len());
        match record {
            Record::Branch { children, first_child, depth, .. } => {
                let value = value_at(net, depth.into());
                let below = region(net.addr().to_bits(), u32::from(depth) + STRIDE);
                if len <= u32::from(depth) + STRIDE || children >> value & 1 == 0 || !all.has_longer(below) {
                    return self.changed_branch(all, record, net);
                }
                let place = (children & ((1 << value) - 1)).count_ones();
                let child = self.records.read(RECORD | (first_child + place));
                let child = self.changed(all, child, below, net)?;
                self.records.with_child(record, place, child)
            }
            Record::Shared { prefix, len: shared, within, beside } => {
                let below = region(prefix, shared.into());
                if len > u32::from(shared) && below.contains(&net) && within & RECORD != 0 && all.has_longer(below) {
                    let child = self.records.read(within);
                    let child = self.changed(all, child, below, net)?;
                    let within = self.records.replace(within, child)?;
                    return Some(Record::Shared { prefix, len: shared, within, beside });
                }
                self.records.free_below(record);
                self.build(all, part)
            }
        }
    }

    /// A branch whose own answers change: those of the values that `net` covers, or of the one that it is within.
    fn changed_branch(&mut self, all: &Prefixes, old: Record, net: Ipv6Net) -> Option<Record> {
        let Record::Branch { depth, .. } = old else { return Some(old) };
        let (mut leaves, mut children) = self.records.open(old);
        let end = u32::from(depth) + STRIDE;
        let first = value_at(net, depth.into());
        for value in first..first + (1 << end.saturating_sub(u32::from(net.prefix_len()))) {
            let bits = net.addr().to_bits();
            let above = bits & !(u128::MAX >> depth);
            // The last branch answers fewer bits than others: its values are beyond the last bit of an address.
            let part = region(above | (value as u128) << (128 - STRIDE) >> depth, end.min(128));
            let (cover, hop) = all.of(part);
            leaves[value] = hop;
            // A child says what to do where it has nothing longer: it stays only if that has not changed.
            let stays = children[value].is_some() && u32::from(net.prefix_len()) <= end && cover > net.prefix_len();
            if !stays {
                if let Some(child) = children[value].take() {
                    self.records.free_below(child);
                }
                if all.has_longer(part) {
                    children[value] = Some(self.build(all, part)?);
                }
            }
        }
        self.records.branch(&leaves, &children, depth)
    }
}

fn head(net: Ipv6Net) -> u32 {
    (net.addr().to_bits() >> (128 - DIRECT)) as u32
}

/// The six bits after `depth`; beyond the last bit there are zeros.
pub(super) fn value_at(net: Ipv6Net, depth: u32) -> usize {
    ((net.addr().to_bits() << depth) >> (128 - STRIDE)) as usize
}

#[cfg(test)]
mod tests {
    use prefix_trie::PrefixMap;
    use proptest::prelude::*;

    use super::*;

    /// Addresses that share many leading bits, so that prefixes nest.
    fn address() -> impl Strategy<Value = u128> {
        let dense = (0u128..4, 0u128..8, 0u128..8, 0u128..4)
            .prop_map(|(a, b, c, d)| 0x2001_0db8 << 96 | a << 94 | b << 77 | c << 61 | d);
        prop_oneof![1 => any::<u128>(), 4 => dense]
    }

    /// What a version says must be what the oracle says, wherever something could begin or end.
    fn agrees(fib: &Fib6, oracle: &PrefixMap<Ipv6Net, u32>, probes: &[u128]) {
        let ends = oracle.iter().flat_map(|(net, _)| {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
        });
        let all: Vec<u128> = ends.chain(probes.iter().copied()).collect();
        let mut many = vec![0; all.len()];
        fib.lookup_many(&all, &mut many);
        for (address, many) in all.into_iter().zip(many) {
            let host = Ipv6Net::new(address.into(), 128).unwrap();
            let expected = oracle.get_lpm(&host).map(|(net, hop)| (net, *hop));
            let hop = expected.map_or(NO_ROUTE, |(_, hop)| hop);
            assert_eq!(fib.lookup(address), hop, "{host} with {oracle:?}");
            assert_eq!((many, fib.matched(address)), (hop, expected));
        }
        assert_eq!(fib.len(), oracle.len());
    }

    fn change() -> impl Strategy<Value = (u128, u8, Option<u32>)> {
        (address(), 0u8..=128, prop_oneof![2 => (1u32..9).prop_map(Some), 1 => Just(None)])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn agrees_with_the_oracle_through_changes(
            steps in prop::collection::vec(prop::collection::vec(change(), 0..12), 1..24),
            hold in prop::collection::vec(any::<bool>(), 1..7),
            probes in prop::collection::vec(address(), 0..20),
        ) {
            let (mut rib, mut oracle, mut held) = (Rib6::default(), PrefixMap::new(), Vec::new());
            for (step, hold) in steps.into_iter().zip(hold.iter().cycle()) {
                for (bits, len, hop) in step {
                    let net = region(bits, len.into());
                    match hop {
                        Some(hop) => prop_assert_eq!(rib.insert(net, hop), oracle.insert(net, hop)),
                        // What is there is withdrawn more often than what is not.
                        None => {
                            let net = oracle.get_lpm(&net).map_or(net, |(net, _)| net);
                            prop_assert_eq!(rib.remove(net), oracle.remove(&net));
                        }
                    }
                }
                let fib = rib.publish();
                agrees(&fib, &oracle, &probes);
                // Made anew it says the same.
                agrees(&Fib6::new(rib.iter().collect()), &oracle, &probes);
                if *hold {
                    held.push((fib, oracle.clone()));
                }
            }
            // Nothing that came later has changed what was published.
            for (fib, oracle) in held {
                agrees(&fib, &oracle, &probes);
            }
        }
    }

    #[test]
    fn a_quarter_of_a_million_prefixes_fit_into_megabytes() {
        let net = |i: u128| region(0x2000 << 112 | (i.wrapping_mul(0x9e37_79b9) & 0xffff_ffff) << 80, 48);
        let mut rib = Rib6::default();
        rib.extend((0..250_000).map(|i| (net(i), 1 + i as u32 % 64)));
        let bytes = rib.publish().bytes();
        assert!(bytes < 40 << 20, "{bytes}");
        // Withdrawn and announced again, they take what they took.
        for i in (0..250_000).step_by(50) {
            rib.remove(net(i));
            rib.publish();
            rib.insert(net(i), 7);
        }
        let after = rib.publish().bytes();
        assert!(after < bytes + (1 << 20), "{bytes} before, {after} after");
        for i in 0..250_000 {
            rib.remove(net(i));
        }
        assert_eq!(rib.publish().lookup(net(5).addr().to_bits()), NO_ROUTE);
    }

    #[test]
    fn many_at_once_take_the_place_of_what_was_there() {
        let net = |len| region(0x2001_0db8 << 96, len);
        let mut rib = Rib6::default();
        rib.extend([(net(32), 1), (net(48), 2)]);
        let before = rib.publish();
        rib.extend([(net(48), 3)]);
        let (after, address) = (rib.publish(), net(128).addr().to_bits());
        assert_eq!((before.lookup(address), after.lookup(address), after.len()), (2, 3, 2));
        rib.extend([(net(48), 3)]);
        assert!(Arc::ptr_eq(&after, &rib.publish()), "nothing has changed");
    }
}
