//! The four rings between us and the kernel. Each has one producer and one consumer and is its own type, because mixing them up
//! gives memory away twice.
//!
//! | ring | who fills it | what it carries |
//! |---|---|---|
//! | [`FillRing`] | we | free chunks to receive into |
//! | [`RxRing`] | kernel | received packets |
//! | [`TxRing`] | we | packets to send |
//! | [`CompletionRing`] | kernel | chunks it has sent |
#![allow(unsafe_code)] // Memory that the kernel reads and writes at the same time.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};
use std::os::fd::BorrowedFd;

use libc::xdp_desc;

use super::syscall::{self, Mapping};

/// Entries of the rings, each a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    /// Fill and receive ring.
    pub(super) rx: u32,
    /// Transmit and completion ring.
    pub(super) tx: u32,
}

/// All rings of a socket.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) fill: FillRing,
    pub(super) rx: RxRing,
    pub(super) tx: TxRing,
    pub(super) completion: CompletionRing,
}

impl Rings {
    /// Makes and maps the rings of an unbound socket.
    pub(super) fn new(socket: BorrowedFd<'_>, sizes: Sizes) -> Result<Self, i32> {
        let entries = [
            (libc::XDP_UMEM_FILL_RING, sizes.rx),
            (libc::XDP_RX_RING, sizes.rx),
            (libc::XDP_TX_RING, sizes.tx),
            (libc::XDP_UMEM_COMPLETION_RING, sizes.tx),
        ];
        for (ring, entries) in entries {
            syscall::set_option(socket, libc::SOL_XDP, ring, &(entries as i32))?;
        }
        let at: libc::xdp_mmap_offsets = syscall::option(socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        Ok(Self {
            fill: FillRing(Ring::map(socket, libc::XDP_UMEM_PGOFF_FILL_RING as i64, &at.fr, sizes.rx)?),
            rx: RxRing(Ring::map(socket, libc::XDP_PGOFF_RX_RING, &at.rx, sizes.rx)?),
            tx: TxRing(Ring::map(socket, libc::XDP_PGOFF_TX_RING, &at.tx, sizes.tx)?),
            completion: CompletionRing(Ring::map(
                socket,
                libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64,
                &at.cr,
                sizes.tx,
            )?),
        })
    }
}

/// Chunks we lend to the kernel to receive into.
#[derive(Debug)]
pub(super) struct FillRing(Ring<u64>);

impl FillRing {
    /// Entries that can be pushed.
    #[inline]
    pub(super) fn room(&mut self) -> u32 {
        self.0.room()
    }

    /// Lends the chunk at `offset`; there must be room. Seen by the kernel after [`FillRing::commit`].
    #[inline]
    pub(super) fn push(&mut self, offset: u64) {
        self.0.push(offset);
    }

    /// Shows the kernel what was pushed.
    #[inline]
    pub(super) fn commit(&mut self) {
        self.0.commit();
    }

    /// Whether the driver went to sleep for want of chunks and must be told of new ones.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.0.needs_wakeup()
    }
}

/// Packets received.
#[derive(Debug)]
pub(super) struct RxRing(Ring<xdp_desc>);

impl RxRing {
    /// The oldest packet. Its entry is free for the kernel after [`RxRing::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<xdp_desc> {
        self.0.pop()
    }

    /// Gives the kernel the entries back that were popped.
    #[inline]
    pub(super) fn release(&mut self) {
        self.0.release();
    }

    /// Whether nothing has been received.
    #[inline]
    pub(super) fn is_empty(&mut self) -> bool {
        self.0.waiting() == 0
    }
}

/// Packets to send.
#[derive(Debug)]
pub(super) struct TxRing(Ring<xdp_desc>);

impl TxRing {
    /// Entries that can be pushed.
    #[inline]
    pub(super) fn room(&mut self) -> u32 {
        self.0.room()
    }

    /// Adds a packet; there must be room. Seen by the kernel after [`TxRing::commit`].
    #[inline]
    pub(super) fn push(&mut self, packet: xdp_desc) {
        self.0.push(packet);
    }

