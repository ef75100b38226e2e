//! TCP as a byte stream: the same methods, in this layer's words.

use core::task::{Context, Poll};

use super::{ByteStream, StreamError};
use crate::l4::{End, TcpStream};

impl From<End> for StreamError {
    fn from(end: End) -> Self {
        match end {
            End::Reset | End::Refused | End::Unreachable => Self::Reset,
            End::TimedOut => Self::TimedOut,
            End::Finished | End::Aborted => Self::Closed,
        }
    }
}

impl ByteStream for TcpStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>> {
        Self::poll_fill(self, cx).map_err(StreamError::from)
    }

    fn consume(&mut self, n: usize) {
        Self::consume(self, n);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        Self::poll_read(self, cx, into).map_err(StreamError::from)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>> {
        Self::poll_write(self, cx, data).map_err(StreamError::from)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Self::poll_flush(self, cx).map_err(StreamError::from)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Self::poll_shutdown(self, cx).map_err(StreamError::from)
    }

    fn abort(&mut self) {
        Self::abort(self);
    }

    fn peer_gone(&self) -> bool {
        Self::peer_gone(self)
    }
}
