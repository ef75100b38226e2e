//! Our own addresses: probed for, announced, in conflict; and router advertisements. Each is told apart by an independent parser.

use core::{net::Ipv6Addr, time::Duration};

use super::{
    local::echo6,
    neighbors::STRANGER,
    packets::{Nd, arp, icmp, v6},
    router::{Router, Sent, our_mac, peer_mac, spec},
};
use crate::{
    io::MacAddr,
    l2::{Conflict, Link, Presence, Tags, tag},
    l3::{Advertise, Prefix, Spec},
    meta::{InterfaceId, PortId},
    verdict::DropReason,
};

const SECOND: Duration = Duration::from_secs(1);
/// Another station has an address of ours: as a kernel answers a probe.
const HAS: Nd<'static> = Nd {
    kind: 136,
    flags: 0x20,
    source: "fd77:10::1",
    destination: "ff02::1",
    target: "fd77:10::1",
    mac: Some(STRANGER),
};

/// The router of the other tests, whose port 0 shows itself as given.
pub(super) fn showing(presence: Presence, advertise: Option<Advertise>) -> Spec {
    let mut spec = spec();
    (spec.interfaces[0].presence, spec.interfaces[0].advertise) = (presence, advertise);
    spec
}

fn announcing() -> Presence {
    Presence { announce: true, ..Presence::default() }
}

pub(super) fn advertising() -> Advertise {
    Advertise {
        interval: Duration::from_secs(60),
        least_interval: Duration::from_secs(20),
        lifetime_s: 180,
        managed: false,
        other: true,
        hop_limit: 63,
        reachable_ms: 30_000,
        retransmit_ms: 1_001,
        mtu: Some(1500),
        prefixes: vec![prefix("fd77:10::/64")],
        dns: vec![v6("fd77:10::53")],
    }
}

fn prefix(net: &str) -> Prefix {
    let net = net.parse().unwrap();
    Prefix { net, on_link: true, autonomous: true, valid_lifetime_s: 86_400, preferred_lifetime_s: 14_400 }
}

/// The prefixes of an advertisement, with their flags and lifetimes.
fn prefixes(sent: &Sent) -> Vec<Prefix> {
    let said = icmp(std::slice::from_ref(sent));
    let options = options(&said.payload[8..]).into_iter().filter(|(kind, _)| *kind == 3);
    let seconds = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let prefix = |bytes: Vec<u8>| Prefix {
        net: format!("{}/{}", Ipv6Addr::from_octets(bytes[14..].try_into().unwrap()), bytes[0]).parse().unwrap(),
        on_link: bytes[1] & 0x80 != 0,
        autonomous: bytes[1] & 0x40 != 0,
        valid_lifetime_s: seconds(&bytes[2..6]),
        preferred_lifetime_s: seconds(&bytes[6..10]),
    };
    options.map(|(_, bytes)| prefix(bytes)).collect()
}

fn is_arp(sent: &Sent) -> bool {
    sent.1[12..14] == [8, 6]
}

/// The packets of one ICMPv6 type.
fn of_type(sent: &[Sent], kind: u8) -> Vec<Sent> {
    sent.iter().filter(|(_, bytes)| bytes[12..14] == [0x86, 0xdd] && bytes[54] == kind).cloned().collect()
}

#[test]
fn new_addresses_are_announced_three_times_and_not_again() {
    let mut router = Router::new(showing(announcing(), None));
    let sent = router.wait(30 * SECOND);
    let gratuitous = (PortId(0), arp(1, (our_mac(0), "10.77.10.1"), (MacAddr::BROADCAST, "10.77.10.1")));
    assert_eq!(sent.iter().filter(|sent| is_arp(sent)).cloned().collect::<Vec<_>>(), vec![gratuitous; 3]);
    let advertisements = of_type(&sent, 136);
    assert_eq!(
        (advertisements.len(), sent.len()),
        (6, 11),
        "the global and the link-local address, and two reports of groups"
    );
    let said = icmp(&advertisements[..1]);
    assert_eq!((&*said.source, &*said.destination, said.rest), ("fd77:10::1", "ff02::1", 0xa000_0000), "not solicited");
    assert_eq!(said.payload[16..], [2, 1, 2, 0, 0, 0, 0, 1]);
    // A reload that adds an address announces that one alone.
    let mut more = showing(announcing(), None);
    more.interfaces[0].v4.push("10.88.0.1/24".parse().unwrap());
    router.reload(more);
    let sent = router.wait(30 * SECOND);
    assert!(sent.iter().all(|(_, bytes)| bytes[28..32] == [10, 88, 0, 1]), "{sent:02x?}");
    assert_eq!((sent.len(), router.leaked()), (3, 0));
}

