//! In steady state nothing is allocated: not per packet forwarded, not per TCP segment, not per HTTP request from its first
//! segment to its last. All on memory ports, through the real turn of a whole core.

mod counting;
mod far;

use core::time::Duration;

use far::{Nothing, Rig, Shape, answer, links, udp};
use tidegate_dataplane::{
    l3::{self, Match, PolicySpec, Route, Then},
    l4::TcpOptions,
    meta::VrfId,
};

/// Packets of a batch.
const BATCH: usize = 64;
/// Rounds of 7 ms until every timer has fired once and every list has its length: two seconds.
const WARM_UP: usize = 300;

fn forwarding(v6: bool, policies: Vec<PolicySpec>) {
    let mut l3 = l3::Spec { policies, ..links() };
    let destinations: Vec<u128> =
        (0..1000u128).map(|i| if v6 { 0x2001_0db8 << 96 | i << 64 | 1 } else { 0x1400_0000 + (i << 12) + 1 }).collect();
    l3.routes.extend(destinations.iter().enumerate().map(|(number, to)| {
        let to = if v6 {
            ipnet::Ipv6Net::new((*to).into(), 64).unwrap().trunc().into()
        } else {
            ipnet::Ipv4Net::new((*to as u32).into(), 24).unwrap().trunc().into()
        };
        Route { to, target: far::gateway(number, v6) }
    }));
    let mut rig = Rig::new(Shape { l3, ..Shape::default() }, |_| Nothing);
    let mut forwarded = 0;
    let mut batches = |rig: &mut Rig<Nothing>, count: usize| {
        for batch in 0..count {
            for slot in 0..BATCH {
                let to = destinations[(batch * BATCH + slot) % destinations.len()];
                let len = udp::SHORTEST[usize::from(v6)] + slot * 20;
                rig.send(0, udp::packet(rig.worker.arena(), v6, to, len).expect("frames come home"));
            }
            rig.turn();
            forwarded += rig.from[1].borrow_mut().drain(..).count();
            // Time goes on, so that timers and the ageing of neighbours have their turn.
            rig.now += Duration::from_millis(1);
        }
    };
    batches(&mut rig, 10);
    rig.take_cost();
    batches(&mut rig, 2_000);
    assert_eq!((forwarded, rig.losses()), (2_010 * BATCH, 0), "all packets are forwarded");
    assert_eq!(rig.cost.allocations, 0, "allocations in {} packets", 2_000 * BATCH);
}

#[test]
fn forwarding_ipv4_allocates_nothing() {
    forwarding(false, Vec::new());
}

#[test]
fn forwarding_ipv6_allocates_nothing() {
    forwarding(true, Vec::new());
}

/// Requests and responses on open connections, `pause` apart.
/// Every packet is asked about; the rule takes half of them.
#[test]
fn policy_routing_allocates_nothing() {
    for (v6, half) in [(false, "20.32.0.0/11"), (true, "2001:db8:0:200::/55")] {
        let matches = Match { to: vec![half.parse().unwrap()], ..Match::default() };
        let then = Then::Target(far::gateway(7, v6));
        forwarding(v6, vec![PolicySpec { name: "half".into(), vrf: VrfId::MAIN, own: false, matches, then }]);
    }
}

fn segments(pause: Duration) -> u64 {
    let mut rig = answer::rig(TcpOptions { keepalive: None, ..TcpOptions::default() });
    let mut clients = rig.open(0..BATCH);
    let all: Vec<usize> = (0..BATCH).collect();
    let mut rounds = |rig: &mut Rig<answer::Answer>, count: usize| {
        for _ in 0..count {
            rig.exchange(&all, &mut clients);
            rig.now += pause;
            rig.settle(|seen| panic!("nothing to say: {seen:?}"));
        }
    };
    rounds(&mut rig, WARM_UP);
    rig.take_cost();
    let before = rig.tcp.segments_in.value() + rig.tcp.segments_out.value();
    rounds(&mut rig, 200);
    let segments = rig.tcp.segments_in.value() + rig.tcp.segments_out.value() - before;
    assert_eq!(segments, 200 * 3 * BATCH as u64, "request, response, acknowledgement");
    assert_eq!(rig.losses(), 0);
    rig.cost.allocations
}

#[test]
fn a_segment_of_a_busy_connection_allocates_nothing() {
    assert_eq!(segments(Duration::from_millis(7)), 0);
}

#[test]
fn a_segment_that_rouses_a_connection_allocates_nothing() {
    assert_eq!(segments(Duration::from_secs(3)), 0);
}

#[test]
fn a_request_through_the_gateway_allocates_nothing() {
    let mut seat = far::gateway::seat(None, TcpOptions::default());
    let mut clients = seat.rig.open(0..BATCH);
    let all: Vec<usize> = (0..BATCH).collect();
    let mut rounds = |seat: &mut far::gateway::Seat, count: usize| {
        for _ in 0..count {
            seat.exchange(&all, &mut clients);
            seat.rig.now += Duration::from_millis(7);
        }
    };
    rounds(&mut seat, WARM_UP);
    seat.rig.take_cost();
    rounds(&mut seat, 200);
    assert_eq!(seat.http.upstream_connects.value(), BATCH as u64, "connections to the origin are kept");
    assert_eq!(seat.rig.cost.allocations, 0, "allocations in {} requests", 200 * BATCH);
}

#[test]
fn a_request_over_tls_allocates_nothing() {
    const CONNECTIONS: usize = 8;
    let (server, config) = far::tls::pair();
    let mut seat = far::gateway::seat(Some(server), TcpOptions::default());
    let mut clients = seat.rig.open(0..CONNECTIONS);
    let mut secured: Vec<_> =
        (0..CONNECTIONS).map(|number| far::tls::Secured::handshake(&mut seat, &mut clients, number, &config)).collect();
    let mut rounds = |seat: &mut far::gateway::Seat, count: usize| {
        for _ in 0..count {
            for secured in &mut secured {
                secured.ask(seat, &mut clients, far::gateway::REQUEST);
            }
            let mut content = 0;
            seat.settle(&mut clients, |number, bytes| content += secured[number].take(bytes));
            assert!(content > CONNECTIONS * far::gateway::CONTENT, "every request is answered");
            seat.rig.now += Duration::from_millis(7);
        }
    };
    rounds(&mut seat, WARM_UP);
    seat.rig.take_cost();
    rounds(&mut seat, 200);
    assert_eq!(seat.rig.cost.allocations, 0, "allocations in {} requests", 200 * CONNECTIONS);
}
