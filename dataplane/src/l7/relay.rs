//! A client and an upstream connected for one exchange: both directions move at once, so that neither a large request nor an
//! early response can block the other, and nothing waits longer than it may.

use core::task::{Context, Poll};
use core::time::Duration;

use super::alarm::Alarm;
use super::exec::Executor;
use super::flow::{Carriage, FlowError, Stalled};
use super::http1::encode::{self, Returning};
use super::http1::head::MAX_FIELDS;
use super::http1::{Body, Limits, Version};
use super::pace::Pace;
use super::reason::Reason;
use super::scratch::{HeadEnd, Scratch};
use super::stream::ByteStream;
use crate::clock::Instant;

/// One exchange between two streams.
pub(super) struct Relay<'a, S, U> {
    /// Towards the client.
    pub(super) client: &'a mut S,
    /// Towards the endpoint.
    pub(super) upstream: &'a mut U,
    /// The messages.
    pub(super) scratch: &'a mut Scratch,
    /// The session's timer.
    pub(super) alarm: &'a mut Alarm,
    /// The time.
    pub(super) executor: &'a Executor,
    /// When the whole exchange must be over.
    pub(super) deadline: Option<Instant>,
}

/// How an exchange stands.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Patience with the client, as sender and as receiver.
    client_sends: Pace,
    client_reads: Pace,
    /// Patience with the upstream.
    upstream: Pace,
    /// The request has been sent, or cannot be sent any further.
    request_over: bool,
    /// The request has been sent completely.
    request_sent: bool,
    /// Nothing more is to be learnt from reading ahead of the client's request.
    client_watched: bool,
    interim: u32,
}

impl State {
    /// For an exchange that allows `idle` without progress and asks a client for `min_rate` bytes per second.
    pub(super) fn new(idle: Duration, min_rate: u32) -> State {
        State {
            client_sends: Pace::new(idle, min_rate),
            client_reads: Pace::new(idle, min_rate),
            upstream: Pace::new(idle, 0),
            request_over: false,
            request_sent: false,
            client_watched: false,
            interim: 0,
        }
    }

    /// Whether the upstream has got the whole request.
    pub(super) fn request_sent(&self) -> bool {
        self.request_sent
    }
}

/// What an upstream's head may hold: more than a client's, since cookies grow and upstreams are ours.
const UPSTREAM_LIMITS: Limits =
    Limits { head_bytes: 64 << 10, fields: MAX_FIELDS, target_bytes: 0, trailer_bytes: 16 << 10, body_bytes: u64::MAX };

/// Something else than HTTP may never send what would end a head; waiting for it would take the whole timeout.
fn begins_like_http(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/1.").all(|(seen, expected)| seen == expected)
}

/// Interim responses accepted for one request.
const MAX_INTERIM: u32 = 64;

