//! What hangs in a core: captures and traces, a few at a time.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::{
    Facts, Filter,
    capture::{Capture, Counts, Point, bare},
    record::Record,
};
use crate::{
    batch::Batch,
    clock::Instant,
    frame::Frame,
    l2::{self, Bucket},
    meta::{Flags, Meta, Network, PortId},
    sync::spsc::{self, Consumer, Producer},
    verdict::{DropReason, Verdict},
};

/// Captures and traces at the same time.
pub const MOST: usize = 8;

/// A trace on one core: the ways of packets that pass a filter.
#[derive(Debug)]
pub struct Trace {
    filter: Filter,
    limit: Bucket,
    ring: Producer<Record>,
    counts: Arc<Counts>,
}

impl Trace {
    /// A trace of at most `rate` packets per second and `waiting` that nobody has taken yet; its reading end and its counts.
    pub fn new(filter: Filter, rate: u32, waiting: usize) -> (Self, Consumer<Record>, Arc<Counts>) {
        let (ring, reader) = spsc::channel(waiting, Record::empty);
        let counts = Arc::new(Counts::default());
        let rate = rate.max(1);
        let trace = Self { filter, limit: Bucket::per_second(rate, rate), ring, counts: Arc::clone(&counts) };
        (trace, reader, counts)
    }

    fn takes(&mut self, facts: &Facts, now: Instant) -> bool {
        if !self.filter.passes(facts) {
            return false;
        }
        self.counts.passed.add(1);
        let taken = self.limit.take(now);
        if !taken {
            self.counts.limited.add(1);
        }
        taken
    }
}

/// One of the two.
#[derive(Debug)]
pub enum Watch {
    /// Copies of packets.
    Capture(Capture),
    /// Ways of packets.
    Trace(Trace),
}

/// All that hangs in a core.
#[derive(Debug, Default)]
pub struct Watches {
    hung: ArrayVec<(u64, Box<Watch>), MOST>,
    traces: usize,
}

impl Watches {
    /// Whether nobody watches.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.hung.is_empty()
    }

    /// Hangs a watch up under a number.
    ///
    /// # Errors
    /// The watch, when there are [`MOST`] already.
    pub fn hang(&mut self, number: u64, watch: Box<Watch>) -> Result<(), Box<Watch>> {
        let traces = usize::from(matches!(*watch, Watch::Trace(_)));
        self.hung.try_push((number, watch)).map_err(|full| full.element().1)?;
        self.traces += traces;
        Ok(())
    }

    /// Takes down the watch with this number.
    pub fn take_down(&mut self, number: u64) -> Option<Box<Watch>> {
        let at = self.hung.iter().position(|(hung, _)| *hung == number)?;
        let (_, watch) = self.hung.remove(at);
        self.traces -= usize::from(matches!(*watch, Watch::Trace(_)));
        Some(watch)
    }

    /// Whether there is a trace.
    pub(crate) fn trace(&self) -> bool {
        self.traces > 0
    }

    /// Shows the captures what came in.
    pub(crate) fn received(&mut self, batch: &Batch, now: Instant) {
        for slot in batch.slots() {
            if let Some(frame) = &slot.frame {
                self.show(Point::Rx, slot.meta.port, frame, &slot.meta, now);
            }
        }
    }

    /// Shows the captures what is at the end of its way.
    pub(crate) fn leaving(&mut self, links: &l2::Table, batch: &Batch, now: Instant) {
        for slot in batch.slots() {
            let Some(frame) = &slot.frame else { continue };
            match slot.verdict {
                Verdict::Transmit(port) => self.show(Point::Tx, port, frame, &slot.meta, now),
                end => {
                    if let Some(reason) = end.loss() {
                        self.lost(links, reason, frame, &slot.meta, now);
                    }
                }
            }
        }
    }

    /// Shows the captures a packet that was lost.
    pub(crate) fn lost(&mut self, links: &l2::Table, reason: DropReason, frame: &Frame, meta: &Meta, now: Instant) {
        let own = meta.flags.contains(Flags::ORIGINATED);
        let port = match links.interface(meta.out).link {
            l2::Link::Port { port, .. } if own => port,
            // Something without a port, on whose behalf nothing is captured.
            _ if own => return,
            _ => meta.port,
        };
        self.show(Point::Drop(reason), port, frame, meta, now);
    }

    fn show(&mut self, point: Point, port: PortId, frame: &Frame, meta: &Meta, now: Instant) {
        let mut facts = None;
        for (_, watch) in &mut self.hung {
            if let Watch::Capture(capture) = &mut **watch
                && capture.wants(point)
            {
                let facts = facts.get_or_insert_with(|| Facts::of(frame.data(), bare(meta, point)));
                capture.show(point, port, frame, meta, facts, now);
            }
        }
    }

    /// Which traces want to follow a packet: a bit for each.
    pub(crate) fn followers(&mut self, frame: &Frame, bare: Option<Network>, now: Instant) -> u32 {
        let facts = Facts::of(frame.data(), bare);
        let mut followers = 0;
        for (at, (_, watch)) in self.hung.iter_mut().enumerate() {
            if let Watch::Trace(trace) = &mut **watch
                && trace.takes(&facts, now)
            {
                followers |= 1 << at;
            }
        }
        followers
    }

    /// Gives a packet's way to those that wanted to follow it.
    pub(crate) fn followed(&mut self, followers: u32, record: &Record) {
        for (at, (_, watch)) in self.hung.iter_mut().enumerate() {
            if let Watch::Trace(trace) = &mut **watch
                && followers & 1 << at != 0
                && !trace.ring.push_with(|slot| slot.clone_from(record))
            {
                trace.counts.full.add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Arena, see::Points};

    fn capture() -> Box<Watch> {
        let points = Points { rx: true, tx: true, drop: true };
        Box::new(Watch::Capture(Capture::new(points, Box::new([true]), Filter::everything(), 64, 1000, 8).0))
    }

    #[test]
    fn watches_are_hung_up_and_taken_down_by_number_and_are_few() {
        let mut watches = Watches::default();
        let (trace, mut ways, counts) = Trace::new(Filter::everything(), 2, 8);
        assert!(watches.hang(9, Box::new(Watch::Trace(trace))).is_ok());
        for number in 0..MOST as u64 - 1 {
            assert!(watches.hang(number, capture()).is_ok());
        }
        assert!(watches.hang(100, capture()).is_err());
        let arena = Arena::new(1, 2048).unwrap();
        let frame = arena.copy_from(&[0; 60]).unwrap();
        let followers: Vec<_> = (0..3).map(|_| watches.followers(&frame, None, Instant::from_millis(5))).collect();
        assert_eq!((followers, counts.limited.value()), (vec![1, 1, 0], 1), "two a second");
        watches.followed(1, &Record::empty());
        assert!(ways.pop_with(|_| ()).is_some());
        assert!(watches.trace() && watches.take_down(100).is_none());
        assert!(watches.take_down(9).is_some() && !watches.trace());
        (0..MOST as u64 - 1).for_each(|number| assert!(watches.take_down(number).is_some()));
        assert!(watches.is_empty());
    }
}
