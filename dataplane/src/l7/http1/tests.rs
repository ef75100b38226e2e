//! The framing as a whole: odd requests, splits, and the coding's round trip.

use proptest::prelude::*;

use super::chunked::{self, Decoder};
use super::encode::{self, Outgoing, Returning};
use super::forwarded::{ForwardedFields, Peer};
use super::*;
use crate::l7::reason::Reason;

fn parse(bytes: &[u8]) -> Result<RequestHead, Reason> {
    let mut head = RequestHead::default();
    let len = Scanner::default().scan(bytes)?.expect("a whole head");
    head.parse(bytes, len, &Limits::default()).map(|()| head)
}

fn refused(bytes: &[u8]) -> &'static str {
    parse(bytes).map_or_else(Reason::word, |_| "accepted")
}

fn with(line: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n").into_bytes()
}

fn sent_on(bytes: &[u8], trusted: bool, fields: ForwardedFields) -> String {
    let request = parse(bytes).expect("acceptable");
    let peer = Peer::new("192.0.2.7".parse().expect("address"), false, trusted);
    let hop =
        Outgoing { peer: &peer, forwarded: fields, request_id: b"r1", default_host: b"10.0.0.1:80", upgrade: true };
    let mut out = Vec::new();
    encode::request(bytes, &request, &hop, &mut out);
    String::from_utf8(out).expect("text")
}

const BARE: ForwardedFields = ForwardedFields { x_forwarded: false, forwarded: false, via: false, request_id: false };

#[test]
fn framing_fields() {
    for (line, outcome) in [
        ("Content-Length: 5", "accepted"),
        ("Content-Length: 05", "accepted"),
        ("Content-Length: +5", "invalid_content_length"),
        ("Content-Length: -5", "invalid_content_length"),
        ("Content-Length: 5, 5", "invalid_content_length"),
        ("Content-Length: 5\r\nContent-Length: 5", "invalid_content_length"),
        ("Content-Length: 5\r\nContent-Length: 6", "invalid_content_length"),
        ("Content-Length:", "invalid_content_length"),
        ("Content-Length: 0x5", "invalid_content_length"),
        ("Content-Length: 5 5", "invalid_content_length"),
        ("Content-Length: 18446744073709551621", "invalid_content_length"),
        ("Content-Length: 5\r\n 6", "malformed_head"),
        ("Transfer-Encoding: chunked", "accepted"),
        ("Transfer-Encoding: \tChunked ", "accepted"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "conflicting_framing"),
        ("Transfer-Encoding: identity", "unsupported_transfer_encoding"),
        ("Transfer-Encoding: gzip, chunked", "unsupported_transfer_encoding"),
        ("Transfer-Encoding: chunked, gzip", "invalid_transfer_encoding"),
        ("Transfer-Encoding: chunked, chunked", "invalid_transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "invalid_transfer_encoding"),
        ("Transfer-Encoding: ", "invalid_transfer_encoding"),
        ("Transfer-Encoding: xchunked", "unsupported_transfer_encoding"),
        ("Transfer-Encoding : chunked", "malformed_head"),
        ("Transfer-Encoding: chunked\0", "malformed_head"),
        ("Transfer-Encoding: \x0bchunked", "malformed_head"),
        ("Transfer Encoding: chunked", "malformed_head"),
        (" X: folded", "malformed_head"),
        ("X: a\r\n b", "malformed_head"),
        ("X: a\x7fb", "malformed_head"),
        ("X: a\rb", "bare_line_ending"),
        ("X: a\nb: c", "bare_line_ending"),
        ("nocolon", "malformed_head"),
        (": x", "malformed_head"),
        ("Expect: 200-ok", "expectation_failed"),
        ("Host: b", "duplicate_host"),
    ] {
        let outcome_seen =
            Scanner::default().scan(&with(line)).err().map_or_else(|| refused(&with(line)), Reason::word);
        assert_eq!(outcome_seen, outcome, "{line:?}");
    }
}

#[test]
fn request_lines() {
    for (line, outcome) in [
        ("GET / HTTP/1.1", "accepted"),
        ("get / HTTP/1.1", "accepted"),
        ("G@T / HTTP/1.1", "malformed_head"),
        ("GET  /  HTTP/1.1", "malformed_head"),
        ("GET\t/\tHTTP/1.1", "malformed_head"),
        ("GET /", "malformed_head"),
        ("GET / HTTP/2.0", "unsupported_version"),
        ("PRI * HTTP/2.0", "unsupported_version"),
        ("GET / HTTP/1.2", "unsupported_version"),
        ("GET / HTTP/1.10", "malformed_head"),
        ("GET / http/1.1", "malformed_head"),
        ("GET / HTTP/1.1 ", "malformed_head"),
        ("GET /a b HTTP/1.1", "malformed_head"),
        ("GET /a\0b HTTP/1.1", "malformed_head"),
        ("GET /a#b HTTP/1.1", "invalid_target"),
        ("GET http://b/ HTTP/1.1", "accepted"),
        ("GET http://a@b/ HTTP/1.1", "invalid_host"),
        ("GET a HTTP/1.1", "invalid_target"),
        ("GET * HTTP/1.1", "invalid_target"),
        ("OPTIONS * HTTP/1.1", "accepted"),
        ("GET /../../x HTTP/1.1", "dot_segment"),
        ("CONNECT b:80 HTTP/1.1", "connect_refused"),
        ("TRACE / HTTP/1.1", "trace_refused"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1", "malformed_head"),
    ] {
        assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), outcome, "{line:?}");
    }
    assert_eq!(refused(b"GET / HTTP/1.1\r\n\r\n"), "missing_host");
    assert_eq!(refused(b"GET / HTTP/1.1\r\nHost:\r\n\r\n"), "invalid_host");
    assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), "invalid_host");
    assert_eq!(refused(b"GET / HTTP/1.0\r\n\r\n"), "accepted");
    assert_eq!(refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "invalid_transfer_encoding");
    assert_eq!(refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "malformed_head");
}

