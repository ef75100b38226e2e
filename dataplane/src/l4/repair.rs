//! When something is taken for lost, and how much may be sent meanwhile: what smoltcp's sender does not know.
//!
//! smoltcp has no memory of selective acknowledgements, sends one segment again per round trip, and waits for its timer when that or the
//! tail of a flight is lost. So it only keeps the octets. What is lost is decided here: by what arrived from beyond (RFC 6675), by how long ago that was
//! (RFC 8985), by silence (RFC 8985 §7, RFC 6298). How much may be under way is decided here too, by a [`Window`] and while losses are
//! repaired in proportion to what arrives (RFC 6937). The socket is told a window that ends where this ends, and [`resend`](super::resend)
//! makes it send again what is lost and nothing else.

use core::time::Duration;

use crate::clock::Instant;

use super::{
    congestion::Window,
    live::Live,
    options::Congestion,
    scoreboard::{Block, Scoreboard},
    segment::Selective,
    seq::Seq,
};

/// Segments, or pieces, that have to arrive from beyond a hole to make it a loss (RFC 5681 §3.2), before reordering was seen.
const DUPLICATE_THRESHOLD: u32 = 3;
/// Times that number, and the patience with what is out of order, is doubled at most.
const MAX_TOLERANCE: u8 = 4;
/// Recoveries after which reordering is forgotten (RFC 8985 §6.2, step 4).
const FORGIVEN_AFTER: u8 = 16;

/// What is going on with losses.
#[derive(Clone, Copy, Default, Debug)]
pub(super) enum Phase {
    /// Nothing is known to be lost.
    #[default]
    Open,
    /// Losses are repaired while acknowledgements come in.
    Recovery(Recovery),
    /// Silence, or a report that segments were too long: everything before `end` that is not selectively acknowledged is lost.
    Timeout { end: Seq },
}

/// RFC 6937.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// Everything sent when the loss was found: acknowledged, it is over.
    end: Seq,
    /// The window until then.
    before: u32,
    /// Octets that have arrived since.
    delivered: u32,
    /// Octets that had been sent then, ever.
    sent_before: u32,
    /// Octets that may be under way.
    allowed: u32,
}

/// Loss detection and congestion control of one connection.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Repair {
    pub(super) board: Scoreboard,
    pub(super) window: Window,
    pub(super) phase: Phase,
    /// What is missing before this point is lost from that time on.
    pub(super) suspect: Option<(Seq, Instant)>,
    /// How often the peer was found to have got segments late that were taken for lost.
    pub(super) tolerance: u8,
    /// Recoveries since that was last found.
    recoveries: u8,
    /// What was last taken for lost because of what arrived from beyond.
    judged: Option<Block>,
    /// The tail that was probed. If more is acknowledged and nothing was received twice, the probe has repaired a loss.
    pub(super) tail: Option<Seq>,
    /// To be sent again although nobody says it is lost.
    pub(super) wanted: Option<Block>,
    /// Octets under way when there was last an opportunity to send: several acknowledgements come between two of those.
    pub(super) flight: u32,
    /// The next segment is sent again whatever the window says.
    pub(super) forced: bool,
    pub(super) probes: u8,
    pub(super) timeouts: u8,
    /// When something was last sent again.
    pub(super) resent_at: Instant,
}

