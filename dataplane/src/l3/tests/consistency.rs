//! Advertisements of other routers, compared with ours. They are ours, changed.

use core::time::Duration;

use super::{
    neighbors::STRANGER,
    packets::v6,
    presence::{advertising, showing},
    router::{Router, spec},
};
use crate::{
    io::checksum::Sum,
    l2::Presence,
    l3::{Advertise, consistency::Variable},
    meta::InterfaceId,
    verdict::DropReason,
};

const HEAD: usize = 54;

/// What a router says that was told `advertise`, as if fe80::9 said it, after a change of the message.
fn said(advertise: Advertise, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut other = Router::new(showing(Presence::default(), Some(advertise)));
    let (_, mut bytes) = other.wait(Duration::from_secs(1)).remove(0);
    bytes[6..12].copy_from_slice(&STRANGER.0);
    bytes[22..38].copy_from_slice(&v6("fe80::9").octets());
    change(&mut bytes);
    bytes[HEAD + 2..HEAD + 4].fill(0);
    let message = &bytes[HEAD..];
    let sum = Sum::new().add_pseudo(&bytes[22..38], &bytes[38..54], 58, message.len()).add(message).finish();
    bytes[HEAD + 2..HEAD + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn listening() -> Router {
    let mut router = Router::new(showing(Presence::default(), Some(advertising())));
    router.wait(Duration::from_secs(1));
    router
}

/// What is reported of an advertisement: what differs, theirs, and ours.
fn reported(router: &mut Router, bytes: &[u8]) -> Option<(Variable, u32, u32)> {
    assert!(router.receive(0, bytes).is_empty());
    let found = router.state.take_disagreement()?;
    assert_eq!((found.interface, found.router), (InterfaceId(0), v6("fe80::9")));
    Some((found.variable, found.theirs, found.ours))
}

#[test]
fn each_variable_is_compared() {
    let plain = advertising;
    let lifetimes = |valid, preferred| {
        let mut prefixes = plain().prefixes;
        (prefixes[0].valid_lifetime_s, prefixes[0].preferred_lifetime_s) = (valid, preferred);
        Advertise { prefixes, ..plain() }
    };
    for (other, differs) in [
        (Advertise { hop_limit: 64, ..plain() }, (Variable::HopLimit, 64, 63)),
        (Advertise { managed: true, ..plain() }, (Variable::Managed, 1, 0)),
        (Advertise { other: false, ..plain() }, (Variable::Other, 0, 1)),
        (Advertise { reachable_ms: 29_000, ..plain() }, (Variable::ReachableTime, 29_000, 30_000)),
        (Advertise { retransmit_ms: 1000, ..plain() }, (Variable::RetransmitTime, 1000, 1001)),
        (Advertise { mtu: Some(1400), ..plain() }, (Variable::Mtu, 1400, 1500)),
        (lifetimes(86_401, 14_400), (Variable::PrefixLifetimes, 86_401, 86_400)),
        (lifetimes(86_400, 0), (Variable::PrefixLifetimes, 0, 14_400)),
    ] {
        let mut router = listening();
        assert_eq!(reported(&mut router, &said(other, |_| ())), Some(differs));
        assert_eq!(router.drops(DropReason::RouterDisagrees), 1);
    }
}

#[test]
fn what_is_left_to_hosts_and_other_prefixes_are_no_difference() {
    let silent = Advertise { hop_limit: 0, reachable_ms: 0, retransmit_ms: 0, mtu: None, ..advertising() };
    let mut elsewhere = advertising();
    elsewhere.prefixes[0].net = "fd77:99::/64".parse().unwrap();
    (elsewhere.prefixes[0].valid_lifetime_s, elsewhere.lifetime_s) = (7, 0);
    let mut router = listening();
    for other in [advertising(), silent, elsewhere] {
        assert_eq!(reported(&mut router, &said(other, |_| ())), None);
    }
    // A good-bye has no flags, and a router that advertises nothing has nothing to compare.
    let farewell = Advertise { lifetime_s: 0, other: false, prefixes: vec![], ..advertising() };
    assert_eq!(reported(&mut router, &said(farewell, |_| ())), None);
    assert_eq!((router.drops(DropReason::IcmpIgnored), router.drops(DropReason::RouterDisagrees)), (4, 0));
    let mut router = Router::new(spec());
    assert_eq!(reported(&mut router, &said(Advertise { hop_limit: 9, ..advertising() }, |_| ())), None);
    assert_eq!(router.drops(DropReason::IcmpIgnored), 1);
}

#[test]
fn a_difference_is_reported_once_and_counted_always() {
    let mut router = listening();
    let wrong = said(Advertise { hop_limit: 9, ..advertising() }, |_| ());
    assert!(reported(&mut router, &wrong).is_some());
    for _ in 0..5 {
        assert_eq!(reported(&mut router, &wrong), None);
    }
    assert_eq!(router.drops(DropReason::RouterDisagrees), 6);
    let worse = said(Advertise { hop_limit: 8, ..advertising() }, |_| ());
    assert_eq!(reported(&mut router, &worse), Some((Variable::HopLimit, 8, 63)), "another difference is news");
    router.reload(showing(Presence::default(), Some(Advertise { mtu: None, ..advertising() })));
    assert!(reported(&mut router, &worse).is_some(), "after a change it is said again");
    // Whoever makes up routers does not fill the log.
    let mut reports = 0;
    for last in 0..100 {
        let other = said(Advertise { hop_limit: 9, ..advertising() }, |bytes| bytes[30] = last);
        router.receive(0, &other);
        reports += usize::from(router.state.take_disagreement().is_some());
    }
    assert_eq!(reports, 5, "eight at once, of which three were before");
}

#[test]
fn what_is_no_advertisement_of_the_link_is_refused() {
    type Change = fn(&mut Vec<u8>);
    let wrong: [Change; 5] = [
        |bytes| bytes[21] = 254,
        |bytes| bytes[HEAD + 1] = 1,
        |bytes| bytes[22..24].copy_from_slice(&[0xfd, 0x77]),
        |bytes| bytes[HEAD + 17] = 0,
        |bytes| bytes[HEAD + 17] = 200,
    ];
    let mut router = listening();
    for change in wrong {
        assert_eq!(reported(&mut router, &said(Advertise { hop_limit: 9, ..advertising() }, change)), None);
    }
    assert_eq!((router.drops(DropReason::IcmpMalformed), router.drops(DropReason::RouterDisagrees)), (5, 0));
}
