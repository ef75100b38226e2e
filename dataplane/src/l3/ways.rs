//! The next hops of all routes: each kept once, by number, for as long as some route leads there.
//!
//! A number stays with its way, so that routes need not be touched when something about the way changes: an interface's MTU, an address
//! of ours that a gateway turns out to be, a member of a group that can no longer be used.

use core::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{
    group::{self, Group, Member},
    table::{Action, NO_ROUTE, NextHop},
};
use crate::{
    l2::{Adjacency, Interface, Watched},
    meta::InterfaceId,
    sync::pulse::{Changes, Pulse},
};

/// What happens to packets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Way {
    NoRoute,
    Blackhole,
    Unreachable,
    Prohibit,
    Local(InterfaceId),
    Link(InterfaceId),
    Via(InterfaceId, IpAddr),
    /// Numbers of other ways, in order, each with its share; at least two.
    Spread(Box<[(u32, u16)]>),
    /// Where the target of this name leads, which may change while routes lead there.
    Shared(u32),
}

/// A way before its members have numbers.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    One(Way),
    Many(Vec<(Way, u16)>),
}

/// All ways.
#[derive(Debug)]
pub(super) struct Ways {
    list: Vec<Way>,
    users: Vec<u32>,
    index: HashMap<Way, u32, FixedState>,
    free: Vec<u32>,
    /// Numbers of the ways that shared targets lead to, by their names.
    shared: HashMap<u32, u32, FixedState>,
    /// Groups made for the table before, by number of their way.
    groups: HashMap<u32, Arc<Group>, FixedState>,
    /// Gateways that were members of them, by number of their way.
    pulses: HashMap<u32, Arc<Pulse>, FixedState>,
    changes: Arc<Changes>,
    /// Since [`Self::tables`].
    pub(super) is_changed: bool,
}

/// What the data plane reads.
pub(super) struct Tables {
    pub(super) next_hops: Vec<NextHop>,
    pub(super) adjacencies: Vec<Adjacency>,
    pub(super) groups: Vec<Arc<Group>>,
    pub(super) watched: Vec<Watched>,
    pub(super) changes: Arc<Changes>,
}

impl Ways {
    pub(super) fn new() -> Self {
        let mut ways = Self {
            list: Vec::new(),
            users: Vec::new(),
            index: HashMap::default(),
            free: Vec::new(),
            shared: HashMap::default(),
            groups: HashMap::default(),
            pulses: HashMap::default(),
            changes: Arc::default(),
            is_changed: true,
        };
        // The first is number 0, and stays.
        let none = ways.take(Way::NoRoute);
        debug_assert_eq!(none, NO_ROUTE);
        ways
    }

    /// The number of a way that one more user has.
    pub(super) fn take_wanted(&mut self, wanted: &Wanted) -> u32 {
        let many = match wanted {
            Wanted::One(way) => return self.take(way.clone()),
            Wanted::Many(many) => many,
        };
        let mut members: Vec<(u32, u16)> = Vec::with_capacity(many.len());
        for (way, weight) in many {
            let number = self.take(way.clone());
            match members.iter_mut().find(|(other, _)| *other == number) {
                Some((_, sum)) => {
                    *sum = sum.saturating_add(*weight);
                    self.release(number);
                }
                None => members.push((number, *weight)),
            }
        }
        members.sort_unstable();
        match members[..] {
            [] => self.take(Way::NoRoute),
            [(only, _)] => only,
            _ => {
                let way = Way::Spread(members.clone().into());
                if self.index.contains_key(&way) {
                    // The group has its members already.
                    members.iter().for_each(|(member, _)| self.release(*member));
                }
                self.take(way)
            }
        }
    }

    /// The number of a way that is no group.
    pub(super) fn take(&mut self, way: Way) -> u32 {
        if let Some(number) = self.index.get(&way) {
            self.users[*number as usize] += 1;
            return *number;
        }
        self.is_changed = true;
        let number = self.free.pop().unwrap_or(self.list.len() as u32);
        if number as usize == self.list.len() {
            self.list.push(way.clone());
            self.users.push(1);
        } else {
            self.list[number as usize] = way.clone();
            self.users[number as usize] = 1;
        }
        self.index.insert(way, number);
        number
    }

    /// Leads a shared target to another way, or (`None`) nowhere. What leads to it keeps its number.
    pub(super) fn share(&mut self, name: u32, wanted: Option<&Wanted>) {
        let number = wanted.map(|wanted| self.take_wanted(wanted));
        let before = match number {
            Some(number) => self.shared.insert(name, number),
            None => self.shared.remove(&name),
        };
        self.is_changed |= before != number;
        before.into_iter().for_each(|number| self.release(number));
    }

    /// One user less. The number may then become another way's: in tables made later, which also have other routes.
    pub(super) fn release(&mut self, number: u32) {
        let users = &mut self.users[number as usize];
        *users -= 1;
        if *users > 0 {
            return;
        }
        self.is_changed = true;
        let way = core::mem::replace(&mut self.list[number as usize], Way::NoRoute);
        self.index.remove(&way);
        self.groups.remove(&number);
        self.pulses.remove(&number);
        self.free.push(number);
        if let Way::Spread(members) = way {
            members.iter().for_each(|(member, _)| self.release(*member));
        }
    }

