//! Data, half-close, back-pressure, and what damage does.

use super::*;
use core::future::poll_fn;
use core::task::Poll;
use proptest::prelude::*;

/// Two ready ends of a connection whose transport holds `capacity` bytes each way.
pub(super) fn connected(
    exec: &Executor,
    version: MinVersion,
    capacity: usize,
) -> (TlsStream<Duplex>, TlsStream<Duplex>) {
    let (near, far) = duplex(capacity);
    connected_over(exec, version, near, far)
}

pub(super) fn connected_over(
    exec: &Executor,
    version: MinVersion,
    near: Duplex,
    far: Duplex,
) -> (TlsStream<Duplex>, TlsStream<Duplex>) {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let keys = Some(Arc::new(TicketKeys::generate().expect("random")));
    let server = server(&ServerSpec { tickets: keys, ..server_spec(&pair) });
    let client = client(&ClientSpec { min_version: version, ..client_spec(&ca) });
    let (a, b) = (exec.clone(), exec.clone());
    let (served, asked) = both(
        exec,
        async move { accept(far, &server, &Buffers::default(), &a, TIMEOUT).await.expect("accepted") },
        async move { connect(near, &client, &Buffers::default(), &b, TIMEOUT).await.expect("connected") },
    );
    (asked, served)
}

pub(super) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n as u8).wrapping_mul(31).wrapping_add((n >> 8) as u8) ^ seed).collect()
}