#[test]
fn limits_are_named() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    assert_eq!(refused(long.as_bytes()), "target_too_long");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(refused(many.as_bytes()), "too_many_fields");
}

#[test]
fn hop_by_hop_fields_stay_here() {
    let sent = b"POST http://b:81/p?q HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret, content-length, Authorization\r\nX-Secret: 1\r\n\
        Authorization: y\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy: evil\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\
        Transfer_Encoding: chunked\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-User: root\r\nForwarded: for=x\r\nX-Real-IP: 1.1.1.1\r\n\
        X-Request-Id: mine\r\nExpect: 100-continue\r\nTrailer: X-T\r\nContent-Length: 5\r\nX-Keep: \xc3\xa9\r\n\r\n";
    assert_eq!(
        sent_on(sent, false, BARE),
        "POST /p?q HTTP/1.1\r\nHost: b:81\r\nAuthorization: y\r\nX-Keep: \u{e9}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\
         Connection: te\r\nTE: trailers\r\n\r\n"
    );
}

#[test]
fn claims_are_overwritten_or_extended() {
    let sent =
        b"GET / HTTP/1.0\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
        Forwarded: for=1.1.1.1\r\nX-Request-Id: mine\r\nX-Real-IP: 9.9.9.9\r\n\r\n";
    let all = ForwardedFields { via: true, ..ForwardedFields::default() };
    assert_eq!(
        sent_on(sent, false, all),
        "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: 10.0.0.1:80\r\n\
         Forwarded: for=192.0.2.7;host=\"10.0.0.1:80\";proto=http\r\nX-Request-Id: r1\r\nVia: 1.0 tidegate\r\n\r\n"
    );
    assert_eq!(
        sent_on(sent, true, all),
        "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: 10.0.0.1:80\r\n\
         Forwarded: for=1.1.1.1, for=192.0.2.7;host=\"10.0.0.1:80\";proto=http\r\nX-Request-Id: r1\r\nVia: 1.0 tidegate\r\n\r\n"
    );
}

