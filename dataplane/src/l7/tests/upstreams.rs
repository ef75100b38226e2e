//! Endpoints that refuse, die, or lie.

use super::transcript::{World, play, play_with, spec, two};
use crate::l7::table::Table;
use std::rc::Rc;

const GET: &str = "> GET / HTTP/1.1|Host: a||\n";
const GOT: &str = ">> GET / HTTP/1.1|Host: a||\n";
const OK: &str = "<< HTTP/1.1 200 OK|Content-Length: 2||hi\n < HTTP/1.1 200 OK|Content-Length: 2||hi\n";

fn page(status: &str, kind: &str, word: &str, close: &str) -> String {
    let length = 5 + word.len();
    format!(
        "< HTTP/1.1 {status}|Content-Type: text/plain; charset=utf-8|Content-Length: {length}|\
         Proxy-Status: tidegate; error={kind}; details=\"{word}\"|{close}|{} {word}~",
        &status[..3]
    )
}

#[test]
fn a_refused_connection_is_tried_elsewhere_and_the_endpoint_avoided() {
    let mut world = play_with(&two(), &format!("refuse\n{GET} open\n{GOT}{OK}"));
    assert_eq!(world.endpoint(0), 2);
    let record = world.access.pop_with(|record| *record).expect("record");
    assert_eq!((record.status, record.retries), (200, 1));
    // The pooled connection is the other endpoint's; the refusing one is passed over, so that no attempt is wasted.
    world.play(&format!("{GET}{GOT}{OK}"));
    assert_eq!((world.opened(), world.proxy.stats.retries.value()), (1, 1));
    // Later it gets another chance.
    world.play(&format!("wait 600\n{GET} open\n{GOT}{OK}{GET} use 0\n{GOT}"));
    assert_eq!(world.endpoint(1), 1);
}

#[test]
fn nobody_answers() {
    let mut world = play(&format!("refuse\nrefuse\nrefuse\n{GET}"));
    world.play(&page("503 Service Unavailable", "connection_refused", "upstream_connect_refused", ""));
    assert_eq!(world.logged(), "503 upstream_connect_refused");
    world.play("quiet c");
    assert_eq!(world.proxy.stats.upstream_connect_failures.value(), 3);
}

#[test]
fn a_connection_that_is_never_established() {
    let mut one = spec();
    one.routes[0].retry.attempts = 0;
    let mut world = play_with(&one, &format!("hang\n{GET} wait 1900\n quiet c\n wait 200"));
    world.play(&page("504 Gateway Timeout", "connection_timeout", "upstream_connect_timeout", ""));
    assert_eq!(world.logged(), "504 upstream_connect_timeout");
    world.play(&format!("unreachable\n{GET}"));
    world.play(&page("503 Service Unavailable", "destination_ip_unroutable", "upstream_connect_unreachable", ""));
}

#[test]
fn post_is_retried_only_if_nothing_was_sent() {
    play(
        "refuse\n> POST / HTTP/1.1|Host: a|Content-Length: 2||hi\n open\n >> POST / HTTP/1.1|Host: a|Content-Length: 2||hi",
    );
    let mut world = play(
        "> POST / HTTP/1.1|Host: a|Content-Length: 2||hi\n open\n >> POST / HTTP/1.1|Host: a|Content-Length: 2||hi\n end u",
    );
    assert_eq!((world.logged(), world.opened()), ("502 upstream_reset".into(), 1));
}

#[test]
fn idempotent_requests_with_content_are_sent_again_whole() {
    let put = "PUT / HTTP/1.1|Host: a|Content-Length: 5||hello";
    play(&format!(
        "> {put}\n open\n >> {put}\n reset u\n open\n >> {put}\n << HTTP/1.1 200 OK|Content-Length: 0||\n < HTTP/1.1 200 OK|Content-Length: 0||"
    ));
    // Also when only part of it had arrived.
    play(
        "> PUT / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|
        open
        >> PUT / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|
        end u
        open
        >> PUT / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|
        > 1|!|0||
        >> 1|!|0||",
    );
}

