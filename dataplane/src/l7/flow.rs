//! One message on its way from one stream to another: the head, then the content, decoded and framed anew where the two sides
//! differ. Constant memory: nothing is read that cannot be written soon.

use core::task::{Context, Poll, ready};

use super::http1::Body;
use super::http1::chunked::{CHUNK_OVERHEAD, Decoder, encode_chunk};
use super::reason::Reason;
use super::stream::{ByteStream, StreamError};

/// A message under way in one direction. Reused from message to message, for its buffers.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Bytes of ours waiting to be written: head, chunks, the coding's end.
    out: Vec<u8>,
    /// How many of them have been written.
    sent: usize,
    /// Where this message begins in `out`; `None` once part of it has been written and forgotten.
    start: Option<usize>,
    source: Source,
    decoder: Decoder,
    chunked_out: bool,
    /// Everything since the head is kept in `out`, so that it can be sent again.
    replayable: bool,
    /// Most content bytes accepted.
    limit: u64,
    moved: u64,
    written: u64,
    stalled: Stalled,
}

/// What is still to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Done,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Which side a pending flow waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stalled {
    /// The side that is read.
    #[default]
    Source,
    /// The side that is written.
    Sink,
}

/// Why a message did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowError {
    /// The side that is read failed.
    Source(StreamError),
    /// The side that is read closed before the message was complete.
    Truncated,
    /// The message cannot be framed any further, or is too large.
    Refused(Reason),
    /// The side that is written failed.
    Sink(StreamError),
}

/// How a message's content is carried over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carriage {
    /// How it arrives.
    pub(super) body: Body,
    /// Whether it leaves chunked.
    pub(super) chunked_out: bool,
    /// Most content bytes accepted.
    pub(super) limit: u64,
    /// Most bytes of a trailer section.
    pub(super) trailer_limit: usize,
    /// Keep what was sent, up to [`REPLAY_BYTES`], so that it can be sent again.
    pub(super) replayable: bool,
}

/// Content staged at a time.
const STAGE_BYTES: usize = 16 << 10;
/// Most bytes kept for sending a request again.
pub(super) const REPLAY_BYTES: usize = 16 << 10;

impl Flow {
    /// Begins a message; the caller then appends its head to [`Flow::out`].
    pub(super) fn begin(&mut self, carriage: &Carriage) {
        self.out.clear();
        self.sent = 0;
        self.carry(carriage);
    }

    /// Sets how the content goes, behind whatever is already waiting in [`Flow::out`] (interim responses).
    pub(super) fn carry(&mut self, carriage: &Carriage) {
        self.source = match carriage.body {
            Body::None | Body::Length(0) => Source::Done,
            Body::Length(length) => Source::Length(length),
            Body::Chunked => Source::Chunked,
            Body::UntilClose => Source::UntilClose,
        };
        if carriage.body == Body::Chunked {
            self.decoder.restart(carriage.trailer_limit);
        }
        self.chunked_out = carriage.chunked_out;
        self.limit = carriage.limit;
        self.replayable = carriage.replayable;
        self.moved = 0;
        self.written = 0;
        self.start = Some(self.out.len());
    }

    /// Where the head goes.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Content bytes read so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes written so far, framing included; only ever grows within a message.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes the message back if nothing of it has been written, so that another can take its place. What waited before it stays.
    pub(super) fn retract(&mut self) -> bool {
        let Some(start) = self.start.filter(|start| self.sent <= *start) else { return false };
        self.out.truncate(start);
        self.source = Source::Done;
        true
    }

    /// Which side the flow waited for when it was last pending.
    pub(super) fn stalled(&self) -> Stalled {
        self.stalled
    }

    /// Goes back to the beginning, for another connection. False if part of the message is gone.
    pub(super) fn rewind(&mut self) -> bool {
        let whole = self.written == 0 || self.replayable;
        if whole {
            self.sent = 0;
            self.written = 0;
        }
        whole
    }

    /// Reads and checks what has already arrived, without writing. A request that is malformed in what arrived with its head is thus
    /// refused before any upstream sees it.
    ///
    /// # Errors
    /// As [`Flow::poll`], except for the sink's.
    pub(super) fn prime(&mut self, cx: &mut Context<'_>, from: &mut impl ByteStream) -> Result<(), FlowError> {
        if self.source == Source::Chunked {
            let _pending = self.stage(cx, from)?;
        }
        Ok(())
    }