/// Sends `outgoing` and receives to the end at the same time, as a proxy's tunnel does.
pub(super) async fn exchange(
    mut stream: TlsStream<Duplex>,
    outgoing: Vec<u8>,
    step: usize,
) -> Result<Vec<u8>, StreamError> {
    let (mut sent, mut received, mut ended, mut shut) = (0, Vec::new(), false, false);
    poll_fn(move |cx| {
        loop {
            let mut progress = false;
            while sent < outgoing.len() {
                let end = outgoing.len().min(sent + step);
                let middle = sent + (end - sent) / 3;
                match stream.poll_write(cx, &[&outgoing[sent..middle], &[], &outgoing[middle..end]]) {
                    Poll::Ready(Ok(n)) => (sent, progress) = (sent + n, true),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
                assert!(stream.buffered() < 256 * 1024, "unbounded: {}", stream.buffered());
            }
            if sent == outgoing.len() && !shut {
                match stream.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => shut = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            if !ended {
                match stream.poll_fill(cx) {
                    Poll::Ready(Ok([])) => ended = true,
                    Poll::Ready(Ok(bytes)) => {
                        received.extend_from_slice(bytes);
                        let n = bytes.len();
                        stream.consume(n);
                        progress = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            if ended && shut {
                return Poll::Ready(Ok(core::mem::take(&mut received)));
            }
            if !progress {
                return Poll::Pending;
            }
        }
    })
    .await
}

#[test]
fn megabytes_in_both_directions_through_a_narrow_pipe() {
    for version in VERSIONS {
        for (capacity, step) in [(3_000, 1 << 20), (64 * 1024, 1_000), (100_000, 5_000)] {
            let exec = Executor::new(Instant::ZERO);
            let (client, server) = connected(&exec, version, capacity);
            let (up, down) = (pattern(3 << 20, 1), pattern(5 << 20, 2));
            let (at_client, at_server) =
                both(&exec, exchange(client, up.clone(), step), exchange(server, down.clone(), step));
            assert!(at_client == Ok(down), "{version:?}");
            assert!(at_server == Ok(up), "{version:?}");
        }
    }
}

#[test]
fn the_last_flight_of_the_handshake_does_not_wait_for_a_read_or_a_write() {
    for version in VERSIONS {
        let exec = Executor::new(Instant::ZERO);
        let (client, server) = connected(&exec, version, 1);
        let results = both(&exec, exchange(client, vec![1], 1), exchange(server, vec![2], 1));
        assert_eq!(results, (Ok(vec![2]), Ok(vec![1])), "{version:?}");
    }
}

#[test]
fn a_writer_without_a_reader_is_stopped() {
    let exec = Executor::new(Instant::ZERO);
    let (mut client, server) = connected(&exec, MinVersion::Tls13, 10_000);
    let written = exec.drive(Instant::ZERO, async {
        let mut total = 0;
        poll_fn(|cx| {
            while let Poll::Ready(written) = client.poll_write(cx, &[&[7; 9_000]]) {
                total += written.expect("open");
            }
            Poll::Ready(total)
        })
        .await
    });
    let written = written.expect("returns");
    assert!((10_000..100_000).contains(&written), "{written}");
    assert!(client.buffered() < 128 * 1024);
    drop(server);
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    for version in VERSIONS {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, version, 100_000);
        let done = exec.drive(Instant::ZERO, async {
            client.write_all(&pattern(50_000, 3)).await.expect("room");
            client.flush().await.expect("room");
            let mut left = 50_000;
            while left > 0 {
                left -= server.read(&mut [0; 4096]).await.expect("data");
            }
            poll_fn(|cx| {
                assert!(server.poll_fill(cx).is_pending() && client.poll_fill(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        });
        assert_eq!(done, Some(()));
        assert_eq!((client.buffered(), server.buffered()), (0, 0), "{version:?}");
        assert!(size_of_val(&server) <= 200, "{}", size_of_val(&server));
    }
}

#[test]
fn half_close_in_both_orders() {
    for version in VERSIONS {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, version, 8_000);
        let answer = pattern(100_000, 4);
        let expected = answer.clone();
        let (at_client, at_server) = both(
            &exec,
            async move {
                client.shutdown().await?;
                assert_eq!(client.write_all(b"x").await, Err(StreamError::Closed));
                read_to_end(&mut client).await
            },
            async move {
                assert_eq!(read_to_end(&mut server).await?, b"");
                assert!(server.peer_gone());
                server.write_all(&answer).await?;
                server.shutdown().await
            },
        );
        assert!(at_client == Ok(expected) && at_server == Ok(()), "{version:?}");
    }
}

#[test]
fn an_end_without_close_notify_is_a_truncation_after_the_data() {
    let exec = Executor::new(Instant::ZERO);
    let (mut near, relay_near) = duplex(64 * 1024);
    let (mut relay_far, far) = duplex(64 * 1024);
    near.split(&[], &[]);
    // The relay forwards everything, and closes in order after a second without having seen a close.
    let (handle, sleeper) = (exec.clone(), exec.clone());
    exec.spawn(async move {
        let mut relay = relay_near;
        let mut sleep = sleeper.sleep(Duration::from_secs(1));
        relay_until(&mut relay, &mut relay_far, &mut sleep).await;
        relay_far.shutdown().await.expect("open");
        handle.sleep(Duration::from_secs(9)).await;
    });
    let (mut client, mut server) = connected_over(&exec, MinVersion::Tls13, near, far);
    let got = exec.drive(Instant::from_millis(20_000), async {
        client.write_all(b"partial").await.expect("room");
        client.flush().await.expect("room");
        let mut part = [0; 32];
        let first = server.read(&mut part).await;
        (first, server.read(&mut part).await, server.read(&mut part).await, server.write_all(b"still").await)
    });
    let truncated = Err(StreamError::Tls(TlsError::Truncated));
    assert_eq!(got, Some((Ok(7), truncated, truncated, Ok(()))));
    assert!(server.peer_gone());
}

/// Copies between two streams until `sleep` ends.
async fn relay_until(a: &mut Duplex, b: &mut Duplex, sleep: &mut crate::l7::exec::Sleep) {
    poll_fn(|cx| {
        if core::pin::Pin::new(&mut *sleep).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while let Poll::Ready(Ok(bytes)) = a.poll_fill(cx) {
            let Poll::Ready(Ok(n)) = b.poll_write(cx, &[bytes]) else { break };
            if n == 0 {
                break;
            }
            a.consume(n);
        }
        while let Poll::Ready(Ok(bytes)) = b.poll_fill(cx) {
            let Poll::Ready(Ok(n)) = a.poll_write(cx, &[bytes]) else { break };
            if n == 0 {
                break;
            }
            b.consume(n);
        }
        Poll::Pending
    })
    .await;
}

#[test]
fn a_reset_of_the_transport_reaches_reader_and_writer() {
    let exec = Executor::new(Instant::ZERO);
    let (mut client, mut server) = connected(&exec, MinVersion::Tls13, 8_000);
    client.abort();
    assert!(client.peer_gone() && server.peer_gone());
    let got = exec.drive(Instant::ZERO, async {
        (server.read(&mut [0; 8]).await, server.write_all(b"x").await, client.write_all(b"x").await)
    });
    assert_eq!(got, Some((Err(StreamError::Reset), Err(StreamError::Reset), Err(StreamError::Closed))));
}

/// A pipe that damages one byte on its way from the client.
async fn damaging_relay(mut a: Duplex, mut b: Duplex, position: usize, mask: u8) {
    let mut seen = 0;
    let (mut a_done, mut b_done) = (false, false);
    poll_fn(move |cx| {
        while !a_done {
            match a.poll_fill(cx) {
                Poll::Ready(Ok([])) | Poll::Ready(Err(_)) => {
                    a_done = true;
                    let _ = b.poll_shutdown(cx);
                }
                Poll::Ready(Ok(bytes)) => {
                    let mut byte = bytes[0];
                    if seen == position {
                        byte ^= mask;
                    }
                    match b.poll_write(cx, &[&[byte]]) {
                        Poll::Ready(Ok(n)) => (seen, _) = (seen + n, a.consume(n)),
                        Poll::Ready(Err(_)) => a_done = true,
                        Poll::Pending => break,
                    }
                }
                Poll::Pending => break,
            }
        }
        while !b_done {
            match b.poll_fill(cx) {
                Poll::Ready(Ok([])) | Poll::Ready(Err(_)) => {
                    b_done = true;
                    let _ = a.poll_shutdown(cx);
                }
                Poll::Ready(Ok(bytes)) => match a.poll_write(cx, &[bytes]) {
                    Poll::Ready(Ok(n)) => b.consume(n),
                    Poll::Ready(Err(_)) => b_done = true,
                    Poll::Pending => break,
                },
                Poll::Pending => break,
            }
        }
        if a_done && b_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_fragmentation_of_the_transport_is_invisible(
        up in 0usize..60_000, down in 0usize..60_000, step in 1usize..40_000, capacity in 1usize..20_000, old in any::<bool>(),
        splits in prop::array::uniform4(prop::collection::vec(1usize..3_000, 0..6)),
    ) {
        let exec = Executor::new(Instant::ZERO);
        let (mut near, mut far) = duplex(capacity);
        near.split(&splits[0], &splits[1]);
        far.split(&splits[2], &splits[3]);
        let version = if old { MinVersion::OnlyTls12 } else { MinVersion::Tls13 };
        let (client, server) = connected_over(&exec, version, near, far);
        let (up, down) = (pattern(up, 1), pattern(down, 2));
        let (at_client, at_server) =
            both(&exec, exchange(client, up.clone(), step), exchange(server, down.clone(), step));
        prop_assert!(at_client == Ok(down));
        prop_assert!(at_server == Ok(up));
    }

    #[test]
    fn a_damaged_byte_never_becomes_data(position in 0usize..2_500, bit in 0u32..8, old in any::<bool>()) {
        let ca = Ca::new("ca");
        let pair = ca.dns(&["server.example"]);
        let min_version = if old { MinVersion::OnlyTls12 } else { MinVersion::Tls13 };
        let (server, client) = (server(&server_spec(&pair)), client(&ClientSpec { min_version, ..client_spec(&ca) }));
        let exec = Executor::new(Instant::ZERO);
        let ((near, a), (b, far)) = (duplex(64 * 1024), duplex(64 * 1024));
        exec.spawn(damaging_relay(a, b, position, 1 << bit));
        let (one, two) = (exec.clone(), exec.clone());
        let sent = pattern(2_000, 5);
        let expected = sent.clone();
        let (served, _) = both(
            &exec,
            async move {
                let mut stream = accept(far, &server, &Buffers::default(), &one, TIMEOUT).await?;
                let got = read_to_end(&mut stream).await?;
                stream.shutdown().await?;
                Ok::<_, StreamError>(got)
            },
            async move {
                let mut stream = connect(near, &client, &Buffers::default(), &two, TIMEOUT).await?;
                stream.write_all(&sent).await?;
                stream.shutdown().await?;
                read_to_end(&mut stream).await
            },
        );
        // Damage beyond the last byte sent changes nothing; all other damage is noticed.
        match served {
            Ok(got) => prop_assert!(got == expected),
            Err(StreamError::Tls(error)) => prop_assert!(!error.is_local(), "{error:?}"),
            Err(error) => prop_assert!(false, "{error:?}"),
        }
    }
}
