//! A TLS connection as a byte stream, and the handshakes that make one.

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};

use super::session::{RECORD, Session};
use super::{Authenticated, CertificateFault, Connector, ServerTls, TlsError};
use crate::l7::exec::Executor;
use crate::l7::stream::{ByteStream, StreamError};

/// Records that wait for the transport before a writer has to.
const OUTGOING_LIMIT: usize = 2 * RECORD;
/// Pieces from this size on are encrypted where they are; smaller ones are gathered to records first.
const DIRECT: usize = RECORD / 4;

/// TLS over any byte stream, as server or as client. Writes are gathered: they reach the transport when a record is full
/// or at `poll_flush`. An idle stream holds no buffers.
pub struct TlsStream<S> {
    transport: S,
    session: Session,
    /// Plaintext of the record that is being gathered.
    gathered: Vec<u8>,
    peer: Option<Authenticated>,
    /// How receiving ended, unless by `close_notify`.
    read_error: Option<StreamError>,
    /// What made sending impossible; receiving fails with it too.
    failed: Option<StreamError>,
    /// This side has sent `close_notify`.
    closed: bool,
    /// The task that waits to write, for a reader that happens to make room.
    writer: Option<Waker>,
}

/// Makes a server's connection of an accepted one.
///
/// # Errors
/// If the handshake fails or is not complete after `timeout`. The client has been sent the alert, and the transport is closed.
pub async fn accept<S: ByteStream>(
    transport: S,
    tls: &ServerTls,
    executor: &Executor,
    timeout: Duration,
) -> Result<TlsStream<S>, StreamError> {
    let stream = TlsStream::new(transport, Session::server(tls.config())?);
    let now_s = || tls.config().time_provider.current_time().map(|now| now.as_secs());
    stream.handshake(executor, timeout, now_s).await
}

/// Makes a client's connection of an established one.
///
/// # Errors
/// If the handshake fails or is not complete after `timeout`. The server has been sent the alert, and the transport is closed.
pub async fn connect<S: ByteStream>(
    transport: S,
    tls: &Connector,
    executor: &Executor,
    timeout: Duration,
) -> Result<TlsStream<S>, StreamError> {
    let stream = TlsStream::new(transport, Session::client(tls.config(), tls.server_name())?);
    let now_s = || tls.config().time_provider.current_time().map(|now| now.as_secs());
    stream.handshake(executor, timeout, now_s).await
}

impl<S> TlsStream<S> {
    /// Who the peer has proved to be; `None` for a client without certificate.
    #[must_use]
    pub fn peer(&self) -> Option<&Authenticated> {
        self.peer.as_ref()
    }

    /// The application protocol agreed on (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.state().alpn_protocol()
    }

    /// The protocol version agreed on, as it is written in logs.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.session.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        }
    }

    /// Whether an earlier session was resumed.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.session.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Memory held by buffers.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.session.buffered() + self.gathered.capacity()
    }

    /// What TLS runs on.
    #[must_use]
    pub fn transport(&self) -> &S {
        &self.transport
    }
}

impl<S: ByteStream> TlsStream<S> {
    fn new(transport: S, session: Session) -> Self {
        Self {
            transport,
            session,
            gathered: Vec::new(),
            peer: None,
            read_error: None,
            failed: None,
            closed: false,
            writer: None,
        }
    }

