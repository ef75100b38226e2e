//! What a core is asked, and how the answer comes back: the order itself, carried out, so that nothing is allocated or freed on the core
//! that the management thread could have made before or can free after.

use std::sync::Arc;

use super::{record::Record, watch::Watch};
use crate::{
    io::park::Waker,
    l2::Neighbor,
    meta::{Meta, PortId},
    stats::CoreStats,
    sync::spsc::{self, Consumer, Producer},
    worker::handover::Links,
};

/// Orders under way at once.
const RING: usize = 8;

/// What a core is asked, and what it has made of it.
#[derive(Debug)]
pub enum Order {
    /// Copy neighbours.
    Neighbors(Census),
    /// Say what would become of a packet.
    Rehearse(Box<Rehearsal>),
    /// Hang a watch up, under the letter's number. Answered with what could not be hung up, if so.
    Hang(Option<Box<Watch>>),
    /// Take the watch of this number down. Answered with it.
    TakeDown(u64, Option<Box<Watch>>),
}

/// A part of a core's neighbours.
#[derive(Debug)]
pub struct Census {
    /// The place to begin at: 0, then what `next` was.
    pub from: u32,
    /// The neighbours; as many are copied as there is room for without an allocation.
    pub found: Vec<Neighbor>,
    /// Where to go on; `None` at the end.
    pub next: Option<u32>,
}

/// A packet that does not exist, and what its way needs: everything that a stage may write to is a copy of the core's own, or thrown
/// away after.
pub struct Rehearsal {
    /// The packet, Ethernet header included.
    pub packet: Vec<u8>,
    /// The port it would come in by.
    pub port: PortId,
    /// It would come from another core, which knew this about it.
    pub handed: Option<Meta>,
    /// Its way; empty when there was no free frame for it.
    pub record: Record,
    /// Counters that nobody reads.
    pub stats: CoreStats,
    /// Rings that nobody reads.
    pub links: Links,
}

impl core::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rehearsal").field("port", &self.port).field("record", &self.record).finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// Of a packet on one of `cores` cores with `ports` ports; `waker` is any core's, and is not used.
    pub fn new(packet: Vec<u8>, port: PortId, (core, cores): (usize, usize), ports: usize, waker: &Arc<Waker>) -> Self {
        let links = Links::rehearsal(core, cores, packet.len(), waker);
        let (record, stats) = (Record::empty(), CoreStats::new(ports));
        Self { packet, port, handed: None, record, stats, links }
    }
}

/// An order with a number.
#[derive(Debug)]
pub struct Letter {
    /// Tells answers apart, and names a watch.
    pub number: u64,
    /// The order.
    pub order: Order,
}

/// The core's end.
#[derive(Debug)]
pub struct Desk {
    orders: Consumer<Option<Letter>>,
    answers: Producer<Option<Letter>>,
}

/// The management thread's end.
#[derive(Debug)]
pub struct Line {
    orders: Producer<Option<Letter>>,
    answers: Consumer<Option<Letter>>,
    waker: Arc<Waker>,
    under_way: usize,
}

/// Two ends; `waker` wakes the core.
pub fn line(waker: Arc<Waker>) -> (Line, Desk) {
    let (orders, to_core) = spsc::channel(RING, || None);
    let (from_core, answers) = spsc::channel(RING, || None);
    (Line { orders, answers, waker, under_way: 0 }, Desk { orders: to_core, answers: from_core })
}

impl Desk {
    /// Whether nothing is asked.
    #[inline]
    pub(crate) fn is_empty(&mut self) -> bool {
        self.orders.is_empty()
    }

    /// The next order.
    pub(crate) fn take(&mut self) -> Option<Letter> {
        self.orders.pop_with(Option::take).flatten()
    }

    /// Sends an order back. There is room: as many are under way as the ring has places.
    pub(crate) fn answer(&mut self, letter: Letter) {
        self.answers.push_with(|slot| *slot = Some(letter));
    }
}

impl Line {
    /// Gives the core an order.
    ///
    /// # Errors
    /// The order, when too many are under way: the core hangs.
    pub fn send(&mut self, letter: Letter) -> Result<(), Letter> {
        if self.under_way == RING {
            return Err(letter);
        }
        self.under_way += 1;
        self.orders.push_with(|slot| *slot = Some(letter));
        self.waker.wake();
        Ok(())
    }

    /// The next order that has been carried out.
    pub fn receive(&mut self) -> Option<Letter> {
        let letter = self.answers.pop_with(Option::take).flatten();
        self.under_way -= usize::from(letter.is_some());
        letter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back_and_are_bounded() {
        let (mut line, mut desk) = line(Arc::new(Waker::new().unwrap()));
        let letter = |number| Letter { number, order: Order::TakeDown(number, None) };
        assert!(desk.is_empty() && desk.take().is_none() && line.receive().is_none());
        (0..RING as u64).for_each(|number| line.send(letter(number)).unwrap());
        assert_eq!(line.send(letter(99)).unwrap_err().number, 99);
        assert!(!desk.is_empty());
        while let Some(letter) = desk.take() {
            desk.answer(letter);
        }
        let back: Vec<_> = core::iter::from_fn(|| line.receive()).map(|letter| letter.number).collect();
        assert_eq!(back, (0..RING as u64).collect::<Vec<_>>());
        assert!(line.send(letter(1)).is_ok());
    }
}
