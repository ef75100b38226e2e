//! The routes that daemons have installed in the kernel, as far as they lead over host links: which are there, which is the best to
//! each prefix, and what has changed since the data plane was last told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::filter::Filter;
use super::route::{Hop, Leads, Object, Route};

/// Most routes that are kept: four times the Internet's table. More are counted and not learnt.
const MOST: usize = 5_000_000;
/// Groups of groups do not exist; a chain of objects ends here.
const DEPTH: usize = 2;

/// A way to a prefix over a port of the data plane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NextHop {
    /// The port's place in the configuration.
    pub port: usize,
    /// The router; `None` when destinations are on the link.
    pub gateway: Option<IpAddr>,
    /// Share of the traffic among the hops of a route, from 1.
    pub weight: u16,
}

/// What happens to packets for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// They take one of these hops, at least one.
    Hops(SmallVec<[NextHop; 1]>),
    /// They are dropped in silence.
    Blackhole,
    /// They are dropped, and the sender is told.
    Unreachable,
    /// They are dropped, and the sender is told that it is forbidden.
    Prohibit,
}

/// A change of the routes that are to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteChange {
    /// Number of the routing domain; 0 is the main one, the others follow in the order of the file.
    pub vrf: u16,
    /// The prefix.
    pub to: IpNet,
    /// Its way from now on; `None` when it has none any more.
    pub way: Option<Way>,
}

/// A prefix in a routing domain.
type Place = (u16, IpNet);

/// What makes two routes different; in order of preference for a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    to: IpNet,
    metric: u32,
    table: u32,
}

impl Key {
    /// What the data plane calls its prefix; `None` if its table is not learnt.
    fn place(&self, filter: &Filter) -> Option<Place> {
        Some((filter.domain(self.table)?, self.to))
    }
}

#[derive(Debug)]
struct Stored {
    leads: Leads,
    /// The reading of the whole table in which it was last seen.
    seen: u32,
    /// The kernel has another one of this key behind it (`ip route append`, IPv4 only), which comes forth when this one goes.
    has_twin: bool,
}

/// The routes.
#[derive(Debug)]
pub(super) struct Rib {
    filter: Filter,
    /// Ports by number of the kernel's device.
    ports: HashMap<u32, usize>,
    /// Devices among them that are down: the kernel drops their routes without a word.
    down: BTreeSet<u32>,
    routes: BTreeMap<Key, Stored>,
    objects: HashMap<u32, (Object, u32)>,
    /// The current reading.
    reading: u32,
    /// Prefixes whose way may have changed.
    touched: BTreeSet<Place>,
    /// What the data plane was last told.
    told: BTreeMap<Place, Way>,
    /// Routes not kept for want of room.
    pub(super) refused: u64,
    /// The kernel has changed something without saying what: read everything again.
    pub(super) is_stale: bool,
}

impl Rib {
    pub(super) fn new(filter: Filter, ports: HashMap<u32, usize>) -> Self {
        Self {
            filter,
            ports,
            down: BTreeSet::new(),
            routes: BTreeMap::new(),
            objects: HashMap::new(),
            reading: 0,
            touched: BTreeSet::new(),
            told: BTreeMap::new(),
            refused: 0,
            is_stale: false,
        }
    }

    /// Takes another filter; the tables must be read again.
    pub(super) fn refilter(&mut self, filter: Filter) {
        let before = std::mem::replace(&mut self.filter, filter);
        let now = &self.filter;
        // With another name it is another domain, of which the data plane has been told nothing.
        self.told.retain(|(vrf, _), _| before.name(*vrf) == now.name(*vrf));
        if !before.has_domains_of(now) {
            self.touched.extend(self.told.keys().copied());
            self.touched.extend(self.routes.keys().filter_map(|key| key.place(now)));
        }
    }

    /// A reading of everything begins.
    pub(super) fn begin(&mut self) {
        self.reading = self.reading.wrapping_add(1);
    }

    /// A reading has come to its end: what it has not shown is gone.
    pub(super) fn end(&mut self) {
        let now = self.reading;
        self.objects.retain(|_, (_, seen)| *seen == now);
        let (touched, filter) = (&mut self.touched, &self.filter);
        self.routes.retain(|key, stored| {
            let stays = stored.seen == now;
            if !stays {
                touched.extend(key.place(filter));
            }
            stays
        });
        // What an object stands for may have changed unheard.
        self.touch(|leads| matches!(leads, Leads::Object(..)));
    }

