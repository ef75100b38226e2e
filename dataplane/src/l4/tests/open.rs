//! Opening: retransmission, refusal, limits, cookies, and what the segments look like.

use std::{task::Poll, time::Duration};

use super::world::*;
use crate::{
    l4::{ConnectError, End, Outcome, SynCookies, TcpOptions},
    verdict::DropReason,
};

const ACK: u8 = 16;
const SYN: u8 = 2;
const RST: u8 = 4;

/// A TCP segment over IPv4 from a made-up peer to host 1's port 80.
fn segment(peer: u32, port: u16, (seq, ack): (u32, u32), flags: u8, options: &[u8]) -> Vec<u8> {
    let len = 40 + options.len();
    let mut p = vec![0; len];
    p[..10].copy_from_slice(&[0x45, 0, 0, len as u8, 0, 0, 0x40, 0, 64, 6]);
    p[12..16].copy_from_slice(&peer.to_be_bytes());
    p[16..20].copy_from_slice(&[10, 0, 0, 2]);
    p[20..22].copy_from_slice(&port.to_be_bytes());
    p[22..24].copy_from_slice(&PORT.to_be_bytes());
    p[24..28].copy_from_slice(&seq.to_be_bytes());
    p[28..32].copy_from_slice(&ack.to_be_bytes());
    p[32] = ((20 + options.len()) as u8 / 4) << 4;
    p[33] = flags;
    p[34..36].copy_from_slice(&1000u16.to_be_bytes());
    p[40..].copy_from_slice(options);
    let sum = crate::io::checksum::Sum::new().add_pseudo(&p[12..16], &p[16..20], 6, len - 20).add(&p[20..]).finish();
    p[36..38].copy_from_slice(&sum.to_be_bytes());
    p
}

fn numbers(packet: &[u8]) -> (u32, u32, u8) {
    let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four bytes"));
    (word(24), word(28), packet[33])
}

/// A world whose wire remembers what host 1 sends and loses it all.
fn recorded(options: &TcpOptions) -> (World, std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>>) {
    let mut world = World::with(5, Wire::default(), options, false);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let log = std::rc::Rc::clone(&seen);
    world.watch = Some(Box::new(move |_, to, packet| {
        if to == 0 {
            log.borrow_mut().push(packet.to_vec());
        }
        false
    }));
    (world, seen)
}

fn small() -> TcpOptions {
    TcpOptions { max_connections: 100, half_open_limit: 10, ..TcpOptions::default() }
}

#[test]
fn a_lost_syn_and_a_lost_answer_are_sent_again() {
    // RFC 6298: 1 s, then 2 s. When answers are lost both ends repeat themselves, so the third chance comes after 1 s.
    for (lose_to, waited) in [(1, 3), (0, 1)] {
        let mut world = World::new(1, Wire::default());
        let mut lost = 0;
        world.watch = Some(Box::new(move |_, to, packet| {
            let drop = to == lose_to && packet[33] & SYN != 0 && lost < 2;
            lost += u32::from(drop);
            !drop
        }));
        let start = world.now.get();
        let (client, server) = world.pair();
        let took = world.now.get() - start;
        assert!(took > Duration::from_secs(waited) && took < Duration::from_millis(waited * 1000 + 50), "{took:?}");
        drop((client, server));
    }
}

#[test]
fn a_peer_that_remembers_an_earlier_connection_delays_the_next_by_no_timer() {
    // One port only: the same tuple again, of which the server has not heard that it ended.
    let options = TcpOptions { ports: 1000..=1000, max_connections: 8, ..TcpOptions::default() };
    let mut world = World::with(3, Wire::default(), &options, false);
    let (mut client, old) = world.pair();
    world.watch = Some(Box::new(|_, _, _| false));
    client.abort();
    world.run_for(Duration::from_millis(1));
    world.watch = None;
    let start = world.now.get();
    let (_client, _server) = world.pair();
    assert!(world.now.get() - start < Duration::from_millis(5), "{:?}", world.now.get() - start);
    assert_eq!(world.hosts[0].tcp.stats().handshake_retransmits.value(), 1);
    drop(old);
}

#[test]
fn nobody_listening_refuses_and_nobody_there_times_out() {
    let mut world = World::new(2, Wire::default());
    world.hosts[1].listens = false;
    let mut client = world.connect();
    world.run_for(Duration::from_millis(10));
    assert_eq!(once(|cx| client.poll_connected(cx)), Poll::Ready(Err(End::Refused)));
    assert_eq!(world.hosts[1].tcp.stats().resets_sent.value(), 1);

    world.watch = Some(Box::new(|_, _, _| false));
    let mut client = world.connect();
    world.run_for(Duration::from_secs(62));
    assert_eq!(once(|cx| client.poll_connected(cx)), Poll::Pending);
    world.run_for(Duration::from_secs(2));
    assert_eq!(once(|cx| client.poll_connected(cx)), Poll::Ready(Err(End::TimedOut)));
    drop(client);
    assert_eq!(world.hosts[0].tcp.connections(), 0);
}

