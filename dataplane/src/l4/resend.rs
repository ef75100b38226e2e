//! How a smoltcp socket is made to send again exactly what is lost.
//!
//! It can be made to start over at the first unacknowledged octet, as after its timer, and then sends everything from there on. What is
//! not lost is kept from the wire ([`wire`](super::wire)), until the socket has come past what is. Meanwhile its place in the sequence
//! space is behind what was sent; acknowledgements get the right number on the way out.

use smoltcp::{iface::Interface, time::Duration as SocketDuration};

use super::{
    flow::Flow,
    live::Live,
    path::Way,
    scoreboard::Block,
    segment::Header,
    seq::Seq,
    sink::SegmentSink,
    wire::{Gate, Wire, socket_time},
};

/// Beyond any deadline of a socket, on its own clock.
const FAR: SocketDuration = SocketDuration::from_secs(86_400);
/// Polls until the retransmission timer of a socket must have fired: an acknowledgement may be due before it.
const POLLS: usize = 2;
/// Duplicates that make smoltcp send its first segment again, and one to be counted against.
const DUPLICATES: usize = 4;

impl Live {
    /// One step of the socket towards sending `hole` again: a segment sent, or passed over. False if it does not move.
    pub(super) fn resend<S: SegmentSink>(&mut self, way: &mut Way, flow: Flow, hole: Block, sink: &mut S) -> bool {
        let told = self.told(true);
        if told != self.told {
            self.tell(&mut way.single, flow, told, sink, way.mtu);
        }
        self.socket().set_nagle_enabled(false);
        let una = self.acknowledged();
        self.track.next = self.track.next.max(una);
        let at = self.track.next;
        if !self.go_on(hole, at, sink, way) && !self.start_over(hole, sink, way) {
            self.gate(hole, una);
            self.first_again(way, flow, sink);
            if hole.0 != una && !self.start_over(hole, sink, way) {
                return false;
            }
        }
        self.track.gate = Gate::Shut;
        let mut moved = self.track.next != at;
        if let Some((start, end, mark)) = self.track.again.take() {
            let (now, block) = (self.track.now, (start.max(hole.0), end.min(hole.1)));
            if block.0.before(block.1) {
                self.repair.on_resent(block, mark, now);
                moved = true;
            }
        }
        moved
    }

    /// Has the socket send the segment at its place, if that is not behind the hole. False if it does not.
    fn go_on<S: SegmentSink>(&mut self, hole: Block, at: Seq, sink: &mut S, way: &mut Way) -> bool {
        if at.after(hole.0) {
            return false;
        }
        self.gate(hole, at);
        self.poll(&mut way.single, SocketDuration::ZERO, sink, way.mtu);
        self.track.next != at || self.track.again.is_some()
    }

    /// Has the socket send its first segment and go on from there. False if it does not.
    fn start_over<S: SegmentSink>(&mut self, hole: Block, sink: &mut S, way: &mut Way) -> bool {
        let (una, at) = (self.acknowledged(), self.track.next);
        self.gate(hole, una);
        self.track.next = una;
        for _ in 0..POLLS {
            self.poll(&mut way.single, FAR, sink, way.mtu);
            if self.track.next != una {
                return true;
            }
        }
        self.track.next = at;
        false
    }

    /// Opens the gate if the next segment is one to send again.
    fn gate(&mut self, hole: Block, next: Seq) {
        let end = next.plus(u32::from(self.record.mss));
        self.track.again = None;
        self.track.gate = if end.after(hole.0) && next.before(hole.1) { Gate::Open } else { Gate::Shut };
    }

    fn poll<S: SegmentSink>(&mut self, interface: &mut Interface, ahead: SocketDuration, sink: &mut S, mtu: usize) {
        let at = socket_time(self.track.now) + ahead;
        let mut wire = Wire { packet: None, sink, track: &mut self.track, mtu };
        interface.poll_egress(at, &mut wire, &mut self.sockets);
    }

    /// A socket whose timer does not run cannot be made to start over. It sends its first segment again on three duplicates whatever its
    /// timer, which then runs.
    fn first_again<S: SegmentSink>(&mut self, way: &mut Way, flow: Flow, sink: &mut S) {
        let header = self.peer_header(flow);
        // A change of window and back clears the socket's count of duplicates, which must pass through exactly three.
        self.play(&mut way.single, &Header { window: header.window ^ 1, ..header }, sink, way.mtu);
        for _ in 0..DUPLICATES {
            self.play(&mut way.single, &header, sink, way.mtu);
        }
        self.track.first_only = true;
        self.poll(&mut way.single, SocketDuration::ZERO, sink, way.mtu);
        self.track.first_only = false;
    }
}