impl Repair {
    /// Nothing was sent yet.
    pub(super) fn restart(&mut self, kind: Congestion, mss: u16) {
        let mut board = self.board;
        board.clear();
        *self = Self { window: Window::new(kind, mss), board, ..Self::default() };
    }

    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.board.is_clean() && self.tail.is_none()
    }

    fn threshold(&self) -> u32 {
        DUPLICATE_THRESHOLD << self.tolerance
    }

    /// The first octets to send again.
    pub(super) fn hole(&self, una: Seq) -> Option<Block> {
        self.wanted.filter(|wanted| wanted.1.after(una)).or_else(|| self.board.hole(una))
    }

    /// `block` was sent again.
    pub(super) fn on_resent(&mut self, block: Block, mark: Seq, now: Instant) {
        self.board.on_resent(block, mark, now);
        self.resent_at = now;
        if matches!(self.phase, Phase::Recovery(_)) {
            self.judged = Some(block);
        }
        (self.forced, self.wanted) = (false, None);
    }

    /// Everything before `una` is acknowledged: what was to be repaired may be.
    pub(super) fn on_progress(&mut self, una: Seq) {
        if let Phase::Recovery(Recovery { end, .. }) | Phase::Timeout { end } = self.phase
            && !una.before(end)
        {
            self.phase = Phase::Open;
            (self.forced, self.wanted) = (false, None);
        }
    }

    /// What is sent again now is so because the retransmission timer has fired.
    pub(super) fn after_timer(&self) -> bool {
        matches!(self.phase, Phase::Timeout { .. })
    }

    /// Everything under way is lost for its length, and the path is no fuller than it was.
    pub(super) fn cut(&mut self, max: Seq) {
        self.board.lose(max);
        self.board.lose_resends();
        self.phase = Phase::Timeout { end: max };
        (self.forced, self.wanted) = (true, None);
    }

    /// A peer without room has some again: what was under way when it said so, it will have thrown away. More than the octet that asked it.
    pub(super) fn on_room(&mut self, una: Seq, max: Seq) {
        self.timeouts = 0;
        if max.since(una) > 1 {
            self.cut(max);
        }
    }
}

impl Live {
    pub(super) fn srtt(&self) -> Duration {
        Duration::from_micros(u64::from(self.rtt_us))
    }

    /// Octets on their way.
    fn pipe(&self, una: Seq) -> u32 {
        self.repair.board.pipe(una, self.track.snd_max, u32::from(self.record.mss))
    }

    /// Octets that may be sent beside those on their way.
    fn budget(&self, una: Seq) -> u32 {
        let open = match self.repair.phase {
            Phase::Recovery(recovery) => recovery.allowed,
            Phase::Open | Phase::Timeout { .. } => self.repair.window.open(),
        };
        open.saturating_sub(self.pipe(una))
    }

    /// New octets that may be sent, in whole segments.
    pub(super) fn allowance(&self, una: Seq) -> u32 {
        if !self.repair.is_quiet() && self.repair.hole(una).is_some() {
            return 0;
        }
        let mss = u32::from(self.record.mss);
        // A segment may always be under way; a window of less would have the socket send crumbs.
        let least = if self.track.snd_max.after(una) { 0 } else { mss };
        (self.budget(una) / mss * mss).max(least)
    }

    /// What to send again now.
    pub(super) fn due_again(&self) -> Option<Block> {
        if self.repair.is_quiet() && self.repair.wanted.is_none() {
            return None;
        }
        let una = self.acknowledged();
        if !self.track.snd_max.after(una) {
            return None; // A socket that waits for nothing must not be driven beyond its timers.
        }
        let hole = self.repair.hole(una)?;
        let edge = una.plus(u32::from(self.told_after(una, true)) << self.told_shift());
        let length = (hole.1.since(hole.0) as u32).min(u32::from(self.record.mss));
        (hole.0.before(edge) && (self.repair.forced || self.budget(una) >= length)).then_some(hole)
    }

    /// Takes in what an acceptable segment acknowledges beyond `una`. `duplicate` if it repeats the last acknowledgement.
    #[inline]
    pub(super) fn account(&mut self, una: Seq, ack: Seq, told: &Selective, duplicate: bool, now: Instant) {
        let progress = ack.since(una).max(0) as u32;
        if progress > 0 {
            (self.repair.probes, self.repair.timeouts) = (0, 0);
        }
        if !self.repair.is_quiet() || !told.is_empty() || duplicate && !self.record.sack {
            self.account_loss((una, ack), told, duplicate, now);
        } else if progress > 0 {
            let (flight, srtt) = (self.repair.flight, self.srtt());
            self.repair.window.on_delivery(progress, flight, srtt, now);
        }
    }

