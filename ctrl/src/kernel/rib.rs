//! The routes that daemons have installed in the kernel, as far as they lead over host links: which are there, which is the best to
//! each prefix, and what has changed since the data plane was last told.
//!
//! A route to a next-hop object is told as that, and what the object is, apart from it: when the object changes, its routes need not be
//! looked at, unless it leads nowhere now or did before, so that another route may be the better one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::filter::Filter;
use super::objects::Objects;
use super::route::{Hop, Leads, Object, Route};
use super::told::{Changes, Place, RouteChange, Target, Told, count_down};
use super::way::{Ports, Way};

/// Most routes that are kept: four times the Internet's table. More are counted and not learnt.
const MOST: usize = 5_000_000;

/// What makes two routes different; in order of preference for a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    to: IpNet,
    metric: u32,
    table: u32,
}

impl Key {
    fn of(route: &Route) -> Self {
        Self { to: route.to, metric: route.metric, table: route.table }
    }

    /// What the data plane calls its prefix; `None` if its table is not learnt.
    fn place(&self, filter: &Filter) -> Option<Place> {
        Some((filter.domain(self.table)?, self.to))
    }
}

#[derive(Debug)]
struct Stored {
    /// Nothing if the object was known when the route came.
    leads: Leads,
    object: Option<u32>,
    /// The reading of the whole table in which it was last seen.
    seen: u32,
    /// The kernel has another one of this key behind it (`ip route append`, IPv4 only), which comes forth when this one goes.
    has_twin: bool,
}

/// The routes.
#[derive(Debug)]
pub(super) struct Rib {
    filter: Filter,
    ports: Ports,
    routes: BTreeMap<Key, Stored>,
    objects: Objects,
    /// Routes that lead to each object.
    led: HashMap<u32, usize>,
    /// Objects that are gone, and in silence all routes to them, which are still here.
    gone: BTreeSet<u32>,
    /// The current reading.
    reading: u32,
    /// Prefixes whose way may have changed.
    touched: BTreeSet<Place>,
    told: Told,
    /// Routes and objects not kept for want of room.
    pub(super) refused: u64,
    /// The kernel has changed something without saying what: read everything again.
    pub(super) is_stale: bool,
}

impl Rib {
    pub(super) fn new(filter: Filter, ports: HashMap<u32, usize>) -> Self {
        Self {
            filter,
            ports: Ports::new(ports),
            routes: BTreeMap::new(),
            objects: Objects::default(),
            led: HashMap::new(),
            gone: BTreeSet::new(),
            reading: 0,
            touched: BTreeSet::new(),
            told: Told::default(),
            refused: 0,
            is_stale: false,
        }
    }

