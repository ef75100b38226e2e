//! Both sides of TLS against each other in memory, against OpenSSL, and against damaged input.

mod established; // what a peer may say besides data, and what not
mod handshake; // who is let in, and what the other side learns if not
mod openssl; // the same against another implementation
mod over_tcp; // on our own TCP
mod pki; // certificates for the tests
mod resumption; // tickets, across reloads and changes of policy
mod specs; // mistakes in configurations
mod transfer; // data, half-close, back-pressure, damage

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use super::*;
use crate::clock::Instant;
use crate::l7::exec::Executor;
use crate::l7::stream::{ByteStream, Duplex, StreamError, duplex};
use pki::{Ca, Pair, clock};

const TIMEOUT: Duration = Duration::from_secs(5);
const VERSIONS: [MinVersion; 2] = [MinVersion::OnlyTls12, MinVersion::Tls13];

/// A listener with one certificate, without client authentication.
fn server_spec(pair: &Pair) -> ServerSpec<'_> {
    ServerSpec {
        certificates: vec![pair.as_spec()],
        client_auth: ClientAuth::None,
        min_version: MinVersion::Tls12,
        alpn: vec![],
        tickets: None,
        clock: clock(),
    }
}

/// A client that trusts `ca` and asks for `server.example`.
fn client_spec(ca: &Ca) -> ClientSpec<'_> {
    ClientSpec {
        server_name: "server.example",
        trust: ca.trust(),
        identity: None,
        min_version: MinVersion::Tls12,
        alpn: vec![],
        clock: clock(),
    }
}

fn server(spec: &ServerSpec<'_>) -> ServerTls {
    ServerTls::build(spec).expect("a good server").0
}

fn client(spec: &ClientSpec<'_>) -> Connector {
    ClientTls::build(spec).expect("a good client").0.connector()
}

/// Runs two tasks to their ends on virtual time and gives both results.
fn both<A: 'static, B: 'static>(
    exec: &Executor,
    a: impl Future<Output = A> + 'static,
    b: impl Future<Output = B> + 'static,
) -> (A, B) {
    let results = Rc::new(RefCell::new((None, None)));
    let (left, right) = (Rc::clone(&results), Rc::clone(&results));
    let tasks = [
        exec.spawn(async move {
            let result = a.await;
            left.borrow_mut().0 = Some(result);
        }),
        exec.spawn(async move {
            let result = b.await;
            right.borrow_mut().1 = Some(result);
        }),
    ];
    let mut turns = 0;
    while exec.run(64) > 0 || results.borrow().0.is_none() || results.borrow().1.is_none() {
        if !exec.has_runnable() {
            let next = exec.next_deadline();
            let results = results.borrow();
            assert!(
                next.is_some() || (results.0.is_some() && results.1.is_some()),
                "deadlock: first done {}, second done {}",
                results.0.is_some(),
                results.1.is_some()
            );
            drop(results);
            next.into_iter().for_each(|at| exec.set_now(at));
        }
        turns += 1;
        assert!(turns < 10_000_000, "livelock");
    }
    tasks.iter().for_each(|task| assert!(!exec.cancel(*task)));
    let results = results.take();
    (results.0.expect("checked"), results.1.expect("checked"))
}

/// What one side saw of a short conversation.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    version: &'static str,
    alpn: Option<Vec<u8>>,
    peer: Option<String>,
    resumed: bool,
}

impl Seen {
    fn of<S>(stream: &TlsStream<S>) -> Self {
        Self {
            version: stream.version(),
            alpn: stream.alpn().map(<[u8]>::to_vec),
            peer: stream.peer().map(|peer| peer.identity().to_string()),
            resumed: stream.resumed(),
        }
    }
}

/// Handshake, `ping`, `pong`, close in both directions; what each side saw, or why it gave up.
fn converse(server: &ServerTls, client: &Connector) -> (Result<Seen, StreamError>, Result<Seen, StreamError>) {
    let exec = Executor::new(Instant::ZERO);
    let (near, far) = duplex(64 * 1024);
    both(&exec, serve(far, server.clone(), exec.clone()), ask(near, client.clone(), exec.clone()))
}

async fn serve<S: ByteStream>(transport: S, tls: ServerTls, exec: Executor) -> Result<Seen, StreamError> {
    let mut stream = accept(transport, &tls, &Buffers::default(), &exec, TIMEOUT).await?;
    assert_eq!(read_to_end(&mut stream).await?, b"ping");
    stream.write_all(b"pong").await?;
    stream.shutdown().await?;
    Ok(Seen::of(&stream))
}

async fn ask<S: ByteStream>(transport: S, tls: Connector, exec: Executor) -> Result<Seen, StreamError> {
    let mut stream = connect(transport, &tls, &Buffers::default(), &exec, TIMEOUT).await?;
    stream.write_all(b"ping").await?;
    stream.shutdown().await?;
    assert_eq!(read_to_end(&mut stream).await?, b"pong");
    Ok(Seen::of(&stream))
}

async fn read_to_end<S: ByteStream>(stream: &mut S) -> Result<Vec<u8>, StreamError> {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&part[..n]),
        }
    }
}
