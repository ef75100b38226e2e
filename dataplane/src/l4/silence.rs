//! What silence means: a lost tail (RFC 8985 §7), the loss of everything (RFC 6298), or a peer that has no room.

use core::time::Duration;

use crate::clock::Instant;

use super::{
    flow::Flow,
    live::Live,
    repair::Phase,
    segment::{Header, flag},
    seq::Seq,
    sink::SegmentSink,
};

/// Shortest time after which silence is taken for a lost tail: above the delay of an ACK on a busy peer.
const PROBE_FLOOR: Duration = Duration::from_millis(20);
/// How long a peer may hold back the ACK of a single segment (RFC 8985 §7.2 says 200 ms; that is beyond the timer here).
const PEER_ACK_DELAY: Duration = Duration::from_millis(50);
/// Probes of the tail without progress; then the retransmission timer decides.
const MAX_PROBES: u8 = 1;
/// Retransmission timeout while no round trip was measured (RFC 6298 §2.1).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// What the timeout is longer than a round trip, at least. RFC 6298 §2.4 wants a second in all; Linux waits 200 ms beyond the round trip.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(125);
/// Longest timeout (RFC 6298 §2.5).
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// What to do about silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// Go on.
    Kept,
    /// Something is to be sent again, before the retransmission timer.
    Early,
    /// Something is to be sent again: the retransmission timer has fired.
    Timer,
}

impl Live {
    /// The retransmission timeout (RFC 6298 §2).
    fn timeout(&self) -> Duration {
        let one = if self.rtt_us == 0 {
            FIRST_TIMEOUT
        } else {
            self.srtt() + Duration::from_micros(4 * u64::from(self.rtt_var_us)).max(TIMEOUT_MARGIN)
        };
        (one * (1 << self.repair.timeouts.min(10))).min(MAX_TIMEOUT)
    }

    /// Everything but our FIN is acknowledged. smoltcp cannot send it again on duplicates, and not at all once it has taken to probing
    /// a closed window.
    pub(super) fn only_fin(&self) -> bool {
        self.outstanding() == 1 && self.socket_ref().send_queue() == 0
    }

    /// When the tail is probed.
    fn probe_at(&self, outstanding: u32) -> Option<Instant> {
        if self.rtt_us == 0 || self.repair.probes >= MAX_PROBES || matches!(self.repair.phase, Phase::Timeout { .. }) {
            return None;
        }
        let delayed = if outstanding <= u32::from(self.record.mss) { PEER_ACK_DELAY } else { Duration::ZERO };
        Some(self.waiting_since?.max(self.track.data_at) + (self.srtt() * 2).max(PROBE_FLOOR) + delayed)
    }

    /// When silence becomes suspicious, if anything is unacknowledged.
    pub(super) fn silence_deadline(&self) -> Option<Instant> {
        let outstanding = self.outstanding();
        if outstanding == 0 {
            return None;
        }
        let timer = self.waiting_since?.max(self.repair.resent_at) + self.timeout();
        if self.only_fin() || !self.peer_has_room() {
            return Some(timer);
        }
        let mut at = self.probe_at(outstanding).map_or(timer, |probe| probe.min(timer));
        if !self.repair.is_quiet() {
            let open = matches!(self.repair.phase, Phase::Open);
            at = self.repair.suspect.filter(|_| open).map_or(at, |(_, due)| at.min(due));
            let srtt = self.srtt();
            at = self.repair.board.doubtful_until(srtt + srtt / 4).map_or(at, |due| at.min(due));
        }
        Some(at)
    }

    /// Acts on silence: says what is to be sent again, or sends it where the socket cannot.
    pub(super) fn on_silence<S: SegmentSink>(&mut self, flow: Flow, sink: &mut S, now: Instant) -> Silence {
        if self.silence_deadline().is_none_or(|at| at > now) {
            return Silence::Kept;
        }
        let (una, max, srtt) = (self.acknowledged(), self.track.snd_max, self.srtt());
        if self.only_fin() || !self.peer_has_room() {
            return self.knock(flow, sink, now);
        }
        if self.repair.suspect.is_some_and(|(_, due)| due <= now) && matches!(self.repair.phase, Phase::Open) {
            if let Some((point, _)) = self.repair.suspect.take() {
                self.repair.board.lose(point);
            }
            self.step(una, (0, false), now);
            return Silence::Early;
        }
        if self.repair.board.lose_again(srtt + srtt / 4, now) {
            return Silence::Early;
        }
        if self.probe_at(self.outstanding()).is_some_and(|at| at <= now) {
            self.repair.probes += 1;
            self.probe_tail(una, max);
            return Silence::Early;
        }
        if self.waiting_since.is_none_or(|since| since.max(self.repair.resent_at) + self.timeout() > now) {
            return Silence::Kept;
        }
        let again = self.repair.timeouts > 0;
        self.repair.window.on_timeout(again);
        if again {
            self.repair.board.clear(); // What the peer said it has, it may have thrown away (RFC 2018 §8).
        }
        self.repair.timeouts = self.repair.timeouts.saturating_add(1);
        self.repair.resent_at = now; // Even if nothing can be sent, the next one waits for longer.
        self.repair.cut(max);
        Silence::Timer
    }

    /// The flight may have lost its end: that is sent again, and what the peer then says tells of any other loss (RFC 8985 §7.3).
    fn probe_tail(&mut self, una: Seq, max: Seq) {
        self.repair.forced = true;
        if matches!(self.repair.phase, Phase::Recovery(_)) {
            return self.repair.board.lose_resends();
        }
        let mss = u32::from(self.record.mss);
        // Of a flight that the peer's window no longer reaches around, the end that it does reach.
        let end = max.min(una.plus(self.room()));
        let from = if self.record.sack { una.max(end.minus(mss)) } else { una };
        self.repair.wanted = Some((from, end.min(from.plus(mss))));
        self.repair.tail = Some(max);
    }

    /// What a socket cannot do: sends a FIN alone again, or asks a peer without room how it is (RFC 9293 §3.8.6.1).
    fn knock<S: SegmentSink>(&mut self, flow: Flow, sink: &mut S, now: Instant) -> Silence {
        let ack = super::established::own_ack(self, flow);
        self.repair.timeouts = self.repair.timeouts.saturating_add(1);
        self.repair.resent_at = now;
        let (seq, flags) = if self.only_fin() {
            self.track.retransmits = self.track.retransmits.wrapping_add(1);
            (self.track.snd_max.minus(1), flag::FIN)
        } else {
            (self.acknowledged().minus(1), 0)
        };
        Header { seq, flags, ..ack }.emit(sink);
        Silence::Timer
    }
}
