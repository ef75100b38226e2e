//! One connection to the origin: requests in, answers out, for as long as the peer likes.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use std::io::Write as _;
use std::rc::Rc;

use tidegate_dataplane::l7::{
    http1::{Body, Method, RequestHead, chunked},
    stream::{ByteStream, StreamError},
};

use super::{
    content,
    head::{Found, Heads, Partial, limits},
};

/// What a request wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// What to do with the content of the request.
    upload: Upload,
    body: Body,
    /// Bytes of content in the answer; with [`Upload::Echo`] they are the request's.
    length: u64,
    status: Status,
    /// The answer is to HEAD.
    head_only: bool,
    keep_alive: bool,
    expects: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Upload {
    Discard,
    /// As [`content`] has it, or the answer is 400.
    Check,
    Echo,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Ok,
    BadContent,
    NotFound,
    LengthRequired,
}

/// What the sessions of a core share.
#[derive(Debug)]
pub(super) struct Site {
    heads: RefCell<Heads<Wanted>>,
    parsed: RefCell<RequestHead>,
}

impl Site {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { heads: RefCell::new(Heads::new()), parsed: RefCell::default() })
    }

    fn read(&self, head: &[u8]) -> Option<Wanted> {
        let mut parsed = self.parsed.borrow_mut();
        parsed.parse(head, head.len(), &limits()).ok()?;
        let path = parsed.path.of_head(head);
        let (upload, length, status) = match (path, parsed.method, parsed.body) {
            (b"/echo", Method::Post | Method::Put, Body::Length(length)) => (Upload::Echo, length, Status::Ok),
            (b"/echo", ..) => (Upload::Discard, 0, Status::LengthRequired),
            (b"/sink", ..) => (Upload::Discard, 0, Status::Ok),
            (b"/check", ..) => (Upload::Check, 0, Status::Ok),
            _ => match content::length_at(path) {
                Some(length) => (Upload::Discard, length, Status::Ok),
                None => (Upload::Discard, 0, Status::NotFound),
            },
        };
        Some(Wanted {
            upload,
            body: parsed.body,
            length,
            status,
            head_only: parsed.method == Method::Head,
            keep_alive: parsed.keeps_alive(),
            expects: parsed.expect_continue,
        })
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<S: ByteStream>(mut stream: S, site: Rc<Site>) {
    let mut partial = Partial::default();
    let mut head = Vec::with_capacity(128);
    while let Ok(Some(mut wanted)) = poll_fn(|cx| poll_request(cx, &mut stream, &site, &mut partial)).await {
        if wanted.expects && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return;
        }
        let received = match wanted.upload {
            Upload::Echo => Ok(true),
            Upload::Discard | Upload::Check => receive(&mut stream, &wanted).await,
        };
        match received {
            Ok(true) => {}
            Ok(false) => wanted.status = Status::BadContent,
            Err(_) => return,
        }
        write_head(&wanted, &mut head);
        let sent = match wanted.upload {
            Upload::Echo => echo(&mut stream, &head, wanted.length).await,
            Upload::Discard | Upload::Check => answer(&mut stream, &head, &wanted).await,
        };
        if sent.is_err() || stream.flush().await.is_err() {
            return;
        }
        if !wanted.keep_alive {
            break;
        }
    }
    let _ = stream.shutdown().await;
}

/// `None` when the peer has closed between requests, or sends what is no request.
fn poll_request<S: ByteStream>(
    cx: &mut Context<'_>,
    stream: &mut S,
    site: &Site,
    partial: &mut Partial,
) -> Poll<Result<Option<Wanted>, StreamError>> {
    loop {
        let bytes = ready!(stream.poll_fill(cx))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let all = bytes.len();
        match site.heads.borrow_mut().find(partial, bytes, |head| site.read(head)) {
            Ok(Found::Head { meaning, consumed }) => {
                stream.consume(consumed);
                return Poll::Ready(Ok(Some(meaning)));
            }
            Ok(Found::More) => stream.consume(all),
            Err(_) => return Poll::Ready(Ok(None)),
        }
    }
}

/// Takes in the content of a request; false when it is to be checked and is not what it ought to be.
async fn receive<S: ByteStream>(stream: &mut S, wanted: &Wanted) -> Result<bool, StreamError> {
    let check = wanted.upload == Upload::Check;
    let (mut at, mut good) = (0, true);
    let mut decoder = match wanted.body {
        Body::Chunked => Some(chunked::Decoder::default()),
        Body::Length(1..) => None,
        _ => return Ok(true),
    };
    let length = if let Body::Length(length) = wanted.body { length } else { u64::MAX };
    poll_fn(|cx| {
        while at < length {
            let bytes = ready!(stream.poll_fill(cx))?;
            if bytes.is_empty() {
                return Poll::Ready(Err(StreamError::Reset));
            }
            let (consumed, data, done) = match &mut decoder {
                None => {
                    let n = bytes.len().min((length - at) as usize);
                    (n, &bytes[..n], false)
                }
                Some(decoder) => match decoder.decode(bytes, bytes.len()) {
                    Ok(step) => (step.consumed, &bytes[step.consumed - step.data..step.consumed], step.done),
                    Err(_) => return Poll::Ready(Err(StreamError::Reset)),
                },
            };
            good &= !check || content::is_part(at, data);
            at += data.len() as u64;
            stream.consume(consumed);
            if done {
                break;
            }
        }
        Poll::Ready(Ok(good))
    })
    .await
}

fn write_head(wanted: &Wanted, head: &mut Vec<u8>) {
    head.clear();
    let (status, length) = match wanted.status {
        Status::Ok => ("200 OK", wanted.length),
        Status::BadContent => ("400 Bad Request", 0),
        Status::NotFound => ("404 Not Found", 0),
        Status::LengthRequired => ("411 Length Required", 0),
    };
    let connection = if wanted.keep_alive { "" } else { "Connection: close\r\n" };
    let written = write!(
        head,
        "HTTP/1.1 {status}\r\nServer: origin\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n{connection}\r\n"
    );
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

/// The head with the content behind it, straight from where the content lies.
async fn answer<S: ByteStream>(stream: &mut S, head: &[u8], wanted: &Wanted) -> Result<(), StreamError> {
    let length = if wanted.status == Status::Ok && !wanted.head_only { wanted.length } else { 0 };
    let total = head.len() as u64 + length;
    let mut sent = 0;
    poll_fn(|cx| {
        while sent < total {
            let rest = &head[(sent as usize).min(head.len())..];
            let at = sent.saturating_sub(head.len() as u64);
            sent += ready!(stream.poll_write(cx, &[rest, content::part(at, length - at)]))? as u64;
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// Sends back what comes in.
async fn echo<S: ByteStream>(stream: &mut S, head: &[u8], length: u64) -> Result<(), StreamError> {
    stream.write_all(head).await?;
    stream.flush().await?;
    let mut buffer = vec![0; 16 << 10];
    let mut left = length;
    while left > 0 {
        let most = left.min(buffer.len() as u64) as usize;
        let n = stream.read(&mut buffer[..most]).await?;
        if n == 0 {
            return Err(StreamError::Reset);
        }
        stream.write_all(&buffer[..n]).await?;
        stream.flush().await?;
        left -= n as u64;
    }
    Ok(())
}
