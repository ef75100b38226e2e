//! ARP (RFC 826, RFC 5227) and the neighbour table behind it.

use core::time::Duration;

use super::{
    packets::{Nd, arp, icmp, udp4, udp6},
    router::{Router, Sent, our_mac, peer_mac, spec},
};
use crate::{
    io::MacAddr,
    l2::{self, Bounds, Limits, Neighbor, Phase},
    l3::Spec,
    meta::{InterfaceId, PortId},
    verdict::DropReason,
};

pub(super) const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn phase(router: &Router, address: &str) -> Option<Phase> {
    entry(router, address).map(|entry| entry.phase)
}

pub(super) fn entry(router: &Router, address: &str) -> Option<Neighbor> {
    router.link.neighbors().find(|entry| entry.address == address.parse::<std::net::IpAddr>().unwrap())
}

/// What the router asks when it looks for 10.77.11.50, and its answer.
fn question() -> Sent {
    (PortId(1), arp(1, (our_mac(1), "10.77.11.1"), (MacAddr::BROADCAST, "10.77.11.50")))
}

pub(super) fn answer() -> Vec<u8> {
    arp(2, (STRANGER, "10.77.11.50"), (our_mac(1), "10.77.11.1"))
}

#[test]
fn an_arp_request_for_us_is_answered() {
    let mut router = Router::new(spec());
    let request = arp(1, (peer_mac(0), "10.77.10.2"), (MacAddr::default(), "10.77.10.1"));
    let reply = arp(2, (our_mac(0), "10.77.10.1"), (peer_mac(0), "10.77.10.2"));
    let padded = [&request[..], &[0; 18]].concat();
    assert_eq!(router.receive(0, &padded), [(PortId(0), reply)], "without the padding");
    // A probe (RFC 5227 §2.1.1) is answered and teaches nothing.
    let probe = arp(1, (STRANGER, "0.0.0.0"), (MacAddr::default(), "10.77.10.1"));
    assert_eq!(router.receive(0, &probe).len(), 1);
    assert_eq!(entry(&router, "0.0.0.0"), None);
}

#[test]
fn arp_for_others_is_ignored() {
    let mut router = Router::new(spec());
    // Another host, and our own address on another link.
    for target in ["10.77.10.9", "10.77.11.1"] {
        let request = arp(1, (STRANGER, "10.77.10.7"), (MacAddr::default(), target));
        assert!(router.receive(0, &request).is_empty());
    }
    assert_eq!((router.drops(DropReason::ArpIgnored), entry(&router, "10.77.10.7")), (2, None));
}

#[test]
fn malformed_arp_is_refused() {
    let mut router = Router::new(spec());
    let good = arp(1, (STRANGER, "10.77.10.7"), (MacAddr::default(), "10.77.10.1"));
    // Hardware type, protocol, lengths, operation, a group as sender.
    for (at, value) in [(15, 6), (16, 9), (18, 8), (19, 16), (21, 9), (22, 3), (28, 224)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(router.receive(0, &bad).is_empty(), "byte {at}");
    }
    assert!(router.receive(0, &good[..41]).is_empty());
    assert_eq!(router.drops(DropReason::ArpMalformed), 8);
}

#[test]
fn packets_wait_for_the_answer_and_leave_in_order() {
    let mut router = Router::new(spec());
    let packets: Vec<_> = (0..3).map(|size| udp4("10.77.11.50", 64, size)).collect();
    assert_eq!(router.receive(0, &packets[0]), [question()]);
    assert!(router.receive(0, &packets[1]).is_empty(), "asked once");
    assert!(router.receive(0, &packets[2]).is_empty());
    assert_eq!(router.link.waiting(), 3);
    let sent = router.receive(1, &answer());
    assert_eq!(sent.len(), 3);
    for ((port, bytes), packet) in sent.iter().zip(&packets) {
        assert_eq!((*port, &bytes[..6], &bytes[34..]), (PortId(1), &STRANGER.0[..], &packet[34..]));
    }
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Reachable));
    assert_eq!(router.receive(0, &packets[0]).len(), 1, "now at once");
    assert_eq!(router.leaked(), 0);
}

