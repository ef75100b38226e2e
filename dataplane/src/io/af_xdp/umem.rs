//! The arena as UMEM: its shape in the kernel's eyes, and which of its chunks the kernel has.

use crate::{frame::Arena, io::error::Cause};

/// What the kernel leaves before a received packet (`XDP_PACKET_HEADROOM`).
const PACKET_HEADROOM: usize = 256;
/// Largest chunk that the kernel takes without hugepages: a page.
const LARGEST_CHUNK: usize = 4096;

/// Bytes per chunk as registered with the kernel. Larger chunks of ours are many to the kernel, of which it gets the first.
pub(super) fn chunk_size(arena: &Arena) -> usize {
    arena.chunk_size().min(LARGEST_CHUNK)
}

/// Refuses an arena whose frames cannot hold an Ethernet frame of `longest` bytes, for an MTU of `mtu`.
pub(super) fn check(arena: &Arena, mtu: u16, longest: u32) -> Result<(), Cause> {
    let room = chunk_size(arena) - PACKET_HEADROOM;
    if longest as usize <= room {
        return Ok(());
    }
    let fits = longest as usize + PACKET_HEADROOM <= LARGEST_CHUNK;
    Err(Cause::FrameSize { mtu: u32::from(mtu), room, frame_size: fits.then_some(LARGEST_CHUNK) })
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

/// The chunks that one port has lent to the kernel: a bit per chunk, so that a closed socket's chunks can be found whatever the
/// kernel did with them last.
#[derive(Debug)]
pub(super) struct Lent {
    words: Box<[u64]>,
    shift: u32,
}

impl Lent {
    pub(super) fn new(arena: &Arena) -> Self {
        let words = vec![0; arena.capacity().div_ceil(64)].into_boxed_slice();
        Self { words, shift: arena.chunk_size().trailing_zeros() }
    }

    /// Notes that the chunk around `offset` is the kernel's.
    #[inline]
    pub(super) fn lend(&mut self, offset: u64) {
        let (word, bit) = self.place(offset);
        self.words[word] |= bit;
    }

    /// Notes that it came back. `false` when it was not lent: the kernel has no right to return it.
    #[inline]
    pub(super) fn take_back(&mut self, offset: u64) -> bool {
        let (word, bit) = self.place(offset);
        match self.words.get_mut(word) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                true
            }
            _ => false,
        }
    }

    /// All that is lent, as offsets; afterwards nothing is.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        let shift = self.shift;
        self.words.iter_mut().enumerate().flat_map(move |(index, word)| {
            let bits = core::mem::take(word);
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (index as u64 * 64 + bit) << shift)
        })
    }

    #[inline]
    fn place(&self, offset: u64) -> (usize, u64) {
        let chunk = offset >> self.shift;
        ((chunk / 64) as usize, 1 << (chunk % 64))
    }
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
        assert!(lent.take_back(63 * 2048 + 256));
        assert!(!lent.take_back(63 * 2048));
        assert!(!lent.take_back(5 * 2048));
        assert!(!lent.take_back(1 << 40), "outside the arena");
        assert_eq!(lent.drain().collect::<Vec<_>>(), [0, 64 * 2048, 129 * 2048]);
        assert_eq!(lent.drain().count(), 0);
    }

    #[test]
    fn long_packets_want_large_frames() {
        let arena = Arena::new(4, 2048).unwrap();
        assert!(check(&arena, 1500, 1518).is_ok());
        assert!(matches!(check(&arena, 3000, 3018), Err(Cause::FrameSize { frame_size: Some(4096), .. })));
        assert!(matches!(check(&arena, 9000, 9018), Err(Cause::FrameSize { frame_size: None, .. })));
        assert_eq!(chunk_size(&Arena::new(4, 65536).unwrap()), 4096);
    }
}
