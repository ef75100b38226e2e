//! IPv4 sources that pass the check of the reverse path, a bit for each /24: the answer for nearly every packet, in 2 MiB a version at most.
//!
//! To look a source up in DIR-24-8 is to read a second line for each packet that no cache holds, which costs more than all else of the
//! check. A bit is 32 times smaller than what it stands for. It is set where every one of the 256 addresses passes; where it is not,
//! nothing is said, and [`reverse_path`](super::reverse_path) looks up. So a map never lets pass what a look-up would not.
//!
//! A [`SourceMap`] is one version and never changes. The management side makes the next one from the parts of the routing table that
//! are not the same as before, or from all of it when a next hop begins or ceases to pass.

use std::sync::Arc;

use super::{
    Group, NextHop, ReversePath, Table,
    fib4::{Fib4, HOP},
    paged::{Paged, Pages},
    pool::{Held, Versions},
    reverse_path::lies_there,
    table::Action,
};
use crate::meta::{InterfaceId, VrfId};

/// Bits of an index of 32 bits of a map each.
const WORDS: u32 = 24 - 5;
/// Maps at most; interfaces beyond have each source looked up. What is asked strictly has a map for each interface, what is asked
/// loosely one for each routing domain.
pub(super) const MOST: usize = 16;

/// A version.
#[derive(Debug)]
pub(super) struct SourceMap {
    bits: Paged,
    _held: Arc<Held>,
}

impl SourceMap {
    /// Asks for the memory that says whether `address` passes; which bit of it that is, for [`Self::passes`].
    #[inline]
    pub(super) fn prefetch(&self, address: u32) -> u32 {
        let slot = self.bits.slot(address >> 13);
        self.bits.prefetch(slot);
        slot << 5 | address >> 8 & 31
    }

    /// Whether all addresses of the /24 whose bit this is pass.
    #[inline]
    pub(super) fn passes(&self, bit: u32) -> bool {
        self.bits.at(bit >> 5) >> (bit & 31) & 1 != 0
    }
}

/// What is asked, and by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Question {
    vrf: VrfId,
    /// The interface of a strict one.
    by: Option<InterfaceId>,
}

impl Question {
    fn of(table: &Table, interface: InterfaceId) -> Option<Self> {
        let by = match table.reverse_path(interface) {
            ReversePath::Off => return None,
            ReversePath::Loose => None,
            ReversePath::Strict => Some(interface),
        };
        Some(Self { vrf: table.vrf_of(interface), by })
    }

    /// Whether sources for which the next hop of this number is found need no look-up. An address of ours is no source that
    /// [`input`](super::input) lets pass; so it does not take its neighbours out of the map.
    fn passes(self, table: &Table, number: u32) -> bool {
        table.next_hop(number).action == Action::Local || lies_there(table, number, self.by)
    }
}

/// The maps of all that is asked.
#[derive(Default, Debug)]
pub(super) struct SourceMaps(Vec<Follower>);

impl SourceMaps {
    /// The maps of the interfaces of a table, by number.
    pub(super) fn follow(&mut self, table: &Table) -> Vec<Option<Arc<SourceMap>>> {
        let interfaces = (0..table.reverse_paths.len()).map(|at| InterfaceId(at as u16));
        let asked: Vec<_> = interfaces.map(|interface| Question::of(table, interface)).collect();
        let mut questions: Vec<Question> = Vec::new();
        for question in asked.iter().flatten() {
            if questions.len() < MOST && !questions.contains(question) {
                questions.push(*question);
            }
        }
        self.0.retain(|follower| questions.contains(&follower.question));
        for question in questions {
            if !self.0.iter().any(|follower| follower.question == question) {
                self.0.push(Follower::new(question));
            }
        }
        let maps: Vec<_> = self.0.iter_mut().map(|follower| (follower.question, follower.follow(table))).collect();
        let map = |question| maps.iter().find(|(of, _)| *of == question).map(|(_, map)| Arc::clone(map));
        asked.into_iter().map(|question| question.and_then(map)).collect()
    }
}

/// The writer of a map.
#[derive(Debug)]
struct Follower {
    question: Question,
    bits: Pages,
    versions: Versions,
    made: Option<Made>,
}