#[test]
fn addresses_of_version_6_are_quoted() {
    let sent = b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n";
    let request = parse(sent).expect("acceptable");
    let peer = Peer::new("2001:db8::7".parse().expect("address"), true, false);
    let mut out = Vec::new();
    forwarded::encode(sent, &request, ForwardedFields::default(), &peer, b"[::1]:80", &mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("Forwarded: for=\"[2001:db8::7]\";host=\"[::1]:80\";proto=https\r\n"), "{text}");
    assert!(text.contains("X-Forwarded-For: 2001:db8::7\r\n"), "{text}");
}

#[test]
fn request_ids_of_strangers_are_replaced() {
    let sent = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n";
    let request = parse(sent).expect("acceptable");
    assert_eq!(&forwarded::request_id(sent, &request, true, 1)[..], b"mine");
    assert_eq!(&forwarded::request_id(sent, &request, false, 0xabc)[..], b"00000000000000000000000000000abc");
}

fn response(bytes: &[u8], method: Method) -> Result<ResponseHead, Reason> {
    let mut head = ResponseHead::default();
    let len = Scanner::default().scan(bytes)?.expect("a whole head");
    head.parse(bytes, len, &method, &Limits::default()).map(|()| head)
}

#[test]
fn response_framing_follows_the_request() {
    for (line, method, body) in [
        ("200 OK\r\nContent-Length: 5", Method::Get, Some(Body::Length(5))),
        ("200 OK\r\nContent-Length: 5", Method::Head, Some(Body::None)),
        ("200 OK\r\nTransfer-Encoding: chunked", Method::Get, Some(Body::Chunked)),
        ("200 OK\r\nX: y", Method::Get, Some(Body::UntilClose)),
        ("204 No\r\nContent-Length: 5", Method::Get, Some(Body::None)),
        ("304 No\r\nContent-Length: 5", Method::Get, Some(Body::None)),
        ("100 Go\r\nX: y", Method::Get, Some(Body::None)),
        ("200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Method::Get, Some(Body::Length(5))),
        ("200 OK\r\nContent-Length: 5\r\nContent-Length: 6", Method::Get, None),
        ("200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", Method::Get, None),
        ("200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", Method::Head, None),
        ("200 OK\r\nTransfer-Encoding: gzip, chunked", Method::Get, None),
        ("200 OK\r\nX : y", Method::Get, None),
        ("099 OK\r\nX: y", Method::Get, None),
    ] {
        let bytes = format!("HTTP/1.1 {line}\r\n\r\n");
        assert_eq!(response(bytes.as_bytes(), method).map(|head| head.body).ok(), body, "{line:?}");
    }
    assert!(response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get).is_err());
    assert!(response(b"HTTP/2.0 200 OK\r\n\r\n", Method::Get).is_err());
}

#[test]
fn responses_are_rewritten_for_the_client() {
    let sent = b"HTTP/1.0 200 Fine\r\nServer: s\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\nTransfer_Encoding: x\r\nTrailer: T\r\n\r\n";
    let head = response(sent, Method::Get).expect("acceptable");
    let hop = Returning { body: Body::Chunked, version: Version::Http11, keep_alive: true, date: b"now", via: true };
    let mut out = Vec::new();
    encode::response(sent, &head, &hop, &mut out);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "HTTP/1.1 200 Fine\r\nServer: s\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\nDate: now\r\nVia: 1.0 tidegate\r\n\r\n"
    );
}

/// Decodes `input` in pieces; the data, the bytes after the body, and the re-encoded end.
fn decode(input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize, Vec<u8>), Reason> {
    let mut decoder = Decoder::default();
    decoder.restart(8192);
    let (mut data, mut from) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([input.len()]) {
        let end = end.clamp(from, input.len());
        while from < end {
            let step = decoder.decode(&input[from..end], 7)?;
            data.extend_from_slice(&input[from + step.consumed - step.data..from + step.consumed]);
            from += step.consumed;
            if step.done {
                let mut tail = Vec::new();
                decoder.encode_end(&mut tail);
                return Ok((data, from, tail));
            }
        }
    }
    Err(Reason::Ok)
}

