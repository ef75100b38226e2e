//! Next hops that share traffic, and cease to answer.

use core::{net::IpAddr, time::Duration};

use super::{
    neighbors::{entry, phase},
    packets::{Nd, arp, icmp, udp4, udp6},
    router::{Router, Sent, our_mac, spec},
};
use crate::{
    io::MacAddr,
    l2::{self, Phase, StaticNeighbor},
    l3::{self, Builder, Hop, Route, Spec, State, Target},
    meta::{InterfaceId, PortId},
};

const STEP: Duration = Duration::from_millis(100);
/// 10.77.1P.50 and fd77:1P::50.
const GATEWAYS: [(u16, &str, &str); 2] = [(1, "10.77.11.50", "fd77:11::50"), (2, "10.77.12.50", "fd77:12::50")];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn station(port: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, port as u8, 0x50])
}

fn hops<'a>(gateways: impl IntoIterator<Item = &'a str>) -> Target {
    let hop = |gateway: &str| Hop { gateway: Some(gateway.parse().unwrap()), interface: None, weight: 1 };
    Target::Spread(gateways.into_iter().map(hop).collect())
}

/// 10.99/16 and fd99::/16 by both.
fn spread() -> Spec {
    let mut spec = spec();
    for (to, target) in
        [("10.99.0.0/16", hops(GATEWAYS.map(|(_, v4, _)| v4))), ("fd99::/16", hops(GATEWAYS.map(|(_, _, v6)| v6)))]
    {
        spec.routes.push(Route { to: to.parse().unwrap(), target });
    }
    spec
}

/// What a station answers to a question that it hears.
fn reply(port: u16, mac: MacAddr, question: &[u8]) -> Option<Vec<u8>> {
    let (_, v4, v6) = *GATEWAYS.iter().find(|(at, ..)| *at == port)?;
    let heard = question[..6] == mac.0 || question[0] & 1 == 1;
    let (ours4, ours6) = (format!("10.77.1{port}.1"), format!("fd77:1{port}::1"));
    if heard && question[12..14] == [8, 6] && question[38..42] == v4.parse::<core::net::Ipv4Addr>().unwrap().octets() {
        return Some(arp(2, (mac, v4), (our_mac(port), &ours4)));
    }
    let asked = question.get(54) == Some(&135);
    if heard && asked && question[62..78] == v6.parse::<core::net::Ipv6Addr>().unwrap().octets() {
        let nd = Nd { kind: 136, flags: 0x60, source: v6, destination: &ours6, target: v6, mac: Some(mac) };
        let mut packet = nd.bytes();
        packet[..6].copy_from_slice(&our_mac(port).0);
        return Some(packet);
    }
    None
}

/// Lets time pass while the stations of these ports answer; what was sent meanwhile.
fn live(router: &mut Router, time: Duration, answering: &[(u16, MacAddr)]) -> Vec<Sent> {
    let (mut all, end) = (Vec::new(), router.now + time);
    while router.now < end {
        let sent = router.wait(STEP);
        for (port, bytes) in &sent {
            for (_, mac) in answering.iter().filter(|(at, _)| at == &port.0) {
                if let Some(reply) = reply(port.0, *mac, bytes) {
                    router.receive(port.0, &reply);
                }
            }
        }
        all.extend(sent);
    }
    all
}

const BOTH: [(u16, MacAddr); 2] = [(1, MacAddr([2, 0, 0, 0, 1, 0x50])), (2, MacAddr([2, 0, 0, 0, 2, 0x50]))];

/// Ports that flows leave by; 0 for those that do not leave.
fn ports(router: &mut Router, v6: bool) -> Vec<u16> {
    let flow = |number: u16| {
        let (mut packet, at) = if v6 { (udp6("fd99::1", 64, 20), 54) } else { (udp4("10.99.0.1", 64, 20), 34) };
        packet[at..at + 2].copy_from_slice(&(2000 + number).to_be_bytes());
        packet
    };
    let is_flow = |(_, bytes): &&Sent| bytes[12..14] == if v6 { [0x86, 0xdd] } else { [8, 0] } && bytes.len() > 60;
    (0..200).map(|number| router.receive(0, &flow(number)).iter().find(is_flow).map_or(0, |(port, _)| port.0)).collect()
}

