//! Our own addresses on their links: is somebody else using them, and do the neighbours know that we are?
//!
//! For each address that is new, one core sends three rounds, one to two seconds apart. A round is a probe, which asks whether
//! another station has the address and changes nobody's tables (RFC 5227 §2.1.1, RFC 4862 §5.4.2), and an announcement (RFC 5227
//! §2.3, RFC 4861 §7.2.6): after a failover neighbours send to the old station until they hear one. A *tentative* address is only
//! probed for: it is neither answered for nor used until the management thread, having heard of no conflict, publishes it as ours.

use core::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use arrayvec::ArrayVec;

use super::{Bucket, Interface, Table, Turn, solicit};
use crate::{clock::Instant, io::MacAddr, meta::InterfaceId, random};

/// Times that an address is probed for and announced (RFC 5227 §1.1, PROBE_NUM; RFC 4861 §10, MAX_NEIGHBOR_ADVERTISEMENT).
const ROUNDS: u8 = 3;
/// Least time between two rounds, and the most that is added to it at random (RFC 5227 §1.1, PROBE_MIN, PROBE_MAX).
const SPACING: Duration = Duration::from_secs(1);
/// After this time without an answer a tentative address is free: PROBE_WAIT, the rounds, and ANNOUNCE_WAIT of RFC 5227 §1.1.
pub const PROBE_TIME: Duration = Duration::from_secs(2 * ROUNDS as u64 + 2);
/// Addresses handled per turn: bounds its length.
const PER_TURN: usize = 16;
/// Conflicts reported per second, and at once; all are counted.
const REPORTS: Bucket = Bucket::per_second(1, 8);

/// How we show ourselves on a link.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Presence {
    /// Tell the neighbours about new addresses.
    pub announce: bool,
    /// Ask whether somebody has them already.
    pub probe: bool,
    /// Addresses of the interface that are not used until it is known that nobody has them.
    pub tentative: Vec<IpAddr>,
    /// How often they have been asked for: when it grows, they are asked for again.
    pub attempt: u64,
}

/// Another station uses an address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The interface it was heard on.
    pub interface: InterfaceId,
    /// The address.
    pub address: IpAddr,
    /// The other station.
    pub mac: MacAddr,
}

impl Default for Conflict {
    fn default() -> Self {
        Self { interface: InterfaceId(0), address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), mac: MacAddr::default() }
    }
}

/// An address of ours, and what is still to be sent for it.
#[derive(Clone, Copy, Debug)]
struct Own {
    interface: InterfaceId,
    address: IpAddr,
    /// The attempt, for a tentative one.
    tentative: Option<u64>,
    rounds: u8,
    due: Instant,
}

impl Own {
    /// Tells it from the others, and orders them.
    const fn key(&self) -> (u16, IpAddr, Option<u64>) {
        (self.interface.0, self.address, self.tentative)
    }
}

/// What a core does about our addresses.
#[derive(Debug)]
pub(super) struct Announcer {
    /// Only one core speaks.
    speaks: bool,
    /// In the order of their keys.
    own: Vec<Own>,
    conflicts: ArrayVec<Conflict, 8>,
    reports: Bucket,
    random: u64,
}

impl Announcer {
    pub(super) const fn new(seed: u64) -> Self {
        Self { speaks: false, own: Vec::new(), conflicts: ArrayVec::new_const(), reports: REPORTS, random: seed }
    }

    /// Makes this the core that speaks, from the next generation on.
    pub(super) const fn speak(&mut self) {
        self.speaks = true;
    }

    /// Takes over a generation: what is new in it will be probed for and announced, what is known goes on.
    pub(super) fn adopt(&mut self, table: &Table) {
        if !self.speaks {
            return;
        }
        let known = core::mem::take(&mut self.own);
        for (at, interface) in table.interfaces().iter().enumerate() {
            let id = InterfaceId(at as u16);
            for address in addresses_of(interface) {
                let tentative = interface.is_tentative(address).then_some(interface.presence.attempt);
                let new = Own { interface: id, address, tentative, rounds: ROUNDS, due: Instant::ZERO };
                // There may be thousands, and packets wait.
                let before = known.binary_search_by_key(&new.key(), Own::key).ok();
                self.own.push(before.map_or(new, |at| known[at]));
            }
        }
        self.own.sort_unstable_by_key(Own::key);
    }

    /// When [`Announcer::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.own.iter().filter(|own| own.rounds > 0).map(|own| own.due).min()
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, table: &Table, turn: &mut Turn<'_>) {
        let now = turn.now;
        let due = self.own.iter_mut().filter(|own| own.rounds > 0 && own.due <= now);
        for own in due.take(PER_TURN) {
            // Machines switched on together do not ask at once (RFC 5227 §1.1, PROBE_WAIT; RFC 4862 §5.4.2).
            if own.due == Instant::ZERO && own.tentative.is_some() {
                own.due = now + draw(&mut self.random, SPACING);
                continue;
            }
            let interface = table.interface(own.interface);
            if interface.presence.probe || own.tentative.is_some() {
                solicit::probe(own.interface, interface, own.address, turn);
            }
            if interface.presence.announce && own.tentative.is_none() {
                solicit::announce(own.interface, interface, own.address, turn);
            }
            own.rounds -= 1;
            own.due = now + SPACING + draw(&mut self.random, SPACING);
        }
    }

    /// Keeps a conflict to be reported; more than a few are only counted. One about a tentative address decides whether it will be
    /// used, so that it is not lost in others.
    pub(super) fn conflict(&mut self, conflict: Conflict, tentative: bool, now: Instant) {
        let known = self.conflicts.contains(&conflict);
        if !known && !self.conflicts.is_full() && (tentative || self.reports.take(now)) {
            self.conflicts.push(conflict);
        }
    }

    pub(super) fn take_conflict(&mut self) -> Option<Conflict> {
        self.conflicts.pop()
    }
}

/// Every address that the interface has or wants.
fn addresses_of(interface: &Interface) -> impl Iterator<Item = IpAddr> + '_ {
    let silent = !interface.presence.announce && !interface.presence.probe && interface.presence.tentative.is_empty();
    // Without an IPv6 address of the operator's the link-local one is not in use.
    let link_local = (!interface.v6.is_empty()).then_some(interface.link_local);
    let v6 = interface.v6.iter().map(|net| net.addr()).chain(link_local);
    let all = interface.v4.iter().map(|net| IpAddr::V4(net.addr())).chain(v6.map(IpAddr::V6));
    all.filter(move |_| !silent)
}

/// A random part of `most`, so that machines switched on together do not speak at once.
pub(crate) fn draw(state: &mut u64, most: Duration) -> Duration {
    let share = random::next(state) >> 32;
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(nanos) * u128::from(share)) >> 32) as u64)
}
