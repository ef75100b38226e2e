//! The memory of one exchange: borrowed while a request is under way, returned when it is done. An idle connection holds none.

use core::task::{Context, Poll};

use super::flow::{Carriage, Flow};
use super::http1::{Body, RequestHead, ResponseHead, Scanner};
use super::reason::Reason;
use super::relay::State;
use super::stream::{ByteStream, StreamError};

/// Buffers of one exchange.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The request head as received.
    pub(super) request_bytes: HeadBytes,
    /// The request head as understood.
    pub(super) request: RequestHead,
    /// The response head as received.
    pub(super) response_bytes: HeadBytes,
    /// The response head as understood.
    pub(super) response: ResponseHead,
    /// From client to upstream.
    pub(super) upward: Flow,
    /// From upstream to client.
    pub(super) downward: Flow,
    /// How the exchange stands.
    pub(super) state: State,
    /// For comparing paths.
    pub(super) path: Vec<u8>,
}

impl Scratch {
    /// Forgets the last exchange.
    pub(super) fn clear(&mut self) {
        self.request_bytes.clear();
        self.response_bytes.clear();
        self.upward.begin(&NOTHING);
        self.downward.begin(&NOTHING);
    }

    /// Gives back memory beyond what a usual exchange needs.
    pub(super) fn shrink(&mut self) {
        self.request_bytes.clear();
        self.response_bytes.clear();
        self.request_bytes.bytes.shrink_to(USUAL_HEAD);
        self.response_bytes.bytes.shrink_to(USUAL_HEAD);
        self.upward.shrink();
        self.downward.shrink();
        self.path.shrink_to(USUAL_HEAD);
    }
}

const NOTHING: Carriage =
    Carriage { body: Body::None, chunked_out: false, limit: u64::MAX, trailer_limit: 0, replayable: false };

const USUAL_HEAD: usize = 8 << 10;

/// A head while it arrives.
#[derive(Debug, Default)]
pub(super) struct HeadBytes {
    bytes: Vec<u8>,
    scanner: Scanner,
}

/// How reading a head ended without a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadEnd {
    /// Closed before its first byte.
    Closed,
    /// Closed in the middle.
    Partial,
    /// Failed.
    Failed(StreamError),
    /// Cannot be a head, or not one of acceptable size.
    Refused(Reason),
}

impl HeadBytes {
    /// Forgets the head.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.scanner = Scanner::default();
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing has arrived yet.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads up to the end of a head and not a byte further; returns its length.
    ///
    /// # Errors
    /// [`HeadEnd`].
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl ByteStream,
        limit: usize,
    ) -> Poll<Result<usize, HeadEnd>> {
        loop {
            let input = match from.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(HeadEnd::Failed(error))),
                Poll::Ready(Ok([])) if self.bytes.is_empty() => return Poll::Ready(Err(HeadEnd::Closed)),
                Poll::Ready(Ok([])) => return Poll::Ready(Err(HeadEnd::Partial)),
                Poll::Ready(Ok(input)) => input,
            };
            let had = self.bytes.len();
            let taken = input.len().min(limit.saturating_sub(had)).min(COPIED_AT_ONCE);
            self.bytes.extend_from_slice(&input[..taken]);
            match self.scanner.scan(&self.bytes) {
                Err(reason) => return Poll::Ready(Err(HeadEnd::Refused(reason))),
                Ok(Some(len)) => {
                    self.bytes.truncate(len);
                    from.consume(len - had);
                    return Poll::Ready(Ok(len));
                }
                Ok(None) if self.bytes.len() >= limit => {
                    let in_fields = self.scanner.past_start_line();
                    let reason = if in_fields { Reason::HeadTooLarge } else { Reason::TargetTooLong };
                    return Poll::Ready(Err(HeadEnd::Refused(reason)));
                }
                Ok(None) => from.consume(taken),
            }
        }
    }
}

/// Bytes looked at in one go: the head may be followed by a buffer full of content that need not be copied.
const COPIED_AT_ONCE: usize = 2048;
