//! Rings to other threads: packets that landed on the wrong core, and what the management thread should know.
//!
//! A flow belongs to one core. A packet of that flow received elsewhere is copied into a bounded ring to its owner — one ring per
//! ordered pair of cores, so that each has one writer and one reader — and the owner takes it into its own frame memory.
//! Neighbour messages go to every other core in the same way, so that all of them learn.

use std::sync::Arc;

use crate::{
    batch::Batch,
    frame::{Arena, Frame},
    io::park::Waker,
    l2::Conflict,
    l3::Disagreement,
    meta::{Flags, Meta},
    see::order::{self, Desk, Letter, Line},
    sync::spsc::{self, Consumer, Producer},
};

/// Packets a ring holds. At 2 KiB each this is 1 MiB per ordered pair of cores.
const RING: usize = 512;

/// A packet on its way between two cores.
#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    meta: Meta,
}

/// Notices that wait for the management thread.
const NOTICES: usize = 16;

/// What the management thread should know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Another station uses an address of ours.
    Conflict(Conflict),
    /// Another router tells hosts something else than we do.
    Disagreement(Disagreement),
}

/// One core's ends of all rings.
#[derive(Default)]
pub struct Links {
    /// To the management thread, if it listens.
    notices: Option<Producer<Notice>>,
    /// By core; `None` for this core itself.
    to: Vec<Option<Outbox>>,
    from: Vec<Consumer<Parcel>>,
    /// What the management thread asks.
    desk: Option<Desk>,
}

struct Outbox {
    ring: Producer<Parcel>,
    waker: Arc<Waker>,
    /// Something was pushed since the owner was last woken.
    pending: bool,
}

/// Rings between all pairs of `wakers.len()` cores, for packets of up to `frame_size` bytes. `wakers[i]` wakes core `i`.
pub fn mesh(wakers: &[Arc<Waker>], frame_size: usize) -> Vec<Links> {
    let cores = wakers.len();
    let mut links: Vec<Links> = (0..cores).map(|_| Links::default()).collect();
    for from in 0..cores {
        for to in 0..cores {
            if from == to {
                links[from].to.push(None);
                continue;
            }
            let slot = || Parcel { bytes: Vec::with_capacity(frame_size), meta: Meta::default() };
            let (ring, inbox) = spsc::channel(RING, slot);
            links[from].to.push(Some(Outbox { ring, waker: Arc::clone(&wakers[to]), pending: false }));
            links[to].from.push(inbox);
        }
    }
    links
}

impl Links {
    /// Opens the rings by which the management thread asks; `waker` wakes this core. Returns its end.
    pub fn desk(&mut self, waker: Arc<Waker>) -> Line {
        let (line, desk) = order::line(waker);
        self.desk = Some(desk);
        line
    }

    /// The next order of the management thread.
    #[inline]
    pub(super) fn order(&mut self) -> Option<Letter> {
        self.desk.as_mut()?.take()
    }

    /// Sends an order back.
    pub(super) fn answer(&mut self, letter: Letter) {
        if let Some(desk) = &mut self.desk {
            desk.answer(letter);
        }
    }

    /// Ends that lead nowhere, as core `core` of `cores` has them: what is sent is forgotten, and nobody is woken.
    pub fn rehearsal(core: usize, cores: usize, frame_size: usize, waker: &Arc<Waker>) -> Self {
        let outbox = |to: usize| {
            let slot = || Parcel { bytes: Vec::with_capacity(frame_size), meta: Meta::default() };
            let (ring, _) = spsc::channel(1, slot);
            (to != core).then(|| Outbox { ring, waker: Arc::clone(waker), pending: false })
        };
        Self { to: (0..cores).map(outbox).collect(), ..Self::default() }
    }

    /// Opens the ring to the management thread; returns its end.
    pub fn notices(&mut self) -> Consumer<Notice> {
        let (notices, reader) = spsc::channel(NOTICES, || Notice::Conflict(Conflict::default()));
        self.notices = Some(notices);
        reader
    }

