//! The kernel's next-hop objects: what routes lead to by number (`ip nexthop`), so that all of them change with it.

use std::collections::{BTreeSet, HashMap};

use super::route::Object;
use super::way::{NextHop, Ports, Way};

/// Most objects that are kept. Routes to more lead where they said they did when they were made.
const MOST: usize = 1 << 20;
/// Groups of groups do not exist; a chain of objects ends here.
const DEPTH: usize = 2;

/// The objects, and what each is to the data plane.
#[derive(Default, Debug)]
pub(super) struct Objects {
    all: HashMap<u32, Known>,
    /// The groups that have a member.
    groups_of: HashMap<u32, BTreeSet<u32>>,
    /// Those that may be something else than their `way` says; some may be gone.
    stale: BTreeSet<u32>,
}

#[derive(Debug)]
struct Known {
    object: Object,
    /// The reading in which it was last seen.
    seen: u32,
    /// What it is to the data plane: `None` if it leads nowhere that a port does.
    way: Option<Way>,
    /// It has not been refreshed yet.
    is_new: bool,
}

/// What has become of objects.
#[derive(Default, Debug)]
pub(super) struct Fresh {
    /// Those that are something else than before, or gone.
    pub(super) changed: BTreeSet<u32>,
    /// Those among them that lead somewhere now and did not, or the other way about: another route may be the better one.
    pub(super) turned: BTreeSet<u32>,
}

impl Objects {
    pub(super) fn has(&self, id: u32) -> bool {
        self.all.contains_key(&id)
    }

    /// What an object is, as of the last [`Self::refresh`].
    pub(super) fn way(&self, id: u32) -> Option<&Way> {
        self.all.get(&id)?.way.as_ref()
    }

    /// An object is there. Returns whether there is room for it.
    pub(super) fn set(&mut self, id: u32, object: Object, reading: u32) -> bool {
        if let Some(known) = self.all.get_mut(&id).filter(|known| known.object == object) {
            known.seen = reading;
            return true;
        }
        if self.all.len() >= MOST && !self.has(id) {
            return false;
        }
        let (way, is_new) = match self.all.remove(&id) {
            Some(before) => {
                self.leave(id, &before.object);
                (before.way, before.is_new)
            }
            None => (None, true),
        };
        if let Object::Group(members) = &object {
            for (member, _) in members {
                self.groups_of.entry(*member).or_default().insert(id);
            }
        }
        self.all.insert(id, Known { object, seen: reading, way, is_new });
        self.touch(id);
        true
    }

    /// An object is gone, and no group has it any more. Returns whether there was one.
    pub(super) fn remove(&mut self, id: u32) -> bool {
        let Some(known) = self.all.remove(&id) else { return false };
        self.leave(id, &known.object);
        self.touch(id);
        for group in self.groups_of.remove(&id).unwrap_or_default() {
            if let Some(Known { object: Object::Group(members), .. }) = self.all.get_mut(&group) {
                members.retain(|(member, _)| *member != id);
            }
        }
        true
    }

    /// Objects that a reading, which is at its end, has not shown.
    pub(super) fn unseen(&self, reading: u32) -> Vec<u32> {
        self.all.iter().filter(|(_, known)| known.seen != reading).map(|(id, _)| *id).collect()
    }

    /// A device went up or down.
    pub(super) fn touch_device(&mut self, device: u32) {
        let leads_there = |known: &Known| matches!(&known.object, Object::Hop(hop) if hop.device == device);
        let there: Vec<u32> = self.all.iter().filter(|(_, known)| leads_there(known)).map(|(id, _)| *id).collect();
        there.into_iter().for_each(|id| self.touch(id));
    }

    /// Whether there is something to refresh.
    pub(super) fn is_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Finds out what the objects are now.
    pub(super) fn refresh(&mut self, ports: &Ports) -> Fresh {
        let mut fresh = Fresh::default();
        for id in std::mem::take(&mut self.stale) {
            let way = self.lead(id, ports);
            let Some(known) = self.all.get_mut(&id) else {
                fresh.changed.insert(id);
                continue;
            };
            if !std::mem::take(&mut known.is_new) && known.way.is_some() != way.is_some() {
                fresh.turned.insert(id);
            }
            if known.way != way {
                fresh.changed.insert(id);
                known.way = way;
            }
        }
        fresh
    }

    /// Notes that an object, and each group that has it, may be something else.
    fn touch(&mut self, id: u32) {
        self.stale.insert(id);
        self.stale.extend(self.groups_of.get(&id).into_iter().flatten());
    }

    /// A group has its members no longer.
    fn leave(&mut self, group: u32, object: &Object) {
        let Object::Group(members) = object else { return };
        for (member, _) in members {
            if let Some(groups) = self.groups_of.get_mut(member) {
                groups.remove(&group);
                if groups.is_empty() {
                    self.groups_of.remove(member);
                }
            }
        }
    }

    fn lead(&self, id: u32, ports: &Ports) -> Option<Way> {
        let mut hops = Vec::new();
        match self.collect((id, 1), DEPTH, ports, &mut hops) {
            Drops(true) => Some(Way::Blackhole),
            Drops(false) => Way::by(hops.into_iter()),
        }
    }

    /// Collects the hops of an object.
    fn collect(&self, (id, weight): (u32, u16), depth: usize, ports: &Ports, hops: &mut Vec<NextHop>) -> Drops {
        match self.all.get(&id).map(|known| &known.object) {
            Some(Object::Blackhole) => return Drops(true),
            Some(Object::Hop(hop)) => hops.extend(ports.hop(hop, weight)),
            Some(Object::Group(members)) if depth > 0 => {
                let drops = |member: &(u32, u16)| self.collect(*member, depth - 1, ports, hops).0;
                // All of them: each adds its hops.
                return Drops(members.iter().map(drops).fold(false, |any, one| any | one));
            }
            Some(Object::Group(_) | Object::Nowhere) | None => {}
        }
        Drops(false)
    }
}

/// Whether an object drops packets.
struct Drops(bool);
