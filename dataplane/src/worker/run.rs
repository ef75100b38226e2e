//! A core's life: turn after turn, sleep where there is nothing to do, and the end.

use core::time::Duration;

use super::{Worker, idle};
use crate::{clock::Instant, l2::Turn, l3, l7::app::App, tables::Phase};

/// Turns with work after the tables say that it is over.
const LAST_TURNS: u32 = 1024;

impl<A: App> Worker<A> {
    /// Polls until the tables say [`Phase::Stop`], and then as long as there is something to do: a farewell, the last segments. Packets
    /// that go on coming do not keep it: after [`LAST_TURNS`] it ends all the same.
    pub fn run(&mut self) {
        let mut last = LAST_TURNS;
        loop {
            let now = self.clock.now();
            let busy = self.turn(now);
            if self.host.tables.get().phase == Phase::Stop {
                if !busy || last == 0 {
                    return self.cease(now);
                }
                last -= 1;
            }
            if busy {
                self.idler.busy();
                continue;
            }
            let patience = self.patience(now);
            let Self { links, ports, .. } = self;
            if self.idler.idle(patience, || links.borrow_mut().has_mail() || !ports.prepare_sleep()) {
                self.stats.sleeps.add(1);
                self.meter.slept();
            }
        }
    }

    fn patience(&self, now: Instant) -> Duration {
        if self.host.exec.has_runnable() || !self.egress.is_empty() {
            return Duration::ZERO;
        }
        let timer = self.next_deadline().map_or(idle::MAX_SLEEP, |at| at.saturating_duration_since(now));
        timer.min(self.ports.patience())
    }

    /// The last packets: hosts that use us as their router hear that we are going.
    fn cease(&mut self, now: Instant) {
        let generation = self.host.tables.get();
        let Self { arena, egress, stats, net, .. } = self;
        l3::cease(&generation.l3, net, &mut Turn { now, arena, egress, stats });
        self.outgoing(&generation, now);
        self.ports.flush(&self.arena);
    }
}
