//! What a peer may say besides data once a connection is established, what it may not, and keys that wear out.

use super::transfer::{connected, connected_over, exchange, pattern};
use super::*;
use crate::l7::tls::record::content;
use core::future::poll_fn;
use core::task::Poll;
use rustls::AlertDescription as Alert;

const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];

/// What is said with which type, in one record.
type Say<'a> = (u8, &'a [u8]);

/// The client says these things, then `data`. What the server reads of it or how that ends, and the same for the client, which
/// reads until the server is done.
fn after(
    version: MinVersion,
    says: &[Say<'_>],
    data: &[u8],
) -> (Result<Vec<u8>, StreamError>, Result<(), StreamError>) {
    let exec = Executor::new(Instant::ZERO);
    let (mut client, mut server) = connected(&exec, version, 1 << 20);
    for (kind, message) in says {
        client.traffic().say(*kind, message).expect("sealed");
    }
    let (data, expected) = (data.to_vec(), data.len());
    both(
        &exec,
        async move {
            let mut got = vec![0; expected];
            let mut len = 0;
            while len < expected {
                match server.read(&mut got[len..]).await? {
                    0 => break,
                    n => len += n,
                }
            }
            server.write_all(b"seen").await?;
            server.shutdown().await?;
            got.truncate(len);
            Ok(got)
        },
        async move {
            let _ = client.write_all(&data).await;
            let _ = client.flush().await;
            match read_to_end(&mut client).await?.as_slice() {
                b"seen" => Ok(()),
                other => panic!("{other:?}"),
            }
        },
    )
}

fn refused(alert: Alert) -> (Result<Vec<u8>, StreamError>, Result<(), StreamError>) {
    (Err(TlsError::Misbehaved.into()), Err(TlsError::Alert(alert).into()))
}

#[test]
fn what_changes_nothing_is_not_data() {
    let welcome = (Ok(b"data".to_vec()), Ok(()));
    for says in [
        &[(content::DATA, &[][..]); 32][..],  // Empty records hide lengths.
        &[(content::ALERT, &[1, 90][..]); 4], // user_canceled
    ] {
        for version in VERSIONS {
            assert_eq!(after(version, says, b"data"), welcome, "{version:?} {says:?}");
        }
    }
    let old = [(content::ALERT, &[1, 100][..]); 4]; // no_renegotiation, as a warning of TLS 1.2.
    assert_eq!(after(MinVersion::OnlyTls12, &old, b"data"), welcome);
}

#[test]
fn what_costs_a_peer_nothing_is_bounded() {
    let unexpected = refused(Alert::UnexpectedMessage);
    for version in VERSIONS {
        assert_eq!(after(version, &[(content::DATA, &[][..]); 33], b"data"), unexpected, "{version:?}: empty records");
        assert_eq!(after(version, &[(content::ALERT, &[1, 90][..]); 5], b"data"), unexpected, "{version:?}: warnings");
    }
    // A message in ever more pieces, each of which is joined with all before it.
    let mut pieces: Vec<Say<'_>> = vec![(content::HANDSHAKE, &[1, 0, 1, 0])];
    pieces.extend([(content::HANDSHAKE, &[0][..]); 33]);
    assert_eq!(after(MinVersion::OnlyTls12, &pieces, b"data"), unexpected);
}

#[test]
fn messages_that_nobody_may_send_now() {
    let ticket = [4, 0, 0, 2, 0, 0];
    let hello = [1, 0, 0, 1, 3];
    let unexpected: [&[Say<'_>]; 6] = [
        &[(content::HANDSHAKE, &ticket)],
        &[(content::HANDSHAKE, &hello)],
        &[(content::HANDSHAKE, &[])],
        &[(20, &[1])],                                               // change_cipher_spec
        &[(content::HANDSHAKE, &KEY_UPDATE[..3])],                   // Data comes between it and its end.
        &[(content::HANDSHAKE, &[KEY_UPDATE, KEY_UPDATE].concat())], // The second is under the wrong key.
    ];
    for says in unexpected {
        assert_eq!(after(MinVersion::Tls13, says, b"data"), refused(Alert::UnexpectedMessage), "{says:?}");
    }
    for (says, alert) in [
        ((content::HANDSHAKE, &[24, 0, 0, 1, 2][..]), Alert::IllegalParameter),
        ((content::HANDSHAKE, &[24, 0, 0, 2, 0, 0]), Alert::DecodeError),
        ((content::HANDSHAKE, &[24, 1, 0, 0]), Alert::DecodeError), // 64 KiB
        ((content::HANDSHAKE, &[24, 0, 0xff, 0xff]), Alert::DecodeError), // Before anything of it is kept.
        ((content::ALERT, &[1]), Alert::DecodeError),
        ((content::ALERT, &[1, 90, 1]), Alert::DecodeError),
    ] {
        assert_eq!(after(MinVersion::Tls13, &[says], b"data"), refused(alert), "{says:?}");
    }
    for says in [(content::HANDSHAKE, &KEY_UPDATE[..]), (content::HANDSHAKE, &[0, 0, 0, 0]), (20, &[1])] {
        assert_eq!(after(MinVersion::OnlyTls12, &[says], b"data"), refused(Alert::UnexpectedMessage), "{says:?}");
    }
}

#[test]
fn a_fatal_alert_ends_the_connection_and_is_not_answered() {
    for version in VERSIONS {
        let (served, asked) = after(version, &[(content::ALERT, &[2, 80])], b"data");
        assert_eq!(served, Err(TlsError::Alert(Alert::InternalError).into()));
        assert_eq!(asked, Err(TlsError::Truncated.into()), "closed below TLS");
    }
    // Other warnings do not exist in TLS 1.3.
    let (served, asked) = after(MinVersion::Tls13, &[(content::ALERT, &[1, 100])], b"data");
    assert_eq!(served, Err(TlsError::Alert(Alert::NoRenegotiation).into()));
    assert_eq!(asked, Err(TlsError::Alert(Alert::DecodeError).into()));
}

#[test]
fn renegotiation_is_declined_once_and_refused_then() {
    let hello: Say<'_> = (content::HANDSHAKE, &[1, 0, 0, 3, 3, 3, 3]);
    let (first, second): (Say<'_>, Say<'_>) = ((hello.0, &hello.1[..2]), (hello.0, &hello.1[2..]));
    for says in [&[hello][..], &[first, second]] {
        // The client is told by a warning, which it does not mind.
        assert_eq!(after(MinVersion::OnlyTls12, says, b"data"), (Ok(b"data".to_vec()), Ok(())), "{says:?}");
    }
    assert_eq!(after(MinVersion::OnlyTls12, &[hello, hello], b"data"), refused(Alert::UnexpectedMessage));
    let long: Say<'_> = (hello.0, &[1, 0, 0x40, 1]);
    assert_eq!(after(MinVersion::OnlyTls12, &[long], b"data"), refused(Alert::DecodeError));
}

/// Sends `rounds` pieces of data from `a` to `b` and back.
async fn rally(
    (a, b): (&mut TlsStream<Duplex>, &mut TlsStream<Duplex>),
    rounds: usize,
    mut before: impl FnMut(&mut TlsStream<Duplex>),
) -> Result<(), StreamError> {
    for round in 0..rounds {
        before(a);
        let data = pattern(100 + round, round as u8);
        for backwards in [false, true] {
            let (from, to) = if backwards { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            from.write_all(&data).await?;
            from.flush().await?;
            let mut got = vec![0; data.len()];
            let mut len = 0;
            while len < got.len() {
                len += to.read(&mut got[len..]).await?;
            }
            assert_eq!(got, data);
        }
    }
    Ok(())
}

#[test]
fn keys_are_updated_when_they_are_worn() {
    let exec = Executor::new(Instant::ZERO);
    let (mut client, mut server) = connected(&exec, MinVersion::Tls13, 1 << 20);
    client.traffic().limit_keys(2);
    server.traffic().limit_keys(5);
    let outcome = exec.drive(Instant::ZERO, rally((&mut client, &mut server), 100, |_| ()));
    assert_eq!(outcome, Some(Ok(())));
    assert!(client.traffic().sent_records() <= 3 && server.traffic().sent_records() <= 6);
    // A large body, in both directions, under keys that wear out all the time.
    let results =
        both(&exec, exchange(client, pattern(1 << 20, 1), 50_000), exchange(server, pattern(1 << 20, 2), 9_000));
    assert!(results == (Ok(pattern(1 << 20, 2)), Ok(pattern(1 << 20, 1))));
}

#[test]
fn worn_keys_end_a_connection_of_tls_1_2_in_order() {
    let exec = Executor::new(Instant::ZERO);
    let (mut client, mut server) = connected(&exec, MinVersion::OnlyTls12, 1 << 20);
    client.traffic().limit_keys(3);
    let outcome = exec.drive(Instant::ZERO, async {
        let rallied = rally((&mut client, &mut server), 100, |_| ()).await;
        (rallied, read_to_end(&mut server).await, client.read(&mut [0; 8]).await)
    });
    let exhausted = StreamError::Tls(TlsError::Exhausted);
    assert_eq!(outcome, Some((Err(exhausted), Ok(vec![]), Err(exhausted))));
}

#[test]
fn a_peer_may_update_its_keys_and_ask_for_ours() {
    for message in [KEY_UPDATE, KEY_UPDATE_REQUESTED] {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, MinVersion::Tls13, 1 << 20);
        let before = server.traffic().sent_records();
        let outcome = exec.drive(
            Instant::ZERO,
            rally((&mut client, &mut server), 50, |client| client.traffic().update_keys(&message)),
        );
        assert_eq!(outcome, Some(Ok(())));
        let answered = server.traffic().sent_records() < before + 50;
        assert_eq!(answered, message == KEY_UPDATE_REQUESTED);
    }
}

#[test]
fn updates_without_data_are_bounded_and_answered_once() {
    for (count, expected) in [(32, Ok(5)), (33, Err(TlsError::Misbehaved.into()))] {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, MinVersion::Tls13, 1 << 20);
        for _ in 0..count {
            client.traffic().update_keys(&KEY_UPDATE_REQUESTED);
        }
        let outcome = exec.drive(Instant::ZERO, async {
            client.write_all(b"data!").await?;
            client.flush().await?;
            server.read(&mut [0; 8]).await
        });
        assert_eq!(outcome, Some(expected), "{count} updates");
        if count == 32 {
            let queued = server.traffic().pending().len();
            assert!(queued <= 27, "one update answers all: {queued} bytes");
        }
    }
}

#[test]
fn a_side_that_has_closed_reads_on_and_answers_nothing() {
    for (version, say) in [
        (MinVersion::Tls13, None), // A key update that asks for one.
        (MinVersion::OnlyTls12, Some((content::HANDSHAKE, &[1, 0, 0, 3, 3, 3, 3]))),
    ] {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, version, 1 << 20);
        let outcome = exec.drive(Instant::ZERO, async {
            server.shutdown().await?;
            match say {
                None => client.traffic().update_keys(&KEY_UPDATE_REQUESTED),
                Some((kind, message)) => client.traffic().say(kind, message).expect("sealed"),
            }
            client.write_all(b"last").await?;
            client.shutdown().await?;
            let (asked, answered) = (read_to_end(&mut server).await?, read_to_end(&mut client).await?);
            Ok::<_, StreamError>((asked, answered))
        });
        assert_eq!(outcome, Some(Ok((b"last".to_vec(), vec![]))), "{version:?}");
    }
}

