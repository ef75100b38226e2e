//! Work that takes long by itself, such as the public-key operations of a handshake: little of it in one run, so that packets,
//! timers and the requests of everybody else do not wait for a crowd of newcomers, and what was done leaves with this turn.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;

use super::Executor;

/// Pieces of costly work begun in one run. Each takes some 100 µs, a whole turn of other work about as long as one of them: with
/// more of them a packet waits longer, and with one a crowd of handshakes pays for a turn each.
pub(super) const PER_RUN: usize = 2;

/// Who waits to do costly work.
#[derive(Default)]
pub(super) struct Line {
    /// Longest first; the first has the number `called`.
    waiting: VecDeque<Waker>,
    called: u64,
    /// How much may begin in this run by those who come while nobody waits.
    left: usize,
}

impl Line {
    /// A run begins: those whose turn it is, to be woken when nothing is borrowed.
    pub(super) fn call(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let mut called: [Option<Waker>; PER_RUN] = Default::default();
        self.left = PER_RUN;
        for place in &mut called {
            let Some(waker) = self.waiting.pop_front() else { break };
            *place = Some(waker);
            self.called += 1;
            self.left -= 1;
        }
        called.into_iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody waits any more: their tasks are gone.
    pub(super) fn clear(&mut self) -> VecDeque<Waker> {
        core::mem::take(&mut self.waiting)
    }

    fn poll(&mut self, number: &mut Option<u64>, cx: &Context<'_>) -> Poll<()> {
        match *number {
            Some(number) if number < self.called => Poll::Ready(()),
            Some(number) => {
                if let Some(waker) = self.waiting.get_mut((number - self.called) as usize) {
                    waker.clone_from(cx.waker());
                }
                Poll::Pending
            }
            None if self.waiting.is_empty() && self.left > 0 => {
                self.left -= 1;
                Poll::Ready(())
            }
            None => {
                *number = Some(self.called + self.waiting.len() as u64);
                self.waiting.push_back(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Ready when costly work may begin; first come, first served. Made by [`Executor::costly`]; after it was ready, the next poll is
/// for another piece. One that is dropped in line wastes a place in one run.
#[must_use = "futures do nothing unless polled"]
pub struct Costly {
    executor: Executor,
    /// The number drawn, unless there was no need to wait.
    number: Option<u64>,
}

impl Costly {
    pub(super) fn new(executor: Executor) -> Self {
        Self { executor, number: None }
    }
}

impl Future for Costly {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let polled = this.executor.shared.line.borrow_mut().poll(&mut this.number, cx);
        if polled.is_ready() {
            this.number = None;
        }
        polled
    }
}

impl fmt::Debug for Costly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Costly").field("number", &self.number).finish_non_exhaustive()
    }
}