#[test]
fn a_tentative_address_is_probed_for_and_not_used() {
    let address = "10.77.10.1".parse().unwrap();
    let six = "fd77:10::1".parse().unwrap();
    let tentative = Presence { tentative: vec![address, six], ..announcing() };
    let mut router = Router::new(showing(tentative, None));
    let sent = router.wait(8 * SECOND);
    let probe = arp(1, (our_mac(0), "0.0.0.0"), (MacAddr::BROADCAST, "10.77.10.1"));
    let probes: Vec<_> = sent.iter().filter(|sent| is_arp(sent)).collect();
    assert_eq!(probes, [&(PortId(0), probe.clone()); 3]);
    let solicitations = of_type(&sent, 135);
    let asked = icmp(&solicitations[..1]);
    assert_eq!((&*asked.source, &*asked.destination, solicitations.len()), ("::", "ff02::1:ff00:1", 3));
    assert_eq!(asked.payload, v6("fd77:10::1").octets(), "without an option (RFC 4861 §4.3)");
    // Nobody gets an answer yet, and nothing is sent from it.
    assert!(router.receive(0, &arp(1, (STRANGER, "10.77.10.7"), (MacAddr::default(), "10.77.10.1"))).is_empty());
    let ask = Nd {
        kind: 135,
        flags: 0,
        source: "fd77:10::7",
        destination: "ff02::1:ff00:1",
        target: "fd77:10::1",
        mac: Some(STRANGER),
    };
    assert!(router.receive(0, &ask.bytes()).is_empty());
    assert_eq!(router.link.take_conflict(), None);
    // Another station that probes for it, and one that has it.
    let other = arp(1, (STRANGER, "0.0.0.0"), (MacAddr::default(), "10.77.10.1"));
    assert!(router.receive(0, &other).is_empty());
    assert_eq!(router.link.take_conflict(), Some(Conflict { interface: InterfaceId(0), address, mac: STRANGER }));
    assert!(router.receive(0, &HAS.bytes()).is_empty());
    assert_eq!(router.link.take_conflict(), Some(Conflict { interface: InterfaceId(0), address: six, mac: STRANGER }));
    let probes =
        Nd { kind: 135, flags: 0, source: "::", destination: "ff02::1:ff00:1", target: "fd77:10::1", mac: None };
    assert!(router.receive(0, &probes.bytes()).is_empty());
    assert_eq!(
        router.link.take_conflict(),
        Some(Conflict { interface: InterfaceId(0), address: six, mac: peer_mac(0) })
    );
    assert_eq!(router.drops(DropReason::AddressConflict), 3);
    // Free after all: used and announced.
    router.reload(showing(announcing(), None));
    assert_eq!(of_type(&router.wait(SECOND), 136).len(), 1);
    assert_eq!(router.receive(0, &arp(1, (STRANGER, "10.77.10.7"), (MacAddr::default(), "10.77.10.1"))).len(), 1);
}

