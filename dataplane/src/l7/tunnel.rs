//! After `101 Switching Protocols`: bytes both ways until both sides have closed, each direction on its own (RFC 9110 §7.8).

use core::future::poll_fn;
use core::task::{Context, Poll};

use super::flow::{Carriage, FlowError};
use super::http1::Body;
use super::pace::Pace;
use super::reason::Reason;
use super::relay::Relay;
use super::stream::ByteStream;

/// Content that is only bytes.
const BYTES: Carriage =
    Carriage { body: Body::UntilClose, chunked_out: false, limit: u64::MAX, trailer_limit: 0, replayable: false };

/// How far one direction has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Open,
    /// All bytes are through; the close must follow.
    Closing,
    Closed,
}

/// Runs the tunnel to its end. The 101 head waits in `downward`; the caller has seen that the upstream agreed to what was asked.
///
/// # Errors
/// Which side ended it other than by closing.
pub(super) async fn run<S: ByteStream, U: ByteStream>(
    mut relay: Relay<'_, S, U>,
    mut pace: Pace,
) -> Result<(), Reason> {
    relay.scratch.upward.begin(&BYTES);
    relay.scratch.downward.carry(&BYTES);
    let (mut up, mut down) = (Direction::Open, Direction::Open);
    let ended = poll_fn(|cx| {
        let relay = &mut relay;
        if up == Direction::Open {
            up = after(relay.scratch.upward.poll(cx, relay.client, relay.upstream), Reason::ClientClosed)?;
        }
        if down == Direction::Open {
            down = after(relay.scratch.downward.poll(cx, relay.upstream, relay.client), Reason::UpstreamTruncated)?;
        }
        up = close(cx, up, relay.upstream);
        down = close(cx, down, relay.client);
        if up == Direction::Closed && down == Direction::Closed {
            return Poll::Ready(Ok(()));
        }
        let moved = relay.scratch.upward.written() + relay.scratch.downward.written();
        let at = pace.wait(relay.executor.now(), moved);
        if relay.alarm.passed(cx, Some(at)) { Poll::Ready(Err(Reason::ClientStalled)) } else { Poll::Pending }
    });
    let ended = ended.await;
    if ended.is_err() {
        relay.client.abort();
        relay.upstream.abort();
    }
    ended
}

fn after(flow: Poll<Result<(), FlowError>>, reader: Reason) -> Result<Direction, Reason> {
    match flow {
        Poll::Pending => Ok(Direction::Open),
        Poll::Ready(Ok(())) => Ok(Direction::Closing),
        Poll::Ready(Err(FlowError::Source(_) | FlowError::Truncated | FlowError::Refused(_))) => Err(reader),
        Poll::Ready(Err(FlowError::Sink(_))) => Err(match reader {
            Reason::ClientClosed => Reason::UpstreamTruncated,
            _ => Reason::ClientClosed,
        }),
    }
}

fn close(cx: &mut Context<'_>, direction: Direction, to: &mut impl ByteStream) -> Direction {
    match direction {
        Direction::Closing if to.poll_shutdown(cx).is_ready() => Direction::Closed,
        other => other,
    }
}
