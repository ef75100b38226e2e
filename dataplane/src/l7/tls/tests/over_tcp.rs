//! TLS on this program's own TCP, two hosts on a perfect wire, in virtual time.

use super::*;
use crate::l4::{Capabilities, Outcome, Secrets, SegmentSink, Sent, TcpHandle, TcpOptions, TcpStream};
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};

/// Time a packet is under way.
const DELAY: Duration = Duration::from_micros(500);

/// Packets that a host has sent.
#[derive(Default)]
struct Wire {
    packets: Vec<Vec<u8>>,
    lent: Vec<u8>,
}

impl SegmentSink for Wire {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn has_room(&self) -> bool {
        true
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.lent = vec![0; len];
        Some(&mut self.lent)
    }

    fn commit(&mut self, _: Sent) {
        self.packets.push(core::mem::take(&mut self.lent));
    }
}

struct Hosts {
    exec: Executor,
    hosts: [(TcpHandle, Wire); 2],
    segments: usize,
}

impl Hosts {
    fn new() -> Self {
        let host = |key| {
            let secrets = Secrets { flows: (key, 1), sequence: (key, 2), cookies: (key, 3) };
            let options = TcpOptions { max_connections: 64, ..TcpOptions::default() };
            (TcpHandle::new(options, &secrets, Arc::default(), Instant::ZERO), Wire::default())
        };
        Self { exec: Executor::new(Instant::ZERO), hosts: [host(1), host(2)], segments: 0 }
    }

    /// Runs tasks, lets both hosts send, delivers after the delay. Every packet must be welcome.
    fn turn(&mut self) {
        self.hosts.iter().for_each(|(tcp, _)| tcp.set_now(self.exec.now()));
        while self.exec.run(64) > 0 {}
        let now = self.exec.now();
        self.hosts.iter_mut().for_each(|(tcp, wire)| tcp.output(now, wire));
        let sent = [0, 1].map(|n| core::mem::take(&mut self.hosts[n].1.packets));
        let next = self.hosts.iter().filter_map(|(tcp, _)| tcp.next_deadline()).chain(self.exec.next_deadline()).min();
        let quiet = sent.iter().all(Vec::is_empty) && !self.exec.has_runnable();
        self.exec.set_now(if quiet { next.unwrap_or(now) } else { now + DELAY });
        let listen = |_: SocketAddr| Some(1);
        for (packets, to) in sent.into_iter().zip([1, 0]) {
            let (tcp, wire) = &mut self.hosts[to];
            for mut packet in packets {
                self.segments += 1;
                let outcome = tcp.input(self.exec.now(), &mut packet, (20, false), &listen, wire);
                assert_eq!(outcome, Outcome::Consumed);
            }
        }
    }

    /// Host 0 connects to host 1; gives the results of both ends' tasks.
    fn run<A: Future + 'static, B: Future + 'static>(
        &mut self,
        client: impl FnOnce(TcpStream, Executor) -> A,
        server: impl FnOnce(TcpStream, Executor) -> B,
    ) -> (A::Output, B::Output) {
        let [near, far] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let stream = self.hosts[0].0.connect(near, SocketAddr::new(far, 443), self.exec.now()).expect("ports");
        let (left, right) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
        let (future, slot) = (client(stream, self.exec.clone()), Rc::clone(&left));
        self.exec.spawn(async move {
            let output = future.await;
            *slot.borrow_mut() = Some(output);
        });
        let mut server = Some(server);
        for _ in 0..100_000 {
            if let Some(stream) = self.hosts[1].0.accept() {
                let future = (server.take().expect("one connection"))(stream, self.exec.clone());
                let slot = Rc::clone(&right);
                self.exec.spawn(async move {
                    let output = future.await;
                    *slot.borrow_mut() = Some(output);
                });
            }
            self.turn();
            if left.borrow().is_some() && right.borrow().is_some() {
                let results = (left.take(), right.take());
                return (results.0.expect("checked"), results.1.expect("checked"));
            }
        }
        panic!("no end after 100,000 turns");
    }
}

#[test]
fn a_session_with_megabytes_over_tcp_and_nothing_left_behind() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.spiffe("spiffe://mesh/web", 1));
    let tls = server(&ServerSpec { client_auth: ClientAuth::Required(ca.trust()), ..server_spec(&pair) });
    let connector = client(&ClientSpec { identity: Some(own.as_spec()), ..client_spec(&ca) });
    let body: Vec<u8> = (0..2_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let expected = body.clone();
    let mut hosts = Hosts::new();
    let (asked, served) = hosts.run(
        |mut stream, exec| async move {
            poll_fn(|cx| stream.poll_connected(cx)).await.map_err(StreamError::from)?;
            let mut stream = connect(stream, &connector, &Buffers::default(), &exec, TIMEOUT).await?;
            stream.write_all(b"GET").await?;
            stream.shutdown().await?;
            read_to_end(&mut stream).await
        },
        |stream, exec| async move {
            let mut stream = accept(stream, &tls, &Buffers::default(), &exec, TIMEOUT).await?;
            assert_eq!(read_to_end(&mut stream).await?, b"GET");
            stream.write_all(&body).await?;
            stream.shutdown().await?;
            Ok::<_, StreamError>(stream.peer().map(|peer| peer.identity().to_string()))
        },
    );
    assert!(asked == Ok(expected), "{:?}", asked.map(|body| body.len()));
    assert_eq!(served, Ok(Some("spiffe://mesh/web".into())));
    assert!(hosts.segments > 1_400, "{} segments", hosts.segments);
    (0..100).for_each(|_| hosts.turn());
    assert_eq!(hosts.hosts.each_ref().map(|(tcp, _)| tcp.connections()), [0, 0]);
}

#[test]
fn a_refused_client_receives_the_alert_before_the_end() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let tls = server(&ServerSpec { client_auth: ClientAuth::Required(ca.trust()), ..server_spec(&pair) });
    let connector = client(&client_spec(&ca));
    let (asked, served) = Hosts::new().run(
        |mut stream, exec| async move {
            poll_fn(|cx| stream.poll_connected(cx)).await.map_err(StreamError::from)?;
            let mut stream = connect(stream, &connector, &Buffers::default(), &exec, TIMEOUT).await?;
            // As a browser does: the request goes out before the server has judged the certificate.
            stream.write_all(&[0; 5_000]).await?;
            stream.flush().await?;
            read_to_end(&mut stream).await
        },
        |stream, exec| async move { accept(stream, &tls, &Buffers::default(), &exec, TIMEOUT).await.map(drop) },
    );
    assert_eq!(served, Err(TlsError::NoCertificate.into()));
    assert_eq!(asked, Err(TlsError::Alert(rustls::AlertDescription::CertificateRequired).into()));
}
