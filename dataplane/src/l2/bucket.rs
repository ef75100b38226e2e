//! A token bucket, for what may be sent only so often: questions to neighbours, ICMP messages.

use core::time::Duration;

use crate::clock::Instant;

/// Tokens that come back at a rate, kept as the time at which the bucket will be full again.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    interval: Duration,
    burst: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket: `burst` tokens at once, `rate` per second in the long run. Both at least 1.
    pub const fn per_second(rate: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / rate as u64;
        Self {
            interval: Duration::from_nanos(interval),
            burst: Duration::from_nanos(interval * burst as u64),
            full_at: Instant::ZERO,
        }
    }

    /// Takes a token, if there is one.
    #[inline]
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.interval;
        let ok = full_at - now <= self.burst;
        if ok {
            self.full_at = full_at;
        }
        ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::per_second(1_000, 5);
        let at = Instant::from_millis;
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, at(50)), 5);
        assert_eq!(taken(&mut bucket, at(53)), 3);
        assert_eq!(taken(&mut bucket, at(10_000)), 5, "no more than the burst is saved up");
    }
}
