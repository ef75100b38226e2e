//! A capture: copies of packets at the ends of their way, through a bounded ring to the management thread.
//!
//! A capture that asks for too much must not slow the core down for its packets' sake: a token bucket bounds how many are copied, the
//! ring how many wait, and what exceeds them is counted, not waited for.

use std::sync::Arc;

use super::{Facts, Filter};
use crate::{
    clock::Instant,
    frame::Frame,
    l2::{Bucket, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER},
    meta::{Flags, Meta, Network, PortId},
    sync::{
        counter::Counter,
        spsc::{self, Consumer, Producer},
    },
    verdict::DropReason,
};

/// Where on its way a packet was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// It came in by the port.
    Rx,
    /// It goes out of the port.
    Tx,
    /// It was lost; the port is the one it came in by or, for a packet of this host, the one it was to go out of.
    Drop(DropReason),
}

/// A set of [`Point`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Points {
    /// What comes in.
    pub rx: bool,
    /// What goes out.
    pub tx: bool,
    /// What is lost.
    pub drop: bool,
}

impl Points {
    fn has(self, point: Point) -> bool {
        match point {
            Point::Rx => self.rx,
            Point::Tx => self.tx,
            Point::Drop(_) => self.drop,
        }
    }
}

/// A copy of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The time of the turn that saw it.
    pub at: Instant,
    /// Which port.
    pub port: PortId,
    /// Which end of its way.
    pub point: Point,
    /// This host made it.
    pub own: bool,
    /// Its bytes, Ethernet header included: all of them, or as many as were asked for.
    pub data: Vec<u8>,
    /// How many it had.
    pub length: usize,
    /// Packets that passed the filter since the one before and could not be copied.
    pub missed: u64,
}

impl Packet {
    /// Room for `snap` bytes.
    fn with_room(snap: usize) -> Self {
        Self {
            at: Instant::ZERO,
            port: PortId(0),
            point: Point::Rx,
            own: false,
            data: Vec::with_capacity(snap),
            length: 0,
            missed: 0,
        }
    }
}

/// What became of the packets that a capture was shown on one core.
#[derive(Debug, Default)]
pub struct Counts {
    /// They passed the filter.
    pub passed: Counter,
    /// Of these, they came faster than was asked for.
    pub limited: Counter,
    /// Of these, the ring was full: the management thread was too slow.
    pub full: Counter,
}

impl Counts {
    /// Packets that passed the filter and were not copied, for either reason.
    pub fn missed(&self) -> u64 {
        self.limited.value() + self.full.value()
    }
}

/// A capture on one core.
#[derive(Debug)]
pub struct Capture {
    /// At these ends of a way.
    points: Points,
    /// By port; a port beyond the last is not captured.
    ports: Box<[bool]>,
    filter: Filter,
    /// Bytes of a packet that are copied.
    snap: usize,
    limit: Bucket,
    ring: Producer<Packet>,
    /// By port.
    counts: Arc<[Counts]>,
    missed: u64,
}

impl Capture {
    /// A capture of at most `rate` packets per second and `waiting` that nobody has taken yet; its reading end and its
    /// counts by port.
    pub fn new(
        points: Points,
        ports: Box<[bool]>,
        filter: Filter,
        snap: usize,
        rate: u32,
        waiting: usize,
    ) -> (Self, Consumer<Packet>, Arc<[Counts]>) {
        let (ring, reader) = spsc::channel(waiting, || Packet::with_room(snap));
        let counts: Arc<[Counts]> = ports.iter().map(|_| Counts::default()).collect();
        let rate = rate.max(1);
        // A tenth of a second's packets may come at once.
        let limit = Bucket::per_second(rate, (rate / 10).max(1));
        let capture = Self { points, ports, filter, snap, limit, ring, counts: Arc::clone(&counts), missed: 0 };
        (capture, reader, counts)
    }

    /// Whether it wants to be shown packets at `point`.
    pub(super) fn wants(&self, point: Point) -> bool {
        self.points.has(point)
    }