    /// What the ways are with these interfaces; `own` says whether an address is ours where an interface belongs.
    pub(super) fn tables(&mut self, interfaces: &[Interface], own: impl Fn(InterfaceId, IpAddr) -> bool) -> Tables {
        let mut tables = Tables {
            next_hops: Vec::new(),
            adjacencies: Vec::new(),
            groups: Vec::new(),
            watched: Vec::new(),
            changes: Arc::clone(&self.changes),
        };
        for way in &self.list {
            let (next_hop, gateway) = plain(way, interfaces, &own);
            tables.next_hops.push(next_hop);
            tables.adjacencies.push(Adjacency { interface: next_hop.interface, gateway });
        }
        let mut groups = HashMap::default();
        for (number, way) in self.list.iter().enumerate() {
            let Way::Spread(all) = way else { continue };
            let usable = all.iter().filter(|(at, _)| tables.next_hops[*at as usize].action == Action::Forward);
            let members: Vec<Member> = usable.map(|(at, weight)| member(*at, *weight, &tables)).collect();
            match members[..] {
                [] => {}
                [Member { next_hop, .. }] => {
                    tables.next_hops[number] = tables.next_hops[next_hop as usize];
                    tables.adjacencies[number] = tables.adjacencies[next_hop as usize];
                }
                _ => {
                    let before = self.groups.get(&(number as u32)).filter(|group| group.members() == members);
                    let group = before.map_or_else(|| Arc::new(Group::new(members)), Arc::clone);
                    // 65536 groups of 12 KiB are more than anybody has: the next would have one member only.
                    match u16::try_from(tables.groups.len()) {
                        Ok(place) => {
                            tables.next_hops[number].action = Action::Spread(place);
                            tables.groups.push(Arc::clone(&group));
                        }
                        Err(_) => {
                            let first = group.members()[0].next_hop as usize;
                            tables.next_hops[number] = tables.next_hops[first];
                            tables.adjacencies[number] = tables.adjacencies[first];
                        }
                    }
                    groups.insert(number as u32, group);
                }
            }
        }
        self.groups = groups;
        for (number, way) in self.list.iter().enumerate() {
            if let Way::Shared(name) = way
                && let Some(at) = self.shared.get(name)
            {
                tables.next_hops[number] = tables.next_hops[*at as usize];
                tables.adjacencies[number] = tables.adjacencies[*at as usize];
            }
        }
        self.watch(&mut tables);
        self.is_changed = false;
        tables
    }

    /// Notes the gateways of groups; one that stays keeps its pulse.
    fn watch(&mut self, tables: &mut Tables) {
        let members = tables.groups.iter().flat_map(|group| group.members()).map(|member| member.next_hop);
        let mut gateways: Vec<u32> =
            members.filter(|next_hop| tables.adjacencies[*next_hop as usize].gateway.is_some()).collect();
        gateways.sort_unstable();
        gateways.dedup();
        let mut before = core::mem::take(&mut self.pulses);
        for next_hop in gateways {
            let known = before.remove(&next_hop);
            let pulse = known.unwrap_or_else(|| Arc::new(Pulse::new(Arc::clone(&self.changes))));
            self.pulses.insert(next_hop, Arc::clone(&pulse));
            tables.watched.push(Watched { next_hop, pulse });
        }
    }
}

fn member(next_hop: u32, weight: u16, tables: &Tables) -> Member {
    let Adjacency { interface, gateway } = tables.adjacencies[next_hop as usize];
    Member { next_hop, weight, name: group::name(interface, gateway) }
}

/// A way that is no group, as a next hop and its gateway.
fn plain(way: &Way, interfaces: &[Interface], own: impl Fn(InterfaceId, IpAddr) -> bool) -> (NextHop, Option<IpAddr>) {
    let mtu = |interface: InterfaceId| interfaces.get(interface.index()).map_or(0, |interface| interface.mtu);
    let end = |action| (NextHop { action, interface: InterfaceId(0), mtu: 0 }, None);
    let forward = |interface| NextHop { action: Action::Forward, interface, mtu: mtu(interface) };
    match way {
        Way::Blackhole => end(Action::Blackhole),
        Way::Unreachable => end(Action::Unreachable),
        Way::Prohibit => end(Action::Prohibit),
        Way::Local(interface) => (NextHop { action: Action::Local, interface: *interface, mtu: 0 }, None),
        Way::Link(interface) if mtu(*interface) > 0 => (forward(*interface), None),
        Way::Via(interface, gateway) if mtu(*interface) > 0 && !own(*interface, *gateway) => {
            (forward(*interface), Some(*gateway))
        }
        // A learnt route by an interface that is gone, or by ourselves; or what leads to other ways.
        Way::NoRoute | Way::Link(_) | Way::Via(..) | Way::Spread(_) | Way::Shared(_) => end(Action::NoRoute),
    }
}
