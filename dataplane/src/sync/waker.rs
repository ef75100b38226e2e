//! Wakers without allocation and without reference counts: a word that names a task.
#![allow(unsafe_code)] // `RawWaker` has no safe constructor that does not allocate; see `waker` for why this one is sound.

use core::ptr;
use core::task::{RawWaker, RawWakerVTable, Waker};

/// Who is told when a [`Waker`] made by [`waker`] is woken. A type, so that each kind of waker has its own static table.
pub trait WakeWord: 'static {
    /// Runs on whichever thread calls `wake`; must treat any word, also a stale or foreign one, as harmless.
    fn wake(word: usize);
}

/// A waker that calls `W::wake(word)`. Cloning it copies two words; dropping it does nothing.
#[must_use]
pub fn waker<W: WakeWord>(word: usize) -> Waker {
    // SAFETY: The contract of `RawWaker` asks that the four functions be thread-safe and handle ownership of the data
    // pointer. The pointer here is a number without provenance that is never dereferenced, owns nothing, and is only
    // turned back into the number by `ptr::addr`; `W::wake` is a safe function without captured state, so calling it from
    // any thread is as sound as any safe code. Safe code will not do: `std::task::Wake` demands an `Arc` per waker.
    unsafe { Waker::from_raw(raw::<W>(ptr::without_provenance(word))) }
}

fn raw<W: WakeWord>(data: *const ()) -> RawWaker {
    RawWaker::new(data, &const { RawWakerVTable::new(raw::<W>, wake::<W>, wake::<W>, release) })
}

fn wake<W: WakeWord>(data: *const ()) {
    W::wake(data.addr());
}

fn release(_: *const ()) {}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    thread_local! { static WOKEN: Cell<usize> = const { Cell::new(0) }; }

    struct Note;
    impl WakeWord for Note {
        fn wake(word: usize) {
            WOKEN.set(word);
        }
    }

    #[test]
    fn a_clone_wakes_the_same_word_and_compares_equal() {
        let first = waker::<Note>(0x1234_5678_9abc);
        let copy = first.clone();
        assert!(first.will_wake(&copy));
        assert!(!first.will_wake(&waker::<Note>(1)));
        first.wake_by_ref();
        assert_eq!(WOKEN.replace(0), 0x1234_5678_9abc);
        copy.wake();
        assert_eq!(WOKEN.get(), 0x1234_5678_9abc);
    }
}
