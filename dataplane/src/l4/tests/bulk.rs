//! Data arrives whole, whatever the wire does.

use std::{cell::Cell, rc::Rc, time::Duration};

use proptest::prelude::*;

use super::world::*;
use crate::l4::{Congestion, TcpOptions};

/// Sends `sizes` both ways at once over `wire`; returns how long it took.
fn exchange(seed: u64, wire: Wire, sizes: (u64, u64), options: &TcpOptions, v6: bool) -> Duration {
    let mut world = World::with(seed, wire, options, v6);
    let start = world.now.get();
    let client = world.connect();
    let done = Rc::new(Cell::new(0));
    let halves = move |mut stream: crate::l4::TcpStream, seeds: (u64, u64), sizes: (u64, u64), done: Rc<Cell<u32>>| async move {
        std::future::poll_fn(|cx| stream.poll_connected(cx)).await.expect("connected");
        let stream = Rc::new(std::cell::RefCell::new(stream));
        both(stream, seeds, sizes).await;
        done.set(done.get() + 1);
    };
    world.spawn(halves(client, (seed, seed + 1), sizes, Rc::clone(&done)));
    let server = loop {
        if let Some(server) = world.accept() {
            break server;
        }
        assert!(world.step(None), "connection opens");
    };
    assert_eq!(server.listener(), 7);
    world.spawn(halves(server, (seed + 1, seed), (sizes.1, sizes.0), Rc::clone(&done)));
    world.finish(Duration::from_secs(3000));
    assert_eq!(done.get(), 2);
    let took = world.now.get() - start;
    world.run_for(Duration::from_secs(500));
    for host in &world.hosts {
        assert_eq!(host.tcp.connections(), 0, "nothing is left behind");
        let stats = host.tcp.stats();
        assert_eq!(
            (stats.live.value(), stats.idle.value(), stats.time_wait.value(), stats.half_open.value()),
            (0, 0, 0, 0)
        );
    }
    took
}

/// Writes one pattern and reads the other on the same stream, concurrently.
async fn both(stream: Rc<std::cell::RefCell<crate::l4::TcpStream>>, seeds: (u64, u64), sizes: (u64, u64)) {
    let (mut sent, mut received, mut shut, mut ended) = (0, 0, false, false);
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        let mut stream = stream.borrow_mut();
        while !shut {
            if sent == sizes.0 {
                assert_eq!(stream.poll_shutdown(cx), Poll::Ready(Ok(())));
                shut = true;
                break;
            }
            let piece: Vec<u8> = (sent..sizes.0.min(sent + 10_000)).map(|i| octet(seeds.0, i)).collect();
            let (a, b) = piece.split_at(piece.len() / 3);
            match stream.poll_write(cx, &[a, b]) {
                Poll::Ready(n) => sent += n.expect("writable") as u64,
                Poll::Pending => break,
            }
        }
        while !ended {
            let n = match stream.poll_fill(cx) {
                Poll::Ready(bytes) => {
                    let bytes = bytes.expect("readable");
                    for byte in bytes {
                        assert_eq!(*byte, octet(seeds.1, received), "octet {received}");
                        received += 1;
                    }
                    ended = bytes.is_empty();
                    bytes.len()
                }
                Poll::Pending => break,
            };
            stream.consume(n);
        }
        if shut && ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert_eq!((sent, received), sizes);
}

fn options() -> TcpOptions {
    TcpOptions { max_connections: 64, ..TcpOptions::default() }
}

#[test]
fn a_transfer_both_ways_on_a_clean_wire() {
    exchange(1, Wire::default(), (3_000_000, 1_000_000), &options(), false);
    exchange(2, Wire::default(), (300_000, 100_000), &options(), true);
}

#[test]
fn nothing_at_all_is_transferred_too() {
    exchange(3, Wire::default(), (0, 0), &options(), false);
    exchange(4, Wire::default(), (0, 1), &options(), false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn streams_are_whole_over_a_bad_wire(
        seed: u64, loss in 0u32..100, reorder in 0u32..200, duplicate in 0u32..100, corrupt in 0u32..50,
        delay_us in 10u64..40_000, a in 0u64..200_000, b in 0u64..200_000, v6: bool, reno: bool,
    ) {
        let wire = Wire { delay: Duration::from_micros(delay_us), loss, reorder, duplicate, corrupt, ..Wire::default() };
        let congestion = if reno { Congestion::Reno } else { Congestion::Cubic };
        exchange(seed % 1000, wire, (a, b), &TcpOptions { congestion, ..options() }, v6);
    }
}

/// Goodput in Mbit/s of 8 MiB over 100 Mbit/s, 20 ms of round trip and 2 % loss in either direction.
fn lossy_goodput(seed: u64, congestion: Congestion) -> f64 {
    const LEN: u64 = 8 << 20;
    let wire = Wire { delay: Duration::from_millis(10), loss: 20, rate: 100_000_000, ..Wire::default() };
    let mut world = World::with(seed, wire, &TcpOptions { congestion, ..options() }, false);
    let (mut client, mut server) = world.pair();
    world.spawn(async move { send_pattern(&mut client, 1, LEN).await.expect("sent") });
    world.spawn(async move { assert_eq!(receive_pattern(&mut server, 1).await, Ok(LEN)) });
    let start = world.now.get();
    world.finish(Duration::from_secs(300));
    LEN as f64 * 8e-6 / (world.now.get() - start).as_secs_f64()
}

/// Mathis et al. give 1.22 segments per round trip and root of the loss rate: 5.0 Mbit/s here. The kernel's CUBIC reached
/// 3.6 to 4.3 on such a wire in real time, where ours reached 3.8 to 3.9.
#[test]
fn losses_cost_no_more_than_theory_allows() {
    for (congestion, least) in [(Congestion::Cubic, 4.5), (Congestion::Reno, 4.0)] {
        let mean = (0..6).map(|seed| lossy_goodput(seed, congestion)).sum::<f64>() / 6.0;
        assert!(mean > least, "{congestion:?}: {mean:.2} Mbit/s");
    }
}
