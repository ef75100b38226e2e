//! What a core does when there is nothing to do.

use core::time::Duration;
use std::sync::Arc;

use crate::io::park::{SleepSet, Waker};

/// How a core waits for packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Never sleeps: lowest latency, a whole CPU.
    Poll,
    /// Gives the CPU to whoever else wants it after each turn without work, and sleeps on the ports' descriptors after this
    /// many. Wakes in tens of microseconds.
    Adaptive {
        /// Empty turns before the first sleep.
        turns: u32,
    },
}

/// Longest sleep: bounds how long a core takes to see a new generation of tables when no packet arrives.
pub(super) const MAX_SLEEP: Duration = Duration::from_millis(10);

/// Shorter waits are not worth the system call.
const MIN_SLEEP: Duration = Duration::from_micros(50);

/// Counts empty turns and puts the core to sleep.
pub(super) struct Idler {
    policy: Idle,
    waker: Arc<Waker>,
    set: Option<SleepSet>,
    empty: u32,
}

impl Idler {
    /// `set` is `None` when a port can only be polled: then the core never sleeps.
    pub(super) fn new(policy: Idle, waker: Arc<Waker>, set: Option<SleepSet>) -> Self {
        Self { policy, waker, set, empty: 0 }
    }

    /// A turn with work.
    #[inline]
    pub(super) fn busy(&mut self) {
        self.empty = 0;
    }

    /// A turn without work. Sleeps, for at most `patience`, when the policy says so; `true` if it did.
    #[inline]
    pub(super) fn idle(&mut self, patience: Duration, last_look: impl FnOnce() -> bool) -> bool {
        self.empty = self.empty.saturating_add(1);
        let Idle::Adaptive { turns } = self.policy else {
            core::hint::spin_loop();
            return false;
        };
        // What this core waits for may be waiting for this CPU: the kernel's half of a software device (veth, TAP) or a NAPI
        // thread bound here. Polling on would keep it from running until the scheduler's slice ends, milliseconds later.
        std::thread::yield_now();
        if self.empty < turns || patience < MIN_SLEEP {
            return false;
        }
        let Some(set) = &mut self.set else { return false };
        self.waker.sleep(set, patience.min(MAX_SLEEP), last_look);
        true
    }
}
