//! The arena as UMEM: its shape in the kernel's eyes, and which of its chunks the kernel has.

use crate::{frame::Arena, io::error::Cause};

/// What the kernel leaves before a received packet (`XDP_PACKET_HEADROOM`).
const PACKET_HEADROOM: usize = 256;
/// Largest chunk that the kernel takes without hugepages: a page.
const LARGEST_CHUNK: usize = 4096;
/// Largest chunk of ours.
const LARGEST_FRAME: usize = 65536;

/// Bytes per chunk as registered with the kernel. A larger chunk of ours is several to the kernel, side by side: it gets the first to
/// receive into, and a long packet is sent from as many as it lies in.
pub(super) fn chunk_size(arena: &Arena) -> usize {
    arena.chunk_size().min(LARGEST_CHUNK)
}

/// Whether a packet may be longer than the kernel's chunks, so that it travels in pieces (`XDP_USE_SG`).
pub(super) fn takes_pieces(arena: &Arena) -> bool {
    arena.chunk_size() > LARGEST_CHUNK
}

/// Whether an Ethernet frame of `longest` bytes arrives in one piece.
pub(super) fn fits_one_piece(arena: &Arena, longest: u32) -> bool {
    longest as usize + PACKET_HEADROOM <= chunk_size(arena)
}

/// Refuses an arena whose frames cannot hold an Ethernet frame of `longest` bytes, for an MTU of `mtu`.
pub(super) fn check(arena: &Arena, mtu: u16, longest: u32) -> Result<(), Cause> {
    let room = arena.chunk_size() - PACKET_HEADROOM;
    if longest as usize <= room {
        return Ok(());
    }
    let enough = (longest as usize + PACKET_HEADROOM).next_power_of_two();
    Err(Cause::FrameSize { mtu: u32::from(mtu), room, frame_size: (enough <= LARGEST_FRAME).then_some(enough) })
}

/// What to register with the kernel.
pub(super) fn registration(arena: &Arena) -> libc::xdp_umem_reg {
    let (base, bytes) = arena.region();
    libc::xdp_umem_reg {
        addr: base.as_ptr() as u64,
        len: bytes as u64,
        chunk_size: chunk_size(arena) as u32,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    }
}

/// The chunks that one port has lent to the kernel: a bit per chunk of the kernel's, so that a closed socket's chunks can be found
/// whatever the kernel did with them last. A chunk of ours is back when all of its bits are.
#[derive(Debug)]
pub(super) struct Lent {
    words: Box<[u64]>,
    /// Of the kernel's chunks.
    shift: u32,
    /// Chunks of the kernel's in one of ours: a power of two, at most 16, so that they share a word.
    pieces: u32,
}

/// What came back with a chunk of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Returned {
    /// The last that the kernel had of a chunk of ours.
    Whole,
    /// It still has others of that chunk.
    Part,
    /// It was not lent: the kernel has no right to return it.
    Foreign,
}

impl Lent {
    pub(super) fn new(arena: &Arena) -> Self {
        let pieces = arena.chunk_size() / chunk_size(arena);
        let words = vec![0; (arena.capacity() * pieces).div_ceil(64)].into_boxed_slice();
        Self { words, shift: chunk_size(arena).trailing_zeros(), pieces: pieces as u32 }
    }

    /// Notes that the kernel's chunk around `offset` is lent.
    #[inline]
    pub(super) fn lend(&mut self, offset: u64) {
        let (word, bit) = self.place(offset);
        self.words[word] |= bit;
    }

    /// Notes that it came back.
    #[inline]
    pub(super) fn take_back(&mut self, offset: u64) -> Returned {
        let (word, bit) = self.place(offset);
        match self.words.get_mut(word) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                if self.pieces == 1 || *word & siblings(bit, self.pieces) == 0 {
                    Returned::Whole
                } else {
                    Returned::Part
                }
            }
            _ => Returned::Foreign,
        }
    }

    /// The chunks of ours of which anything is lent, as offsets; afterwards nothing is.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        let Self { words, shift, pieces } = self;
        let (shift, pieces) = (*shift, u64::from(*pieces));
        words.iter_mut().enumerate().flat_map(move |(index, word)| {
            let bits = core::mem::take(word);
            let lent = move |first: &u64| bits & siblings(1 << first, pieces as u32) != 0;
            (0..64).step_by(pieces as usize).filter(lent).map(move |first| (index as u64 * 64 + first) << shift)
        })
    }

    #[inline]
    fn place(&self, offset: u64) -> (usize, u64) {
        let chunk = offset >> self.shift;
        ((chunk / 64) as usize, 1 << (chunk % 64))
    }
}

/// The bits of all `pieces` chunks that lie in the same chunk of ours as that of `bit`.
fn siblings(bit: u64, pieces: u32) -> u64 {
    let first = bit.trailing_zeros() & !(pieces - 1);
    ((1 << pieces) - 1) << first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_once() {
        let arena = Arena::new(130, 2048).unwrap();
        let mut lent = Lent::new(&arena);
        for chunk in [0, 63, 64, 129] {
            lent.lend(chunk * 2048);
        }
        assert_eq!(lent.take_back(63 * 2048 + 256), Returned::Whole);
        assert_eq!(lent.take_back(63 * 2048), Returned::Foreign);
        assert_eq!(lent.take_back(5 * 2048), Returned::Foreign);
        assert_eq!(lent.take_back(1 << 40), Returned::Foreign, "outside the arena");
        assert_eq!(lent.drain().collect::<Vec<_>>(), [0, 64 * 2048, 129 * 2048]);
        assert_eq!(lent.drain().count(), 0);
    }

    #[test]
    fn a_chunk_in_pieces_is_back_with_the_last() {
        let arena = Arena::new(9, 65536).unwrap();
        let mut lent = Lent::new(&arena);
        for offset in [3 * 65536 + 100, 3 * 65536 + 4096, 3 * 65536 + 15 * 4096, 4 * 65536, 8 * 65536 + 4096] {
            lent.lend(offset);
        }
        assert_eq!(lent.take_back(3 * 65536 + 15 * 4096), Returned::Part);
        assert_eq!(lent.take_back(3 * 65536), Returned::Part);
        assert_eq!(lent.take_back(3 * 65536), Returned::Foreign, "twice");
        assert_eq!(lent.take_back(3 * 65536 + 4096), Returned::Whole);
        assert_eq!(lent.drain().collect::<Vec<_>>(), [4 * 65536, 8 * 65536], "each chunk once, by its start");
        assert_eq!(lent.drain().count(), 0);
    }

    #[test]
    fn long_packets_want_large_frames() {
        let arena = Arena::new(4, 2048).unwrap();
        assert!(check(&arena, 1500, 1518).is_ok());
        assert!(matches!(check(&arena, 3000, 3018), Err(Cause::FrameSize { frame_size: Some(4096), .. })));
        assert!(matches!(check(&arena, 9000, 9018), Err(Cause::FrameSize { frame_size: Some(16384), .. })));
        assert!(matches!(check(&arena, 65500, 65518), Err(Cause::FrameSize { frame_size: None, .. })));
        let arena = Arena::new(4, 16384).unwrap();
        assert!(check(&arena, 9000, 9018).is_ok());
        assert_eq!((chunk_size(&arena), takes_pieces(&arena)), (4096, true));
        assert!(fits_one_piece(&arena, 3840) && !fits_one_piece(&arena, 3841));
    }
}
