//! Conversations over a TCP stream of the data plane: paced reads and writes, and a strict reader of lines and content.

use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    task::Poll,
};

use tidegate_dataplane::{
    l4::{End, TcpStream},
    l7::exec::Executor,
};

use crate::{
    pattern::{self, Key},
    plan::Pace,
};

/// Longest line anybody sends here.
const MAX_LINE: usize = 8_192;
/// Read at a time while a head is read: content that comes with it must still be subject to the reader's pace.
const HEAD_READ: usize = 256;
/// Moved at a time.
const PIECE: usize = 16 << 10;

/// Why a conversation ends early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// The peer closed in order where more was to come.
    Closed,
    /// The connection broke.
    Broken(End),
    /// What was read may not be there: a violation.
    Wrong(String),
}

impl From<End> for Trouble {
    fn from(end: End) -> Self {
        Self::Broken(end)
    }
}

/// A stream that a reader and a writer share within one task.
pub(crate) struct Line {
    pub(crate) stream: RefCell<TcpStream>,
    pub(crate) exec: Executor,
}

impl Line {
    pub(crate) fn new(stream: TcpStream, exec: Executor) -> Self {
        Self { stream: RefCell::new(stream), exec }
    }

    pub(crate) async fn connected(&self) -> Result<(), End> {
        poll_fn(|cx| self.stream.borrow_mut().poll_connected(cx)).await
    }

    /// Reads into `into`; 0 at the end.
    pub(crate) async fn read(&self, into: &mut [u8]) -> Result<usize, End> {
        poll_fn(|cx| self.stream.borrow_mut().poll_read(cx, into)).await
    }

    pub(crate) async fn write(&self, mut data: &[u8]) -> Result<(), End> {
        while !data.is_empty() {
            let n = poll_fn(|cx| self.stream.borrow_mut().poll_write(cx, &[data])).await?;
            data = &data[n..];
        }
        Ok(())
    }

    pub(crate) async fn shutdown(&self) -> Result<(), End> {
        poll_fn(|cx| self.stream.borrow_mut().poll_shutdown(cx)).await
    }

    pub(crate) fn abort(&self) {
        self.stream.borrow_mut().abort();
    }

    /// Writes content from `from` to `to` at a pace.
    pub(crate) async fn write_content(&self, key: Key, from: u64, to: u64, throttle: &mut Throttle) -> Result<(), End> {
        let mut piece = [0; PIECE];
        let mut at = from;
        while at < to {
            let n = throttle.allow(&self.exec).await.min(to - at).min(PIECE as u64) as usize;
            pattern::fill(key, at, &mut piece[..n]);
            self.write(&piece[..n]).await?;
            throttle.moved(n as u64);
            at += n as u64;
        }
        throttle.allow(&self.exec).await;
        Ok(())
    }

    /// Closes, and reads to the peer's close; what arrives meanwhile is a violation.
    pub(crate) async fn farewell(&self, intake: &mut Intake) -> Result<(), Trouble> {
        self.shutdown().await?;
        if !intake.rest().is_empty() || self.read(&mut [0; 1]).await? > 0 {
            return Err(Trouble::Wrong("bytes behind the last message".into()));
        }
        Ok(())
    }
}

/// Meters what one side moves in one direction.
pub(crate) struct Throttle {
    pace: Pace,
    moved: u64,
    /// Bytes at which the next rest is due.
    next: u64,
}

impl Throttle {
    pub(crate) fn new(pace: Pace) -> Self {
        let next = match pace {
            Pace::Eager => u64::MAX,
            Pace::Slow { piece, .. } => piece,
            Pace::Stall { after, .. } => after,
        };
        Self { pace, moved: 0, next }
    }

    /// How many bytes may be moved now; rests when it is time to.
    pub(crate) async fn allow(&mut self, exec: &Executor) -> u64 {
        if self.moved >= self.next {
            match self.pace {
                Pace::Eager => {}
                Pace::Slow { piece, rest } => {
                    self.next = self.moved + piece;
                    exec.sleep(rest).await;
                }
                Pace::Stall { pause, .. } => {
                    self.next = u64::MAX;
                    exec.sleep(pause).await;
                }
            }
        }
        self.next - self.moved
    }

