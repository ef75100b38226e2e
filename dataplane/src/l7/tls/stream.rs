//! A TLS connection as a byte stream, and the handshakes that make one.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;

use super::handshake::{Agreed, Handshake};
use super::record::Fault;
use super::traffic::Traffic;
use super::{Authenticated, Buffers, CertificateFault, Connector, ServerTls, TlsError};
use crate::l7::exec::{Costly, Executor};
use crate::l7::stream::{ByteStream, StreamError};

/// TLS over any byte stream, as server or as client. Writes are gathered: they reach the transport when a record is full
/// or at `poll_flush`. An idle stream holds no buffers.
pub struct TlsStream<S> {
    transport: S,
    /// Boxed: a stream is moved a few times while it is set up.
    traffic: Box<Traffic>,
    agreed: Agreed,
    peer: Option<Authenticated>,
    /// How receiving ended, unless by `close_notify`.
    read_error: Option<StreamError>,
    /// What made sending impossible; receiving fails with it too.
    failed: Option<StreamError>,
    /// The task that waits to write, for a reader that happens to make room.
    writer: Option<Waker>,
}

/// Makes a server's connection of an accepted one. `buffers` are the core's.
///
/// # Errors
/// If the handshake fails or is not complete after `timeout`. The client has been sent the alert, and the transport is closed.
pub async fn accept<S: ByteStream>(
    transport: S,
    tls: &ServerTls,
    buffers: &Buffers,
    executor: &Executor,
    timeout: Duration,
) -> Result<TlsStream<S>, StreamError> {
    let handshake = Handshake::server(tls, buffers)?;
    let now_s = || tls.config().time_provider.current_time().map(|now| now.as_secs());
    shake(transport, handshake, executor, timeout, now_s).await
}

/// Makes a client's connection of an established one. `buffers` are the core's.
///
/// # Errors
/// If the handshake fails or is not complete after `timeout`. The server has been sent the alert, and the transport is closed.
pub async fn connect<S: ByteStream>(
    transport: S,
    tls: &Connector,
    buffers: &Buffers,
    executor: &Executor,
    timeout: Duration,
) -> Result<TlsStream<S>, StreamError> {
    let handshake = Handshake::client(tls.config(), tls.server_name(), buffers)?;
    let now_s = || tls.config().time_provider.current_time().map(|now| now.as_secs());
    shake(transport, handshake, executor, timeout, now_s).await
}

async fn shake<S: ByteStream>(
    mut transport: S,
    mut handshake: Handshake,
    executor: &Executor,
    timeout: Duration,
    now_s: impl Fn() -> Option<u64>,
) -> Result<TlsStream<S>, StreamError> {
    let mut costly = executor.costly();
    let shaking = pin!(poll_fn(|cx| poll_handshake(&mut transport, &mut handshake, &mut costly, cx)));
    let outcome = executor.timeout(timeout, shaking).await.unwrap_or(Err(TlsError::HandshakeTimeout.into()));
    match outcome.and_then(|()| identify(&handshake, now_s())) {
        Ok(peer) => {
            let (traffic, agreed) = handshake.finish()?;
            Ok(TlsStream::new(transport, traffic, agreed, peer))
        }
        Err(error) => {
            let alert = handshake.pending();
            hang_up(&mut transport, alert);
            Err(error)
        }
    }
}

fn poll_handshake<S: ByteStream>(
    transport: &mut S,
    handshake: &mut Handshake,
    costly: &mut Costly,
    cx: &mut Context<'_>,
) -> Poll<Result<(), StreamError>> {
    loop {
        if handshake.is_costly() {
            ready!(Pin::new(&mut *costly).poll(cx));
        }
        handshake.process()?;
        let mut drained = Poll::Ready(Ok(()));
        while !handshake.pending().is_empty() {
            match transport.poll_write(cx, &[handshake.pending()])? {
                Poll::Ready(written) => handshake.sent(written),
                Poll::Pending => {
                    drained = Poll::Pending;
                    break;
                }
            }
        }
        if handshake.is_done() {
            // What is still queued is the peer's to finish with, and it is reading: wait. Except for the ticket of a
            // TLS 1.3 server, which goes with the next read or write: the client may be writing by now.
            return if handshake.owes_only_tickets() { Poll::Ready(Ok(())) } else { drained };
        }
        match ready!(transport.poll_read(cx, handshake.space()))? {
            0 => return Poll::Ready(Err(TlsError::HandshakeEof.into())),
            received => handshake.received(received),
        }
    }
}

/// Reads the identity of the verified chain. A resumed session was verified when it began, so the certificate's end is
/// checked once more.
fn identify(handshake: &Handshake, now_s: Option<u64>) -> Result<Option<Authenticated>, StreamError> {
    let Some(leaf) = handshake.peer_certificate() else { return Ok(None) };
    let peer = Authenticated::from_verified(leaf)?;
    let now_s = now_s.and_then(|now| i64::try_from(now).ok()).ok_or(TlsError::Internal)?;
    if now_s > peer.identity().not_after_s() {
        return Err(TlsError::from(CertificateFault::Expired).into());
    }
    Ok(Some(peer))
}