    /// Tells the management thread, if it listens and is not far behind: what it is about is counted in any case.
    pub(super) fn notify(&mut self, notice: Notice) {
        if let Some(notices) = &mut self.notices {
            let _ = notices.push_with(|slot| *slot = notice);
        }
    }

    /// Cores in the mesh, this one included; 0 and 1 mean that nothing is ever handed over.
    pub fn cores(&self) -> usize {
        self.to.len()
    }

    /// Copies a packet to `core`. `false` when its ring is full, or it is this core.
    #[inline]
    pub fn send(&mut self, core: usize, frame: &Frame, meta: Meta) -> bool {
        let Some(Some(outbox)) = self.to.get_mut(core) else { return false };
        let sent = outbox.ring.push_with(|parcel| {
            parcel.bytes.clear();
            // Within the capacity reserved by `mesh`: no frame is longer than a chunk.
            parcel.bytes.extend_from_slice(frame.data());
            parcel.meta = meta;
            parcel.meta.flags |= Flags::HANDED_OVER;
        });
        outbox.pending |= sent;
        sent
    }

    /// Copies a packet to all other cores; returns how many rings were full.
    pub fn send_all(&mut self, frame: &Frame, meta: Meta) -> u64 {
        let mut lost = 0;
        for core in 0..self.to.len() {
            if self.to[core].is_some() && !self.send(core, frame, meta) {
                lost += 1;
            }
        }
        lost
    }

    /// Wakes the cores that were sent something in this turn and sleep. Once per turn.
    #[inline]
    pub fn flush(&mut self) {
        for outbox in self.to.iter_mut().flatten() {
            if core::mem::take(&mut outbox.pending) {
                outbox.waker.wake();
            }
        }
    }

    /// Takes packets from the other cores into `batch`. Returns how many were lost for want of a frame.
    pub fn receive(&mut self, arena: &Arena, batch: &mut Batch) -> u64 {
        let mut lost = 0;
        for inbox in &mut self.from {
            while batch.room() > 0 {
                let taken = inbox.pop_with(|parcel| match arena.copy_from(&parcel.bytes) {
                    // There is room: checked above.
                    Some(frame) => drop(batch.push(frame, parcel.meta)),
                    None => lost += 1,
                });
                if taken.is_none() {
                    break;
                }
            }
        }
        lost
    }

    /// Whether a packet or an order waits for this core.
    pub fn has_mail(&mut self) -> bool {
        self.from.iter_mut().any(|inbox| !inbox.is_empty()) || self.desk.as_mut().is_some_and(|desk| !desk.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::PortId;

    fn cores(n: usize) -> Vec<Links> {
        let wakers: Vec<_> = (0..n).map(|_| Arc::new(Waker::new().unwrap())).collect();
        mesh(&wakers, 2048)
    }

    #[test]
    fn a_packet_reaches_its_owner_and_nobody_else() {
        let mut links = cores(3);
        let arena = Arena::new(8, 2048).unwrap();
        let frame = arena.copy_from(b"segment").unwrap();
        assert!(links[0].send(2, &frame, Meta { port: PortId(5), ..Meta::default() }));
        assert!(!links[0].send(0, &frame, Meta::default()), "not to oneself");
        assert!(!links[1].has_mail() && links[2].has_mail());
        let mut batch = Batch::new();
        assert_eq!(links[2].receive(&arena, &mut batch), 0);
        let slot = &batch.slots()[0];
        assert_eq!(slot.frame.as_ref().unwrap().data(), b"segment");
        assert!(slot.meta.flags.contains(Flags::HANDED_OVER));
        assert_eq!(slot.meta.port, PortId(5));
    }

    #[test]
    fn a_full_ring_and_an_empty_arena_are_reported() {
        let mut links = cores(2);
        let arena = Arena::new(1, 2048).unwrap();
        let frame = arena.copy_from(b"x").unwrap();
        for _ in 0..RING {
            assert_eq!(links[0].send_all(&frame, Meta::default()), 0);
        }
        assert_eq!(links[0].send_all(&frame, Meta::default()), 1);
        assert_eq!(links[1].receive(&arena, &mut Batch::new()), RING as u64, "the only chunk is in use");
    }
}
