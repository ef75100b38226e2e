//! Router advertisements (RFC 4861 §6.2): what hosts on a link are told, so that they find addresses, prefixes and the way out.
//!
//! One core speaks. It sends a few advertisements soon after an interface begins to advertise or changes what it says, then one at
//! a random time within the configured interval, and an early one to whoever solicits. An interface that ceases says so (§6.2.5),
//! also when it is removed and when the gateway stops, so that hosts turn to another router at once.

use core::{net::Ipv6Addr, time::Duration};

use arrayvec::ArrayVec;
use ipnet::Ipv6Net;

use super::Table;
use crate::{
    clock::Instant,
    frame::Frame,
    io::MacAddr,
    l2::{
        ETHERTYPE_IPV6, Header, Turn,
        presence::draw,
        solicit::{ALL_NODES, leave, multicast_mac, write_header},
    },
    meta::InterfaceId,
};

/// Advertisements that are sent at short intervals at first, and that interval (RFC 4861 §10).
const INITIAL: u8 = 3;
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
/// Least time between two advertisements on a link (MIN_DELAY_BETWEEN_RAS).
const LEAST_INTERVAL: Duration = Duration::from_secs(3);
/// Most time a solicitation waits for its answer, apart from [`LEAST_INTERVAL`] (MAX_RA_DELAY_TIME).
const ANSWER_DELAY: Duration = Duration::from_millis(500);
/// Prefixes in one advertisement: with everything else they fit the least MTU of IPv6. What is more goes into another one (§6.2.3).
const PREFIXES_AT_ONCE: usize = 32;
/// Prefixes that hosts are told to forget at a time.
const MOST_WITHDRAWN: usize = 16;
const ROUTER_ADVERTISEMENT: u8 = 134;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;
pub(super) const MANAGED: u8 = 0x80;
pub(super) const OTHER: u8 = 0x40;

/// What an interface tells hosts (the names are those of RFC 4861 §6.2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertise {
    /// Longest time between two advertisements (MaxRtrAdvInterval), 4 s or more.
    pub interval: Duration,
    /// The least (MinRtrAdvInterval), 3 s or more and no more than three quarters of the longest.
    pub least_interval: Duration,
    /// Seconds for which hosts may use us as their default router (AdvDefaultLifetime); 0 if they may not.
    pub lifetime_s: u16,
    /// Addresses are to be had by DHCPv6 (AdvManagedFlag).
    pub managed: bool,
    /// Other configuration is to be had by DHCPv6 (AdvOtherConfigFlag).
    pub other: bool,
    /// Hop limit that hosts are told to use (AdvCurHopLimit); 0 if it is left to them.
    pub hop_limit: u8,
    /// Milliseconds for which hosts take a neighbour to be reachable (AdvReachableTime); 0 if it is left to them.
    pub reachable_ms: u32,
    /// Milliseconds after which they ask again (AdvRetransTimer); 0 if it is left to them.
    pub retransmit_ms: u32,
    /// The link's MTU, in bytes (AdvLinkMTU), if they are told.
    pub mtu: Option<u16>,
    /// The prefixes of the link (AdvPrefixList).
    pub prefixes: Vec<Prefix>,
    /// Recursive name servers (RFC 8106 §5.1).
    pub dns: Vec<Ipv6Addr>,
}

/// A prefix as hosts are told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The prefix.
    pub net: Ipv6Net,
    /// Its addresses are on the link (AdvOnLinkFlag).
    pub on_link: bool,
    /// Hosts may make addresses of their own in it (AdvAutonomousFlag, RFC 4862).
    pub autonomous: bool,
    /// Seconds for which it is valid (AdvValidLifetime).
    pub valid_lifetime_s: u32,
    /// Seconds for which addresses in it are preferred (AdvPreferredLifetime).
    pub preferred_lifetime_s: u32,
}

/// A prefix that hosts are told to forget, and how often they still will be.
#[derive(Clone, Copy, Debug)]
struct Withdrawn {
    prefix: Prefix,
    left: u8,
}

/// From whom an advertisement is, and by which link.
#[derive(Clone, Copy, Debug)]
struct Sender {
    interface: InterfaceId,
    header: Header,
    link_local: Ipv6Addr,
    mac: MacAddr,
}

impl Sender {
    fn of(table: &Table, id: InterfaceId) -> Self {
        let interface = table.link().interface(id);
        let header = Header::new(interface, multicast_mac(ALL_NODES), ETHERTYPE_IPV6);
        Self { interface: id, header, link_local: interface.link_local, mac: interface.mac }
    }
}

