//! What smoltcp's sender lacks: counting acknowledged octets (RFC 3465), partial acknowledgements (RFC 6582), and the loss
//! probe (after RFC 8985 §7).
//!
//! smoltcp sends one segment again after three duplicate ACKs and leaves recovery with the next new acknowledgement, so a second
//! loss in the same window waits for the retransmission timer. And it does not notice a lost tail before that timer either. Both are
//! cured from outside: three duplicate ACKs are played to it whenever the segment after the last acknowledged one is to
//! be sent again.

use core::time::Duration;

use smoltcp::iface::Interface;

use crate::clock::Instant;

use super::{
    flow::Flow,
    live::Live,
    segment::{Header, Segment, flag},
    seq::Seq,
    sink::SegmentSink,
};

/// Duplicate ACKs that mean a loss (RFC 5681 §3.2).
const DUPLICATE_THRESHOLD: u8 = 3;
/// Shortest time after which silence is taken for a loss: above the delay of an ACK on a busy peer.
const PROBE_FLOOR: Duration = Duration::from_millis(20);
/// How long a peer may hold back the ACK of a single segment (RFC 8985 §7.2 says 200 ms; that is beyond the timer here).
const PEER_ACK_DELAY: Duration = Duration::from_millis(50);
/// Shortest time after which a FIN alone is sent again from here; the timer is usually faster.
const FIN_PATIENCE: Duration = Duration::from_secs(1);
/// Doublings of that time.
const MAX_BACKOFF: u8 = 5;
/// Probes without progress; then the retransmission timer decides.
const MAX_PROBES: u8 = 1;

/// Steps in which one acknowledgement is announced to the socket at most.
const MAX_ACK_STEPS: u32 = 16;

/// Where loss recovery stands.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Repair {
    /// Everything sent when the loss was found; acknowledgements below it are partial.
    recover: Option<Seq>,
    /// Highest point sent when the retransmission timer fired: below it smoltcp resends in order and needs no help.
    resent: Option<Seq>,
    duplicates: u8,
    probes: u8,
    /// Retransmissions seen so far.
    retransmits: u32,
}

impl Repair {
    /// New data was acknowledged.
    pub(super) fn on_progress(&mut self) {
        self.duplicates = 0;
        self.probes = 0;
    }
}

impl Live {
    /// Announces an acknowledgement of several segments in steps of one. smoltcp opens its congestion window per ACK, not per
    /// octet, and would grow at half the rate or less when the receiver acknowledges every second segment or a whole batch
    /// (RFC 3465 asks for octets).
    pub(super) fn split_ack<S: SegmentSink>(
        &mut self,
        interface: &mut Interface,
        segment: &Segment,
        una: Seq,
        sink: &mut S,
        mtu: usize,
    ) {
        let span = segment.ack.since(una).max(0) as u32;
        let step = u32::from(self.record.mss).max(span / MAX_ACK_STEPS);
        if span <= step {
            return;
        }
        // Not a closed window: with octets still queued it would start the socket's window probes, and these would outlive the rest.
        let header = Header { window: self.window.max(1), ..self.peer_header(segment.flow) };
        for at in (step..span).step_by(step as usize) {
            self.play(interface, &Header { ack: Some(una.plus(at)), ..header }, sink, mtu);
        }
    }

    /// After a segment was taken in: finds losses and has the next hole sent again.
    pub(super) fn mend<S: SegmentSink>(
        &mut self,
        interface: &mut Interface,
        flow: Flow,
        duplicate: bool,
        sink: &mut S,
        mtu: usize,
    ) {
        let una = self.acknowledged();
        if self.repair.resent.is_some_and(|end| !una.before(end)) {
            self.repair.resent = None;
        }
        if duplicate {
            self.repair.duplicates = self.repair.duplicates.saturating_add(1);
            if self.repair.duplicates == DUPLICATE_THRESHOLD && self.repair.recover.is_none() {
                self.repair.recover = Some(self.track.snd_max);
            }
            return;
        }
        let Some(recover) = self.repair.recover else { return };
        if !una.before(recover) {
            self.repair.recover = None;
        } else if self.repair.duplicates == 0 && self.repair.resent.is_none() && self.socket_ref().send_queue() > 0 {
            self.resend(interface, flow, sink, mtu);
        }
    }

    /// Plays duplicate ACKs until the socket sends its first unacknowledged segment again.
    fn resend<S: SegmentSink>(&mut self, interface: &mut Interface, flow: Flow, sink: &mut S, mtu: usize) {
        let header = self.peer_header(flow);
        // A change of window and back clears the socket's count of duplicates, which must pass through exactly three.
        self.play(interface, &Header { window: header.window ^ 1, ..header }, sink, mtu);
        for _ in 0..=DUPLICATE_THRESHOLD {
            self.play(interface, &header, sink, mtu);
        }
        self.repair.recover.get_or_insert(self.track.snd_max);
    }

    /// Everything but our FIN is acknowledged. smoltcp cannot send it again on duplicates, and not at all once it has taken to probing
    /// a closed window.
    fn only_fin(&self) -> bool {
        self.outstanding() == 1 && self.socket_ref().send_queue() == 0
    }

    /// When silence becomes suspicious, if anything is unacknowledged that the peer has room for.
    pub(super) fn probe_deadline(&self) -> Option<Instant> {
        let (outstanding, queued) = (self.outstanding(), self.socket_ref().send_queue());
        if outstanding == 0 {
            return None;
        }
        if outstanding == 1 && queued == 0 {
            let patience = FIN_PATIENCE.max(Duration::from_micros(3 * u64::from(self.rtt_us)));
            let since = self.waiting_since?.max(self.track.data_at);
            return Some(since + patience * (1 << self.repair.probes.min(MAX_BACKOFF)));
        }
        if queued == 0 || self.rtt_us == 0 || !self.peer_has_room() || self.repair.probes >= MAX_PROBES {
            return None;
        }
        let silent_since = self.waiting_since?.max(self.track.data_at);
        let delayed = if outstanding <= u32::from(self.record.mss) { PEER_ACK_DELAY } else { Duration::ZERO };
        let patience = Duration::from_micros(2 * u64::from(self.rtt_us)).max(PROBE_FLOOR) + delayed;
        Some(silent_since + patience)
    }

    /// Sends the first unacknowledged segment again if the peer has been silent for too long. True if it did.
    pub(super) fn probe<S: SegmentSink>(
        &mut self,
        interface: &mut Interface,
        flow: Flow,
        sink: &mut S,
        (now, mtu): (Instant, usize),
    ) -> bool {
        if self.probe_deadline().is_none_or(|at| at > now) {
            return false;
        }
        self.repair.probes = self.repair.probes.saturating_add(1);
        self.track.now = now;
        if self.only_fin() {
            self.track.data_at = now;
            let fin = Header { flags: flag::FIN, ..super::established::own_ack(self, flow) };
            return Header { seq: self.track.snd_max.minus(1), ..fin }.emit(sink);
        }
        self.resend(interface, flow, sink, mtu);
        true
    }

    /// After sending: retransmissions that nobody here asked for come from the retransmission timer. Returns how many there were,
    /// and whether it was the timer.
    pub(super) fn note_retransmits(&mut self) -> (u32, bool) {
        let count = self.track.retransmits.wrapping_sub(self.repair.retransmits);
        self.repair.retransmits = self.track.retransmits;
        let timer = count > 0 && self.repair.recover.is_none() && self.repair.resent.is_none();
        if timer {
            self.repair.resent = Some(self.track.snd_max);
        }
        (count, timer)
    }
}