#[test]
fn content_too_large_to_keep_is_not_sent_again() {
    let mut world = World::new(&spec());
    world.send("c", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    world.play("open\n>> PUT / HTTP/1.1|Host: a|Content-Length: 100000||");
    for _ in 0..24 {
        world.send("c", &[b'x'; 1000]);
        world.play(&format!(">> {}", "x".repeat(1000)));
    }
    world.play("reset u");
    assert_eq!((world.logged(), world.opened()), ("502 upstream_reset".into(), 1));
}

#[test]
fn a_pooled_connection_that_died_costs_nothing() {
    // Closed while idle: noticed before use.
    let world = play(&format!("{GET} open\n{GOT}{OK} end u\n{GET} open\n{GOT}{OK}"));
    assert_eq!(world.proxy.stats.retries.value(), 0);
    // Closed as the request arrived: sent again on a fresh connection.
    let mut world = play(&format!("{GET} open\n{GOT}{OK}{GET}{GOT} end u\n open\n{GOT}{OK}"));
    assert_eq!(world.proxy.stats.retries.value(), 1);
    world.play("quiet c");
}

#[test]
fn late_words_of_an_upstream_are_not_the_next_response() {
    play(&format!("{GET} open\n{GOT}{OK} << HTTP/1.1 200 OK|Content-Length: 6||poison\n{GET} open\n{GOT}{OK}"));
}

#[test]
fn truncated_responses_never_look_complete() {
    // With a length or chunks the client can count; without, only a reset tells.
    for (version, response, seen) in [
        ("1.1", "HTTP/1.1 200 OK|Content-Length: 5||he", "HTTP/1.1 200 OK|Content-Length: 5||he"),
        (
            "1.1",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|he",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|he|",
        ),
        ("1.0", "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|he", "HTTP/1.1 200 OK|Connection: close||he"),
    ] {
        let host = if version == "1.0" { "10.0.1.1:80" } else { "a" };
        let mut world = play(&format!(
            "> GET / HTTP/{version}|Host: {host}||\n open\n >> GET / HTTP/1.1|Host: {host}||\n << {response}\n < {seen}\n end u\n gone c"
        ));
        assert_eq!(world.logged(), "200 upstream_truncated");
    }
    // An abrupt end of a response that is delimited by the end of the connection.
    play(&format!(
        "{GET} open\n{GOT} << HTTP/1.1 200 OK||he\n < HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|he|\n reset u\n gone c"
    ));
}

#[test]
fn a_response_that_fails_before_any_of_it_left_becomes_an_error_page() {
    let mut world = play(&format!("{GET} open\n{GOT} << HTTP/1.1 200 O"));
    world.play("end u");
    world.play(&page("502 Bad Gateway", "connection_terminated", "upstream_reset", ""));
    assert_eq!(world.logged(), "502 upstream_reset");
}

/// Requests under way at the only endpoint.
fn at_endpoint(world: &World) -> u64 {
    let tables = Rc::clone(&world.proxy.platform.tables.borrow());
    tables.clusters()[0].endpoints[0].seen.of(0).active.value()
}

#[test]
fn a_request_is_under_way_at_its_endpoint_from_when_it_is_sent() {
    let world = play(&format!("hang\n{GET} wait 100"));
    assert_eq!(at_endpoint(&world), 0, "there is no connection yet");
    let mut world = play(&format!("{GET} open\n{GOT} wait 1000"));
    assert_eq!(at_endpoint(&world), 1, "the endpoint thinks");
    world.play("<< HTTP/1.1 200 OK|Content-Length: 2||h\n < HTTP/1.1 200 OK|Content-Length: 2||h");
    assert_eq!(at_endpoint(&world), 1, "the response is on its way");
    world.play("<< i\n < i");
    assert_eq!(at_endpoint(&world), 0);
    // An attempt that failed is under way no longer.
    world.play(&format!("{GET}{GOT} end u\n open\n{GOT}"));
    assert_eq!(at_endpoint(&world), 1, "the second attempt");
    world.play("reset c\n gone u");
    assert_eq!(at_endpoint(&world), 0);
}

#[test]
fn a_client_that_resets_takes_its_upstream_request_with_it() {
    let mut world = play(&format!("{GET} open\n{GOT} reset c\n gone u"));
    assert_eq!(world.logged(), "499 client_closed");
    assert_eq!(world.proxy.stats.active_requests.value(), 0);
}

#[test]
fn connection_close_is_obeyed_on_both_sides() {
    play(&format!(
        "> GET / HTTP/1.1|Host: a|Connection: close||\n open\n{GOT} << HTTP/1.1 200 OK|Content-Length: 0|Connection: close||
        < HTTP/1.1 200 OK|Content-Length: 0|Connection: close||\n eof c\n eof u"
    ));
}

#[test]
fn a_reload_moves_new_requests_and_keeps_old_ones() {
    let mut world = play(&format!("{GET} open\n{GOT}"));
    let mut moved = spec();
    moved.clusters[0].endpoints = vec![std::net::SocketAddr::from(([10, 0, 2, 1], 9))];
    let old = world.proxy.platform.tables.borrow().clone();
    *world.proxy.platform.tables.borrow_mut() = Rc::new(Table::build(&moved, Some(&old)).expect("valid"));
    world.proxy.tables_changed();
    world.play(&format!("{OK} eof u\n{GET} open\n{GOT}{OK}"));
    assert_eq!((world.endpoint(1), world.proxy.pooled()), (9, 1));
    // The listener goes: what is under way is finished, then the connection closes.
    let mut gone = moved.clone();
    gone.listeners.clear();
    gone.routes.clear();
    world.play(GET);
    *world.proxy.platform.tables.borrow_mut() = Rc::new(Table::build(&gone, None).expect("valid"));
    world.play(&format!("{GOT}{OK}{GET}"));
    world.play("open");
    world.play(&format!(
        "{GOT} << HTTP/1.1 200 OK|Content-Length: 0||\n < HTTP/1.1 200 OK|Content-Length: 0|Connection: close||\n eof c"
    ));
}

#[test]
fn draining_closes_idle_connections_and_lets_others_finish() {
    let mut world = play(&format!("{GET} open\n{GOT}{OK}"));
    world.proxy.platform.draining.set(true);
    world.proxy.tables_changed();
    world.play("eof c\n eof u");
    assert_eq!(world.proxy.pooled(), 0);
    world.proxy.platform.draining.set(false);
    world.connect_client();
    world.play(&format!("{GET} open\n{GOT}"));
    world.proxy.platform.draining.set(true);
    world.play("<< HTTP/1.1 200 OK|Content-Length: 0||\n < HTTP/1.1 200 OK|Content-Length: 0|Connection: close||\n eof c\n eof u");
}

#[test]
fn no_backend_and_no_endpoint_say_so() {
    let mut none = spec();
    none.clusters[0].endpoints.clear();
    assert_eq!(play_with(&none, GET).logged(), "503 no_endpoint");
    none.routes[0].backend_refs.clear();
    assert_eq!(play_with(&none, GET).logged(), "503 no_backend");
}
