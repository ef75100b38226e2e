//! Numbers that are the same in every run: xorshift64* (Vigna 2016), and Zipf's distribution on top of it.

/// A generator.
pub(crate) struct Random(u64);

impl Random {
    /// A generator that always yields the same numbers.
    pub(crate) fn new() -> Self {
        Self(42)
    }

    /// A generator for each seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        // SplitMix64 (Steele, Lea, Flood 2014): seeds that differ little make states that differ much; 0 is the one that stays.
        let mut state = seed;
        Self(tidegate_dataplane::random::next(&mut state).max(1))
    }

    /// A number from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, evenly distributed.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.bits()) * limit as u128) >> 64) as usize
    }
}

/// Ranks drawn with a probability that falls with the rank: a few destinations get most of the traffic.
pub(crate) struct Zipf {
    /// Sum of 1/rank up to each rank.
    sums: Vec<f64>,
}

impl Zipf {
    /// Ranks 0 to `count - 1`, exponent 1.
    pub(crate) fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let up_to = |rank: usize| {
            sum += 1.0 / rank as f64;
            sum
        };
        Self { sums: (1..=count).map(up_to).collect() }
    }

    /// A rank.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        let point = random.unit() * total;
        self.sums.partition_point(|sum| *sum < point).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_ranks_are_drawn_most() {
        let (zipf, mut random) = (Zipf::new(1000), Random::new());
        let mut counts = [0u32; 1000];
        for _ in 0..100_000 {
            counts[zipf.draw(&mut random)] += 1;
        }
        // 1 / H(1000) = 13.4 % for the first, half of that for the second.
        assert!((12_500..14_500).contains(&counts[0]) && (6_000..7_500).contains(&counts[1]), "{:?}", &counts[..2]);
        assert!((0..100).all(|_| random.below(3) < 3));
    }
}