/// The version made last, and from what.
#[derive(Debug)]
struct Made {
    map: Arc<SourceMap>,
    fib: Arc<Fib4>,
    next_hops: Arc<[NextHop]>,
    groups: Arc<[Arc<Group>]>,
    /// By number of a next hop whether it passes; that of "no route" is the default route.
    passing: Vec<bool>,
}

impl Follower {
    fn new(question: Question) -> Self {
        let versions = Versions::new();
        Self { question, bits: Pages::zeros(WORDS, &versions), versions, made: None }
    }

    fn follow(&mut self, table: &Table) -> Arc<SourceMap> {
        let fib = table.vrf(self.question.vrf).fib4();
        let passing = self.passing(table, fib);
        let same = self.made.take().filter(|made| made.passing.iter().zip(&passing).all(|(old, new)| old == new));
        let changed = same.as_ref().and_then(|made| fib.changed_since(&made.fib));
        let is_equal = changed.as_ref().is_some_and(Vec::is_empty);
        let map = match same {
            Some(made) if is_equal => made.map,
            _ => {
                let pages = changed.unwrap_or_else(|| fib.pages().collect());
                if self.read(fib, &pages, &passing).is_none() {
                    // No room: old versions are held that have much else. They keep their memory.
                    *self = Self::new(self.question);
                    let all: Vec<_> = fib.pages().collect();
                    let read = self.read(fib, &all, &passing);
                    debug_assert!(read.is_some(), "there is room for a whole map");
                }
                self.publish()
            }
        };
        let (next_hops, groups) = (Arc::clone(&table.next_hops), Arc::clone(&table.groups));
        self.made = Some(Made { map: Arc::clone(&map), fib: Arc::clone(fib), next_hops, groups, passing });
        map
    }

    fn passing(&self, table: &Table, fib: &Fib4) -> Vec<bool> {
        let passes = |number: u32| self.question.passes(table, number);
        let made = self
            .made
            .as_ref()
            .filter(|made| Arc::ptr_eq(&made.next_hops, &table.next_hops) && Arc::ptr_eq(&made.groups, &table.groups));
        let mut passing =
            made.map_or_else(|| (0..table.next_hops.len() as u32).map(passes).collect(), |made| made.passing.clone());
        if let Some(none) = passing.first_mut() {
            *none = passes(fib.default_hop());
        }
        passing
    }

    /// Reads these pages of the routes; `None` when there is no room for what has changed.
    fn read(&mut self, fib: &Fib4, pages: &[u32], passing: &[bool]) -> Option<()> {
        let passes = |entry: u32| passing.get((entry & HOP) as usize).copied().unwrap_or_default();
        for page in pages {
            for word in fib.words(*page) {
                let bits = fib.blocks(word, passes);
                if bits != self.bits.version().load(word) {
                    let slot = self.bits.writable(word, &self.versions)?;
                    self.bits.store(slot, bits);
                }
            }
        }
        Some(())
    }

    fn publish(&mut self) -> Arc<SourceMap> {
        let held = self.versions.publish();
        self.versions.forget();
        self.bits.reclaim(&self.versions);
        Arc::new(SourceMap { bits: self.bits.version().clone(), _held: held })
    }
}

#[cfg(test)]
impl SourceMap {
    fn contains(&self, address: u32) -> bool {
        self.passes(self.prefetch(address))
    }
}

