//! The core's own executor: connections as futures, driven by the worker's turn.
//!
//! No thread wakes a task, no clock is read: the worker sets the time, which fires timers, and runs a bounded number of
//! tasks. A waker is a word — executor, slot, generation — so that waking neither allocates nor counts references, and a
//! stale one finds nobody. Virtual time is only a matter of what `set_now` is told, so a test runs a day in a millisecond.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::rc::Rc;

use crate::clock::Instant;
use crate::wheel::{TimerId, Wheel};

mod costly;
mod race;
mod sleep;
mod tasks;
mod wake;

pub use costly::Costly;
pub use race::{Either, Race, race, yield_now};
pub use sleep::{Elapsed, Sleep, Timeout};
pub use tasks::TaskId;

use costly::Line;
use tasks::{Next, Tasks};
use wake::{Registration, word};

/// Tasks and timers of one core. The original owns the tasks and drops them when it is dropped; clones are handles, which
/// tasks may keep without keeping each other alive.
pub struct Executor {
    shared: Rc<Shared>,
    owner: bool,
}

struct Shared {
    now: Cell<Instant>,
    tasks: RefCell<Tasks>,
    line: RefCell<Line>,
    timers: RefCell<Wheel<Waker>>,
    /// Wakers of timers that fired, between the wheel and the wake; kept for its capacity.
    fired: RefCell<Vec<Waker>>,
    registration: Registration,
}

impl Executor {
    /// An executor without tasks, at the time `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let shared = Rc::new_cyclic(|weak| Shared {
            now: Cell::new(now),
            tasks: RefCell::default(),
            line: RefCell::default(),
            timers: RefCell::new(Wheel::new(now)),
            fired: RefCell::default(),
            registration: Registration::new(weak.clone()),
        });
        Self { shared, owner: true }
    }

    /// Starts a task; it is polled for the first time by a later `run`. A closed executor drops the future instead.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let (id, refused) = self.shared.tasks.borrow_mut().insert(Box::pin(future));
        drop(refused);
        id
    }

    /// Drops a task where it stands; a task may cancel itself. False if it had ended already.
    pub fn cancel(&self, id: TaskId) -> bool {
        let removed = self.shared.tasks.borrow_mut().remove(id);
        removed.is_some() // Dropped here, when nothing is borrowed: the destructor may spawn, wake or cancel.
    }

    /// Polls woken tasks in the order they were woken, at most `budget` of them, and tells how many. Tasks woken
    /// meanwhile, also by themselves, go to the end of the line, so one that never waits cannot starve the others.
    pub fn run(&self, budget: usize) -> usize {
        let called = self.shared.line.borrow_mut().call();
        called.for_each(Waker::wake);
        let mut polled = 0;
        for _ in 0..budget {
            // Its own statement: the borrow must have ended when the task runs.
            let next = self.shared.tasks.borrow_mut().next();
            match next {
                Next::Idle => break,
                Next::Stale => {}
                Next::Run(id, mut future) => {
                    polled += 1;
                    let waker = crate::sync::waker::waker::<Registration>(word(self.shared.registration.slot(), id));
                    let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                    let finished = self.shared.tasks.borrow_mut().give_back(id, future, done);
                    drop(finished);
                }
            }
        }
        polled
    }

    /// Sets the time and wakes what waited for it. Time never goes back; an earlier `now` is ignored.
    pub fn set_now(&self, now: Instant) {
        let now = now.max(self.now());
        self.shared.now.set(now);
        let mut fired = self.shared.fired.take();
        self.shared.timers.borrow_mut().advance(now, |waker| fired.push(waker));
        // After the wheel is released: a waker of somebody else's making may do anything.
        fired.drain(..).for_each(Waker::wake);
        self.shared.fired.replace(fired);
    }

    /// The time last set.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now.get()
    }

    /// When `set_now` next has a timer to look at; never later than the earliest timer.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.shared.timers.borrow().next_deadline()
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        self.shared.tasks.borrow().live()
    }

    /// Whether `run` has something to do.
    #[must_use]
    pub fn has_runnable(&self) -> bool {
        self.shared.tasks.borrow().has_runnable() || !self.shared.line.borrow().is_empty()
    }

    /// Ready once the time has reached `now() + duration`.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Ready once the time has reached `deadline`.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::new(self.clone(), deadline)
    }

    /// Ready when the task may do work that takes long by itself: a few pieces of it begin in each run, after all tasks that were
    /// woken before.
    pub fn costly(&self) -> Costly {
        Costly::new(self.clone())
    }

    /// What `future` gives, unless `duration` passes first. Pin the future with `pin!(…)` in the argument.
    pub fn timeout<'a, F: Future>(&self, duration: Duration, future: Pin<&'a mut F>) -> Timeout<'a, F> {
        Timeout::new(self.sleep(duration), future)
    }

    /// Drops all tasks and refuses new ones. The original does this when it is dropped.
    pub fn close(&self) {
        let abandoned = self.shared.tasks.borrow_mut().close();
        drop(abandoned);
        let waited = self.shared.line.borrow_mut().clear();
        drop(waited);
    }

    /// Runs all tasks on virtual time until `future` is done: whenever nothing is runnable, time jumps to the next
    /// deadline. `None` if everything waits and no timer is left, or the time would pass `limit`. For tests and simulation.
    pub fn drive<F: Future>(&self, limit: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let waker = crate::sync::waker::waker::<Driver>(0);
        loop {
            DRIVER_WOKEN.set(false);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                DRIVER_WOKEN.set(true); // For a drive around this one, whose note this one may have taken.
                return Some(output);
            }
            if self.run(64) == 0 && !DRIVER_WOKEN.get() {
                let next = self.next_deadline().filter(|&at| at <= limit)?;
                self.set_now(next);
            }
        }
    }

    fn arm(&self, at: Instant, waker: Waker) -> TimerId {
        self.shared.timers.borrow_mut().insert(at, waker)
    }

    fn disarm(&self, timer: TimerId) {
        let waker = self.shared.timers.borrow_mut().cancel(timer);
        drop(waker);
    }

    /// Makes `timer` wake `waker`; false if it has fired.
    fn retarget(&self, timer: TimerId, waker: &Waker) -> bool {
        match self.shared.timers.borrow_mut().item_mut(timer) {
            Some(current) => {
                current.clone_from(waker);
                true
            }
            None => false,
        }
    }
}

impl Clone for Executor {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared), owner: false }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if self.owner {
            self.close();
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("now", &self.now())
            .field("live_tasks", &self.live_tasks())
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// Whether the future of `drive` has woken itself since it was last polled.
    static DRIVER_WOKEN: Cell<bool> = const { Cell::new(false) };
}

struct Driver;

impl crate::sync::waker::WakeWord for Driver {
    fn wake(_: usize) {
        DRIVER_WOKEN.set(true);
    }
}

#[cfg(test)]
mod tests;
