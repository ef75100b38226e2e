//! Whatever comes in: no panic, one end per packet, no frame lost.

use core::time::Duration;

use proptest::prelude::*;

use super::{
    packets::{Nd, arp, udp4, udp6},
    router::{Router, our_mac, peer_mac, spec},
};

/// A valid packet of some kind, to be damaged: plain random bytes would never get past the first check.
fn seed() -> impl Strategy<Value = Vec<u8>> {
    let ns = Nd {
        kind: 135,
        flags: 0,
        source: "fd77:10::77",
        destination: "fd77:10::1",
        target: "fd77:10::1",
        mac: Some(peer_mac(0)),
    };
    prop_oneof![
        (prop::sample::select(vec!["10.200.1.1", "10.77.10.1", "10.77.11.9", "10.66.1.1"]), 0usize..1500)
            .prop_map(|(to, size)| udp4(to, 64, size)),
        (prop::sample::select(vec!["fd00:200::1", "fd77:10::1", "fd77:11::9", "ff02::1"]), 0usize..1500)
            .prop_map(|(to, size)| udp6(to, 64, size)),
        Just(arp(1, (peer_mac(0), "10.77.10.2"), (our_mac(0), "10.77.10.1"))),
        Just(ns.bytes()),
        prop::collection::vec(any::<u8>(), 0..100),
    ]
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (0usize..90, any::<u8>());
    (seed(), prop::collection::vec(change, 0..4), any::<bool>(), prop::option::of(0usize..200)).prop_map(
        |(mut bytes, changes, repair, cut)| {
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
            // With its checksum right, a damaged header is looked at more closely.
            if repair
                && bytes.len() >= 34
                && bytes[12..14] == [8, 0]
                && bytes.len() >= 14 + usize::from(bytes[14] & 15) * 4
                && bytes[14] & 15 >= 5
            {
                super::packets::fix_header(&mut bytes);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_packet_has_one_end(packets in prop::collection::vec((0u16..4, damaged()), 1..30)) {
        let mut router = Router::new(spec());
        for (port, bytes) in &packets {
            // The harness itself checks that each slot ends with a verdict that fits its frame.
            for (_, sent) in router.receive(*port, bytes) {
                prop_assert!(sent.len() >= 14 && sent.len() <= 1514);
            }
            prop_assert_eq!(router.leaked(), 0);
        }
        // Twice the time to give up: an error about a packet that waited may itself have to wait.
        router.wait(Duration::from_secs(8));
        prop_assert_eq!(router.leaked(), 0);
        prop_assert_eq!(router.link.waiting(), 0, "whoever waited has been sent or given up");
        router.wait(Duration::from_secs(61));
        prop_assert_eq!(router.state.joiner.waiting(), 0, "and so have fragments");
    }
}
