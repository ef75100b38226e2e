//! Paths that are narrower than the links at their ends: a router that reports it, and reports that nobody should believe.

use std::{cell::Cell, net::IpAddr, rc::Rc, time::Duration};

use super::world::*;
use crate::{
    clock::Instant,
    l4::{Flow, TcpHandle, TcpOptions},
};

const NARROW: usize = 1280;

/// The flow and sequence number of a segment that host 0 sent.
fn quoted(packet: &[u8]) -> (Flow, u32) {
    let v4 = packet[0] >> 4 == 4;
    let (source, destination, tcp) = if v4 { (12..16, 16..20, 20) } else { (8..24, 24..40, 40) };
    let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("an address")),
    };
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let flow = Flow {
        local: address(&packet[source]),
        remote: address(&packet[destination]),
        local_port: port(tcp),
        remote_port: port(tcp + 2),
    };
    (flow, u32::from_be_bytes([packet[tcp + 4], packet[tcp + 5], packet[tcp + 6], packet[tcp + 7]]))
}

/// A world in which a router loses what is too long for it, and tells host 0 if it `speaks`. Also: how many were too long.
fn narrow(v6: bool, super_segment: u32, speaks: bool) -> (World, Rc<Cell<u32>>) {
    let options = TcpOptions { max_connections: 64, ..TcpOptions::default() };
    let wire = Wire { delay: Duration::from_millis(5), ..Wire::default() };
    let mut world = World::with(11, wire, &options, v6);
    world.hosts[0].out.super_segment = super_segment;
    let (tcp, lost): (TcpHandle, _) = (world.hosts[0].tcp.clone(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&lost);
    world.watch = Some(Box::new(move |_: Instant, to, packet| {
        let fits = to == 0 || packet.len() <= NARROW;
        if !fits {
            count.set(count.get() + 1);
            let (flow, sequence) = quoted(packet);
            if speaks {
                tcp.too_big(&flow, sequence, NARROW as u16);
            }
        }
        fits
    }));
    (world, lost)
}

/// Sends octets from host 0 to host 1 on a connection of their own. Returns how long it took.
fn transfer(world: &mut World, len: u64) -> Duration {
    let (mut client, mut server) = world.pair();
    let start = world.now.get();
    let (ended, now) = (Rc::new(Cell::new(None)), Rc::clone(&world.now));
    let end = Rc::clone(&ended);
    world.spawn(async move { send_pattern(&mut client, 5, len).await.expect("sent") });
    world.spawn(async move {
        assert_eq!(receive_pattern(&mut server, 5).await, Ok(len));
        end.set(Some(now.get()));
    });
    world.finish(Duration::from_secs(300));
    ended.get().expect("all of it") - start
}

#[test]
fn a_report_makes_segments_shorter_at_once() {
    for (v6, super_segment) in [(false, 0), (true, 0), (false, 16_384)] {
        let (mut wide, _) = narrow(v6, super_segment, false);
        wide.watch = None;
        let without = transfer(&mut wide, 400_000);
        let (mut world, lost) = narrow(v6, super_segment, true);
        let took = transfer(&mut world, 400_000);
        // The first flight, and nothing after the report.
        assert!((1..=10).contains(&lost.get()), "{} packets were too long", lost.get());
        // Slow start begins again: a few round trips of 10 ms, but no retransmission timer of 125 ms.
        assert!(took < without + Duration::from_millis(90), "{took:?}, over a wide path {without:?}");
        assert_eq!(world.hosts[0].tcp.stats().path_mtu_reductions.value(), 1);
    }
}

#[test]
fn later_connections_know_and_the_knowledge_ages() {
    let (mut world, lost) = narrow(false, 0, true);
    transfer(&mut world, 100_000);
    let first = lost.get();
    transfer(&mut world, 100_000);
    assert_eq!(lost.get(), first, "the second connection knows");
    world.run_for(Duration::from_secs(601));
    transfer(&mut world, 100_000);
    assert!(lost.get() > first, "after ten minutes the full length is tried again");
}

#[test]
fn a_connection_at_rest_knows_when_it_wakes() {
    let (mut world, lost) = narrow(false, 0, true);
    let (mut idle, _far) = world.pair();
    transfer(&mut world, 100_000);
    let first = lost.get();
    world.spawn(async move {
        send_pattern(&mut idle, 5, 5_000).await.expect("sent");
        core::future::pending::<()>().await;
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(lost.get(), first);
}

#[test]
fn forged_reports_are_not_believed() {
    let (mut world, _) = narrow(false, 0, false);
    world.watch = None;
    let (mut client, _server) = world.pair();
    let tcp = world.hosts[0].tcp.clone();
    let (flow, next) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
    let (seen, end) = (Rc::clone(&flow), Rc::clone(&next));
    world.watch = Some(Box::new(move |_: Instant, to, packet| {
        if to == 1 {
            let (flow, sequence) = quoted(packet);
            seen.set(Some(flow));
            end.set(sequence + (packet.len() - 40) as u32);
        }
        true
    }));
    // One octet, which is acknowledged: nothing is under way.
    assert!(matches!(once(|cx| client.poll_write(cx, &[b"a"])), std::task::Poll::Ready(Ok(1))));
    world.run_for(Duration::from_millis(400));
    let (flow, next) = (flow.get().expect("a segment"), next.get());
    assert!(!tcp.too_big(&flow, next, 576) && !tcp.too_big(&flow, next - 1, 576), "nothing is under way");
    // One octet under way: its number, and no other.
    assert!(matches!(once(|cx| client.poll_write(cx, &[b"b"])), std::task::Poll::Ready(Ok(1))));
    tcp.output(world.now.get(), &mut world.hosts[0].out);
    for sequence in [next - 1, next + 1, next + 1000, next ^ 0x8000_0000] {
        assert!(!tcp.too_big(&flow, sequence, 576), "{sequence}");
    }
    assert!(!tcp.too_big(&Flow { local_port: flow.local_port ^ 1, ..flow }, next, 576), "nobody's");
    assert!(!tcp.too_big(&flow, next, 1500), "no news");
    assert!(tcp.too_big(&flow, next, 68), "believed, but not to the letter");
    assert!(!tcp.too_big(&flow, next, 552), "that is the least");
}
