//! Filters of captures and traces: the words of pcap's filters that make sense on a router, with errors that say where and what instead.
//!
//! ```text
//! expression = term { ("and" | "&&") term | ("or" | "||") term }     "and" binds tighter
//! term       = { "not" | "!" } ( "(" expression ")" | test )
//! test       = [ "src" | "dst" ] "host" ADDRESS | [ "src" | "dst" ] "net" PREFIX | [ "src" | "dst" ] ADDRESS-OR-PREFIX
//!            | PROTOCOL | "proto" NUMBER | [ PROTOCOL ] [ "src" | "dst" ] ( "port" NUMBER | "portrange" FROM-TO )
//!            | "ether" [ "src" | "dst" ] "host" STATION | "ether" "proto" NUMBER | "vlan" [ NUMBER ]
//!            | "broadcast" | "multicast" | "fragment" | "less" BYTES | "greater" BYTES
//! ```
//!
//! Other than pcap's, a test looks through VLAN tags, and IPv6 extension headers, by itself.

mod parse;
mod words;

use std::fmt;

use crate::prefix::HostBits;

pub use parse::parse;
pub(crate) use parse::station;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The text.
    pub text: String,
    /// Where in it, in bytes: from, to.
    pub at: (usize, usize),
    /// What is wrong there, and what to write instead.
    pub what: Wrong,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A word that means nothing here; the word that may have been meant.
    Unknown {
        /// The word.
        word: String,
        /// A similar one.
        near: Option<&'static str>,
    },
    /// The text ends where this was expected.
    Ends {
        /// What may stand there.
        expected: &'static str,
    },
    /// Something else than this stands there.
    Expected {
        /// What may stand there.
        expected: &'static str,
    },
    /// Between two tests there must be `and` or `or`.
    Joint,
    /// A bracket without its partner.
    Bracket,
    /// A number beyond what there can be.
    Number {
        /// The most.
        most: u64,
    },
    /// The second end of a range lies before the first.
    Range,
    /// A prefix with bits set behind it.
    HostBits(HostBits),
    /// It has more tests, or brackets within each other, than a core should have to go through.
    TooLong,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.at;
        let column = self.text.get(..from).unwrap_or_default().chars().count();
        let width = self.text.get(from..to).unwrap_or_default().chars().count().max(1);
        writeln!(f, "the filter is not understood: {}", self.what)?;
        writeln!(f, "    {}", self.text)?;
        write!(f, "    {}{}", " ".repeat(column), "^".repeat(width))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { word, near: Some(near) } => write!(f, "`{word}` means nothing here; is `{near}` meant?"),
            Self::Unknown { word, near: None } => write!(
                f,
                "`{word}` means nothing here; write e.g. `host 10.0.0.1`, `net 10.0.0.0/8`, `tcp port 80`, `icmp`, `vlan 7`"
            ),
            Self::Ends { expected } => write!(f, "it ends where {expected} is missing"),
            Self::Expected { expected } => write!(f, "{expected} must stand here"),
            Self::Joint => f.write_str("between two tests there must be `and` or `or`"),
            Self::Bracket => f.write_str("this bracket has no partner"),
            Self::Number { most } => write!(f, "it is {most} at most"),
            Self::Range => f.write_str("the range ends before it begins"),
            Self::HostBits(bits) => write!(f, "it has {bits}"),
            Self::TooLong => f.write_str("it is too long: at most 512 tests and joints, 64 brackets within each other"),
        }
    }
}

impl std::error::Error for FilterError {}
