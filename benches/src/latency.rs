//! Histograms of latencies, in nanoseconds, and how they travel as text: HdrHistogram's V2 format in base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2Serializer},
};

/// The longest latency that is told from others, in nanoseconds: a minute.
pub(crate) const LONGEST: u64 = 60_000_000_000;
/// Decimal digits that are kept of each.
const DIGITS: u8 = 3;

/// A histogram that takes any latency up to [`LONGEST`]; longer ones count as that.
pub(crate) fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).unwrap_or_else(|error| unreachable!("constant bounds: {error}"))
}

/// As text.
pub(crate) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // A vector takes every byte, and the counts were recorded by the same crate.
    let written = V2Serializer::new().serialize(histogram, &mut bytes);
    written.unwrap_or_else(|error| unreachable!("a histogram that does not fit its own format: {error:?}"));
    STANDARD.encode(bytes)
}

/// From text; `None` when it is not a histogram.
pub(crate) fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_arrives() {
        let mut histogram = empty();
        (1..=1000u64).for_each(|n| histogram.saturating_record(n * 1000));
        let again = decode(&encode(&histogram)).expect("our own text");
        assert_eq!((again.len(), again.value_at_quantile(0.5)), (1000, histogram.value_at_quantile(0.5)));
        assert!(decode("no histogram").is_none() && decode("AAAA").is_none());
    }
}
