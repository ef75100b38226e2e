//! Where the C library's allocator gets large blocks from.
#![allow(unsafe_code)] // mallopt belongs to the C library; std has no such thing.

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
