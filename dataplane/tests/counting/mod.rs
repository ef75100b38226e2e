//! A global allocator that counts: what the tests of the packet path and the benches prove "no allocation" with.
#![allow(unsafe_code)] // A global allocator is the only way to see what would otherwise be invisible.
#![allow(dead_code)] // Each program that includes this file uses a part of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// Allocations of this thread so far; a block that changes its size counts as one.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Bytes this thread has allocated and not freed.
pub(crate) fn held() -> i64 {
    HELD.get()
}

fn count(held: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    HELD.set(HELD.get() + held);
}

// SAFETY: every call is passed on unchanged to the system allocator, which upholds the contract; counting touches only
// const-initialised thread-locals without destructor, so it neither allocates nor runs after the thread's end.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's layout is passed on as it is.
        unsafe { System.alloc(layout) }
    }
    // Passed on rather than derived: fresh pages are zero already, and writing to them would make them resident.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's layout is passed on as it is.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the pointer came from `System` through this allocator with this layout; the size is the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as i64);
        // SAFETY: the pointer came from `System` through this allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
