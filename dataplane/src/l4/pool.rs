//! Sockets with their buffers, by size class, handed out and taken back.

use super::{live::Live, options::TcpOptions, stats::Stats};

/// Buffer sizes in bytes.
pub(super) const CLASS_BYTES: [usize; 5] = [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Class that a new connection starts with, in either direction.
pub(super) const FIRST_CLASS: u8 = 1;
/// Bytes of unused sockets that are kept for the next connection.
const KEEP_BYTES: usize = 32 << 20;

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

    /// A socket with buffers of these classes, or of the smallest when memory is short. `None` when even those would exceed
    /// twice the limit.
    pub(super) fn take(&mut self, rx: u8, tx: u8, stats: &Stats) -> Option<Box<Live>> {
        let live = self.take_exactly(rx, tx, self.limit).or_else(|| {
            stats.buffer_shortages.add(1);
            self.take_exactly(0, 0, self.limit.saturating_mul(2))
        });
        stats.buffer_bytes.set(self.total as u64);
        live
    }

    fn take_exactly(&mut self, rx: u8, tx: u8, limit: usize) -> Option<Box<Live>> {
        if let Some(live) = self.shelves[usize::from(rx)][usize::from(tx)].pop() {
            self.kept -= bytes(rx, tx);
            return Some(live);
        }
        if self.total + bytes(rx, tx) > limit {
            self.clear();
        }
        if self.total + bytes(rx, tx) > limit {
            return None;
        }
        self.total += bytes(rx, tx);
        Some(Box::new(Live::new(rx, tx)))
    }

    /// Takes a socket back. It may be in any state.
    pub(super) fn give(&mut self, live: Box<Live>, stats: &Stats) {
        let (rx, tx) = live.classes;
        if self.kept + bytes(rx, tx) > KEEP_BYTES || self.total > self.limit {
            self.total -= bytes(rx, tx);
        } else {
            self.kept += bytes(rx, tx);
            self.shelves[usize::from(rx)][usize::from(tx)].push(live);
        }
        stats.buffer_bytes.set(self.total as u64);
    }

    fn clear(&mut self) {
        self.shelves.iter_mut().flatten().for_each(Vec::clear);
        self.total -= self.kept;
        self.kept = 0;
    }
}
