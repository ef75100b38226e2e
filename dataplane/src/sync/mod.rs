//! What cores share: a ring between two of them, the cell that publishes tables, who answers, and single-writer counters.
//!
//! All atomics of the data plane come from [`atomic`], so that loom can replace them.
#![allow(unsafe_code)] // Slots shared between two threads; each module states its invariant and is checked under loom.

pub mod counter;
pub mod pulse;
pub mod snapshot;
pub mod spsc;
pub mod waker;

/// Atomics and cells, real or loom's.
pub(crate) mod atomic {
    #[cfg(not(loom))]
    pub(crate) use core::sync::atomic::{AtomicUsize, Ordering};
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};
}
