//! How long anybody may keep anybody waiting.

use core::time::Duration;

use super::transcript::{World, play, play_with, spec};

#[test]
fn a_head_that_trickles_is_cut_at_the_configured_time() {
    let mut world = World::new(&spec());
    world.send("c", b"GET / HTTP/1.1\r\nHost: a\r\n");
    for _ in 0..9 {
        world.wait(Duration::from_secs(1));
        world.send("c", b"X: y\r\n");
    }
    world.play("quiet c");
    world.wait(Duration::from_secs(2));
    assert!(world.client_received().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(world.logged(), "408 header_timeout");
    world.play("eof c");
}

#[test]
fn silent_connections_are_closed_without_a_word() {
    let mut world = play("wait 9900\n quiet c\n wait 200\n eof c");
    assert!(world.access.pop_with(|_| ()).is_none());
    play(
        "> GET / HTTP/1.1|Host: a||
        open
        << HTTP/1.1 200 OK|Content-Length: 0||
        < HTTP/1.1 200 OK|Content-Length: 0||
        wait 59900
        quiet c
        wait 200
        eof c",
    );
}

#[test]
fn content_that_trickles_is_cut() {
    let mut world = play("> POST / HTTP/1.1|Host: a|Content-Length: 100000||\nopen");
    let mut seconds = 0;
    while world.access.is_empty() {
        world.wait(Duration::from_secs(5));
        seconds += 5;
        world.send("c", b"x");
        assert!(seconds < 120);
    }
    assert!(seconds >= 60, "{seconds}");
    assert_eq!(world.logged(), "408 body_timeout");
}

#[test]
fn a_reader_that_trickles_is_cut() {
    let mut world = play(
        "> GET / HTTP/1.1|Host: a||\nopen\n>> GET / HTTP/1.1|Host: a||\n<< HTTP/1.1 200 OK|Content-Length: 100000||",
    );
    world.client.split(&[1], &[]);
    world.send("u", &[b'x'; 4000]);
    world.send("u", &[b'x'; 4000]);
    let mut seconds = 0;
    while world.access.is_empty() {
        world.wait(Duration::from_secs(5));
        seconds += 5;
        if world.access.is_empty() {
            world.play("take 1");
        }
        assert!(seconds < 120);
    }
    assert!(seconds >= 60, "{seconds}");
    assert_eq!(world.logged(), "200 client_stalled");
}

#[test]
fn an_upstream_that_says_nothing() {
    let mut world = play("> GET / HTTP/1.1|Host: a||\n open\n wait 59900\n quiet c\n wait 200");
    assert_eq!(world.logged(), "504 upstream_timeout");
    world.play("gone u");
    // It is not the client's fault that it waits to be invited.
    let mut world = play("> POST / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 5||\n open\n wait 61000");
    assert_eq!(world.logged(), "504 upstream_timeout");
}

#[test]
fn the_whole_exchange_may_be_bounded() {
    let mut bounded = spec();
    bounded.routes[0].request_timeout = Some(Duration::from_secs(5));
    let mut world = play_with(&bounded, "> GET / HTTP/1.1|Host: a||\n open\n wait 4900\n quiet c\n wait 200");
    assert_eq!(world.logged(), "504 request_timeout");
    // Once the response has begun there is nothing left to say.
    let mut world = play_with(
        &bounded,
        "> GET / HTTP/1.1|Host: a||\n open\n wait 4000\n << HTTP/1.1 200 OK|Content-Length: 5||he\n
        < HTTP/1.1 200 OK|Content-Length: 5||he\n wait 1100\n gone c",
    );
    assert_eq!(world.logged(), "200 request_timeout");
}

#[test]
fn idle_upstream_connections_expire() {
    let world = play(
        "> GET / HTTP/1.1|Host: a||
        open
        >> GET / HTTP/1.1|Host: a||
        << HTTP/1.1 200 OK|Content-Length: 0||
        wait 29000
        quiet u
        wait 3000
        eof u",
    );
    assert_eq!(world.proxy.pooled(), 0);
}

#[test]
fn what_is_left_unread_is_discarded_for_a_while() {
    let mut world = World::new(&spec());
    world.send("c", b"POST / HTTP/1.1\r\nHost: zzz\r\nContent-Length: 100000\r\n\r\n");
    assert!(world.client_received().starts_with("HTTP/1.1 404 "));
    for _ in 0..20 {
        world.send("c", &[b'x'; 2000]);
    }
    world.play("eof c");
    assert_eq!(world.proxy.stats.open_connections.value(), 1);
    world.wait(Duration::from_millis(2100));
    assert_eq!(world.proxy.stats.open_connections.value(), 0);
}
