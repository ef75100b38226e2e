//! HTTP/1.1: heads in and out, chunks, and which rule a request belongs to.

use core::hint::black_box;

use tidegate_dataplane::l7::{
    http1::{
        chunked::{Decoder, encode_chunk},
        encode::{self, Outgoing, Returning},
        forwarded::{ForwardedFields, Peer},
        framing::Body,
        head::{Limits, Scanner},
        request::{Method, RequestHead, Version},
        response::ResponseHead,
    },
    route::{PathMatch, RouteTable},
};

use super::{Counted, Kernel, Plain, Work};

/// What a browser sends.
const REQUEST: &[u8] = b"GET /shop/items/4711?colour=green&size=xl HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/shop/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=8f3a2c9e5d714b60a1f0c3d2e4b59687; theme=dark\r\n\
    Cache-Control: max-age=0\r\n\r\n";
/// What a server answers.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: origin\r\n\
    Date: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Last-Modified: Fri, 20 Nov 2026 00:00:00 GMT\r\n\
    ETag: \"5f3a-64b1\"\r\n\
    Cache-Control: public, max-age=3600\r\n\
    Vary: Accept-Encoding\r\n\r\n";
/// Messages per call.
const MESSAGES: u32 = 16;
/// Chunks of a body, and their length.
const CHUNKS: u32 = 64;
const CHUNK: usize = 1024;
/// Routing tables, and requests to find in each.
const TABLES: usize = 64;
const REQUESTS: usize = 100;
const FINDS: u32 = (TABLES * REQUESTS) as u32;
/// What is in a table.
const HOSTS: usize = 100;
const WILDCARDS: usize = 10;
const PATHS: usize = 4;

/// Heads, chunks, routes.
pub(super) fn kernels() -> Vec<Kernel> {
    let kernel = |name, unit, per_call, make| Kernel { name, unit, per_call, counted: Counted::Run, make };
    vec![
        kernel("http1/request_parse", "head", MESSAGES, request_parse),
        kernel("http1/response_parse", "head", MESSAGES, response_parse),
        kernel("http1/request_encode", "head", MESSAGES, request_encode),
        kernel("http1/response_encode", "head", MESSAGES, response_encode),
        kernel("http1/chunked_decode", "chunk of 1 KiB", CHUNKS, chunked_decode),
        kernel("http1/chunked_encode", "chunk of 1 KiB", CHUNKS, chunked_encode),
        kernel("route/exact_host", "request", FINDS, || routes(|n| format!("www.host-{}.example.com", n % HOSTS))),
        kernel("route/wildcard_host", "request", FINDS, || {
            routes(|n| format!("a.b.wild-{}.example.org", n % WILDCARDS))
        }),
        kernel("route/any_host", "request", FINDS, || routes(|n| format!("unknown-{n}.example.net"))),
    ]
}

fn request_parse() -> Box<dyn Work> {
    let (limits, mut head) = (Limits::default(), RequestHead::default());
    Box::new(Plain(move || {
        for _ in 0..MESSAGES {
            parse_request(black_box(REQUEST), &mut head, &limits);
        }
    }))
}

fn parse_request(bytes: &[u8], head: &mut RequestHead, limits: &Limits) {
    let len = Scanner::default().scan(bytes).ok().flatten().unwrap_or_default();
    head.parse(bytes, len, limits).unwrap_or_else(|reason| panic!("{reason:?}"));
}

fn response_parse() -> Box<dyn Work> {
    let (limits, mut head) = (Limits::default(), ResponseHead::default());
    Box::new(Plain(move || {
        for _ in 0..MESSAGES {
            parse_response(black_box(RESPONSE), &mut head, &limits);
        }
    }))
}

fn parse_response(bytes: &[u8], head: &mut ResponseHead, limits: &Limits) {
    let len = Scanner::default().scan(bytes).ok().flatten().unwrap_or_default();
    head.parse(bytes, len, &Method::Get, limits).unwrap_or_else(|reason| panic!("{reason:?}"));
}

