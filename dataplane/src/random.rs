//! Numbers that nobody needs to be unable to guess: to spread what would otherwise happen at once, to name requests.

/// The next number of a sequence (splitmix64). Any `state` is a good start.
#[inline]
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sequence_is_that_of_its_authors() {
        // The first numbers from 1234567, as the reference implementation prints them.
        let mut state = 1_234_567;
        let first: Vec<u64> = (0..3).map(|_| super::next(&mut state)).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