#[test]
fn nobody_answers() {
    let mut router = Router::new(spec());
    let packet = udp4("10.77.11.50", 64, 20);
    router.receive(0, &packet);
    assert_eq!(router.wait(seconds(1)), [question()]);
    assert_eq!(router.wait(seconds(1)), [question()]);
    let reply = icmp(&router.wait(seconds(1)));
    assert_eq!((reply.port, reply.kind, &*reply.source), (0, (3, 1), "10.77.10.1"));
    assert_eq!(reply.payload[20..], packet[34..]);
    assert_eq!((router.drops(DropReason::NeighborUnreachable), entry(&router, "10.77.11.50")), (1, None));

    router.receive(0, &udp6("fd77:11::50", 64, 20));
    let sent = router.wait(seconds(3));
    assert_eq!(icmp(&sent[2..]).kind, (1, 3));
    assert_eq!(router.leaked(), 0);
}

#[test]
fn only_a_few_packets_wait() {
    let limits = Limits { waiting_per_neighbor: 2, waiting: 100 };
    let mut router = Router::with_limits(spec(), limits);
    for size in 0..5 {
        router.receive(0, &udp4("10.77.11.50", 64, size));
    }
    assert_eq!((router.link.waiting(), router.drops(DropReason::NeighborQueueFull)), (2, 3));
    let sent = router.receive(1, &answer());
    assert_eq!(sent.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [45, 46], "the newest are kept");
}

#[test]
fn an_answer_counts_only_if_it_was_asked_for() {
    let mut router = Router::new(spec());
    assert!(router.receive(1, &answer()).is_empty());
    assert_eq!((router.drops(DropReason::ArpIgnored), entry(&router, "10.77.11.50")), (1, None));
    // And only on the link that was asked.
    router.receive(0, &udp4("10.77.11.50", 64, 20));
    let mut elsewhere = arp(2, (STRANGER, "10.77.11.50"), (our_mac(2), "10.77.12.1"));
    assert!(router.receive(2, &elsewhere).is_empty());
    elsewhere[..6].fill(0xff);
    assert!(router.receive(2, &elsewhere).is_empty());
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Incomplete));
}

#[test]
fn a_request_to_us_teaches_who_asks() {
    let mut router = Router::new(spec());
    let request = arp(1, (STRANGER, "10.77.11.50"), (MacAddr::default(), "10.77.11.1"));
    assert_eq!(router.receive(1, &request).len(), 1);
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Stale));
    let sent = router.receive(0, &udp4("10.77.11.50", 64, 20));
    assert_eq!(sent[0].1[..6], STRANGER.0, "used at once");
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Delay), "and to be confirmed");
    // Somebody who is not on this link is answered, not remembered.
    let foreign = arp(1, (STRANGER, "192.0.2.9"), (MacAddr::default(), "10.77.11.1"));
    assert_eq!((router.receive(1, &foreign).len(), entry(&router, "192.0.2.9")), (1, None));
}

/// A router that has resolved 10.77.11.50.
fn resolved() -> Router {
    let mut router = Router::new(spec());
    router.receive(0, &udp4("10.77.11.50", 64, 20));
    assert_eq!(router.receive(1, &answer()).len(), 1);
    router
}

#[test]
fn an_old_entry_is_confirmed_by_unicast_while_it_is_used() {
    let mut router = resolved();
    assert!(router.wait(seconds(60)).is_empty(), "unused entries are not asked for");
    assert_eq!(router.receive(0, &udp4("10.77.11.50", 64, 20)).len(), 1);
    assert!(router.wait(Duration::from_millis(4_900)).is_empty());
    let mut probe = question();
    probe.1[..6].copy_from_slice(&STRANGER.0);
    assert_eq!(router.wait(Duration::from_millis(200)), [probe]);
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Probe));
    assert_eq!(router.receive(0, &udp4("10.77.11.50", 64, 20)).len(), 1, "still in use");
    router.receive(1, &answer());
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Reachable));
    assert!(router.wait(seconds(20)).is_empty());
}

