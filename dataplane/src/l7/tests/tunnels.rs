//! WebSocket and other upgrades.

use super::transcript::{play, play_with, spec};

const ASK: &str = "> GET /ws HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: k||\n";
const ASKED: &str = ">> GET /ws HTTP/1.1|Host: a|Sec-WebSocket-Key: k|Connection: upgrade|Upgrade: websocket||\n";
const AGREE: &str =
    "<< HTTP/1.1 101 Switching Protocols|Upgrade: WebSocket|Connection: Upgrade|Sec-WebSocket-Accept: v||\n";
const AGREED: &str =
    "< HTTP/1.1 101 Switching Protocols|Upgrade: WebSocket|Sec-WebSocket-Accept: v|Connection: upgrade||\n";

#[test]
fn bytes_go_both_ways_and_each_side_closes_on_its_own() {
    let mut world = play(&format!(
        "{ASK} open\n{ASKED} << HTTP/1.1 101 Switching Protocols|Upgrade: WebSocket|Connection: Upgrade||early
        < HTTP/1.1 101 Switching Protocols|Upgrade: WebSocket|Connection: upgrade||early
        > ping\n >> ping\n << pong\n < pong
        end c\n eof u\n << more\n < more\n end u\n eof c"
    ));
    let record = world.access.pop_with(|record| *record).expect("record");
    assert_eq!((record.status, record.upgraded, record.bytes_in, record.bytes_out), (101, true, 4, 13));
    assert_eq!((world.proxy.stats.open_tunnels.value(), world.proxy.pooled()), (0, 0));
}

#[test]
fn bytes_sent_ahead_reach_the_tunnel_only_after_the_agreement() {
    play(&format!("{}ahead\n open\n{ASKED} quiet u\n{AGREE}{AGREED} >> ahead", ASK.trim_end()));
    // If the upstream declines, they are the next request.
    play(&format!(
        "{}GET /2 HTTP/1.1|Host: a||\n open\n{ASKED} quiet u\n << HTTP/1.1 200 OK|Content-Length: 0||
        < HTTP/1.1 200 OK|Content-Length: 0||\n >> GET /2 HTTP/1.1|Host: a||",
        ASK.trim_end()
    ));
}

#[test]
fn only_what_was_asked_for_is_switched_to() {
    for answer in ["Upgrade: h2c|Connection: upgrade|", "Connection: upgrade|"] {
        let mut world = play(&format!("{ASK} open\n{ASKED} << HTTP/1.1 101 Switching Protocols|{answer}|\n gone u"));
        assert_eq!(world.logged(), "502 upstream_upgrade_unexpected");
    }
}

#[test]
fn other_protocols_are_not_offered_to_the_upstream() {
    play(
        "> GET / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAA||
        open
        >> GET / HTTP/1.1|Host: a||",
    );
    let mut without = spec();
    without.listeners[0].websocket = false;
    play_with(&without, &format!("{ASK} open\n >> GET /ws HTTP/1.1|Host: a|Sec-WebSocket-Key: k||"));
}

#[test]
fn a_tunnel_that_stands_still_is_cut_and_resets_cross_it() {
    let mut world = play(&format!(
        "{ASK} open\n{ASKED}{AGREE}{AGREED} wait 59000\n > x\n >> x\n wait 59000\n quiet c\n wait 1100\n gone c\n gone u"
    ));
    assert_eq!(world.logged(), "101 client_stalled");
    let mut world = play(&format!("{ASK} open\n{ASKED}{AGREE}{AGREED} reset u\n gone c"));
    assert_eq!(world.logged(), "101 upstream_truncated");
}