fn request_encode() -> Box<dyn Work> {
    let mut head = RequestHead::default();
    parse_request(REQUEST, &mut head, &Limits::default());
    let peer = Peer::new([192, 0, 2, 17].into(), true, false);
    let mut out = Vec::with_capacity(4096);
    Box::new(Plain(move || {
        for _ in 0..MESSAGES {
            out.clear();
            let hop = Outgoing {
                peer: &peer,
                forwarded: ForwardedFields { via: true, ..ForwardedFields::default() },
                request_id: b"0123456789abcdef0123456789abcdef",
                default_host: b"10.0.0.1",
                upgrade: false,
            };
            encode::request(black_box(REQUEST), &head, &hop, &mut out);
            black_box(&out);
        }
    }))
}

fn response_encode() -> Box<dyn Work> {
    let mut head = ResponseHead::default();
    parse_response(RESPONSE, &mut head, &Limits::default());
    let mut out = Vec::with_capacity(4096);
    Box::new(Plain(move || {
        for _ in 0..MESSAGES {
            out.clear();
            let hop = Returning {
                body: Body::Length(1024),
                version: Version::Http11,
                keep_alive: true,
                date: b"Sat, 21 Nov 2026 00:00:00 GMT",
                via: true,
            };
            encode::response(black_box(RESPONSE), &head, &hop, &mut out);
            black_box(&out);
        }
    }))
}

fn chunked_decode() -> Box<dyn Work> {
    let mut body = Vec::new();
    (0..CHUNKS).for_each(|_| encode_chunk(&[b'x'; CHUNK], &mut body));
    let mut decoder = Decoder::default();
    Box::new(Plain(move || {
        decoder.restart(8 << 10);
        let (mut at, mut data) = (0, 0);
        while at < body.len() {
            let step = decoder.decode(&body[at..], usize::MAX).unwrap_or_else(|reason| panic!("{reason:?}"));
            at += step.consumed;
            data += step.data;
        }
        assert_eq!(data, CHUNK * CHUNKS as usize);
    }))
}

fn chunked_encode() -> Box<dyn Work> {
    let mut out = Vec::with_capacity((CHUNK + 16) * CHUNKS as usize);
    Box::new(Plain(move || {
        out.clear();
        for _ in 0..CHUNKS {
            encode_chunk(black_box(&[b'x'; CHUNK]), &mut out);
        }
        black_box(&out);
    }))
}

/// Each of some requests in each of some tables: where a key lies in one is chosen by chance in every process.
fn routes(host: fn(usize) -> String) -> Box<dyn Work> {
    let tables: Vec<RouteTable> = (0..TABLES).map(|_| table()).collect();
    let requests: Vec<(String, String)> =
        (0..REQUESTS).map(|n| (host(n), format!("/api/v{}/items/{n}", n % PATHS))).collect();
    Box::new(Plain(move || {
        for table in &tables {
            for (host, path) in &requests {
                let found = table.find(black_box(host.as_bytes()), black_box(path.as_bytes()));
                assert!(black_box(found).is_some());
            }
        }
    }))
}

/// Hosts and wildcards with some paths each, and a few paths for any host.
fn table() -> RouteTable {
    let mut table = RouteTable::default();
    let mut rule = 0;
    let mut insert = |host: &str, path: String| {
        rule += 1;
        let added = table.insert(host, &PathMatch::Prefix(path.into_bytes().into()), rule);
        added.unwrap_or_else(|error| panic!("{error}"));
    };
    for number in 0..HOSTS {
        (0..PATHS).for_each(|version| insert(&format!("www.host-{number}.example.com"), format!("/api/v{version}")));
    }
    for number in 0..WILDCARDS {
        (0..PATHS).for_each(|version| insert(&format!("*.wild-{number}.example.org"), format!("/api/v{version}")));
    }
    insert("", "/".to_owned());
    insert("", "/a/b/c".to_owned());
    table
}
