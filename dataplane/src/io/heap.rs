//! Where large blocks of memory come from, and on what pages they lie.
#![allow(unsafe_code)] // mallopt belongs to the C library; cells are shared by address.

use core::alloc::Layout;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};
use std::alloc::handle_alloc_error;
use std::sync::Arc;

use crate::frame::pages::{self, Reserve};

/// Blocks of this many bytes and more get pages of their own: the size of the smallest socket buffers.
pub const MAPPED_FROM: usize = 16 << 10;

/// From now on every block of [`MAPPED_FROM`] bytes or more is a mapping of its own. Returns whether the allocator can do that.
///
/// Most of a socket buffer is never touched. A fresh mapping costs only the pages that are written to, and goes back to the kernel
/// when freed. By default glibc cuts blocks of up to 128 KiB and more from its heap instead: there it zeroes about every second
/// buffer by writing to it, and the holes that freed buffers leave between small blocks stay resident. Sockets are pooled, so the
/// system call is not paid per segment.
///
/// For the whole process; call it before the first core starts.
pub fn map_large_blocks() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt stores one number under the allocator's own lock; no block that exists changes its kind.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM as libc::c_int) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

/// What may begin as zero bytes and is shared by threads: the cells of tables that one thread writes and others read.
///
/// # Safety
/// All-zero bytes are a value of the type, it has no destructor, and it is no larger than a cache line, with an alignment that a page has.
pub unsafe trait Cell: Sync + Send {}

// SAFETY: an integer, which zero bytes are.
unsafe impl Cell for AtomicU32 {}
// SAFETY: as above, four times.
unsafe impl Cell for [AtomicU64; 4] {}

/// Cells that begin as zero, on huge pages where the kernel has some. A clone is the same memory, given back with the last of them.
///
/// A table larger than what the processor's translation buffers cover costs two misses per look-up: one for the data, one for where
/// the data is; with huge pages the second is rare. Memory comes from the kernel when it is first written: room that is not used
/// costs nothing.
pub struct Cells<T: Cell> {
    at: NonNull<T>,
    len: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: `Cells` only hands out shared references to `T`s, which are Sync; the mapping outlives them (its `Arc`) and never moves.
unsafe impl<T: Cell> Sync for Cells<T> {}
// SAFETY: as above; the last clone may unmap on any thread.
unsafe impl<T: Cell> Send for Cells<T> {}

/// A mapping of the process.
struct Mapping {
    base: usize,
    bytes: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(base) = NonNull::new(self.base as *mut u8) else { return };
        // SAFETY: what `Cells::zeros` has mapped, and its last user is gone: every `Cells` holds the `Arc` of this.
        unsafe { pages::unmap(base, self.bytes) };
    }
}

impl<T: Cell> Cells<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let layout = Layout::array::<T>(len.max(1)).unwrap_or_else(|_| handle_alloc_error(Layout::new::<T>()));
        let bytes = layout.size();
        let Some(base) = pages::map(bytes, Reserve::Nothing) else { handle_alloc_error(layout) };
        // It begins at a page, which is aligned for every `Cell`.
        let mapping = Arc::new(Mapping { base: base.as_ptr() as usize, bytes });
        Self { at: base.cast(), len, mapping }
    }
}

impl<T: Cell> Clone for Cells<T> {
    fn clone(&self) -> Self {
        Self { at: self.at, len: self.len, mapping: Arc::clone(&self.mapping) }
    }
}

impl<T: Cell> Deref for Cells<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` cells of the mapping, which `self.mapping` keeps; zero bytes are values (`Cell`), and cells change only by
        // their own atomic operations.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T: Cell> core::fmt::Debug for Cells<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} cells", self.len)
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering;

    use super::*;
    use crate::frame::pages::HUGE_PAGE;

    #[test]
    fn clones_are_the_same_memory_and_outlive_each_other() {
        for len in [0, 1, 5000, HUGE_PAGE] {
            let cells = Cells::<AtomicU32>::zeros(len);
            assert_eq!(cells.len(), len);
            assert!(cells.iter().step_by(4096).all(|cell| cell.load(Ordering::Relaxed) == 0));
            let same = cells.clone();
            if let Some(cell) = cells.last() {
                cell.store(7, Ordering::Relaxed);
            }
            drop(cells);
            assert_eq!(same.last().map(|cell| cell.load(Ordering::Relaxed)), (len > 0).then_some(7));
        }
        let wide = Cells::<[AtomicU64; 4]>::zeros(1 << 17);
        assert_eq!(wide.as_ptr().align_offset(HUGE_PAGE), 0, "two to a cache line, and none across two");
    }
}
