//! One client connection, from its first request to its last: requests are taken one at a time, so that responses leave in order
//! however many were pipelined (RFC 9112 §9.3.2), and an idle connection holds no buffers.

use core::fmt::Write;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::rc::Rc;

use arrayvec::ArrayString;

use super::alarm::Alarm;
use super::exchange::Exchange;
use super::facts::{Facts, Next};
use super::http1::forwarded::Peer;
use super::platform::Platform;
use super::proxy::Proxy;
use super::reason::Reason;
use super::scratch::{HeadEnd, Scratch};
use super::stream::ByteStream;
use super::table::Listener;
use crate::clock::Instant;
use crate::sync::counter::Counter;

/// Where a client connection comes from and what it arrived at.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The client.
    pub remote: SocketAddr,
    /// The address it connected to; it names the listener.
    pub local: SocketAddr,
    /// Over TLS.
    pub secure: bool,
}

/// One client connection.
pub struct Session<S, P: Platform> {
    pub(super) client: S,
    pub(super) proxy: Rc<Proxy<P>>,
    /// The last generation that had this connection's listener: a removed listener still finishes what it began.
    pub(super) tables: P::Tables,
    pub(super) arrival: Arrival,
    pub(super) peer: Peer,
    /// `local`, as Host of requests that have none.
    pub(super) default_host: ArrayString<64>,
    pub(super) alarm: Alarm,
}

/// Counts one of something for as long as it lives, also when a task is dropped.
pub(super) struct Gauge<'c>(&'c Counter);

impl<'c> Gauge<'c> {
    pub(super) fn new(counter: &'c Counter) -> Gauge<'c> {
        counter.add(1);
        Gauge(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

impl<S: ByteStream, P: Platform> Session<S, P> {
    /// A session on an accepted connection. `None`, and the connection is dropped, when no listener has its address any more.
    pub fn new(client: S, arrival: Arrival, proxy: &Rc<Proxy<P>>) -> Option<Self> {
        let tables = proxy.platform.tables();
        let trusted = tables.listener(arrival.local)?.trusts(arrival.remote.ip());
        let mut default_host = ArrayString::new();
        // The longest address with brackets and port has 53 characters.
        let _ = write!(default_host, "{}", SocketAddr::new(arrival.local.ip().to_canonical(), arrival.local.port()));
        Some(Session {
            client,
            proxy: Rc::clone(proxy),
            tables,
            arrival,
            peer: Peer::new(arrival.remote.ip(), arrival.secure, trusted),
            default_host,
            alarm: Alarm::new(&proxy.executor),
        })
    }

    /// Serves the connection to its end.
    pub async fn run(mut self) {
        let stats = std::sync::Arc::clone(&self.proxy.stats);
        stats.connections.add(1);
        let _open = Gauge::new(&stats.open_connections);
        let opened = self.proxy.now();
        let mut first = true;
        while self.await_request(first.then_some(opened)).await {
            let mut scratch = self.proxy.borrow_scratch();
            let next = self.serve(&mut scratch, first.then_some(opened)).await;
            self.proxy.return_scratch(scratch);
            first = false;
            match next {
                Next::KeepAlive => {}
                Next::Close => break,
                Next::Abort => return self.client.abort(),
            }
        }
        self.linger().await;
    }

    /// Waits for the first byte of a request. False when there will be none: the client closed, was silent for too long, or the
    /// program is going down.
    async fn await_request(&mut self, opened: Option<Instant>) -> bool {
        let Some(listener) = self.tables.listener(self.arrival.local) else { return false };
        let timeouts = &listener.timeouts;
        let until = opened.map_or_else(|| self.proxy.now() + timeouts.idle, |opened| opened + timeouts.header);
        let proxy = Rc::clone(&self.proxy);
        let mut idle = None;
        poll_fn(|cx| {
            if let Poll::Ready(filled) = self.client.poll_fill(cx) {
                return Poll::Ready(filled.is_ok_and(|bytes| !bytes.is_empty()));
            }
            if proxy.platform.is_draining() || self.alarm.passed(cx, Some(until)) {
                return Poll::Ready(false);
            }
            idle.get_or_insert_with(|| Idle { proxy: &proxy, key: proxy.enter_idle(cx.waker()) });
            Poll::Pending
        })
        .await
    }

    async fn serve(&mut self, scratch: &mut Scratch, opened: Option<Instant>) -> Next {
        let proxy = Rc::clone(&self.proxy);
        let _active = Gauge::new(&proxy.stats.active_requests);
        let fresh = proxy.platform.tables();
        let current = fresh.listener(self.arrival.local).is_some();
        if current {
            self.tables = fresh;
        }
        let tables = self.tables.clone();
        let Some(listener) = tables.listener(self.arrival.local) else { return Next::Abort };
        let mut facts = Facts::new(proxy.now(), listener);
        scratch.clear();
        let until = opened.unwrap_or(facts.started) + listener.timeouts.header;
        let head = poll_fn(|cx| self.poll_request(cx, scratch, listener, until)).await;
        let mut exchange = Exchange {
            session: self,
            scratch,
            facts: &mut facts,
            tables: &tables,
            listener,
            upstream: None,
            at_endpoint: None,
        };
        let next = match head {
            Ok(()) => exchange.run(current).await,
            Err(Reason::ClientClosed) => return Next::Abort,
            Err(reason) => exchange.refuse(reason).await,
        };
        facts.log(&proxy, scratch, self.arrival);
        next
    }

    /// Ready with a request head that was read and understood.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        listener: &Listener,
        until: Instant,
    ) -> Poll<Result<(), Reason>> {
        match scratch.request_bytes.poll_read(cx, &mut self.client, listener.limits.head_bytes) {
            Poll::Ready(Ok(len)) => {
                Poll::Ready(scratch.request.parse(scratch.request_bytes.bytes(), len, &listener.limits))
            }
            Poll::Ready(Err(HeadEnd::Refused(reason))) => Poll::Ready(Err(reason)),
            Poll::Ready(Err(HeadEnd::Partial)) => Poll::Ready(Err(Reason::MalformedHead)),
            Poll::Ready(Err(HeadEnd::Closed | HeadEnd::Failed(_))) => Poll::Ready(Err(Reason::ClientClosed)),
            // One deadline for the whole head, however it trickles in.
            Poll::Pending if self.alarm.passed(cx, Some(until)) => Poll::Ready(Err(Reason::HeaderTimeout)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Closes so that the client can still read what was sent: unread input would make TCP answer with a reset that
    /// overtakes the response (RFC 9112 §9.6).
    async fn linger(&mut self) {
        let Some(listener) = self.tables.listener(self.arrival.local) else { return };
        let until = self.proxy.now() + listener.timeouts.linger;
        let mut closing = true;
        poll_fn(|cx| {
            if closing {
                match self.client.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => closing = false,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            while let Poll::Ready(filled) = self.client.poll_fill(cx) {
                match filled.map(<[u8]>::len) {
                    Ok(0) | Err(_) if !closing => return Poll::Ready(()),
                    Ok(0) | Err(_) => break,
                    Ok(received) => self.client.consume(received),
                }
            }
            if self.alarm.passed(cx, Some(until)) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A connection's place among those that wait for a request.
struct Idle<'p, P: Platform> {
    proxy: &'p Proxy<P>,
    key: usize,
}

impl<P: Platform> Drop for Idle<'_, P> {
    fn drop(&mut self) {
        self.proxy.leave_idle(self.key);
    }
}