#[test]
fn an_icmp_error_ends_an_open_only_if_it_quotes_our_syn() {
    let (mut world, _) = recorded(&small());
    let mut client = world.connect();
    let sent = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = std::rc::Rc::clone(&sent);
    world.watch = Some(Box::new(move |_, _, packet| {
        seen.set(numbers(packet).0);
        false
    }));
    world.run_for(Duration::from_millis(1));
    let flow = *client.flow();
    world.hosts[0].tcp.unreachable(&flow, sent.get() ^ 1);
    assert_eq!(once(|cx| client.poll_connected(cx)), Poll::Pending);
    world.hosts[0].tcp.unreachable(&flow, sent.get());
    assert_eq!(once(|cx| client.poll_connected(cx)), Poll::Ready(Err(End::Unreachable)));
}

#[test]
fn both_ends_may_open_at_once() {
    let options = TcpOptions { ports: PORT..=PORT, max_connections: 8, ..TcpOptions::default() };
    let mut world = World::with(9, Wire::default(), &options, false);
    world.hosts.iter_mut().for_each(|host| host.listens = false);
    let mut ends = [0, 1].map(|n: usize| {
        let (here, there) = (world.hosts[n].address, world.hosts[1 - n].address);
        world.hosts[n]
            .tcp
            .connect(here, std::net::SocketAddr::new(there, PORT), world.now.get())
            .expect("port 80 is free")
    });
    world.run_for(Duration::from_millis(5));
    for end in &mut ends {
        assert_eq!(once(|cx| end.poll_connected(cx)), Poll::Ready(Ok(())));
        assert_eq!(once(|cx| end.poll_write(cx, &[b"hello"])), Poll::Ready(Ok(5)));
    }
    world.run_for(Duration::from_millis(5));
    for end in &mut ends {
        assert_eq!(once(|cx| end.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Ok(b"hello".to_vec())));
    }
}

#[test]
fn opens_are_limited_by_ports_and_connections() {
    let mut options = TcpOptions { ports: 1000..=1002, max_connections: 3, ..TcpOptions::default() };
    let world = World::with(1, Wire::default(), &options, false);
    let open: Vec<_> = (0..3).map(|_| world.connect()).collect();
    let mut ports: Vec<_> = open.iter().map(|stream| stream.flow().local_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1000, 1001, 1002]);
    let remote = std::net::SocketAddr::new(world.hosts[1].address, PORT);
    let again = world.hosts[0].tcp.connect(world.hosts[0].address, remote, world.now.get());
    assert_eq!(again.err(), Some(ConnectError::ConnectionLimit));
    options.max_connections = 100;
    let world = World::with(1, Wire::default(), &options, false);
    let open: Vec<_> = (0..3).map(|_| world.connect()).collect();
    let again = world.hosts[0].tcp.connect(world.hosts[0].address, remote, world.now.get());
    assert_eq!(again.err(), Some(ConnectError::NoPort));
    let six = world.hosts[0].tcp.connect(std::net::IpAddr::from([0; 16]), remote, world.now.get());
    assert_eq!(six.err(), Some(ConnectError::BadAddress));
    drop(open);
}

#[test]
fn a_port_comes_back_as_late_as_possible() {
    let options = TcpOptions { ports: 1000..=1063, max_connections: 8, ..TcpOptions::default() };
    let mut world = World::with(1, Wire::default(), &options, false);
    let mut ports = [0; 128].map(|_: u16| {
        let mut stream = world.connect();
        stream.abort();
        let port = stream.flow().local_port;
        drop(stream);
        world.run_for(Duration::from_micros(1));
        port
    });
    assert_eq!(ports[..64], ports[64..]);
    ports[..64].sort_unstable();
    assert_eq!(ports[..64], core::array::from_fn::<u16, 64, _>(|n| 1000 + n as u16));
}

#[test]
fn answers_come_back_to_the_core_that_asked() {
    let options = TcpOptions { core: (3, 5), max_connections: 300, ..TcpOptions::default() };
    let world = World::with(1, Wire::default(), &options, false);
    for _ in 0..200 {
        let stream = world.connect();
        let flow = *stream.flow();
        assert_eq!(crate::l4::owner(flow.remote, flow.local, flow.remote_port, flow.local_port, 5), 3);
    }
}