    pub(crate) fn moved(&mut self, n: u64) {
        self.moved += n;
    }
}

/// Received bytes that nobody has looked at.
#[derive(Default)]
pub(crate) struct Intake {
    bytes: Vec<u8>,
    start: usize,
}

impl Intake {
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The next `n` bytes, which are here.
    pub(crate) fn take(&mut self, n: usize) -> &[u8] {
        self.start += n;
        &self.bytes[self.start - n..self.start]
    }

    /// Reads more; `false` at the end.
    pub(crate) async fn more(&mut self, line: &Line, limit: usize) -> Result<bool, End> {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        let end = self.bytes.len();
        self.bytes.resize(end + limit, 0);
        let read = line.read(&mut self.bytes[end..]).await;
        self.bytes.truncate(end + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// The next line, without its CRLF. `None` if the peer closed before its first byte.
    pub(crate) async fn line_or_end(&mut self, line: &Line) -> Result<Option<String>, Trouble> {
        loop {
            if let Some(at) = self.rest().iter().position(|byte| *byte == b'\n') {
                let text = &self.rest()[..at];
                let Some(text) = text.strip_suffix(b"\r") else { return wrong("a bare LF") };
                if text.iter().any(|byte| !(32..127).contains(byte)) {
                    return wrong(&format!("control characters in {:?}", String::from_utf8_lossy(text)));
                }
                let text = String::from_utf8_lossy(text).into_owned();
                self.start += at + 1;
                return Ok(Some(text));
            }
            if self.rest().len() > MAX_LINE {
                return wrong("a line without end");
            }
            if !self.more(line, HEAD_READ).await? {
                return if self.rest().is_empty() { Ok(None) } else { Err(Trouble::Closed) };
            }
        }
    }

    /// The next line.
    pub(crate) async fn line(&mut self, line: &Line) -> Result<String, Trouble> {
        self.line_or_end(line).await?.ok_or(Trouble::Closed)
    }

    /// Checks content from offset `from` up to `to`, at a pace.
    pub(crate) async fn content(
        &mut self,
        line: &Line,
        key: Key,
        (from, to): (u64, u64),
        throttle: &mut Throttle,
    ) -> Result<(), Trouble> {
        let mut at = from;
        while at < to {
            let allowed = throttle.allow(&line.exec).await.min(to - at).min(PIECE as u64) as usize;
            if self.rest().is_empty() && !self.more(line, allowed).await? {
                return Err(Trouble::Closed);
            }
            let n = allowed.min(self.rest().len());
            if let Err(offset) = pattern::check(key, at, &self.rest()[..n]) {
                return wrong(&format!("octet {offset} of {key:?} is wrong"));
            }
            self.start += n;
            at += n as u64;
            throttle.moved(n as u64);
        }
        throttle.allow(&line.exec).await;
        Ok(())
    }
}

/// A violation.
pub(crate) fn wrong<T>(what: &str) -> Result<T, Trouble> {
    Err(Trouble::Wrong(what.into()))
}

/// Tells the two halves of a task that one of them has changed something the other may wait for.
#[derive(Default)]
pub(crate) struct Nudge(Cell<bool>);

impl Nudge {
    /// Sets a cell that the other half looks at.
    pub(crate) fn set<T>(&self, cell: &Cell<T>, value: T) {
        cell.set(value);
        self.0.set(true);
    }
}

/// Waits for something that the other half of this task brings about.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    poll_fn(|_| if condition() { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Runs both until `main` is done.
pub(crate) async fn beside<T>(nudge: &Nudge, main: impl Future<Output = T>, side: impl Future<Output = ()>) -> T {
    let (mut main, mut side) = (pin!(main), pin!(side));
    let mut side_done = false;
    poll_fn(|cx| {
        loop {
            nudge.0.set(false);
            if let Poll::Ready(result) = main.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            side_done = side_done || side.as_mut().poll(cx).is_ready();
            if !nudge.0.get() {
                return Poll::Pending;
            }
        }
    })
    .await
}
