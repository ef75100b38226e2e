//! What is known about a request when it is over: for the counters and the access log.

use core::net::SocketAddr;

use super::access::AccessRecord;
use super::cluster::Cluster;
use super::http1::forwarded::RequestId;
use super::platform::Platform;
use super::proxy::Proxy;
use super::reason::Reason;
use super::scratch::Scratch;
use super::session::Arrival;
use super::table::{Listener, Rule};
use crate::clock::Instant;

/// What follows a request on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request.
    KeepAlive,
    /// An orderly close.
    Close,
    /// A reset, because anything else would look like a complete response, or nobody is left to read one.
    Abort,
}

/// What the access log will say.
pub(super) struct Facts<'t> {
    pub(super) started: Instant,
    pub(super) listener: &'t Listener,
    pub(super) rule: Option<&'t Rule>,
    pub(super) cluster: Option<&'t Cluster>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) first_byte: Option<Instant>,
    pub(super) status: u16,
    pub(super) reason: Reason,
    pub(super) understood: bool,
    pub(super) reused: bool,
    pub(super) upgraded: bool,
    pub(super) retries: u8,
    pub(super) id: RequestId,
}

impl<'t> Facts<'t> {
    pub(super) fn new(started: Instant, listener: &'t Listener) -> Facts<'t> {
        Facts {
            started,
            listener,
            rule: None,
            cluster: None,
            endpoint: None,
            first_byte: None,
            status: 0,
            reason: Reason::Ok,
            understood: false,
            reused: false,
            upgraded: false,
            retries: 0,
            id: RequestId::new(),
        }
    }

    /// Counts the request and hands its record over.
    pub(super) fn log<P: Platform>(&self, proxy: &Proxy<P>, scratch: &Scratch, arrival: Arrival) {
        let took = proxy.now().saturating_duration_since(self.started);
        proxy.stats.finished(self.status, self.reason, took);
        proxy.stats.bytes_in.add(scratch.upward.moved());
        proxy.stats.bytes_out.add(scratch.downward.moved());
        proxy.log(|record| self.write(record, proxy, scratch, arrival));
    }

    fn write<P: Platform>(&self, record: &mut AccessRecord, proxy: &Proxy<P>, scratch: &Scratch, arrival: Arrival) {
        let since = |at: Instant| at.saturating_duration_since(self.started).as_nanos() as u64;
        record.unix_ns = proxy.unix_ns(self.started);
        record.duration_ns = since(proxy.now());
        record.first_byte_ns = self.first_byte.map_or(0, since);
        record.client = Some(arrival.remote);
        record.local = Some(arrival.local);
        record.endpoint = self.endpoint;
        record.status = self.status;
        record.reason = self.reason;
        record.tls = arrival.secure;
        record.reused = self.reused;
        record.upgraded = self.upgraded;
        record.retries = self.retries;
        record.bytes_in = scratch.upward.moved();
        record.bytes_out = scratch.downward.moved();
        record.request_id.set(&self.id);
        record.listener.set(self.listener.name.as_bytes());
        record.route.set(self.rule.map_or("", |rule| &rule.name).as_bytes());
        record.cluster.set(self.cluster.map_or("", |cluster| &cluster.name).as_bytes());
        let head = scratch.request_bytes.bytes();
        if self.understood {
            record.version = scratch.request.version;
            record.method.set(scratch.request.method_name.of_head(head));
            record.host.set(scratch.request.host.of_head(head));
            record.path.set(scratch.request.path.of_head(head));
        } else {
            // Whatever stood in the place of the request line.
            record.method.set(b"");
            record.host.set(b"");
            record.path.set(head.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(head));
        }
    }
}