/// One interface's course.
#[derive(Debug)]
struct Course {
    says: Option<Advertise>,
    /// Whom hosts have heard, since the last farewell.
    heard: Option<Sender>,
    /// Early advertisements that are left.
    initial: u8,
    /// Prefixes that are gone: hosts that are not told keep addresses in them that lead nowhere (RFC 9096 §3.5).
    withdrawn: ArrayVec<Withdrawn, MOST_WITHDRAWN>,
    /// One with lifetime 0 is due.
    ceases: bool,
    next: Option<Instant>,
    last: Option<Instant>,
}

impl Course {
    const SILENT: Self = Self {
        says: None,
        heard: None,
        initial: 0,
        withdrawn: ArrayVec::new_const(),
        ceases: false,
        next: None,
        last: None,
    };

    /// Takes over what is to be said from now on.
    fn adopt(&mut self, says: Option<&Advertise>) {
        if self.says.as_ref() == says {
            return;
        }
        let stays = |net: Ipv6Net| says.is_some_and(|says| says.prefixes.iter().any(|prefix| prefix.net == net));
        self.withdrawn.retain(|gone| !stays(gone.prefix.net));
        // An interface that ceases says nothing about prefixes: they are still on the link, only not by way of us.
        let before = self.says.take().filter(|_| says.is_some());
        for prefix in before.iter().flat_map(|before| &before.prefixes).filter(|prefix| !stays(prefix.net)) {
            if self.withdrawn.is_full() {
                self.withdrawn.remove(0);
            }
            let prefix = Prefix { valid_lifetime_s: 0, preferred_lifetime_s: 0, ..*prefix };
            self.withdrawn.push(Withdrawn { prefix, left: INITIAL });
        }
        self.ceases = says.is_none();
        self.initial = INITIAL;
        self.next = Some(self.last.map_or(Instant::ZERO, |last| last + LEAST_INTERVAL));
        self.says = says.cloned();
    }

    /// After an advertisement: the time until the next.
    fn spoken(&mut self, says: &Advertise, random: &mut u64) -> Duration {
        for gone in &mut self.withdrawn {
            gone.left -= 1;
        }
        self.withdrawn.retain(|gone| gone.left > 0);
        let interval = says.least_interval + draw(random, says.interval.saturating_sub(says.least_interval));
        if self.initial == 0 {
            return interval;
        }
        self.initial -= 1;
        interval.min(INITIAL_INTERVAL)
    }
}

/// When a core advertises on which interface.
#[derive(Debug)]
pub(super) struct Advertiser {
    /// Only one core speaks.
    speaks: bool,
    courses: Vec<Course>,
    /// Those whose interfaces are no more, or on another link, for a farewell.
    gone: Vec<Sender>,
    random: u64,
}

impl Advertiser {
    pub(super) const fn new() -> Self {
        Self { speaks: false, courses: Vec::new(), gone: Vec::new(), random: 0 }
    }

    /// Makes this the core that speaks. `seed` should be random, so that routers switched on together do not keep step.
    pub(super) const fn speak(&mut self, seed: u64) {
        self.speaks = true;
        self.random = seed;
    }

