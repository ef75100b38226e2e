//! Who answers: a flag for each station that flows depend on, set by one core and read by all.
//!
//! Problem: packets must not pay for looking at every flag. All flags of a process share one count of their changes: a reader that
//! finds the count as it was knows that all flags are.
//!
//! Guarantee: who has seen a count sees every flag at least as it was when the change was counted.

use std::sync::Arc;

use super::atomic::{AtomicUsize, Ordering};

/// How often any of the flags that share this has changed.
#[derive(Debug)]
pub struct Changes(AtomicUsize);

/// Whether a station answers. It does until it is known not to.
#[derive(Debug)]
pub struct Pulse {
    /// 0 while it answers.
    silent: AtomicUsize,
    changes: Arc<Changes>,
}

impl Changes {
    /// None yet.
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Their count. To be taken before the flags are read.
    #[inline]
    pub fn count(&self) -> usize {
        // Acquire: partner of the Release in `Pulse::set`; the flags read after this are at least as new.
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Pulse {
    /// Of a station that is not known to be silent.
    pub fn new(changes: Arc<Changes>) -> Self {
        Self { silent: AtomicUsize::new(0), changes }
    }

    /// Whether the station is silent.
    #[inline]
    pub fn is_silent(&self) -> bool {
        // Relaxed: ordered by the count that was read before.
        self.silent.load(Ordering::Relaxed) != 0
    }

    /// Says whether the station is silent, and returns whether that is new. For one thread only.
    pub fn set(&self, silent: bool) -> bool {
        if self.is_silent() == silent {
            return false;
        }
        self.silent.store(usize::from(silent), Ordering::Relaxed);
        // Release: partner of the Acquire in `Changes::count`. Rare, so the addition may cost what it does; a core that is restarted
        // and one that is about to end may both count.
        self.changes.0.fetch_add(1, Ordering::Release);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let changes = Arc::new(Changes::new());
        let (a, b) = (Pulse::new(Arc::clone(&changes)), Pulse::new(Arc::clone(&changes)));
        assert!(!a.set(false) && changes.count() == 0);
        assert!(a.set(true) && a.is_silent() && !b.is_silent() && changes.count() == 1);
        assert!(!a.set(true) && b.set(true) && a.set(false) && changes.count() == 3);
        assert!(!a.is_silent() && b.is_silent());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    #[test]
    fn who_sees_the_count_sees_the_flags() {
        loom::model(|| {
            let changes = Arc::new(Changes::new());
            let [first, second] = [(); 2].map(|()| Arc::new(Pulse::new(Arc::clone(&changes))));
            let writer = loom::thread::spawn({
                let (first, second) = (Arc::clone(&first), Arc::clone(&second));
                move || assert!(first.set(true) && second.set(true))
            });
            let seen = changes.count();
            assert!(first.is_silent() || seen < 1);
            assert!(second.is_silent() || seen < 2);
            writer.join().unwrap();
            assert_eq!(changes.count(), 2);
        });
    }
}
