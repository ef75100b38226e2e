//! In steady state a request through the proxy allocates nothing: buffers, timers, pool slots and records are all used again.

mod counting;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_dataplane::clock::Instant;
use tidegate_dataplane::l7::access::AccessRecord;
use tidegate_dataplane::l7::cluster::{Cluster, ClusterSpec, Endpoint};
use tidegate_dataplane::l7::exec::Executor;
use tidegate_dataplane::l7::http1::{Limits, forwarded::ForwardedFields};
use tidegate_dataplane::l7::metrics::HttpStats;
use tidegate_dataplane::l7::platform::{Platform, UpstreamError};
use tidegate_dataplane::l7::proxy::{Proxy, ProxyParts};
use tidegate_dataplane::l7::session::{Arrival, Session};
use tidegate_dataplane::l7::stream::{ByteStream, Duplex, duplex};
use tidegate_dataplane::l7::table::{BackendRef, ListenerSpec, Retry, RouteSpec, Table, TableSpec, Timeouts};
use tidegate_dataplane::sync::spsc;

struct Memory {
    tables: Rc<Table>,
    opened: Rc<RefCell<Vec<Duplex>>>,
}

impl Platform for Memory {
    type Upstream = Duplex;
    type Tables = Rc<Table>;

    fn tables(&self) -> Rc<Table> {
        Rc::clone(&self.tables)
    }
    fn is_draining(&self) -> bool {
        false
    }
    async fn connect(&self, _: &Cluster, _: &Endpoint) -> Result<Duplex, UpstreamError> {
        let (ours, theirs) = duplex(1 << 16);
        self.opened.borrow_mut().push(theirs);
        Ok(ours)
    }
}

fn table() -> Table {
    let listener = ListenerSpec {
        name: "http".into(),
        address: local(),
        tls: None,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        forwarded: ForwardedFields { via: true, ..ForwardedFields::default() },
        trusted_peers: vec![],
        websocket: true,
    };
    let cluster = ClusterSpec {
        name: "web".into(),
        endpoints: vec![SocketAddr::from(([10, 0, 2, 1], 80))],
        connect_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(60),
        max_idle_per_core: 4,
        tls: None,
    };
    let route = RouteSpec {
        name: "api".into(),
        listeners: vec![],
        hostnames: vec!["*.example.com".into()],
        matches: vec![],
        backend_refs: vec![BackendRef { cluster: "web".into(), weight: 1 }],
        request_timeout: Some(Duration::from_secs(30)),
        retry: Retry::default(),
    };
    let spec = TableSpec { cores: 1, listeners: vec![listener], clusters: vec![cluster], routes: vec![route] };
    Table::build(&spec, None).expect("valid")
}

fn local() -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 1], 80))
}

fn put(stream: &mut Duplex, bytes: &[u8]) {
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(stream.poll_write(cx, &[bytes]), Poll::Ready(Ok(bytes.len())));
}

fn take(stream: &mut Duplex) -> usize {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut taken = 0;
    while let Poll::Ready(Ok(bytes)) = stream.poll_fill(cx) {
        let shown = bytes.len();
        assert!(shown > 0, "closed");
        stream.consume(shown);
        taken += shown;
    }
    taken
}

/// Rounds until every buffer has its size and every timer has fired once.
const WARM_UP: u64 = 400;

const EXCHANGES: [(&[u8], &[u8]); 3] = [
    (
        b"GET /a/b?c=d HTTP/1.1\r\nHost: x.example.com\r\nAccept: */*\r\nUser-Agent: t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: s\r\n\r\nhello",
    ),
    (
        b"POST /%61 HTTP/1.1\r\nHost: x.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    (b"GET /nowhere HTTP/1.1\r\nHost: other\r\n\r\n", b""),
];

#[test]
fn a_request_allocates_nothing() {
    let executor = Executor::new(Instant::from_millis(1));
    let opened = Rc::<RefCell<Vec<Duplex>>>::default();
    let (producer, mut access) = spsc::channel(64, AccessRecord::default);
    let proxy = Proxy::new(ProxyParts {
        platform: Memory { tables: Rc::new(table()), opened: Rc::clone(&opened) },
        executor: executor.clone(),
        core: 0,
        stats: Arc::new(HttpStats::default()),
        access: Some(producer),
        unix_origin_ns: 0,
        seed: 1,
    });
    let (ours, mut client) = duplex(1 << 16);
    let arrival = Arrival { remote: SocketAddr::from(([192, 0, 2, 7], 4000)), local: local(), secure: false };
    let session = Session::new(ours, arrival, &proxy).expect("listener").run();
    let size = size_of_val(&session);
    assert!(size <= 2560, "an idle connection's task has {size} bytes");
    executor.spawn(session);
    let mut before = 0;
    for round in 0..800u64 {
        if round == WARM_UP {
            before = counting::allocations();
        }
        for (request, response) in EXCHANGES {
            executor.set_now(Instant::from_millis(2 + round * 7));
            put(&mut client, request);
            while executor.run(16) > 0 {}
            if !response.is_empty() {
                let mut opened = opened.borrow_mut();
                assert_eq!(opened.len(), 1, "one pooled connection serves all");
                assert!(take(&mut opened[0]) > 0);
                put(&mut opened[0], response);
            }
            while executor.run(16) > 0 {}
            assert!(take(&mut client) > 0);
            assert!(access.pop_with(|_| ()).is_some());
        }
    }
    assert_eq!(counting::allocations() - before, 0, "allocations in 1200 requests");
}
