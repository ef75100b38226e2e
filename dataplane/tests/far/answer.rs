//! The smallest service on TCP: a request of fixed length is answered by a response of fixed length, for ever.

use core::net::SocketAddr;
use std::rc::Rc;

use tidegate_dataplane::{
    l4::{TcpOptions, TcpStream},
    l7::{
        app::{App, Host},
        stream::ByteStream,
        table::{ListenerSpec, TableSpec},
    },
};

use super::{
    Rig, SERVICE, Shape, address,
    tcp::{ACK, Client, PSH},
};

pub(crate) const REQUEST: [u8; 100] = [b'q'; 100];
pub(crate) const RESPONSE: usize = 1024;

pub(crate) struct Answer {
    response: Rc<[u8]>,
}

impl App for Answer {
    fn accept(&mut self, host: &Host, mut stream: TcpStream) {
        let response = Rc::clone(&self.response);
        host.exec.spawn(async move {
            let mut buffer = [0; REQUEST.len()];
            let mut have = 0;
            while let Ok(n @ 1..) = ByteStream::read(&mut stream, &mut buffer).await {
                have += n;
                if have >= REQUEST.len() {
                    have -= REQUEST.len();
                    if ByteStream::write_all(&mut stream, &response).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// A listener at the service's address.
pub(crate) fn listener() -> ListenerSpec {
    ListenerSpec {
        name: "service".into(),
        address: address(SERVICE),
        tls: None,
        timeouts: Default::default(),
        limits: Default::default(),
        forwarded: Default::default(),
        trusted_peers: vec![],
        websocket: false,
    }
}

/// A core that answers.
pub(crate) fn rig(tcp: TcpOptions) -> Rig<Answer> {
    let _: SocketAddr = address(SERVICE);
    let l7 = TableSpec { cores: 1, listeners: vec![listener()], ..TableSpec::default() };
    let shape = Shape { l7, tcp, ..Shape::default() };
    Rig::new(shape, |_| Answer { response: vec![b'a'; RESPONSE].into() })
}

impl Rig<Answer> {
    /// A request and its response, on each of the connections at once; acknowledged by the client. Three segments each, if
    /// the core acknowledges together with the response.
    pub(crate) fn exchange(&mut self, connections: &[usize], clients: &mut [Client]) {
        for number in connections {
            self.say(&clients[*number].say(*number, PSH | ACK, &REQUEST));
            clients[*number].next = clients[*number].next.wrapping_add(REQUEST.len() as u32);
        }
        let mut received = 0;
        self.settle(|seen| {
            let client = &mut clients[super::tcp::client_number(seen.far)];
            assert_eq!((seen.seq, seen.ack), (client.expected, client.next), "in order: {seen:?}");
            client.expected = seen.end();
            received += seen.payload.len();
            None
        });
        assert_eq!(received, RESPONSE * connections.len(), "every request is answered");
        for number in connections {
            self.say(&clients[*number].say(*number, ACK, &[]));
        }
        self.settle(|seen| {
            // A window that has grown is announced once; nothing else is left to say.
            let client = &clients[super::tcp::client_number(seen.far)];
            let due = (ACK, client.expected, client.next, 0);
            assert_eq!((seen.flags, seen.seq, seen.ack, seen.payload.len()), due, "nothing more to say: {seen:?}");
            None
        });
    }
}
