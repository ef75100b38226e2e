//! What a connection sends in a turn: first what is lost, then what is new.

use smoltcp::time::Instant as SocketInstant;

use crate::clock::Instant;

use super::{flow::Flow, live::Live, path::Way, sink::SegmentSink, wire::Wire};

/// Segments one connection may send in one turn before the others have theirs.
const TURN_SEGMENTS: u32 = 64;

impl Live {
    /// Sends what the socket has to send. Tells whether it has more, and when it wants to be polled again.
    pub(super) fn emit<S: SegmentSink>(
        &mut self,
        way: &mut Way,
        flow: Flow,
        sink: &mut S,
        now: Instant,
    ) -> (bool, Option<SocketInstant>) {
        self.track.now = now;
        let at = self.egress_time(now);
        let first = self.track.moved();
        let due = loop {
            let before = self.track.moved();
            if before.wrapping_sub(first) >= TURN_SEGMENTS {
                break None;
            }
            if let Some(hole) = self.due_again() {
                if !sink.has_room() || !self.resend(way, flow, hole, sink) {
                    break None;
                }
                self.active = now;
                continue;
            }
            let unsent = (self.record.snd_nxt.plus(self.written)).since(self.track.snd_max);
            if self.track.goes_over() && self.repair.hole(self.acknowledged()).is_some() {
                break None; // The socket would go on behind what is to be sent again.
            }
            if unsent > 0 {
                // Less than a segment would fit into what rounding adds.
                let told = self.told(unsent >= i32::from(self.record.mss));
                if told != self.told {
                    self.tell(&mut way.single, flow, told, sink, way.mtu);
                }
            }
            // Nagle's rule only while a whole segment waits: it keeps smoltcp from cutting small ones off a full queue, and does
            // not hold the end of a message back.
            let (over, whole) = (self.track.goes_over(), unsent >= i32::from(self.record.mss));
            self.socket().set_nagle_enabled(whole && !over);
            let interface = if over { &mut way.single } else { &mut way.bulk };
            // Asked first: half of all looks at a connection find nothing to send, and the answer is its next deadline.
            let due = interface.poll_at(at, &self.sockets);
            if due.is_none_or(|due| due > at) {
                break due;
            }
            let mut wire = Wire { packet: None, sink, track: &mut self.track, mtu: way.mtu };
            interface.poll_egress(at, &mut wire, &mut self.sockets);
            if self.track.moved() == before {
                break due;
            }
            self.active = now;
        };
        if self.track.passed_over != 0 && self.track.acked != self.rcv_nxt() && due.is_none() {
            self.announce(&mut way.single, flow, sink, way.mtu); // What was kept from the wire would have said it.
        }
        self.repair.flight = self.outstanding();
        if self.waiting_since.is_none() && self.repair.flight > 0 {
            self.waiting_since = Some(now);
        }
        let more = self.track.moved().wrapping_sub(first) >= TURN_SEGMENTS;
        (more || !sink.has_room(), due)
    }
}
