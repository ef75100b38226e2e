//! Fuzz targets: whatever the bytes are, nothing panics, no frame is lost, and what leaves is sound.
//!
//! Each target is a function of bytes. `scripts/fuzz` gives it to libFuzzer, `tests/replay.rs` runs it over its corpus in
//! `corpus/TARGET/`, where an input that once found something stays for ever.

mod explain; // packets that do not exist, and then do
mod frames; // raw frames through a worker
mod joined; // fragments for the gateway itself
mod text; // HTTP/1.1, netlink, the configuration

#[path = "../../../dataplane/tests/gateway/mod.rs"]
#[allow(missing_docs, unreachable_pub, clippy::must_use_candidate, reason = "a part of the data plane's tests")]
mod gateway;

pub use explain::explain;
pub use frames::{fragments, neighbors, pipeline, segments};
pub use text::{chunked, config, heads, netlink};

/// What the fuzzer calls.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("pipeline", pipeline),
    ("neighbors", neighbors),
    ("fragments", fragments),
    ("segments", segments),
    ("explain", explain),
    ("heads", heads),
    ("chunked", chunked),
    ("netlink", netlink),
    ("config", config),
];

/// Input cut into pieces: a byte that says what to do with a piece, a byte that says how long it is, in units of `unit` bytes.
struct Pieces<'a> {
    rest: &'a [u8],
    unit: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [what, length, rest @ ..] = self.rest else { return None };
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length) * self.unit));
        self.rest = rest;
        Some((*what, piece))
    }
}

fn pieces(rest: &[u8], unit: usize) -> Pieces<'_> {
    Pieces { rest, unit }
}