impl<S: ByteStream, U: ByteStream> Relay<'_, S, U> {
    /// Ready with the final response's head. `Ok(false)`: the upstream ended the connection before it said anything, so
    /// the request may be sent to another.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Reason>> {
        self.push_request(cx)?;
        loop {
            if let Poll::Ready(Err(_)) = self.scratch.downward.poll_out(cx, self.client) {
                return Poll::Ready(Err(Reason::ClientClosed));
            }
            let limit = UPSTREAM_LIMITS.head_bytes;
            let len = match self.scratch.response_bytes.poll_read(cx, self.upstream, limit) {
                Poll::Pending if !begins_like_http(self.scratch.response_bytes.bytes()) => {
                    return Poll::Ready(Err(Reason::UpstreamMalformed));
                }
                Poll::Pending => {
                    self.watch_client(cx)?;
                    return self.check_waiting(cx);
                }
                Poll::Ready(Ok(len)) => len,
                Poll::Ready(Err(HeadEnd::Refused(Reason::HeadTooLarge | Reason::TargetTooLong))) => {
                    return Poll::Ready(Err(Reason::UpstreamHeadTooLarge));
                }
                Poll::Ready(Err(HeadEnd::Refused(_))) => return Poll::Ready(Err(Reason::UpstreamMalformed)),
                Poll::Ready(Err(HeadEnd::Closed | HeadEnd::Partial | HeadEnd::Failed(_))) => {
                    let silent = self.scratch.response_bytes.is_empty() && self.scratch.state.interim == 0;
                    return Poll::Ready(if silent { Ok(false) } else { Err(Reason::UpstreamReset) });
                }
            };
            let scratch = &mut *self.scratch;
            let head = scratch.response_bytes.bytes();
            scratch.response.parse(head, len, &scratch.request.method, &UPSTREAM_LIMITS)?;
            if !scratch.response.is_interim() {
                return Poll::Ready(Ok(true));
            }
            self.forward_interim()?;
        }
    }

    /// RFC 9110 §15.2: interim responses are forwarded, though never to HTTP/1.0.
    fn forward_interim(&mut self) -> Result<(), Reason> {
        self.scratch.state.interim += 1;
        if self.scratch.state.interim > MAX_INTERIM {
            return Err(Reason::UpstreamMalformed);
        }
        let scratch = &mut *self.scratch;
        if scratch.request.version == Version::Http11 {
            let hop = Returning { body: Body::None, version: Version::Http11, keep_alive: true, date: b"", via: false };
            let head = scratch.response_bytes.bytes();
            encode::response(head, &scratch.response, &hop, scratch.downward.out());
        }
        scratch.response_bytes.clear();
        Ok(())
    }

    /// Moves the request on. A client that is gone ends the exchange; an upstream that stops reading may still answer.
    fn push_request(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        if self.scratch.state.request_over {
            return Ok(());
        }
        match self.scratch.upward.poll(cx, self.client, self.upstream) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.scratch.state.request_over = true;
                self.scratch.state.request_sent = true;
                Ok(())
            }
            Poll::Ready(Err(FlowError::Sink(_))) => {
                self.scratch.state.request_over = true;
                self.scratch.state.client_watched = true;
                Ok(())
            }
            Poll::Ready(Err(FlowError::Refused(reason))) => Err(reason),
            Poll::Ready(Err(FlowError::Source(_) | FlowError::Truncated)) => Err(Reason::ClientClosed),
        }
    }

    /// A client that resets no longer wants its answer. One that only closes its side does. Asked before each wait, once the
    /// request has been read: what is there to be done at once is done without a look.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        if self.scratch.state.request_over
            && !self.scratch.state.client_watched
            && let Poll::Ready(seen) = self.client.poll_fill(cx)
        {
            self.scratch.state.client_watched = true;
            seen.map_err(|_| Reason::ClientClosed)?;
        }
        Ok(())
    }

    fn check_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Reason>> {
        let now = self.executor.now();
        let upward = &self.scratch.upward;
        let uninvited = self.scratch.request.expect_continue && self.scratch.state.interim == 0 && upward.moved() == 0;
        let waits_for_client = !self.scratch.state.request_over && upward.stalled() == Stalled::Source && !uninvited;
        let (at, reason) = if waits_for_client {
            self.scratch.state.upstream.pause(now);
            (self.scratch.state.client_sends.wait(now, upward.moved()), Reason::BodyTimeout)
        } else {
            self.scratch.state.client_sends.pause(now);
            let progress = upward.written()
                + u64::from(self.scratch.state.interim)
                + self.scratch.response_bytes.bytes().len() as u64;
            (self.scratch.state.upstream.wait(now, progress), Reason::UpstreamTimeout)
        };
        self.check(cx, at, reason).map(Err)
    }

    /// Ready with the reason if patience has ended.
    fn check(&mut self, cx: &mut Context<'_>, at: Instant, reason: Reason) -> Poll<Reason> {
        let first = self.deadline.map_or(at, |deadline| deadline.min(at));
        if !self.alarm.passed(cx, Some(first)) {
            return Poll::Pending;
        }
        Poll::Ready(if first == at { reason } else { Reason::RequestTimeout })
    }

    /// Begins the final response towards the client. Returns whether the client's connection can carry another request after it.
    pub(super) fn begin_response(&mut self, may_keep_alive: bool, via: bool, date: &[u8]) -> bool {
        let scratch = &mut *self.scratch;
        let version = scratch.request.version;
        let body = match (scratch.response.body, version) {
            (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
            (Body::Chunked | Body::UntilClose, Version::Http10) => Body::UntilClose,
            (delimited, _) => delimited,
        };
        let keep_alive = may_keep_alive && body != Body::UntilClose && scratch.state.request_sent;
        scratch.downward.carry(&Carriage {
            body: scratch.response.body,
            chunked_out: body == Body::Chunked,
            limit: u64::MAX,
            trailer_limit: UPSTREAM_LIMITS.trailer_bytes,
            replayable: false,
        });
        let hop = Returning { body, version, keep_alive, date, via };
        encode::response(scratch.response_bytes.bytes(), &scratch.response, &hop, scratch.downward.out());
        keep_alive
    }

    /// Ready when the client has been given the whole response, while the rest of the request still goes the other way.
    pub(super) fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        self.push_request(cx)?;
        match self.scratch.downward.poll(cx, self.upstream, self.client) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(FlowError::Sink(_))) => return Poll::Ready(Err(Reason::ClientClosed)),
            Poll::Ready(Err(FlowError::Source(_) | FlowError::Truncated)) => {
                return Poll::Ready(Err(Reason::UpstreamTruncated));
            }
            Poll::Ready(Err(FlowError::Refused(_))) => return Poll::Ready(Err(Reason::UpstreamMalformed)),
            Poll::Pending => self.watch_client(cx)?,
        }
        let now = self.executor.now();
        let downward = &self.scratch.downward;
        let (at, reason) = match downward.stalled() {
            Stalled::Sink => {
                self.scratch.state.upstream.pause(now);
                (self.scratch.state.client_reads.wait(now, downward.written()), Reason::ClientStalled)
            }
            Stalled::Source => {
                self.scratch.state.client_reads.pause(now);
                let progress = downward.moved() + self.scratch.upward.written();
                (self.scratch.state.upstream.wait(now, progress), Reason::UpstreamTimeout)
            }
        };
        self.check(cx, at, reason).map(Err)
    }
}
