//! What reaches an upstream, and what is refused before it could.

use super::transcript::{World, bytes_of, play, play_with, spec};

#[test]
fn a_request_and_its_response_and_the_next_on_the_same_connections() {
    let mut world = play(
        "> GET /p?q HTTP/1.1|Host: a|Accept: x||
        open
        >> GET /p?q HTTP/1.1|Host: a|Accept: x||
        << HTTP/1.1 200 OK|Content-Length: 5|Server: s||hello
        < HTTP/1.1 200 OK|Server: s|Content-Length: 5||hello
        > GET /2 HTTP/1.1|Host: a||
        >> GET /2 HTTP/1.1|Host: a||
        << HTTP/1.1 404 Nope|Content-Length: 0||
        < HTTP/1.1 404 Nope|Content-Length: 0||
        end c
        eof c",
    );
    assert_eq!((world.opened(), world.logged(), world.logged()), (1, "200 ok".into(), "404 ok".into()));
    assert_eq!(world.proxy.stats.pool_hits.value(), 1);
    assert_eq!(world.proxy.stats.open_connections.value(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    play(
        "> GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||
        open
        >> GET /1 HTTP/1.1|Host: a||
        quiet u
        << HTTP/1.1 200 A|Content-Length: 1||1
        < HTTP/1.1 200 A|Content-Length: 1||1
        >> GET /2 HTTP/1.1|Host: a||
        << HTTP/1.1 200 B|Content-Length: 1||2
        < HTTP/1.1 200 B|Content-Length: 1||2",
    );
}

#[test]
fn chunked_both_ways_with_trailers() {
    play(
        "> POST / HTTP/1.1|Host: a|Transfer-Encoding: Chunked|Trailer: X-T||3;ext=1|abc|
        open
        >> POST / HTTP/1.1|Host: a|Trailer: X-T|Transfer-Encoding: chunked||3|abc|
        > 0002|de|00|X-T: 1|Content-Length: 7||
        >> 2|de|0|X-T: 1||
        << HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|
        < HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|
        << 0|X-R: 2|Set-Cookie: x||
        < 0|X-R: 2||
        > GET / HTTP/1.1|Host: a||
        >> GET / HTTP/1.1|Host: a||",
    );
}

#[test]
fn version_1_0_clients_get_what_they_understand() {
    play(
        "> GET / HTTP/1.0|Expect: 100-continue||
        open
        >> GET / HTTP/1.1|Host: 10.0.1.1:80||
        << HTTP/1.1 103 Hints|Link: x||HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|
        < HTTP/1.1 200 OK|Connection: close||hi
        << 0||
        eof c",
    );
    play(
        "> GET / HTTP/1.0|Connection: keep-alive||
        open
        >> GET / HTTP/1.1|Host: 10.0.1.1:80||
        << HTTP/1.1 200 OK|Content-Length: 2||hi
        < HTTP/1.1 200 OK|Content-Length: 2|Connection: keep-alive||hi
        > GET / HTTP/1.0||
        >> GET / HTTP/1.1|Host: 10.0.1.1:80||",
    );
}

#[test]
fn a_response_without_length_becomes_chunked() {
    play(
        "> GET / HTTP/1.1|Host: a||
        open
        >> GET / HTTP/1.1|Host: a||
        << HTTP/1.0 200 OK||hello
        < HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello|
        end u
        < 0||
        > GET /2 HTTP/1.1|Host: a||
        open
        >> GET /2 HTTP/1.1|Host: a||",
    );
}

#[test]
fn head_and_bodiless_statuses() {
    play(
        "> HEAD / HTTP/1.1|Host: a||
        open
        >> HEAD / HTTP/1.1|Host: a||
        << HTTP/1.1 200 OK|Content-Length: 999||
        < HTTP/1.1 200 OK|Content-Length: 999||
        > GET / HTTP/1.1|Host: a||
        >> GET / HTTP/1.1|Host: a||
        << HTTP/1.1 204 No|Content-Length: 3||
        < HTTP/1.1 204 No||
        > GET / HTTP/1.1|Host: a||
        >> GET / HTTP/1.1|Host: a||
        << HTTP/1.1 304 Same|Content-Length: 7|ETag: x||
        < HTTP/1.1 304 Same|ETag: x|Content-Length: 7||
        > HEAD /none HTTP/1.1|Host: b||
        < HTTP/1.1 404 Not Found|Content-Type: text/plain; charset=utf-8|Content-Length: 20|Proxy-Status: tidegate; error=destination_not_found; details=\"route_not_found\"||
        quiet c",
    );
}

/// Bytes, and the reason they must be refused for without a connection to any upstream.
const REFUSED: &[(&str, &str)] = &[
    ("GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 4||0||", "400 conflicting_framing"),
    ("POST / HTTP/1.1|Host: a|Transfer-Encoding: identity, chunked||0||", "501 unsupported_transfer_encoding"),
    ("POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||0||", "400 invalid_transfer_encoding"),
    ("POST / HTTP/1.1|Host: a|Content-Length: 5|Content-Length: 5||hello", "400 invalid_content_length"),
    ("GET / HTTP/1.1|Host: a|X: a| b||", "400 malformed_head"),
    ("GET / HTTP/1.1|Host : a||", "400 malformed_head"),
    ("GET / HTTP/1.1||", "400 missing_host"),
    ("GET / HTTP/1.1|Host: a|Host: a||", "400 duplicate_host"),
    ("GET / HTTP/1.1|Host: a b||", "400 invalid_host"),
    ("GET / HTTP/1.1\nHost: a\n\n", "400 bare_line_ending"),
    ("GET /..%2f../%2e%2e/ HTTP/1.1|Host: a||", "400 dot_segment"),
    ("GET / HTTP/2.0|Host: a||", "505 unsupported_version"),
    ("CONNECT a:80 HTTP/1.1|Host: a:80||", "501 connect_refused"),
    ("TRACE / HTTP/1.1|Host: a||", "405 trace_refused"),
    ("POST / HTTP/1.1|Host: a|Expect: x|Content-Length: 1||y", "417 expectation_failed"),
    ("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5\nhello|0||", "400 malformed_chunk"),
    ("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|helloXX0||", "400 malformed_chunk"),
    ("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|GET /smug HTTP/1.1|Host: a||", "400 malformed_trailer"),
    ("POST / HTTP/1.1|Host: a|Content-Length: 100000001||", "413 body_too_large"),
    ("\u{16}\u{3}\u{1}", "400 malformed_head"),
    ("GET / HTTP/1.1|Host: zzz||", "404 route_not_found"),
];

#[test]
fn nothing_ambiguous_reaches_an_upstream() {
    for (bytes, logged) in REFUSED {
        let mut world = World::new(&spec());
        world.send("c", bytes_of(bytes).as_bytes());
        let answer = world.client_received();
        let (status, word) = logged.split_once(' ').expect("two words");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {answer:?}");
        assert!(answer.ends_with(&format!("{status} {word}\n")), "{bytes:?}: {answer:?}");
        assert_eq!(&world.logged(), logged, "{bytes:?}");
        assert_eq!(world.opened(), 0, "{bytes:?}");
        if word != "route_not_found" {
            assert!(answer.contains("\r\nConnection: close\r\n"), "{bytes:?}");
            world.play("eof c");
        }
    }
}

#[test]
fn oversized_heads_are_told_apart() {
    let mut world = World::new(&spec());
    world.send("c", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8 << 10)).as_bytes());
    assert_eq!(world.logged(), "414 target_too_long");
    world.connect_client();
    world.send("c", format!("GET /{}", "x".repeat(40 << 10)).as_bytes());
    assert_eq!(world.logged(), "414 target_too_long");
    world.connect_client();
    world.send("c", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(40 << 10)).as_bytes());
    assert_eq!(world.logged(), "431 head_too_large");
    world.connect_client();
    world.send("c", format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101)).as_bytes());
    assert_eq!(world.logged(), "431 too_many_fields");
}

