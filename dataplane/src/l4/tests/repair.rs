//! What is lost is sent again, soon, once, and nothing else.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::{hostile::near, world::*};
use crate::l4::{SynCookies, TcpOptions};

const RTT: Duration = Duration::from_millis(20);

fn wire() -> Wire {
    Wire { delay: RTT / 2, ..Wire::default() }
}

/// Number and octets of a data segment.
fn data(packet: &[u8]) -> Option<(u32, usize)> {
    let header = usize::from(packet[32] >> 4) * 4 + 20;
    let seq = u32::from_be_bytes(packet[24..28].try_into().expect("four bytes"));
    (packet.len() > header).then_some((seq, packet.len() - header))
}

/// The client sends `len` octets after a warm-up that tells it the round trip; of the segments that follow, counted from 0, `lost` tells
/// which do not arrive, with how often that number was sent. Gives the time it took, and how often each segment was sent.
fn transfer(
    options: &TcpOptions,
    len: usize,
    lost: impl Fn(usize, u32) -> bool + 'static,
) -> (Duration, Vec<u32>, World) {
    let mut world = World::with(1, wire(), options, false);
    let (mut client, mut server) = world.pair();
    assert_eq!(once(|cx| client.poll_write(cx, &[b"warm"])), Poll::Ready(Ok(4)));
    world.run_for(RTT * 3);
    assert_eq!(once(|cx| server.poll_fill(cx).map_ok(<[u8]>::len)), Poll::Ready(Ok(4)));
    server.consume(4);
    world.run_for(RTT);
    let sent: Rc<RefCell<BTreeMap<u32, u32>>> = Rc::default();
    let first: Rc<Cell<Option<u32>>> = Rc::default();
    let log = Rc::clone(&sent);
    world.watch = Some(Box::new(move |_, to, packet| {
        let Some((seq, _)) = data(packet).filter(|_| to == 1) else { return true };
        let start = first.get().unwrap_or(seq);
        first.set(Some(start));
        let offset = seq.wrapping_sub(start);
        let mut sent = log.borrow_mut();
        let times = sent.entry(offset).or_default();
        *times += 1;
        !lost(offset as usize / 1460, *times)
    }));
    let start = world.now.get();
    world.spawn(async move { write_all(&mut client, &vec![7; len]).await.expect("sent") });
    let arrived = Rc::new(Cell::new(0));
    let count = Rc::clone(&arrived);
    world.spawn(async move {
        while count.get() < len {
            count.set(count.get() + read_some(&mut server).await.expect("data").len());
        }
    });
    world.finish(Duration::from_secs(30));
    let took = world.now.get() - start;
    let times = sent.borrow().values().copied().collect();
    (took, times, world)
}

fn options() -> TcpOptions {
    TcpOptions { max_connections: 8, ..TcpOptions::default() }
}

fn timers(world: &World) -> u64 {
    world.hosts[0].tcp.stats().timer_retransmits.value()
}

#[test]
fn several_losses_of_one_window_are_repaired_in_one_round_trip() {
    let (clean, _, _) = transfer(&options(), 10 * 1460, |_, _| false);
    let (took, times, world) = transfer(&options(), 10 * 1460, |index, times| [1, 3, 5].contains(&index) && times == 1);
    assert_eq!(times, [1, 2, 1, 2, 1, 2, 1, 1, 1, 1], "each lost one again, and no other");
    assert!(took <= clean + RTT + RTT / 2, "{took:?} instead of {clean:?}");
    assert_eq!(timers(&world), 0);
}

#[test]
fn a_loss_before_fewer_than_three_segments_does_not_wait_for_a_timer() {
    let (clean, _, _) = transfer(&options(), 3 * 1460, |_, _| false);
    let (took, times, world) = transfer(&options(), 3 * 1460, |index, times| index == 1 && times == 1);
    assert_eq!(times, [1, 2, 1]);
    assert!(took <= clean + RTT * 2, "{took:?} instead of {clean:?}");
    assert_eq!(timers(&world), 0);
}

#[test]
fn a_lost_tail_is_found_by_a_probe() {
    let (_, times, world) = transfer(&options(), 8 * 1460, |index, times| index >= 5 && times == 1);
    assert_eq!(times[..5], [1; 5]);
    assert!(times[5..].iter().all(|&times| (2..=3).contains(&times)), "{times:?}");
    assert_eq!(timers(&world), 0);
}

#[test]
fn a_repair_that_is_lost_too_is_repaired_before_the_timer() {
    let (took, times, world) = transfer(&options(), 30 * 1460, |index, times| index == 2 && times <= 2);
    assert_eq!(times[2], 3);
    assert!(times.iter().enumerate().all(|(index, &times)| index == 2 || times == 1), "{times:?}");
    assert_eq!(timers(&world), 0);
    assert!(took < RTT * 8, "{took:?}");
}

