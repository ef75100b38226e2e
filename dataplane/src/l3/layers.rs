//! Routes of one family from two sources, the configuration and daemons, and which of the two is used for a prefix that both have.

use std::collections::{BTreeMap, btree_map::Entry};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{rib4::Rib4, rib6::Rib6};

/// Marks a configured route that no learnt one takes the place of: an address of ours, a connected prefix.
pub(super) const FIRM: u32 = 1 << 31;

/// The prefixes of a family.
pub(super) trait Rib: Default {
    /// A prefix.
    type Net: Copy + Ord;

    fn route(&self, net: Self::Net) -> Option<u32>;
    fn set(&mut self, net: Self::Net, hop: Option<u32>);
    fn expect(&mut self, changes: usize);
}

impl Rib for Rib4 {
    type Net = Ipv4Net;

    fn route(&self, net: Ipv4Net) -> Option<u32> {
        self.get(net)
    }

    fn set(&mut self, net: Ipv4Net, hop: Option<u32>) {
        match hop {
            Some(hop) => self.insert(net, hop),
            None => self.remove(net),
        };
    }

    fn expect(&mut self, changes: usize) {
        self.expect_many(changes);
    }
}

impl Rib for Rib6 {
    type Net = Ipv6Net;

    fn route(&self, net: Ipv6Net) -> Option<u32> {
        self.get(net)
    }

    fn set(&mut self, net: Ipv6Net, hop: Option<u32>) {
        match hop {
            Some(hop) => self.insert(net, hop),
            None => self.remove(net),
        };
    }

    fn expect(&mut self, changes: usize) {
        self.expect_many(changes);
    }
}

/// The routes of both sources. Each prefix and source uses its next hop once.
#[derive(Debug)]
pub(super) struct Layers<R: Rib> {
    /// What is used: of a prefix that only one source has, this is all there is of it.
    pub(super) rib: R,
    given: BTreeMap<R::Net, u32>,
    /// Learnt next hops of prefixes that are also given.
    both: BTreeMap<R::Net, u32>,
    learnt_wins: bool,
}

impl<R: Rib> Default for Layers<R> {
    fn default() -> Self {
        Self { rib: R::default(), given: BTreeMap::new(), both: BTreeMap::new(), learnt_wins: false }
    }
}

impl<R: Rib> Layers<R> {
    /// Takes other configured routes. Returns the next hops that the old ones have used.
    pub(super) fn configure(&mut self, given: BTreeMap<R::Net, u32>, learnt_wins: bool) -> Vec<u32> {
        let same_order = self.learnt_wins == learnt_wins;
        self.learnt_wins = learnt_wins;
        let before = core::mem::replace(&mut self.given, given);
        let changed: Vec<Change<R::Net>> = changes(&before, &self.given).collect();
        if !same_order {
            let same = |net: &R::Net| self.given.get(net).is_some_and(|hop| before.get(net) == Some(hop));
            let both: Vec<R::Net> = self.both.keys().copied().filter(same).collect();
            self.rib.expect(changed.len() + both.len());
            both.into_iter().for_each(|net| self.choose(net));
        }
        self.rib.expect(changed.len());
        for Change { net, was_given, given } in changed {
            let Some(given) = given else {
                let learnt = self.both.remove(&net);
                self.rib.set(net, learnt);
                continue;
            };
            // Until now only learnt, if at all.
            if !was_given && let Some(learnt) = self.rib.route(net) {
                self.both.insert(net, learnt);
            }
            self.choose_of(net, given);
        }
        before.into_values().map(|hop| hop & !FIRM).collect()
    }

    /// A route is learnt, another way for its prefix, or is no longer. Returns the next hop that is used no longer.
    pub(super) fn learn(&mut self, net: R::Net, hop: Option<u32>) -> Option<u32> {
        if !self.given.contains_key(&net) {
            let old = self.rib.route(net);
            self.rib.set(net, hop);
            return old;
        }
        let old = match (self.both.entry(net), hop) {
            (Entry::Occupied(mut entry), Some(hop)) => Some(entry.insert(hop)),
            (Entry::Occupied(entry), None) => Some(entry.remove()),
            (Entry::Vacant(entry), Some(hop)) => {
                entry.insert(hop);
                None
            }
            (Entry::Vacant(_), None) => None,
        };
        self.choose(net);
        old
    }