    /// Shows it a packet.
    pub(super) fn show(&mut self, point: Point, port: PortId, frame: &Frame, meta: &Meta, facts: &Facts, now: Instant) {
        let Some(counts) = self.counts.get(port.index()).filter(|_| self.ports[port.index()]) else { return };
        if !self.filter.passes(facts) {
            return;
        }
        counts.passed.add(1);
        if !self.limit.take(now) {
            counts.limited.add(1);
            self.missed += 1;
            return;
        }
        let Self { ring, snap, missed, .. } = self;
        let written = ring.push_with(|packet| {
            packet.at = now;
            packet.port = port;
            packet.point = point;
            packet.own = meta.flags.contains(Flags::ORIGINATED);
            packet.length = facts.length;
            packet.missed = *missed;
            packet.data.clear();
            if let Some(network) = bare(meta, point) {
                let kind = if network == Network::Ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
                packet.data.extend_from_slice(&[0; HEADER - 2]);
                packet.data.extend_from_slice(&kind.to_be_bytes());
            }
            let bytes = frame.data();
            let room = snap.saturating_sub(packet.data.len()).min(bytes.len());
            // Within the room made at the start.
            packet.data.extend_from_slice(&bytes[..room]);
            packet.data.truncate(*snap);
        });
        if written {
            self.missed = 0;
        } else {
            counts.full.add(1);
            self.missed += 1;
        }
    }
}

/// The network of a packet of this host that was lost before it had an Ethernet header.
pub(super) fn bare(meta: &Meta, point: Point) -> Option<Network> {
    let headless = matches!(point, Point::Drop(_)) && meta.l3 == 0 && meta.flags.contains(Flags::ORIGINATED);
    (headless && matches!(meta.network, Network::Ipv4 | Network::Ipv6)).then_some(meta.network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    const POINTS: Points = Points { rx: true, tx: false, drop: true };

    fn show(capture: &mut Capture, point: Point, port: u16, bytes: &[u8], meta: &Meta, now: Instant) {
        let arena = Arena::new(1, 2048).unwrap();
        let frame = arena.copy_from(bytes).unwrap();
        let facts = Facts::of(frame.data(), bare(meta, point));
        if capture.wants(point) {
            capture.show(point, PortId(port), &frame, meta, &facts, now);
        }
    }

    #[test]
    fn copies_are_bounded_in_number_and_size_and_the_rest_is_counted() {
        let now = Instant::from_millis(1_000);
        let (mut capture, mut reader, counts) =
            Capture::new(POINTS, Box::new([false, true]), Filter::everything(), 10, 100, 4);
        let meta = Meta::default();
        for port in [0, 1, 2] {
            show(&mut capture, Point::Rx, port, &[7; 60], &meta, now);
        }
        show(&mut capture, Point::Tx, 1, &[7; 60], &meta, now);
        assert_eq!([0, 1].map(|port: usize| counts[port].passed.value()), [0, 1], "one port, one end");
        for _ in 0..20 {
            show(&mut capture, Point::Rx, 1, &[7; 60], &meta, now);
        }
        // Ten at once, of which the ring takes four.
        let counted = (counts[1].passed.value(), counts[1].limited.value(), counts[1].full.value());
        assert_eq!(counted, (21, 11, 6));
        let first = reader.pop_with(|packet| packet.clone()).unwrap();
        assert_eq!((&first.data[..], first.length, first.missed, first.at), (&[7; 10][..], 60, 0, now));
        show(&mut capture, Point::Rx, 1, &[8; 60], &meta, Instant::from_millis(2_000));
        let missed: Vec<_> = core::iter::from_fn(|| reader.pop_with(|packet| packet.missed)).collect();
        assert_eq!(missed, [0, 0, 0, 17]);
    }

    #[test]
    fn a_packet_without_a_link_header_is_given_one() {
        let (mut capture, mut reader, _) = Capture::new(POINTS, Box::new([true]), Filter::everything(), 64, 100, 4);
        let meta = Meta { flags: Flags::ORIGINATED, network: Network::Ipv6, ..Meta::default() };
        show(&mut capture, Point::Drop(DropReason::NoRoute), 0, &[0x60; 40], &meta, Instant::ZERO);
        let packet = reader.pop_with(|packet| packet.clone()).unwrap();
        assert_eq!((packet.data.len(), &packet.data[12..15], packet.own), (54, &[0x86, 0xdd, 0x60][..], true));
    }
}
