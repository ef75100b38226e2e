//! One direction of an impaired wire: what becomes of a packet, and when it comes out. No I/O, no clock: time is an argument.

use core::time::Duration;
use std::collections::VecDeque;

use tidegate_dataplane::clock::Instant;

use crate::random::Random;

/// What a wire does to packets. Both directions do the same, independently.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Impairment {
    /// Probability that a packet is lost, each for itself.
    pub(crate) loss: f64,
    /// Time from one end to the other.
    pub(crate) delay: Duration,
    /// The delay varies by as much both ways, evenly; the order stays.
    pub(crate) jitter: Duration,
    /// Probability that a packet has no delay and so overtakes those before it.
    pub(crate) reorder: f64,
    /// Bits of Ethernet frames a second; `None` for no limit.
    pub(crate) bits_per_second: Option<f64>,
    /// Packets that may wait for the wire to be free, or be under way without being late; more are lost.
    pub(crate) queue: usize,
}

impl Impairment {
    /// A wire that does nothing to packets, but holds no more than `queue`.
    #[cfg(test)]
    pub(crate) fn none(queue: usize) -> Self {
        let (delay, jitter) = (Duration::ZERO, Duration::ZERO);
        Self { loss: 0.0, delay, jitter, reorder: 0.0, bits_per_second: None, queue }
    }
}

/// Counts of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    /// Packets that came in.
    pub(crate) packets: u64,
    /// Lost by chance.
    pub(crate) lost: u64,
    /// Lost because the queue was full.
    pub(crate) overflowed: u64,
    /// Sent ahead of others.
    pub(crate) reordered: u64,
}

/// Packets on their way in one direction.
pub(crate) struct Line<T> {
    impairment: Impairment,
    random: Random,
    /// When the sender has put the last packet on the wire.
    free_at: Instant,
    /// Not serialised before this time: their number is the length of the queue.
    waiting: VecDeque<Instant>,
    /// In the order in which they come out.
    under_way: VecDeque<(Instant, T)>,
    /// Those that overtake.
    ahead: VecDeque<(Instant, T)>,
    pub(crate) counts: Counts,
}

