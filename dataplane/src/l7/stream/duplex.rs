//! Two connected streams in memory: bounded, with half-close, reset, and splits that a test decides.

use core::cell::RefCell;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;

use super::{ByteStream, StreamError};

/// A pair of streams; what one writes the other reads. Each direction holds at most `capacity` bytes.
///
/// # Panics
/// If `capacity` is zero, since nothing could ever move.
#[must_use]
pub fn duplex(capacity: usize) -> (Duplex, Duplex) {
    assert!(capacity > 0);
    let [to_right, to_left] = [(); 2].map(|()| Rc::new(RefCell::new(Pipe::new(capacity))));
    let left = Duplex::new(Rc::clone(&to_left), Rc::clone(&to_right));
    (left, Duplex::new(to_right, to_left))
}

/// One end of a [`duplex`].
#[derive(Debug)]
pub struct Duplex {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
    /// What `poll_fill` has shown: a copy, since the pipe is shared with the writing end.
    window: Vec<u8>,
    consumed: usize,
    read_sizes: Sizes,
    write_sizes: Sizes,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: Vec<u8>,
    capacity: usize,
    /// The writing end has closed.
    finished: bool,
    /// Either end has aborted.
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Upper bounds for successive operations, repeated for ever; none means unbounded.
#[derive(Debug, Default)]
struct Sizes {
    bounds: Vec<usize>,
    position: usize,
}

impl Duplex {
    fn new(incoming: Rc<RefCell<Pipe>>, outgoing: Rc<RefCell<Pipe>>) -> Self {
        let (read_sizes, write_sizes) = Default::default();
        Self { incoming, outgoing, window: Vec::new(), consumed: 0, read_sizes, write_sizes }
    }

    /// Bounds what successive `poll_fill` show and successive `poll_write` take, each list repeated for ever (zeros count
    /// as one; an empty list means unbounded).
    pub fn split(&mut self, read: &[usize], write: &[usize]) {
        self.read_sizes = Sizes { bounds: read.to_vec(), position: 0 };
        self.write_sizes = Sizes { bounds: write.to_vec(), position: 0 };
    }

    /// Bytes written by this end that the other has not read.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.outgoing.borrow().bytes.len()
    }
}

impl ByteStream for Duplex {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>> {
        let mut pipe = self.incoming.borrow_mut();
        if pipe.reset {
            return Poll::Ready(Err(StreamError::Reset));
        }
        if self.consumed == self.window.len() {
            if pipe.bytes.is_empty() && !pipe.finished {
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let shown = self.read_sizes.next().min(pipe.bytes.len());
            self.window.clear();
            self.window.extend(pipe.bytes.drain(..shown));
            self.consumed = 0;
            wake(&mut pipe.writer);
        }
        Poll::Ready(Ok(&self.window[self.consumed..]))
    }

