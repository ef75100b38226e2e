//! Closing: half-close, reset, TIME-WAIT, time-outs.

use std::{task::Poll, time::Duration};

use super::world::*;
use crate::l4::{End, TcpOptions};

const LONG: Duration = Duration::from_secs(200);

#[test]
fn either_side_may_close_first_and_go_on_receiving() {
    for first in [0, 1] {
        let mut world = World::new(1, Wire::default());
        let (client, server) = world.pair();
        let (mut early, mut late) = if first == 0 { (client, server) } else { (server, client) };
        world.spawn(async move {
            send_pattern(&mut early, 1, 50_000).await.expect("sent");
            assert_eq!(receive_pattern(&mut early, 2).await, Ok(300_000));
        });
        let pause = world.sleep(Duration::from_secs(5));
        world.spawn(async move {
            assert_eq!(receive_pattern(&mut late, 1).await, Ok(50_000));
            assert!(late.peer_gone());
            pause.await; // Longer than the quiet time after which a connection at rest loses its socket.
            send_pattern(&mut late, 2, 300_000).await.expect("half-closed connections still send");
        });
        world.finish(Duration::from_secs(10));
        world.run_for(Duration::from_secs(1));
        let waiting = [0, 1].map(|n: usize| world.hosts[n].tcp.stats().time_wait.value());
        assert_eq!(waiting[first], 1, "who closes first waits");
        assert_eq!(waiting[1 - first], 0);
        world.run_for(LONG);
        assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [0, 0]);
    }
}

#[test]
fn both_sides_close_at_once() {
    let mut world = World::new(1, Wire::default());
    let (mut client, mut server) = world.pair();
    for end in [&mut client, &mut server] {
        assert_eq!(once(|cx| end.poll_shutdown(cx)), Poll::Ready(Ok(())));
        assert_eq!(once(|cx| end.poll_write(cx, &[b"x"])), Poll::Ready(Err(End::Finished)));
    }
    world.run_for(Duration::from_secs(1));
    for end in [&mut client, &mut server] {
        assert_eq!(once(|cx| end.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Ok(vec![])));
    }
    assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.stats().time_wait.value()), [1, 1]);
    drop((client, server));
    world.run_for(LONG);
    assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [0, 0]);
}

#[test]
fn an_abort_reaches_the_other_side_in_every_state() {
    for (written, read) in [(0, false), (1000, false), (1000, true)] {
        let mut world = World::new(1, Wire::default());
        let (mut client, mut server) = world.pair();
        if written > 0 {
            assert_eq!(once(|cx| client.poll_write(cx, &[&vec![7; written]])), Poll::Ready(Ok(written)));
            world.run_for(Duration::from_millis(10));
        }
        if read {
            let n = once(|cx| server.poll_fill(cx).map_ok(<[u8]>::len));
            assert_eq!(n, Poll::Ready(Ok(written)));
            server.consume(written);
        }
        assert!(!server.peer_gone());
        client.abort();
        world.run_for(Duration::from_millis(10));
        assert!(server.peer_gone());
        assert_eq!(once(|cx| server.poll_shutdown(cx)), Poll::Ready(Err(End::Reset)));
        if written > 0 && !read {
            // What had arrived before the reset is still there.
            let n = once(|cx| server.poll_fill(cx).map_ok(<[u8]>::len));
            assert_eq!(n, Poll::Ready(Ok(written)));
            server.consume(written);
        }
        assert_eq!(once(|cx| server.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Err(End::Reset)));
        assert_eq!(once(|cx| server.poll_write(cx, &[b"x"])), Poll::Ready(Err(End::Reset)));
        assert_eq!(once(|cx| client.poll_write(cx, &[b"x"])), Poll::Ready(Err(End::Aborted)));
        drop((client, server));
        assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [0, 0]);
    }
}

#[test]
fn dropping_delivers_what_was_written_unless_something_is_unread() {
    let mut world = World::new(1, Wire::default());
    let (mut client, mut server) = world.pair();
    assert_eq!(once(|cx| client.poll_write(cx, &[&[9; 5000]])), Poll::Ready(Ok(5000)));
    drop(client);
    world.run_for(Duration::from_millis(50));
    let mut got = 0;
    while let Poll::Ready(Ok(n)) = once(|cx| server.poll_fill(cx).map_ok(<[u8]>::len)) {
        server.consume(n);
        got += n;
        if n == 0 {
            break;
        }
    }
    assert_eq!(got, 5000);
    drop(server);
    world.run_for(LONG);

    let (mut client, mut server) = world.pair();
    assert_eq!(once(|cx| client.poll_write(cx, &[b"unread"])), Poll::Ready(Ok(6)));
    world.run_for(Duration::from_millis(50));
    assert!(once(|cx| server.poll_fill(cx).map_ok(<[u8]>::len)).is_ready());
    drop(server);
    world.run_for(Duration::from_millis(50));
    assert_eq!(once(|cx| client.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Err(End::Reset)));
    drop(client);
    assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [0, 0]);
}

#[test]
fn data_for_nobody_is_answered_by_a_reset() {
    let mut world = World::new(1, Wire::default());
    let (client, mut server) = world.pair();
    drop(client);
    world.run_for(Duration::from_millis(50));
    assert_eq!(once(|cx| server.poll_write(cx, &[b"too late"])), Poll::Ready(Ok(8)));
    world.run_for(Duration::from_millis(50));
    assert_eq!(once(|cx| server.poll_write(cx, &[b"x"])), Poll::Ready(Err(End::Reset)));
}

