//! Ports that cut super-segments and merge what arrives, and what is told about data that arrives early or twice.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::{
    hostile::{near, tap},
    world::*,
};

/// Remembers what the server sends.
fn heard(world: &mut World) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&heard);
    world.watch = Some(Box::new(move |_, to, packet| {
        if to == 0 {
            log.borrow_mut().push(packet.to_vec());
        }
        true
    }));
    heard
}

fn transfer(seed: u64, wire: Wire, v6: bool) -> u32 {
    const LEN: u64 = 3_000_000;
    let mut world = World::with(seed, wire, &crate::l4::TcpOptions { max_connections: 8, ..Default::default() }, v6);
    for host in &mut world.hosts {
        host.out.super_segment = 65_280;
    }
    world.watch = Some(Box::new(|_, _, packet| {
        assert!(packet.len() <= 1500, "{} octets on the wire", packet.len());
        true
    }));
    let (mut client, mut server) = world.pair();
    world.spawn(async move { send_pattern(&mut client, seed, LEN).await.expect("sent") });
    world.spawn(async move { assert_eq!(receive_pattern(&mut server, seed).await, Ok(LEN)) });
    world.finish(Duration::from_secs(100));
    world.hosts[0].out.cut
}

#[test]
fn super_segments_carry_a_transfer_whole() {
    let cut = transfer(1, Wire::default(), false);
    assert!((20..1000).contains(&cut), "{cut} super-segments for 2,055 segments");
    assert!(transfer(2, Wire { loss: 20, reorder: 50, ..Wire::default() }, false) > 20);
    assert_eq!(transfer(3, Wire::default(), true), 0, "smoltcp cannot over IPv6");
}

#[test]
fn a_merged_segment_is_acknowledged_at_once() {
    let mut world = World::new(1, Wire::default());
    let template = tap(&mut world);
    let (_client, _server) = world.pair();
    let heard = heard(&mut world);
    for (len, wanted) in [(1000, 0), (4000, 1)] {
        heard.borrow_mut().clear();
        let at = if wanted == 0 { 0 } else { 1000 };
        let merged = near(&template.borrow(), (at, 0), 0x10, 512, len);
        world.deliver(1, merged);
        world.run_for(Duration::from_millis(2));
        assert_eq!(heard.borrow().len(), wanted, "after {len} octets");
        world.run_for(Duration::from_millis(100));
    }
}

/// Blocks of a selective acknowledgement, from the number that is acknowledged.
fn blocks(packet: &[u8]) -> Vec<(u32, u32)> {
    let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four bytes"));
    let end = 20 + usize::from(packet[32] >> 4) * 4;
    assert_eq!(packet.len(), end, "no data");
    let from = word(28);
    (44..end).step_by(8).map(|at| (word(at).wrapping_sub(from), word(at + 4).wrapping_sub(from))).collect()
}

#[test]
fn early_and_duplicate_data_is_told() {
    let mut world = World::new(1, Wire::default());
    let template = tap(&mut world);
    let (_client, _server) = world.pair();
    let heard = heard(&mut world);
    let mut told = |at: i32, len: usize| {
        let segment = near(&template.borrow(), (at, 0), 0x10, 512, len);
        world.deliver(1, segment);
        world.run_for(Duration::from_millis(30));
        blocks(heard.borrow().last().expect("an acknowledgement"))
    };
    assert_eq!(told(0, 100), []);
    assert_eq!(told(1_000, 500), [(900, 1400)]);
    assert_eq!(told(3_000, 500), [(2900, 3400), (900, 1400)]);
    assert_eq!(told(5_000, 500), [(4900, 5400), (2900, 3400), (900, 1400)]);
    assert_eq!(told(3_100, 100), [(3000, 3100), (2900, 3400), (4900, 5400), (900, 1400)], "RFC 2883 §4.2");
    assert_eq!(told(0, 100), [(u32::MAX - 99, 0), (2900, 3400), (4900, 5400), (900, 1400)], "RFC 2883 §4.1");
    assert_eq!(told(100, 900), [(1500, 2000), (3500, 4000)], "the gap is filled");
}
