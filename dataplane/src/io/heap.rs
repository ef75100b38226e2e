//! Where large blocks of memory come from, and on what pages they lie.
#![allow(unsafe_code)] // mallopt belongs to the C library and madvise to the kernel; std has no such things.

use core::mem::MaybeUninit;

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

/// A huge page of this architecture's kernels, in bytes. Where it is another size, small tables keep small pages or large ones ask in vain.
const HUGE_PAGE: usize = 2 << 20;

/// `items` in memory that the kernel is asked to map with huge pages, when they fill at least one; else as they are.
///
/// A table larger than what the processor's translation buffers cover costs two misses per look-up: one for the data, one for where
/// the data is. With huge pages the second is rare.
pub fn on_huge_pages<T: Copy>(items: Vec<T>) -> Vec<T> {
    if size_of_val(&*items) < HUGE_PAGE {
        return items;
    }
    let mut moved = Vec::with_capacity(items.len());
    prefer_huge_pages(moved.spare_capacity_mut());
    moved.extend_from_slice(&items);
    moved
}

/// `count` zeros, on huge pages where the kernel has some.
pub fn zeros_on_huge_pages(count: usize) -> Vec<u32> {
    // Zeroed memory comes from the kernel page by page, so that what is never written costs nothing: asked before the first write.
    let mut zeros = vec![0; count];
    // SAFETY: the same memory, as one that may also hold anything else; nothing is written through it.
    prefer_huge_pages(unsafe { &mut *(core::ptr::from_mut(zeros.as_mut_slice()) as *mut [MaybeUninit<u32>]) });
    zeros
}

/// Advises the kernel; it may have none, or be told by the operator to give none, and the block works all the same.
fn prefer_huge_pages<T>(block: &mut [MaybeUninit<T>]) {
    let range = block.as_mut_ptr_range();
    let (start, end) = ((range.start as usize).next_multiple_of(4096), range.end as usize & !4095);
    if end.saturating_sub(start) >= HUGE_PAGE {
        // SAFETY: whole pages within a block that the caller owns; the advice changes where they lie, not what they hold.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}