    /// Shows the kernel what was pushed.
    #[inline]
    pub(super) fn commit(&mut self) {
        self.0.commit();
    }

    /// Packets that the kernel has not taken yet.
    #[inline]
    pub(super) fn untaken(&self) -> u32 {
        self.0.untaken()
    }

    /// Whether the kernel sends only when kicked.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.0.needs_wakeup()
    }
}

/// Chunks whose packets were sent.
#[derive(Debug)]
pub(super) struct CompletionRing(Ring<u64>);

impl CompletionRing {
    /// Offset of a packet that was sent. Its entry is free for the kernel after [`CompletionRing::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<u64> {
        self.0.pop()
    }

    /// Gives the kernel the entries back that were popped.
    #[inline]
    pub(super) fn release(&mut self) {
        self.0.release();
    }
}

/// A ring of either direction. Indices run freely and wrap at 2^32; entry `i` is at `i & mask`.
#[derive(Debug)]
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
    /// Our own index, ahead of the shared one until `commit` or `release`.
    ours: u32,
    /// The kernel's index as last read.
    theirs: u32,
    _mapping: Mapping,
}

impl<T: Copy> Ring<T> {
    fn map(socket: BorrowedFd<'_>, page: libc::off_t, at: &libc::xdp_ring_offset, entries: u32) -> Result<Self, i32> {
        let bytes = entries as usize * size_of::<T>();
        let mapping = Mapping::new(socket, page, at.desc as usize + bytes)?;
        // Offsets that lie outside would mean a kernel whose layout is not the one of this interface.
        let index = |offset| mapping.at(offset, size_of::<AtomicU32>()).map(NonNull::cast).ok_or(libc::EPROTO);
        Ok(Self {
            producer: index(at.producer)?,
            consumer: index(at.consumer)?,
            flags: index(at.flags)?,
            entries: mapping.at(at.desc, bytes).ok_or(libc::EPROTO)?.cast(),
            mask: entries - 1,
            ours: 0,
            theirs: 0,
            _mapping: mapping,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: `map` found it inside the mapping, aligned by the kernel's layout; the mapping lives as long as `self`.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() };
        // Relaxed: a flag seen late costs one kick too many or one turn of delay.
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline]
    fn room(&mut self) -> u32 {
        // Acquire pairs with the kernel's release of the consumer index: it has read the entries that we will overwrite.
        self.theirs = self.consumer().load(Ordering::Acquire);
        self.mask + 1 - self.ours.wrapping_sub(self.theirs)
    }

    #[inline]
    fn push(&mut self, entry: T) {
        debug_assert!(self.ours.wrapping_sub(self.theirs) <= self.mask);
        // SAFETY: masked, so within the ring; `room` has shown that the kernel is done with this entry, and it will not read
        // it before `commit`.
        unsafe { self.entries.add((self.ours & self.mask) as usize).write(entry) };
        self.ours = self.ours.wrapping_add(1);
    }

    #[inline]
    fn commit(&mut self) {
        // Release pairs with the kernel's acquire of the producer index: it sees the entries written before.
        self.producer().store(self.ours, Ordering::Release);
    }

    #[inline]
    fn untaken(&self) -> u32 {
        // Relaxed: nothing is read or written on the strength of it.
        self.ours.wrapping_sub(self.consumer().load(Ordering::Relaxed))
    }

    #[inline]
    fn waiting(&mut self) -> u32 {
        // Acquire pairs with the kernel's release of the producer index: we see the entries and packets written before.
        self.theirs = self.producer().load(Ordering::Acquire);
        self.theirs.wrapping_sub(self.ours)
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        if self.ours == self.theirs && self.waiting() == 0 {
            return None;
        }
        // SAFETY: masked, so within the ring; the kernel has published this entry and will not write it again before `release`.
        let entry = unsafe { self.entries.add((self.ours & self.mask) as usize).read() };
        self.ours = self.ours.wrapping_add(1);
        Some(entry)
    }

    #[inline]
    fn release(&mut self) {
        // Release pairs with the kernel's acquire of the consumer index: we have read the entries it will overwrite.
        self.consumer().store(self.ours, Ordering::Release);
    }
}