#[test]
fn only_the_flows_of_a_silent_gateway_move_and_they_come_back() {
    for v6 in [false, true] {
        let mut router = Router::new(spread());
        live(&mut router, seconds(2), &BOTH);
        let before = ports(&mut router, v6);
        assert!(before.contains(&1) && before.contains(&2) && !before.contains(&0), "{before:?}");
        live(&mut router, Duration::from_millis(900), &BOTH[1..]);
        assert_eq!(ports(&mut router, v6), [2; 200], "all by the other, in less than a second");
        // It stays so for as long as it lasts.
        live(&mut router, seconds(60), &BOTH[1..]);
        assert_eq!(ports(&mut router, v6), [2; 200]);
        live(&mut router, Duration::from_millis(1100), &BOTH);
        assert_eq!(ports(&mut router, v6), before, "each where it was");
        assert_eq!(router.leaked(), 0);
    }
}

#[test]
fn a_gateway_that_answers_is_asked_alone_four_times_a_second() {
    let mut router = Router::new(spread());
    live(&mut router, seconds(5), &BOTH);
    let asked = live(&mut router, seconds(3), &BOTH);
    for (port, mac) in BOTH {
        let questions = asked.iter().filter(|(at, bytes)| at.0 == port && bytes[12..14] == [8, 6]);
        let (alone, all): (Vec<_>, Vec<_>) = questions.partition(|(_, bytes)| bytes[..6] == mac.0);
        // Steps of the test are 100 ms, so that 250 become 300.
        assert!((9..=12).contains(&alone.len()) && all.is_empty(), "{} {}", alone.len(), all.len());
        assert_eq!(
            phase(&router, GATEWAYS[usize::from(port) - 1].1),
            Some(Phase::Reachable),
            "without a packet for it"
        );
    }
}

#[test]
fn a_gateway_that_was_never_there_is_asked_for_three_times_and_then_once_a_second() {
    let mut router = Router::new(spread());
    let asked = |sent: &[Sent]| sent.iter().filter(|(port, bytes)| port.0 == 1 && bytes[12..14] == [8, 6]).count();
    assert_eq!(asked(&live(&mut router, Duration::from_millis(2900), &BOTH[1..])), 3);
    assert!(router.state.silent.is_empty(), "not known, not silent yet");
    live(&mut router, Duration::from_millis(300), &BOTH[1..]);
    assert_eq!(ports(&mut router, false), [2; 200]);
    assert_eq!(asked(&live(&mut router, seconds(10), &BOTH[1..])), 10);
}

#[test]
fn without_any_gateway_senders_are_told() {
    let mut router = Router::new(spread());
    live(&mut router, seconds(2), &BOTH);
    assert!(live(&mut router, seconds(1), &[]).iter().all(|(port, _)| port.0 != 0));
    assert!(router.receive(0, &udp4("10.99.0.1", 64, 20)).iter().all(|(_, bytes)| bytes[12..14] == [8, 6]), "it waits");
    let sent = live(&mut router, seconds(4), &[]);
    let told: Vec<_> = sent.into_iter().filter(|(port, _)| port.0 == 0).collect();
    assert_eq!(icmp(&told).kind, (3, 1));
    // And leave when one of them is there again.
    router.receive(0, &udp4("10.99.0.1", 64, 20));
    let sent = live(&mut router, seconds(2), &BOTH);
    assert_eq!(sent.iter().filter(|(port, _)| port.0 == 0).count(), 0);
    assert!(!ports(&mut router, false).contains(&0));
    assert_eq!((router.link.waiting(), router.leaked()), (0, 0));
}

#[test]
fn another_station_that_takes_the_address_over_in_silence_is_found() {
    let mut router = Router::new(spread());
    live(&mut router, seconds(2), &BOTH);
    let before = ports(&mut router, false);
    let other = MacAddr([2, 0, 0, 0, 7, 7]);
    for _ in 0..20 {
        live(&mut router, STEP, &[(1, other), BOTH[1]]);
        assert_eq!(ports(&mut router, false), before, "nobody was silent for long enough");
    }
    assert_eq!(entry(&router, GATEWAYS[0].1).unwrap().mac, other);
}

#[test]
fn who_speaks_and_does_not_answer_is_silent() {
    let mut router = Router::new(spread());
    live(&mut router, seconds(2), &BOTH);
    for _ in 0..30 {
        let question = arp(1, (station(1), GATEWAYS[0].1), (MacAddr::default(), "10.77.11.1"));
        router.receive(1, &question);
        live(&mut router, STEP, &BOTH[1..]);
    }
    assert_eq!(ports(&mut router, false), [2; 200], "it does not hear us");
}

