//! Looking at a core's neighbours without touching them: for operators, and to try out what would become of a packet.

use core::net::IpAddr;
use std::collections::BinaryHeap;

use super::State;
use crate::{
    l2::{entries::Neighbor, presence::Announcer},
    meta::InterfaceId,
};

impl State {
    /// A copy to try something out on: it decides as this one does, and sends, asks and remembers nothing.
    pub fn rehearsal(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            adjacent: self.adjacent.clone(),
            timers: BinaryHeap::new(),
            pending: self.pending.rehearsal(),
            failed: Vec::new(),
            bounds: self.bounds,
            questions: self.questions.clone(),
            defended: self.defended.clone(),
            announcer: Announcer::new(0),
            vigil: self.vigil.rehearsal(),
            stations: self.stations.clone(),
        }
    }

    /// The entry of an address.
    pub fn neighbor(&self, interface: InterfaceId, address: IpAddr) -> Option<Neighbor> {
        self.entries.find(interface, address).map(|slot| Neighbor::of(&self.entries[slot]))
    }

    /// Copies entries from the place `from` on into `found`, as many as there is room for; where to go on, if not at the end.
    pub fn copy_neighbors(&self, from: u32, found: &mut Vec<Neighbor>) -> Option<u32> {
        for slot in from..self.entries.slots() {
            if found.len() == found.capacity() {
                return Some(slot);
            }
            found.extend(self.entries.slot(slot).filter(|entry| entry.live).map(Neighbor::of));
        }
        None
    }

    /// All entries, in no order.
    pub fn neighbors(&self) -> impl Iterator<Item = Neighbor> + '_ {
        self.entries.iter().map(Neighbor::of)
    }
}
