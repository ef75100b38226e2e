//! How many neighbours a core knows, and how many new ones it asks for.

use core::net::IpAddr;

use super::State;
use crate::{
    clock::Instant,
    l2::{Bounds, Bucket, Table, Turn},
    meta::InterfaceId,
    verdict::DropReason,
};

/// Part of a second's questions that may be asked at once.
const QUESTIONS_AT_ONCE: u32 = 4;

impl State {
    /// Takes over the bounds, and makes room for what they allow. Entries beyond a lower one give way as new ones come.
    pub(super) fn bound(&mut self, table: &Table) {
        let bounds = table.bounds();
        self.entries.expect(bounds.entries + table.neighbors().len());
        self.timers.reserve(bounds.entries.saturating_sub(self.timers.len()));
        // A reload that says the same gives nobody a full bucket.
        if bounds.questions != self.bounds.questions {
            self.questions.clear();
        }
        self.questions.resize(table.interfaces().len(), questions(bounds));
        self.bounds = bounds;
    }

    /// Whether a new neighbour on `interface` may be asked for: a scan of one link takes nothing from the others.
    pub(super) fn may_ask(&mut self, interface: InterfaceId, now: Instant) -> bool {
        self.questions.get_mut(interface.index()).is_some_and(|questions| questions.take(now))
    }

    /// Makes an entry within the limits, evicting another if need be.
    pub(super) fn create(
        &mut self,
        table: &Table,
        turn: &mut Turn<'_>,
        interface: InterfaceId,
        address: IpAddr,
    ) -> Option<u32> {
        // After a bound was lowered two go for each that comes, until they are as few as it says.
        let dynamic = self.entries.dynamic();
        let too_many = usize::from(dynamic >= self.bounds.entries) + usize::from(dynamic > self.bounds.entries);
        for _ in 0..too_many {
            let victim = self.entries.victim(turn.now)?;
            let entry = &mut self.entries[victim];
            while self.pending.pop(&mut entry.waiting).is_some() {
                turn.stats.drops(DropReason::NeighborTableFull).add(1);
            }
            self.entries.remove(victim);
        }
        Some(self.entries.insert(interface, table.interface(interface), address))
    }
}

/// How many new neighbours may be asked for on a link.
const fn questions(bounds: Bounds) -> Bucket {
    let at_once = bounds.questions / QUESTIONS_AT_ONCE;
    Bucket::per_second(bounds.questions, if at_once == 0 { 1 } else { at_once })
}
