//! The system's clock beside that of the cores.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_dataplane::clock::Instant;

/// Time since 1970; zero before.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Nanoseconds since 1970: enough until 2554.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(now().as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970 at the zero of a clock that says `clock` now.
pub(crate) fn origin_ns(clock: Instant) -> u64 {
    now_ns().saturating_sub(clock.as_nanos())
}
