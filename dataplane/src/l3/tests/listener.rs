//! Multicast listener discovery: the groups that we listen to.

use core::{net::Ipv6Addr, time::Duration};

use super::router::{Router, Sent, our_mac, spec};
use crate::{
    io::{MacAddr, checksum::Sum},
    l2::{self, Presence, Turn},
    l3::{self, Spec},
    meta::{Meta, PortId},
    verdict::DropReason,
};

/// Port 0 says what it is; the others do not.
fn speaking() -> Spec {
    let mut spec = spec();
    spec.interfaces[0].presence = Presence { announce: true, ..Presence::default() };
    spec
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A group, and what is said about it.
type Word = (u8, Ipv6Addr);

/// What one message says: its type, where it goes, and its records (in version 1, itself). `None` for what is no such message.
fn said((port, bytes): &Sent) -> Option<(u8, Ipv6Addr, Vec<Word>)> {
    if bytes[12..14] != [0x86, 0xdd] || bytes[20] != 0 {
        return None;
    }
    let address = |at: usize| Ipv6Addr::from_octets(*bytes[at..].first_chunk().unwrap());
    let (source, to) = (address(22), address(38));
    assert_eq!((*port, bytes[21], source), (PortId(0), 1, l2::table::link_local_of(our_mac(0))));
    assert_eq!(bytes[54..62], [58, 0, 5, 2, 0, 0, 1, 0], "a router alert");
    assert_eq!((&bytes[..2], &bytes[2..6]), (&[0x33, 0x33][..], &to.octets()[12..]));
    let message = &bytes[62..];
    assert_eq!(usize::from(u16::from_be_bytes([bytes[18], bytes[19]])), 8 + message.len());
    let sum = Sum::new().add_pseudo(&source.octets(), &to.octets(), 58, message.len()).add(message);
    assert_eq!(sum.folded(), 0xffff);
    let words = match message[0] {
        143 => {
            assert_eq!(message.len(), 8 + 20 * usize::from(message[7]));
            let record = |record: &[u8]| (record[0], Ipv6Addr::from_octets(*record[4..].first_chunk().unwrap()));
            message[8..].chunks(20).map(record).collect()
        }
        kind => vec![(kind, Ipv6Addr::from_octets(*message[8..].first_chunk().unwrap()))],
    };
    Some((message[0], to, words))
}

fn reports(sent: &[Sent]) -> Vec<(u8, Ipv6Addr, Vec<Word>)> {
    sent.iter().filter_map(said).collect()
}

/// All routers, the group of fd77:10::, which every router has, and that of fd77:10::1 and the link-local address.
fn ours(kind: u8) -> Vec<Word> {
    vec![(kind, v6("ff02::2")), (kind, v6("ff02::1:ff00:0")), (kind, v6("ff02::1:ff00:1"))]
}

/// A query from a router of the link, as port 0 receives it.
fn query(version: u8, code: u16, group: &str) -> Vec<u8> {
    let (source, to) = (v6("fe80::99"), if group == "::" { v6("ff02::1") } else { v6(group) });
    let code = code.to_be_bytes();
    let mut message = [&[130, 0, 0, 0, code[0], code[1], 0, 0][..], &v6(group).octets()].concat();
    if version == 2 {
        message.extend([2, 125, 0, 0]);
    }
    let sum = Sum::new().add_pseudo(&source.octets(), &to.octets(), 58, message.len()).add(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mac = MacAddr([2, 0, 0, 0, 9, 9]);
    [
        &[0x33, 0x33][..],
        &to.octets()[12..],
        &mac.0,
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8 + message.len() as u8, 0, 1],
        &source.octets(),
        &to.octets(),
        &[58, 0, 5, 2, 0, 0, 1, 0],
        &message,
    ]
    .concat()
}

#[test]
fn groups_are_told_twice_and_again_when_they_change() {
    let mut router = Router::new(speaking());
    let told = reports(&router.wait(Duration::from_secs(5)));
    assert_eq!(told, [(); 2].map(|()| (143, v6("ff02::16"), ours(4))));
    assert!(reports(&router.wait(Duration::from_secs(60))).is_empty());
    // Another address: its group is new, and the old one's is left.
    let mut other = speaking();
    other.interfaces[0].mac = MacAddr([2, 0, 0, 0xaa, 0xbb, 0xcc]);
    other.interfaces[0].v6 = vec!["fd77:10::7/64".parse().unwrap()];
    router.reload(other);
    let bytes = router.wait(Duration::from_secs(5));
    let records = |sent: &Sent| sent.1[69];
    let changed: Vec<_> = bytes.iter().filter(|(_, bytes)| bytes[20] == 0).map(records).collect();
    assert_eq!(changed, [5, 5], "ff02::2 and three of its own, and one that is left, told twice");
}

#[test]
fn a_querier_is_answered_in_time() {
    let mut router = Router::new(speaking());
    router.wait(Duration::from_secs(5));
    for group in ["::", "ff02::1:ff00:1"] {
        assert!(router.receive(0, &query(2, 2_000, group)).is_empty(), "not at once");
        let told = reports(&router.wait(Duration::from_secs(2)));
        assert_eq!(told, [(143, v6("ff02::16"), ours(2))], "all groups, once");
    }
    // 0x8002: (0x1000 + 2) << 3 ms, 32.8 s.
    router.receive(0, &query(2, 0x8002, "::"));
    assert_eq!(reports(&router.wait(Duration::from_secs(33))).len(), 1);
    assert_eq!(router.leaked(), 0);
}

#[test]
fn a_querier_of_version_1_hears_its_own_words() {
    let mut router = Router::new(speaking());
    router.wait(Duration::from_secs(5));
    router.receive(0, &query(1, 1_000, "::"));
    let told = reports(&router.wait(Duration::from_secs(1)));
    assert_eq!(told.iter().map(|(kind, to, _)| (*kind, *to)).collect::<Vec<_>>(), ours(131));
    // What is left is told to the routers.
    let mut without = speaking();
    without.interfaces[0].v6.clear();
    router.reload(without);
    let told = reports(&router.wait(Duration::from_secs(3)));
    let done: Vec<_> = told.iter().map(|(kind, to, words)| (*kind, *to, words[0].1)).collect();
    let all_routers = v6("ff02::2");
    let left = ours(0).into_iter().map(|(_, group)| (132, all_routers, group)).collect::<Vec<_>>();
    assert_eq!(done[..left.len()], left);
    // When it has been silent for long enough, the present version is spoken again.
    router.wait(Duration::from_secs(260));
    router.reload(speaking());
    assert_eq!(reports(&router.wait(Duration::from_secs(3)))[0].0, 143);
}

#[test]
fn only_a_querier_of_the_link_is_heard() {
    let mut router = Router::new(speaking());
    router.wait(Duration::from_secs(5));
    let good = query(2, 1_000, "::");
    let from_afar = [&good[..22], &v6("fd77:10::9").octets(), &good[38..]].concat();
    let mut hops = good.clone();
    hops[21] = 2;
    let mut without_alert = [&good[..54], &good[62..]].concat();
    without_alert[20] = 58;
    without_alert[19] -= 8;
    for bad in [from_afar, hops, without_alert, good[..good.len() - 10].to_vec()] {
        assert!(router.receive(0, &bad).is_empty());
    }
    // And a port that says nothing of itself has nothing to say.
    router.receive(1, &good);
    assert!(reports(&router.wait(Duration::from_secs(5))).is_empty());
    assert_eq!(router.drops(DropReason::IcmpMalformed), 3);
}

#[test]
fn a_query_that_another_core_received_is_answered_by_the_one_that_speaks() {
    let mut router = Router::new(speaking());
    router.wait(Duration::from_secs(5));
    let frame = router.arena.copy_from(&query(2, 1_000, "::")).unwrap();
    let meta = Meta { l3: 14, network: crate::meta::Network::Ipv6, ..Meta::default() };
    assert!(l2::is_neighbor_message(&frame, &meta), "so that it is copied to all cores");
    let Router { table, link, state, arena, egress, stats, now, .. } = &mut router;
    let mut turn = Turn { now: *now, arena, egress, stats };
    l3::learn(table, state, link, &mut turn, &frame, &meta);
    drop(frame);
    assert_eq!(reports(&router.wait(Duration::from_secs(1))).len(), 1);
}
