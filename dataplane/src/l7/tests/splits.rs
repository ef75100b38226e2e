//! However the network cuts the bytes, the outcome is the same.

use core::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::origin::{Understood, serve};
use super::transcript::{World, spec};
use crate::l7::exec::yield_now;
use crate::l7::stream::ByteStream;

/// Sends `wire` through the proxy to origins, reading and writing in pieces as told; returns what the client received and the
/// origins understood.
fn run(wire: &[u8], read: &[usize], write: &[usize]) -> (String, Vec<(String, Vec<u8>)>) {
    let mut world = World::new(&spec());
    world.split(read, write);
    let understood: Understood = Rc::default();
    let received = Rc::new(RefCell::new(Vec::new()));
    let client = std::mem::replace(&mut world.client, crate::l7::stream::duplex(1).0);
    // A real client reads while it writes; one half of the work is done by each of two tasks.
    let client = Rc::new(RefCell::new(client));
    let (writer, wire) = (Rc::clone(&client), wire.to_vec());
    world.executor.spawn(async move {
        let mut left = &wire[..];
        while !left.is_empty() {
            let written = core::future::poll_fn(|cx| writer.borrow_mut().poll_write(cx, &[left])).await;
            let Ok(written) = written else { return };
            left = &left[written..];
        }
        let _ = core::future::poll_fn(|cx| writer.borrow_mut().poll_shutdown(cx)).await;
    });
    let sink = Rc::clone(&received);
    world.executor.spawn(async move {
        loop {
            let taken = core::future::poll_fn(|cx| {
                client.borrow_mut().poll_fill(cx).map(|filled| {
                    filled.map_or(0, |bytes| {
                        sink.borrow_mut().extend_from_slice(bytes);
                        bytes.len()
                    })
                })
            })
            .await;
            if taken == 0 {
                return;
            }
            client.borrow_mut().consume(taken);
            yield_now().await;
        }
    });
    for _ in 0..200 {
        world.settle();
        let opened = world.drain_opened();
        if opened.is_empty() {
            break;
        }
        for stream in opened {
            world.executor.spawn(serve(stream, Rc::clone(&understood)));
        }
    }
    let text = String::from_utf8_lossy(&received.borrow()).into_owned();
    let understood = understood.borrow().clone();
    (without_chunk_cuts(&text), understood)
}

/// Chunk boundaries may follow the network; content may not. Sizes and the CRLFs around them are taken out of chunked responses.
fn without_chunk_cuts(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(end) = rest.find("\r\n\r\n") {
        let (head, mut body) = rest.split_at(end + 4);
        out.push_str(head);
        if head.contains("chunked") {
            while let Some((size, after)) = body.split_once("\r\n") {
                let Ok(size) = usize::from_str_radix(size, 16) else { break };
                if size == 0 {
                    body = after;
                    out.push_str("\n<end>");
                    break;
                }
                let Some(data) = after.get(..size) else { break };
                out.push_str(data);
                body = &after[size + 2..];
            }
            let trailer = body.find("HTTP/1.1").unwrap_or(body.len());
            out.push_str(&body[..trailer]);
            rest = &body[trailer..];
        } else {
            let next = body.find("HTTP/1.1").unwrap_or(body.len());
            out.push_str(&body[..next]);
            rest = &body[next..];
        }
    }
    out.push_str(rest);
    out
}

fn request(kind: usize, content: usize) -> Vec<u8> {
    let path = ["/length", "/chunked", "/close"][kind % 3];
    let content = vec![b'a' + (content % 26) as u8; content];
    let mut wire = Vec::new();
    match kind / 3 % 3 {
        0 => wire.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()),
        1 => {
            wire.extend_from_slice(
                format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len()).as_bytes(),
            );
            wire.extend_from_slice(&content);
        }
        _ => {
            wire.extend_from_slice(
                format!("PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes(),
            );
            for chunk in content.chunks(333) {
                crate::l7::http1::chunked::encode_chunk(chunk, &mut wire);
            }
            wire.extend_from_slice(b"0\r\n\r\n");
        }
    }
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn splits_change_nothing(
        requests in proptest::collection::vec((0usize..9, 0usize..20_000), 1..5),
        tail in prop_oneof![
            Just(&b""[..]),
            Just(&b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..]),
            Just(&b"GET /nowhere HTTP/1.1\r\nHost: zzz\r\n\r\n"[..]),
            Just(&b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX"[..]),
            Just(&b"GET / HT"[..]),
        ],
        read in proptest::collection::vec(1usize..600, 0..6),
        write in proptest::collection::vec(1usize..600, 0..6),
    ) {
        let mut wire: Vec<u8> = requests.iter().flat_map(|(kind, content)| request(*kind, *content)).collect();
        wire.extend_from_slice(tail);
        let (whole, understood) = run(&wire, &[], &[]);
        let (split, understood_split) = run(&wire, &read, &write);
        prop_assert_eq!(understood.len(), requests.len());
        prop_assert_eq!(understood, understood_split);
        prop_assert_eq!(whole, split);
    }
}
