//! What everything else is made of: checksums, rings, counters, timers, tasks.

use core::{cell::RefCell, future::poll_fn, hint::black_box, task::Poll, time::Duration};
use std::{rc::Rc, task::Waker};

use tidegate_dataplane::{
    clock::Instant,
    io::checksum::Sum,
    l7::{exec::Executor, metrics::HttpStats, reason::Reason},
    sync::{counter::Counter, spsc},
    wheel::Wheel,
};

use super::{Counted, Kernel, Plain, Prepared, Work};

/// Operations per call.
const TIMES: u32 = 64;

/// Small things.
pub(super) fn kernels() -> Vec<Kernel> {
    let kernel = |name, unit, make| Kernel { name, unit, per_call: TIMES, counted: Counted::Run, make };
    vec![
        kernel("checksum/20", "IPv4 header", || sums(20)),
        kernel("checksum/1460", "segment of 1460 B", || sums(1460)),
        kernel("spsc/push_pop", "item", || {
            let (mut producer, mut consumer) = spsc::channel(2 * TIMES as usize, || 0u64);
            Box::new(Plain(move || {
                for item in 0..u64::from(TIMES) {
                    producer.push_with(|slot| *slot = item);
                }
                while let Some(item) = consumer.pop_with(|slot| *slot) {
                    black_box(item);
                }
            }))
        }),
        kernel("counter/add", "addition", || {
            let counter = Counter::new();
            Box::new(Plain(move || (0..TIMES).for_each(|n| black_box(&counter).add(n.into()))))
        }),
        kernel("histogram/record", "request", || {
            let stats = HttpStats::default();
            Box::new(Plain(move || {
                for n in 0..TIMES {
                    let latency = Duration::from_micros(u64::from(n) * 1000);
                    black_box(&stats).finished(200, Reason::Ok, black_box(latency));
                }
            }))
        }),
        kernel("wheel/insert_cancel", "timer", || {
            let mut wheel = Wheel::new(Instant::ZERO);
            let mut set = Vec::with_capacity(TIMES as usize);
            Box::new(Plain(move || {
                set.extend((0..TIMES).map(|n| wheel.insert(Instant::from_millis(u64::from(n) * 37), n)));
                for timer in set.drain(..) {
                    black_box(wheel.cancel(timer));
                }
            }))
        }),
        kernel("wheel/fire", "timer", || {
            Box::new(Prepared { state: (Wheel::new(Instant::ZERO), Instant::ZERO), prepare: set, run: fire })
        }),
        kernel("exec/wake_poll", "poll", wakes),
    ]
}

/// One kernel as it was and as it is with a tenth more to do: for the test of this program, which has to notice.
pub(super) fn rehearsals() -> Vec<Kernel> {
    let kernel = |name, make| Kernel { name, unit: "call", per_call: 1, counted: Counted::Run, make };
    vec![kernel("rehearsal/before", || spinning(1000)), kernel("rehearsal/after", || spinning(1100))]
}

fn spinning(rounds: u32) -> Box<dyn Work> {
    Box::new(Plain(move || {
        for round in 0..rounds {
            black_box(round);
        }
    }))
}

fn sums(len: usize) -> Box<dyn Work> {
    let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
    Box::new(Plain(move || {
        for _ in 0..TIMES {
            black_box(Sum::new().add(black_box(&bytes)).finish());
        }
    }))
}

/// Timers over the next two seconds.
fn set((wheel, now): &mut (Wheel<u32>, Instant)) {
    for n in 0..TIMES {
        wheel.insert(*now + Duration::from_millis(u64::from(n) * 31), n);
    }
}

fn fire((wheel, now): &mut (Wheel<u32>, Instant)) {
    *now += Duration::from_millis(u64::from(TIMES) * 31);
    let mut fired = 0;
    wheel.advance(*now, |item| {
        black_box(item);
        fired += 1;
    });
    assert_eq!(fired, TIMES);
}

/// A task that waits to be woken, for ever.
fn wakes() -> Box<dyn Work> {
    let exec = Executor::new(Instant::ZERO);
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let slot = Rc::clone(&waker);
    exec.spawn(poll_fn(move |cx| {
        *slot.borrow_mut() = Some(cx.waker().clone());
        Poll::<()>::Pending
    }));
    exec.run(1);
    Box::new(Plain(move || {
        for _ in 0..TIMES {
            let woken = waker.borrow().as_ref().map(Waker::wake_by_ref).is_some();
            assert!(woken && exec.run(1) == 1);
        }
    }))
}
