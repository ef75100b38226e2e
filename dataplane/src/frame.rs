//! Packet buffers: a per-core arena and the move-only frame that lives in it.
//!
//! An [`Arena`] is one mapping of equal chunks. It is at once the UMEM of the core's AF_XDP sockets and the buffer of its TAP,
//! pcap and memory ports, so that a packet passes between those ports without a copy. A [`Frame`] owns one chunk (or one
//! DPDK mbuf) and goes home when dropped: a packet has one owner and one end. Frames are not `Send`; what crosses cores is
//! copied through a ring (`sync::spsc`), so no counter here is atomic.
#![allow(unsafe_code)] // The memory under all packets: chunks are handed to the kernel and to NICs by address.

mod error;
mod home; // whose memory it is
#[cfg(feature = "dpdk")]
mod mbuf;
pub(crate) mod pages; // where it lies

use core::{
    cell::{Cell, RefCell, UnsafeCell},
    fmt,
    mem::ManuallyDrop,
    ptr::NonNull,
};
use std::os::fd::RawFd;

pub use error::ArenaError;
use home::{Home, Memory};

/// Room kept before the packet in a freshly allocated frame, in bytes: enough for Ethernet, two VLAN tags and a tunnel header,
/// and what AF_XDP leaves before a received packet (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: usize = 256;

/// The `N` bytes at `at`, if a packet has them.
#[inline]
pub(crate) fn octets<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

struct Inner {
    base: NonNull<u8>,
    shift: u32,
    count: u32,
    free: UnsafeCell<Vec<u32>>,
    /// `Arena` values: the core's, and one per port that lends chunks to the kernel. Once there is none, the last frame to come
    /// home frees the memory.
    owners: Cell<u32>,
    /// Allocations that found the arena empty.
    exhausted: Cell<u64>,
    /// AF_XDP sockets bound to this memory.
    umem_sockets: RefCell<Vec<UmemSocket>>,
}

/// A bound socket that others can share the registration of this memory with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UmemSocket {
    pub(crate) fd: RawFd,
    /// Sharing takes over the mode.
    pub(crate) zero_copy: bool,
    /// Sharing takes it over: whether packets may travel in several chunks.
    pub(crate) pieces: bool,
}

impl Inner {
    fn bytes(&self) -> usize {
        (self.count as usize) << self.shift
    }

    fn index(&self, chunk: NonNull<u8>) -> u32 {
        ((chunk.as_ptr() as usize - self.base.as_ptr() as usize) >> self.shift) as u32
    }
}

/// Owner of a core's packet memory.
pub struct Arena {
    inner: NonNull<Inner>,
}

impl Arena {
    /// Maps `chunks` buffers of `chunk_size` bytes.
    ///
    /// # Errors
    /// The shape is not possible, or the kernel has no memory.
    pub fn new(chunks: usize, chunk_size: usize) -> Result<Self, ArenaError> {
        if !chunk_size.is_power_of_two() || !(2048..=65536).contains(&chunk_size) || !(1..=1 << 24).contains(&chunks) {
            return Err(ArenaError::Shape { chunk_size, chunks });
        }
        let bytes = chunks * chunk_size;
        let base =
            pages::map(bytes, pages::Reserve::All).ok_or_else(|| ArenaError::OutOfMemory { bytes, errno: errno() })?;
        // LIFO: the chunk freed last is the warmest in cache. Reserved in full so that a free never allocates.
        let free = (0..chunks as u32).rev().collect();
        let inner = Box::new(Inner {
            base,
            shift: chunk_size.trailing_zeros(),
            count: chunks as u32,
            free: UnsafeCell::new(free),
            owners: Cell::new(1),
            exhausted: Cell::new(0),
            umem_sockets: RefCell::default(),
        });
        Ok(Self { inner: NonNull::from(Box::leak(inner)) })
    }

    fn inner(&self) -> &Inner {
        // SAFETY: `inner` was leaked from a Box in `new` and is freed only when the arena is dropped and all frames are home.
        unsafe { self.inner.as_ref() }
    }

    /// An empty frame with [`HEADROOM`] before it, or `None` (counted) when all chunks are in use.
    #[inline]
    pub fn alloc(&self) -> Option<Frame> {
        let inner = self.inner();
        // SAFETY: `Arena` and `Frame` are !Send and !Sync (raw pointers), and no reference into `free` outlives a call, so this
        // is the only live reference. A RefCell would cost a check per packet for what the types already say.
        let free = unsafe { &mut *inner.free.get() };
        let Some(index) = free.pop() else {
            inner.exhausted.set(inner.exhausted.get() + 1);
            return None;
        };
        Some(self.frame_at(index, HEADROOM as u32, 0))
    }

    fn frame_at(&self, index: u32, head: u32, len: u32) -> Frame {
        let inner = self.inner();
        // SAFETY: `index < count`, so the chunk lies within the mapping.
        let chunk = unsafe { inner.base.add((index as usize) << inner.shift) };
        Frame { chunk, head, len, home: Home::arena(self.inner) }
    }