#[test]
fn an_address_in_use_that_another_station_has_is_reported_and_defended() {
    let mut router = Router::new(showing(announcing(), None));
    router.wait(30 * SECOND);
    let conflict = Conflict { interface: InterfaceId(0), address: HAS.source.parse().unwrap(), mac: STRANGER };
    let defence = router.receive(0, &HAS.bytes());
    let said = icmp(&of_type(&defence, 136));
    assert_eq!((&*said.source, &*said.destination, defence.len()), ("fd77:10::1", "ff02::1", 1));
    assert_eq!(
        (said.rest, &said.payload[16..]),
        (0xa000_0000, &[2, 1, 2, 0, 0, 0, 0, 1][..]),
        "it replaces what was heard"
    );
    assert_eq!(router.link.take_conflict(), Some(conflict));
    assert!(router.receive(0, &HAS.bytes()).is_empty(), "once in ten seconds, or two who defend go on for ever");
    router.wait(11 * SECOND);
    router.link.take_conflict();
    // It asks from there; the neighbour that it would be is not learnt.
    let asks = Nd { kind: 135, flags: 0, destination: "ff02::1:ff00:1", ..HAS };
    assert_eq!(of_type(&router.receive(0, &asks.bytes()), 136).len(), 1, "the defence");
    assert_eq!(router.link.take_conflict(), Some(conflict));
    // Whatever else comes from there is none of this.
    assert!(router.receive(0, &echo6("fd77:10::1", "fd77:10::1", b"x")).is_empty());
    let elsewhere = Nd { source: "fd77:12::1", ..asks };
    assert!(router.receive(0, &elsewhere.bytes()).is_empty());
    assert_eq!((router.drops(DropReason::AddressConflict), router.drops(DropReason::IpOwnSource)), (3, 2));
}

#[test]
fn the_first_probe_waits_for_a_random_part_of_a_second() {
    let tentative = Presence { tentative: vec!["10.77.10.1".parse().unwrap()], ..Presence::default() };
    let mut router = Router::new(showing(tentative, None));
    let start = router.now;
    while router.wait(Duration::from_millis(1)).is_empty() {
        assert!(router.now - start <= SECOND, "PROBE_WAIT");
    }
    assert!(router.now - start > Duration::from_millis(2));
}

#[test]
fn our_own_messages_brought_back_are_no_conflict() {
    let probing = Presence { probe: true, ..announcing() };
    let mut router = Router::new(showing(probing, None));
    for (port, bytes) in router.wait(10 * SECOND) {
        assert!(router.receive(port.0, &bytes).is_empty());
    }
    assert_eq!((router.drops(DropReason::AddressConflict), router.link.take_conflict()), (0, None));
}

#[test]
fn an_address_in_use_is_defended_and_reported() {
    let mut router = Router::new(spec());
    let claim = arp(1, (STRANGER, "10.77.10.1"), (MacAddr::default(), "10.77.10.1"));
    assert_eq!(router.receive(0, &claim).len(), 1, "once in ten seconds (RFC 5227 §2.4)");
    for station in 0..50 {
        let claim = arp(1, (MacAddr([2, 0, 0, 9, 0, station]), "10.77.10.1"), (MacAddr::default(), "10.77.10.1"));
        assert!(router.receive(0, &claim).is_empty());
    }
    let reported = std::iter::from_fn(|| router.link.take_conflict()).count();
    assert_eq!((reported, router.drops(DropReason::AddressConflict)), (8, 51), "a flood is counted, not reported");
}

/// Options of an advertisement: type and content.
fn options(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options = Vec::new();
    while let [kind, units, ..] = bytes {
        let len = usize::from(*units) * 8;
        options.push((*kind, bytes[2..len].to_vec()));
        bytes = &bytes[len..];
    }
    options
}

#[test]
fn hosts_are_told_what_the_operator_says() {
    let mut router = Router::new(showing(Presence::default(), Some(advertising())));
    let sent = router.wait(SECOND);
    let said = icmp(&sent);
    let link_local = router.table.link().interface(InterfaceId(0)).link_local.to_string();
    assert_eq!((said.kind, &*said.source, &*said.destination, sent[0].1[21]), ((134, 0), &*link_local, "ff02::1", 255));
    assert_eq!(said.rest, 0x3f40_00b4, "hop limit 63, other configuration, 180 s");
    assert_eq!(said.payload[..8], [30_000u32.to_be_bytes(), 1_001u32.to_be_bytes()].concat());
    let [(1, mac), (5, mtu), (3, prefix), (25, dns)] = &options(&said.payload[8..])[..] else { panic!("{said:?}") };
    assert_eq!((&mac[..], &mtu[..]), (&our_mac(0).0[..], &[0, 0, 0, 0, 5, 0xdc][..]));
    assert_eq!(prefix[..2], [64, 0xc0], "on the link, and for addresses of the hosts' own");
    assert_eq!(prefix[2..10], [86_400u32.to_be_bytes(), 14_400u32.to_be_bytes()].concat());
    assert_eq!(prefix[14..], v6("fd77:10::").octets());
    assert_eq!(dns[..6], [0, 0, 0, 0, 0, 180]);
    assert_eq!(dns[6..], v6("fd77:10::53").octets());
}

