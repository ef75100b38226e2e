//! The course of a run: connections are opened, work begins when all are, warm-up, measurement, and what was begun is finished.
//!
//! Connections are tasks that ask the course for leave. The loop around the core ([`Course::advance`], before each turn) lets as
//! many go on as have something to do, so that open loops need no timer and keep their times to the turn.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use tidegate_dataplane::{clock::Instant, l7::exec::Executor};

use super::{
    failure::Failure,
    pace::{Pace, Schedule},
    tally::{Tally, Window},
};

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Connections.
    pub(crate) connections: usize,
    /// Connections that may be in the making at a time, before work begins.
    pub(crate) opening: usize,
    /// Pieces of work a second; `None` for as many as the server manages.
    pub(crate) rate: Option<f64>,
    /// Silence before work at a rate.
    pub(crate) rest: Duration,
    /// Connections are silent between two pieces of work and stay when there are no more, until the end.
    pub(crate) linger: bool,
    /// Work that does not count.
    pub(crate) warmup: Duration,
    /// Work that counts.
    pub(crate) length: Duration,
    /// Longest time from the end until what was begun, or was due, is done.
    pub(crate) patience: Duration,
}

/// Where a run stands.
#[derive(Clone, Debug)]
enum Phase {
    /// Connections are being opened: those begun and those that are through.
    Opening { begun: usize, ready: usize },
    /// There is work.
    Running { pace: Pace, give_up: Instant },
    /// Nobody waits for anything any more.
    Over,
}

/// The course of a run, shared by its connections.
pub(crate) struct Course {
    plan: Plan,
    exec: Executor,
    phase: RefCell<Phase>,
    pub(crate) tally: RefCell<Tally>,
    /// Who waits for leave, longest first, by number.
    waiting: RefCell<VecDeque<u32>>,
    /// By number; `None` for those that do not wait.
    wakers: RefCell<Vec<Option<Waker>>>,
    /// Connections that do something, or will without being told; those that are silent do not.
    active: Cell<usize>,
}

impl Course {
    /// Nothing has begun.
    pub(crate) fn new(plan: Plan, exec: Executor) -> Rc<Self> {
        Rc::new(Self {
            exec,
            phase: RefCell::new(Phase::Opening { begun: 0, ready: 0 }),
            tally: RefCell::new(Tally::new(plan.rate.is_some())),
            waiting: RefCell::default(),
            wakers: RefCell::new(vec![None; plan.connections]),
            active: Cell::new(plan.connections),
            plan,
        })
    }