    async fn handshake(
        mut self,
        executor: &Executor,
        timeout: Duration,
        now_s: impl Fn() -> Option<u64>,
    ) -> Result<Self, StreamError> {
        let shaken = executor.timeout(timeout, pin!(poll_fn(|cx| self.poll_handshake(cx)))).await;
        let outcome = shaken.unwrap_or(Err(TlsError::HandshakeTimeout.into()));
        match outcome.and_then(|()| self.identify(now_s())) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.hang_up();
                Err(error)
            }
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
            self.session.process()?;
            let drained = self.poll_drain(cx)?;
            if !self.session.state().is_handshaking() {
                // What is still queued is the peer's to finish with, and it is reading: wait. Except for the ticket of a
                // TLS 1.3 server, which goes with the next read or write: the client may be writing by now.
                return if self.session.owes_only_tickets() { Poll::Ready(Ok(())) } else { drained.map(Ok) };
            }
            let bytes = ready!(self.transport.poll_fill(cx))?;
            if bytes.is_empty() {
                return Poll::Ready(Err(TlsError::HandshakeEof.into()));
            }
            let taken = self.session.feed(bytes);
            self.transport.consume(taken);
        }
    }

    /// Reads the identity of the verified chain. A resumed session was verified when it began, so the certificate's end is
    /// checked once more.
    fn identify(&mut self, now_s: Option<u64>) -> Result<(), StreamError> {
        let Some(leaf) = self.session.state().peer_certificates().and_then(|chain| chain.first()) else {
            return Ok(());
        };
        let peer = Authenticated::from_verified(leaf)?;
        let now_s = now_s.and_then(|now| i64::try_from(now).ok()).ok_or(TlsError::Internal)?;
        if now_s > peer.identity().not_after_s() {
            return Err(TlsError::from(CertificateFault::Expired).into());
        }
        self.peer = Some(peer);
        Ok(())
    }

    /// After a failure: what is queued, the alert at its end, is offered once, then this side is closed. What the peer has
    /// sent is read away first, since a TCP that closes with unread data resets, and the peer would lose the alert.
    fn hang_up(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = self.poll_drain(cx);
        let _ = self.transport.poll_shutdown(cx);
        while let Poll::Ready(Ok(bytes)) = self.transport.poll_fill(cx) {
            let n = bytes.len();
            if n == 0 {
                break;
            }
            self.transport.consume(n);
        }
    }

    /// Remembers a failure of the session or the transport; nothing works after it.
    fn fail(&mut self, error: StreamError) -> StreamError {
        self.failed = Some(error);
        if matches!(error, StreamError::Tls(_)) {
            self.hang_up();
        }
        error
    }

    /// Hands queued records to the transport; ready when it has taken all.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while !self.session.outgoing.is_empty() {
            let written = ready!(self.transport.poll_write(cx, &[self.session.outgoing.pending()]))?;
            self.session.outgoing.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// The same for a writer, who may have to wait.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        match self.poll_drain(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(error))),
            Poll::Pending => {
                self.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Encrypts what was gathered.
    fn seal(&mut self) -> Result<(), StreamError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let sealed = self.session.encrypt(&self.gathered);
        self.gathered.clear();
        sealed.map_err(|error| self.fail(error.into()))
    }

    /// Receives until there is plaintext or the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while self.session.plaintext().is_empty() && !self.session.peer_closed() {
            if let Some(error) = self.failed.or(self.read_error) {
                return Poll::Ready(Err(error));
            }
            let bytes = match self.transport.poll_fill(cx) {
                Poll::Ready(Ok(bytes)) => bytes,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail(error))),
                Poll::Pending => return self.rest(cx),
            };
            if bytes.is_empty() {
                self.read_error = Some(TlsError::Truncated.into());
                continue;
            }
            let taken = self.session.feed(bytes);
            self.transport.consume(taken);
            if let Err(error) = self.session.process() {
                self.fail(error.into());
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing to read: sends what the handshake or a key update has queued, so that it does not wait for a writer, and
    /// gives back the buffers.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let waiting = self.session.outgoing.len();
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(self.fail(error)));
        }
        if self.session.outgoing.len() < waiting
            && let Some(writer) = self.writer.take()
        {
            writer.wake(); // Its place in the transport's memory was just taken by this reader.
        }
        self.session.release();
        if self.gathered.is_empty() {
            self.gathered = Vec::new();
        }
        Poll::Pending
    }

    /// Whether writing is possible.
    fn check_open(&self) -> Result<(), StreamError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.closed => Err(StreamError::Closed),
            None => Ok(()),
        }
    }

    /// Takes from the front of `data` what goes into one record.
    fn take(&mut self, data: &[&[u8]]) -> Result<usize, StreamError> {
        let first = data.iter().find(|part| !part.is_empty()).copied().unwrap_or_default();
        if self.gathered.is_empty() && first.len() >= DIRECT {
            let taken = first.len().min(RECORD);
            return match self.session.encrypt(&first[..taken]) {
                Ok(()) => Ok(taken),
                Err(error) => Err(self.fail(error.into())),
            };
        }
        let mut taken = 0;
        for part in data {
            let n = part.len().min(RECORD - self.gathered.len());
            self.gathered.extend_from_slice(&part[..n]);
            taken += n;
        }
        if self.gathered.len() == RECORD {
            self.seal()?;
        }
        Ok(taken)
    }
}

impl<S: ByteStream> ByteStream for TlsStream<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>> {
        ready!(self.poll_receive(cx))?;
        Poll::Ready(Ok(self.session.plaintext()))
    }

    fn consume(&mut self, n: usize) {
        self.session.consume(n);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>> {
        self.check_open()?;
        if data.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if self.session.outgoing.len() >= OUTGOING_LIMIT
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        if self.session.outgoing.len() >= OUTGOING_LIMIT {
            return Poll::Pending; // The waker is where `poll_send` has put it.
        }
        Poll::Ready(self.take(data))
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
        if !self.closed {
            self.seal()?;
            self.closed = true;
            if let Err(error) = self.session.close() {
                return Poll::Ready(Err(self.fail(error.into())));
            }
        }
        ready!(self.poll_send(cx))?;
        self.transport.poll_shutdown(cx)
    }

    fn abort(&mut self) {
        self.failed = Some(StreamError::Closed);
        self.transport.abort();
    }

    fn peer_gone(&self) -> bool {
        self.failed.is_some() || self.read_error.is_some() || self.session.peer_closed() || self.transport.peer_gone()
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
