//! Time as an argument: instants in nanoseconds, and the one clock that reads the hardware.
//!
//! Everything in the data plane takes `now: Instant`. Only [`Clock::now`], called once per turn, reads the counter, so that
//! the whole path runs on virtual time in tests.

use core::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A point in time, in nanoseconds since an arbitrary origin that all cores of a process share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than anything else.
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds since the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        // In 64 bits: a few centuries are as good as never.
        let nanos = rhs.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(rhs.subsec_nanos()));
        Self(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.saturating_duration_since(rhs)
    }
}

/// The process's clock: the calibrated time-stamp counter. Cloned into each core; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    tsc: quanta::Clock,
    origin: u64,
}

impl Clock {
    /// Calibrates the counter. Takes some milliseconds; call it once and clone.
    pub fn new() -> Self {
        let tsc = quanta::Clock::new();
        let origin = tsc.raw();
        Self { tsc, origin }
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Instant {
        Instant(self.tsc.delta_as_nanos(self.origin, self.tsc.raw()))
    }

    /// Raw counter ticks, for cycle accounting. On x86 this is the TSC.
    #[inline]
    pub fn cycles(&self) -> u64 {
        self.tsc.raw()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let t = Instant::from_millis(5);
        assert_eq!(t - Instant::from_millis(7), Duration::ZERO);
        assert_eq!((t + Duration::from_micros(3)).as_nanos(), 5_003_000);
        assert_eq!(Instant::from_nanos(u64::MAX) + Duration::from_secs(1), Instant::from_nanos(u64::MAX));
    }

    #[test]
    fn clock_is_monotonic() {
        let clock = Clock::new();
        let a = clock.now();
        let b = clock.now();
        assert!(b >= a);
    }
}