/// After a failure: what is queued, the alert at its end, is offered once, then this side is closed. What the peer has
/// sent is read away first, since a TCP that closes with unread data resets, and the peer would lose the alert.
fn hang_up<S: ByteStream>(transport: &mut S, mut last: &[u8]) {
    let cx = &mut Context::from_waker(Waker::noop());
    while !last.is_empty() {
        let Poll::Ready(Ok(written)) = transport.poll_write(cx, &[last]) else { break };
        last = &last[written..];
    }
    let _ = transport.poll_shutdown(cx);
    while let Poll::Ready(Ok(bytes)) = transport.poll_fill(cx) {
        let n = bytes.len();
        if n == 0 {
            break;
        }
        transport.consume(n);
    }
}

impl<S> TlsStream<S> {
    fn new(transport: S, traffic: Traffic, agreed: Agreed, peer: Option<Authenticated>) -> Self {
        let (read_error, failed, writer) = (None, None, None);
        Self { transport, traffic: Box::new(traffic), agreed, peer, read_error, failed, writer }
    }

    /// Who the peer has proved to be; `None` for a client without certificate.
    #[must_use]
    pub fn peer(&self) -> Option<&Authenticated> {
        self.peer.as_ref()
    }

    /// The application protocol agreed on (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.agreed.alpn.as_deref()
    }

    /// The protocol version agreed on, as it is written in logs.
    #[must_use]
    pub fn version(&self) -> &'static str {
        if self.traffic.is_tls13() { "TLSv1.3" } else { "TLSv1.2" }
    }

    /// Whether an earlier session was resumed.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.agreed.resumed
    }

    /// Memory held by buffers.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.traffic.buffered()
    }

    #[cfg(test)]
    pub(super) fn traffic(&mut self) -> &mut Traffic {
        &mut self.traffic
    }

    /// What TLS runs on.
    #[must_use]
    pub fn transport(&self) -> &S {
        &self.transport
    }

    /// Whether writing is possible.
    fn check_open(&self) -> Result<(), StreamError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.traffic.is_closed() => Err(StreamError::Closed),
            None => Ok(()),
        }
    }
}

impl<S: ByteStream> TlsStream<S> {
    /// Remembers that the transport failed; nothing works after it.
    fn fail(&mut self, error: StreamError) -> StreamError {
        self.failed = Some(error);
        error
    }

    /// The same for a failure of TLS, which the peer is told.
    fn give_up(&mut self, fault: Fault) -> StreamError {
        if let Some(alert) = fault.alert {
            self.traffic.accuse(alert);
        }
        hang_up(&mut self.transport, self.traffic.pending());
        self.fail(fault.error.into())
    }

    /// Hands queued records to the transport; ready when it has taken all.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while !self.traffic.pending().is_empty() {
            match ready!(self.transport.poll_write(cx, &[self.traffic.pending()])) {
                Ok(written) => self.traffic.sent(written),
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The same for a writer, who may have to wait.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let drained = self.poll_drain(cx);
        if drained.is_pending() {
            self.writer = Some(cx.waker().clone());
        }
        drained
    }

    /// Encrypts what was gathered.
    fn seal(&mut self) -> Result<(), StreamError> {
        self.traffic.seal().map_err(|fault| self.give_up(fault))
    }

    /// Receives until there is plaintext or the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
            if !self.traffic.plaintext().is_empty() || self.traffic.peer_closed() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = self.failed.or(self.read_error) {
                return Poll::Ready(Err(error));
            }
            let space = match self.traffic.process() {
                Ok(true) => continue,
                Ok(false) => self.traffic.space(),
                Err(fault) => Err(fault),
            };
            let received = match space {
                Ok(space) => self.transport.poll_read(cx, space),
                Err(fault) => {
                    self.give_up(fault);
                    continue;
                }
            };
            match received {
                Poll::Ready(Ok(0)) => self.read_error = Some(TlsError::Truncated.into()),
                Poll::Ready(Ok(received)) => self.traffic.received(received),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail(error))),
                Poll::Pending => return self.rest(cx),
            }
        }
    }

    /// Nothing to read: sends what the handshake or a key update has queued, so that it does not wait for a writer, and
    /// gives back the buffers.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let waiting = self.traffic.pending().len();
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        if self.traffic.pending().len() < waiting
            && let Some(writer) = self.writer.take()
        {
            writer.wake(); // Its place in the transport's memory was just taken by this reader.
        }
        self.traffic.release();
        Poll::Pending
    }
}

impl<S: ByteStream> ByteStream for TlsStream<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>> {
        ready!(self.poll_receive(cx))?;
        Poll::Ready(Ok(self.traffic.plaintext()))
    }

    fn consume(&mut self, n: usize) {
        self.traffic.consume(n);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>> {
        self.check_open()?;
        if data.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if !self.traffic.has_room() {
            ready!(self.poll_send(cx))?;
        }
        let taken = self.traffic.gather(data).map_err(|fault| self.give_up(fault))?;
        if self.traffic.record_is_full() {
            self.seal()?;
            // If there is no room for it now, the next call waits.
            if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        self.seal()?;
        ready!(self.poll_send(cx))?;
        self.transport.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Err(error));
        }
        if let Err(fault) = self.traffic.close() {
            return Poll::Ready(Err(self.give_up(fault)));
        }
        ready!(self.poll_send(cx))?;
        self.transport.poll_shutdown(cx)
    }

    fn abort(&mut self) {
        self.failed = Some(StreamError::Closed);
        self.transport.abort();
    }

    fn peer_gone(&self) -> bool {
        self.failed.is_some() || self.read_error.is_some() || self.traffic.peer_closed() || self.transport.peer_gone()
    }
}

impl<S: core::fmt::Debug> core::fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TlsStream")
            .field("transport", &self.transport)
            .field("version", &self.version())
            .field("peer", &self.peer)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
