//! The product's own application on a core: one listener, plain or TLS, one route, one cluster with the origin in it.

use core::time::Duration;
use std::sync::Arc;

use tidegate_dataplane::{
    l4::TcpOptions,
    l7::{
        access::AccessRecord,
        cluster::ClusterSpec,
        gateway::{Gateway, GatewaySpec},
        http1::forwarded::ForwardedFields,
        metrics::HttpStats,
        table::{BackendRef, ListenerSpec, Retry, RouteSpec, TableSpec, Timeouts},
        tls::ServerTls,
    },
    sync::spsc::{self, Consumer},
};

use super::{
    ORIGIN, Rig, Shape, address, answer,
    tcp::{ACK, Client, PSH, client_number, origin},
};

/// What clients ask.
pub(crate) const REQUEST: &[u8] =
    b"GET /1k HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n";
/// Bytes of content in a response.
pub(crate) const CONTENT: usize = 1024;

/// What the origin answers.
pub(crate) fn response() -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {CONTENT}\r\n\r\n"
    )
    .into_bytes();
    response.resize(response.len() + CONTENT, b'x');
    response
}

/// A gateway and what it tells.
pub(crate) struct Seat {
    pub(crate) rig: Rig<Gateway>,
    pub(crate) http: Arc<HttpStats>,
    access: Consumer<AccessRecord>,
    response: Vec<u8>,
}

/// A core with the gateway. No connection times out while virtual time is spent on others.
pub(crate) fn seat(tls: Option<ServerTls>, tcp: TcpOptions) -> Seat {
    let hour = Duration::from_secs(3600);
    let listener = ListenerSpec {
        tls,
        timeouts: Timeouts { idle: hour, ..Timeouts::default() },
        forwarded: ForwardedFields { via: true, ..ForwardedFields::default() },
        ..answer::listener()
    };
    let cluster = ClusterSpec {
        name: "origin".into(),
        endpoints: vec![address(ORIGIN)],
        connect_timeout: Duration::from_secs(1),
        idle_timeout: hour,
        max_idle_per_core: 256,
        tls: None,
    };
    let route = RouteSpec {
        name: "all".into(),
        listeners: vec![],
        hostnames: vec!["*.example.com".into()],
        matches: vec![],
        backend_refs: vec![BackendRef { cluster: "origin".into(), weight: 1 }],
        request_timeout: Some(Duration::from_secs(30)),
        retry: Retry::default(),
    };
    let l7 = TableSpec { cores: 1, listeners: vec![listener], clusters: vec![cluster], routes: vec![route] };
    let (producer, access) = spsc::channel(4096, AccessRecord::default);
    let http = Arc::new(HttpStats::default());
    let spec = GatewaySpec { stats: Arc::clone(&http), access: Some(producer), unix_origin_ns: 0, seed: 3 };
    let rig = Rig::new(Shape { l7, tcp, ..Shape::default() }, |host| Gateway::new(host, spec));
    Seat { rig, http, access, response: response() }
}

impl Seat {
    /// Turns until nothing moves: the origin answers, clients acknowledge with what they say next; `received` is shown what
    /// the clients get.
    pub(crate) fn settle(&mut self, clients: &mut [Client], mut received: impl FnMut(usize, &[u8])) {
        let Self { rig, response, access, .. } = self;
        rig.settle(|seen| {
            if seen.far == ORIGIN {
                return origin(seen, response);
            }
            let number = client_number(seen.far);
            let client = &mut clients[number];
            assert_eq!(seen.seq, client.expected, "in order: {seen:?}");
            client.expected = seen.end();
            received(number, seen.payload);
            None
        });
        while access.pop_with(|_| ()).is_some() {}
    }

    /// Sends bytes of a client, a segment at a time.
    pub(crate) fn write(&mut self, number: usize, client: &mut Client, bytes: &[u8]) {
        for part in bytes.chunks(super::tcp::MSS) {
            self.rig.say(&client.say(number, PSH | ACK, part));
            client.next = client.next.wrapping_add(part.len() as u32);
        }
    }

    /// A plain request and its response, on each of the connections at once.
    pub(crate) fn exchange(&mut self, connections: &[usize], clients: &mut [Client]) {
        for number in connections {
            self.write(*number, &mut clients[*number], REQUEST);
        }
        let (mut heads, mut bytes) = (0, 0);
        self.settle(clients, |_, payload| {
            heads += usize::from(payload.starts_with(b"HTTP/1.1 200 OK\r\n"));
            bytes += payload.len();
        });
        assert_eq!(heads, connections.len(), "every request is answered");
        assert!(bytes > CONTENT * connections.len());
    }

    /// The clients acknowledge what they have received, so that their connections come to rest.
    pub(crate) fn acknowledge(&mut self, connections: &[usize], clients: &mut [Client]) {
        for number in connections {
            self.rig.say(&clients[*number].say(*number, ACK, &[]));
        }
        self.settle(clients, |_, _| ());
    }
}
