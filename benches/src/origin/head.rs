//! Heads of messages as a load sees them: mostly the same one again, sometimes in pieces.

use core::fmt;

use tidegate_dataplane::l7::http1::{Limits, Scanner};

/// Bytes a head may have.
pub(crate) const LIMIT: usize = 16 << 10;

/// Bounds for parsers of heads that were found here.
pub(crate) fn limits() -> Limits {
    Limits { head_bytes: LIMIT, ..Limits::default() }
}

/// What the heads of one core mean. A head that equals the one before is not parsed again: an exchange should cost the load
/// less than whom it is to measure.
#[derive(Debug)]
pub(crate) struct Heads<T> {
    last: Vec<u8>,
    meaning: Option<T>,
}

/// The beginning of a head, of one connection.
#[derive(Default, Debug)]
pub(crate) struct Partial {
    scanner: Scanner,
    bytes: Vec<u8>,
}

/// What was found at the front of received bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found<T> {
    /// The head ends within these bytes.
    Head {
        /// What it says.
        meaning: T,
        /// How many of the bytes belong to it.
        consumed: usize,
    },
    /// All bytes belong to it, and more must come.
    More,
}

/// Bytes that are no head, or an endless one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message of HTTP/1.1")
    }
}

impl<T: Copy> Heads<T> {
    /// Nothing was seen yet.
    pub(crate) fn new() -> Self {
        Self { last: Vec::with_capacity(1024), meaning: None }
    }

    /// Looks for a head in what earlier calls kept in `partial`, followed by `bytes`. `parse` is shown a whole one.
    ///
    /// # Errors
    /// [`Malformed`]; the connection is of no more use.
    #[inline]
    pub(crate) fn find(
        &mut self,
        partial: &mut Partial,
        bytes: &[u8],
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Found<T>, Malformed> {
        if let Some(meaning) = self.meaning
            && partial.bytes.is_empty()
            && bytes.starts_with(&self.last)
        {
            return Ok(Found::Head { meaning, consumed: self.last.len() });
        }
        self.find_new(partial, bytes, parse)
    }

    fn find_new(
        &mut self,
        partial: &mut Partial,
        bytes: &[u8],
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Found<T>, Malformed> {
        let before = partial.bytes.len();
        let whole = if before == 0 {
            bytes
        } else {
            partial.bytes.extend_from_slice(bytes);
            &partial.bytes
        };
        let Some(len) = partial.scanner.scan(whole).map_err(|_| Malformed)? else {
            if whole.len() > LIMIT {
                return Err(Malformed);
            }
            if before == 0 {
                partial.bytes.extend_from_slice(bytes);
            }
            return Ok(Found::More);
        };
        let meaning = parse(&whole[..len]).ok_or(Malformed)?;
        self.last.clear();
        self.last.extend_from_slice(&whole[..len]);
        self.meaning = Some(meaning);
        partial.bytes.clear();
        partial.scanner = Scanner::default();
        Ok(Found::Head { meaning, consumed: len - before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /1k HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn a_head_is_found_however_it_is_split_and_parsed_once() {
        let mut heads = Heads::new();
        let mut message = HEAD.to_vec();
        message.extend_from_slice(b"body");
        for split in 1..HEAD.len() {
            let (mut partial, mut parsed) = (Partial::default(), 0);
            let first = heads.find(&mut partial, &message[..split], |_| Some(7));
            assert_eq!(first, Ok(Found::More), "split at {split}");
            let second = heads.find(&mut partial, &message[split..], |head| {
                assert_eq!(head, HEAD);
                parsed += 1;
                Some(7)
            });
            assert_eq!(second, Ok(Found::Head { meaning: 7, consumed: HEAD.len() - split }));
            assert_eq!(parsed, 1);
            let again = heads.find(&mut partial, &message, |_| unreachable!("the same head"));
            assert_eq!(again, Ok(Found::Head { meaning: 7, consumed: HEAD.len() }));
        }
        let other = heads.find(&mut Partial::default(), b"GET /2 HTTP/1.1\r\n\r\n", |_| Some(8));
        assert_eq!(other, Ok(Found::Head { meaning: 8, consumed: 19 }));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let mut heads = Heads::<u8>::new();
        assert_eq!(heads.find(&mut Partial::default(), b"GET / HTTP/1.1\n\n", |_| Some(1)), Err(Malformed));
        assert_eq!(heads.find(&mut Partial::default(), HEAD, |_| None), Err(Malformed));
        let mut partial = Partial::default();
        let endless = vec![b'a'; LIMIT + 1];
        assert_eq!(heads.find(&mut partial, &endless, |_| Some(1)), Err(Malformed));
    }
}
