//! Sockets with their buffers, by size class, handed out and taken back.

use super::{live::Live, options::TcpOptions, stats::Stats};

/// Buffer sizes in bytes.
pub(super) const CLASS_BYTES: [usize; 5] = [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Class that a new connection starts with, in either direction: room for the first flight of ten segments (RFC 6928).
pub(super) const FIRST_CLASS: u8 = 0;

/// Bytes of buffers kept for the next connections at most: enough for those of one turn, little beside what is in use.
const KEPT: usize = 32 << 20;

type Shelf = [Vec<Box<Live>>; CLASS_BYTES.len()];

/// The sockets of one core that no connection uses, and the account of all.
pub(super) struct Pool {
    shelves: [Shelf; CLASS_BYTES.len()],
    /// Bytes of buffers, used or kept.
    total: usize,
    kept: usize,
    limit: usize,
}

/// The largest class that is no larger than `bytes`.
pub(super) fn largest_class(bytes: usize) -> u8 {
    CLASS_BYTES.iter().rposition(|&class| class <= bytes).unwrap_or(0) as u8
}

fn bytes(rx: u8, tx: u8) -> usize {
    CLASS_BYTES[usize::from(rx)] + CLASS_BYTES[usize::from(tx)]
}

impl Pool {
    pub(super) fn new(options: &TcpOptions) -> Self {
        Self { shelves: Default::default(), total: 0, kept: 0, limit: options.buffer_memory }
    }

    /// Whether a socket of the smallest size is to be had.
    pub(super) fn has_room(&self) -> bool {
        self.kept > 0 || self.total + bytes(0, 0) <= self.limit
    }

    /// A socket with buffers of exactly these classes. `None` when that would exceed the limit, whatever is kept.
    pub(super) fn take_exactly(&mut self, rx: u8, tx: u8, stats: &Stats) -> Option<Box<Live>> {
        if let Some(live) = self.shelves[usize::from(rx)][usize::from(tx)].pop() {
            self.kept -= bytes(rx, tx);
            return Some(live);
        }
        if self.total - self.kept + bytes(rx, tx) > self.limit {
            return None;
        }
        if self.total + bytes(rx, tx) > self.limit {
            self.clear();
        }
        self.total += bytes(rx, tx);
        stats.buffer_bytes.set(self.total as u64);
        Some(Box::new(Live::new(rx, tx)))
    }

    /// A socket with buffers of these classes; of the smallest when half of the memory would be in use otherwise; or
    /// whatever is left. `None` when all memory is in use.
    pub(super) fn take(&mut self, rx: u8, tx: u8, stats: &Stats) -> Option<Box<Live>> {
        let pressed = self.total - self.kept + bytes(rx, tx) > self.limit / 2;
        let (rx, tx) = if pressed { (0, 0) } else { (rx, tx) };
        self.take_exactly(rx, tx, stats).or_else(|| {
            let live = self.shelves.iter_mut().flatten().find_map(Vec::pop)?;
            self.kept -= bytes(live.classes.0, live.classes.1);
            Some(live)
        })
    }

    /// Takes a socket back. It may be in any state.
    pub(super) fn give(&mut self, live: Box<Live>, stats: &Stats) {
        let (rx, tx) = live.classes;
        if self.kept + bytes(rx, tx) > (self.limit / 2).min(KEPT) {
            self.total -= bytes(rx, tx);
            stats.buffer_bytes.set(self.total as u64);
        } else {
            self.kept += bytes(rx, tx);
            self.shelves[usize::from(rx)][usize::from(tx)].push(live);
        }
    }

    fn clear(&mut self) {
        self.shelves.iter_mut().flatten().for_each(Vec::clear);
        self.total -= self.kept;
        self.kept = 0;
    }
}
