//! What users hold: the handle of a core's TCP, and streams.

use core::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, Waker},
};
use std::{rc::Rc, sync::Arc};

use smoltcp::socket::tcp::State as SocketState;

use crate::clock::Instant;

use super::{
    conn::{ConnId, State},
    flow::Flow,
    handshake::ConnectError,
    join::Joint,
    options::{Secrets, TcpOptions},
    record::End,
    sink::SegmentSink,
    stats::Stats,
    tcp::{Listen, Outcome, Tcp},
};

/// Bytes that [`TcpStream::poll_fill`] shows at most.
const STAGE_BYTES: usize = 16 << 10;
/// Unused staging buffers kept per core.
const STAGES_KEPT: usize = 256;

struct Shared {
    tcp: RefCell<Tcp>,
    /// Streams dropped while TCP was at work (by a waker that dropped its task): seen to at the next entry.
    dropped: RefCell<Vec<(ConnId, bool)>>,
    stages: RefCell<Vec<Box<[u8]>>>,
    stats: Arc<Stats>,
}

/// One core's TCP. Clones are the same TCP.
#[derive(Clone)]
pub struct TcpHandle(Rc<Shared>);

impl TcpHandle {
    /// TCP without connections. Reserves the connection table.
    pub fn new(options: TcpOptions, secrets: &Secrets, stats: Arc<Stats>, now: Instant) -> Self {
        let tcp = RefCell::new(Tcp::new(options, secrets, Arc::clone(&stats), now));
        Self(Rc::new(Shared { tcp, dropped: RefCell::default(), stages: RefCell::default(), stats }))
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    /// Takes in one IP packet. `tcp_at` is the offset of its TCP header; `checksum_good` spares the check. The packet may be
    /// altered. Answers that cannot wait for [`Self::output`] go to `sink` at once.
    pub fn input<S: SegmentSink>(
        &self,
        now: Instant,
        packet: &mut [u8],
        (tcp_at, checksum_good): (usize, bool),
        listen: &impl Listen,
        sink: &mut S,
    ) -> Outcome {
        self.enter(|tcp| {
            tcp.core.now = now;
            tcp.input(packet, tcp_at, checksum_good, listen, sink)
        })
    }

    /// Takes in what was joined of several packets.
    pub fn input_joint<S: SegmentSink>(
        &self,
        now: Instant,
        joint: &mut Joint,
        listen: &impl Listen,
        sink: &mut S,
    ) -> Outcome {
        let (packet, tcp_at, parts) = joint.finish();
        self.0.stats.segments_in.add(u64::from(parts.saturating_sub(1)));
        self.input(now, packet, (tcp_at, true), listen, sink)
    }

    /// Fires timers and sends what segments and users have made sendable. Once per turn, after the users ran.
    pub fn output<S: SegmentSink>(&self, now: Instant, sink: &mut S) {
        self.enter(|tcp| {
            tcp.core.now = now;
            tcp.output(sink);
        });
    }

    /// The time of this turn, for opens and writes before [`Self::output`].
    pub fn set_now(&self, now: Instant) {
        self.enter(|tcp| tcp.core.now = now);
    }

    /// When [`Self::output`] has to be called next if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.enter(|tcp| tcp.next_deadline())
    }

    /// The next connection that a peer has opened, if any.
    pub fn accept(&self) -> Option<TcpStream> {
        self.enter(|tcp| {
            while let Some(id) = tcp.core.accepts.pop_front() {
                if let Some(conn) = tcp.conns.named(id) {
                    return Some((id, conn.flow, conn.listener));
                }
            }
            None
        })
        .map(|(id, flow, listener)| self.stream(id, flow, listener))
    }

    /// Starts to open a connection; [`TcpStream::poll_connected`] tells when it is open.
    pub fn connect(&self, local: IpAddr, remote: SocketAddr, now: Instant) -> Result<TcpStream, ConnectError> {
        let (id, flow) = self.enter(|tcp| {
            tcp.core.now = now;
            let id = tcp.connect(local, remote)?;
            Ok((id, tcp.conns.at(id.index).flow))
        })?;
        Ok(self.stream(id, flow, 0))
    }

    /// An ICMP error says that `flow`'s peer cannot be reached. `seq` is the sequence number in the quoted segment.
    pub fn unreachable(&self, flow: &Flow, seq: u32) {
        self.enter(|tcp| tcp.unreachable(flow, seq));
    }

