//! Fragments of packets for this host, kept until they make a whole (RFC 791 §3.2, RFC 1812 §4.2.2.7, RFC 8200 §4.5).
//!
//! Fragments that overlap take their packet with them (RFC 5722, RFC 1858), one that is a mere repetition is lost alone. Memory and time
//! are bounded: when there is no room, the packet that has waited longest gives way. What becomes of a whole is in [`whole`].

mod piece; // what a fragment says of its place
mod whole; // what becomes of one

use core::time::Duration;

use super::{
    State, Table,
    icmp::{self, Complaint},
};
use crate::{
    batch::{Batch, Slot},
    clock::Instant,
    frame::Frame,
    l2::Turn,
    meta::{Flags, Meta},
    verdict::{DropReason, Verdict},
};
use piece::{Key, Place};

/// How long fragments wait for the others (RFC 8200 §4.5, RFC 1122 §3.3.2).
const PATIENCE: Duration = Duration::from_secs(60);
/// Packets of which fragments are kept, and fragments in all: each holds a frame, of which they get an eighth at most.
const PACKETS: usize = 64;
const FRAGMENTS: usize = 512;
const SHARE: usize = 8;
/// Fragments of one packet: as many as 65535 bytes make on a link of 576.
const PIECES: usize = 128;

/// A fragment that waits.
#[derive(Debug)]
struct Piece {
    frame: Frame,
    place: Place,
}

impl Piece {
    fn payload(&self) -> &[u8] {
        self.frame.data().get(usize::from(self.place.at)..).unwrap_or_default()
    }
}

/// A packet of which not all is here.
#[derive(Debug)]
struct Partial {
    key: Key,
    until: Instant,
    /// In order, without overlaps.
    pieces: Vec<Piece>,
    /// Bytes that they have together, and that the whole has, if its last fragment is here.
    have: usize,
    total: Option<usize>,
    /// Of the first fragment.
    first: Option<Meta>,
    /// Fragments of it overlapped: whatever else comes of it is lost too.
    spoilt: bool,
}

/// The fragments of a core.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// Oldest first.
    partial: Vec<Partial>,
    fragments: usize,
    /// Memory of packets that are gone, for those that come.
    unused: Vec<Vec<Piece>>,
}

impl Joiner {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.partial.first().map(|partial| partial.until)
    }

    /// Fragments that wait.
    #[cfg(test)]
    pub(super) const fn waiting(&self) -> usize {
        self.fragments
    }

    /// Forgets a packet. Returns it, for whoever wants to know what of it was here.
    fn forget(&mut self, index: usize) -> Partial {
        let partial = self.partial.remove(index);
        self.fragments -= partial.pieces.len();
        partial
    }

    fn reuse(&mut self, Partial { mut pieces, .. }: Partial) {
        pieces.clear();
        self.unused.push(pieces);
    }

    /// The oldest packet but `spared` gives way.
    fn make_room(&mut self, spared: Option<Key>, turn: &mut Turn<'_>) {
        if let Some(oldest) = self.partial.iter().position(|partial| Some(partial.key) != spared) {
            let lost = self.forget(oldest);
            turn.stats.drops(DropReason::FragmentTableFull).add(lost.pieces.len() as u64);
            self.reuse(lost);
        }
    }

    /// The packet that a fragment belongs to.
    fn of(&mut self, key: Key, turn: &mut Turn<'_>) -> usize {
        if let Some(index) = self.partial.iter().position(|partial| partial.key == key) {
            return index;
        }
        if self.partial.len() >= PACKETS {
            self.make_room(None, turn);
        }
        let until = turn.now + PATIENCE;
        let pieces = self.unused.pop().unwrap_or_default();
        self.partial.push(Partial { key, until, pieces, have: 0, total: None, first: None, spoilt: false });
        self.partial.len() - 1
    }

    /// Keeps a fragment. Returns the packet that it makes whole.
    fn keep(&mut self, slot: &mut Slot, key: Key, place: Place, turn: &mut Turn<'_>) -> Option<Partial> {
        let most = FRAGMENTS.min(turn.arena.capacity() / SHARE);
        if self.fragments >= most {
            self.make_room(Some(key), turn);
        }
        let index = self.of(key, turn);
        let partial = &mut self.partial[index];
        let fit = if partial.spoilt { Err(Misfit::Overlaps) } else { partial.fit(slot, place) };
        match fit {
            Ok(into) if partial.pieces.len() < PIECES && self.fragments < most => {
                if place.offset == 0 {
                    partial.first = Some(slot.meta);
                }
                let frame = slot.take()?;
                partial.have += place.len;
                partial.pieces.insert(into, Piece { frame, place });
                self.fragments += 1;
            }
            Ok(_) => {
                slot.verdict = Verdict::Drop(DropReason::FragmentTableFull);
                return None;
            }
            Err(Misfit::Repeats) => {
                slot.verdict = Verdict::Drop(DropReason::FragmentOverlap);
                return None;
            }
            Err(Misfit::Overlaps) => {
                // RFC 5722 §4: the packet, with the fragments that have not come yet.
                slot.verdict = Verdict::Drop(DropReason::FragmentOverlap);
                partial.spoilt = true;
                turn.stats.drops(DropReason::FragmentOverlap).add(partial.pieces.len() as u64);
                self.fragments -= partial.pieces.len();
                partial.pieces.clear();
                return None;
            }
        }
        let is_whole = partial.total == Some(partial.have);
        is_whole.then(|| self.forget(index))
    }
}