    /// The same while something is missing.
    fn account_loss(&mut self, (una, ack): (Seq, Seq), told: &Selective, duplicate: bool, now: Instant) {
        let (mss, max, srtt) = (u32::from(self.record.mss), self.track.snd_max, self.srtt());
        let flight = max.since(una).max(0) as u32;
        let repair = &mut self.repair;
        let mut delivered = repair.board.acknowledge(una, ack);
        let twice = told.duplicate(ack);
        for &(start, end) in told.blocks() {
            // RFC 2018 §5 believes the receiver; what it cannot have is no receiver's (RFC 5961's case, for this field).
            if start.before(end) && !start.before(ack) && !end.after(max) && end.since(start) as u32 <= flight {
                delivered += repair.board.hold(ack, (start, end));
            }
        }
        if duplicate && !self.record.sack {
            repair.board.hold_any();
            delivered += mss;
        }
        if twice {
            // What was sent again had arrived: it was late, not lost (RFC 8985 §6.2, step 4).
            repair.tail = None;
            let (start, end) = told.blocks()[0];
            if repair.judged.take().is_some_and(|judged| judged.0.before(end) && start.before(judged.1)) {
                (repair.tolerance, repair.recoveries) = ((repair.tolerance + 1).min(MAX_TOLERANCE), 0);
            }
        } else if repair.tail.is_some_and(|tail| ack.after(tail)) {
            repair.tail = None;
            repair.window.on_loss(); // RFC 8985 §7.4: silence was a loss, if a repaired one.
        }
        repair.board.infer((ack, max), mss, repair.threshold());
        repair.board.lose_again(srtt + srtt / 4, now);
        self.suspect(ack, now);
        self.step(ack, (delivered, ack.after(una)), now);
    }

    /// Notes since when something is missing that later octets have overtaken (RFC 8985 §6.2: RACK's reordering window).
    fn suspect(&mut self, una: Seq, now: Instant) {
        let patience = (self.srtt() / 4 * (1 << self.repair.tolerance.min(2))).max(Duration::from_millis(1));
        let farthest = self.repair.board.farthest();
        self.repair.suspect = match (farthest, self.repair.suspect) {
            (None, _) => None,
            (Some(_), Some(suspect)) if suspect.0.after(una) => Some(suspect),
            (Some(farthest), _) => Some((farthest, now + patience)),
        };
    }

    /// Moves between the phases after an acknowledgement, and says how much may be under way.
    pub(super) fn step(&mut self, una: Seq, (delivered, progress): (u32, bool), now: Instant) {
        let (max, srtt, flight) = (self.track.snd_max, self.srtt(), self.repair.flight);
        match self.repair.phase {
            Phase::Recovery(Recovery { end, .. }) | Phase::Timeout { end } if !una.before(end) => {
                self.repair.on_progress(una);
            }
            Phase::Open | Phase::Timeout { .. } => self.repair.window.on_delivery(delivered, flight, srtt, now),
            Phase::Recovery(_) => {
                // A receiver that does not say what it has: the next hole is behind a partial acknowledgement (RFC 6582).
                if progress && !self.record.sack {
                    self.repair.board.lose(una.plus(u32::from(self.record.mss)).min(max));
                }
            }
        }
        if matches!(self.repair.phase, Phase::Open) && self.repair.board.hole(una).is_some() {
            self.recover(max);
        }
        self.proportion(una, delivered, progress);
    }

    fn recover(&mut self, max: Seq) {
        let before = self.repair.window.open();
        self.repair.window.on_loss();
        self.repair.forced = true;
        self.repair.recoveries += 1;
        if self.repair.recoveries >= FORGIVEN_AFTER {
            (self.repair.tolerance, self.repair.recoveries) = (0, 0);
        }
        self.repair.phase =
            Phase::Recovery(Recovery { end: max, before, delivered: 0, sent_before: self.track.octets, allowed: 0 });
    }

    /// RFC 6937 §3: as much is sent as arrives, less the part by which the window is to shrink.
    fn proportion(&mut self, una: Seq, delivered: u32, progress: bool) {
        let pipe = self.pipe(una);
        let (target, mss) = (self.repair.window.target(), u32::from(self.record.mss));
        let Phase::Recovery(recovery) = &mut self.repair.phase else { return };
        recovery.delivered = recovery.delivered.saturating_add(delivered);
        let sent = self.track.octets.wrapping_sub(recovery.sent_before);
        let more = if pipe > target {
            let due = u64::from(recovery.delivered) * u64::from(target) / u64::from(recovery.before.max(1));
            (due as u32).saturating_sub(sent)
        } else {
            let behind = recovery.delivered.saturating_sub(sent).max(delivered) + if progress { mss } else { 0 };
            behind.min(target - pipe)
        };
        recovery.allowed = pipe + more;
    }
}
