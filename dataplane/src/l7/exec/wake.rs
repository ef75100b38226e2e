//! From a waker's word back to the task: the executors of a thread, by slot.

use core::cell::RefCell;
use std::rc::Weak;

use super::Shared;
use super::tasks::{GENERATION_MASK, TaskId};
use crate::sync::waker::WakeWord;

thread_local! {
    /// The executors of this thread: one in the product, a pair or many in the simulator. A word that arrives on another
    /// thread finds that thread's executors, so at worst a task there is polled in vain.
    static EXECUTORS: RefCell<Vec<Option<Weak<Shared>>>> = const { RefCell::new(Vec::new()) };
}

/// An executor's place in its thread's list, given back on drop.
pub(super) struct Registration {
    slot: u16,
}

impl Registration {
    /// # Panics
    /// With 65,536 executors in one thread.
    pub(super) fn new(executor: Weak<Shared>) -> Self {
        EXECUTORS.with_borrow_mut(|executors| {
            let vacant = executors.iter().position(Option::is_none).unwrap_or_else(|| {
                executors.push(None);
                executors.len() - 1
            });
            executors[vacant] = Some(executor);
            Self { slot: u16::try_from(vacant).expect("fewer than 65,536 executors per thread") }
        })
    }

    pub(super) fn slot(&self) -> u16 {
        self.slot
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // While the thread ends its list may be gone already.
        let _ = EXECUTORS.try_with(|executors| executors.borrow_mut()[usize::from(self.slot)] = None);
    }
}

/// Executor 16 bits, generation 24, index 24.
pub(super) fn word(executor: u16, id: TaskId) -> usize {
    usize::from(executor) << 48 | ((id.generation & GENERATION_MASK) as usize) << 24 | id.index as usize
}

impl WakeWord for Registration {
    fn wake(word: usize) {
        let executor = word >> 48;
        let id = TaskId { index: (word & 0xff_ffff) as u32, generation: (word >> 24 & 0xff_ffff) as u32 };
        let found =
            EXECUTORS.try_with(|executors| executors.borrow().get(executor)?.as_ref()?.upgrade()).ok().flatten();
        if let Some(shared) = found {
            shared.tasks.borrow_mut().wake(id);
        }
    }
}

const _: () = assert!(usize::BITS == 64, "a waker packs executor, generation and index into one 64-bit word");
