//! Asking the cores: orders go by a ring each, and come back carried out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_dataplane::clock::Clock;
use tidegate_dataplane::io::park::Waker;
use tidegate_dataplane::see::order::{Letter, Line, Order};
use tokio::sync::Mutex;

use crate::unix;

/// A core answers within a turn; one that sleeps is woken.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks for the answer.
const LOOK: Duration = Duration::from_millis(1);

/// The lines to all cores.
pub struct Lines {
    lines: Vec<(u16, Mutex<Line>)>,
    waker: Arc<Waker>,
    clock: Clock,
    next: AtomicU64,
}

/// A core does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silent {
    /// Its CPU.
    pub cpu: u16,
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the core on CPU {} does not answer: `/healthz` tells whether it still turns", self.cpu)
    }
}

impl std::error::Error for Silent {}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lines to {} cores", self.lines.len())
    }
}

impl Lines {
    /// Lines to cores on these CPUs, which go by `clock`; `waker` is any core's.
    pub fn new(lines: Vec<(u16, Line)>, waker: Arc<Waker>, clock: Clock) -> Self {
        let lines = lines.into_iter().map(|(cpu, line)| (cpu, Mutex::new(line))).collect();
        Self { lines, waker, clock, next: AtomicU64::new(1) }
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.lines.len()
    }

    /// A core's waker, for what wants one and does not use it.
    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// Nanoseconds since 1970 at the zero of the cores' clock, as the two stand now.
    pub fn unix_origin_ns(&self) -> u64 {
        unix::origin_ns(self.clock.now())
    }

    /// A number that no other order has: what is hung up under it can be taken down.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks a core, and waits until it has answered.
    ///
    /// # Errors
    /// It does not.
    pub async fn ask(&self, core: usize, order: Order) -> Result<Order, Silent> {
        self.ask_as(core, self.number(), order).await
    }

    /// [`Self::ask`] under a number taken before.
    ///
    /// # Errors
    /// The core does not answer.
    pub async fn ask_as(&self, core: usize, number: u64, order: Order) -> Result<Order, Silent> {
        let (cpu, line) = &self.lines[core];
        let mut line = line.lock().await;
        // Answers that came too late for whoever asked.
        while line.receive().is_some() {}
        line.send(Letter { number, order }).map_err(|_| Silent { cpu: *cpu })?;
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some(letter) = line.receive() {
                if letter.number == number {
                    return Ok(letter.order);
                }
            }
            if Instant::now() >= until {
                return Err(Silent { cpu: *cpu });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
