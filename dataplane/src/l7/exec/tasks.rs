//! The slab of tasks and the queue of those that were woken.

use core::pin::Pin;
use std::collections::VecDeque;

/// A task: its future on the heap, so that polling it moves a pointer.
pub(super) type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

const NIL: u32 = u32::MAX;

/// Names one task. Stale names are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    /// Freed slots, linked through `next_free`; index + 1, so that the default is "none".
    free: u32,
    live: usize,
    /// Woken tasks, each at most once.
    queue: VecDeque<TaskId>,
    closed: bool,
}

struct Slot {
    generation: u32,
    state: State,
}

enum State {
    Free {
        next: u32,
    },
    /// Waits for a wake.
    Waiting(BoxedTask),
    /// Waits for its turn; has one entry in the queue.
    Queued(BoxedTask),
    /// Its future is on the stack of `run`; whether it was woken meanwhile, hence has an entry in the queue.
    Running {
        woken: bool,
    },
}

/// What `run` has to do next.
pub(super) enum Next {
    /// Nothing is queued.
    Idle,
    /// The entry named a task that has ended.
    Stale,
    /// Poll this future, then give it back.
    Run(TaskId, BoxedTask),
}

impl Tasks {
    /// Adds a task and queues it. Gives the future back if closed; drop it when nothing is borrowed.
    pub(super) fn insert(&mut self, future: BoxedTask) -> (TaskId, Option<BoxedTask>) {
        if self.closed {
            return (TaskId { index: NIL, generation: 0 }, Some(future));
        }
        let state = State::Queued(future);
        let index = match self.free.checked_sub(1) {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                if let State::Free { next } = slot.state {
                    self.free = next;
                }
                slot.state = state;
                index
            }
            None => {
                let index = u32::try_from(self.slots.len()).ok().filter(|&index| index < MAX_TASKS);
                self.slots.push(Slot { generation: 0, state });
                index.expect("fewer tasks than a waker can name")
            }
        };
        let id = TaskId { index, generation: self.slots[index as usize].generation };
        self.live += 1;
        self.queue.push_back(id);
        (id, None)
    }

    /// Queues a waiting task; anything else is already queued, running or gone.
    pub(super) fn wake(&mut self, id: TaskId) {
        let Some(slot) = self.slot(id) else { return };
        match core::mem::replace(&mut slot.state, State::Running { woken: true }) {
            State::Waiting(future) => slot.state = State::Queued(future),
            State::Running { woken: false } => {}
            other => {
                slot.state = other;
                return;
            }
        }
        // The full generation, not the part of it that the waker carried.
        let generation = slot.generation;
        self.queue.push_back(TaskId { index: id.index, generation });
    }

    pub(super) fn next(&mut self) -> Next {
        let Some(id) = self.queue.pop_front() else { return Next::Idle };
        let Some(slot) = self.slot(id) else { return Next::Stale };
        match core::mem::replace(&mut slot.state, State::Running { woken: false }) {
            State::Queued(future) => Next::Run(id, future),
            other => {
                slot.state = other;
                Next::Stale
            }
        }
    }

    /// After a poll. What is returned has ended, or was cancelled while it ran: drop it when nothing is borrowed.
    pub(super) fn give_back(&mut self, id: TaskId, future: BoxedTask, done: bool) -> Option<BoxedTask> {
        if done {
            self.remove(id);
            return Some(future);
        }
        let Some(slot) = self.slot(id) else { return Some(future) };
        slot.state = match slot.state {
            State::Running { woken: true } => State::Queued(future),
            _ => State::Waiting(future),
        };
        None
    }

    /// Frees the task's slot; `None` if it had ended, `Some(None)` if its future is on the stack of `run`.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<Option<BoxedTask>> {
        let next = self.free;
        let slot = self.slot(id)?;
        let state = core::mem::replace(&mut slot.state, State::Free { next });
        slot.generation = slot.generation.wrapping_add(1);
        self.free = id.index + 1;
        self.live -= 1;
        match state {
            State::Waiting(future) | State::Queued(future) => Some(Some(future)),
            State::Running { .. } => Some(None),
            State::Free { .. } => None,
        }
    }

    /// Takes all tasks out and admits no more.
    pub(super) fn close(&mut self) -> Vec<BoxedTask> {
        self.closed = true;
        self.queue.clear();
        let ids: Vec<TaskId> = (0..self.slots.len() as u32)
            .map(|index| TaskId { index, generation: self.slots[index as usize].generation })
            .collect();
        ids.into_iter().filter_map(|id| self.remove(id).flatten()).collect()
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn has_runnable(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The occupied slot that `id` names.
    fn slot(&mut self, id: TaskId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let same = (slot.generation ^ id.generation) & GENERATION_MASK == 0;
        (same && !matches!(slot.state, State::Free { .. })).then_some(slot)
    }
}

/// Bits of the generation that fit into a waker; after 16 million reuses of one slot a waker kept since then wakes the
/// wrong task once, which a task must bear anyway.
pub(super) const GENERATION_MASK: u32 = (1 << 24) - 1;

/// Tasks per executor that a waker can name.
pub(super) const MAX_TASKS: u32 = 1 << 24;