#[test]
fn a_gateway_that_speaks_up_is_asked_at_once() {
    let mut router = Router::new(spread());
    live(&mut router, seconds(2), &BOTH);
    let before = ports(&mut router, false);
    live(&mut router, Duration::from_millis(3300), &BOTH[1..]);
    assert_eq!(ports(&mut router, false), [2; 200]);
    router.receive(1, &arp(1, (station(1), GATEWAYS[0].1), (MacAddr::default(), GATEWAYS[0].1)));
    live(&mut router, 2 * STEP, &BOTH);
    assert_eq!(ports(&mut router, false), before);
}

#[test]
fn static_gateways_are_taken_at_the_operators_word() {
    let mut spec = spread();
    for (port, v4, v6) in GATEWAYS {
        for address in [v4, v6] {
            let address: IpAddr = address.parse().unwrap();
            spec.neighbors.push(StaticNeighbor { interface: InterfaceId(port), address, mac: station(port) });
        }
    }
    let mut router = Router::new(spec);
    assert!(router.wait(seconds(20)).is_empty(), "never asked");
    assert!(!ports(&mut router, false).contains(&0));
}

#[test]
fn a_gateway_keeps_its_state_while_routes_change() {
    let mut builder = Builder::default();
    builder.configure(spread()).unwrap();
    let first = builder.table();
    assert!(first.link().watched()[0].pulse.set(true));
    let mut other = spread();
    let to = "10.98.0.0/16".parse().unwrap();
    other.routes.insert(0, Route { to, target: hops(["10.77.10.50", "10.77.12.50"]) });
    builder.configure(other).unwrap();
    let second = builder.table();
    let silent = |table: &l3::Table| {
        let gateway = |next_hop: u32| table.link().adjacencies()[next_hop as usize].gateway.unwrap().to_string();
        let watched = table.link().watched().iter();
        watched.filter(|w| w.pulse.is_silent()).map(|w| gateway(w.next_hop)).collect::<Vec<_>>()
    };
    assert_eq!((silent(&first), second.link().watched().len()), (silent(&second), 5));
    assert_eq!(silent(&second).len(), 1);
    // One that was no member for a while is not known to be silent.
    builder.configure(spec()).unwrap();
    assert!(builder.table().link().watched().is_empty());
    builder.configure(spread()).unwrap();
    assert_eq!(silent(&builder.table()), [""; 0]);
}

#[test]
fn other_cores_follow() {
    let mut router = Router::new(spread());
    live(&mut router, seconds(2), &BOTH);
    let (mut link, mut net) = (l2::State::new(l2::Limits::default(), 9), State::new());
    link.adopt(router.table.link());
    net.adopt(&router.table);
    assert_eq!(link.next_deadline(), None, "one core asks");
    live(&mut router, seconds(1), &BOTH[1..]);
    l3::heed(&router.table, &mut net, &mut link);
    core::mem::swap(&mut router.link, &mut link);
    core::mem::swap(&mut router.state, &mut net);
    // What the asking core heard is copied to this one.
    for (port, v4, _) in &GATEWAYS[1..] {
        router.receive(*port, &arp(2, (station(*port), v4), (our_mac(*port), "10.77.12.1")));
    }
    assert_eq!(ports(&mut router, false), [2; 200]);
}

#[test]
fn many_gateways_are_asked_less_often() {
    let mut spec = spec();
    let gateways: Vec<_> = (0..1000).map(|n| format!("10.77.{}.{}", 128 + n / 250, 1 + n % 250)).collect();
    spec.interfaces[1].v4 = vec!["10.77.128.254/17".parse().unwrap()];
    spec.routes.clear();
    spec.routes.push(Route { to: "10.99.0.0/16".parse().unwrap(), target: hops(gateways.iter().map(String::as_str)) });
    let mut router = Router::new(spec);
    let sent = router.wait(seconds(4));
    assert!(sent.iter().all(|(port, _)| *port == PortId(1)));
    // Steps of 100 ms give 32 at once.
    assert!((1200..4100).contains(&sent.len()), "{}", sent.len());
    let mut heard: Vec<_> = sent.iter().map(|(_, bytes)| bytes[38..42].to_vec()).collect();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), 1000, "each in its turn");
}