    /// Takes over a generation: an interface that says something new says it soon, one that says nothing any more says that.
    pub(super) fn adopt(&mut self, table: &Table) {
        if !self.speaks {
            return;
        }
        let interfaces = table.advertise.len().max(self.courses.len());
        self.courses.resize_with(interfaces, || Course::SILENT);
        for (at, course) in self.courses.iter_mut().enumerate() {
            let interface = table.link().interface(InterfaceId(at as u16));
            if let Some(sender) = course.heard.take_if(|sender| !sender.header.is_by(interface)) {
                self.gone.push(sender);
                *course = Course::SILENT;
            }
            course.adopt(table.advertise.get(at).and_then(Option::as_ref));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let gone = (!self.gone.is_empty()).then_some(Instant::ZERO);
        self.courses.iter().filter_map(|course| course.next).chain(gone).min()
    }

    /// A host on `interface` asks (RFC 4861 §6.2.6): the next advertisement comes early, but not too soon after the last.
    pub(super) fn solicited(&mut self, interface: InterfaceId, now: Instant) {
        let Some(course) = self.courses.get_mut(interface.index()).filter(|course| course.says.is_some()) else {
            return;
        };
        let early = now + draw(&mut self.random, ANSWER_DELAY);
        let early = course.last.map_or(early, |last| early.max(last + LEAST_INTERVAL));
        course.next = Some(course.next.map_or(early, |next| next.min(early)));
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, table: &Table, turn: &mut Turn<'_>) {
        for sender in self.gone.drain(..) {
            farewell(&sender, turn);
        }
        for (at, course) in self.courses.iter_mut().enumerate() {
            if course.next.is_none_or(|at| at > turn.now) {
                continue;
            }
            let sender = Sender::of(table, InterfaceId(at as u16));
            course.last = Some(turn.now);
            let Some(says) = course.says.take() else {
                if core::mem::take(&mut course.ceases) {
                    farewell(&sender, turn);
                }
                (course.next, course.heard) = (None, None);
                continue;
            };
            send(&sender, &says, &course.withdrawn, turn);
            course.heard = Some(sender);
            course.next = Some(turn.now + course.spoken(&says, &mut self.random));
            course.says = Some(says);
        }
    }

    /// Says on every interface that advertises that this router is one no longer.
    pub(super) fn cease(&mut self, table: &Table, turn: &mut Turn<'_>) {
        for (at, course) in self.courses.iter_mut().enumerate() {
            if course.says.take().is_some() {
                (course.next, course.ceases, course.heard) = (None, false, None);
                farewell(&Sender::of(table, InterfaceId(at as u16)), turn);
            }
        }
    }
}

/// An advertisement without prefixes and with lifetime 0: the prefixes are still on the link, only not by way of us.
fn farewell(sender: &Sender, turn: &mut Turn<'_>) {
    send_message(sender, turn, |frame| {
        // Everything is left to the hosts, the hop limit too.
        append(frame, &[ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            && source_option(frame, sender.mac)
    });
}

/// Says everything, in as many messages as it takes (§6.2.3).
fn send(sender: &Sender, says: &Advertise, withdrawn: &[Withdrawn], turn: &mut Turn<'_>) {
    let mut prefixes = says.prefixes.iter().copied().chain(withdrawn.iter().map(|gone| gone.prefix)).peekable();
    loop {
        send_message(sender, turn, |frame| {
            head(frame, says)
                && source_option(frame, sender.mac)
                && says.mtu.is_none_or(|mtu| mtu_option(frame, mtu))
                && prefixes.by_ref().take(PREFIXES_AT_ONCE).all(|prefix| prefix_option(frame, &prefix))
                && (says.dns.is_empty() || dns_option(frame, says))
        });
        if prefixes.peek().is_none() {
            return;
        }
    }
}

/// Sends a message to all nodes of the link; `write` appends it, and says whether it had room.
fn send_message(sender: &Sender, turn: &mut Turn<'_>, write: impl FnOnce(&mut Frame) -> bool) {
    let Some(mut frame) = turn.arena.alloc() else { return };
    if frame.extend(40).is_none() || !write(&mut frame) {
        return;
    }
    let (ip, message) = frame.data_mut().split_at_mut(40);
    write_header(ip, sender.link_local, ALL_NODES, 255, message);
    leave(sender.interface, &sender.header, frame, turn);
}

/// The fixed part (§4.2).
fn head(frame: &mut Frame, says: &Advertise) -> bool {
    let flags = if says.managed { MANAGED } else { 0 } | if says.other { OTHER } else { 0 };
    append(frame, &[ROUTER_ADVERTISEMENT, 0, 0, 0, says.hop_limit, flags])
        && append(frame, &says.lifetime_s.to_be_bytes())
        && append(frame, &says.reachable_ms.to_be_bytes())
        && append(frame, &says.retransmit_ms.to_be_bytes())
}

/// §4.6.1.
fn source_option(frame: &mut Frame, own: MacAddr) -> bool {
    append(frame, &[1, 1]) && append(frame, &own.0)
}

/// §4.6.4.
fn mtu_option(frame: &mut Frame, mtu: u16) -> bool {
    append(frame, &[5, 1, 0, 0, 0, 0]) && append(frame, &mtu.to_be_bytes())
}

/// §4.6.2.
fn prefix_option(frame: &mut Frame, prefix: &Prefix) -> bool {
    let flags = if prefix.on_link { ON_LINK } else { 0 } | if prefix.autonomous { AUTONOMOUS } else { 0 };
    append(frame, &[3, 4, prefix.net.prefix_len(), flags])
        && append(frame, &prefix.valid_lifetime_s.to_be_bytes())
        && append(frame, &prefix.preferred_lifetime_s.to_be_bytes())
        && append(frame, &[0; 4])
        && append(frame, &prefix.net.network().octets())
}

/// RFC 8106 §5.1: kept for three intervals, so that one lost advertisement does not cost hosts their name servers.
fn dns_option(frame: &mut Frame, says: &Advertise) -> bool {
    let units = 1 + 2 * says.dns.len() as u8;
    let lifetime = u32::try_from(3 * says.interval.as_secs()).unwrap_or(u32::MAX);
    append(frame, &[25, units, 0, 0])
        && append(frame, &lifetime.to_be_bytes())
        && says.dns.iter().all(|server| append(frame, &server.octets()))
}

fn append(frame: &mut Frame, bytes: &[u8]) -> bool {
    frame.extend(bytes.len()).map(|room| room.copy_from_slice(bytes)).is_some()
}