    /// Whether `flow` is one of this core's.
    pub fn knows(&self, flow: &Flow) -> bool {
        self.enter(|tcp| tcp.conns.find(flow).is_some())
    }

    /// Connections in any state.
    pub fn connections(&self) -> usize {
        self.enter(|tcp| tcp.conns.len())
    }

    fn stream(&self, id: ConnId, flow: Flow, listener: u32) -> TcpStream {
        TcpStream { shared: Rc::clone(&self.0), id, flow, listener, stage: None }
    }

    pub(super) fn enter<R>(&self, f: impl FnOnce(&mut Tcp) -> R) -> R {
        enter(&self.0, f)
    }
}

fn enter<R>(shared: &Shared, f: impl FnOnce(&mut Tcp) -> R) -> R {
    let mut tcp = shared.tcp.borrow_mut();
    let result = f(&mut tcp);
    while let Some((id, unread)) = shared.dropped.borrow_mut().pop() {
        if tcp.conns.named(id).is_some() {
            tcp.detach(id.index, unread);
        }
    }
    result
}

/// Received bytes between the socket's ring and the user.
struct Stage {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// One connection. Dropping it closes it in order if everything received was read, and resets it otherwise; what was written
/// is still delivered.
pub struct TcpStream {
    shared: Rc<Shared>,
    id: ConnId,
    flow: Flow,
    listener: u32,
    stage: Option<Stage>,
}

impl TcpStream {
    /// Addresses and ports.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// What [`Listen`] said for the local address; 0 if this host opened the connection.
    pub fn listener(&self) -> u32 {
        self.listener
    }

    /// Ready when the connection is open, or with how the attempt ended.
    pub fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.enter(|tcp, index| {
            let conn = tcp.conns.at(index);
            match conn.state {
                State::SynSent(_) | State::SynReceived { .. } => {
                    remember(&mut conn.writer, cx);
                    Poll::Pending
                }
                State::Ended(end) => Poll::Ready(Err(end)),
                _ => Poll::Ready(Ok(())),
            }
        })
    }