    /// A frame holding a copy of `bytes`; `None` when there is no chunk or the bytes do not fit into one.
    pub fn copy_from(&self, bytes: &[u8]) -> Option<Frame> {
        let mut frame = self.alloc()?;
        frame.extend(bytes.len())?.copy_from_slice(bytes);
        Some(frame)
    }

    /// Chunks not in use.
    pub fn available(&self) -> usize {
        // SAFETY: as in `alloc`.
        unsafe { (*self.inner().free.get()).len() }
    }

    /// Chunks in total.
    pub fn capacity(&self) -> usize {
        self.inner().count as usize
    }

    /// Bytes per chunk.
    pub fn chunk_size(&self) -> usize {
        1 << self.inner().shift
    }

    /// Allocations that found no free chunk, since the start.
    pub fn exhausted(&self) -> u64 {
        self.inner().exhausted.get()
    }

    /// Start and size in bytes of the mapping, for `XDP_UMEM_REG`.
    pub(crate) fn region(&self) -> (NonNull<u8>, usize) {
        (self.inner().base, self.inner().bytes())
    }

    /// The bound sockets that have registered this memory with the kernel.
    pub(crate) fn umem_sockets(&self) -> &RefCell<Vec<UmemSocket>> {
        &self.inner().umem_sockets
    }

    /// The same memory for another owner on this core: it stays mapped until the last owner is gone and all chunks are home.
    pub(crate) fn share(&self) -> Self {
        let owners = &self.inner().owners;
        owners.set(owners.get() + 1);
        Self { inner: self.inner }
    }

    /// Whether `frame` lives in this arena, so that it can be sent by a port on this memory without a copy.
    #[inline]
    pub fn owns(&self, frame: &Frame) -> bool {
        frame.home == Home::arena(self.inner)
    }

    /// Takes a free chunk out, as an offset into [`Arena::region`], to lend it to the kernel (fill ring).
    #[inline]
    pub(crate) fn lend(&self) -> Option<u64> {
        // SAFETY: as in `alloc`.
        let index = unsafe { (*self.inner().free.get()).pop() }?;
        Some(u64::from(index) << self.inner().shift)
    }

    /// Takes back a chunk that the kernel has finished with (completion ring); `offset` is any address within it.
    ///
    /// # Safety
    /// The chunk was lent (by [`Arena::lend`] or [`Frame::into_offset`]), and is returned once.
    #[inline]
    pub(crate) unsafe fn restore(&self, offset: u64) {
        let index = (offset >> self.inner().shift) as u32;
        debug_assert!(index < self.inner().count);
        // SAFETY: as in `alloc`; the vector was created with room for all chunks.
        unsafe { (*self.inner().free.get()).push(index) }
    }

    /// Makes a frame of a lent chunk that the kernel has filled with `len` bytes at `offset`.
    ///
    /// # Safety
    /// The chunk was lent, comes back once, and `offset..offset + len` lies within one chunk.
    #[inline]
    pub(crate) unsafe fn adopt(&self, offset: u64, len: u32) -> Frame {
        let inner = self.inner();
        let index = (offset >> inner.shift) as u32;
        let head = (offset & ((1 << inner.shift) - 1)) as u32;
        debug_assert!(index < inner.count && head + len <= 1 << inner.shift);
        self.frame_at(index, head, len)
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} of {} × {} bytes free)", self.available(), self.capacity(), self.chunk_size())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let owners = self.inner().owners.get() - 1;
        self.inner().owners.set(owners);
        // SAFETY: as in `alloc`.
        let idle = unsafe { (*self.inner().free.get()).len() } == self.capacity();
        if idle && owners == 0 {
            // SAFETY: the last owner is gone and every chunk is home: nobody else points at `inner`.
            unsafe { destroy(self.inner) }
        }
    }
}

