//! The product's application: every accepted connection becomes an HTTP session, over TLS where the listener says so, and
//! upstream connections are opened on the core's own TCP.

use core::cell::RefCell;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::ops::Deref;
use core::task::{Context, Poll};
use std::rc::Rc;
use std::sync::Arc;

use super::access::AccessRecord;
use super::app::{App, Host};
use super::cluster::{Cluster, Endpoint};
use super::metrics::HttpStats;
use super::platform::{Platform, UpstreamError};
use super::proxy::{Proxy, ProxyParts};
use super::session::{Arrival, Session};
use super::stream::{ByteStream, StreamError};
use super::table::Table;
use super::tls::{self, Buffers, Connectors, TlsStream};
use crate::l4::{ConnectError, End, TcpStream};
use crate::sync::spsc::Producer;
use crate::tables::{Generation, Phase};

/// The gateway of one core.
pub struct Gateway {
    proxy: Rc<Proxy<CorePlatform>>,
}

/// What a gateway is made from, besides its core.
pub struct GatewaySpec {
    /// Counters.
    pub stats: Arc<HttpStats>,
    /// Where access records go; `None` for nowhere.
    pub access: Option<Producer<AccessRecord>>,
    /// Nanoseconds since 1970 at the core clock's zero.
    pub unix_origin_ns: u64,
    /// Random, per core.
    pub seed: u64,
}

impl Gateway {
    /// A gateway on `host`.
    pub fn new(host: &Host, spec: GatewaySpec) -> Gateway {
        let platform = CorePlatform { host: host.clone(), connectors: RefCell::default(), buffers: Buffers::default() };
        let proxy = Proxy::new(ProxyParts {
            platform,
            executor: host.exec.clone(),
            core: host.core,
            stats: spec.stats,
            access: spec.access,
            unix_origin_ns: spec.unix_origin_ns,
            seed: spec.seed,
        });
        Gateway { proxy }
    }

    /// What its sessions share.
    pub fn proxy(&self) -> &Proxy<impl Platform> {
        &self.proxy
    }
}

impl App for Gateway {
    fn accept(&mut self, host: &Host, mut stream: TcpStream) {
        let flow = *stream.flow();
        let local = SocketAddr::new(flow.local, flow.local_port);
        let generation = host.tables.get();
        let Some(listener) = generation.l7.listener(local) else { return stream.abort() };
        let arrival =
            Arrival { remote: SocketAddr::new(flow.remote, flow.remote_port), local, secure: listener.tls.is_some() };
        let proxy = Rc::clone(&self.proxy);
        match &listener.tls {
            None => start(stream, arrival, &proxy),
            Some(tls) => {
                let (tls, timeout) = (tls.clone(), listener.timeouts.header);
                host.exec.spawn(async move {
                    let buffers = &proxy.platform.buffers;
                    match tls::accept(stream, &tls, buffers, &proxy.executor, timeout).await {
                        Ok(stream) => start(stream, arrival, &proxy),
                        Err(_) => proxy.stats.handshake_failures.add(1),
                    }
                });
            }
        }
    }

    fn tables_changed(&mut self, host: &Host) {
        let generation = host.tables.get();
        let current = generation.l7.clusters().iter().filter_map(|cluster| cluster.tls.as_ref());
        self.proxy.platform.connectors.borrow_mut().retain(current);
        self.proxy.tables_changed();
    }
}

/// A session in a task of its own: the handshake's memory is not kept for the connection's life.
fn start<S: ByteStream + 'static>(stream: S, arrival: Arrival, proxy: &Rc<Proxy<CorePlatform>>) {
    if let Some(session) = Session::new(stream, arrival, proxy) {
        proxy.executor.spawn(session.run());
    }
}

/// A core, as sessions see it.
struct CorePlatform {
    host: Host,
    connectors: RefCell<Connectors>,
    /// For records, of all connections.
    buffers: Buffers,
}

/// The tables of one generation.
#[derive(Clone)]
struct Held(Rc<Generation>);

impl Deref for Held {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.0.l7
    }
}

impl Platform for CorePlatform {
    type Upstream = Upstream;
    type Tables = Held;

    fn tables(&self) -> Held {
        Held(self.host.tables.get())
    }

    fn is_draining(&self) -> bool {
        self.host.tables.get().phase != Phase::Serve
    }

    async fn connect(&self, cluster: &Cluster, endpoint: &Endpoint) -> Result<Upstream, UpstreamError> {
        let host = &self.host;
        let remote = endpoint.address;
        let (local, _) = host.tables.get().l3.source_for(remote.ip()).ok_or(UpstreamError::Unreachable)?;
        let mut stream = host.tcp.connect(local, remote, host.exec.now()).map_err(|error| match error {
            ConnectError::BadAddress => UpstreamError::Unreachable,
            ConnectError::ConnectionLimit | ConnectError::NoPort => UpstreamError::Exhausted,
        })?;
        poll_fn(|cx| stream.poll_connected(cx)).await.map_err(|end| match end {
            End::Unreachable => UpstreamError::Unreachable,
            End::TimedOut => UpstreamError::TimedOut,
            End::Refused | End::Reset | End::Finished | End::Aborted => UpstreamError::Refused,
        })?;
        let Some(tls) = &cluster.tls else { return Ok(Upstream::Plain(stream)) };
        let connector = self.connectors.borrow_mut().of(tls);
        let secured = tls::connect(stream, &connector, &self.buffers, &host.exec, cluster.connect_timeout).await;
        secured.map(|stream| Upstream::Tls(Box::new(stream))).map_err(UpstreamError::Tls)
    }
}

/// A connection to an endpoint. An enum, so that no byte goes through a virtual call.
enum Upstream {
    Plain(TcpStream),
    /// Boxed: it is several times the size, and most pools hold one kind or the other.
    Tls(Box<TlsStream<TcpStream>>),
}

impl ByteStream for Upstream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>> {
        match self {
            Upstream::Plain(stream) => ByteStream::poll_fill(stream, cx),
            Upstream::Tls(stream) => stream.poll_fill(cx),
        }
    }

    fn consume(&mut self, n: usize) {
        match self {
            Upstream::Plain(stream) => ByteStream::consume(stream, n),
            Upstream::Tls(stream) => stream.consume(n),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>> {
        match self {
            Upstream::Plain(stream) => ByteStream::poll_write(stream, cx, data),
            Upstream::Tls(stream) => stream.poll_write(cx, data),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        match self {
            Upstream::Plain(stream) => ByteStream::poll_flush(stream, cx),
            Upstream::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        match self {
            Upstream::Plain(stream) => ByteStream::poll_shutdown(stream, cx),
            Upstream::Tls(stream) => stream.poll_shutdown(cx),
        }
    }

    fn abort(&mut self) {
        match self {
            Upstream::Plain(stream) => ByteStream::abort(stream),
            Upstream::Tls(stream) => stream.abort(),
        }
    }

    fn peer_gone(&self) -> bool {
        match self {
            Upstream::Plain(stream) => ByteStream::peer_gone(stream),
            Upstream::Tls(stream) => stream.peer_gone(),
        }
    }
}