#[test]
fn a_message_in_pieces_is_one_message() {
    let exec = Executor::new(Instant::ZERO);
    let (mut client, mut server) = connected(&exec, MinVersion::Tls13, 1 << 20);
    for byte in &KEY_UPDATE[..4] {
        client.traffic().say(content::HANDSHAKE, &[*byte]).expect("sealed");
    }
    client.traffic().update_keys(&KEY_UPDATE[4..]);
    assert_eq!(exec.drive(Instant::ZERO, rally((&mut client, &mut server), 3, |_| ())), Some(Ok(())));
}

#[test]
fn data_after_close_notify_is_ignored() {
    for version in VERSIONS {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, version, 1 << 20);
        let outcome = exec.drive(Instant::ZERO, async {
            client.write_all(b"before").await?;
            client.traffic().say(content::ALERT, &[1, 0]).expect("sealed");
            client.write_all(b"after").await?;
            client.flush().await?;
            read_to_end(&mut server).await
        });
        assert_eq!(outcome, Some(Ok(b"before".to_vec())), "{version:?}");
    }
}

#[test]
fn the_first_records_after_a_rest_are_small() {
    for version in VERSIONS {
        let exec = Executor::new(Instant::ZERO);
        let (mut client, mut server) = connected(&exec, version, 1 << 20);
        for _ in 0..2 {
            let sizes = exec.drive(Instant::ZERO, async {
                server.write_all(&pattern(60_000, 1)).await.expect("room");
                server.flush().await.expect("room");
                let (mut sizes, mut total) = (vec![], 0);
                while total < 60_000 {
                    let shown = poll_fn(|cx| client.poll_fill(cx).map_ok(<[u8]>::len)).await.expect("data");
                    client.consume(shown);
                    sizes.push(shown);
                    total += shown;
                }
                // Both rest, and begin anew.
                poll_fn(|cx| {
                    assert!(server.poll_fill(cx).is_pending() && client.poll_fill(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                sizes
            });
            assert_eq!(sizes, Some(vec![4_096, 4_096, 4_096, 4_096, 16_384, 16_384, 10_848]), "{version:?}");
        }
    }
}

#[test]
fn bytes_may_arrive_in_any_two_pieces_and_one_at_a_time() {
    for version in VERSIONS {
        for first in (1..2_000).step_by(41).chain([1, 2, 3, 4, 5, 6, 7]) {
            let exec = Executor::new(Instant::ZERO);
            let (mut near, mut far) = duplex(1 << 20);
            let sizes: &[usize] = if first == 1 { &[1] } else { &[first, 1 << 20] };
            near.split(sizes, &[]);
            far.split(sizes, &[]);
            let (mut client, mut server) = connected_over(&exec, version, near, far);
            let outcome = exec.drive(Instant::ZERO, rally((&mut client, &mut server), 3, |_| ()));
            assert_eq!(outcome, Some(Ok(())), "{version:?}, pieces of {first}");
        }
    }
}