#[test]
fn chunk_grammar() {
    let verdict = |bytes: &[u8]| decode(bytes, &[]).map_or_else(Reason::word, |_| "accepted");
    for size in ["5", "05", "0005", "5;a", "5;a=b", "5;a=\"b;\\\"\"", "5 ;a", "5;a=b;c", "5; a = b"] {
        assert_eq!(verdict(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes()), "accepted", "{size:?}");
    }
    for size in [
        "0x5",
        "+5",
        "-5",
        "5 ",
        " 5",
        "5\t",
        "5;",
        "5;\0",
        "5;\n",
        "5\n",
        "5\r",
        "5\r\r",
        "FFFFFFFFFFFFFFFF5",
        "10000000000000005",
        "5_",
        "5g",
        "",
        "5,",
        "5;a b",
        "5;a=\"\r\n\"",
        "5;a=\"b",
    ] {
        assert_eq!(verdict(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes()), "malformed_chunk", "{size:?}");
    }
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
    ] {
        assert_eq!(verdict(body.as_bytes()), "malformed_chunk", "{body:?}");
    }
    for trailer in [
        "bad trailer\r\n\r\n",
        "X: y\n\r\n",
        "GET /smug HTTP/1.1\r\nHost: a\r\n\r\n",
        "\n",
        "X : y\r\n\r\n",
        "X: a\r\n b\r\n\r\n",
        "X: a\rb\r\n\r\n",
    ] {
        assert_eq!(verdict(format!("0\r\n{trailer}").as_bytes()), "malformed_trailer", "{trailer:?}");
    }
    assert_eq!(verdict(format!("0\r\nX: {}\r\n\r\n", "y".repeat(9000)).as_bytes()), "trailer_too_large");
    assert_eq!(verdict(format!("5;{}\r\nhello\r\n0\r\n\r\n", "y".repeat(9000)).as_bytes()), "trailer_too_large");
}

#[test]
fn forbidden_trailers_are_not_sent_on() {
    let (data, used, tail) =
        decode(b"000\r\nX-T:  1 \r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nhost: b\r\n\r\nGET", &[])
            .expect("valid");
    assert_eq!((data.len(), used), (0, 73));
    assert_eq!(tail, b"0\r\nX-T: 1\r\n\r\n");
}

proptest! {
    #[test]
    fn chunked_round_trip(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8), cuts in proptest::collection::vec(0usize..2000, 0..10)) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            chunked::encode_chunk(chunk, &mut wire);
        }
        wire.extend_from_slice(b"0\r\nX: y\r\n\r\n");
        let end = wire.len();
        wire.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (data, used, tail) = decode(&wire, &cuts).expect("valid");
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(used, end);
        prop_assert_eq!(tail, b"0\r\nX: y\r\n\r\n".to_vec());
    }

    #[test]
    fn garbage_is_framed_the_same_however_it_is_cut(body in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'5'), Just(b';'), Just(b'a'), Just(b':'), Just(b'"'), any::<u8>()], 0..60), cuts in proptest::collection::vec(0usize..60, 0..6)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        prop_assert_eq!(decode(&body, &cuts), decode(&body, &[]));
    }

    #[test]
    fn heads_are_found_the_same_however_they_are_cut(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b' '), any::<u8>()], 0..60), cuts in proptest::collection::vec(0usize..60, 0..6)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut scanner = Scanner::default();
        let mut seen = Ok(None);
        for end in cuts.into_iter().chain([60]) {
            seen = scanner.scan(&bytes[..end.min(bytes.len())]);
            if seen != Ok(None) {
                break;
            }
        }
        // An error further on may be found by the uncut scan too, but never a different head.
        prop_assert_eq!(seen, Scanner::default().scan(&bytes));
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut framed = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        framed.extend_from_slice(&bytes);
        framed.extend_from_slice(b"\r\n\r\n");
        if let Ok(Some(len)) = Scanner::default().scan(&framed) {
            let _ = RequestHead::default().parse(&framed, len, &Limits::default());
        }
    }
}
