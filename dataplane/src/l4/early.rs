//! What arrived early or twice, and how the peer is told: selective acknowledgement (RFC 2018) and its report of duplicates
//! (RFC 2883).
//!
//! smoltcp tells of one block and never of a duplicate. A sender on a wire that reorders needs both: several blocks, since an
//! acknowledgement may be lost or overtaken, and the duplicates, since only they show that it resent without need and should be
//! more patient.

use super::{
    segment::{TCP_HEADER, flag},
    seq::Seq,
};

/// Blocks remembered. Beyond it the one not touched for longest is forgotten, which the peer survives: it is told no lie.
const REMEMBERED: usize = 8;
/// Blocks of one segment: what fits into 40 octets of options (RFC 2018 §3).
const TOLD: usize = 4;
/// Longest option with its padding, in octets.
pub(super) const MAX_OPTION: usize = 4 + 8 * TOLD;

type Block = (Seq, Seq);

/// The blocks beyond the next octet expected, the one that grew last first (RFC 2018 §4), and the newest duplicate.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Early {
    blocks: [Block; REMEMBERED],
    count: u8,
    duplicate: Option<Block>,
}

impl Early {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.duplicate.is_none()
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks[..usize::from(self.count)]
    }

    /// Octets from `start` to `end` have arrived while `next` is expected.
    pub(super) fn note(&mut self, start: Seq, end: Seq, next: Seq) {
        if start.before(next) {
            self.duplicate = Some((start, if end.before(next) { end } else { next }));
            return;
        }
        if start == next {
            return; // What lies behind it goes by itself once the segment is in.
        }
        if self.blocks().iter().any(|block| !start.before(block.0) && !end.after(block.1)) {
            self.duplicate = Some((start, end));
        }
        self.add((start, end));
    }

    /// Joins a block with all it touches and puts the result first.
    fn add(&mut self, mut block: Block) {
        let (old, count) = (self.blocks, usize::from(self.count));
        let mut kept = 1;
        for &other in &old[..count] {
            if other.0.after(block.1) || other.1.before(block.0) {
                if kept < REMEMBERED {
                    self.blocks[kept] = other;
                    kept += 1;
                }
            } else {
                block = (if other.0.before(block.0) { other.0 } else { block.0 }, block.1.max(other.1));
            }
        }
        self.blocks[0] = block;
        self.count = kept as u8;
    }

    /// The socket had no room for the newest block.
    pub(super) fn forget(&mut self, start: Seq, end: Seq) {
        self.retain(|block| block != (start, end));
    }

    /// Everything before `next` has been taken in.
    pub(super) fn advance(&mut self, next: Seq) {
        if self.count > 0 {
            self.retain(|block| block.1.after(next));
        }
    }

    fn retain(&mut self, keep: impl Fn(Block) -> bool) {
        let mut kept = 0;
        for index in 0..usize::from(self.count) {
            if keep(self.blocks[index]) {
                self.blocks[kept] = self.blocks[index];
                kept += 1;
            }
        }
        self.count = kept as u8;
    }

    /// Writes the option into `packet`, of which `len` octets are a packet with its TCP header at `tcp_at`, if that is a plain
    /// acknowledgement. Returns the new length. A duplicate is told once (RFC 2883 §4).
    pub(super) fn tell(&mut self, packet: &mut [u8], len: usize, tcp_at: usize) -> usize {
        let tcp = &packet[tcp_at..len];
        let plain = tcp[13] & (flag::SYN | flag::FIN | flag::RST) == 0 && tcp.len() == usize::from(tcp[12] >> 4) * 4;
        let ack = Seq(u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]));
        self.advance(ack);
        if !plain || self.is_empty() || packet.len() < tcp_at + TCP_HEADER + MAX_OPTION {
            return len;
        }
        let mut at = tcp_at + TCP_HEADER + 4;
        let mut told = 0;
        for (start, end) in self.duplicate.take().iter().chain(self.blocks()).take(TOLD) {
            packet[at..at + 4].copy_from_slice(&start.0.to_be_bytes());
            packet[at + 4..at + 8].copy_from_slice(&end.0.to_be_bytes());
            at += 8;
            told += 1;
        }
        // Two no-operations align the blocks.
        packet[tcp_at + TCP_HEADER..tcp_at + TCP_HEADER + 4].copy_from_slice(&[1, 1, 5, 2 + 8 * told]);
        packet[tcp_at + 12] = (((at - tcp_at) / 4) << 4) as u8;
        let (field, counted) = if packet[0] >> 4 == 4 { (2, at) } else { (4, at - tcp_at) };
        packet[field..field + 2].copy_from_slice(&(counted as u16).to_be_bytes());
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet without data that acknowledges `ack`, and the blocks that it is sent with.
    fn told(early: &mut Early, ack: u32) -> Vec<(u32, u32)> {
        let mut packet = [0; 20 + TCP_HEADER + MAX_OPTION];
        packet[0] = 0x45;
        packet[28..32].copy_from_slice(&ack.to_be_bytes());
        packet[32..34].copy_from_slice(&[0x50, flag::ACK]);
        let len = early.tell(&mut packet, 40, 20);
        if len == 40 {
            return Vec::new();
        }
        assert_eq!(usize::from(packet[32] >> 4) * 4 + 20, len);
        assert_eq!(u16::from_be_bytes([packet[2], packet[3]]), len as u16);
        assert_eq!((packet[40..43].to_vec(), usize::from(packet[43])), (vec![1, 1, 5], len - 42));
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        (44..len).step_by(8).map(|at| (word(at), word(at + 4))).collect()
    }

    fn note(early: &mut Early, start: u32, end: u32) {
        early.note(Seq(start), Seq(end), Seq(1000));
    }

    #[test]
    fn the_newest_block_comes_first_and_neighbours_join() {
        let mut early = Early::default();
        assert!(told(&mut early, 1000).is_empty());
        for start in [2000, 3000, 4000, 5000, 6000] {
            note(&mut early, start, start + 500);
        }
        assert_eq!(told(&mut early, 1000), [(6000, 6500), (5000, 5500), (4000, 4500), (3000, 3500)]);
        note(&mut early, 2500, 3000);
        assert_eq!(told(&mut early, 1000)[..2], [(2000, 3500), (6000, 6500)]);
        assert_eq!(told(&mut early, 4500), [(6000, 6500), (5000, 5500)], "what is acknowledged is not told");
        assert!(told(&mut early, 6500).is_empty());
        assert!(early.is_empty());
    }

    #[test]
    fn a_duplicate_is_told_once_and_before_the_rest() {
        let mut early = Early::default();
        note(&mut early, 500, 900);
        assert_eq!(told(&mut early, 1000), [(500, 900)]);
        assert!(told(&mut early, 1000).is_empty());
        note(&mut early, 2000, 3000);
        note(&mut early, 2200, 2400);
        assert_eq!(told(&mut early, 1000), [(2200, 2400), (2000, 3000)], "RFC 2883 §4.2: with the block it lies in");
        note(&mut early, 800, 1200);
        assert_eq!(told(&mut early, 1000), [(800, 1000), (2000, 3000)]);
    }

    #[test]
    fn what_the_socket_refused_is_not_told_and_memory_is_bounded() {
        let mut early = Early::default();
        for index in 0..20 {
            note(&mut early, 2000 + index * 100, 2050 + index * 100);
        }
        assert_eq!(early.blocks().len(), REMEMBERED);
        assert_eq!(told(&mut early, 1000)[0], (3900, 3950));
        early.forget(Seq(3900), Seq(3950));
        assert_eq!(told(&mut early, 1000)[0], (3800, 3850));
    }
}