#[cfg(test)]
mod tests {
    use ipnet::{IpNet, Ipv4Net};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        l2::{Link, Tags},
        l3::{Builder, InterfaceSpec, Learnt, LearntTarget, Spec, Target, rib4::LARGE},
        meta::PortId,
    };

    const NEAR: InterfaceId = InterfaceId(0);
    const FAR: InterfaceId = InterfaceId(1);

    /// Two interfaces, of which both ask: the first strictly, the other loosely.
    fn spec(strict: usize) -> Spec {
        let mut spec = Spec::default();
        for at in 0..=strict as u16 {
            spec.interfaces.push(InterfaceSpec {
                id: InterfaceId(at),
                link: Link::Port { port: PortId(at), tags: Tags::NONE },
                mtu: 1500,
                v4: vec![format!("10.254.{at}.1/24").parse().unwrap()],
                reverse_path: if at == 1 { ReversePath::Loose } else { ReversePath::Strict },
                ..InterfaceSpec::default()
            });
        }
        spec
    }

    fn via(interface: InterfaceId) -> Target {
        Target::Via { gateway: format!("10.254.{}.2", interface.0).parse().unwrap(), interface: Some(interface) }
    }

    fn learnt(to: Ipv4Net, target: Option<Target>) -> Learnt {
        Learnt { vrf: VrfId::MAIN, to: IpNet::V4(to.trunc()), target: target.map(LearntTarget::Own) }
    }

    /// A map says what the look-up says of every address of a /24, for blocks in which something begins or ends.
    fn agrees(table: &Table, nets: &[Ipv4Net]) {
        let near = nets.iter().flat_map(|net| [net.network().to_bits(), net.broadcast().to_bits()]);
        let blocks = near.flat_map(|address| [address, address.wrapping_sub(256), address.wrapping_add(256)]);
        for block in blocks.map(|address| address & !255).chain([0, 0x0afe_0000, 0x0afe_0100]) {
            for interface in [NEAR, FAR] {
                let question = Question::of(table, interface).unwrap();
                let map = table.source_maps[interface.index()].as_ref().unwrap();
                let passes = |address| question.passes(table, table.main.fib4.lookup(address));
                let all = (block..=block | 255).all(passes);
                assert_eq!(map.contains(block), all, "{interface:?} {}", core::net::Ipv4Addr::from_bits(block));
            }
        }
    }

    fn target() -> impl Strategy<Value = Option<Target>> {
        prop_oneof![
            3 => prop_oneof![Just(NEAR), Just(FAR)].prop_map(|by| Some(via(by))),
            1 => Just(Some(Target::Blackhole)),
            2 => Just(None),
        ]
    }

    fn change() -> impl Strategy<Value = (Ipv4Net, Option<Target>)> {
        let address = prop_oneof![any::<u32>(), 0x0a00_0000u32..0x0a00_0800, Just(0x0a00_0000)];
        (address, 0u8..=32, target())
            .prop_map(|(bits, len, target)| (Ipv4Net::new(bits.into(), len).unwrap().trunc(), target))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Through changes of routes, in a small table and, with many routes beside them, in a large one; old versions stay as they were.
        #[test]
        fn a_map_says_what_all_look_ups_say(
            steps in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..12),
            is_large in prop::bool::weighted(0.25),
        ) {
            let mut builder = Builder::default();
            builder.configure(spec(1)).unwrap();
            if is_large {
                let many = (0..=LARGE as u32).map(|i| Ipv4Net::new((0x2000_0000 | i << 8).into(), 24).unwrap());
                builder.learn(&many.map(|net| learnt(net, Some(via(FAR)))).collect::<Vec<_>>());
            }
            let (mut nets, mut held) = (Vec::new(), Vec::new());
            for step in steps {
                nets.extend(step.iter().map(|(net, _)| *net));
                builder.learn(&step.into_iter().map(|(net, target)| learnt(net, target)).collect::<Vec<_>>());
                held.push((builder.table(), nets.len()));
            }
            for (table, count) in held {
                agrees(&table, &nets[..count]);
            }
        }
    }

    #[test]
    fn nothing_is_made_anew_when_nothing_has_changed() {
        let mut builder = Builder::default();
        builder.configure(spec(1)).unwrap();
        let (one, two) = (builder.table(), builder.table());
        let map = |table: &Table| Arc::as_ptr(table.source_maps[0].as_ref().unwrap());
        assert_eq!(map(&one), map(&two));
        builder.learn(&[learnt("10.9.0.0/16".parse().unwrap(), Some(via(NEAR)))]);
        let three = builder.table();
        assert_ne!(map(&one), map(&three));
        assert!(three.source_maps[0].as_ref().unwrap().contains(0x0a09_0000));
        assert!(!one.source_maps[0].as_ref().unwrap().contains(0x0a09_0000));
    }

    #[test]
    fn interfaces_beyond_the_most_do_without() {
        let mut builder = Builder::default();
        builder.configure(spec(MOST + 1)).unwrap();
        let table = builder.table();
        let with: Vec<_> = table.source_maps.iter().map(Option::is_some).collect();
        assert_eq!(with.iter().filter(|has| **has).count(), MOST);
    }
}