    /// Moves what can be moved. Ready when the whole message has been written and flushed.
    ///
    /// # Errors
    /// [`FlowError`]; the flow cannot go on then.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl ByteStream,
        to: &mut impl ByteStream,
    ) -> Poll<Result<(), FlowError>> {
        loop {
            let staged = self.source == Source::Chunked || self.chunked_out || self.replayable;
            let starved = if staged { self.stage(cx, from)? } else { false };
            let moved = if staged || self.source == Source::Done {
                self.write_staged(cx, to)?
            } else {
                self.write_through(cx, from, to)?
            };
            match moved {
                Moved::Some if !starved => {}
                Moved::Some | Moved::Nothing => {
                    if self.source == Source::Done && self.sent == self.out.len() {
                        self.stalled = Stalled::Sink;
                        return to.poll_flush(cx).map_err(FlowError::Sink);
                    }
                    self.stalled = Stalled::Source;
                    // What has been written must not wait for more.
                    if let Poll::Ready(Err(error)) = to.poll_flush(cx) {
                        return Poll::Ready(Err(FlowError::Sink(error)));
                    }
                    return Poll::Pending;
                }
                Moved::Blocked => {
                    self.stalled = Stalled::Sink;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads content into `out` while there is room. True when the source had nothing more to give for now.
    fn stage(&mut self, cx: &mut Context<'_>, from: &mut impl ByteStream) -> Result<bool, FlowError> {
        if self.replayable && self.out.len() > REPLAY_BYTES {
            self.replayable = false;
        }
        if !self.replayable && self.sent > 0 && (self.sent == self.out.len() || self.sent >= STAGE_BYTES) {
            self.out.drain(..self.sent);
            self.sent = 0;
            self.start = None;
        }
        while self.source != Source::Done && self.out.len() < self.sent + STAGE_BYTES {
            let Poll::Ready(filled) = from.poll_fill(cx) else { return Ok(true) };
            let input = filled.map_err(FlowError::Source)?;
            if input.is_empty() {
                if self.source != Source::UntilClose {
                    return Err(FlowError::Truncated);
                }
                self.finish();
                break;
            }
            let consumed = self.stage_some(input).map_err(FlowError::Refused)?;
            from.consume(consumed);
            if self.moved > self.limit {
                return Err(FlowError::Refused(Reason::BodyTooLarge));
            }
        }
        Ok(false)
    }

    /// Decodes one run of `input` into `out`; returns how much of it is done with.
    fn stage_some(&mut self, input: &[u8]) -> Result<usize, Reason> {
        let room = (self.sent + STAGE_BYTES).saturating_sub(self.out.len() + CHUNK_OVERHEAD).max(1);
        let (consumed, data, done) = match self.source {
            Source::Chunked => {
                let step = self.decoder.decode(input, room)?;
                (step.consumed, step.data, step.done)
            }
            Source::Length(left) => {
                let run = input.len().min(room).min(usize::try_from(left).unwrap_or(usize::MAX));
                self.source = Source::Length(left - run as u64);
                (run, run, left == run as u64)
            }
            Source::UntilClose | Source::Done => {
                let run = input.len().min(room);
                (run, run, false)
            }
        };
        if data > 0 {
            let data = &input[consumed - data..consumed];
            self.moved += data.len() as u64;
            if self.chunked_out {
                encode_chunk(data, &mut self.out);
            } else {
                self.out.extend_from_slice(data);
            }
        }
        if done {
            self.finish();
        }
        Ok(consumed)
    }

    fn finish(&mut self) {
        if self.chunked_out {
            if self.source == Source::Chunked {
                self.decoder.encode_end(&mut self.out);
            } else {
                self.out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        self.source = Source::Done;
    }

    fn write_staged(&mut self, cx: &mut Context<'_>, to: &mut impl ByteStream) -> Result<Moved, FlowError> {
        let mut moved = Moved::Nothing;
        while self.sent < self.out.len() {
            match to.poll_write(cx, &[&self.out[self.sent..]]) {
                Poll::Pending => return Ok(Moved::Blocked),
                Poll::Ready(written) => {
                    let written = written.map_err(FlowError::Sink)?;
                    self.sent += written;
                    self.written += written as u64;
                }
            }
            moved = Moved::Some;
        }
        Ok(moved)
    }

    /// Without a change of framing, content goes from one stream's buffer to the other's, together with the head.
    fn write_through(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl ByteStream,
        to: &mut impl ByteStream,
    ) -> Result<Moved, FlowError> {
        let head = &self.out[self.sent..];
        let data = match from.poll_fill(cx) {
            Poll::Pending => &[],
            Poll::Ready(filled) => match (filled.map_err(FlowError::Source)?, self.source) {
                ([], Source::UntilClose) => {
                    self.source = Source::Done;
                    return Ok(Moved::Some);
                }
                ([], _) => return Err(FlowError::Truncated),
                (data, Source::Length(left)) => &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))],
                (data, _) => data,
            },
        };
        if head.is_empty() && data.is_empty() {
            return Ok(Moved::Nothing);
        }
        let Poll::Ready(written) = to.poll_write(cx, &[head, data]) else { return Ok(Moved::Blocked) };
        let written = written.map_err(FlowError::Sink)?;
        let of_head = written.min(head.len());
        let of_data = written - of_head;
        self.sent += of_head;
        self.written += written as u64;
        if of_data > 0 {
            from.consume(of_data);
            self.moved += of_data as u64;
        }
        if let Source::Length(left) = self.source {
            self.source = if left == of_data as u64 { Source::Done } else { Source::Length(left - of_data as u64) };
        }
        Ok(Moved::Some)
    }

    /// Writes what is waiting in [`Flow::out`] and nothing else: interim responses, error pages.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>, to: &mut impl ByteStream) -> Poll<Result<(), StreamError>> {
        while self.sent < self.out.len() {
            self.sent += ready!(to.poll_write(cx, &[&self.out[self.sent..]]))?;
        }
        to.poll_flush(cx)
    }

    /// Gives back memory beyond what a usual message needs.
    pub(super) fn shrink(&mut self) {
        self.out.clear();
        self.out.shrink_to(2 * STAGE_BYTES);
    }
}

/// What a write achieved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    Some,
    Nothing,
    Blocked,
}
