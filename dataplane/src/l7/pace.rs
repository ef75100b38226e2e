//! How long one side may keep the other waiting: without progress, and on average (slow-read and slow-body attacks move a few
//! bytes just before every timeout).

use core::time::Duration;

use crate::clock::Instant;

/// The patience with one peer in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    idle: Duration,
    /// Bytes per second; 0 for none.
    min_rate: u32,
    /// Time spent waiting for this peer so far, without the current wait.
    waited: Duration,
    /// When the current wait began.
    since: Option<Instant>,
    /// Bytes moved when the current wait began.
    moved: u64,
}

impl Pace {
    /// Allows `idle` between two movements, and `idle` plus what `min_rate` grants for the bytes moved in total.
    pub(super) fn new(idle: Duration, min_rate: u32) -> Pace {
        Pace { idle, min_rate, waited: Duration::ZERO, since: None, moved: 0 }
    }

    /// The peer is being waited for at `now`, with `moved` bytes transferred in all. Returns when patience ends.
    pub(super) fn wait(&mut self, now: Instant, moved: u64) -> Instant {
        let since = match self.since {
            Some(since) if moved == self.moved => since,
            earlier => {
                self.waited += earlier.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
                self.moved = moved;
                self.since = Some(now);
                now
            }
        };
        let granted = match self.min_rate {
            0 => return since + self.idle,
            rate => self.idle + Duration::from_millis(moved.saturating_mul(1000) / u64::from(rate)),
        };
        since + self.idle.min(granted.saturating_sub(self.waited))
    }

    /// Something else is being waited for: the clock of this peer stands still.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn silence_ends_patience() {
        let mut pace = Pace::new(IDLE, 0);
        assert_eq!(pace.wait(at(1), 0), at(11));
        assert_eq!(pace.wait(at(5), 0), at(11));
        assert_eq!(pace.wait(at(6), 1), at(16));
    }

    #[test]
    fn a_trickle_ends_patience_too() {
        let mut pace = Pace::new(IDLE, 100);
        let mut now = 0;
        while pace.wait(at(now), now) > at(now + 1) {
            now += 1;
        }
        assert!((9..=11).contains(&now), "{now}");
    }

    #[test]
    fn only_waiting_for_this_peer_counts() {
        let mut pace = Pace::new(IDLE, 100);
        assert_eq!(pace.wait(at(0), 0), at(10));
        pace.pause(at(4));
        assert_eq!(pace.wait(at(100), 0), at(106));
        // A fast peer never runs out.
        assert_eq!(pace.wait(at(101), 100_000), at(111));
    }
}
