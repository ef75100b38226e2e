//! Do the gateways that share traffic still answer? A silent one is passed over by the flows that were its, until it answers again.
//!
//! The states of RFC 4861 §7.3 need half a minute to notice that a station has gone, which is right for a host that speaks to one
//! router and wrong for a router that has another way. So one core asks each gateway of a group several times a second, also when no
//! packet is for it: the answers reach every core like all neighbour messages, and keep its address fresh everywhere. What is silent
//! is said by a [`Pulse`], which all cores read.
//!
//! Only an answer counts: what a gateway sends of its own accord says nothing about whether it hears us (RFC 4861 §7.3.1).

use core::{net::IpAddr, time::Duration};
use std::sync::Arc;

use super::{Claim, RETRANSMIT, State, TRIES};
use crate::{
    clock::Instant,
    l2::{
        Bucket, Table, Turn,
        entries::{Entry, Phase},
        solicit,
    },
    meta::InterfaceId,
    sync::pulse::{Changes, Pulse},
};

/// Time between an answer asked for and the next question, as long as answers come.
pub const PACE: Duration = Duration::from_millis(250);
/// Time after which a question counts as unanswered, and is asked again.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// Unanswered questions that make a gateway silent: so many that a link which loses one packet in ten does not.
pub const QUESTIONS: u8 = 6;
/// The last of them go to the whole link: another station may have taken over the address without a word.
const TO_ALL: u8 = 2;
/// Questions per second, and at once. With more gateways than this allows each is asked less often.
const RATE: Bucket = Bucket::per_second(1_000, 32);
/// When to look again after [`RATE`] was used up.
const PAUSE: Duration = Duration::from_millis(1);

/// A gateway that shares traffic with others.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its next hop, and with it its [`Adjacency`](crate::l2::Adjacency).
    pub next_hop: u32,
    /// Whether it answers.
    pub pulse: Arc<Pulse>,
}

/// Next hops whose gateway is silent, as a core sees them in this turn.
#[derive(Clone, Default, Debug)]
pub struct Silent {
    /// By number; empty when all answer.
    bits: Vec<u64>,
    /// The count of changes that this follows.
    seen: usize,
}

impl Silent {
    /// Whether all gateways answer.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Whether the gateway of a next hop is silent.
    #[inline]
    pub fn contains(&self, next_hop: u32) -> bool {
        self.bits.get(next_hop as usize / 64).is_some_and(|word| word >> (next_hop % 64) & 1 == 1)
    }

    /// Whether something has changed since [`Silent::read`].
    #[inline]
    pub fn is_outdated(&self, changes: &Changes) -> bool {
        changes.count() != self.seen
    }

    /// Reads who is silent among the gateways of a table.
    pub fn read(&mut self, table: &Table) {
        // Before the flags: what changes meanwhile is read once more.
        self.seen = table.changes().count();
        self.bits.clear();
        for Watched { next_hop, pulse } in table.watched() {
            if pulse.is_silent() {
                self.insert(*next_hop);
            }
        }
    }

    pub(crate) fn insert(&mut self, next_hop: u32) {
        let word = next_hop as usize / 64;
        self.bits.resize(self.bits.len().max(word + 1), 0);
        self.bits[word] |= 1 << (next_hop % 64);
    }
}

/// A gateway, and what it was asked.
#[derive(Clone, Debug)]
struct Post {
    interface: InterfaceId,
    address: IpAddr,
    pulse: Arc<Pulse>,
    /// Questions since its last answer.
    unanswered: u8,
    /// When it was last asked.
    asked: Instant,
    due: Instant,
}

/// What a core does about them: all know whose answers to keep, one asks.
#[derive(Clone, Debug)]
pub(super) struct Vigil {
    asks: bool,
    /// In the order of interface and address.
    posts: Vec<Post>,
    /// Who comes first when not all can be asked at once.
    hand: usize,
    /// When the first of them is due.
    next: Option<Instant>,
    rate: Bucket,
}

impl Vigil {
    pub(super) const fn new() -> Self {
        Self { asks: false, posts: Vec::new(), hand: 0, next: None, rate: RATE }
    }

    /// Makes this the core that asks, from the next generation on.
    pub(super) const fn speak(&mut self) {
        self.asks = true;
    }

    /// A copy that neither asks nor says who is silent.
    pub(super) fn rehearsal(&self) -> Self {
        Self { asks: false, next: None, ..self.clone() }
    }

