//! When work is due. A closed loop begins the next piece when the last is done; an open loop follows a schedule that nothing the
//! server does can delay, and counts latency from the scheduled time, so that a stall is seen by all that was due meanwhile.

use core::time::Duration;

use tidegate_dataplane::clock::Instant;

/// When work is due.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// At once.
    Closed {
        /// Nothing is begun from here on.
        end: Instant,
    },
    /// At fixed times.
    Open(Schedule),
}

/// Times at equal distances.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    /// Nanoseconds between two. A fraction matters: over a minute at a million a second it adds up to many.
    interval: f64,
    /// Times in all.
    count: u64,
    /// Times taken.
    taken: u64,
}

impl Schedule {
    /// `rate` times a second from `start` on, for as long as `length`.
    pub(crate) fn new(start: Instant, rate: f64, length: Duration) -> Self {
        let interval = 1e9 / rate;
        let count = (length.as_nanos() as f64 / interval).ceil() as u64;
        Self { start, interval, count, taken: 0 }
    }

    fn at(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos((number as f64 * self.interval) as u64)
    }

    /// Times that have come and were not taken.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        if now < self.start {
            return 0;
        }
        let passed = ((now - self.start).as_nanos() as f64 / self.interval) as u64 + 1;
        passed.min(self.count).saturating_sub(self.taken)
    }

    /// The earliest time that has come and was not taken.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let next = self.at(self.taken);
        (self.taken < self.count && next <= now).then(|| {
            self.taken += 1;
            next
        })
    }

    /// Whether all were taken.
    pub(crate) fn is_over(&self) -> bool {
        self.taken >= self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_its_rate_and_waits_for_nobody() {
        let start = Instant::from_millis(5);
        let mut schedule = Schedule::new(start, 3.0, Duration::from_secs(2));
        assert_eq!((schedule.due(Instant::ZERO), schedule.take(Instant::ZERO)), (0, None));
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start + Duration::from_millis(333)), None);
        let late = start + Duration::from_secs(60);
        assert_eq!(schedule.due(late), 5, "six in all, one taken");
        let rest: Vec<_> = core::iter::from_fn(|| schedule.take(late)).map(|at| (at - start).as_millis()).collect();
        assert_eq!(rest, [333, 666, 1000, 1333, 1666]);
        assert!(schedule.is_over() && schedule.due(late) == 0);
    }

    #[test]
    fn fractions_of_a_nanosecond_do_not_get_lost() {
        let mut schedule = Schedule::new(Instant::ZERO, 1_500_000.0, Duration::from_secs(60));
        let mut last = Instant::ZERO;
        while let Some(at) = schedule.take(Instant::from_millis(60_000)) {
            last = at;
        }
        assert_eq!(schedule.taken, 90_000_000);
        assert!((Instant::from_millis(60_000) - last).as_nanos() < 1_000);
    }
}