#[test]
fn malformed_chunks_after_the_head_was_forwarded_cut_the_upstream() {
    let mut world = play(
        "> POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|
        open
        >> POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|
        > zz|
        gone u
        < HTTP/1.1 400 Bad Request|Content-Type: text/plain; charset=utf-8|Content-Length: 20|Proxy-Status: tidegate; error=http_request_error; details=\"malformed_chunk\"|Connection: close||400 malformed_chunk~
        eof c",
    );
    assert_eq!(world.logged(), "400 malformed_chunk");
}

#[test]
fn a_chunked_body_over_the_limit_is_cut() {
    let mut small = spec();
    small.listeners[0].limits.body_bytes = 4;
    let mut world = play_with(&small, "> POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|0||");
    assert_eq!((world.logged(), world.opened()), ("413 body_too_large".into(), 0));
}

#[test]
fn options_may_stop_here() {
    play(
        "> OPTIONS * HTTP/1.1|Host: a|Max-Forwards: 0||
        < HTTP/1.1 204 No Content|Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS||
        > OPTIONS * HTTP/1.1|Host: a|Max-Forwards: 3||
        open
        >> OPTIONS * HTTP/1.1|Host: a|Max-Forwards: 2||",
    );
}

#[test]
fn ambiguous_responses_are_not_passed_on() {
    for response in [
        "HTTP/1.1 200 OK|Content-Length: 5|Transfer-Encoding: chunked||",
        "HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 6||",
        "HTTP/1.1 200 OK|X : y||",
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 200 OK|Transfer-Encoding: gzip||",
        "SSH-2.0-OpenSSH|",
        "HTTP/1.1 101 Switch|Upgrade: websocket|Connection: upgrade||",
    ] {
        let mut world = play("> GET / HTTP/1.1|Host: a||\nopen");
        world.send("u", bytes_of(response).as_bytes());
        world.play("wait 100000");
        let answer = world.client_received();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{response:?}: {answer:?}");
    }
}