impl<T> Line<T> {
    /// An empty wire. `seed` decides about every packet: the same packets meet the same fate.
    pub(crate) fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: Random::seeded(seed),
            free_at: Instant::ZERO,
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            ahead: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Packets on the wire.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len() + self.ahead.len()
    }

    /// A packet of `bytes` bytes enters at the time `now`.
    pub(crate) fn push(&mut self, now: Instant, bytes: usize, packet: T) {
        self.counts.packets += 1;
        // All numbers are drawn for every packet, so that one setting does not change what another decides.
        let [loss, jitter, reorder] = [(); 3].map(|()| self.random.unit());
        if loss < self.impairment.loss {
            self.counts.lost += 1;
            return;
        }
        while self.waiting.front().is_some_and(|sent| *sent <= now) {
            self.waiting.pop_front();
        }
        if self.waiting.len() >= self.impairment.queue {
            self.counts.overflowed += 1;
            return;
        }
        let serialised = self.serialise(now, bytes);
        if reorder < self.impairment.reorder {
            self.counts.reordered += 1;
            self.ahead.push_back((serialised, packet));
            return;
        }
        let late = self.impairment.jitter.mul_f64(2.0 * jitter);
        let due = serialised + (self.impairment.delay + late).saturating_sub(self.impairment.jitter);
        let due = self.under_way.back().map_or(due, |(last, _)| due.max(*last));
        self.under_way.push_back((due, packet));
    }

    /// When the last bit is on the wire.
    fn serialise(&mut self, now: Instant, bytes: usize) -> Instant {
        let Some(rate) = self.impairment.bits_per_second else { return now };
        let sent = self.free_at.max(now) + Duration::from_secs_f64(bytes as f64 * 8.0 / rate);
        self.free_at = sent;
        self.waiting.push_back(sent);
        sent
    }

    /// The next packet that has come out at the time `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        let due = |queue: &VecDeque<(Instant, T)>| queue.front().map(|(due, _)| *due).filter(|due| *due <= now);
        let queue = match (due(&self.ahead), due(&self.under_way)) {
            (Some(ahead), Some(other)) if other < ahead => &mut self.under_way,
            (Some(_), _) => &mut self.ahead,
            (None, Some(_)) => &mut self.under_way,
            (None, None) => return None,
        };
        queue.pop_front().map(|(_, packet)| packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u64 = 100_000;
    const GAP: Duration = Duration::from_micros(10);

    /// Sends numbered packets of 1250 bytes every 10 µs and notes what comes out when, in microseconds.
    fn run(impairment: Impairment, seed: u64) -> (Vec<(u64, u64)>, Counts) {
        let mut line = Line::new(impairment, seed);
        let (mut now, mut out) = (Instant::ZERO, Vec::new());
        for step in 0..PACKETS + 20_000 {
            now += GAP;
            if step < PACKETS {
                line.push(now, 1250, step);
            }
            out.extend(core::iter::from_fn(|| line.pop(now)).map(|packet| (packet, now.as_nanos() / 1000)));
        }
        assert_eq!(line.len(), 0);
        (out, line.counts)
    }

    /// When packet `number` was sent, in microseconds.
    fn sent(number: u64) -> u64 {
        (number + 1) * 10
    }

    #[test]
    fn as_many_are_lost_as_was_asked_for() {
        for loss in [0.02, 0.3] {
            let (out, counts) = run(Impairment { loss, ..Impairment::none(1000) }, 7);
            // Five standard deviations of a binomial distribution: one in two million fails by chance, and the seed is fixed.
            let n = PACKETS as f64;
            let bound = 5.0 * (n * loss * (1.0 - loss)).sqrt();
            assert!((counts.lost as f64 - n * loss).abs() < bound, "{counts:?}");
            assert_eq!(out.len() as u64 + counts.lost, PACKETS);
            // Each for itself: a loss says nothing about the next packet.
            let pairs = out.windows(2).filter(|pair| pair[1].0 - pair[0].0 == 3).count() as f64;
            let expected = n * loss * loss * (1.0 - loss).powi(2);
            assert!((pairs - expected).abs() < 6.0 * expected.sqrt(), "{pairs} double losses, expected {expected}");
        }
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        let impairment = Impairment {
            loss: 0.1,
            jitter: Duration::from_millis(1),
            delay: Duration::from_millis(2),
            ..Impairment::none(1000)
        };
        assert_eq!(run(impairment, 3), run(impairment, 3));
        assert_ne!(run(impairment, 3), run(impairment, 4));
        // One thing that is asked for does not change another.
        let lost = |impairment| run(impairment, 3).1.lost;
        assert_eq!(lost(impairment), lost(Impairment { loss: 0.1, ..Impairment::none(1000) }));
    }

    #[test]
    fn the_delay_is_what_was_asked_for() {
        let (out, _) = run(Impairment { delay: Duration::from_millis(10), ..Impairment::none(1000) }, 1);
        assert!(out.iter().all(|(packet, at)| at - sent(*packet) == 10_000));
        let impairment =
            Impairment { delay: Duration::from_millis(10), jitter: Duration::from_millis(4), ..Impairment::none(1000) };
        let (out, _) = run(impairment, 1);
        assert!(out.is_sorted(), "jitter keeps the order");
        assert!(out.iter().all(|(packet, at)| (6_000..=14_010).contains(&(at - sent(*packet)))));
    }

    #[test]
    fn jitter_is_even_where_packets_do_not_wait_for_each_other() {
        let impairment =
            Impairment { delay: Duration::from_millis(10), jitter: Duration::from_millis(4), ..Impairment::none(1000) };
        let mut line = Line::new(impairment, 5);
        let mut delays: Vec<u64> = Vec::new();
        let mut now = Instant::ZERO;
        for _ in 0..10_000 {
            let begun = now;
            line.push(now, 100, ());
            while line.pop(now).is_none() {
                now += GAP;
            }
            delays.push((now - begun).as_micros() as u64);
        }
        let mean = delays.iter().sum::<u64>() as f64 / delays.len() as f64;
        // The standard deviation of one is 8 ms / sqrt(12).
        assert!((mean - 10_005.0).abs() < 5.0 * 8_000.0 / 12f64.sqrt() / 100.0, "{mean}");
        let early = delays.iter().filter(|delay| **delay <= 8_000).count();
        assert!((2_250..2_750).contains(&early), "a quarter in the first quarter: {early}");
    }

    #[test]
    fn some_overtake() {
        let impairment = Impairment { delay: Duration::from_millis(1), reorder: 0.05, ..Impairment::none(1000) };
        let (out, counts) = run(impairment, 9);
        let ahead = out.iter().filter(|(packet, at)| *at == sent(*packet)).count() as u64;
        assert_eq!(ahead, counts.reordered);
        assert!((4_650..5_350).contains(&ahead), "{ahead}");
        assert_eq!(out.len() as u64, PACKETS);
    }

    #[test]
    fn the_rate_is_kept_and_the_queue_bounded() {
        // 1000 Mbit/s offered, 400 there.
        let impairment = Impairment { bits_per_second: Some(400e6), ..Impairment::none(50) };
        let (out, counts) = run(impairment, 1);
        let seconds = (out.last().expect("packets").1 - out[0].1) as f64 / 1e6;
        let rate = (out.len() - 1) as f64 * 1250.0 * 8.0 / seconds;
        assert!((rate / 400e6 - 1.0).abs() < 0.001, "{rate}");
        assert_eq!(counts.overflowed + out.len() as u64, PACKETS);
        // A full queue of 50 packets of 25 µs each.
        let longest = out.iter().map(|(packet, at)| at - sent(*packet)).max();
        assert!(longest.is_some_and(|longest| (1_225..=1_260).contains(&longest)), "{longest:?}");
    }
}
