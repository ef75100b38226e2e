//! A connection as its user sees it: bytes in, bytes out, half-close, abort.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};

use super::tls::TlsError;

mod duplex;
mod tcp;

pub use duplex::{Duplex, duplex};

/// A reliable byte stream in both directions. TCP, TLS on any other stream, and an in-memory pair implement it; sessions
/// are generic over it.
///
/// Each direction remembers one waker: the one of the last call that was `Pending`. After an error every later call fails
/// too. Dropping a stream that has not been shut down closes it in order if everything received was consumed and
/// everything written was sent, and resets it otherwise.
pub trait ByteStream {
    /// Received bytes that have not been consumed (their first contiguous part). `Pending` while there are none; an empty
    /// slice once the peer has closed its side and everything is consumed. With bytes left over from the last call it is
    /// ready at once, so a caller that needs more than it is shown copies them away and consumes.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>>;

    /// Marks the first `n` bytes of the last `poll_fill` as read.
    ///
    /// # Panics
    /// If it did not show as many.
    fn consume(&mut self, n: usize);

    /// Moves received bytes into `into`, which is not empty, and tells how many; 0 once the peer has closed its side. What
    /// `poll_fill` has shown comes first.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        let bytes = ready!(self.poll_fill(cx))?;
        let taken = bytes.len().min(into.len());
        into[..taken].copy_from_slice(&bytes[..taken]);
        self.consume(taken);
        Poll::Ready(Ok(taken))
    }

    /// Takes bytes from the front of `data` and tells how many: at least one, unless all of `data` is empty. `Pending`
    /// while there is no room. What was taken may wait here until `poll_flush`: flush before waiting for an answer.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>>;

    /// Ready once everything written is in the hands of TCP (with TLS: encrypted, as records).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;

    /// Closes this direction after what was written (close_notify, FIN); receiving goes on. Ready once that is queued;
    /// may be repeated.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;

    /// Ends the connection at once in both directions (RST).
    fn abort(&mut self);

    /// Whether the peer has closed or reset the connection, as far as is known without I/O: a pool discards such an idle
    /// connection.
    fn peer_gone(&self) -> bool;

    /// Copies received bytes into `into` and consumes them; 0 once the peer has closed its side.
    fn read(&mut self, into: &mut [u8]) -> impl Future<Output = Result<usize, StreamError>> {
        poll_fn(move |cx| self.poll_read(cx, into))
    }

    /// Writes all of `data`.
    fn write_all(&mut self, mut data: &[u8]) -> impl Future<Output = Result<(), StreamError>> {
        poll_fn(move |cx| {
            while !data.is_empty() {
                match self.poll_write(cx, &[data]) {
                    Poll::Ready(Ok(written)) => data = &data[written..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// [`ByteStream::poll_flush`] as a future.
    fn flush(&mut self) -> impl Future<Output = Result<(), StreamError>> {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// [`ByteStream::poll_shutdown`] as a future.
    fn shutdown(&mut self) -> impl Future<Output = Result<(), StreamError>> {
        poll_fn(|cx| self.poll_shutdown(cx))
    }
}

/// Why a stream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The peer, or the network on its behalf, ended the connection abruptly.
    Reset,
    /// The peer did not answer in time: retransmissions or keep-alives without reply.
    TimedOut,
    /// This side has closed or aborted the stream and then used it: a mistake of ours.
    Closed,
    /// TLS failed.
    Tls(TlsError),
}

impl StreamError {
    /// Whether the cause is on this side (configuration or a bug), not the peer or the path to it.
    #[must_use]
    pub fn is_local(self) -> bool {
        match self {
            Self::Reset | Self::TimedOut => false,
            Self::Closed => true,
            Self::Tls(error) => error.is_local(),
        }
    }
}

impl From<TlsError> for StreamError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("the peer reset the connection"),
            Self::TimedOut => f.write_str("the peer did not answer in time"),
            Self::Closed => f.write_str("the connection was already closed on this side"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

const _: () = assert!(size_of::<Result<usize, StreamError>>() <= 16, "errors travel through every poll");