    /// Takes another filter; the tables must be read again.
    pub(super) fn refilter(&mut self, filter: Filter) {
        let before = std::mem::replace(&mut self.filter, filter);
        let now = &self.filter;
        // With another name it is another domain, of which the data plane has been told nothing.
        self.told.forget(|vrf| before.name(vrf) != now.name(vrf));
        if !before.has_domains_of(now) {
            self.touched.extend(self.told.routes().keys().copied());
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
        self.objects.unseen(now).into_iter().for_each(|id| self.remove_object(id));
        self.keep(|stored| stored.seen == now);
    }

    /// A route is there.
    ///
    /// `is_last` says that it stands behind what is there with the same key: it was appended, or a reading shows it later.
    pub(super) fn add(&mut self, route: Route, is_last: bool) {
        self.sweep(route.object);
        let key = Key::of(&route);
        // One that is not learnt takes the place of one that is, if the kernel says so.
        if !self.filter.takes(&route) {
            self.forget(&key);
            return;
        }
        if self.routes.len() >= MOST && !self.routes.contains_key(&key) {
            self.refused += 1;
            return;
        }
        let Route { to, leads, object, .. } = route;
        let leads = if object.is_some_and(|id| self.objects.has(id)) { Leads::Hops(Vec::new()) } else { leads };
        if let Some(first) = self.routes.get_mut(&key)
            && is_last
            && first.seen == self.reading
            && (first.object, &first.leads) != (object, &leads)
            && to.addr().is_ipv4()
        {
            first.has_twin = true;
            return;
        }
        object.into_iter().for_each(|id| *self.led.entry(id).or_default() += 1);
        let stored = Stored { leads, object, seen: self.reading, has_twin: false };
        let touches = |old: &Stored| (old.object, &old.leads) != (stored.object, &stored.leads);
        let changed = self.routes.get(&key).is_none_or(touches);
        let old = self.routes.insert(key, stored);
        old.and_then(|old| old.object).into_iter().for_each(|id| count_down(&mut self.led, id));
        if changed {
            self.touched.extend(key.place(&self.filter));
        }
    }

    /// A route is gone, or (IPv6) one of its hops.
    pub(super) fn remove(&mut self, route: &Route) {
        let key = Key::of(route);
        if let (None, Leads::Hops(gone), Some(Stored { leads: Leads::Hops(all), object: None, .. })) =
            (route.object, &route.leads, self.routes.get_mut(&key))
            && route.to.addr().is_ipv6()
            && gone.len() < all.len()
        {
            all.retain(|hop| !gone.iter().any(|gone| (gone.device, gone.gateway) == (hop.device, hop.gateway)));
            if !all.is_empty() {
                self.touched.extend(key.place(&self.filter));
                return;
            }
        }
        if let Some(Stored { has_twin: true, leads, object, .. }) = self.routes.get(&key) {
            self.is_stale = true;
            let same = object.map_or(route.object.is_none() && *leads == route.leads, |id| route.object == Some(id));
            if !same {
                return;
            }
        }
        self.forget(&key);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(old) = self.routes.remove(key) {
            old.object.into_iter().for_each(|id| count_down(&mut self.led, id));
            self.touched.extend(key.place(&self.filter));
        }
    }

    /// Forgets all routes but some.
    fn keep(&mut self, stays: impl Fn(&Stored) -> bool) {
        let Self { routes, touched, filter, led, is_stale, .. } = self;
        routes.retain(|key, stored| {
            let stays = stays(stored);
            if !stays {
                touched.extend(key.place(filter));
                stored.object.into_iter().for_each(|id| count_down(led, id));
                *is_stale |= stored.has_twin;
            }
            stays
        });
    }

    /// A next-hop object is there.
    pub(super) fn add_object(&mut self, id: u32, object: Object) {
        self.sweep(Some(id));
        let is_late = !self.objects.has(id) && self.led.contains_key(&id);
        if !self.objects.set(id, object, self.reading) {
            self.refused += 1;
        } else if is_late {
            // Its routes have led where they said themselves until now.
            self.touch(|stored| stored.object == Some(id));
        }
    }

    /// A next-hop object is gone, and in silence all routes to it.
    pub(super) fn remove_object(&mut self, id: u32) {
        if self.objects.remove(id) && self.led.contains_key(&id) {
            self.gone.insert(id);
        }
    }

    /// Forgets the routes to objects that are gone, before there is one of this number again, or a route to it; `None` for any.
    fn sweep(&mut self, before: Option<u32>) {
        if before.is_none_or(|id| self.gone.contains(&id)) && !self.gone.is_empty() {
            let gone = std::mem::take(&mut self.gone);
            self.keep(|stored| stored.object.is_none_or(|id| !gone.contains(&id)));
        }
    }

    /// Notes the prefixes of some routes.
    fn touch(&mut self, concerned: impl Fn(&Stored) -> bool) {
        let routes = self.routes.iter().filter(|(_, stored)| concerned(stored));
        self.touched.extend(routes.filter_map(|(key, _)| key.place(&self.filter)));
    }

    /// The device of a host link went up or down. Returns whether it was one, and changed.
    pub(super) fn set_up(&mut self, device: u32, up: bool) -> bool {
        let changed = self.ports.set_up(device, up);
        if changed {
            self.objects.touch_device(device);
            let leads_there =
                |leads: &Leads| matches!(leads, Leads::Hops(hops) if hops.iter().any(|hop| hop.device == device));
            self.touch(|stored| leads_there(&stored.leads));
        }
        changed
    }

    /// Whether a device is that of a host link.
    pub(super) fn knows(&self, device: u32) -> bool {
        self.ports.has(device)
    }

    /// Whether something may have changed since the last [`Self::changes`].
    pub(super) fn has_changes(&self) -> bool {
        !self.touched.is_empty() || self.objects.is_stale() || !self.gone.is_empty() || self.told.is_behind()
    }

    /// What has changed since the last call.
    pub(super) fn changes(&mut self) -> Changes {
        self.sweep(None);
        let fresh = self.objects.refresh(&self.ports);
        if fresh.turned.iter().any(|id| self.led.contains_key(id)) {
            self.touch(|stored| stored.object.is_some_and(|id| fresh.turned.contains(&id)));
        }
        let mut routes = Vec::new();
        for place in std::mem::take(&mut self.touched) {
            let target = self.best(place);
            if self.told.routes().get(&place) != target.as_ref() {
                self.told.tell(place, target.clone());
                let (vrf, to) = place;
                routes.push(RouteChange { vrf, to, target });
            }
        }
        Changes { objects: self.told.tell_objects(fresh.changed, &self.objects), routes }
    }

    /// What the data plane was last told.
    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    /// Where the route with the lowest metric leads that leads over a port.
    fn best(&self, (vrf, to): Place) -> Option<Target> {
        let first = Key { to, metric: 0, table: 0 };
        let last = Key { to, metric: u32::MAX, table: u32::MAX };
        let mut inside = self.routes.range(first..=last).filter(|(key, _)| self.filter.domain(key.table) == Some(vrf));
        inside.find_map(|(_, stored)| self.target(to, stored))
    }

    fn target(&self, to: IpNet, stored: &Stored) -> Option<Target> {
        if let Some(id) = stored.object.filter(|id| self.objects.has(*id)) {
            return self.objects.way(id).map(|_| Target::Object(id));
        }
        let way = match &stored.leads {
            Leads::Blackhole => Some(Way::Blackhole),
            Leads::Unreachable => Some(Way::Unreachable),
            Leads::Prohibit => Some(Way::Prohibit),
            Leads::Hops(hops) => {
                // No packet of IPv6 goes to a router's IPv4 address; the other way about they do (RFC 8950).
                let fits = |hop: &&Hop| to.addr().is_ipv4() || hop.gateway.is_none_or(|gateway| gateway.is_ipv6());
                Way::by(hops.iter().filter(fits).filter_map(|hop| self.ports.hop(hop, hop.weight)))
            }
        };
        way.map(Target::Own)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::told::ObjectChange;
    use super::super::way::NextHop;
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
        let leads = Leads::Hops(hops.to_vec());
        Route { to: to.parse().unwrap(), table: 254, metric, protocol: BGP, leads, object: None }
    }

    fn way(hops: &[(usize, u8)]) -> Option<Way> {
        let hop =
            |(port, last): &(usize, u8)| NextHop { port: *port, gateway: Some([10, 0, 2, *last].into()), weight: 1 };
        Some(Way::Hops(hops.iter().map(hop).collect()))
    }

    /// Where routes lead from now on that lead to no object.
    fn told(rib: &mut Rib) -> Vec<(String, Option<Way>)> {
        let own = |target| match target {
            Target::Own(way) => way,
            Target::Object(id) => panic!("object {id}"),
        };
        rib.changes().routes.into_iter().map(|change| (change.to.to_string(), change.target.map(own))).collect()
    }

    /// What the data plane makes of the changes: objects, and routes with the number of their object.
    #[derive(Default, PartialEq, Debug)]
    struct Follower {
        objects: BTreeMap<u32, Way>,
        routes: BTreeMap<Place, Target>,
    }

    impl Follower {
        /// Returns how many changes of objects and of routes there were.
        fn follow(&mut self, changes: Changes) -> (usize, usize) {
            let counts = (changes.objects.len(), changes.routes.len());
            for ObjectChange { id, way } in changes.objects {
                apply(&mut self.objects, id, way);
            }
            for RouteChange { vrf, to, target } in changes.routes {
                apply(&mut self.routes, (vrf, to), target);
            }
            let led: BTreeSet<u32> = self.routes.values().filter_map(object_of).collect();
            assert!(self.objects.keys().eq(&led), "as many objects as routes lead to: {:?}, {led:?}", self.objects);
            counts
        }

        fn way(&self, to: &str) -> Option<&Way> {
            self.way_of(&(0, to.parse().unwrap()))
        }

        fn way_of(&self, place: &Place) -> Option<&Way> {
            match self.routes.get(place)? {
                Target::Own(way) => Some(way),
                Target::Object(id) => self.objects.get(id),
            }
        }
    }

    fn object_of(target: &Target) -> Option<u32> {
        match target {
            Target::Own(_) => None,
            Target::Object(id) => Some(*id),
        }
    }

    fn apply<K: Ord, V>(to: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
        match value {
            Some(value) => to.insert(key, value),
            None => to.remove(&key),
        };
    }

    fn by_object(to: &str, metric: u32, id: u32) -> Route {
        Route { object: Some(id), ..route(to, metric, &[]) }
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
        assert!(rib.told().routes().is_empty());
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
        let told = |change: RouteChange| (change.vrf, change.to.to_string(), change.target.is_some());
        rib.changes().routes.into_iter().map(told).collect()
    }

    #[test]
    fn a_table_belongs_to_a_domain() {
        let mut rib = rib();
        rib.refilter(with_vrfs(&[("red", 100), ("blue", 200)]));
        let to = "10.1.0.0/16".to_owned();
        rib.add(Route { table: 200, ..route(&to, 0, &[hop(WEB0, 2)]) }, false);
        rib.add(route(&to, 50, &[hop(WEB0, 1)]), false);
        assert_eq!(told_where(&mut rib), [(0, to.clone(), true), (2, to.clone(), true)]);
        let main = &rib.told().routes()[&(0, to.parse().unwrap())];
        assert_eq!(*main, Target::Own(way(&[(1, 1)]).unwrap()), "another's is no better one");
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
        assert!(rib.told().routes().is_empty());
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

    const PREFIXES: [&str; 3] = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"];

    /// Three prefixes by a group of two routers.
    fn by_a_group() -> (Rib, Follower) {
        let (mut rib, mut follower) = (rib(), Follower::default());
        rib.add_object(4, Object::Hop(hop(WEB0, 4)));
        rib.add_object(5, Object::Hop(hop(WEB1, 5)));
        rib.add_object(9, Object::Group(vec![(4, 1), (5, 3)]));
        PREFIXES.iter().for_each(|to| rib.add(by_object(to, 0, 9), false));
        assert_eq!(follower.follow(rib.changes()), (1, 3), "members that no route leads to are nobody's business");
        (rib, follower)
    }

    #[test]
    fn a_group_that_changes_is_one_change() {
        let (mut rib, mut follower) = by_a_group();
        let weights = |follower: &Follower| match follower.way(PREFIXES[2]) {
            Some(Way::Hops(hops)) => hops.iter().map(|hop| (hop.port, hop.weight)).collect(),
            _ => vec![],
        };
        assert_eq!(weights(&follower), [(1, 1), (2, 3)]);
        rib.add_object(9, Object::Group(vec![(4, 2), (5, 1)]));
        assert_eq!(follower.follow(rib.changes()), (1, 0));
        assert_eq!(weights(&follower), [(1, 2), (2, 1)]);
        // A member is another router, or a group and a hop take each other's place.
        rib.add_object(4, Object::Hop(hop(WEB1, 6)));
        assert_eq!(follower.follow(rib.changes()), (1, 0));
        rib.add_object(9, Object::Hop(hop(WEB0, 7)));
        assert_eq!(follower.follow(rib.changes()), (1, 0));
        assert_eq!(follower.way(PREFIXES[0]), way(&[(1, 7)]).as_ref());
        rib.add_object(9, Object::Blackhole);
        assert_eq!(follower.follow(rib.changes()), (1, 0));
        assert_eq!(follower.way(PREFIXES[1]), Some(&Way::Blackhole));
        // Said again.
        rib.add_object(9, Object::Blackhole);
        PREFIXES.iter().for_each(|to| rib.add(by_object(to, 0, 9), false));
        assert_eq!(follower.follow(rib.changes()), (0, 0));
    }

    #[test]
    fn members_go_one_after_the_other() {
        let (mut rib, mut follower) = by_a_group();
        rib.remove_object(5);
        assert_eq!(follower.follow(rib.changes()), (1, 0));
        assert_eq!(follower.way(PREFIXES[1]), way(&[(1, 4)]).as_ref());
        rib.set_up(WEB0, false);
        assert_eq!(follower.follow(rib.changes()), (1, 3), "it leads nowhere: another route might be the better one");
        rib.set_up(WEB0, true);
        assert_eq!(follower.follow(rib.changes()), (1, 3));
        // Out of use, for a while.
        rib.add_object(4, Object::Nowhere);
        assert_eq!(follower.follow(rib.changes()), (1, 3));
        rib.add_object(4, Object::Hop(hop(WEB1, 1)));
        assert_eq!(follower.follow(rib.changes()), (1, 3));
        assert_eq!(follower.way(PREFIXES[1]), way(&[(2, 1)]).as_ref());
    }

    #[test]
    fn an_object_takes_its_routes_along_in_silence() {
        let (mut rib, mut follower) = by_a_group();
        rib.add(route(PREFIXES[0], 10, &[hop(WEB0, 1)]), false);
        rib.remove_object(9);
        // There is one of this number again, but it is another: only what comes afterwards leads there.
        rib.add_object(9, Object::Hop(hop(WEB1, 9)));
        rib.add(by_object(PREFIXES[1], 0, 9), false);
        follower.follow(rib.changes());
        let ways = PREFIXES.map(|to| follower.way(to).cloned());
        assert_eq!(ways, [way(&[(1, 1)]), way(&[(2, 9)]), None]);
        rib.remove_object(9);
        rib.remove(&route(PREFIXES[0], 10, &[]));
        follower.follow(rib.changes());
        assert_eq!(follower, Follower::default());
        assert!(rib.led.is_empty() && rib.routes.is_empty());
    }

    #[test]
    fn a_route_before_its_object_leads_where_it_says() {
        let (mut rib, mut follower) = (rib(), Follower::default());
        rib.add(Route { object: Some(4), ..route(PREFIXES[0], 0, &[hop(WEB0, 1)]) }, false);
        follower.follow(rib.changes());
        assert_eq!(follower.way(PREFIXES[0]), way(&[(1, 1)]).as_ref());
        rib.add_object(4, Object::Hop(hop(WEB1, 2)));
        follower.follow(rib.changes());
        assert_eq!(follower.way(PREFIXES[0]), way(&[(2, 2)]).as_ref());
        rib.remove_object(4);
        follower.follow(rib.changes());
        assert_eq!(follower.way(PREFIXES[0]), None);
    }

    #[test]
    fn a_reading_finds_what_was_missed() {
        let (mut rib, mut follower) = by_a_group();
        rib.begin();
        rib.add_object(4, Object::Hop(hop(WEB0, 4)));
        rib.add_object(9, Object::Group(vec![(4, 1)]));
        rib.add(by_object(PREFIXES[0], 0, 9), true);
        rib.end();
        assert_eq!(follower.follow(rib.changes()), (1, 2));
        let ways = PREFIXES.map(|to| follower.way(to).cloned());
        assert_eq!(ways, [way(&[(1, 4)]), None, None]);
        rib.begin();
        rib.end();
        assert_eq!(follower.follow(rib.changes()), (1, 1));
        assert_eq!(follower, Follower::default());
    }

    #[test]
    fn what_was_told_is_taken_back_at_once() {
        let (mut rib, mut follower) = by_a_group();
        rib.add(route("10.4.0.0/16", 0, &[hop(WEB0, 1)]), false);
        follower.follow(rib.changes());
        assert_eq!(follower.follow(rib.told().nothing()), (1, 4));
        assert_eq!(follower, Follower::default());
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
        let Some(Some(Way::Hops(hops))) = told(&mut rib).pop().map(|(_, way)| way) else { panic!("hops") };
        assert_eq!(hops.len(), 1);
        rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, 1)]), false);
        rib.add(route("10.1.0.0/16", 0, &[hop(WEB0, 2)]), true);
        assert_eq!(told(&mut rib), [("10.1.0.0/16".to_owned(), way(&[(1, 1)]))], "the first counts");
        rib.remove(&route("10.1.0.0/16", 0, &[hop(WEB0, 1)]));
        assert!(rib.is_stale, "the second comes forth without a word");
    }

    /// What the kernel has: objects and routes.
    #[derive(Default)]
    struct Kernel {
        objects: BTreeMap<u32, Object>,
        routes: BTreeMap<(IpNet, u32), Route>,
    }

    impl Kernel {
        /// A group has only members that are there, and none that is no router, now or later.
        fn allows(&self, id: u32, object: &Object) -> bool {
            let is_router = |id: &u32| matches!(self.objects.get(id), Some(Object::Hop(_)));
            match object {
                Object::Group(members) => members.iter().all(|(id, _)| is_router(id)),
                Object::Hop(_) => true,
                Object::Blackhole | Object::Nowhere => !self.objects.contains_key(&id),
            }
        }

        fn remove_object(&mut self, id: u32) {
            self.objects.remove(&id);
            self.routes.retain(|_, route| route.object != Some(id));
            for object in self.objects.values_mut() {
                if let Object::Group(members) = object {
                    members.retain(|(member, _)| *member != id);
                }
            }
        }

        fn hops(&self, id: u32) -> Vec<(Hop, u16)> {
            match self.objects.get(&id) {
                Some(Object::Hop(hop)) => vec![(*hop, 1)],
                Some(Object::Group(members)) => {
                    let of = |(id, weight): &(u32, u16)| match self.objects.get(id) {
                        Some(Object::Hop(hop)) => Some((*hop, *weight)),
                        _ => None,
                    };
                    members.iter().filter_map(of).collect()
                }
                _ => vec![],
            }
        }

        /// Where packets for each prefix go.
        fn ways(&self) -> BTreeMap<IpNet, Way> {
            let mut ways = BTreeMap::new();
            for ((to, _), route) in &self.routes {
                let blackhole = route.object.is_some_and(|id| self.objects.get(&id) == Some(&Object::Blackhole));
                let hops = match (&route.leads, route.object) {
                    (_, Some(id)) => self.hops(id),
                    (Leads::Hops(hops), None) => hops.iter().map(|hop| (*hop, hop.weight)).collect(),
                    _ => vec![],
                };
                let over = hops.iter().filter(|(hop, _)| hop.device != MANAGEMENT);
                let hop = |(hop, weight): &(Hop, u16)| NextHop {
                    port: if hop.device == WEB0 { 1 } else { 2 },
                    gateway: hop.gateway,
                    weight: *weight,
                };
                if let Some(way) = if blackhole { Some(Way::Blackhole) } else { Way::by(over.map(hop)) } {
                    ways.entry(*to).or_insert(way);
                }
            }
            ways
        }
    }

    fn device() -> impl Strategy<Value = u32> {
        prop::sample::select(vec![WEB0, WEB1, MANAGEMENT])
    }

    /// An object that has no members, by its number.
    fn single() -> impl Strategy<Value = Object> {
        prop_oneof![
            4 => (device(), 1u8..4).prop_map(|(device, last)| Object::Hop(hop(device, last))),
            1 => Just(Object::Blackhole),
            1 => Just(Object::Nowhere),
        ]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Object(u32, Object),
        NoObject(u32),
        Route(Route),
        NoRoute(Route),
        /// A whole reading, of what has changed unheard as well.
        Read,
        Tell,
    }

    fn step() -> impl Strategy<Value = Step> {
        let group = prop::collection::btree_map(0u32..4, 1u16..4, 1..4);
        let group = group.prop_map(|members| Object::Group(members.into_iter().collect()));
        let to = (1u8..5, 0u32..2).prop_map(|(number, metric)| (format!("10.{number}.0.0/16"), metric));
        let own =
            (to.clone(), device(), 1u8..4).prop_map(|((to, metric), out, last)| route(&to, metric, &[hop(out, last)]));
        let led = (to, 0u32..6).prop_map(|((to, metric), id)| by_object(&to, metric, id));
        let route = prop_oneof![1 => own, 3 => led];
        prop_oneof![
            3 => (0u32..4, single()).prop_map(|(id, object)| Step::Object(id, object)),
            2 => (4u32..6, group).prop_map(|(id, object)| Step::Object(id, object)),
            2 => (0u32..6).prop_map(Step::NoObject),
            6 => route.clone().prop_map(Step::Route),
            2 => route.prop_map(Step::NoRoute),
            1 => Just(Step::Read),
            4 => Just(Step::Tell),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: the changes, applied one after the other, are what the kernel has at the end.
        #[test]
        fn changes_add_up(steps in prop::collection::vec((step(), prop::bool::weighted(0.9)), 0..120)) {
            let (mut rib, mut follower, mut kernel) = (rib(), Follower::default(), Kernel::default());
            for (step, heard) in steps.into_iter().chain([(Step::Read, true)]) {
                match step {
                    Step::Object(id, object) if !kernel.allows(id, &object) => {}
                    Step::Object(id, object) => {
                        kernel.objects.insert(id, object.clone());
                        if heard {
                            rib.add_object(id, object);
                        }
                    }
                    Step::NoObject(id) => {
                        kernel.remove_object(id);
                        if heard {
                            rib.remove_object(id);
                        }
                    }
                    Step::Route(Route { object: Some(id), .. }) if !kernel.objects.contains_key(&id) => {}
                    Step::Route(route) => {
                        kernel.routes.insert((route.to, route.metric), route.clone());
                        if heard {
                            rib.add(route, false);
                        }
                    }
                    Step::NoRoute(route) => {
                        if let Some(route) = kernel.routes.remove(&(route.to, route.metric)).filter(|_| heard) {
                            rib.remove(&route);
                        }
                    }
                    Step::Read => {
                        rib.begin();
                        kernel.objects.iter().for_each(|(id, object)| rib.add_object(*id, object.clone()));
                        kernel.routes.values().for_each(|route| rib.add(route.clone(), true));
                        rib.end();
                        follower.follow(rib.changes());
                        let ways = kernel.ways();
                        prop_assert!(follower.routes.keys().map(|(_, to)| to).eq(ways.keys()));
                        for (to, way) in &ways {
                            prop_assert_eq!(follower.way_of(&(0, *to)), Some(way));
                        }
                    }
                    Step::Tell => drop(follower.follow(rib.changes())),
                }
            }
        }
    }
}