    /// Whether the route in use for a prefix is a learnt one.
    pub(super) fn is_learnt(&self, net: R::Net) -> bool {
        match self.given.get(&net) {
            None => true,
            Some(given) => self.learnt_wins && given & FIRM == 0 && self.both.contains_key(&net),
        }
    }

    /// Many changes come before the next version.
    pub(super) fn expect(&mut self, changes: usize) {
        self.rib.expect(changes);
    }

    /// Uses what is to be used for a prefix that is given.
    fn choose(&mut self, net: R::Net) {
        if let Some(given) = self.given.get(&net).copied() {
            self.choose_of(net, given);
        }
    }

    fn choose_of(&mut self, net: R::Net, given: u32) {
        let learnt = self.both.get(&net).filter(|_| self.learnt_wins && given & FIRM == 0);
        let chosen = learnt.copied().unwrap_or(given & !FIRM);
        self.rib.set(net, Some(chosen));
    }
}

/// A prefix that another configuration gives otherwise.
struct Change<N> {
    net: N,
    was_given: bool,
    given: Option<u32>,
}

/// What differs between two configurations, in order: one pass over both, since there may be a million of each.
fn changes<'a, N: Copy + Ord>(
    before: &'a BTreeMap<N, u32>,
    after: &'a BTreeMap<N, u32>,
) -> impl Iterator<Item = Change<N>> + 'a {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    core::iter::from_fn(move || {
        loop {
            let net = match (before.peek(), after.peek()) {
                (None, None) => return None,
                (Some((net, _)), None) | (None, Some((net, _))) => **net,
                (Some((was, _)), Some((is, _))) => **was.min(is),
            };
            let was = before.next_if(|(other, _)| **other == net).map(|(_, hop)| *hop);
            let given = after.next_if(|(other, _)| **other == net).map(|(_, hop)| *hop);
            if was != given {
                return Some(Change { net, was_given: was.is_some(), given });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(number: u8) -> Ipv4Net {
        Ipv4Net::new([10, number, 0, 0].into(), 16).unwrap()
    }

    proptest! {
        /// What is used is what the two sources say at the end, whatever came before; and each next hop goes as often as it came.
        #[test]
        fn sources_do_not_forget_each_other(
            steps in prop::collection::vec((0u8..6, prop::option::of(1u32..4), any::<bool>(), any::<bool>()), 0..60),
        ) {
            let mut layers = Layers::<Rib4>::default();
            let (mut given, mut learnt, mut wins) = (BTreeMap::new(), BTreeMap::new(), false);
            let mut users = [0i32; 4];
            let mut count = |hop: u32, by: i32| users[(hop & !FIRM) as usize] += by;
            for (number, hop, from_file, flag) in steps {
                let net = net(number);
                if from_file {
                    match hop {
                        Some(hop) => drop(given.insert(net, hop | if flag { FIRM } else { 0 })),
                        None => {
                            given.remove(&net);
                            wins = flag;
                        }
                    }
                    given.values().for_each(|hop| count(*hop, 1));
                    layers.configure(given.clone(), wins).into_iter().for_each(|hop| count(hop, -1));
                } else {
                    hop.inspect(|hop| count(*hop, 1));
                    layers.learn(net, hop).inspect(|hop| count(*hop, -1));
                    match hop {
                        Some(hop) => drop(learnt.insert(net, hop)),
                        None => drop(learnt.remove(&net)),
                    }
                }
                for net in (0..6u8).map(|number| Ipv4Net::new([10, number, 0, 0].into(), 16).unwrap()) {
                    let (given, learnt) = (given.get(&net), learnt.get(&net));
                    let expected = match (given, learnt) {
                        (Some(given), Some(learnt)) if wins && given & FIRM == 0 => Some(*learnt),
                        (Some(given), _) => Some(given & !FIRM),
                        (None, learnt) => learnt.copied(),
                    };
                    prop_assert_eq!(layers.rib.get(net), expected);
                }
            }
            let left = given.values().chain(learnt.values());
            left.for_each(|hop| count(*hop, -1));
            prop_assert_eq!(users, [0; 4]);
        }
    }
}