#[test]
fn a_peer_that_never_closes_is_given_up_once_nobody_waits() {
    for shut_down_before in [false, true] {
        let mut world = World::new(1, Wire::default());
        let (mut client, server) = world.pair();
        if shut_down_before {
            assert_eq!(once(|cx| client.poll_shutdown(cx)), Poll::Ready(Ok(())));
            world.run_for(Duration::from_secs(100));
        }
        drop(client);
        world.run_for(Duration::from_secs(59));
        assert_eq!(world.hosts[0].tcp.connections(), 1);
        world.run_for(Duration::from_secs(3));
        assert_eq!(world.hosts[0].tcp.connections(), 0);
        drop(server);
    }
}

#[test]
fn a_peer_that_falls_silent_is_given_up() {
    let mut world = World::new(1, Wire::default());
    let (mut client, _server) = world.pair();
    world.watch = Some(Box::new(|_, _, _| false));
    assert_eq!(once(|cx| client.poll_write(cx, &[b"anybody?"])), Poll::Ready(Ok(8)));
    world.run_for(Duration::from_secs(59));
    assert_eq!(once(|cx| client.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Pending);
    world.run_for(Duration::from_secs(2));
    assert_eq!(once(|cx| client.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Err(End::TimedOut)));
    assert!(world.hosts[0].tcp.stats().retransmits.value() >= 6, "it was tried");
}

#[test]
fn a_new_connection_may_follow_in_time_wait() {
    // One port only: the same tuple again. The server has closed first and waits.
    let options = TcpOptions { ports: 1000..=1000, max_connections: 8, ..TcpOptions::default() };
    let mut world = World::with(3, Wire::default(), &options, false);
    let (client, server) = world.pair();
    drop(server);
    world.run_for(Duration::from_millis(50));
    drop(client);
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.hosts[1].tcp.stats().time_wait.value(), 1);
    let (mut client, mut server) = world.pair();
    assert_eq!(world.hosts[1].tcp.stats().time_wait.value(), 0);
    assert_eq!(once(|cx| client.poll_write(cx, &[b"again"])), Poll::Ready(Ok(5)));
    world.run_for(Duration::from_millis(50));
    assert_eq!(once(|cx| server.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Ok(b"again".to_vec())));
}

#[test]
fn time_wait_is_bounded_and_answers_a_lost_ack() {
    let options = TcpOptions { time_wait_limit: 1, max_connections: 8, ..TcpOptions::default() };
    let mut world = World::with(3, Wire::default(), &options, false);
    let mut ends = vec![world.pair(), world.pair()];
    // The last ACK of the first connection is lost once.
    let (client, server) = ends.remove(0);
    drop(client);
    world.run_for(Duration::from_millis(50));
    let mut lost = false;
    world.watch = Some(Box::new(move |_, to, _| {
        let drop = to == 1 && !lost;
        lost |= drop;
        !drop
    }));
    drop(server);
    world.run_for(Duration::from_secs(1));
    assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [2, 1]);
    assert_eq!(world.hosts[0].tcp.stats().time_wait.value(), 1);
    world.watch = None;
    let (client, server) = ends.remove(0);
    drop(client);
    world.run_for(Duration::from_millis(50));
    drop(server);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.hosts[0].tcp.stats().time_wait_overflows.value(), 1);
    assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [1, 0]);
}

#[test]
fn a_half_closed_connection_notices_that_its_peer_is_gone() {
    for silent in [false, true] {
        let mut world = World::new(1, Wire::default());
        let (mut client, mut server) = world.pair();
        assert_eq!(once(|cx| client.poll_shutdown(cx)), Poll::Ready(Ok(())));
        world.run_for(Duration::from_secs(500));
        assert_eq!(once(|cx| client.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Pending, "both live and wait");
        // The server resets, and the reset is lost; or nothing is ever heard again.
        world.watch = Some(Box::new(|_, _, _| false));
        server.abort();
        world.run_for(Duration::from_millis(10));
        if !silent {
            world.watch = None;
        }
        world.run_for(Duration::from_secs(120 + 5 * 15));
        let end = if silent { End::TimedOut } else { End::Reset };
        assert_eq!(once(|cx| client.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Err(end)));
    }
}

#[test]
fn the_last_answer_is_delivered_before_further_data_is_reset() {
    let mut world = World::new(1, Wire::default());
    let (mut client, mut server) = world.pair();
    // More than the client's window, and nobody reads there yet.
    let answer: Vec<u8> = (0..40_000).map(|i| octet(5, i)).collect();
    let mut queued = 0;
    while let Poll::Ready(Ok(n)) = once(|cx| server.poll_write(cx, &[&answer[queued..]])) {
        queued += n;
        if queued == answer.len() {
            break;
        }
    }
    assert!(queued > 30_000, "the rest waits in the send buffer: {queued}");
    world.run_for(Duration::from_millis(50));
    drop(server);
    for _ in 0..20 {
        assert!(once(|cx| client.poll_write(cx, &[&[1; 500]])).is_ready());
        world.run_for(Duration::from_millis(20));
    }
    let mut got = 0;
    loop {
        match once(|cx| client.poll_fill(cx).map_ok(<[u8]>::to_vec)) {
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                assert_eq!(bytes, answer[got..got + bytes.len()]);
                got += bytes.len();
                client.consume(bytes.len());
            }
            Poll::Pending if got < queued => world.run_for(Duration::from_millis(20)),
            _ => break,
        }
    }
    assert_eq!(got, queued);
    assert!(once(|cx| client.poll_write(cx, &[b"more"])).is_ready());
    world.run_for(Duration::from_millis(50));
    assert_eq!(once(|cx| client.poll_write(cx, &[b"x"])), Poll::Ready(Err(End::Reset)));
}