    /// Takes over a generation. What is known of a gateway that stays goes on.
    pub(super) fn adopt(&mut self, table: &Table) {
        let before = core::mem::take(&mut self.posts);
        let posts = table.watched().iter().filter_map(|Watched { next_hop, pulse }| {
            let adjacency = table.adjacencies().get(*next_hop as usize)?;
            let (interface, address) = (adjacency.interface, adjacency.gateway?);
            let known = before.binary_search_by_key(&key(interface, address), Post::key).ok().map(|at| &before[at]);
            let new = Post {
                interface,
                address,
                pulse: Arc::clone(pulse),
                unanswered: 0,
                asked: Instant::ZERO,
                due: Instant::ZERO,
            };
            Some(known.filter(|known| Arc::ptr_eq(&known.pulse, pulse)).cloned().unwrap_or(new))
        });
        self.posts = posts.collect();
        self.posts.sort_unstable_by_key(Post::key);
        self.schedule();
    }

    /// Whether an address is that of a gateway whose answers are asked for by one of the cores.
    pub(super) fn watches(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.find(interface, address).is_some()
    }

    /// Takes note of what a gateway says.
    pub(super) fn hear(&mut self, claim: &Claim, now: Instant) {
        if !self.asks {
            return;
        }
        let Some(at) = self.find(claim.interface, claim.address) else { return };
        let post = &mut self.posts[at];
        if claim.solicited {
            post.unanswered = 0;
            post.due = post.asked + PACE;
            post.pulse.set(false);
        } else if post.pulse.is_silent() && now - post.asked >= PATIENCE {
            // It is there again, and may hear us too.
            post.due = now;
        }
        self.schedule();
    }

    /// When there is something to ask.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    fn find(&self, interface: InterfaceId, address: IpAddr) -> Option<usize> {
        self.posts.binary_search_by_key(&key(interface, address), Post::key).ok()
    }

    fn schedule(&mut self) {
        self.next = self.posts.iter().filter(|_| self.asks).map(|post| post.due).min();
    }
}

impl Post {
    fn key(&self) -> (u16, IpAddr) {
        key(self.interface, self.address)
    }
}

fn key(interface: InterfaceId, address: IpAddr) -> (u16, IpAddr) {
    (interface.0, address)
}

impl State {
    /// Asks the gateways that are due, and gives up those that have not answered.
    pub(super) fn watch(&mut self, table: &Table, turn: &mut Turn<'_>) {
        let now = turn.now;
        if self.vigil.next.is_none_or(|next| next > now) {
            return;
        }
        let Self { vigil, entries, .. } = self;
        for turned in 0..vigil.posts.len() {
            let at = (vigil.hand + turned) % vigil.posts.len();
            let post = &mut vigil.posts[at];
            if post.due > now {
                continue;
            }
            let entry = entries.find(post.interface, post.address).map(|slot| &entries[slot]);
            if entry.is_some_and(|entry| entry.phase == Phase::Static) {
                // The operator's word: it is there.
                post.pulse.set(false);
                (post.unanswered, post.due) = (0, now + RETRANSMIT);
                continue;
            }
            if post.unanswered >= QUESTIONS {
                post.pulse.set(true);
            }
            if !vigil.rate.take(now) {
                (vigil.hand, vigil.next) = (at, Some(now + PAUSE));
                return;
            }
            let known = entry.filter(|entry| entry.phase != Phase::Incomplete).map(Entry::mac);
            // The whole link is not bothered more than once a second for long (RFC 1122 §2.3.2.1), and three times for a newcomer.
            let (weight, patience) = match known {
                Some(_) if !post.pulse.is_silent() => (1, PATIENCE),
                _ => (QUESTIONS / TRIES, RETRANSMIT),
            };
            let to = known.filter(|_| post.unanswered < QUESTIONS - TO_ALL);
            let own = table.interface(post.interface);
            // A question that could not be sent says nothing about who is not asked.
            if solicit::ask(post.interface, own, post.address, to, turn) {
                post.unanswered = post.unanswered.saturating_add(weight);
            }
            (post.asked, post.due) = (now, now + patience);
        }
        vigil.schedule();
    }

    /// Forgets the addresses of gateways that are silent: a packet that has no other way asks for them, waits, and is answered with an
    /// error in the end, as with any neighbour that is not there.
    pub fn forsake(&mut self, table: &Table, silent: &Silent) {
        for Watched { next_hop, .. } in table.watched().iter().filter(|watched| silent.contains(watched.next_hop)) {
            let Some(adjacency) = table.adjacencies().get(*next_hop as usize) else { continue };
            let found = adjacency.gateway.and_then(|gateway| self.entries.find(adjacency.interface, gateway));
            let Some(slot) = found else { continue };
            if !matches!(self.entries[slot].phase, Phase::Static | Phase::Incomplete) {
                self.give_up(slot);
            }
        }
    }
}