#[test]
fn advertisements_come_at_the_times_of_rfc_4861() {
    let mut router = Router::new(showing(Presence::default(), Some(advertising())));
    let start = router.now;
    let mut times = Vec::new();
    for _ in 0..6000 {
        times.extend(router.wait(Duration::from_millis(100)).iter().map(|_| router.now - start));
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[..3].iter().all(|gap| *gap <= Duration::from_millis(16_100)), "{gaps:?}");
    let usual = Duration::from_secs(20)..=Duration::from_millis(60_100);
    assert!(gaps[3..].iter().all(|gap| usual.contains(gap)) && gaps.len() > 9, "{gaps:?}");
    assert!(gaps[3..].windows(2).any(|pair| pair[0].abs_diff(pair[1]) > SECOND), "at random");
    // A host that has just come: half a second, but never sooner than three seconds after the last.
    let solicit = |router: &mut Router, times: usize| {
        let ask = solicitation();
        (0..times).for_each(|_| assert!(router.receive(0, &ask).is_empty()));
        let before = router.now;
        while router.wait(Duration::from_millis(100)).is_empty() {}
        router.now - before
    };
    router.wait(3 * SECOND);
    assert!(solicit(&mut router, 5) <= Duration::from_millis(600));
    let second = solicit(&mut router, 5);
    assert!((Duration::from_millis(2900)..Duration::from_millis(3700)).contains(&second), "{second:?}");
}

#[test]
fn a_prefix_that_comes_is_told_at_once_and_one_that_goes_is_withdrawn() {
    let mut router = Router::new(showing(Presence::default(), Some(advertising())));
    router.wait(400 * SECOND);
    // Nothing else changes: the interval, the lifetime and the flags are as before.
    let other = Advertise { prefixes: vec![prefix("fd77:11::/64")], ..advertising() };
    router.reload(showing(Presence::default(), Some(other.clone())));
    let gone = Prefix { valid_lifetime_s: 0, preferred_lifetime_s: 0, ..prefix("fd77:10::/64") };
    let sent = router.wait(4 * SECOND);
    assert_eq!(prefixes(&sent[0]), [prefix("fd77:11::/64"), gone]);
    let sent = [sent, router.wait(33 * SECOND)].concat();
    assert_eq!(sent.len(), 3, "quickly, so that one that is lost does not matter (RFC 4861 §6.2.4)");
    assert!(sent.iter().all(|said| prefixes(said).contains(&gone)));
    let sent = router.wait(60 * SECOND);
    assert!(!sent.is_empty() && sent.iter().all(|said| prefixes(said) == [prefix("fd77:11::/64")]), "forgotten");
    // One that comes back is told as it is.
    router.reload(showing(Presence::default(), Some(advertising())));
    router.wait(4 * SECOND);
    router.reload(showing(Presence::default(), Some(other)));
    let sent = router.wait(4 * SECOND);
    assert_eq!(prefixes(&sent[0]), [prefix("fd77:11::/64"), gone]);
    // A new MTU is news too.
    let short = Advertise { mtu: None, ..advertising() };
    router.wait(100 * SECOND);
    router.reload(showing(Presence::default(), Some(short)));
    let sent = router.wait(SECOND);
    assert!(options(&icmp(&sent).payload[8..]).iter().all(|(kind, _)| *kind != 5), "{sent:02x?}");
}

#[test]
fn many_prefixes_take_several_advertisements_and_few_of_those_that_are_gone_are_kept() {
    let many = |from: u16| (from..from + 40).map(|at| prefix(&format!("fd78:{at:x}::/64"))).collect();
    let said = Advertise { prefixes: many(0), ..advertising() };
    let mut router = Router::new(showing(Presence::default(), Some(said.clone())));
    let sent = router.wait(SECOND);
    assert!(sent.iter().all(|(_, bytes)| bytes.len() <= 14 + 1280), "the least MTU of IPv6");
    assert_eq!(sent.iter().flat_map(prefixes).collect::<Vec<_>>(), said.prefixes);
    router.reload(showing(Presence::default(), Some(Advertise { prefixes: many(100), ..advertising() })));
    let sent = router.wait(4 * SECOND);
    let gone = sent.iter().flat_map(prefixes).filter(|prefix| prefix.valid_lifetime_s == 0).count();
    assert_eq!((gone, sent.len(), router.leaked()), (16, 2, 0));
}