    /// A route is there.
    ///
    /// `is_last` says that it stands behind what is there with the same key: it was appended, or a reading shows it later.
    pub(super) fn add(&mut self, route: Route, is_last: bool) {
        let key = Key { to: route.to, metric: route.metric, table: route.table };
        // One that is not learnt takes the place of one that is, if the kernel says so.
        if !self.filter.takes(&route) {
            self.forget(&key);
            return;
        }
        if self.routes.len() >= MOST && !self.routes.contains_key(&key) {
            self.refused += 1;
            return;
        }
        if let Some(first) = self.routes.get_mut(&key)
            && is_last
            && first.seen == self.reading
            && first.leads != route.leads
            && route.to.addr().is_ipv4()
        {
            first.has_twin = true;
            return;
        }
        let stored = Stored { leads: route.leads, seen: self.reading, has_twin: false };
        let changed = self.routes.get(&key).is_none_or(|old| old.leads != stored.leads);
        self.routes.insert(key, stored);
        if changed {
            self.touched.extend(key.place(&self.filter));
        }
    }

    /// A route is gone, or (IPv6) one of its hops.
    pub(super) fn remove(&mut self, route: &Route) {
        let key = Key { to: route.to, metric: route.metric, table: route.table };
        if let (Leads::Hops(gone), Some(Stored { leads: Leads::Hops(all), .. })) =
            (&route.leads, self.routes.get_mut(&key))
            && route.to.addr().is_ipv6()
            && gone.len() < all.len()
        {
            all.retain(|hop| !gone.iter().any(|gone| (gone.device, gone.gateway) == (hop.device, hop.gateway)));
            if !all.is_empty() {
                self.touched.extend(key.place(&self.filter));
                return;
            }
        }
        if let Some(Stored { has_twin: true, leads, .. }) = self.routes.get(&key) {
            self.is_stale = true;
            if *leads != route.leads {
                return;
            }
        }
        self.forget(&key);
    }

    fn forget(&mut self, key: &Key) {
        if self.routes.remove(key).is_some() {
            self.touched.extend(key.place(&self.filter));
        }
    }

    /// A next-hop object is there, or leads nowhere.
    pub(super) fn add_object(&mut self, id: u32, object: Option<Object>) {
        let Some(object) = object else { return self.remove_object(id) };
        // The kernel has no route to an object before it has the object: a new one concerns nobody.
        let seen = self.reading;
        if self.objects.insert(id, (object.clone(), seen)).is_some_and(|(old, _)| old != object) {
            self.touch_object(id);
        }
    }

    /// A next-hop object is gone, and in silence all routes to it.
    pub(super) fn remove_object(&mut self, id: u32) {
        if !self.objects.contains_key(&id) {
            return;
        }
        // While its groups still have it.
        self.touch_object(id);
        self.objects.remove(&id);
        for (object, _) in self.objects.values_mut() {
            if let Object::Group(members) = object {
                members.retain(|(member, _)| *member != id);
            }
        }
        let (touched, filter) = (&mut self.touched, &self.filter);
        self.routes.retain(|key, stored| {
            let stays = !matches!(stored.leads, Leads::Object(object, _) if object == id);
            if !stays {
                touched.extend(key.place(filter));
            }
            stays
        });
    }

    fn touch_object(&mut self, id: u32) {
        let objects = std::mem::take(&mut self.objects);
        let has = |group: u32| match objects.get(&group) {
            Some((Object::Group(members), _)) => members.iter().any(|(member, _)| *member == id),
            _ => false,
        };
        self.touch(|leads| matches!(leads, Leads::Object(object, _) if *object == id || has(*object)));
        self.objects = objects;
    }

    fn touch(&mut self, concerned: impl Fn(&Leads) -> bool) {
        let routes = self.routes.iter().filter(|(_, stored)| concerned(&stored.leads));
        self.touched.extend(routes.filter_map(|(key, _)| key.place(&self.filter)));
    }

    /// The device of a host link went up or down. Returns whether it was one, and changed.
    pub(super) fn set_up(&mut self, device: u32, up: bool) -> bool {
        let changed =
            self.ports.contains_key(&device) && if up { self.down.remove(&device) } else { self.down.insert(device) };
        if changed {
            self.touched.extend(self.routes.keys().filter_map(|key| key.place(&self.filter)));
        }
        changed
    }

    /// Whether a device is that of a host link.
    pub(super) fn knows(&self, device: u32) -> bool {
        self.ports.contains_key(&device)
    }

    /// Whether something may have changed since the last [`Self::changes`].
    pub(super) fn has_changes(&self) -> bool {
        !self.touched.is_empty()
    }

