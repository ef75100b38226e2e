//! What every answer of the origin contains, so that whoever receives it can tell whether it is whole: byte `n` of any content is
//! byte `n` of one block that repeats.

use std::sync::LazyLock;

/// Bytes of the block: no power of two, so that a piece that is missing or doubled does not go unnoticed.
const BLOCK: usize = 65_521;

static CONTENT: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = || {
        // xorshift64* (Vigna 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    core::iter::repeat_with(byte).take(BLOCK).collect()
});

/// Content from byte `at` on, at most `most` bytes, at least one unless `most` is 0.
#[inline]
pub(crate) fn part(at: u64, most: u64) -> &'static [u8] {
    let rest = &CONTENT[(at % BLOCK as u64) as usize..];
    &rest[..most.min(rest.len() as u64) as usize]
}

/// Whether `bytes` are the content from byte `at` on.
pub(crate) fn is_part(mut at: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let part = part(at, bytes.len() as u64);
        let (front, rest) = bytes.split_at(part.len());
        if front != part {
            return false;
        }
        at += part.len() as u64;
        bytes = rest;
    }
    true
}

/// How long the content at `path` is; `None` when there is none: `/0`, `/1k`, `/100k`, `/100m`, `/bytes/N`.
pub(crate) fn length_at(path: &[u8]) -> Option<u64> {
    match path {
        b"/0" => Some(0),
        b"/1k" => Some(1 << 10),
        b"/100k" => Some(100 << 10),
        b"/100m" => Some(100 << 20),
        _ => core::str::from_utf8(path.strip_prefix(b"/bytes/")?).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_from_anything_else() {
        let mut bytes = Vec::new();
        while bytes.len() < 200_000 {
            bytes.extend_from_slice(part(bytes.len() as u64, 10_000));
        }
        assert!(is_part(0, &bytes) && is_part(1000, &bytes[1000..]) && is_part(5, &[]));
        assert!(!is_part(0, &bytes[1000..]) && !is_part(0, &bytes[BLOCK - 15..]));
        bytes[70_000] ^= 1;
        assert!(!is_part(0, &bytes));
        assert!(part(3, 0).is_empty());
    }

    #[test]
    fn paths_say_how_much() {
        assert_eq!(length_at(b"/1k"), Some(1024));
        assert_eq!(length_at(b"/bytes/12345"), Some(12345));
        for other in [&b"/"[..], b"/2k", b"/bytes/", b"/bytes/-1", b"/bytes/99999999999999999999"] {
            assert_eq!(length_at(other), None);
        }
    }
}
