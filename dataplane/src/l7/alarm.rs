//! One timer for everything a session waits for, moved as the nearest deadline moves.

use core::pin::Pin;
use core::task::{Context, Poll};

use super::exec::{Executor, Sleep};
use crate::clock::Instant;

/// A timer that is asked "has this passed?" while something else is polled.
#[derive(Debug)]
pub(super) struct Alarm {
    sleep: Sleep,
}

impl Alarm {
    /// A timer that is not set.
    pub(super) fn new(executor: &Executor) -> Alarm {
        Alarm { sleep: executor.sleep_until(executor.now()) }
    }

    /// Whether `at` has passed; if not, the task will be woken then. `None` never passes.
    pub(super) fn passed(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> bool {
        let Some(at) = at else { return false };
        self.sleep.reset(at);
        matches!(Pin::new(&mut self.sleep).poll(cx), Poll::Ready(()))
    }
}