    /// What has changed since the last call, in order of domains and prefixes.
    pub(super) fn changes(&mut self) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        for place in std::mem::take(&mut self.touched) {
            let way = self.best(place);
            if self.told.get(&place) == way.as_ref() {
                continue;
            }
            match &way {
                Some(way) => self.told.insert(place, way.clone()),
                None => self.told.remove(&place),
            };
            let (vrf, to) = place;
            changes.push(RouteChange { vrf, to, way });
        }
        changes
    }

    /// What the data plane was last told: every prefix that has a way.
    pub(super) fn told(&self) -> &BTreeMap<Place, Way> {
        &self.told
    }

    /// The way of the route with the lowest metric that has one over a port.
    fn best(&self, (vrf, to): Place) -> Option<Way> {
        let first = Key { to, metric: 0, table: 0 };
        let last = Key { to, metric: u32::MAX, table: u32::MAX };
        let mut inside = self.routes.range(first..=last).filter(|(key, _)| self.filter.domain(key.table) == Some(vrf));
        inside.find_map(|(key, stored)| self.way(key.to, &stored.leads))
    }

    fn way(&self, to: IpNet, leads: &Leads) -> Option<Way> {
        let mut hops = SmallVec::new();
        match leads {
            Leads::Blackhole => return Some(Way::Blackhole),
            Leads::Unreachable => return Some(Way::Unreachable),
            Leads::Prohibit => return Some(Way::Prohibit),
            Leads::Hops(all) => all.iter().for_each(|hop| self.push(to, hop, hop.weight, &mut hops)),
            // The message says it too, for those who do not follow objects.
            Leads::Object(id, all) if !self.objects.contains_key(id) => {
                all.iter().for_each(|hop| self.push(to, hop, hop.weight, &mut hops));
            }
            Leads::Object(id, _) => {
                if self.resolve(to, *id, 1, DEPTH, &mut hops) {
                    return Some(Way::Blackhole);
                }
            }
        }
        (!hops.is_empty()).then(|| {
            hops.sort_unstable();
            Way::Hops(hops)
        })
    }

    /// Collects the hops of an object. Returns whether it drops packets.
    fn resolve(&self, to: IpNet, id: u32, weight: u16, depth: usize, hops: &mut SmallVec<[NextHop; 1]>) -> bool {
        match self.objects.get(&id) {
            Some((Object::Blackhole, _)) => true,
            Some((Object::Hop(hop), _)) => {
                self.push(to, hop, weight, hops);
                false
            }
            Some((Object::Group(members), _)) if depth > 0 => members
                .iter()
                .fold(false, |drops, (id, weight)| drops | self.resolve(to, *id, *weight, depth - 1, hops)),
            _ => false,
        }
    }

    /// Adds a hop if it leads over a host link that is up, to a router of the prefix's family (the data plane forwards by no other).
    fn push(&self, to: IpNet, hop: &Hop, weight: u16, hops: &mut SmallVec<[NextHop; 1]>) {
        let Some(port) = self.ports.get(&hop.device).filter(|_| !self.down.contains(&hop.device)) else { return };
        if hop.gateway.is_none_or(|gateway| gateway.is_ipv4() == to.addr().is_ipv4()) {
            hops.push(NextHop { port: *port, gateway: hop.gateway, weight });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::model::{KernelRoutes, VrfTable};
    use crate::config::scalar::Name;

    const WEB0: u32 = 7;
    const WEB1: u32 = 8;
    const MANAGEMENT: u32 = 2;
    const BGP: u8 = 186;

    fn rib() -> Rib {
        Rib::new(Filter::main(&[254]), HashMap::from([(WEB0, 1), (WEB1, 2)]))
    }

    fn hop(device: u32, last: u8) -> Hop {
        Hop { device, gateway: Some([10, 0, 2, last].into()), weight: 1 }
    }

    fn route(to: &str, metric: u32, hops: &[Hop]) -> Route {
        Route { to: to.parse().unwrap(), table: 254, metric, protocol: BGP, leads: Leads::Hops(hops.to_vec()) }
    }

    fn way(hops: &[(usize, u8)]) -> Option<Way> {
        let hop =
            |(port, last): &(usize, u8)| NextHop { port: *port, gateway: Some([10, 0, 2, *last].into()), weight: 1 };
        Some(Way::Hops(hops.iter().map(hop).collect()))
    }

    fn told(rib: &mut Rib) -> Vec<(String, Option<Way>)> {
        rib.changes().into_iter().map(|change| (change.to.to_string(), change.way)).collect()
    }

    #[test]
    fn the_lowest_metric_wins_and_the_next_takes_over() {
        let mut rib = rib();
        rib.add(route("10.1.0.0/16", 20, &[hop(WEB0, 1)]), false);
        rib.add(route("10.1.0.0/16", 10, &[hop(WEB1, 2)]), false);
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(2, 2)]))]);
        rib.remove(&route("10.1.0.0/16", 10, &[]));
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(1, 1)]))]);
        rib.remove(&route("10.1.0.0/16", 20, &[]));
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), None)]);
        assert!(rib.told().is_empty());
    }

    #[test]
    fn what_leads_elsewhere_stays_out() {
        let mut rib = rib();
        rib.add(route("0.0.0.0/0", 1, &[hop(MANAGEMENT, 1)]), false);
        rib.add(route("0.0.0.0/0", 100, &[hop(WEB0, 9), hop(MANAGEMENT, 1)]), false);
        rib.add(Route { protocol: 2, ..route("10.2.0.0/16", 0, &[hop(WEB0, 1)]) }, false);
        rib.add(Route { table: 100, ..route("10.3.0.0/16", 0, &[hop(WEB0, 1)]) }, false);
        rib.add(route("fd00:9::/32", 0, &[hop(WEB0, 1)]), false);
        assert_eq!(told(&mut rib), [("0.0.0.0/0".to_owned(), way(&[(1, 9)]))]);
    }

    /// Main is table 254; the others have the tables that are said.
    fn with_vrfs(vrfs: &[(&str, u32)]) -> Filter {
        let vrf = |(name, table): &(&str, u32)| VrfTable { name: Name((*name).to_owned()), table: Some(*table) };
        let vrfs = vrfs.iter().map(vrf).collect();
        Filter::of(&KernelRoutes { enabled: true, tables: vec![254], vrfs, protocols: vec![], override_static: false })
    }

    fn told_where(rib: &mut Rib) -> Vec<(u16, String, bool)> {
        rib.changes().into_iter().map(|change| (change.vrf, change.to.to_string(), change.way.is_some())).collect()
    }

    #[test]
    fn a_table_belongs_to_a_domain() {
        let mut rib = rib();
        rib.refilter(with_vrfs(&[("red", 100), ("blue", 200)]));
        let to = "10.1.0.0/16".to_owned();
        rib.add(Route { table: 200, ..route(&to, 0, &[hop(WEB0, 2)]) }, false);
        rib.add(route(&to, 50, &[hop(WEB0, 1)]), false);
        assert_eq!(told_where(&mut rib), [(0, to.clone(), true), (2, to.clone(), true)]);
        assert_eq!(rib.told()[&(0, to.parse().unwrap())], way(&[(1, 1)]).unwrap(), "another's is no better one");
        rib.remove(&Route { table: 200, ..route(&to, 0, &[]) });
        assert_eq!(told_where(&mut rib), [(2, to, false)]);
    }

    #[test]
    fn domains_that_change_have_what_is_theirs() {
        let mut rib = rib();
        let both = |rib: &mut Rib| {
            rib.begin();
            rib.add(Route { table: 100, ..route("10.1.0.0/16", 0, &[hop(WEB0, 1)]) }, false);
            rib.add(Route { table: 200, ..route("10.2.0.0/16", 0, &[hop(WEB0, 2)]) }, false);
            rib.end();
        };
        rib.refilter(with_vrfs(&[("red", 100), ("blue", 200)]));
        both(&mut rib);
        let (one, two) = ("10.1.0.0/16".to_owned(), "10.2.0.0/16".to_owned());
        assert_eq!(told_where(&mut rib), [(1, one.clone(), true), (2, two.clone(), true)]);
        // In another order: the data plane has forgotten both, so that both are told, and nothing is taken back.
        rib.refilter(with_vrfs(&[("blue", 200), ("red", 100)]));
        both(&mut rib);
        assert_eq!(told_where(&mut rib), [(1, two.clone(), true), (2, one.clone(), true)]);
        // The same domains with each other's tables: what was told is taken back.
        rib.refilter(with_vrfs(&[("blue", 100), ("red", 200)]));
        both(&mut rib);
        let swapped = [(1, one.clone(), true), (1, two.clone(), false), (2, one, false), (2, two, true)];
        assert_eq!(told_where(&mut rib), swapped);
        rib.refilter(Filter::main(&[254]));
        both(&mut rib);
        assert_eq!(told_where(&mut rib), []);
        assert!(rib.told().is_empty());
    }

    #[test]
    fn many_changes_of_a_prefix_are_one() {
        let mut rib = rib();
        for last in 1..50 {
            rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, last)]), false);
        }
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(1, 49)]))]);
        rib.remove(&route("10.1.0.0/16", 0, &[]));
        rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, 49)]), false);
        assert_eq!(told(&mut rib), []);
    }

    #[test]
    fn a_reading_removes_what_it_does_not_show() {
        let mut rib = rib();
        for to in ["10.1.0.0/16", "10.2.0.0/16"] {
            rib.add(route(to, 0, &[hop(WEB0, 1)]), false);
        }
        rib.changes();
        rib.begin();
        rib.add(route("10.2.0.0/16", 0, &[hop(WEB0, 1)]), true);
        rib.end();
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), None)]);
    }

    #[test]
    fn a_group_of_objects_is_followed() {
        let mut rib = rib();
        rib.add_object(4, Some(Object::Hop(hop(WEB0, 4))));
        rib.add_object(5, Some(Object::Hop(hop(WEB1, 5))));
        rib.add_object(9, Some(Object::Group(vec![(4, 1), (5, 3)])));
        rib.add(Route { leads: Leads::Object(9, vec![]), ..route("10.1.0.0/16", 0, &[]) }, false);
        let Some(Way::Hops(hops)) = &rib.changes()[0].way else { panic!("hops") };
        let shares: Vec<_> = hops.iter().map(|hop| (hop.port, hop.weight)).collect();
        assert_eq!(shares, [(1, 1), (2, 3)]);
        rib.remove_object(5);
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(1, 4)]))]);
        rib.add_object(4, Some(Object::Hop(hop(WEB1, 6))));
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(2, 6)]))]);
        rib.remove_object(9);
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), None)]);
    }

    #[test]
    fn a_device_that_goes_down_takes_its_hops_along() {
        let mut rib = rib();
        rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, 1), hop(WEB1, 2)]), false);
        rib.changes();
        assert!(rib.set_up(WEB1, false) && !rib.set_up(WEB1, false) && !rib.set_up(MANAGEMENT, false));
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(1, 1)]))]);
    }

    #[test]
    fn ipv6_hops_go_one_by_one_and_ipv4_twins_hide_behind_each_other() {
        let mut rib = rib();
        let hop6 = |last: u16| Hop { gateway: Some([0xfd00, 0, 0, 0, 0, 0, 0, last].into()), ..hop(WEB0, 0) };
        rib.add(route("fd00:9::/32", 0, &[hop6(1), hop6(2)]), false);
        rib.remove(&route("fd00:9::/32", 0, &[hop6(1)]));
        let Some(Way::Hops(hops)) = &rib.changes()[0].way else { panic!("hops") };
        assert_eq!(hops.len(), 1);
        rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, 1)]), false);
        rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, 2)]), true);
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(1, 1)]))], "the first counts");
        rib.remove(&route("10.1.0.0/16", 0, &[hop(WEB0, 1)]));
        assert!(rib.is_stale, "the second comes forth without a word");
    }

    proptest! {
        /// Whatever happens in whatever order: the changes, applied one after the other, are what a fresh look at the end shows.
        #[test]
        fn changes_add_up(steps in prop::collection::vec((0u8..4, 1u8..6, 0u32..3, 1u8..4, any::<bool>()), 0..80)) {
            let mut rib = rib();
            let (mut applied, mut model) = (BTreeMap::new(), BTreeMap::new());
            for (step, prefix, metric, last, tell) in steps {
                let to = format!("10.{prefix}.0.0/16");
                let route = route(&to, metric, &[hop(if last == 3 { MANAGEMENT } else { WEB0 }, last)]);
                if step > 0 {
                    model.insert((route.to, metric), last);
                    rib.add(route, false);
                } else {
                    model.remove(&(route.to, metric));
                    rib.remove(&route);
                }
                if tell {
                    apply(&mut applied, rib.changes());
                }
            }
            apply(&mut applied, rib.changes());
            let mut best: BTreeMap<Place, Way> = BTreeMap::new();
            for ((to, _), last) in model.into_iter().filter(|(_, last)| *last != 3) {
                best.entry((0, to)).or_insert_with(|| way(&[(1, last)]).unwrap());
            }
            prop_assert_eq!(&applied, &best);
            prop_assert_eq!(rib.told(), &best);
        }
    }

    fn apply(to: &mut BTreeMap<Place, Way>, changes: Vec<RouteChange>) {
        for change in changes {
            match change.way {
                Some(way) => to.insert((change.vrf, change.to), way),
                None => to.remove(&(change.vrf, change.to)),
            };
        }
    }
}
