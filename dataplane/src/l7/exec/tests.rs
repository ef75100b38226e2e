//! The executor on virtual time: order, budget, stale wakes, timers, and what is dropped when.

use super::*;
use core::future::poll_fn;
use proptest::prelude::*;

const FAR: Instant = Instant::from_nanos(u64::MAX);

fn at_ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn log() -> (Rc<RefCell<Vec<u32>>>, impl Fn(u32) + Clone + 'static) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let writer = Rc::clone(&log);
    (log, move |entry| writer.borrow_mut().push(entry))
}

/// Pending for ever, leaving its waker behind.
fn park(wakers: &Rc<RefCell<Vec<Waker>>>) -> impl Future<Output = ()> + 'static {
    let wakers = Rc::clone(wakers);
    poll_fn(move |cx| {
        wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
}

/// Says when it is dropped.
struct Guard(Rc<Cell<u32>>);
impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn tasks_run_in_the_order_they_were_woken_and_within_the_budget() {
    let exec = Executor::new(Instant::ZERO);
    let (log, note) = log();
    for n in 0..5 {
        let note = note.clone();
        exec.spawn(async move { note(n) });
    }
    assert_eq!(exec.run(2), 2);
    assert_eq!(*log.borrow(), [0, 1]);
    assert_eq!((exec.live_tasks(), exec.has_runnable()), (3, true));
    assert_eq!(exec.run(100), 3);
    assert_eq!(*log.borrow(), [0, 1, 2, 3, 4]);
    assert_eq!((exec.live_tasks(), exec.has_runnable(), exec.run(1)), (0, false, 0));
}

#[test]
fn a_task_that_never_waits_starves_nobody() {
    let exec = Executor::new(Instant::ZERO);
    let (log, note) = log();
    exec.spawn(async {
        loop {
            yield_now().await;
        }
    });
    exec.spawn(async move {
        for n in 0..3 {
            note(n);
            yield_now().await;
        }
    });
    assert_eq!(exec.run(6), 6);
    assert_eq!(*log.borrow(), [0, 1, 2]);
}

#[test]
fn waking_many_times_queues_once() {
    let exec = Executor::new(Instant::ZERO);
    let wakers = Rc::default();
    exec.spawn(park(&wakers));
    assert_eq!(exec.run(10), 1);
    let waker = wakers.borrow()[0].clone();
    (0..100).for_each(|_| waker.wake_by_ref());
    assert_eq!(exec.run(10), 1);
}

#[test]
fn a_stale_waker_reaches_neither_the_next_tenant_nor_the_next_executor() {
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let exec = Executor::new(Instant::ZERO);
    let first = exec.spawn(park(&wakers));
    exec.run(1);
    assert!(exec.cancel(first));
    assert!(!exec.cancel(first));
    exec.spawn(park(&wakers));
    assert_eq!(exec.run(10), 1);
    wakers.borrow()[0].wake_by_ref();
    assert_eq!(exec.run(10), 0, "same slot, other generation");
    drop(exec);
    wakers.borrow()[1].wake_by_ref();
    let next = Executor::new(Instant::ZERO);
    wakers.borrow()[1].wake_by_ref();
    assert_eq!(next.run(10), 0);
}

#[test]
#[allow(clippy::disallowed_methods)] // A second thread is what this test is about.
fn a_waker_on_another_thread_is_harmless() {
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let exec = Executor::new(Instant::ZERO);
    exec.spawn(park(&wakers));
    exec.run(1);
    let waker = wakers.borrow()[0].clone();
    std::thread::spawn(move || waker.wake()).join().expect("no panic");
    assert_eq!(exec.run(1), 0);
}

#[test]
fn executors_of_one_thread_do_not_disturb_each_other() {
    let (log, note) = log();
    let execs: Vec<Executor> = (0..3).map(|_| Executor::new(Instant::ZERO)).collect();
    for (n, exec) in execs.iter().enumerate() {
        let (note, handle) = (note.clone(), exec.clone());
        exec.spawn(async move {
            handle.sleep(Duration::from_millis(10)).await;
            note(n as u32);
        });
        exec.run(10);
    }
    execs[1].set_now(at_ms(20));
    execs.iter().for_each(|exec| _ = exec.run(10));
    assert_eq!(*log.borrow(), [1]);
}

#[test]
fn a_sleep_never_ends_early_and_soon_after() {
    let exec = Executor::new(at_ms(7));
    let (log, note) = log();
    let handle = exec.clone();
    exec.spawn(async move {
        handle.sleep(Duration::from_millis(5)).await;
        note(1);
    });
    exec.run(1);
    for nanos in [7_000_000, 11_999_999] {
        exec.set_now(Instant::from_nanos(nanos));
        exec.run(1);
        assert!(log.borrow().is_empty());
    }
    exec.set_now(Instant::from_nanos(12_000_000 + crate::wheel::RESOLUTION_NANOS));
    exec.run(1);
    assert_eq!(*log.borrow(), [1]);
    assert_eq!(exec.next_deadline(), None);
}

#[test]
fn a_reset_sleep_ends_at_the_new_time_whether_later_or_earlier() {
    for (first, second) in [(10, 50), (50, 10)] {
        let exec = Executor::new(Instant::ZERO);
        let handle = exec.clone();
        let ended = exec.drive(FAR, async {
            let mut sleep = handle.sleep(Duration::from_millis(first));
            let _ = race(Pin::new(&mut sleep), pin!(yield_now())).await;
            sleep.reset(at_ms(second));
            sleep.await;
            handle.now()
        });
        let late = ended.expect("ends").saturating_duration_since(at_ms(second));
        assert!(ended >= Some(at_ms(second)) && late.as_nanos() <= crate::wheel::RESOLUTION_NANOS.into(), "{ended:?}");
    }
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let exec = Executor::new(Instant::ZERO);
    let done = exec
        .drive(FAR, async { exec.timeout(Duration::from_secs(60), pin!(exec.sleep(Duration::from_millis(1)))).await });
    assert_eq!(done, Some(Ok(())));
    assert_eq!(exec.next_deadline(), None);
    let late =
        exec.drive(FAR, async { exec.timeout(Duration::from_millis(1), pin!(core::future::pending::<()>())).await });
    assert_eq!(late, Some(Err(Elapsed)));
}

#[test]
fn drive_reports_a_deadlock_and_a_limit() {
    let exec = Executor::new(Instant::ZERO);
    assert_eq!(exec.drive(FAR, core::future::pending::<()>()), None);
    assert_eq!(exec.drive(at_ms(10), exec.sleep(Duration::from_millis(11))), None);
    assert_eq!(exec.drive(FAR, async { yield_now().await }), Some(()));
}

#[test]
fn dropping_the_original_drops_all_tasks_although_they_hold_handles() {
    let dropped = Rc::new(Cell::new(0));
    let exec = Executor::new(Instant::ZERO);
    let outside = exec.clone();
    for n in 0..4 {
        let (handle, guard) = (exec.clone(), Guard(Rc::clone(&dropped)));
        exec.spawn(async move {
            let _guard = guard;
            handle.sleep(Duration::from_secs(n)).await;
        });
    }
    exec.run(3); // One of them was never polled, one is done.
    assert_eq!(dropped.get(), 1);
    drop(exec);
    assert_eq!(dropped.get(), 4);
    assert_eq!((outside.live_tasks(), outside.next_deadline()), (0, None));
    let refused = Guard(Rc::clone(&dropped));
    let id = outside.spawn(async move { drop(refused) });
    assert_eq!((dropped.get(), outside.cancel(id), outside.run(1)), (5, false, 0));
}

#[test]
fn a_task_may_cancel_itself_and_spawn_from_its_destructor() {
    struct SpawnOnDrop(Executor, Rc<Cell<u32>>);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            let guard = Guard(Rc::clone(&self.1));
            self.0.spawn(async move { drop(guard) });
        }
    }
    let ran = Rc::new(Cell::new(0));
    let exec = Executor::new(Instant::ZERO);
    let own = Rc::new(Cell::new(None));
    let (handle, own_id, bomb) = (exec.clone(), Rc::clone(&own), SpawnOnDrop(exec.clone(), Rc::clone(&ran)));
    own.set(Some(exec.spawn(async move {
        let _bomb = bomb;
        assert!(handle.cancel(own_id.get().expect("set")));
        yield_now().await;
        unreachable!("cancelled");
    })));
    assert_eq!(exec.run(1), 1);
    assert_eq!(exec.live_tasks(), 1, "what the destructor spawned");
    exec.run(10);
    assert_eq!((ran.get(), exec.live_tasks()), (1, 0));
}

