//! Targets that read text and messages: no frame, no time.

use std::{path::Path, time::SystemTime};

use tidegate_ctrl::{
    config::{self, Surroundings},
    diagnostic::{Source, Style},
    kernel::{Filter, monitor},
};
use tidegate_dataplane::l7::{
    http1::{
        Limits, RequestHead, Scanner,
        chunked::Decoder,
        encode::{self, Outgoing},
        forwarded::{ForwardedFields, Peer},
        head::MAX_FIELDS,
    },
    reason::Reason,
};

use crate::pieces;

/// The head of a request: found at the same place however it is split, and what is sent on means the same to whoever reads it.
pub fn heads(data: &[u8]) {
    let whole = Scanner::default().scan(data);
    let mut scanner = Scanner::default();
    let mut found = Ok(None);
    for end in 1..=data.len() {
        found = scanner.scan(&data[..end]);
        if found != Ok(None) {
            break;
        }
    }
    assert_eq!(whole, found, "whole, and byte by byte");
    let Ok(Some(len)) = whole else { return };
    let Ok(request) = parse(data, len, Limits::default().fields) else { return };
    let peer = Peer::new([192, 0, 2, 7].into(), false, false);
    let forwarded = ForwardedFields { x_forwarded: true, forwarded: true, via: true, request_id: true };
    let upgrade = request.upgrade.is_some();
    let hop = Outgoing { peer: &peer, forwarded, request_id: b"r1", default_host: b"10.0.0.1:80", upgrade };
    let mut sent = Vec::new();
    encode::request(data, &request, &hop, &mut sent);
    let wide = Scanner::default().scan(&sent).expect("what is sent is a head").expect("a whole one");
    let again =
        parse(&sent, wide, MAX_FIELDS).unwrap_or_else(|reason| panic!("sent on and refused: {}", reason.word()));
    assert_eq!(again.body, request.body, "framed alike");
}

/// Roomier than a head may be, and in as many fields: what is added on the way does not count.
fn parse(bytes: &[u8], len: usize, fields: usize) -> Result<RequestHead, Reason> {
    let limits = Limits { head_bytes: 1 << 20, fields, ..Limits::default() };
    let mut head = RequestHead::default();
    head.parse(bytes, len, &limits).map(|()| head)
}

/// A chunked body: the same content, end and error whole or byte by byte.
pub fn chunked(data: &[u8]) {
    let read = |step: usize| {
        let (mut decoder, mut content, mut at) = (Decoder::default(), Vec::new(), 0);
        loop {
            let input = &data[at..data.len().min(at + step)];
            match decoder.decode(input, 7) {
                Err(reason) => return (content, Err(reason.word())),
                Ok(step) => {
                    assert!(step.consumed <= input.len() && step.data <= step.consumed);
                    content.extend_from_slice(&input[step.consumed - step.data..step.consumed]);
                    at += step.consumed;
                    if step.done || step.consumed == 0 {
                        return (content, Ok((step.done, at)));
                    }
                }
            }
        }
    };
    let whole = read(usize::MAX - data.len());
    assert_eq!(whole, read(1));
    assert_eq!(whole, read(5));
}

/// What the kernel might say about routes, links and addresses.
pub fn netlink(data: &[u8]) {
    let filter = Filter::main(&[254, 0]);
    let changes = monitor::changes_of(filter, 3, pieces(data, 4).map(|(_, datagram)| datagram));
    assert!(changes.len() <= data.len());
}

/// A configuration file: every mistake has a place in it, and the report can be shown.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let source = Source::new("fuzz.toml", text);
    let surroundings =
        Surroundings { directory: Path::new("/etc/tidegate"), files: None, now: SystemTime::UNIX_EPOCH, dpdk: true };
    let checked = config::check(source, &surroundings);
    assert_eq!(checked.config.is_none(), checked.report.errors() > 0);
    for diagnostic in &checked.report.diagnostics {
        assert!(diagnostic.span.start <= diagnostic.span.end && diagnostic.span.end <= text.len());
    }
    assert!(checked.report.errors() == 0 || !checked.report.text(Style::Plain).is_empty());
}