/// Unmaps the memory and frees the bookkeeping.
///
/// # Safety
/// No `Arena` and no `Frame` refers to `inner` any more.
unsafe fn destroy(inner: NonNull<Inner>) {
    // SAFETY: leaked from a Box in `Arena::new`; the caller holds the last pointer.
    let inner = unsafe { Box::from_raw(inner.as_ptr()) };
    // SAFETY: it was mapped in `Arena::new` with this size and no frame points into it.
    unsafe { pages::unmap(inner.base, inner.bytes()) };
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// One packet. Move-only; its memory goes home on drop. Three words, because it moves from port to batch to port.
pub struct Frame {
    chunk: NonNull<u8>,
    head: u32,
    len: u32,
    home: Home,
}

impl Frame {
    /// The packet.
    #[inline]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `head + len <= capacity()` holds after every method, and the chunk is ours alone while the frame lives.
        unsafe { core::slice::from_raw_parts(self.chunk.add(self.head as usize).as_ptr(), self.len as usize) }
    }

    /// The packet, writable.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `&mut self` makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.chunk.add(self.head as usize).as_ptr(), self.len as usize) }
    }

    /// Bytes in the packet.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the packet is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can be prepended.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.head as usize
    }

    /// Bytes that can be appended.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.capacity() - (self.head + self.len) as usize
    }

    /// Bytes of its chunk or mbuf.
    #[inline]
    fn capacity(&self) -> usize {
        match self.home.memory() {
            // SAFETY: a frame keeps its arena's `Inner` alive: it is destroyed only when all chunks are home.
            Memory::Arena(home) => 1 << unsafe { home.as_ref() }.shift,
            // SAFETY: the frame owns the mbuf (contract of `from_mbuf`).
            #[cfg(feature = "dpdk")]
            Memory::Mbuf(mbuf) => usize::from(unsafe { mbuf.as_ref() }.buf_len),
        }
    }

    /// Prepends `n` bytes (their content is whatever was there) and returns them; `None` without room.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.headroom() {
            return None;
        }
        self.head -= n as u32;
        self.len += n as u32;
        self.data_mut().get_mut(..n)
    }

    /// Removes `n` bytes (at most all) at the front.
    #[inline]
    pub fn trim_front(&mut self, n: usize) {
        let n = n.min(self.len()) as u32;
        self.head += n;
        self.len -= n;
    }

    /// Appends `n` bytes (their content is whatever was there) and returns them; `None` without room.
    #[inline]
    pub fn extend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        let at = self.len();
        self.len += n as u32;
        self.data_mut().get_mut(at..)
    }

    /// Cuts the packet to `len` bytes; longer than it is changes nothing.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u32);
    }

    /// Gives the chunk away as an offset into its arena's region: the kernel owns it until [`Arena::restore`].
    /// `None` (and the frame back) when its home is other memory.
    #[inline]
    pub(crate) fn into_offset(self, arena: &Arena) -> Result<(u64, u32), Self> {
        if !arena.owns(&self) {
            return Err(self);
        }
        let offset =
            (self.chunk.as_ptr() as usize - arena.inner().base.as_ptr() as usize) as u64 + u64::from(self.head);
        let frame = ManuallyDrop::new(self);
        Ok((offset, frame.len))
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        match self.home.memory() {
            Memory::Arena(home) => {
                // SAFETY: a frame keeps its arena's `Inner` alive: it is destroyed only when all chunks are home.
                let inner = unsafe { home.as_ref() };
                // SAFETY: as in `Arena::alloc`: single-threaded, no other live reference.
                let free = unsafe { &mut *inner.free.get() };
                free.push(inner.index(self.chunk));
                if inner.owners.get() == 0 && free.len() == inner.count as usize {
                    // SAFETY: the arena is gone and this was the last frame.
                    unsafe { destroy(home) }
                }
            }
            #[cfg(feature = "dpdk")]
            Memory::Mbuf(mbuf) => {
                // SAFETY: the frame owns the mbuf (contract of `from_mbuf`); it goes back to its pool once.
                unsafe { crate::io::dpdk::free_mbuf(mbuf) }
            }
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes, headroom {})", self.len, self.head)
    }
}

const _: () = assert!(size_of::<Frame>() == 24 && size_of::<Option<Frame>>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_home() {
        let arena = Arena::new(4, 2048).unwrap();
        let frames: Vec<_> = (0..4).map(|_| arena.alloc().unwrap()).collect();
        assert!(arena.alloc().is_none());
        assert_eq!(arena.exhausted(), 1);
        drop(frames);
        assert_eq!(arena.available(), 4);
    }

    #[test]
    fn a_frame_outlives_its_arena() {
        let arena = Arena::new(2, 2048).unwrap();
        let mut frame = arena.copy_from(b"packet").unwrap();
        drop(arena);
        frame.extend(3).unwrap().copy_from_slice(b"!!!");
        assert_eq!(frame.data(), b"packet!!!");
    }

    #[test]
    fn head_and_tail_are_bounded() {
        let arena = Arena::new(1, 2048).unwrap();
        let mut frame = arena.copy_from(&[7; 100]).unwrap();
        assert_eq!(frame.headroom(), HEADROOM);
        assert!(frame.prepend(HEADROOM + 1).is_none());
        frame.prepend(14).unwrap().fill(1);
        assert_eq!(frame.len(), 114);
        frame.trim_front(14);
        assert_eq!(frame.data(), &[7; 100]);
        assert!(frame.extend(2048).is_none());
        frame.truncate(10);
        assert_eq!(frame.len(), 10);
        frame.trim_front(100);
        assert!(frame.is_empty());
    }

    #[test]
    fn lent_chunks_are_adopted_and_restored() {
        let arena = Arena::new(2, 2048).unwrap();
        let offset = arena.lend().unwrap();
        // SAFETY: just lent.
        let frame = unsafe { arena.adopt(offset + 256, 60) };
        assert_eq!((frame.len(), frame.headroom()), (60, 256));
        let (offset, len) = frame.into_offset(&arena).unwrap();
        assert_eq!((len, arena.available()), (60, 1));
        let other = arena.share();
        drop(arena);
        // SAFETY: lent by `into_offset`.
        unsafe { other.restore(offset) };
        assert_eq!(other.available(), 2);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert!(matches!(Arena::new(0, 2048), Err(ArenaError::Shape { .. })));
        assert!(matches!(Arena::new(8, 3000), Err(ArenaError::Shape { .. })));
    }
}
