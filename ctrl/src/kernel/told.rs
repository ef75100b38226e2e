//! What the data plane is told, and was.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::objects::Objects;
use super::way::Way;

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Here, which is its own affair.
    Own(Way),
    /// Wherever the next-hop object of this number does.
    Object(u32),
}

/// A change of the routes that are to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteChange {
    /// Number of the routing domain; 0 is the main one, the others follow in the order of the file.
    pub vrf: u16,
    /// The prefix.
    pub to: IpNet,
    /// Where it leads from now on; `None` when it leads nowhere any more.
    pub target: Option<Target>,
}

/// A change of a next-hop object that routes lead to: of all of them at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectChange {
    /// The kernel's number for it.
    pub id: u32,
    /// What it is from now on; `None` when no route leads to it any more.
    pub way: Option<Way>,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// Of objects, in order of their numbers.
    pub objects: Vec<ObjectChange>,
    /// Of routes, in order of domains and prefixes.
    pub routes: Vec<RouteChange>,
}

impl Changes {
    /// How many.
    pub fn len(&self) -> usize {
        self.objects.len() + self.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A prefix in a routing domain.
pub(super) type Place = (u16, IpNet);

/// What the data plane was last told.
#[derive(Default, Debug)]
pub(super) struct Told {
    routes: BTreeMap<Place, Target>,
    objects: HashMap<u32, Way>,
    /// Routes among them that lead to each object.
    led: HashMap<u32, usize>,
    /// Objects that the first route leads to now, or the last one no longer.
    changed: BTreeSet<u32>,
}

impl Told {
    /// All prefixes that have a way.
    pub(super) fn routes(&self) -> &BTreeMap<Place, Target> {
        &self.routes
    }

    /// Whether there is something to tell about objects.
    pub(super) fn is_behind(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What takes back all that the data plane was told.
    pub(super) fn nothing(&self) -> Changes {
        let gone = |(vrf, to): &Place| RouteChange { vrf: *vrf, to: *to, target: None };
        let objects = self.objects.keys().map(|id| ObjectChange { id: *id, way: None });
        Changes { objects: objects.collect(), routes: self.routes.keys().map(gone).collect() }
    }

    /// A prefix leads there from now on.
    pub(super) fn tell(&mut self, place: Place, target: Option<Target>) {
        if let Some(Target::Object(id)) = target {
            *self.led.entry(id).or_default() += 1;
            self.changed.insert(id);
        }
        let before = match target {
            Some(target) => self.routes.insert(place, target),
            None => self.routes.remove(&place),
        };
        self.unlead(before.as_ref());
    }

    /// Forgets routing domains, as the data plane has.
    pub(super) fn forget(&mut self, is_gone: impl Fn(u16) -> bool) {
        let gone: Vec<Target> =
            self.routes.extract_if(.., |(vrf, _), _| is_gone(*vrf)).map(|(_, target)| target).collect();
        gone.into_iter().for_each(|target| self.unlead(Some(&target)));
    }

    fn unlead(&mut self, target: Option<&Target>) {
        if let Some(Target::Object(id)) = target {
            count_down(&mut self.led, *id);
            self.changed.insert(*id);
        }
    }

    /// What of the objects, some of which are `fresh`, the data plane does not know yet.
    pub(super) fn tell_objects(&mut self, fresh: BTreeSet<u32>, objects: &Objects) -> Vec<ObjectChange> {
        let mut changes = Vec::new();
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(fresh);
        for id in changed {
            let way = objects.way(id).filter(|_| self.led.contains_key(&id));
            if self.objects.get(&id) == way {
                continue;
            }
            let way = way.cloned();
            match &way {
                Some(way) => self.objects.insert(id, way.clone()),
                None => self.objects.remove(&id),
            };
            changes.push(ObjectChange { id, way });
        }
        changes
    }
}

/// One less of these.
pub(super) fn count_down(counts: &mut HashMap<u32, usize>, id: u32) {
    if let Some(count) = counts.get_mut(&id) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&id);
        }
    }
}
