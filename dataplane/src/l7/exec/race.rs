//! Two futures at once, without allocation.

use core::pin::Pin;
use core::task::{Context, Poll};

/// Which of two finished, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<L, R> {
    /// The first.
    Left(L),
    /// The second.
    Right(R),
}

/// Polls both, the first first, until one is done; the other keeps its state and may be raced again. Futures are taken
/// pinned, so that neither is moved or stored twice: `race(pin!(read), pin!(sleep)).await`.
pub fn race<'a, L: Future, R: Future>(left: Pin<&'a mut L>, right: Pin<&'a mut R>) -> Race<'a, L, R> {
    Race { left, right }
}

/// Future of [`race`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Race<'a, L, R> {
    left: Pin<&'a mut L>,
    right: Pin<&'a mut R>,
}

impl<L: Future, R: Future> Future for Race<'_, L, R> {
    type Output = Either<L::Output, R::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.left.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(output));
        }
        self.right.as_mut().poll(cx).map(Either::Right)
    }
}

/// Lets every other woken task run once before going on.
pub async fn yield_now() {
    let mut yielded = false;
    core::future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