#[test]
fn silence_backs_off_and_ends() {
    let (took, times, world) = transfer(&options(), 4 * 1460, |_, times| times <= 3);
    assert!(timers(&world) >= 2);
    assert!(times.iter().all(|&times| times >= 4), "{times:?}");
    assert!((Duration::from_millis(300)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

/// A connection made by a cookie knows no selective acknowledgements, and none is needed: RFC 6582.
#[test]
fn a_peer_that_only_repeats_itself_gets_one_hole_per_round_trip() {
    let options = TcpOptions { syn_cookies: SynCookies::Always, ..options() };
    let (took, times, world) = transfer(&options, 10 * 1460, |index, times| [2, 4].contains(&index) && times == 1);
    assert_eq!((times[2], times[4]), (2, 2));
    assert_eq!(timers(&world), 0);
    assert!(took < RTT * 6, "{took:?}");
}

/// A receiver may say anything about what it has (RFC 2018 §8: it may even take it back). What it cannot have is not believed, and what it
/// says does not keep the rest from arriving.
#[test]
fn false_selective_acknowledgements_stop_nothing() {
    for seed in 0..40 {
        let mut world = World::with(seed, wire(), &options(), false);
        let template = super::hostile::tap(&mut world);
        let (mut client, mut server) = world.pair();
        assert_eq!(once(|cx| server.poll_write(cx, &[&[5; 12_000]])), Poll::Ready(Ok(12_000)));
        let mut dice = Dice::new(seed);
        let ack = template.borrow().clone();
        let una = u32::from_be_bytes(ack[28..32].try_into().expect("four bytes"));
        // Nothing reaches the client for now.
        world.watch = Some(Box::new(|_, to, _| to == 1));
        for _ in 0..100 {
            world.run_for(Duration::from_millis(dice.below(4)));
            let blocks = 1 + dice.below(4) as usize;
            let mut packet = near(&ack, (0, 0), 0x10, 512, 4 + 8 * blocks);
            packet[32] = ((6 + 2 * blocks) as u8) << 4;
            packet[40..44].copy_from_slice(&[1, 1, 5, 2 + 8 * blocks as u8]);
            for block in 0..blocks {
                let point = |dice: &mut Dice| match dice.below(8) {
                    0 => dice.roll() as u32,
                    _ => una.wrapping_add(dice.below(14_000) as u32),
                };
                packet[44 + 8 * block..48 + 8 * block].copy_from_slice(&point(&mut dice).to_be_bytes());
                packet[48 + 8 * block..52 + 8 * block].copy_from_slice(&point(&mut dice).to_be_bytes());
            }
            packet[36..38].fill(0);
            let sum =
                crate::io::checksum::Sum::new().add_pseudo(&packet[12..16], &packet[16..20], 6, packet.len() - 20);
            let sum = sum.add(&packet[20..]).finish();
            packet[36..38].copy_from_slice(&sum.to_be_bytes());
            world.deliver(1, packet);
        }
        world.watch = None;
        world.spawn(async move {
            let mut got = 0;
            while got < 12_000 {
                let piece = read_some(&mut client).await.expect("data");
                assert!(piece.iter().all(|&byte| byte == 5));
                got += piece.len();
            }
        });
        world.finish(Duration::from_secs(60));
        drop(server);
    }
}

/// A receiver that takes its window back while octets are under way (RFC 9293 §3.8.6 asks senders to bear that), and then has room for a part
/// of them.
#[test]
fn a_window_that_shrinks_below_what_is_under_way_and_opens_a_little_is_used() {
    let mut world = World::with(1, wire(), &options(), false);
    let template = super::hostile::tap(&mut world);
    let (client, mut server) = world.pair();
    assert_eq!(once(|cx| server.poll_write(cx, &[&[5; 12_000]])), Poll::Ready(Ok(12_000)));
    let ack = template.borrow().clone();
    let from = u32::from_be_bytes(ack[28..32].try_into().expect("four bytes"));
    // The client's own stack hears nothing and says nothing.
    let heard: Rc<RefCell<Vec<u32>>> = Rc::default();
    let log = Rc::clone(&heard);
    world.watch = Some(Box::new(move |_, to, packet| {
        if let Some((seq, _)) = data(packet).filter(|_| to == 0) {
            log.borrow_mut().push(seq.wrapping_sub(from));
        }
        false
    }));
    world.run_for(RTT * 3);
    for _ in 0..3 {
        world.deliver(1, near(&ack, (0, 4380), 0x10, 0, 0));
        world.run_for(Duration::from_millis(400));
    }
    heard.borrow_mut().clear();
    world.deliver(1, near(&ack, (0, 4380), 0x10, 24, 0));
    world.run_for(Duration::from_secs(2));
    assert_eq!(heard.borrow().first(), Some(&4380), "{:?}", heard.borrow());
    drop((client, server));
}
