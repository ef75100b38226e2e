//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).
#![allow(unsafe_code)] // Code for processors that have more than every processor of the architecture is called by promise.

use crate::{frame::Frame, meta::Meta};

/// 32-bit words that are summed side by side.
const LANES: usize = 8;

/// A running one's-complement sum. Add parts in any order; parts of odd length only last.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Nothing added yet.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes as big-endian 16-bit words.
    #[inline]
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "`sum + bytes` would hide that the bytes are walked")]
    pub fn add(self, bytes: &[u8]) -> Self {
        // Eight bytes at a time in native order: the one's-complement sum is independent of byte order up to a swap of the
        // result (RFC 1071 §2 B), which is done once at the end of the block.
        let mut sum = 0u64;
        let mut bytes = bytes;
        if bytes.len() >= 4 * LANES * 2 {
            let (blocks, rest) = bytes.as_chunks();
            sum = sum_of(blocks);
            bytes = rest;
        }
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word =
                u64::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]);
            let (next, carry) = sum.overflowing_add(word);
            sum = next + u64::from(carry);
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut last = [0u8; 8];
            last[..rest.len()].copy_from_slice(rest);
            let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(last));
            sum = next + u64::from(carry);
        }
        Self(self.0 + u64::from(u16::from_be(fold(sum))))
    }

    /// Adds one 16-bit word.
    #[inline]
    #[must_use]
    pub const fn add_word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds the pseudo-header of RFC 793 §3.1 (IPv4) or RFC 8200 §8.1 (IPv6): source and destination address as bytes.
    #[inline]
    #[must_use]
    pub fn add_pseudo(self, src: &[u8], dst: &[u8], protocol: u8, len: usize) -> Self {
        let len = len as u32;
        self.add(src).add(dst).add_word(u16::from(protocol)).add_word((len >> 16) as u16).add_word(len as u16)
    }

    /// The folded sum, not complemented: what a partial checksum field holds, and 0xffff for data whose checksum is right.
    #[inline]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }
}

/// A vector's worth of bytes.
type Block = [u8; 4 * LANES];

/// The sum of all 32-bit words, with the widest vectors that the processor has of those worth asking for.
#[inline]
fn sum_of(blocks: &[Block]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: what the function needs beyond every x86-64 is AVX2, and the processor has just said that it has that.
        return unsafe { sum_of_avx2(blocks) };
    }
    lanes(blocks)
}

/// [`lanes`] on vectors of 32 bytes: a quarter of the instructions, since a half-width load widens words on its way.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_of_avx2(blocks: &[Block]) -> u64 {
    lanes(blocks)
}

/// Many sums at once, none of which can overflow: the compiler makes them vectors, as wide as the caller's processor has them.
#[inline(always)]
fn lanes(blocks: &[Block]) -> u64 {
    let mut lanes = [0u64; LANES];
    for block in blocks {
        // By index: in a debug build, and where code is generated in parts, iterators would stay calls.
        let mut lane = 0;
        while lane < LANES {
            let at = 4 * lane;
            lanes[lane] += u64::from(u32::from_ne_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]));
            lane += 1;
        }
    }
    lanes.iter().sum()
}

#[inline]
const fn fold(sum: u64) -> u16 {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    let mut sum = sum as u32;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The checksum after a 16-bit field changed from `old` to `new` (RFC 1624 eqn. 3).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold((!checksum) as u64 + (!old) as u64 + new as u64)
}

/// The checksum of an IPv4 header after its TTL went down by one: [`update`] of the word that the TTL is the upper half of, which comes to
/// an addition whatever that word is (RFC 1141), but for the zero that RFC 1624 §3 tells from its other representation.
#[inline]
pub const fn after_hop(checksum: [u8; 2]) -> [u8; 2] {
    // In the machine's byte order (RFC 1071 §2 B).
    let sum = u16::from_ne_bytes(checksum) as u32 + 0x100u16.to_be() as u32;
    ((sum + (sum >= 0xffff) as u32) as u16).to_ne_bytes()
}

/// Completes a partial checksum in software, for a port that cannot. Wrong offsets leave the packet as it is.
pub fn complete(frame: &mut Frame, meta: &mut Meta) {
    let start = usize::from(meta.checksum_start);
    let field = start + usize::from(meta.checksum_offset);
    let data = frame.data_mut();
    if let Some(part) = data.get(start..)
        && field + 2 <= data.len()
    {
        // The field already holds the pseudo-header's sum and so is part of what is added.
        let sum = Sum::new().add(part).finish();
        // A UDP checksum of zero means "none" (RFC 768): send its other representation.
        let sum = if sum == 0 && meta.protocol == 17 { 0xffff } else { sum };
        data[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    meta.flags.remove(crate::meta::Flags::CHECKSUM_PARTIAL);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sum::new().add(&bytes).finish(), plain(&bytes));
        }

        #[test]
        fn every_width_of_vectors_gives_the_same(blocks in prop::collection::vec(any::<Block>(), 0..60)) {
            prop_assert_eq!(sum_of(&blocks), lanes(&blocks));
        }

        #[test]
        fn update_agrees_with_recomputation(mut bytes in prop::collection::vec(any::<u8>(), 20), new: u16) {
            bytes[10] = 0; bytes[11] = 0;
            let before = Sum::new().add(&bytes).finish();
            let old = u16::from_be_bytes([bytes[8], bytes[9]]);
            bytes[8..10].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(update(before, old, new), Sum::new().add(&bytes).finish());
        }
    }

    #[test]
    fn a_hop_is_an_update_of_one_word() {
        for checksum in 0..=u16::MAX {
            for word in [0x0100, 0x0106, 0x4011, 0x80ff, 0xffff, 0xff00] {
                let expected = update(checksum, word, word - 0x100).to_be_bytes();
                assert_eq!(after_hop(checksum.to_be_bytes()), expected, "{checksum:#x} {word:#x}");
            }
        }
    }
}