    /// Received bytes that were not consumed yet; `Pending` while there are none, empty at the end of the peer's sending.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], End>> {
        if self.stage.is_none() {
            let buffer = self.shared.stages.borrow_mut().pop();
            let mut buffer = buffer.unwrap_or_else(|| vec![0; STAGE_BYTES].into_boxed_slice());
            match self.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(end)) if end > 0 => self.stage = Some(Stage { buffer, start: 0, end }),
                other => {
                    self.put_back(buffer);
                    return other.map(|result| result.map(|_| &[][..]));
                }
            }
        }
        Poll::Ready(Ok(self.stage.as_ref().map_or(&[][..], |stage| &stage.buffer[stage.start..stage.end])))
    }

    /// Marks the first `n` bytes that [`Self::poll_fill`] showed as read.
    ///
    /// # Panics
    /// If it did not show as many.
    pub fn consume(&mut self, n: usize) {
        let shown = self.stage.as_ref().map_or(0, |stage| stage.end - stage.start);
        assert!(n <= shown, "consumed {n} of {shown} bytes");
        if n < shown {
            if let Some(stage) = &mut self.stage {
                stage.start += n;
            }
        } else if let Some(stage) = self.stage.take() {
            self.put_back(stage.buffer);
        }
    }

    fn put_back(&self, buffer: Box<[u8]>) {
        let mut stages = self.shared.stages.borrow_mut();
        if stages.len() < STAGES_KEPT {
            stages.push(buffer);
        }
    }

    /// Moves received bytes into `into`; 0 at the end of the peer's sending. What [`Self::poll_fill`] has shown comes first.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, End>> {
        if let Some(stage) = &self.stage {
            let n = into.len().min(stage.end - stage.start);
            into[..n].copy_from_slice(&stage.buffer[stage.start..stage.start + n]);
            self.consume(n);
            return Poll::Ready(Ok(n));
        }
        self.enter(|tcp, index| tcp.poll_read(index, cx, into))
    }

    /// Takes bytes from the front of `data` and tells how many: at least one unless all is empty. `Pending` while there is no room.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, End>> {
        self.enter(|tcp, index| tcp.poll_write(index, cx, data))
    }

    /// Everything written is with TCP at once.
    pub fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), End>> {
        Poll::Ready(Ok(()))
    }

    /// Queues a FIN after what was written; receiving goes on. `Pending` only while the connection is being opened.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.enter(|tcp, index| {
            let conn = tcp.conns.at(index);
            match conn.state {
                State::SynSent(_) | State::SynReceived { .. } => {
                    remember(&mut conn.writer, cx);
                    return Poll::Pending;
                }
                State::Ended(End::Finished) => return Poll::Ready(Ok(())),
                State::Ended(end) => return Poll::Ready(Err(end)),
                State::Remains(_) => return Poll::Ready(Err(End::Reset)),
                _ => {}
            }
            tcp.close(index);
            Poll::Ready(Ok(()))
        })
    }

    /// Ends the connection at once in both directions (RST).
    pub fn abort(&mut self) {
        self.enter(|tcp, index| tcp.abort(index));
    }

    /// Whether the peer has closed or reset the connection, as far as is known.
    pub fn peer_gone(&self) -> bool {
        self.enter(|tcp, index| match &tcp.conns.at(index).state {
            State::Live(live) => !matches!(
                live.socket_ref().state(),
                SocketState::Established | SocketState::FinWait1 | SocketState::FinWait2
            ),
            State::Remains(_) | State::TimeWait(_) | State::Ended(_) => true,
            _ => false,
        })
    }

    pub(super) fn enter<R>(&self, f: impl FnOnce(&mut Tcp, u32) -> R) -> R {
        // An attached connection keeps its slot, so the index is good as long as the stream lives.
        enter(&self.shared, |tcp| f(tcp, self.id.index))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let unread = self.stage.is_some();
        self.shared.dropped.borrow_mut().push((self.id, unread));
        if self.shared.tcp.try_borrow_mut().is_ok() {
            enter(&self.shared, |_| ());
        }
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

impl Tcp {
    fn poll_read(&mut self, index: u32, cx: &Context<'_>, into: &mut [u8]) -> Poll<Result<usize, End>> {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        match &mut conn.state {
            State::Live(live) => {
                let taken = live.receive(into, core.now);
                let at_end = matches!(
                    live.socket_ref().state(),
                    SocketState::CloseWait
                        | SocketState::LastAck
                        | SocketState::Closing
                        | SocketState::TimeWait
                        | SocketState::Closed
                );
                if taken == 0 && !at_end && !into.is_empty() {
                    remember(&mut conn.reader, cx);
                    return Poll::Pending;
                }
                if taken > 0 {
                    core.touch(conn, index); // The window has grown, and the connection may have come to rest.
                }
                Poll::Ready(Ok(taken))
            }
            State::Remains(live) => match live.receive(into, core.now) {
                0 if !into.is_empty() => {
                    self.end(index, End::Reset);
                    Poll::Ready(Err(End::Reset))
                }
                taken => Poll::Ready(Ok(taken)),
            },
            State::TimeWait(_) | State::Ended(End::Finished) => Poll::Ready(Ok(0)),
            State::Ended(end) => Poll::Ready(Err(*end)),
            _ => {
                remember(&mut conn.reader, cx);
                Poll::Pending
            }
        }
    }

    fn poll_write(&mut self, index: u32, cx: &Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, End>> {
        let total = data.iter().map(|part| part.len()).sum();
        if matches!(self.conns.at(index).state, State::Idle(_)) && self.rouse(index, total).is_err() {
            remember(&mut self.conns.at(index).writer, cx);
            self.core.starved.push_back(index);
            return Poll::Pending;
        }
        let core = &mut self.core;
        let conn = self.conns.at(index);
        match &mut conn.state {
            State::Live(live) => {
                if live.closed || !live.socket_ref().may_send() {
                    return Poll::Ready(Err(End::Finished));
                }
                let (taken, wanted) = live.queue(data, core.options.send_buffer);
                if taken == 0 && total > 0 {
                    remember(&mut conn.writer, cx);
                    if wanted {
                        core.touch(conn, index);
                    }
                    return Poll::Pending;
                }
                core.touch(conn, index);
                Poll::Ready(Ok(taken))
            }
            State::Remains(_) => Poll::Ready(Err(End::Reset)),
            State::TimeWait(_) => Poll::Ready(Err(End::Finished)),
            State::Ended(end) => Poll::Ready(Err(*end)),
            _ => {
                remember(&mut conn.writer, cx);
                Poll::Pending
            }
        }
    }
}