/// A router solicitation of fd77:10::7.
fn solicitation() -> Vec<u8> {
    let neighbor =
        Nd { kind: 135, flags: 0, source: "fd77:10::7", destination: "ff02::2", target: "::", mac: Some(STRANGER) };
    let mut bytes = neighbor.bytes();
    // The same without a target, and the option's type is that of the source in both.
    bytes.drain(62..78);
    bytes[19] -= 16;
    bytes[54] = 133;
    bytes[56..58].fill(0);
    let sum = crate::io::checksum::Sum::new().add_pseudo(&bytes[22..38], &bytes[38..54], 58, bytes.len() - 54);
    let sum = sum.add(&bytes[54..]).finish();
    bytes[56..58].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn who_solicits_is_learnt_and_what_is_malformed_is_not() {
    let mut router = Router::new(showing(Presence::default(), Some(advertising())));
    router.wait(4 * SECOND);
    let mut far = solicitation();
    far[21] = 254;
    assert!(router.receive(0, &far).is_empty());
    assert_eq!((router.drops(DropReason::IcmpMalformed), router.link.neighbors().count()), (1, 6));
    router.receive(0, &solicitation());
    assert_eq!(super::neighbors::entry(&router, "fd77:10::7").map(|entry| entry.mac), Some(STRANGER));
    // A port that does not advertise does not answer.
    router.wait(5 * SECOND);
    let mut elsewhere = solicitation();
    elsewhere[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 2]);
    assert!(router.receive(1, &elsewhere).is_empty());
    assert!(of_type(&router.wait(SECOND), 134).iter().all(|(port, _)| port.0 == 0));
}

#[test]
fn a_port_that_ceases_says_so() {
    let mut router = Router::new(showing(Presence::default(), Some(advertising())));
    router.wait(SECOND);
    router.reload(spec());
    let said = icmp(&router.wait(10 * SECOND));
    assert_eq!((said.kind, said.rest & 0xffff), ((134, 0), 0));
    assert!(router.wait(200 * SECOND).is_empty(), "and nothing else after that");
}

/// The frame leaves by the link on which hosts have heard the advertisements, though the interface is elsewhere or gone.
#[test]
fn an_interface_that_leaves_its_link_says_so_there() {
    let tagged = |tags| {
        let mut spec = showing(Presence::default(), Some(advertising()));
        spec.interfaces[0].link = Link::Port { port: PortId(0), tags };
        spec
    };
    let mut router = Router::new(tagged(Tags::one(tag::CUSTOMER, 10)));
    router.wait(SECOND);
    router.reload(tagged(Tags::one(tag::CUSTOMER, 20)));
    let lifetimes = |sent: Vec<Sent>| -> Vec<_> {
        let id = |bytes: &[u8]| u16::from_be_bytes([bytes[14], bytes[15]]);
        let lifetime = |bytes: &[u8]| u16::from_be_bytes([bytes[64], bytes[65]]);
        sent.iter()
            .map(|(port, bytes)| (*port, bytes[12..14].to_vec(), id(bytes), bytes[58], lifetime(bytes)))
            .collect()
    };
    let customer = vec![0x81, 0];
    let said = [(PortId(0), customer.clone(), 10, 134, 0), (PortId(0), customer.clone(), 20, 134, 180)];
    assert_eq!(lifetimes(router.wait(SECOND)), said);
    let mut gone = tagged(Tags::NONE);
    (gone.interfaces[0].link, gone.interfaces[0].advertise) = (Link::None, None);
    router.reload(gone);
    assert_eq!(lifetimes(router.wait(SECOND)), [(PortId(0), customer, 20, 134, 0)]);
    assert!(router.wait(200 * SECOND).is_empty());
    assert_eq!(router.leaked(), 0);
}
