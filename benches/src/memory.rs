//! What the kernel says this process takes.

use std::fs;

/// Resident memory, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Resident {
    /// Now (`VmRSS`).
    pub(crate) now: u64,
    /// At most so far (`VmHWM`).
    pub(crate) peak: u64,
}

/// Reads `/proc/self/status`; zeros where there is none.
pub(crate) fn resident() -> Resident {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Resident { now: kib(&status, "VmRSS:") << 10, peak: kib(&status, "VmHWM:") << 10 }
}

fn kib(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_block_is_seen() {
        let before = resident().now;
        let block = vec![1u8; 64 << 20];
        let after = resident();
        assert!(after.now - before > 60 << 20 && after.peak >= after.now, "{before} {after:?} {}", block.len());
    }
}