#[test]
fn a_panicking_task_leaves_the_executor_usable_for_dropping() {
    let dropped = Rc::new(Cell::new(0));
    let exec = Executor::new(Instant::ZERO);
    let guard = Guard(Rc::clone(&dropped));
    exec.spawn(async { panic!("expected in this test") });
    exec.spawn(async move {
        let _guard = guard;
        core::future::pending::<()>().await;
    });
    let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| exec.run(10)));
    assert!(outcome.is_err());
    drop(exec);
    assert_eq!(dropped.get(), 1);
}

proptest! {
    /// Many sleepers on virtual time: all end, in order, at their time, whatever the steps in which time moves.
    #[test]
    fn sleepers_end_in_order(delays in prop::collection::vec(0u64..100_000, 1..80), stride in 1u64..5_000) {
        let exec = Executor::new(Instant::ZERO);
        let ended: Rc<RefCell<Vec<(u64, Instant)>>> = Rc::default();
        for &delay in &delays {
            let (handle, ended) = (exec.clone(), Rc::clone(&ended));
            exec.spawn(async move {
                handle.sleep(Duration::from_millis(delay)).await;
                ended.borrow_mut().push((delay, handle.now()));
            });
        }
        let mut now = 0;
        while exec.live_tasks() > 0 {
            exec.run(1000);
            now += stride;
            exec.set_now(at_ms(now));
        }
        let ended = ended.borrow();
        prop_assert!(ended.is_sorted_by_key(|(_, at)| *at));
        for &(delay, at) in ended.iter() {
            prop_assert!(at >= at_ms(delay) && at <= at_ms(delay + stride + 1));
        }
    }
}

