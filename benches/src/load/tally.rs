//! What has happened: latencies, counts, failures by name.

use core::time::Duration;

use tidegate_dataplane::clock::Instant;

use super::failure::Failure;
use crate::latency;

/// The times between which work counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// End of the warm-up.
    pub(crate) from: Instant,
    /// End of the measurement.
    pub(crate) until: Instant,
}

impl Window {
    /// How long it is.
    pub(crate) fn length(&self) -> Duration {
        self.until.saturating_duration_since(self.from)
    }

    /// Nothing counts from `now` on.
    fn cut(&mut self, now: Instant) {
        self.until = self.until.min(now);
    }

    fn has(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }
}

/// Counts of one run.
pub(crate) struct Tally {
    window: Option<Window>,
    /// Latencies are filed by when work was due, not by when it was done: what was due in the window and came late belongs to it.
    open: bool,
    /// Nanoseconds.
    pub(crate) latency: hdrhistogram::Histogram<u64>,
    /// Pieces of work done within the window.
    pub(crate) done: u64,
    /// Pieces of work done at any time: what the program under test has spent is counted from its start to its end.
    pub(crate) pieces: u64,
    /// Bytes of content received and sent within the window.
    pub(crate) bytes: u64,
    /// Connections opened within the window.
    pub(crate) opened: u64,
    /// Connections that are open for no other purpose.
    pub(crate) held: u64,
    /// By [`Failure`], from the first connection to the last.
    failures: [u64; Failure::ALL.len()],
}

impl Tally {
    /// Nothing has happened. `open` is for a loop that follows a schedule.
    pub(crate) fn new(open: bool) -> Self {
        let latency = latency::empty();
        let failures = [0; Failure::ALL.len()];
        Self { window: None, open, latency, done: 0, pieces: 0, bytes: 0, opened: 0, held: 0, failures }
    }

    /// Times between which work counts, once they are known.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window
    }

    /// From now on it is known what counts.
    pub(crate) fn begin(&mut self, window: Window) {
        self.window = Some(window);
    }

    /// Nothing counts from `now` on.
    pub(crate) fn cut(&mut self, now: Instant) {
        if let Some(window) = &mut self.window {
            window.cut(now);
        }
    }

    /// A piece of work that was due at `due` is done.
    #[inline]
    pub(crate) fn done(&mut self, due: Instant, now: Instant) {
        self.pieces += 1;
        let Some(window) = self.window else { return };
        let counts = window.has(now);
        self.done += u64::from(counts);
        if if self.open { window.has(due) } else { counts } {
            self.latency.saturating_record((now - due).as_nanos() as u64);
        }
    }

    /// A piece of work that was due at `due` has failed. Where a schedule is followed its latency is at least the time since: to leave
    /// the worst ones out would be a lie.
    pub(crate) fn failed(&mut self, failure: Failure, due: Instant, now: Instant) {
        self.failures[failure as usize] += 1;
        if self.open && self.window.is_some_and(|window| window.has(due)) {
            self.latency.saturating_record((now - due).as_nanos() as u64);
        }
    }

    /// Content has moved.
    #[inline]
    pub(crate) fn moved(&mut self, bytes: u64, now: Instant) {
        if self.window.is_some_and(|window| window.has(now)) {
            self.bytes += bytes;
        }
    }

    /// A connection is open.
    pub(crate) fn opened(&mut self, now: Instant) {
        self.opened += u64::from(self.window.is_some_and(|window| window.has(now)));
    }

    /// Failures by name, without those that did not happen.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Failure::ALL.iter().map(|failure| (failure.label(), self.failures[*failure as usize]));
        all.filter(|(_, count)| *count > 0)
    }

    /// All failures.
    pub(crate) fn errors(&self) -> u64 {
        self.failures.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn tally(open: bool) -> Tally {
        let mut tally = Tally::new(open);
        tally.done(at(1), at(2));
        tally.begin(Window { from: at(10), until: at(20) });
        tally
    }

    #[test]
    fn only_the_window_counts() {
        let mut tally = tally(false);
        for (due, now) in [(8, 9), (8, 10), (15, 16), (19, 20)] {
            tally.done(at(due), at(now));
            tally.moved(100, at(now));
            tally.opened(at(now));
        }
        assert_eq!((tally.done, tally.bytes, tally.opened, tally.latency.len()), (2, 200, 2, 2));
        assert_eq!(tally.pieces, 5, "the one before it was known what counts included");
    }

    #[test]
    fn what_was_due_in_the_window_and_came_late_is_a_latency_of_it() {
        let mut tally = tally(true);
        tally.done(at(19), at(100));
        tally.done(at(9), at(11));
        tally.failed(Failure::Timeout, at(12), at(112));
        assert_eq!((tally.done, tally.latency.len()), (1, 2));
        assert!(tally.latency.min() >= 80_000_000);
    }

    #[test]
    fn failures_have_names_and_count_always() {
        let mut tally = tally(false);
        tally.failed(Failure::Status, at(1), at(1));
        tally.failed(Failure::Status, at(15), at(15));
        tally.failed(Failure::Unsent, at(15), at(30));
        assert_eq!(tally.failures().collect::<Vec<_>>(), [("status", 2), ("unsent", 1)]);
        assert_eq!((tally.errors(), tally.latency.len()), (3, 0));
    }
}
