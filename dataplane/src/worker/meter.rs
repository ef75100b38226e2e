//! Where a turn's cycles went.

use std::sync::Arc;

use crate::{
    clock::Clock,
    stats::{CoreStats, Stage},
};

/// Splits the time of a turn among its stages: one reading of the counter per stage and batch.
pub(super) struct Meter {
    clock: Clock,
    stats: Arc<CoreStats>,
    turn: u64,
    last: u64,
}

impl Meter {
    pub(super) fn new(clock: Clock, stats: Arc<CoreStats>) -> Self {
        let now = clock.cycles();
        Self { clock, stats, turn: now, last: now }
    }

    /// What has passed since the last lap was spent in `stage`, on `packets` packets.
    #[inline]
    pub(super) fn lap(&mut self, stage: Stage, packets: usize) {
        let now = self.clock.cycles();
        let stats = self.stats.stage(stage);
        stats.cycles.add(now.saturating_sub(self.last));
        stats.packets.add(packets as u64);
        self.last = now;
    }

    /// Ends a turn. Turns without work are not attributed to stages: their laps would drown those that matter.
    #[inline]
    pub(super) fn turn(&mut self, busy: bool) {
        let now = self.clock.cycles();
        let spent = now.saturating_sub(self.turn);
        self.stats.turns.add(1);
        self.stats.total_cycles.add(spent);
        if busy {
            self.stats.busy_cycles.add(spent);
        } else {
            self.stats.idle_turns.add(1);
        }
        self.turn = now;
        self.last = now;
    }

    /// The core slept since the last turn ended: that was time, but not work.
    pub(super) fn slept(&mut self) {
        let now = self.clock.cycles();
        self.stats.total_cycles.add(now.saturating_sub(self.turn));
        self.turn = now;
        self.last = now;
    }

    /// Forgets the time up to now, at the start of a stretch that belongs to no stage.
    #[inline]
    pub(super) fn skip(&mut self) {
        self.last = self.clock.cycles();
    }
}
