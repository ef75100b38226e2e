//! Memory asked for ahead of its use.
//!
//! A look-up in a table that no cache holds waits some hundred cycles for each line. A stage that knows what a later one will read
//! asks for it, so that the line comes while the stages between do their work.
#![allow(unsafe_code)] // The instruction takes an address.

/// Asks for the cache line of `items[at]`; a place outside the slice is harmless.
#[inline]
pub fn element<T>(items: &[T], at: usize) {
    line(items.as_ptr().wrapping_add(at));
}

/// Asks for a cache line, whatever is there.
#[inline]
pub fn line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint to the processor: it reads nothing that the program could see, and cannot fault, even for an address where there
    // is no memory. Every x86-64 processor has the instruction.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
