//! Waiting for a time.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::Executor;
use crate::clock::Instant;
use crate::wheel::TimerId;

/// Ready once the executor's time has reached the deadline, never before. May be moved (`Unpin`) and polled again after
/// it was ready. Made by [`Executor::sleep`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    executor: Executor,
    deadline: Instant,
    /// The timer in the wheel and the time it fires at, which may be earlier than the deadline.
    timer: Option<(TimerId, Instant)>,
}

impl Sleep {
    pub(super) fn new(executor: Executor, deadline: Instant) -> Self {
        Self { executor, deadline, timer: None }
    }

    /// When it is ready.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline. A later one leaves the wheel alone — the timer fires at the old time and is set anew then — so
    /// an idle timeout pushed out on every read costs a store. Poll it afterwards, or an earlier one goes unnoticed.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if self.timer.is_some_and(|(_, at)| deadline < at) {
            self.disarm();
        }
    }

    /// Moves the deadline to `duration` from now.
    pub fn reset_after(&mut self, duration: Duration) {
        self.reset(self.executor.now() + duration);
    }

    fn disarm(&mut self) {
        if let Some((timer, _)) = self.timer.take() {
            self.executor.disarm(timer);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.deadline {
            self.disarm();
            return Poll::Ready(());
        }
        let armed = self.timer.is_some_and(|(timer, _)| self.executor.retarget(timer, cx.waker()));
        if !armed {
            let at = self.deadline;
            self.timer = Some((self.executor.arm(at, cx.waker().clone()), at));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// The time given to a future passed before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time allowed for this has passed")
    }
}

impl core::error::Error for Elapsed {}

/// Future of [`Executor::timeout`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Timeout<'a, F> {
    sleep: Sleep,
    future: Pin<&'a mut F>,
}

impl<'a, F: Future> Timeout<'a, F> {
    pub(super) fn new(sleep: Sleep, future: Pin<&'a mut F>) -> Self {
        Self { sleep, future }
    }
}

impl<F: Future> Future for Timeout<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The future first: what is ready at the deadline counts as in time.
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}
