//! What is acceptable: to this host by the rules against blind attackers, and to a socket.

use smoltcp::socket::tcp;

use super::{
    live::{Arrival, Live},
    path::Way,
    segment::{Header, Segment, flag},
    seq::Seq,
    sink::SegmentSink,
};

impl Live {
    /// RFC 5961 §3.2: exactly the next number resets; elsewhere in the window asks back; outside is noise. Once both sides have
    /// closed it is ignored (RFC 1337 §3): the user may still have to read what came before.
    pub(super) fn judge_reset(&self, segment: &Segment, rcv_nxt: Seq) -> Arrival {
        if self.socket_ref().state() == tcp::State::TimeWait {
            Arrival::Ignored
        } else if segment.seq == rcv_nxt {
            Arrival::Reset
        } else if segment.seq.after(rcv_nxt) && segment.seq.before(self.track.rcv_adv) {
            Arrival::Challenge
        } else {
            Arrival::Ignored
        }
    }

    /// The number of a reset that the peer believes: the next one, but not beyond its window, where an octet that probes it lies
    /// (RFC 5961 §3.2).
    pub(super) fn reset_seq(&self) -> Seq {
        let una = self.acknowledged();
        let edge = una.plus(self.room());
        if self.track.snd_max.after(edge) { edge } else { self.track.snd_max }
    }

    /// Whether the socket finds the segment acceptable (RFC 9293 §3.10.7.4, as smoltcp has it).
    pub(super) fn socket_takes(&self, segment: &Segment, rcv_nxt: Seq) -> bool {
        let edge = self.track.socket_edge;
        if segment.len == 0 {
            return segment.seq == rcv_nxt || segment.seq.after(rcv_nxt) && segment.seq.before(edge);
        }
        let (start, end) = (segment.seq, segment.seq.plus(segment.len));
        edge.after(rcv_nxt) && (!start.before(rcv_nxt) && start.before(edge) || end.after(rcv_nxt) && !end.after(edge))
    }

    /// Gives the socket the acknowledgement and the window of a segment whose data it will not take. "If the RCV.WND is zero, no
    /// segments will be acceptable, but special allowance should be made to accept valid ACKs" (RFC 9293 §3.10.7.4); smoltcp
    /// makes none. Its window is at times some octets narrower than the one announced: a peer that has used that one up speaks
    /// from beyond, and two ends that both wait for room would wait forever. True if the segment is still to be fed, for the answer.
    pub(super) fn take_ack_alone<S: SegmentSink>(
        &mut self,
        way: &mut Way,
        segment: &Segment,
        rcv_nxt: Seq,
        sink: &mut S,
    ) -> bool {
        let (seq, ack) = (segment.seq, segment.ack);
        if seq.before(rcv_nxt) || seq.after(self.track.rcv_adv) || ack.before(self.acknowledged()) {
            return true;
        }
        let header = self.peer_header(segment.flow);
        self.play(&mut way.single, &Header { ack: Some(ack), ..header }, sink, way.mtu);
        segment.len > 0 || segment.has(flag::FIN)
    }
}
