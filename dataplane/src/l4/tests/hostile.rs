//! A peer that sends anything at all: nothing panics, nothing leaks, others are served. And what happens at each limit.

use std::{cell::RefCell, rc::Rc, task::Poll, time::Duration};

use super::world::*;
use crate::{
    io::checksum::Sum,
    l4::{Outcome, SynCookies, TcpOptions, TcpStream},
    verdict::DropReason,
};

/// What the last packet from the client looked like; segments are made up around it.
pub(super) fn tap(world: &mut World) -> Rc<RefCell<Vec<u8>>> {
    let last = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&last);
    world.watch = Some(Box::new(move |_, to, packet| {
        if to == 1 {
            *log.borrow_mut() = packet.to_vec();
        }
        true
    }));
    last
}

/// A segment near `template` in sequence space, with `len` octets of data.
pub(super) fn near(template: &[u8], (seq, ack): (i32, i32), flags: u8, window: u16, len: usize) -> Vec<u8> {
    let word = |at: usize| u32::from_be_bytes(template[at..at + 4].try_into().expect("four bytes"));
    let mut p = template[..40].to_vec();
    p.resize(40 + len, 0x5a);
    p[2..4].copy_from_slice(&(40 + len as u16).to_be_bytes());
    p[24..28].copy_from_slice(&word(24).wrapping_add_signed(seq).to_be_bytes());
    p[28..32].copy_from_slice(&word(28).wrapping_add_signed(ack).to_be_bytes());
    p[32..34].copy_from_slice(&[0x50, flags]);
    p[34..36].copy_from_slice(&window.to_be_bytes());
    p[36..40].fill(0);
    let sum = Sum::new().add_pseudo(&p[12..16], &p[16..20], 6, len + 20).add(&p[20..]).finish();
    p[36..38].copy_from_slice(&sum.to_be_bytes());
    p
}

fn drain(stream: &mut TcpStream) {
    while let Poll::Ready(Ok(n)) = once(|cx| stream.poll_fill(cx).map_ok(<[u8]>::len)) {
        stream.consume(n);
        if n == 0 {
            break;
        }
    }
}

#[test]
fn no_sequence_of_segments_brings_the_stack_down() {
    for seed in 0..100 {
        let mut world = World::new(seed, Wire::default());
        let last = tap(&mut world);
        let (mut client, mut server) = world.pair();
        let mut dice = Dice::new(seed ^ 0xf00d);
        for _ in 0..200 {
            let template = last.borrow().clone();
            let offset = |dice: &mut Dice| match dice.below(4) {
                0 => 0,
                1 => dice.below(5) as i32 - 2,
                2 => dice.below(200_000) as i32 - 100_000,
                _ => dice.roll() as i32,
            };
            let (seq, ack) = (offset(&mut dice), offset(&mut dice));
            // Mostly plain ACKs, sometimes FIN; now and then any flags at all. The exact RST would end the game.
            let flags = match dice.below(20) {
                0 => dice.roll() as u8 & 0x3b,
                1 => 0x11,
                _ => 0x10,
            };
            let window = [0, 1, 100, u16::MAX][dice.below(4) as usize];
            let len = [0, 0, 1, 100, 1460][dice.below(5) as usize];
            world.deliver(1, near(&template, (seq, ack), flags, window, len));
            match dice.below(6) {
                0 => drain(&mut server),
                1 => {
                    let _ = once(|cx| server.poll_write(cx, &[&[1; 3000]]));
                }
                2 => {
                    let _ = once(|cx| client.poll_write(cx, &[&[2; 3000]]));
                }
                3 => world.run_for(Duration::from_millis(dice.below(50))),
                4 if dice.below(20) == 0 => world.run_for(Duration::from_secs(3)),
                5 if dice.below(40) == 0 => {
                    let _ = once(|cx| server.poll_shutdown(cx));
                }
                _ => {}
            }
        }
        drop((client, server));
        world.watch = None;
        // Others are served, and the victims go away in time.
        let (mut client, mut server) = world.pair();
        assert_eq!(once(|cx| client.poll_write(cx, &[b"hello"])), Poll::Ready(Ok(5)));
        world.run_for(Duration::from_millis(20));
        assert_eq!(once(|cx| server.poll_fill(cx).map_ok(<[u8]>::to_vec)), Poll::Ready(Ok(b"hello".to_vec())));
        drop((client, server));
        world.run_for(Duration::from_secs(400));
        assert_eq!([0, 1].map(|n: usize| world.hosts[n].tcp.connections()), [0, 0], "seed {seed}");
    }
}

