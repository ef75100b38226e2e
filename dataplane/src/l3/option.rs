//! The options of an IPv4 packet (RFC 791 §3.1). Nothing here acts on them: they are read to refuse what harms others.
//!
//! Source routes are refused (RFC 7126 §4.3.5, §4.4.5), malformed lists are answered by a parameter problem (RFC 1812 §4.3.3.5). All
//! else passes: record route and timestamp stay as they are, and a router alert concerns no protocol that is spoken here.

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;

/// Why a packet with options goes no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The sender wants to choose the way.
    SourceRoute,
    /// Nobody could read the list.
    Malformed {
        /// Offset of the wrong octet from the start of the header.
        pointer: u8,
    },
}

/// Reads the list behind the fixed header; all of it is at most 40 bytes.
pub(super) fn check(options: &[u8]) -> Result<(), Fault> {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        match kind {
            END => break,
            NO_OPERATION => at += 1,
            _ => at += one(kind, options, at)?,
        }
    }
    Ok(())
}

/// The length of the option at `at`, which has one.
fn one(kind: u8, options: &[u8], at: usize) -> Result<usize, Fault> {
    let malformed = |at: usize| Fault::Malformed { pointer: (20 + at) as u8 };
    let len = usize::from(*options.get(at + 1).ok_or(malformed(at))?);
    let option = options.get(at..at + len).filter(|_| len >= 2).ok_or(malformed(at + 1))?;
    // Bytes before the data, and the least that the pointer to the next free place may be.
    let (least, free) = match kind {
        RECORD_ROUTE | LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => (3, 4),
        TIMESTAMP => (4, 5),
        ROUTER_ALERT if len != 4 => return Err(malformed(at + 1)),
        _ => return Ok(len),
    };
    if len < least {
        return Err(malformed(at + 1));
    }
    if option[2] < free {
        return Err(malformed(at + 2));
    }
    if matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) { Err(Fault::SourceRoute) } else { Ok(len) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_read_to_its_end() {
        assert_eq!(check(&[1, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 68, 4, 5, 0, 0, 131]), Ok(()));
        assert_eq!(check(&[1, 131, 7, 4, 10, 0, 0, 1]), Err(Fault::SourceRoute));
        assert_eq!(check(&[137, 3, 4, 0]), Err(Fault::SourceRoute), "used up or not");
    }

    #[test]
    fn the_wrong_octet_is_pointed_at() {
        for (options, pointer) in [
            (&[7, 0, 0, 0][..], 21),
            (&[1, 7, 1, 4], 22),
            (&[7, 9, 4, 0], 21),
            (&[7, 2, 0, 0], 21),
            (&[7, 4, 3, 0], 22),
            (&[131, 4, 0, 0], 22),
            (&[68, 4, 4, 0], 22),
            (&[148, 3, 0, 0], 21),
            (&[1, 1, 1, 7], 23),
        ] {
            assert_eq!(check(options), Err(Fault::Malformed { pointer }), "{options:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_reading(options in prop::collection::vec(any::<u8>(), 0..41)) {
            if let Err(Fault::Malformed { pointer }) = check(&options) {
                prop_assert!(usize::from(pointer) < 20 + options.len());
            }
        }
    }
}
