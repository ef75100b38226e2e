//! The pages under a core's packets, and under tables too large for small ones.

use core::ptr::NonNull;

/// A huge page of this architecture's kernels, in bytes. Where it is another size, the memory has small pages.
pub(crate) const HUGE_PAGE: usize = 2 << 20;
/// A page. Where they are larger, what was mapped to align the memory may stay mapped behind it, untouched.
const PAGE: usize = 4 << 10;

/// Whether the kernel shall be sure to have the memory before any is written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reserve {
    /// What is more than the machine has is refused.
    All,
    /// Most of it may never be used.
    Nothing,
}

/// Maps `bytes` of zeros, on huge pages where the kernel has some and they fill one. `None` with the reason in errno.
///
/// Chunks lent to a driver come back a round of its ring later: thousands of them, more small pages than the processor's translation
/// buffers hold. One huge page has a thousand chunks of 2 KiB. The standard allocator would not do: a UMEM must be page-aligned and
/// stay mapped as a whole.
pub(crate) fn map(bytes: usize, reserve: Reserve) -> Option<NonNull<u8>> {
    if bytes < HUGE_PAGE {
        return anonymous(bytes, reserve);
    }
    let bytes = bytes.next_multiple_of(PAGE);
    let first = anonymous(bytes + HUGE_PAGE, reserve)?;
    let skip = first.align_offset(HUGE_PAGE).min(HUGE_PAGE);
    // SAFETY: `skip` is at most `HUGE_PAGE`, by which the mapping is longer than what is wanted of it.
    let base = unsafe { first.add(skip) };
    // SAFETY: as above; both are the mapping's ends at most.
    let behind = unsafe { base.add(bytes) };
    // SAFETY: what lies before `base` and behind `bytes` belongs to this mapping and nobody has its address yet; a failure leaves it
    // mapped, which is waste and no harm. `unmap` is left with exactly `bytes` at `base`.
    unsafe {
        libc::munmap(first.as_ptr().cast(), skip);
        libc::munmap(behind.as_ptr().cast(), HUGE_PAGE - skip);
    }
    // The kernel may have none, or be told by the operator to give none: the memory works all the same.
    // SAFETY: advice about whole pages of this mapping; it changes where they lie, not what they hold.
    unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    Some(base)
}

/// Gives back what [`map`] has mapped.
///
/// # Safety
/// `base` came from `map` of as many `bytes`, and nobody uses the memory any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: promised by the caller.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}

fn anonymous(bytes: usize, reserve: Reserve) -> Option<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let reserve = if reserve == Reserve::Nothing { libc::MAP_NORESERVE } else { 0 };
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | reserve;
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no existing memory.
    let base = unsafe { libc::mmap(core::ptr::null_mut(), bytes, access, kind, -1, 0) };
    NonNull::new(base.cast::<u8>()).filter(|_| base != libc::MAP_FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_and_writable_from_end_to_end_and_begins_at_a_huge_page_if_it_fills_one() {
        for bytes in [PAGE, HUGE_PAGE, 3 * HUGE_PAGE + PAGE / 2] {
            let base = map(bytes, Reserve::All).expect("memory");
            if bytes >= HUGE_PAGE {
                assert_eq!(base.align_offset(HUGE_PAGE), 0);
            }
            // SAFETY: `bytes` at `base` are mapped, zero, and nobody else's until `unmap`.
            let memory = unsafe { core::slice::from_raw_parts_mut(base.as_ptr(), bytes) };
            assert_eq!((memory[0], memory[bytes - 1]), (0, 0));
            (memory[0], memory[bytes - 1]) = (1, 1);
            // SAFETY: as mapped above, and `memory` is used no more.
            unsafe { unmap(base, bytes) };
        }
    }
}
