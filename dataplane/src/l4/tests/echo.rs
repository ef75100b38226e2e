//! Closed windows: acknowledgements pass them, they are probed, and both directions may be closed at once.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::{
    hostile::{near, tap},
    world::*,
};
use crate::l4::{TcpOptions, TcpStream};

/// Octets that the echo swallows first: enough for its receive buffer to grow, and with it the unit of its window.
const SWALLOWED: u64 = 12_000_000;

/// Swallows, then sends back what it reads, and reads nothing that it could not send back.
async fn echo(mut stream: TcpStream) {
    let mut seen = 0;
    loop {
        let piece = read_some(&mut stream).await.expect("readable");
        if piece.is_empty() {
            return poll_fn(|cx| stream.poll_shutdown(cx)).await.expect("closed");
        }
        let swallowed = (piece.len() as u64).min(SWALLOWED - seen);
        seen += swallowed;
        write_all(&mut stream, &piece[swallowed as usize..]).await.expect("writable");
    }
}

/// Writes what is swallowed and `len` octets more, as fast as they are taken.
async fn pour(stream: Rc<RefCell<TcpStream>>, len: u64) {
    let mut sent = 0;
    poll_fn(|cx| {
        while sent < SWALLOWED + len {
            let piece: Vec<u8> = (sent..(SWALLOWED + len).min(sent + 9_001)).map(|i| octet(5, i)).collect();
            match stream.borrow_mut().poll_write(cx, &[&piece]) {
                Poll::Ready(n) => sent += n.expect("writable") as u64,
                Poll::Pending => return Poll::Pending,
            }
        }
        stream.borrow_mut().poll_shutdown(cx).map(|closed| closed.expect("closed"))
    })
    .await;
}

/// An echo of `len` octets whose reader looks now and then and takes `sip` octets at most each time.
fn slow_echo(seed: u64, wire: Wire, len: u64, (pause, sip): (Duration, usize)) {
    let mut world = World::with(seed, wire, &TcpOptions { max_connections: 8, ..TcpOptions::default() }, false);
    let (client, server) = world.pair();
    let client = Rc::new(RefCell::new(client));
    world.spawn(echo(server));
    world.spawn(pour(Rc::clone(&client), len));
    let (now, sleepers) = (Rc::clone(&world.now), Rc::clone(&world.sleepers));
    world.spawn(async move {
        let (mut seen, mut buffer) = (0, vec![0; sip]);
        loop {
            let until = now.get() + pause;
            poll_fn(|cx| {
                if now.get() >= until {
                    return Poll::Ready(());
                }
                sleepers.borrow_mut().push((until, cx.waker().clone()));
                Poll::Pending
            })
            .await;
            let n = poll_fn(|cx| client.borrow_mut().poll_read(cx, &mut buffer)).await.expect("readable");
            assert!(
                buffer[..n].iter().zip(seen..).all(|(byte, i)| *byte == octet(5, i + SWALLOWED)),
                "octets from {seen}"
            );
            seen += n as u64;
            if n == 0 {
                return assert_eq!(seen, len);
            }
        }
    });
    world.finish(Duration::from_secs(120));
}

/// From now on the server hears nothing; counts the data segments that it sends.
fn deafen(world: &mut World) -> (Rc<RefCell<Vec<u8>>>, Rc<Cell<u32>>) {
    let (last, sent) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let (log, count) = (Rc::clone(&last), Rc::clone(&sent));
    world.watch = Some(Box::new(move |_, to, packet| {
        if to == 1 {
            *log.borrow_mut() = packet.to_vec();
        } else if packet.len() > 40 {
            count.set(count.get() + 1);
        }
        to == 0
    }));
    (last, sent)
}

/// RFC 9293 §3.10.7.4: "if the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept
/// valid ACKs". The peer's probe of our closed window carries one.
#[test]
fn an_acknowledgement_counts_though_the_window_is_closed() {
    let mut world = World::new(1, Wire::default());
    let (mut client, mut server) = world.pair();
    while once(|cx| client.poll_write(cx, &[&[1; 4000]])).is_ready() {
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(Duration::from_secs(1));
    let (last, sent) = deafen(&mut world);
    assert_eq!(once(|cx| server.poll_write(cx, &[&[2; 3000]])), Poll::Ready(Ok(3000)));
    world.run_for(Duration::from_millis(5));
    let before = sent.replace(0);
    assert!(before >= 3, "{before} segments");
    let probe = near(&last.borrow(), (0, 0), 0x10, 512, 1);
    world.deliver(1, probe);
    world.run_for(Duration::from_secs(5));
    assert_eq!(sent.get(), 0, "nothing that was acknowledged is sent again");
}

/// The segment that opens a window may be lost, so a closed one is probed (RFC 9293 §3.8.6.1), also one that was closed before
/// there was anything to send.
#[test]
fn a_window_that_was_closed_at_rest_is_probed() {
    let mut world = World::new(1, Wire::default());
    let template = tap(&mut world);
    let (_client, mut server) = world.pair();
    let closed = near(&template.borrow(), (0, 0), 0x10, 0, 0);
    world.deliver(1, closed);
    let (_, sent) = deafen(&mut world);
    assert_eq!(once(|cx| server.poll_write(cx, &[b"x"])), Poll::Ready(Ok(1)));
    world.run_for(Duration::from_secs(10));
    assert!(sent.get() >= 2, "{} probes", sent.get());
}

/// Each end waits for room at the other.
#[test]
fn an_echo_through_closed_windows_comes_to_its_end() {
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        // With a rate, acknowledgements go out while the rest of the window is still under way.
        let delay = Duration::from_micros(20 + dice.below(2_000));
        let wire = Wire { delay, rate: 1_000_000_000, ..Wire::default() };
        let sip = 1 + dice.below(70_000) as usize;
        let pause = Duration::from_micros(200 + dice.below(sip as u64));
        slow_echo(seed, wire, 3_000_000, (pause, sip));
    }
}

/// The same where segments are lost: also the one that opens a window.
#[test]
fn an_echo_through_closed_windows_survives_losses() {
    for seed in 100..106 {
        let mut dice = Dice::new(seed);
        let wire = Wire { delay: Duration::from_micros(100), loss: 10, ..Wire::default() };
        let sip = 20_000 + dice.below(60_000) as usize;
        slow_echo(seed, wire, 3_000_000, (Duration::from_millis(5), sip));
    }
}