#[test]
fn a_segment_outside_the_window_is_dropped_and_counted() {
    let mut world = World::new(1, Wire::default());
    let last = tap(&mut world);
    let (mut client, mut server) = world.pair();
    let template = last.borrow().clone();
    let stray = near(&template, (0, 1 << 30), 0x10, 100, 0);
    assert_eq!(world.deliver(1, stray.clone()), Outcome::Dropped(DropReason::TcpOutOfWindow));
    assert_eq!(once(|cx| client.poll_write(cx, &[b"x"])), Poll::Ready(Ok(1)));
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.deliver(1, stray), Outcome::Dropped(DropReason::TcpOutOfWindow));
    drain(&mut server);
}

#[test]
fn the_connection_limit_drops_syns() {
    let options = TcpOptions { max_connections: 2, syn_cookies: SynCookies::Off, ..TcpOptions::default() };
    let mut world = World::with(1, Wire::default(), &options, false);
    let ends = [world.pair(), world.pair()];
    let template = {
        let last = tap(&mut world);
        drop(ends);
        world.run_for(Duration::from_millis(5));
        let template = last.borrow().clone();
        world.watch = None;
        template
    };
    world.run_for(Duration::from_secs(400));
    let ends = [world.pair(), world.pair()];
    let mut syn = near(&template, (0, 0), 2, 100, 0);
    syn[20..22].copy_from_slice(&999u16.to_be_bytes());
    syn[36..38].fill(0);
    let sum = Sum::new().add_pseudo(&syn[12..16], &syn[16..20], 6, 20).add(&syn[20..]).finish();
    syn[36..38].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(world.deliver(1, syn), Outcome::Dropped(DropReason::TcpConnectionLimit));
    drop(ends);
}

#[test]
fn short_buffer_memory_takes_sockets_from_connections_at_rest_only() {
    // Four sockets of the smallest size fit.
    let options = TcpOptions { max_connections: 64, buffer_memory: 4 * (32 << 10), ..TcpOptions::default() };
    let mut world = World::with(1, Wire::default(), &options, false);
    let mut ends: Vec<_> = (0..8).map(|_| world.pair()).collect();
    for round in 0..3 {
        for (client, server) in &mut ends {
            assert_eq!(once(|cx| client.poll_write(cx, &[b"ping"])), Poll::Ready(Ok(4)), "round {round}");
            world.run_for(Duration::from_millis(20));
            drain(server);
            world.run_for(Duration::from_millis(20));
        }
    }
    assert!(world.hosts[1].tcp.stats().buffer_shortages.value() > 10);
    assert!(world.hosts[1].tcp.stats().live.value() <= 4);
    // Unread data holds the socket: with all four busy the fifth connection's data is refused, and comes again later.
    for (client, _) in &mut ends[..4] {
        assert_eq!(once(|cx| client.poll_write(cx, &[b"hold"])), Poll::Ready(Ok(4)));
        world.run_for(Duration::from_millis(20));
    }
    let last = tap(&mut world);
    world.hosts[0].tcp.set_now(world.now.get());
    let refused = Rc::clone(&last);
    assert_eq!(once(|cx| ends[4].0.poll_write(cx, &[b"late"])), Poll::Ready(Ok(4)));
    world.run_for(Duration::from_millis(20));
    let late = refused.borrow().clone();
    assert_eq!(world.deliver(1, late), Outcome::Dropped(DropReason::TcpNoMemory));
    for (_, server) in &mut ends[..4] {
        drain(server);
    }
    world.run_for(Duration::from_secs(2));
    let arrived = once(|cx| ends[4].1.poll_fill(cx).map_ok(<[u8]>::to_vec));
    assert_eq!(arrived, Poll::Ready(Ok(b"late".to_vec())));
}
