//! What lies between the hosts: lossy, slow, jittery, corrupting lanes, one per station and direction.

use core::{cmp::Ordering, fmt, time::Duration};
use std::collections::BinaryHeap;

use tidegate_dataplane::clock::Instant;

use crate::dice::{Dice, mix};

/// What a lane does to packets. Chances are in 1/10,000.
#[derive(Clone, Default, Debug)]
pub(crate) struct Impairment {
    pub(crate) delay: Duration,
    /// Added evenly from zero to this; what overtakes is reordered.
    pub(crate) jitter: Duration,
    pub(crate) loss: u32,
    /// After a loss, the chance that the next packet is lost too.
    pub(crate) burst: u32,
    /// The chance that a packet is held back.
    pub(crate) reorder: u32,
    pub(crate) duplicate: u32,
    /// The chance that one bit behind the Ethernet header is flipped.
    pub(crate) corrupt: u32,
    /// Bits per second; 0 for no limit.
    pub(crate) rate: u64,
    /// Octets that wait for the rate before more is lost.
    pub(crate) queue: u64,
    /// When the lane carries nothing.
    pub(crate) down: Vec<(Instant, Instant)>,
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.delay)?;
        let chances = [
            ("loss", self.loss),
            ("burst", self.burst),
            ("reorder", self.reorder),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
        ];
        if !self.jitter.is_zero() {
            write!(f, " ±{:?}", self.jitter)?;
        }
        for (name, chance) in chances.into_iter().filter(|(_, chance)| *chance > 0) {
            write!(f, ", {name} {:.2} %", f64::from(chance) / 100.0)?;
        }
        if self.rate > 0 {
            write!(f, ", {:.1} Mbit/s with a queue of {} bytes", self.rate as f64 / 1e6, self.queue)?;
        }
        for (from, to) in &self.down {
            write!(f, ", down {} to {} ms", from.as_millis(), to.as_millis())?;
        }
        Ok(())
    }
}

/// Where a packet goes: a port of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) node: usize,
    pub(crate) port: usize,
}

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Flying {
    pub(crate) at: Instant,
    order: u64,
    pub(crate) to: Target,
    pub(crate) packet: Vec<u8>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// What became of the packets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Fates {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) overflowed: u64,
    pub(crate) down: u64,
    pub(crate) corrupted: u64,
    pub(crate) duplicated: u64,
    pub(crate) held_back: u64,
}

struct Lane {
    impairment: Impairment,
    dice: Dice,
    free_at: Instant,
    lost_last: bool,
}

/// All lanes, and the packets under way.
pub(crate) struct Wires {
    lanes: Vec<Lane>,
    flying: BinaryHeap<Flying>,
    order: u64,
    spare: Vec<Vec<u8>>,
    /// Of all packets put on all lanes, with their times: two runs are the same when this is.
    pub(crate) digest: u64,
    pub(crate) fates: Fates,
    /// Print each packet.
    pub(crate) log: bool,
}

impl Wires {
    pub(crate) fn new(log: bool) -> Self {
        Self {
            lanes: Vec::new(),
            flying: BinaryHeap::new(),
            order: 0,
            spare: Vec::new(),
            digest: 0,
            fates: Fates::default(),
            log,
        }
    }

    /// Adds a lane; its number is returned.
    pub(crate) fn lane(&mut self, impairment: Impairment, dice: Dice) -> usize {
        self.lanes.push(Lane { impairment, dice, free_at: Instant::ZERO, lost_last: false });
        self.lanes.len() - 1
    }

    /// Puts a packet on a lane.
    pub(crate) fn send(&mut self, now: Instant, lane: usize, to: Target, packet: &[u8]) {
        self.fates.sent += 1;
        self.account(now, lane, packet);
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(packet);
        let fate = self.lanes[lane].decide(now, &mut copy, &mut self.fates);
        if self.log {
            println!("{}", crate::trace::line(now, lane, to, packet, fate.as_ref().map(|fate| fate.0)));
        }
        let Some((at, again)) = fate else {
            self.spare.push(copy);
            return;
        };
        if let Some(again) = again {
            self.fly(again, to, copy.clone());
        }
        self.fly(at, to, copy);
    }

    fn fly(&mut self, at: Instant, to: Target, packet: Vec<u8>) {
        self.order += 1;
        self.flying.push(Flying { at, order: self.order, to, packet });
    }

    /// When the next packet arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.flying.peek().map(|flying| flying.at)
    }

    /// The next packet that has arrived by `now`. Give its buffer back with [`Wires::reuse`].
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Flying> {
        if self.next_arrival()? > now {
            return None;
        }
        self.flying.pop()
    }

    pub(crate) fn reuse(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// The headers stand for the whole packet: the transport checksum among them covers the rest.
    fn account(&mut self, now: Instant, lane: usize, packet: &[u8]) {
        let mut digest = mix(self.digest ^ now.as_nanos()) ^ (lane as u64) << 32 ^ packet.len() as u64;
        for word in packet[..packet.len().min(96)].chunks(8) {
            let mut octets = [0; 8];
            octets[..word.len()].copy_from_slice(word);
            digest = (digest ^ u64::from_le_bytes(octets)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        self.digest = digest;
    }
}

impl Lane {
    /// When the packet arrives and, if duplicated, when again. May alter the packet.
    fn decide(&mut self, now: Instant, packet: &mut [u8], fates: &mut Fates) -> Option<(Instant, Option<Instant>)> {
        let (wire, dice) = (&self.impairment, &mut self.dice);
        if wire.down.iter().any(|(from, to)| (*from..*to).contains(&now)) {
            fates.down += 1;
            return None;
        }
        let mut at = now;
        if let Some(nanos) = (packet.len() as u64 * 8_000_000_000).checked_div(wire.rate) {
            let start = self.free_at.max(now);
            let waiting = (start - now).as_nanos() as u64;
            if u128::from(waiting) * u128::from(wire.rate) > u128::from(wire.queue) * 8_000_000_000 {
                fates.overflowed += 1;
                return None;
            }
            at = start + Duration::from_nanos(nanos);
            self.free_at = at;
        }
        self.lost_last = dice.chance(if self.lost_last { wire.burst.max(wire.loss) } else { wire.loss });
        if self.lost_last {
            fates.lost += 1;
            return None;
        }
        at += wire.delay;
        if !wire.jitter.is_zero() {
            at += Duration::from_nanos(dice.below(wire.jitter.as_nanos() as u64));
        }
        if dice.chance(wire.reorder) {
            fates.held_back += 1;
            at += wire.delay.mul_f64(0.1 + dice.below(200) as f64 / 100.0) + Duration::from_micros(50);
        }
        if dice.chance(wire.corrupt) {
            flip(dice, packet, fates);
        }
        let again = dice.chance(wire.duplicate).then(|| {
            fates.duplicated += 1;
            at + Duration::from_nanos(dice.below(1 + 2 * wire.delay.as_nanos() as u64))
        });
        Some((at, again))
    }
}

/// Flips one bit of an IP packet. The Ethernet header and ARP are spared: on a real link the frame check sequence guards them.
fn flip(dice: &mut Dice, packet: &mut [u8], fates: &mut Fates) {
    const ETHERNET: usize = 14;
    if packet.len() <= ETHERNET || packet[12..14] == [0x08, 0x06] {
        return;
    }
    let at = ETHERNET + dice.below((packet.len() - ETHERNET) as u64) as usize;
    packet[at] ^= 1 << dice.below(8);
    fates.corrupted += 1;
}
