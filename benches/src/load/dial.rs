//! Connections as a load opens them: from its addresses in turn, to its targets in turn, plain or over TLS.

use core::cell::Cell;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::time::Duration;

use tidegate_dataplane::{
    l4::TcpStream,
    l7::{
        app::Host,
        stream::ByteStream,
        tls::{self, Buffers, ClientTls, Connector, TlsStream},
    },
};

use super::failure::Failure;

/// Opens connections.
pub(crate) trait Dial: 'static {
    /// What comes of it.
    type Stream: ByteStream + 'static;

    /// Opens connection `number`, again if it was open before.
    fn dial(&self, number: u32) -> impl Future<Output = Result<Self::Stream, Failure>>;

    /// Whether an earlier session was resumed.
    fn is_resumed(stream: &Self::Stream) -> bool;
}

/// Plain TCP.
pub(crate) struct Plain {
    host: Host,
    /// Pairs of an address of ours and a target; each has as many connections as there are ports.
    ways: Vec<(IpAddr, SocketAddr)>,
    next: Cell<usize>,
    timeout: Duration,
}

impl Plain {
    /// By each of `ways` in turn.
    pub(crate) fn new(host: Host, ways: Vec<(IpAddr, SocketAddr)>, timeout: Duration) -> Self {
        Self { host, ways, next: Cell::new(0), timeout }
    }
}

impl Dial for Plain {
    type Stream = TcpStream;

    async fn dial(&self, _: u32) -> Result<TcpStream, Failure> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let (local, remote) = *self.ways.get(turn % self.ways.len().max(1)).ok_or(Failure::Exhausted)?;
        let mut stream = self.host.tcp.connect(local, remote, self.host.exec.now())?;
        let connected = pin!(poll_fn(|cx| stream.poll_connected(cx)));
        self.host.exec.timeout(self.timeout, connected).await.map_err(|_| Failure::Timeout)??;
        Ok(stream)
    }

    fn is_resumed(_: &TcpStream) -> bool {
        false
    }
}

/// TLS on TCP.
pub(crate) struct Secure {
    plain: Plain,
    tls: ClientTls,
    /// One per connection, with its tickets; none when every handshake is to be a full one.
    kept: Vec<Connector>,
    buffers: Buffers,
}

impl Secure {
    /// `resumed` is the number of connections that keep their session from one handshake to the next.
    pub(crate) fn new(plain: Plain, tls: ClientTls, resumed: usize) -> Self {
        let kept = (0..resumed).map(|_| tls.connector()).collect();
        Self { plain, tls, kept, buffers: Buffers::default() }
    }
}

impl Dial for Secure {
    type Stream = TlsStream<TcpStream>;

    async fn dial(&self, number: u32) -> Result<Self::Stream, Failure> {
        let stream = self.plain.dial(number).await?;
        // A connector of its own knows no session: its handshake is a full one.
        let connector = self.kept.get(number as usize).cloned().unwrap_or_else(|| self.tls.connector());
        Ok(tls::connect(stream, &connector, &self.buffers, &self.plain.host.exec, self.plain.timeout).await?)
    }

    fn is_resumed(stream: &Self::Stream) -> bool {
        stream.resumed()
    }
}
