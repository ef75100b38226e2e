//! One request and its answer on an open connection: sent, received to the last byte, and judged.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::Write as _;

use tidegate_dataplane::l7::{
    exec::Sleep,
    http1::{Body, Method, ResponseHead, chunked::Decoder},
    stream::ByteStream,
};

use super::{course::Course, failure::Failure};
use crate::origin::{
    content,
    head::{Found, Heads, Partial, limits},
};

/// What is asked, always the same, and what the answer must be.
pub(crate) struct Ask {
    head: Vec<u8>,
    method: Method,
    /// Bytes of content that follow the head.
    upload: u64,
    /// What the content's length must be; without knowing better, that of the first answer.
    length: Cell<Option<u64>>,
    /// The content must be the origin's.
    check: bool,
    timeout: Duration,
    heads: RefCell<Heads<Answered>>,
    parsed: RefCell<ResponseHead>,
}

/// What the head of an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Answered {
    status: u16,
    body: Body,
    keep_alive: bool,
    interim: bool,
}

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// What was wrong, if anything.
    pub(crate) failure: Option<Failure>,
    /// The connection can be used again.
    pub(crate) reusable: bool,
}

impl Ask {
    /// A request for `path` of `host`: POST with `upload` bytes of content, or GET. With `check` the answer must be what the origin
    /// has there.
    pub(crate) fn new(
        host: &str,
        path: &str,
        upload: Option<u64>,
        close: bool,
        check: bool,
        timeout: Duration,
    ) -> Self {
        let mut head = Vec::new();
        let method = if upload.is_some() { "POST" } else { "GET" };
        let written =
            write!(head, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-bench\r\nAccept: */*\r\n");
        debug_assert!(written.is_ok(), "a vector takes every byte");
        if let Some(upload) = upload {
            let _ = write!(head, "Content-Type: application/octet-stream\r\nContent-Length: {upload}\r\n");
        }
        head.extend_from_slice(if close { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        let known = match upload {
            Some(upload) if path == "/echo" => Some(upload),
            _ => content::length_at(path.as_bytes()),
        };
        Self {
            head,
            method: if upload.is_some() { Method::Post } else { Method::Get },
            upload: upload.unwrap_or(0),
            length: Cell::new(known.filter(|_| check)),
            check,
            timeout,
            heads: RefCell::new(Heads::new()),
            parsed: RefCell::default(),
        }
    }

    /// Longest time from the beginning of an exchange to its end.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn read(&self, head: &[u8]) -> Option<Answered> {
        let mut parsed = self.parsed.borrow_mut();
        parsed.parse(head, head.len(), &self.method, &limits()).ok()?;
        Some(Answered {
            status: parsed.status,
            body: parsed.body,
            keep_alive: parsed.keeps_alive(),
            interim: parsed.is_interim(),
        })
    }
}

/// Asks and receives the answer. `alarm` is any timer of the connection's.
pub(crate) async fn exchange<S: ByteStream>(stream: &mut S, ask: &Ask, course: &Course, alarm: &mut Sleep) -> Outcome {
    alarm.reset(course.now() + ask.timeout);
    let mut talk = Talk { sent: 0, stage: Stage::Head(Partial::default()), answered: None, failure: None };
    let ended = poll_fn(|cx| match talk.poll(cx, stream, ask, course) {
        Poll::Pending if Pin::new(&mut *alarm).poll(cx).is_ready() => Poll::Ready(Err(Failure::Timeout)),
        polled => polled,
    })
    .await;
    match ended {
        Ok(()) => {
            Outcome { failure: talk.failure, reusable: talk.answered.is_some_and(|answered| answered.keep_alive) }
        }
        Err(failure) => Outcome { failure: Some(failure), reusable: false },
    }
}

/// An exchange under way.
struct Talk {
    /// Bytes of the request that were sent.
    sent: u64,
    stage: Stage,
    answered: Option<Answered>,
    failure: Option<Failure>,
}

/// How far the answer has come.
enum Stage {
    Head(Partial),
    /// Bytes of content received, and how many there are.
    Content(u64, u64),
    Chunked(u64, Box<Decoder>),
    UntilClose(u64),
    Done,
}

impl Talk {
    fn poll<S: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        ask: &Ask,
        course: &Course,
    ) -> Poll<Result<(), Failure>> {
        let sent = self.poll_send(cx, stream, ask, course)?;
        ready!(self.poll_receive(cx, stream, ask, course))?;
        // An answer that comes before everything was asked is whole when that is.
        sent.map(Ok)
    }

    fn poll_send<S: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        ask: &Ask,
        course: &Course,
    ) -> Poll<Result<(), Failure>> {
        let head = ask.head.len() as u64;
        let total = head + ask.upload;
        if self.sent > total {
            return Poll::Ready(Ok(()));
        }
        while self.sent < total {
            let at = self.sent.saturating_sub(head);
            let rest = &ask.head[self.sent.min(head) as usize..];
            let written = ready!(stream.poll_write(cx, &[rest, content::part(at, ask.upload - at)]))?;
            self.sent += written as u64;
            course.tally.borrow_mut().moved((self.sent.saturating_sub(head)) - at, course.now());
        }
        ready!(stream.poll_flush(cx))?;
        self.sent = total + 1; // Flushed.
        Poll::Ready(Ok(()))
    }

    fn poll_receive<S: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        ask: &Ask,
        course: &Course,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Content(at, length) if at == length => {
                    self.stage = Stage::Done;
                    continue;
                }
                _ => {}
            }
            let bytes = ready!(stream.poll_fill(cx))?;
            if bytes.is_empty() {
                let Stage::UntilClose(at) = self.stage else { return Poll::Ready(Err(Failure::Closed)) };
                self.judge_length(at, ask);
                self.stage = Stage::Done;
                continue;
            }
            let consumed = self.take(bytes, ask, course)?;
            stream.consume(consumed);
        }
    }

    /// Takes in received bytes and tells how many.
    fn take(&mut self, bytes: &[u8], ask: &Ask, course: &Course) -> Result<usize, Failure> {
        match &mut self.stage {
            Stage::Head(partial) => match ask.heads.borrow_mut().find(partial, bytes, |head| ask.read(head)) {
                Ok(Found::Head { meaning, consumed }) => {
                    self.begin(meaning, ask);
                    Ok(consumed)
                }
                Ok(Found::More) => Ok(bytes.len()),
                Err(_) => Err(Failure::Malformed),
            },
            Stage::Content(at, length) => {
                let n = bytes.len().min((*length - *at) as usize);
                let from = *at;
                *at += n as u64;
                self.judge(from, &bytes[..n], ask, course);
                Ok(n)
            }
            Stage::UntilClose(at) => {
                let from = *at;
                *at += bytes.len() as u64;
                self.judge(from, bytes, ask, course);
                Ok(bytes.len())
            }
            Stage::Chunked(at, decoder) => {
                let step = decoder.decode(bytes, bytes.len()).map_err(|_| Failure::Malformed)?;
                let from = *at;
                *at += step.data as u64;
                let whole = *at;
                if step.done {
                    self.stage = Stage::Done;
                    self.judge_length(whole, ask);
                }
                self.judge(from, &bytes[step.consumed - step.data..step.consumed], ask, course);
                Ok(step.consumed)
            }
            Stage::Done => Ok(0),
        }
    }

    /// The head is there.
    fn begin(&mut self, answered: Answered, ask: &Ask) {
        if answered.interim {
            self.stage = Stage::Head(Partial::default());
            return;
        }
        self.answered = Some(answered);
        if answered.status != 200 {
            self.failure = Some(Failure::Status);
        }
        self.stage = match answered.body {
            Body::None => Stage::Content(0, 0),
            Body::Length(length) => Stage::Content(0, length),
            Body::Chunked => Stage::Chunked(0, Box::default()),
            Body::UntilClose => Stage::UntilClose(0),
        };
        if let Stage::Content(_, length) = self.stage {
            self.judge_length(length, ask);
        }
    }

    fn judge_length(&mut self, length: u64, ask: &Ask) {
        if self.failure.is_some() {
            return; // An answer that is an error is as long as it likes.
        }
        let expected = ask.length.get().unwrap_or(length);
        ask.length.set(Some(expected));
        if length != expected {
            self.failure = Some(Failure::Length);
        }
    }

    fn judge(&mut self, from: u64, bytes: &[u8], ask: &Ask, course: &Course) {
        course.tally.borrow_mut().moved(bytes.len() as u64, course.now());
        if ask.check && self.failure.is_none() && !content::is_part(from, bytes) {
            self.failure = Some(Failure::Content);
        }
    }
}