#[test]
fn an_entry_nobody_answers_for_is_removed() {
    let mut router = resolved();
    router.wait(seconds(40));
    router.receive(0, &udp4("10.77.11.50", 64, 20));
    assert_eq!(router.wait(seconds(9)).len(), 3, "three probes");
    assert_eq!(entry(&router, "10.77.11.50"), None);
    assert_eq!(router.receive(0, &udp4("10.77.11.50", 64, 20)), [question()], "asked anew");
}

#[test]
fn a_gratuitous_arp_moves_a_known_neighbour_and_adds_no_unknown_one() {
    let mut router = resolved();
    let moved = MacAddr([2, 0, 0, 0, 8, 8]);
    let announcement = |address| arp(1, (moved, address), (MacAddr::default(), address));
    assert!(router.receive(1, &announcement("10.77.11.51")).is_empty());
    assert_eq!(entry(&router, "10.77.11.51"), None);
    assert!(router.receive(1, &announcement("10.77.11.50")).is_empty());
    let known = entry(&router, "10.77.11.50").unwrap();
    assert_eq!((known.mac, known.phase), (moved, Phase::Stale), "believed, and confirmed at the next use");
    assert_eq!(router.receive(0, &udp4("10.77.11.50", 64, 20))[0].1[..6], moved.0);
}

#[test]
fn a_claim_to_our_address_is_a_conflict_and_is_defended() {
    let mut router = Router::new(spec());
    let claim = arp(1, (STRANGER, "10.77.11.1"), (MacAddr::default(), "10.77.11.1"));
    let defence = (PortId(1), arp(1, (our_mac(1), "10.77.11.1"), (MacAddr::default(), "10.77.11.1")));
    assert_eq!(router.receive(1, &claim), core::slice::from_ref(&defence));
    assert!(router.receive(1, &claim).is_empty(), "at most every ten seconds");
    router.wait(seconds(10));
    assert_eq!(router.receive(1, &claim), [defence]);
    assert_eq!(router.drops(DropReason::AddressConflict), 3);
    let own = arp(1, (our_mac(1), "10.77.11.1"), (MacAddr::default(), "10.77.11.9"));
    assert!(router.receive(1, &own).is_empty(), "our own question, heard again");
    assert_eq!(router.drops(DropReason::AddressConflict), 3);
    let nd = Nd {
        kind: 136,
        flags: 0x20,
        source: "fe80::2",
        destination: "ff02::1",
        target: "fd77:10::1",
        mac: Some(STRANGER),
    };
    router.receive(0, &nd.bytes());
    assert_eq!(router.drops(DropReason::AddressConflict), 4);
}

#[test]
fn static_neighbours_are_the_operators_word() {
    let mut router = Router::new(spec());
    let claim = arp(2, (STRANGER, "10.77.11.2"), (our_mac(1), "10.77.11.1"));
    router.receive(1, &claim);
    assert_eq!(entry(&router, "10.77.11.2").unwrap().mac, peer_mac(1));
    assert!(router.wait(seconds(100)).is_empty());
    assert_eq!(router.receive(0, &udp4("10.77.11.2", 64, 20)).len(), 1);
}

#[test]
fn a_reload_changes_static_neighbours_and_keeps_learnt_ones() {
    let mut router = resolved();
    router.receive(0, &udp4("10.77.11.60", 64, 20));
    let mut changed = spec();
    changed.neighbors.retain(|neighbor| neighbor.address != "10.77.11.2".parse::<std::net::IpAddr>().unwrap());
    changed.neighbors.push(l2::StaticNeighbor {
        interface: InterfaceId(1),
        address: "10.77.11.60".parse().unwrap(),
        mac: STRANGER,
    });
    changed.interfaces[1].mac = MacAddr([2, 0, 0, 0, 7, 7]);
    router.reload(changed);
    assert_eq!(phase(&router, "10.77.11.2"), None);
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Reachable));
    let sent = router.wait(Duration::from_millis(100));
    assert_eq!(sent[0].1[..12], [2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 7, 7], "what waited leaves, from our new address");
    assert_eq!(router.receive(0, &udp4("10.77.11.50", 64, 20))[0].1[6..12], [2, 0, 0, 0, 7, 7]);
    let mut fewer = spec();
    fewer.interfaces.truncate(1);
    (fewer.routes, fewer.neighbors) = (Vec::new(), Vec::new());
    router.receive(0, &udp4("10.77.11.70", 64, 20));
    router.reload(fewer);
    router.wait(Duration::from_millis(100));
    assert!(router.link.neighbors().all(|neighbor| neighbor.interface == InterfaceId(0)));
    assert_eq!((router.drops(DropReason::NeighborUnreachable), router.leaked()), (1, 0));
}

