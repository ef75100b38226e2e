//! TLS records: sealed and opened by the product's stream, over an in-memory pair.

use core::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::rc::Rc;

use tidegate_dataplane::{
    clock::Instant,
    l7::{
        exec::Executor,
        stream::{ByteStream as _, Duplex, duplex},
        tls::{Buffers, ClientSpec, ClientTls, MinVersion, TlsStream, Trust, accept, connect, wall_clock},
    },
};

use super::{Counted, Kernel, Prepared, Work};
use crate::far::tls::{NAME, pair_with_certificate};

/// Records of 1 KiB and of the greatest length.
pub(super) fn kernels() -> Vec<Kernel> {
    let kernel = |name, unit, make| Kernel { name, unit, per_call: 1, counted: Counted::Run, make };
    vec![
        kernel("tls/seal_1k", "record of 1 KiB", || sealing(1 << 10)),
        kernel("tls/seal_16k", "record of 16 KiB", || sealing(16 << 10)),
        kernel("tls/open_1k", "record of 1 KiB", || opening(1 << 10)),
        kernel("tls/open_16k", "record of 16 KiB", || opening(16 << 10)),
    ]
}

/// Two ends of a TLS 1.3 connection.
struct Ends {
    server: TlsStream<Duplex>,
    client: TlsStream<Duplex>,
    content: Vec<u8>,
}

fn sealing(len: usize) -> Box<dyn Work> {
    let prepare = |ends: &mut Ends| receive(&mut ends.client);
    let run = |ends: &mut Ends| send(&mut ends.server, &ends.content);
    Box::new(Prepared { state: ends(len), prepare, run })
}

fn opening(len: usize) -> Box<dyn Work> {
    let prepare = |ends: &mut Ends| send(&mut ends.client, &ends.content);
    let run = |ends: &mut Ends| receive(&mut ends.server);
    Box::new(Prepared { state: ends(len), prepare, run })
}

fn ends(len: usize) -> Ends {
    // Ed25519: a signature of P-256 is not always of the same length, which moves what lies behind it in memory.
    let (server, certificate) = pair_with_certificate(&rcgen::PKCS_ED25519);
    let spec = ClientSpec {
        server_name: NAME,
        trust: Trust { ca: certificate.as_bytes(), crls: vec![] },
        identity: None,
        min_version: MinVersion::Tls13,
        alpn: vec![],
        clock: wall_clock(),
    };
    let (client, _) = ClientTls::build(&spec).unwrap_or_else(|errors| panic!("{errors:?}"));
    let exec = Executor::new(Instant::ZERO);
    let (near, far) = duplex(256 << 10);
    let patience = Duration::from_secs(5);
    let (buffers, its_buffers) = (Buffers::default(), Buffers::default());
    let accepted = Rc::new(core::cell::Cell::new(None));
    let (slot, its_exec) = (Rc::clone(&accepted), exec.clone());
    exec.spawn(async move { slot.set(accept(far, &server, &its_buffers, &its_exec, patience).await.ok()) });
    let connector = client.connector();
    let shaken = exec.drive(Instant::from_millis(5000), connect(near, &connector, &buffers, &exec, patience));
    // The server reads the client's last message.
    while exec.run(64) > 0 {}
    let (Some(Ok(client)), Some(server)) = (shaken, accepted.take()) else { panic!("they shake hands") };
    Ends { server, client, content: vec![b'x'; len] }
}

fn send(stream: &mut TlsStream<Duplex>, content: &[u8]) {
    let mut cx = Context::from_waker(Waker::noop());
    let sent = pin!(stream.write_all(content)).poll(&mut cx);
    assert!(matches!(sent, Poll::Ready(Ok(()))), "there is room");
    assert!(matches!(stream.poll_flush(&mut cx), Poll::Ready(Ok(()))), "there is room");
}

/// Everything that is there.
fn receive(stream: &mut TlsStream<Duplex>) {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let shown = match stream.poll_fill(&mut cx) {
            Poll::Pending => return,
            Poll::Ready(shown) => shown.unwrap_or_else(|error| panic!("{error:?}")).len(),
        };
        assert!(shown > 0, "nobody closes");
        stream.consume(shown);
    }
}