#[test]
fn a_syn_ack_offers_what_the_syn_offered() {
    let (mut world, seen) = recorded(&small());
    let everything = [2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2];
    world.deliver(1, segment(0x0a00_0009, 5000, (1, 0), SYN, &everything));
    world.deliver(1, segment(0x0a00_0009, 5001, (1, 0), SYN, &[]));
    let seen = seen.borrow();
    assert_eq!(seen[0][40..], [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 5]);
    assert_eq!(seen[1][40..], [2, 4, 5, 180]);
    assert!(seen.iter().all(|packet| packet[33] == SYN | ACK));
}

#[test]
fn a_flood_of_syns_leaves_no_state_and_cookies_open_connections() {
    let (mut world, seen) = recorded(&small());
    for n in 0..1000u32 {
        assert_eq!(world.deliver(1, segment(0x0b00_0000 + n, 5000, (n, 0), SYN, &[2, 4, 5, 180])), Outcome::Consumed);
    }
    assert_eq!(world.hosts[1].tcp.connections(), 10);
    assert_eq!(world.hosts[1].tcp.stats().cookies_sent.value(), 990);
    let (cookie, ack, flags) = numbers(&seen.borrow()[999]);
    assert_eq!((ack, flags), (1000, SYN | ACK));
    let forged = world.deliver(1, segment(0x0b00_0000 + 999, 5000, (1000, cookie ^ 5), ACK, &[]));
    assert_eq!(forged, Outcome::Dropped(DropReason::TcpBadCookie));
    assert!(world.accept().is_none());
    world.deliver(1, segment(0x0b00_0000 + 999, 5000, (1000, cookie + 1), ACK, &[]));
    let mut stream = world.accept().expect("the cookie came back");
    assert_eq!(once(|cx| stream.poll_write(cx, &[&[1; 3000]])), Poll::Ready(Ok(3000)));
    world.run_for(Duration::from_micros(1));
    // The peer's window field of 1000 is not scaled without state.
    let seen = seen.borrow();
    let sent = seen.last().expect("data");
    assert_eq!((numbers(sent).0, numbers(sent).1, sent.len() - 40), (cookie + 1, 1000, 1000));
    // The half-open ones go away by themselves: 1 + 2 + 4 + 8 s.
    drop(seen);
    world.run_for(Duration::from_secs(16));
    assert_eq!(world.hosts[1].tcp.stats().half_open_timeouts.value(), 10);
    assert_eq!(world.hosts[1].tcp.connections(), 1);
}

#[test]
fn without_cookies_the_limit_drops() {
    let (mut world, _) = recorded(&TcpOptions { syn_cookies: SynCookies::Off, ..small() });
    let outcomes: Vec<_> =
        (0..11).map(|n| world.deliver(1, segment(0x0b00_0000 + n, 5000, (n, 0), SYN, &[]))).collect();
    assert!(outcomes[..10].iter().all(|outcome| *outcome == Outcome::Consumed));
    assert_eq!(outcomes[10], Outcome::Dropped(DropReason::TcpHalfOpenLimit));
}

#[test]
fn strays_are_reset_up_to_a_rate() {
    let (mut world, seen) = recorded(&small());
    assert_eq!(
        world.deliver(1, segment(1 << 24, 9, (77, 88), ACK, &[])),
        Outcome::Dropped(DropReason::TcpNoConnection)
    );
    assert_eq!(numbers(&seen.borrow()[0]), (88, 0, RST));
    world.hosts[1].listens = false;
    world.deliver(1, segment(1 << 24, 9, (77, 0), SYN, &[]));
    assert_eq!(numbers(&seen.borrow()[1]), (0, 78, RST | ACK));
    world.deliver(1, segment(1 << 24, 9, (77, 88), RST | ACK, &[]));
    assert_eq!(seen.borrow().len(), 2, "a reset is not answered");
    for port in 1..2000 {
        world.deliver(1, segment(1 << 24, port, (77, 88), ACK, &[]));
    }
    assert_eq!(seen.borrow().len(), 1000);
}

#[test]
fn malformed_segments_are_told_apart_from_corrupted_ones() {
    let (mut world, _) = recorded(&small());
    let good = segment(1 << 24, 9, (77, 88), ACK, &[]);
    let mut corrupt = good.clone();
    corrupt[25] ^= 1;
    assert_eq!(world.deliver(1, corrupt), Outcome::Dropped(DropReason::TcpBadChecksum));
    for (at, value) in [(32, 0x40), (32, 0xf0), (3, 39), (33, SYN | RST)] {
        let mut bad = good.clone();
        bad[at] = value;
        let tcp_sum = crate::io::checksum::Sum::new().add_pseudo(&bad[12..16], &bad[16..20], 6, 20).add(&bad[20..36]);
        let sum = tcp_sum.add(&bad[38..]).finish();
        bad[36..38].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(world.deliver(1, bad), Outcome::Dropped(DropReason::TcpMalformed), "byte {at} = {value:#x}");
    }
}