/// Neighbours that are there for good, and so many beside them.
fn room_for(entries: usize) -> Spec {
    Spec { neighbor_bounds: Bounds { entries, ..Bounds::default() }, ..spec() }
}

#[test]
fn a_full_table_gives_up_the_oldest_unanswered_question_first() {
    let mut router = Router::new(room_for(3));
    router.receive(0, &udp4("10.77.11.50", 64, 20));
    router.receive(1, &answer());
    router.receive(0, &udp4("10.77.11.60", 64, 20));
    router.receive(0, &udp4("10.77.11.61", 64, 20));
    router.receive(0, &udp4("10.77.11.62", 64, 20));
    assert_eq!(phase(&router, "10.77.11.60"), None);
    assert_eq!(phase(&router, "10.77.11.61"), Some(Phase::Incomplete));
    assert_eq!(phase(&router, "10.77.11.50"), Some(Phase::Reachable));
    assert_eq!(router.drops(DropReason::NeighborTableFull), 1);
    assert_eq!(router.leaked(), 0);
}

#[test]
fn a_table_full_of_fresh_neighbours_takes_no_other_until_one_is_stale() {
    let mut router = Router::new(room_for(1));
    router.receive(0, &udp4("10.77.11.50", 64, 20));
    router.receive(1, &answer());
    assert!(router.receive(0, &udp4("10.77.11.60", 64, 20)).is_empty());
    assert_eq!(router.drops(DropReason::NeighborTableFull), 1);
    router.wait(seconds(31));
    assert_eq!(router.receive(0, &udp4("10.77.11.60", 64, 20)).len(), 1);
    assert_eq!(phase(&router, "10.77.11.50"), None);
}

#[test]
fn a_lower_bound_is_reached_as_new_neighbours_come() {
    let mut router = Router::new(room_for(6));
    for last in 50..56 {
        router.receive(0, &udp4(&format!("10.77.11.{last}"), 64, 20));
    }
    let known = |router: &Router| router.link.neighbors().filter(|neighbor| neighbor.phase != Phase::Static).count();
    assert_eq!(known(&router), 6);
    router.reload(room_for(4));
    assert_eq!(known(&router), 6, "nobody is forgotten for it at once");
    for (last, left) in [(70, 5), (71, 4), (72, 4)] {
        router.receive(0, &udp4(&format!("10.77.11.{last}"), 64, 20));
        assert_eq!(known(&router), left);
    }
    let fixed = router.link.neighbors().filter(|neighbor| neighbor.phase == Phase::Static).count();
    assert_eq!((fixed, router.leaked()), (6, 0), "static ones stay");
}

#[test]
fn a_scan_does_not_become_a_broadcast_storm() {
    let mut wide = spec();
    wide.interfaces[1].v4 = vec!["10.78.0.1/16".parse().unwrap()];
    wide.routes.retain(|route| route.to.to_string().starts_with("fd"));
    wide.neighbors.clear();
    let mut router = Router::new(wide.clone());
    let scan = |router: &mut Router, from: u32| -> usize {
        let each = (from..from + 1000).map(|i| format!("10.78.{}.{}", 1 + i / 200, 1 + i % 200));
        each.map(|address| router.receive(0, &udp4(&address, 64, 0)).len()).sum()
    };
    let asked = scan(&mut router, 0);
    assert_eq!((asked, router.drops(DropReason::NeighborRateLimited)), (250, 750));
    // Those who want a new neighbour on another link do not notice.
    assert_eq!(router.receive(0, &udp4("10.77.12.50", 64, 0)).len(), 1);
    // The operator may want fewer.
    wide.neighbor_bounds.questions = 40;
    router.reload(wide);
    assert_eq!(scan(&mut router, 1000), 10);
}
