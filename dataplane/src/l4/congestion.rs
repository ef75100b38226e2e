//! How much may be under way: CUBIC (RFC 9438) and Reno (RFC 5681), in octets.
//!
//! smoltcp has both, but leaves recovery with the first new acknowledgement and takes the next loss of the same window for another
//! event: two losses in one window quartered it. Here a window is reduced once for a recovery, whose end [`repair`](super::repair)
//! knows, and grows by what was delivered (RFC 3465), not by the number of acknowledgements.

use core::time::Duration;

use crate::clock::Instant;

use super::options::Congestion;

/// Segments in flight before the first acknowledgement (RFC 6928 §2).
const INITIAL_SEGMENTS: u32 = 10;
/// What is left of CUBIC's window after a loss (RFC 9438 §4.6).
const BETA: f32 = 0.7;
/// How fast CUBIC grows, in segments per cubic second (RFC 9438 §5).
const C: f32 = 0.4;
/// Growth of a Reno that gives up as little as CUBIC does (RFC 9438 §4.3).
const ALPHA: f32 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// No window is larger: more than the largest buffer holds.
const WIDEST: f32 = (16 << 20) as f32;

/// The congestion window of one connection.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Window {
    kind: Congestion,
    /// Octets that may be under way; a fraction, so that less than an octet per acknowledgement adds up.
    open: f32,
    /// Above it the window grows slowly.
    threshold: f32,
    mss: f32,
    cubic: Cubic,
}

/// What only CUBIC remembers, in octets and seconds.
#[derive(Clone, Copy, Default, Debug)]
struct Cubic {
    /// The window before the last loss.
    highest: f32,
    /// The same, however the competition for the path is seen.
    prior: f32,
    /// What Reno would have.
    reno: f32,
    /// When the window is back at `highest`, counted from `since`.
    back_after: f32,
    /// Start of congestion avoidance; `None` until the first acknowledgement in it.
    since: Option<Instant>,
    /// When the window last grew, or would have if it had been in use.
    seen: Instant,
}

impl Window {
    /// The window of a connection that has sent nothing for a while (RFC 6928, RFC 5681 §4.1).
    pub(super) fn new(kind: Congestion, mss: u16) -> Self {
        let mss = f32::from(mss);
        Self {
            kind,
            open: mss * INITIAL_SEGMENTS as f32,
            threshold: WIDEST,
            mss,
            cubic: Cubic { highest: 0.0, ..Cubic::default() },
        }
    }

    /// Octets that may be under way.
    #[inline]
    pub(super) fn open(&self) -> u32 {
        match self.kind {
            Congestion::None => WIDEST as u32,
            _ => self.open as u32,
        }
    }

    /// Octets that are to be under way once losses are repaired.
    pub(super) fn target(&self) -> u32 {
        match self.kind {
            Congestion::None => WIDEST as u32,
            _ => self.threshold.min(WIDEST) as u32,
        }
    }

    /// `delivered` octets have arrived, of `flight` that were under way. A window that is not used does not grow (RFC 9438 §5.8).
    #[inline]
    pub(super) fn on_delivery(&mut self, delivered: u32, flight: u32, srtt: Duration, now: Instant) {
        let (delivered, flight) = (delivered as f32, flight as f32);
        let slow_start = self.open < self.threshold;
        let used = if slow_start { 2.0 * flight > self.open } else { flight + self.mss > self.open };
        if slow_start {
            if used {
                self.open = (self.open + delivered).min(WIDEST);
            }
            return;
        }
        let grown = match self.kind {
            Congestion::Cubic => self.cubic.grown(self.open, self.mss, (used, delivered), srtt, now),
            Congestion::Reno if used => self.open + self.mss * delivered / self.open,
            Congestion::Reno | Congestion::None => self.open,
        };
        self.open = grown.min(WIDEST);
    }

    /// Something was lost: once for all that was under way then.
    pub(super) fn on_loss(&mut self) {
        let kept = if self.kind == Congestion::Reno { 0.5 } else { BETA };
        self.cubic.on_loss(self.open);
        self.threshold = (self.open * kept).max(2.0 * self.mss);
        self.open = self.threshold;
    }

    /// Nothing was heard for the retransmission timeout. `again` if it is not the first time in a row: then what was learnt before stands
    /// (RFC 5681 §3.1).
    pub(super) fn on_timeout(&mut self, again: bool) {
        if !again {
            self.on_loss();
        }
        self.open = self.mss;
    }
}

impl Cubic {
    fn on_loss(&mut self, open: f32) {
        // Fast convergence (RFC 9438 §4.7): a window that no longer comes as far as the last one leaves room for a newcomer.
        self.highest = if open < self.highest { open * (1.0 + BETA) / 2.0 } else { open };
        self.prior = open;
        self.since = None;
    }