/// Why a fragment has no place among the others.
enum Misfit {
    /// It is here already.
    Repeats,
    /// It contradicts another.
    Overlaps,
}

impl Partial {
    /// Where among the pieces a fragment belongs. One that is the last says how long the whole is.
    fn fit(&mut self, slot: &Slot, place: Place) -> Result<usize, Misfit> {
        let end = place.offset + place.len;
        let into = self.pieces.partition_point(|piece| piece.place.offset < place.offset);
        if let Some(same) = self.pieces.get(into).filter(|piece| piece.place.offset == place.offset) {
            let payload = slot.frame.as_ref().and_then(|frame| frame.data().get(usize::from(place.at)..));
            let repeats = same.place.more == place.more && payload == Some(same.payload());
            return Err(if repeats { Misfit::Repeats } else { Misfit::Overlaps });
        }
        let before = into.checked_sub(1).and_then(|at| self.pieces.get(at)).map_or(0, |piece| piece.place.end());
        let behind = self.pieces.get(into).map_or(usize::MAX, |piece| piece.place.offset);
        let last = self.pieces.last().map_or(0, |piece| piece.place.end());
        let contradicts = match (place.more, self.total) {
            (true, Some(total)) => end >= total,
            (true, None) => false,
            (false, total) => total.is_some() || end < last,
        };
        if before > place.offset || end > behind || contradicts {
            return Err(Misfit::Overlaps);
        }
        if !place.more {
            self.total = Some(end);
        }
        Ok(into)
    }
}

/// Takes the fragments for this host out of a batch. The last one of a packet is replaced by the packet, if that fits a frame.
pub(super) fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    for slot in batch.slots_mut() {
        if slot.verdict == Verdict::Deliver && is_ours(&slot.meta) {
            join(table, state, turn, slot);
        }
    }
}

/// Whether a packet is a fragment that is joined here. What is sent to groups is not, and what the kernel may serve it joins itself.
fn is_ours(meta: &Meta) -> bool {
    meta.flags.contains(Flags::FRAGMENT)
        && !meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST)
        && (meta.protocol == super::local::TCP || !meta.flags.contains(Flags::HOST_PATH))
}

fn join(table: &Table, state: &mut State, turn: &mut Turn<'_>, slot: &mut Slot) {
    let Some(frame) = &slot.frame else { return };
    let (key, place) = match piece::read(frame, &slot.meta) {
        Ok(read) => read,
        Err(fault) => {
            icmp::parameter_problem(table, state, turn, frame, &slot.meta, fault);
            slot.verdict = Verdict::Drop(DropReason::BadFragment);
            return;
        }
    };
    if let Some(partial) = state.joiner.keep(slot, key, place, turn) {
        whole::deliver(table, state, turn, slot, &partial);
        state.joiner.reuse(partial);
    }
}

/// Gives up packets of which the rest did not come in time. Their senders are told, if it is known what they sent.
pub(super) fn tick(table: &Table, state: &mut State, turn: &mut Turn<'_>) {
    while state.joiner.next_deadline().is_some_and(|until| until <= turn.now) {
        let partial = state.joiner.forget(0);
        turn.stats.drops(DropReason::FragmentTimeout).add(partial.pieces.len() as u64);
        if let (Some(meta), Some(first)) = (partial.first, partial.pieces.first()) {
            icmp::complain(table, state, turn, &first.frame, &meta, Complaint::JoinTimeExceeded);
        }
        state.joiner.reuse(partial);
    }
}
