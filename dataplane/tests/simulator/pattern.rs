//! Content as a function of a key and an offset, so that every octet can be checked wherever it turns up.

use crate::dice::mix;

/// What a piece of content is keyed by: whose it is, and in which direction it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// From client to origin.
    Up(usize),
    /// From origin to client.
    Down(usize),
}

impl Key {
    fn word(self) -> u64 {
        match self {
            Self::Up(id) => 2 * id as u64,
            Self::Down(id) => 2 * id as u64 + 1,
        }
    }
}

#[inline]
fn octets(key: u64, index: u64) -> [u8; 8] {
    mix((key << 40 ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()
}

/// Writes the content from `offset` on.
pub(crate) fn fill(key: Key, offset: u64, into: &mut [u8]) {
    let key = key.word();
    let mut at = offset;
    let mut rest = into;
    while !rest.is_empty() {
        let skip = (at % 8) as usize;
        let n = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(n);
        head.copy_from_slice(&octets(key, at / 8)[skip..skip + n]);
        at += n as u64;
        rest = tail;
    }
}

/// Compares what arrived at `offset`; gives the first offset that differs.
pub(crate) fn check(key: Key, offset: u64, got: &[u8]) -> Result<(), u64> {
    let key = key.word();
    let mut at = offset;
    let mut rest = got;
    while !rest.is_empty() {
        let skip = (at % 8) as usize;
        let n = rest.len().min(8 - skip);
        let expected = octets(key, at / 8);
        if rest[..n] != expected[skip..skip + n] {
            let differs = (0..n).find(|i| rest[*i] != expected[skip + *i]).unwrap_or(0);
            return Err(at + differs as u64);
        }
        at += n as u64;
        rest = &rest[n..];
    }
    Ok(())
}

#[test]
fn any_shift_shows() {
    let mut bytes = [0; 100];
    fill(Key::Up(7), 3, &mut bytes);
    assert_eq!(check(Key::Up(7), 3, &bytes), Ok(()));
    assert_eq!(check(Key::Up(7), 13, &bytes[10..]), Ok(()));
    assert!(check(Key::Up(7), 4, &bytes).is_err() && check(Key::Down(7), 3, &bytes).is_err());
    bytes[50] ^= 1;
    assert_eq!(check(Key::Up(7), 3, &bytes), Err(53));
}