    /// The window after an acknowledgement in congestion avoidance (RFC 9438 §4.2 to §4.5).
    fn grown(&mut self, open: f32, mss: f32, (used, delivered): (bool, f32), srtt: Duration, now: Instant) -> f32 {
        let since = *self.since.get_or_insert_with(|| {
            self.reno = open;
            self.highest = self.highest.max(open);
            self.back_after = ((self.highest - open) / mss / C).cbrt();
            self.seen = now;
            now
        });
        let last = core::mem::replace(&mut self.seen, now);
        if !used {
            self.since = Some(since + (now - last)); // Time in which nobody wanted more does not count.
            return open;
        }
        let elapsed = (now - since).as_secs_f32();
        let cubic = |at: f32| C * mss * (at - self.back_after).powi(3) + self.highest;
        let alpha = if self.reno >= self.prior { 1.0 } else { ALPHA };
        let wanted = cubic(elapsed + srtt.as_secs_f32()).clamp(open, 1.5 * open);
        let now_cubic = cubic(elapsed);
        self.reno += alpha * mss * delivered / open;
        if now_cubic < self.reno { self.reno.max(open) } else { open + (wanted - open) * (delivered / open).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u16 = 1000;
    const RTT: Duration = Duration::from_millis(100);

    /// Round trips in which the whole window is delivered, in steps of one segment.
    fn run(window: &mut Window, start: Instant, round_trips: u32) -> Instant {
        let mut now = start;
        for _ in 0..round_trips {
            let segments = (window.open() / u32::from(MSS)).max(1);
            for _ in 0..segments {
                now += RTT / segments;
                window.on_delivery(u32::from(MSS), window.open(), RTT, now);
            }
        }
        now
    }

    #[test]
    fn a_new_window_is_ten_segments_and_doubles() {
        for kind in [Congestion::Cubic, Congestion::Reno] {
            let mut window = Window::new(kind, MSS);
            assert_eq!(window.open(), 10_000);
            run(&mut window, Instant::from_millis(1), 2);
            assert_eq!(window.open(), 40_000);
            let idle = window.open();
            window.on_delivery(5_000, 5_000, RTT, Instant::from_millis(900));
            assert_eq!(window.open(), idle, "a window that is not used does not grow");
        }
        assert!(Window::new(Congestion::None, MSS).open() > 4 << 20);
    }

    #[test]
    fn a_loss_takes_a_part_and_a_timeout_nearly_all() {
        for (kind, kept) in [(Congestion::Cubic, 28_000), (Congestion::Reno, 20_000)] {
            let mut window = Window::new(kind, MSS);
            run(&mut window, Instant::from_millis(1), 2);
            window.on_loss();
            assert_eq!((window.open(), window.target()), (kept, kept));
            let mut window = Window::new(kind, MSS);
            run(&mut window, Instant::from_millis(1), 2);
            window.on_timeout(false);
            assert_eq!((window.open(), window.target()), (1000, kept));
            window.on_timeout(true);
            assert_eq!((window.open(), window.target()), (1000, kept), "only the first one says how much was too much");
            for _ in 0..20 {
                window.on_loss();
            }
            assert_eq!(window.target(), 2000);
        }
    }

    #[test]
    fn reno_grows_by_a_segment_per_round_trip() {
        let mut window = Window::new(Congestion::Reno, MSS);
        window.on_loss();
        run(&mut window, Instant::from_millis(1), 10);
        assert!((14_000..15_100).contains(&window.open()), "{}", window.open());
    }

    /// RFC 9438 §4.2: the window of before is reached again after K = cbrt(W (1 - beta) / C), slowly near it and faster beyond.
    #[test]
    fn cubic_comes_back_when_its_curve_says() {
        let mut window = Window::new(Congestion::Cubic, MSS);
        run(&mut window, Instant::from_millis(1), 6);
        assert_eq!(window.open(), 640_000);
        window.on_loss();
        // K = cbrt(640 * 0.3 / 0.4) = 7.83 s.
        let at_k = run(&mut window, Instant::from_millis(1000), 78);
        assert!((630_000..645_000).contains(&window.open()), "{}", window.open());
        run(&mut window, at_k, 78);
        assert!((780_000..880_000).contains(&window.open()), "{}", window.open());
    }

    #[test]
    fn cubic_is_no_slower_than_reno_on_a_short_path() {
        let mut window = Window::new(Congestion::Cubic, MSS);
        window.on_loss(); // 7 segments, and 10 before.
        run(&mut window, Instant::from_millis(1), 6);
        assert!((9_800..10_600).contains(&window.open()), "{}", window.open());
    }

    #[test]
    fn time_without_need_does_not_count() {
        let mut window = Window::new(Congestion::Cubic, MSS);
        run(&mut window, Instant::from_millis(1), 4);
        window.on_loss();
        let now = run(&mut window, Instant::from_millis(1000), 5);
        let open = window.open();
        let later = now + Duration::from_secs(60);
        window.on_delivery(1000, 1000, RTT, later);
        assert_eq!(window.open(), open);
        run(&mut window, later, 1);
        assert!(window.open() < open * 11 / 10, "{} after {open}", window.open());
    }
}
