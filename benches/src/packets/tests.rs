//! A generator and a sink on one wire, and what they make of packets that are lost, altered or not theirs.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use clap::Parser;
use tidegate_dataplane::{clock::Clock, frame::Arena};

use super::{
    options::{Options, RouteOptions},
    pattern::{HOPS, Pattern, Stamp},
    stand::Stand,
};
use crate::routes;

#[derive(Parser)]
struct Asked {
    #[command(flatten)]
    options: Options,
}

#[derive(Parser)]
struct AskedRoutes {
    #[command(flatten)]
    options: RouteOptions,
}

fn options(arguments: &[&str]) -> Options {
    Asked::try_parse_from([&["packets"], arguments].concat()).unwrap_or_else(|error| panic!("{error}")).options
}

const STAMP: Stamp = Stamp { trial: 7, sent: 0x0102_0304_0506 };

#[test]
fn a_packet_has_its_length_a_destination_in_a_route_and_its_stamp() {
    let arena = Arena::new(1, 2048).unwrap();
    for (arguments, shortest) in [(vec![], 60), (vec!["--v6"], 78)] {
        for (size, expected) in [("64", shortest), ("128", 124), ("1518", 1514)] {
            let options = options(&[&["--size", size, "--routes", "5"], &arguments[..]].concat());
            let prefixes = routes::prefixes(5, options.traffic.v6);
            let mut pattern = Pattern::new(&options.traffic);
            for _ in 0..100 {
                let mut frame = arena.alloc().unwrap();
                pattern.write(&mut frame, STAMP).expect("room");
                assert_eq!(frame.len(), expected);
                assert_eq!(pattern.read(frame.data()), Some((STAMP, HOPS)));
                let packet = destination(frame.data());
                assert!(prefixes.iter().any(|prefix| prefix.contains(&packet)), "{packet}");
            }
        }
    }
}

fn destination(data: &[u8]) -> core::net::IpAddr {
    let v6 = data[12..14] == [0x86, 0xdd];
    if v6 {
        assert_eq!(usize::from(u16::from_be_bytes([data[18], data[19]])), data.len() - 54);
        Ipv6Addr::from(<[u8; 16]>::try_from(&data[38..54]).unwrap()).into()
    } else {
        assert_eq!(usize::from(u16::from_be_bytes([data[16], data[17]])), data.len() - 14);
        Ipv4Addr::from(<[u8; 4]>::try_from(&data[30..34]).unwrap()).into()
    }
}

#[test]
fn a_mix_is_seven_four_and_one() {
    let arena = Arena::new(1, 2048).unwrap();
    let mut pattern = Pattern::new(&options(&["--size", "imix"]).traffic);
    let mut lengths = Vec::new();
    for _ in 0..12 {
        let mut frame = arena.alloc().unwrap();
        pattern.write(&mut frame, STAMP).unwrap();
        lengths.push(frame.len());
    }
    let count = |length| lengths.iter().filter(|seen| **seen == length).count();
    assert_eq!((count(60), count(590), count(1514)), (7, 4, 1));
    assert!((pattern.mean() - 357.83).abs() < 0.01);
}

#[test]
fn what_is_none_of_ours_or_broken_is_not_read() {
    let arena = Arena::new(1, 2048).unwrap();
    let mut pattern = Pattern::new(&options(&[]).traffic);
    let mut frame = arena.alloc().unwrap();
    pattern.write(&mut frame, STAMP).unwrap();
    for at in [14, 22, 30, 42, 45] {
        let mut bytes = frame.data().to_vec();
        bytes[at] ^= 1;
        assert_eq!(pattern.read(&bytes), None, "byte {at} changed");
    }
    assert_eq!(pattern.read(&frame.data()[..50]), None);
    assert_eq!(pattern.read(&[]), None);
}

/// A generator whose port is a wire to itself.
fn stand(arguments: &[&str]) -> Stand {
    let options = options(arguments);
    let pattern = Pattern::new(&options.traffic);
    Stand::open(&options, pattern, Clock::new()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_wire_delivers_all_at_the_rate_that_was_asked_for() {
    let mut stand = stand(&["--hops", "0"]);
    let trial = stand.trial(Some(10_000.0), Duration::from_millis(200));
    assert_eq!((trial.lost(), trial.wrong), (0, 0));
    assert_eq!(trial.latency.len(), trial.received);
    // A busy machine sends less, never more.
    assert!(trial.sent > 500 && trial.sent <= 2_001, "{}", trial.sent);
    assert!(trial.sent + trial.unsent >= 2_000 - 300, "{} and {}", trial.sent, trial.unsent);
    assert_eq!(trial.moves, 0, "all go to the same station");
    let flood = stand.trial(None, Duration::from_millis(20));
    assert_eq!((flood.lost(), flood.wrong, flood.unsent), (0, 0, 0));
    assert!(flood.offered() > 2.0 * trial.offered(), "{}", flood.offered());
}

#[test]
fn who_naps_sends_what_is_due_all_the_same() {
    let trial = stand(&["--hops", "0", "--nap", "100"]).trial(Some(10_000.0), Duration::from_millis(200));
    assert_eq!((trial.lost(), trial.wrong), (0, 0));
    assert!(trial.sent + trial.unsent >= 2_000 - 300, "{} and {}", trial.sent, trial.unsent);
}

#[test]
fn a_wire_is_no_router() {
    let trial = stand(&[]).trial(Some(10_000.0), Duration::from_millis(20));
    assert_eq!(trial.received, 0);
    assert_eq!(trial.wrong, trial.sent);
}

#[test]
fn routes_are_written_as_their_reader_wants_them() {
    let written = |arguments: &[&str]| {
        let asked = AskedRoutes::try_parse_from([&["routes", "--routes", "2"], arguments].concat()).unwrap();
        let mut text = Vec::new();
        asked.options.syntax.write(&mut text, &asked.options).unwrap();
        String::from_utf8(text).unwrap()
    };
    let ours = written(&["--via", "10.0.2.9"]);
    assert!(ours.starts_with("[[route]]\nto = \"") && ours.matches("via = \"10.0.2.9\"").count() == 2, "{ours}");
    let kernel = written(&["--via", "fd00::9", "--v6", "--syntax", "iproute2"]);
    assert!(kernel.lines().all(|line| line.starts_with("route add 2") && line.ends_with(" via fd00::9")), "{kernel}");
}