    fn consume(&mut self, n: usize) {
        assert!(n <= self.window.len() - self.consumed, "consumed more than was shown");
        self.consumed += n;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>> {
        let mut pipe = self.outgoing.borrow_mut();
        if pipe.reset || pipe.finished {
            return Poll::Ready(Err(if pipe.reset { StreamError::Reset } else { StreamError::Closed }));
        }
        if data.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let room = pipe.capacity - pipe.bytes.len();
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bound = room.min(self.write_sizes.next());
        let mut written = 0;
        for part in data {
            let taken = part.len().min(bound - written);
            pipe.bytes.extend_from_slice(&part[..taken]);
            written += taken;
        }
        wake(&mut pipe.reader);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(if self.outgoing.borrow().reset { Err(StreamError::Reset) } else { Ok(()) })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let mut pipe = self.outgoing.borrow_mut();
        if pipe.reset {
            return Poll::Ready(Err(StreamError::Reset));
        }
        pipe.finished = true;
        wake(&mut pipe.reader);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        for pipe in [&self.incoming, &self.outgoing] {
            let mut pipe = pipe.borrow_mut();
            pipe.reset = true;
            pipe.bytes.clear();
            wake(&mut pipe.reader);
            wake(&mut pipe.writer);
        }
    }

    fn peer_gone(&self) -> bool {
        let pipe = self.incoming.borrow();
        pipe.reset || pipe.finished
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        let all_read = self.consumed == self.window.len() && self.incoming.borrow().bytes.is_empty();
        if !all_read {
            return self.abort();
        }
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.finished = true;
        wake(&mut outgoing.reader);
        drop(outgoing);
        // Nobody will read what the peer sends from now on: TCP answers such data with a reset.
        let mut incoming = self.incoming.borrow_mut();
        if !incoming.finished {
            incoming.reset = true;
            wake(&mut incoming.writer);
        }
    }
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { bytes: Vec::new(), capacity, finished: false, reset: false, reader: None, writer: None }
    }
}

impl Sizes {
    fn next(&mut self) -> usize {
        if self.bounds.is_empty() {
            return usize::MAX;
        }
        let bound = self.bounds[self.position].max(1);
        self.position = (self.position + 1) % self.bounds.len();
        bound
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::l7::exec::Executor;
    use proptest::prelude::*;

    fn run<T>(future: impl Future<Output = T>) -> Option<T> {
        Executor::new(Instant::ZERO).drive(Instant::from_nanos(u64::MAX), future)
    }

    async fn read_to_end(stream: &mut Duplex) -> Result<Vec<u8>, StreamError> {
        let (mut all, mut part) = (Vec::new(), [0; 37]);
        loop {
            match stream.read(&mut part).await? {
                0 => return Ok(all),
                n => all.extend_from_slice(&part[..n]),
            }
        }
    }

    proptest! {
        #[test]
        fn all_bytes_arrive_in_order_whatever_the_splits(
            data in prop::collection::vec(any::<u8>(), 0..3000), capacity in 1usize..500,
            read in prop::collection::vec(0usize..50, 0..5), write in prop::collection::vec(0usize..50, 0..5),
        ) {
            let (mut a, mut b) = duplex(capacity);
            a.split(&[], &write);
            b.split(&read, &[]);
            let exec = Executor::new(Instant::ZERO);
            let sent = data.clone();
            exec.spawn(async move {
                a.write_all(&sent).await.expect("written");
                assert!(a.in_flight() <= capacity);
                a.shutdown().await.expect("shut down");
                assert_eq!(a.read(&mut [0; 4]).await, Ok(0));
            });
            let received = exec.drive(Instant::ZERO, read_to_end(&mut b)).expect("no deadlock");
            prop_assert_eq!(received, Ok(data));
            drop(b);
            exec.run(10);
            prop_assert_eq!(exec.live_tasks(), 0);
        }
    }

    #[test]
    fn a_full_pipe_waits_for_the_reader_and_a_write_spans_its_parts() {
        let (mut a, mut b) = duplex(4);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(a.poll_write(&mut cx, &[b"", b"ab", b"cdef"]), Poll::Ready(Ok(4)));
        assert_eq!(a.poll_write(&mut cx, &[b"ef"]), Poll::Pending);
        assert_eq!(a.poll_write(&mut cx, &[b"", b""]), Poll::Ready(Ok(0)));
        assert_eq!(b.poll_fill(&mut cx), Poll::Ready(Ok(&b"abcd"[..])));
        b.consume(1);
        assert_eq!(b.poll_fill(&mut cx), Poll::Ready(Ok(&b"bcd"[..])));
    }

    #[test]
    fn half_close_lets_the_other_direction_go_on() {
        let (mut a, mut b) = duplex(64);
        let got = run(async {
            a.shutdown().await?;
            assert!(b.peer_gone() && !a.peer_gone());
            assert_eq!(read_to_end(&mut b).await?, b"");
            b.write_all(b"late answer").await?;
            b.shutdown().await?;
            assert_eq!(a.write_all(b"x").await, Err(StreamError::Closed));
            read_to_end(&mut a).await
        });
        assert_eq!(got, Some(Ok(b"late answer".to_vec())));
    }

    #[test]
    fn an_abort_reaches_a_waiting_reader_and_discards_what_was_in_flight() {
        let (mut a, mut b) = duplex(64);
        let exec = Executor::new(Instant::ZERO);
        let handle = exec.clone();
        exec.spawn(async move {
            a.write_all(b"lost").await.expect("room");
            handle.sleep(core::time::Duration::from_secs(1)).await;
            a.abort();
        });
        let got = exec.drive(Instant::from_nanos(u64::MAX), async {
            let first = b.read(&mut [0; 4]).await;
            (first, b.read(&mut [0; 4]).await, b.write_all(b"x").await)
        });
        assert_eq!(got, Some((Ok(4), Err(StreamError::Reset), Err(StreamError::Reset))));
    }

    #[test]
    fn dropping_unread_data_resets_and_dropping_a_read_stream_closes() {
        let (mut a, b) = duplex(64);
        run(a.write_all(b"unread"));
        drop(b);
        assert_eq!(run(a.read(&mut [0; 4])), Some(Err(StreamError::Reset)));
        let (mut a, b) = duplex(64);
        drop(b);
        assert_eq!(run(a.read(&mut [0; 4])), Some(Ok(0)));
        assert_eq!(run(a.write_all(b"x")), Some(Err(StreamError::Reset)));
    }
}
