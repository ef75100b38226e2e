//! The only source of chance: one seed, one history.

use core::time::Duration;

/// A small generator (splitmix64): good enough to decide fates, and cheap to split.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

/// One step of splitmix64.
#[inline]
pub(crate) fn mix(state: u64) -> u64 {
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x7469_6465_6761_7465))
    }

    /// Dice of their own for one purpose, so that rolling them more often disturbs nobody else.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.roll())
    }

    #[inline]
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Evenly from `0..n`.
    #[inline]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.roll()) * u128::from(n.max(1))) >> 64) as u64
    }

    /// Evenly from `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Whether something that happens `n` times in 10,000 happens now.
    #[inline]
    pub(crate) fn chance(&mut self, n: u32) -> bool {
        n > 0 && self.below(10_000) < u64::from(n)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }

    /// From `0..=max`, small values as likely as large ones on a logarithmic scale.
    pub(crate) fn skewed(&mut self, max: u64) -> u64 {
        let bits = u64::from(64 - max.leading_zeros());
        let bits = self.between(0, bits);
        self.below(1 << bits).min(max)
    }

    pub(crate) fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low, high))
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.micros(low * 1000, high * 1000)
    }
}
