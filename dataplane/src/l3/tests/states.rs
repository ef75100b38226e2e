//! The states of a neighbour (RFC 4861 §7.3), one after the other, as an IPv6 neighbour goes through them.

use core::time::Duration;

use super::{
    neighbors::{STRANGER, entry, phase},
    packets::{Nd, icmp, udp6},
    router::{Router, our_mac, peer_mac, spec},
};
use crate::{io::MacAddr, l2::Phase};

const NEIGHBOR: &str = "fd77:11::50";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// An advertisement of the neighbour, on port 1.
fn advertise(router: &mut Router, flags: u8, mac: Option<MacAddr>) -> usize {
    let nd = Nd { kind: 136, flags, source: NEIGHBOR, destination: "fd77:11::1", target: NEIGHBOR, mac };
    let mut packet = nd.bytes();
    packet[..6].copy_from_slice(&our_mac(1).0);
    router.receive(1, &packet).len()
}

const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

fn send(router: &mut Router) -> usize {
    router.receive(0, &udp6(NEIGHBOR, 64, 20)).len()
}

/// A router that has just heard the answer to its question.
fn reachable() -> Router {
    let mut router = Router::new(spec());
    let asked = router.receive(0, &udp6(NEIGHBOR, 64, 20));
    assert_eq!((icmp(&asked).kind, phase(&router, NEIGHBOR)), ((135, 0), Some(Phase::Incomplete)));
    assert_eq!(advertise(&mut router, SOLICITED | OVERRIDE, Some(STRANGER)), 1, "what waited leaves");
    assert_eq!(phase(&router, NEIGHBOR), Some(Phase::Reachable));
    router
}

#[test]
fn from_incomplete_by_way_of_probe_back_to_reachable() {
    let mut router = reachable();
    // Used without a question as long as the confirmation is fresh.
    router.wait(seconds(29));
    assert_eq!((send(&mut router), phase(&router, NEIGHBOR)), (1, Some(Phase::Reachable)));
    // The first use after that begins the delay, in which it is used still.
    router.wait(seconds(2));
    assert_eq!((send(&mut router), phase(&router, NEIGHBOR)), (1, Some(Phase::Delay)));
    assert!(router.wait(Duration::from_millis(4_900)).is_empty(), "DELAY_FIRST_PROBE_TIME");
    let probes = router.wait(Duration::from_millis(200));
    let probe = icmp(&probes);
    assert_eq!((probe.kind, &*probe.destination, probes.len()), ((135, 0), NEIGHBOR, 1), "to the neighbour alone");
    assert_eq!(probes[0].1[..6], STRANGER.0);
    assert_eq!((send(&mut router), phase(&router, NEIGHBOR)), (1, Some(Phase::Probe)));
    // Only the answer to a question confirms.
    advertise(&mut router, 0, Some(STRANGER));
    assert_eq!(phase(&router, NEIGHBOR), Some(Phase::Probe));
    advertise(&mut router, SOLICITED, None);
    assert_eq!(
        phase(&router, NEIGHBOR),
        Some(Phase::Reachable),
        "the address may be left out of an answer to one (§4.4)"
    );
    assert!(router.wait(seconds(25)).is_empty());
}

#[test]
fn three_unanswered_probes_end_an_entry_and_its_sender_is_told_after_three_more() {
    let mut router = reachable();
    router.wait(seconds(31));
    send(&mut router);
    let probes = router.wait(Duration::from_millis(8_100));
    assert!(probes.iter().all(|(_, bytes)| bytes[..6] == STRANGER.0 && bytes[54] == 135), "unicast");
    assert_eq!((probes.len(), entry(&router, NEIGHBOR)), (3, None), "MAX_UNICAST_SOLICIT, RETRANS_TIMER apart");
    // The next packet asks everybody again; nobody answers, and its sender hears that.
    let asked = router.receive(0, &udp6(NEIGHBOR, 64, 20));
    assert_eq!(asked[0].1[..3], [0x33, 0x33, 0xff]);
    let rest = router.wait(seconds(4));
    let told: Vec<_> = rest.iter().filter(|(_, bytes)| bytes[54] == 1).collect();
    assert_eq!((rest.len() - told.len(), told.len()), (2, 1), "MAX_MULTICAST_SOLICIT in all, then one error");
    assert_eq!((told[0].0.0, told[0].1[55], router.leaked()), (0, 3, 0), "address unreachable");
}

#[test]
fn an_unsolicited_advertisement_changes_the_address_and_confirms_nothing() {
    let moved = MacAddr([2, 0, 0, 0, 8, 8]);
    let mut router = reachable();
    advertise(&mut router, OVERRIDE, Some(moved));
    let known = entry(&router, NEIGHBOR).unwrap();
    assert_eq!((known.mac, known.phase), (moved, Phase::Stale));
    assert_eq!(router.receive(0, &udp6(NEIGHBOR, 64, 20))[0].1[..6], moved.0);
    assert_eq!(phase(&router, NEIGHBOR), Some(Phase::Delay), "and is asked for when it is used");
    // The same without a change leaves a confirmed entry confirmed.
    let mut router = reachable();
    advertise(&mut router, OVERRIDE, Some(STRANGER));
    assert_eq!(phase(&router, NEIGHBOR), Some(Phase::Reachable));
}

#[test]
fn who_asks_for_us_is_known_but_not_confirmed() {
    let mut router = Router::new(spec());
    let ask = Nd {
        kind: 135,
        flags: 0,
        source: NEIGHBOR,
        destination: "ff02::1:ff00:1",
        target: "fd77:11::1",
        mac: Some(peer_mac(7)),
    };
    assert_eq!(router.receive(1, &ask.bytes()).len(), 1);
    assert_eq!(phase(&router, NEIGHBOR), Some(Phase::Stale));
    assert!(router.wait(seconds(100)).is_empty(), "nobody uses it, nobody asks");
    assert_eq!((send(&mut router), phase(&router, NEIGHBOR)), (1, Some(Phase::Delay)));
}