    /// The time of this turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.exec.now()
    }

    /// The core's executor.
    pub(crate) fn exec(&self) -> &Executor {
        &self.exec
    }

    /// Leave for connection `number` to be opened, before work begins.
    pub(crate) async fn may_open(&self, number: u32) {
        poll_fn(|cx| match &mut *self.phase.borrow_mut() {
            Phase::Opening { begun, ready } if *begun < self.may_begin(*ready) => {
                *begun += 1;
                self.leave(number);
                Poll::Ready(())
            }
            Phase::Opening { .. } => self.wait(number, cx),
            Phase::Running { .. } | Phase::Over => Poll::Ready(()),
        })
        .await;
    }

    /// How many connections may have been begun when `ready` are through: one, two, four at a time, because the first of them make
    /// the hosts on the way learn each other's addresses, and only a few packets can wait for that.
    fn may_begin(&self, ready: usize) -> usize {
        ready + (ready + 1).min(self.plan.opening)
    }

    /// Connection `number` is open, or has failed to be; with the last one work can begin.
    pub(crate) fn ready(&self) {
        if let Phase::Opening { ready, .. } = &mut *self.phase.borrow_mut() {
            *ready += 1;
        }
    }

    /// Leave for connection `number` to do a piece of work, and when that was due. `None` when there will be none.
    #[inline]
    pub(crate) async fn next(&self, number: u32) -> Option<Instant> {
        poll_fn(|cx| self.poll_next(number, cx)).await
    }

    /// The same, to be waited for beside something else.
    #[inline]
    pub(crate) fn poll_next(&self, number: u32, cx: &Context<'_>) -> Poll<Option<Instant>> {
        let now = self.now();
        let next = match &mut *self.phase.borrow_mut() {
            Phase::Opening { .. } => return self.wait(number, cx),
            Phase::Running { pace: Pace::Closed { end }, .. } => (now < *end).then_some(now),
            Phase::Running { pace: Pace::Open(schedule), .. } => match schedule.take(now) {
                None if !schedule.is_over() => return self.wait(number, cx),
                taken => taken,
            },
            Phase::Over => None,
        };
        self.leave(number);
        Poll::Ready(next)
    }

    /// A connection that was silent does something again.
    pub(crate) fn resume(&self) {
        self.active.set(self.active.get() + 1);
    }

    /// Whether work is due at fixed times.
    pub(crate) fn has_rate(&self) -> bool {
        self.plan.rate.is_some()
    }

    /// A connection will do nothing any more, or is silent.
    pub(crate) fn finish(&self) {
        self.active.set(self.active.get() - 1);
    }

    fn wait<T>(&self, number: u32, cx: &Context<'_>) -> Poll<T> {
        let slot = &mut self.wakers.borrow_mut()[number as usize];
        if slot.replace(cx.waker().clone()).is_none() {
            self.waiting.borrow_mut().push_back(number);
        }
        Poll::Pending
    }

    /// It does not wait any more; its place in the queue, if it has one, is passed over.
    fn leave(&self, number: u32) {
        self.wakers.borrow_mut()[number as usize] = None;
    }

    fn let_go(&self, count: u64) {
        let mut woken = 0;
        while woken < count {
            let Some(number) = self.waiting.borrow_mut().pop_front() else { return };
            // Its own statement: nothing is borrowed while it is woken.
            let waker = self.wakers.borrow_mut()[number as usize].take();
            if let Some(waker) = waker {
                woken += 1;
                waker.wake();
            }
        }
    }

    /// Lets go on whoever can, at the time `now`. Before each turn; false when the run is over.
    pub(crate) fn advance(&self, now: Instant) -> bool {
        let count = match &mut *self.phase.borrow_mut() {
            Phase::Opening { ready, .. } if *ready >= self.plan.connections => u64::MAX,
            Phase::Opening { begun, ready } => self.may_begin(*ready).saturating_sub(*begun) as u64,
            Phase::Running { pace, give_up, .. } if now < *give_up => match pace {
                Pace::Closed { .. } => 0,
                Pace::Open(schedule) if schedule.is_over() && self.plan.linger => 0,
                Pace::Open(schedule) if schedule.is_over() => u64::MAX,
                Pace::Open(schedule) => schedule.due(now),
            },
            Phase::Running { .. } => u64::MAX,
            Phase::Over => return false,
        };
        if count == u64::MAX {
            self.step(now);
        }
        if count > 0 {
            self.let_go(count);
        }
        !self.is_over()
    }

    /// From opening to work, from work to the end.
    fn step(&self, now: Instant) {
        let mut phase = self.phase.borrow_mut();
        *phase = match &*phase {
            Phase::Opening { .. } => {
                let start = now + self.plan.rest;
                let from = start + self.plan.warmup;
                let window = Window { from, until: from + self.plan.length };
                self.tally.borrow_mut().begin(window);
                let pace = match self.plan.rate {
                    None => Pace::Closed { end: window.until },
                    Some(rate) => Pace::Open(Schedule::new(start, rate, self.plan.warmup + self.plan.length)),
                };
                Phase::Running { pace, give_up: window.until + self.plan.patience }
            }
            Phase::Running { pace: Pace::Open(schedule), give_up, .. } if now >= *give_up => {
                self.abandon(schedule.clone(), now);
                Phase::Over
            }
            Phase::Running { give_up, .. } if now >= *give_up => Phase::Over,
            other => other.clone(),
        };
    }

    /// What was due and never began has waited at least until now.
    fn abandon(&self, mut schedule: Schedule, now: Instant) {
        let mut tally = self.tally.borrow_mut();
        while let Some(due) = schedule.take(now) {
            tally.failed(Failure::Unsent, due, now);
        }
    }

    /// Whether there is nothing left to wait for.
    pub(crate) fn is_over(&self) -> bool {
        let idle = self.active.get() == 0;
        match &*self.phase.borrow() {
            Phase::Over => true,
            Phase::Running { pace: Pace::Open(schedule), .. } => idle && schedule.is_over(),
            Phase::Running { pace: Pace::Closed { .. }, .. } | Phase::Opening { .. } => idle && !self.plan.linger,
        }
    }

    /// Ends the run now, whatever is under way.
    pub(crate) fn cut(&self, now: Instant) {
        *self.phase.borrow_mut() = Phase::Over;
        self.tally.borrow_mut().cut(now);
    }
}