#[test]
fn expect_is_forwarded_end_to_end() {
    play(
        "> POST / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 3||
        open
        >> POST / HTTP/1.1|Host: a|Content-Length: 3|Expect: 100-continue||
        << HTTP/1.1 100 Continue||
        < HTTP/1.1 100 Continue||
        > abc
        >> abc
        << HTTP/1.1 200 OK|Content-Length: 0||
        < HTTP/1.1 200 OK|Content-Length: 0||
        > GET / HTTP/1.1|Host: a||
        >> GET / HTTP/1.1|Host: a||",
    );
    // A client that does not wait, and an upstream that refuses.
    play(
        "> POST / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 3||abc
        open
        >> POST / HTTP/1.1|Host: a|Content-Length: 3|Expect: 100-continue||abc
        << HTTP/1.1 200 OK|Content-Length: 0||
        < HTTP/1.1 200 OK|Content-Length: 0||
        > POST / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 3||
        << HTTP/1.1 417 No|Content-Length: 0||
        < HTTP/1.1 417 No|Content-Length: 0|Connection: close||
        eof c",
    );
}

#[test]
fn a_response_before_the_end_of_the_request() {
    play(
        "> POST / HTTP/1.1|Host: a|Content-Length: 10||hello
        open
        >> POST / HTTP/1.1|Host: a|Content-Length: 10||hello
        << HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ec|
        < HTTP/1.1 200 OK|Transfer-Encoding: chunked|Connection: close||2|ec|
        > world
        >> world
        << 2|ho|0||
        < 2|ho|0||
        eof c",
    );
}

#[test]
fn a_client_that_half_closes_is_served() {
    play(
        "> GET / HTTP/1.1|Host: a||
        end c
        open
        >> GET / HTTP/1.1|Host: a||
        wait 1000
        << HTTP/1.1 200 OK|Content-Length: 2||hi
        < HTTP/1.1 200 OK|Content-Length: 2||hi
        eof c",
    );
}