#[test]
fn costly_work_is_done_a_little_in_each_run_and_everything_else_goes_first() {
    let exec = Executor::new(Instant::ZERO);
    let (log, note) = log();
    for n in 0..5 {
        let (note, handle) = (note.clone(), exec.clone());
        exec.spawn(async move {
            handle.costly().await;
            note(n);
        });
    }
    exec.run(100);
    assert_eq!(*log.borrow(), [0, 1], "those that found nobody in line");
    assert!(exec.has_runnable(), "a line is work");
    let (quick, newcomer) = (note.clone(), note);
    exec.spawn(async move { quick(100) });
    let handle = exec.clone();
    exec.spawn(async move {
        handle.costly().await;
        newcomer(101);
    });
    exec.run(100);
    assert_eq!(*log.borrow(), [0, 1, 100, 2, 3], "who comes later does not go before those in line");
    exec.run(100);
    assert_eq!(log.borrow()[5..], [4, 101]);
    assert_eq!((exec.has_runnable(), exec.live_tasks()), (false, 0));
}

#[test]
fn one_that_leaves_the_line_lets_the_others_through_and_a_stray_wake_lets_nobody() {
    let exec = Executor::new(Instant::ZERO);
    let (log, note) = log();
    let stray: Rc<RefCell<Option<Waker>>> = Rc::default();
    let ids: Vec<TaskId> = (0..8)
        .map(|n| {
            let (note, handle, stray) = (note.clone(), exec.clone(), Rc::clone(&stray));
            exec.spawn(async move {
                let mut costly = pin!(handle.costly());
                poll_fn(|cx| {
                    *stray.borrow_mut() = Some(cx.waker().clone());
                    costly.as_mut().poll(cx)
                })
                .await;
                note(n);
            })
        })
        .collect();
    exec.run(100);
    assert!(exec.cancel(ids[2]) && exec.cancel(ids[3]));
    let last = stray.borrow().clone().expect("the last has waited");
    last.wake();
    exec.run(100);
    assert_eq!(*log.borrow(), [0, 1], "this run's places were those of the two that left");
    for _ in 0..2 {
        exec.run(100);
    }
    assert_eq!(*log.borrow(), [0, 1, 4, 5, 6, 7]);
}
