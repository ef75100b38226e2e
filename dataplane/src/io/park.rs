//! Sleeping on ports, and being woken by another core.
#![allow(unsafe_code)] // eventfd and poll are system calls.

use core::{
    sync::atomic::{AtomicBool, Ordering, fence},
    time::Duration,
};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Wakes one core. Shared with every thread that may have something for it.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    asleep: AtomicBool,
}

impl Waker {
    /// A waker whose core is awake.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Self { event: unsafe { OwnedFd::from_raw_fd(fd) }, asleep: AtomicBool::new(false) })
    }

    /// Ends the core's sleep, if it sleeps. Call it after what it is to find has been published.
    #[inline]
    pub fn wake(&self) {
        // Pairs with the fence in `sleep`: either we see `asleep`, or the core's last look sees what we published.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            let one = 1u64;
            // SAFETY: writes eight bytes from a live u64 to a descriptor we own. A full counter (EAGAIN) wakes just as well.
            unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Sleeps until one of `fds` is readable, [`Waker::wake`] is called, or `timeout` has passed. `last_look` runs after the core has
    /// declared itself asleep; if it finds work, there is no sleep.
    pub fn sleep(&self, fds: &mut SleepSet, timeout: Duration, last_look: impl FnOnce() -> bool) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
        if !last_look() {
            fds.poll(self.event.as_raw_fd(), timeout);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// What a descriptor says whose device was deleted.
const LOST: libc::c_short = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;

/// The descriptors a core sleeps on; the first place is the waker's.
#[derive(Debug)]
pub struct SleepSet {
    polled: Vec<libc::pollfd>,
}

impl SleepSet {
    /// A set of the ports' descriptors.
    pub fn new(fds: impl IntoIterator<Item = RawFd>) -> Self {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        Self { polled: core::iter::once(-1).chain(fds).map(entry).collect() }
    }

    fn poll(&mut self, event: RawFd, timeout: Duration) {
        self.polled[0].fd = event;
        let timeout = libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let count = self.polled.len() as libc::nfds_t;
        // SAFETY: the pointer and the count describe a live vector of pollfd; a null signal mask is allowed. poll(2) would
        // round the timeout up to a millisecond, which is longer than a timer of ours may wait.
        let ready = unsafe { libc::ppoll(self.polled.as_mut_ptr(), count, &raw const timeout, core::ptr::null()) };
        if ready <= 0 {
            return;
        }
        if self.polled[0].revents != 0 {
            let mut count = 0u64;
            // SAFETY: reads eight bytes into a live u64; the descriptor is non-blocking.
            unsafe { libc::read(event, (&raw mut count).cast(), 8) };
        }
        self.forget_lost();
    }

    /// Takes out descriptors whose device has gone: they are ready for ever, and no packet comes by them.
    fn forget_lost(&mut self) {
        for lost in self.polled[1..].iter_mut().filter(|entry| entry.revents & LOST != 0) {
            // poll(2) passes over negative descriptors.
            (lost.fd, lost.revents) = (-1, 0);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may start threads, look at the clock and sleep")]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;

    #[test]
    fn a_wake_ends_the_sleep() {
        let waker = Arc::new(Waker::new().unwrap());
        let other = Arc::clone(&waker);
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.wake();
        });
        let start = Instant::now();
        waker.sleep(&mut SleepSet::new([]), Duration::from_secs(10), || false);
        assert!(start.elapsed() < Duration::from_secs(5));
        thread.join().unwrap();
    }

    #[test]
    fn a_descriptor_that_is_lost_ends_one_sleep_and_no_more() {
        let (mut ends, waker) = ([0; 2], Waker::new().unwrap());
        // SAFETY: pipe writes two descriptors into the array.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: both were just made, and nobody else owns them.
        let [read, write] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let mut set = SleepSet::new([read.as_raw_fd()]);
        // POLLHUP, as long as the descriptor lives.
        drop(write);
        let mut sleep = |most| {
            let start = Instant::now();
            waker.sleep(&mut set, most, || false);
            start.elapsed()
        };
        assert!(sleep(Duration::from_secs(10)) < Duration::from_secs(5));
        assert!(sleep(Duration::from_millis(10)) >= Duration::from_millis(9));
    }

    #[test]
    fn work_found_at_the_last_look_prevents_the_sleep() {
        let waker = Waker::new().unwrap();
        let start = Instant::now();
        waker.sleep(&mut SleepSet::new([]), Duration::from_secs(10), || true);
        waker.wake();
        assert!(start.elapsed() < Duration::from_secs(5), "and a wake of a core that is awake leaves nothing behind");
        let start = Instant::now();
        waker.sleep(&mut SleepSet::new([]), Duration::from_millis(10), || false);
        assert!(start.elapsed() >= Duration::from_millis(9));
    }
}
