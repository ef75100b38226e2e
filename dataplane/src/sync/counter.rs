//! Counters with one writer and many readers.

use core::sync::atomic::{AtomicU64, Ordering};

/// A counter that one core writes and any thread reads. The writer loads and stores: no locked instruction per packet.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`. Only the owning core may call it: two writers lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        // Relaxed: a counter orders nothing; readers may see it a moment late.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` off: for gauges. Only the owning core may call it.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets the value: for gauges. Only the owning core may call it.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
