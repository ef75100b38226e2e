//! The user's side of a connection with a socket: what is written and read, and the windows and buffer sizes that follow.

use core::time::Duration;

use smoltcp::{iface::Interface, socket::tcp};

use crate::clock::Instant;

use super::{
    flow::Flow,
    live::Live,
    pool::{CLASS_BYTES, largest_class},
    segment::Header,
    sink::SegmentSink,
};

impl Live {
    pub(super) fn peer_has_room(&self) -> bool {
        self.window != 0
    }

    /// Appends to the send queue. Tells how much fitted, and whether the queue turned out to be what limits the sender: then
    /// nothing is taken until everything is acknowledged and a larger buffer is in place.
    pub(super) fn queue(&mut self, data: &[&[u8]], limit: usize) -> (usize, bool) {
        if self.wanted.1 {
            return (0, true);
        }
        let mut taken = 0;
        for part in data {
            let sent = self.socket().send_slice(part).unwrap_or(0);
            self.written = self.written.wrapping_add(sent as u32);
            taken += sent;
            if sent < part.len() {
                break;
            }
        }
        if taken == 0 && self.classes.1 < largest_class(limit) {
            let flight = self.outstanding();
            if flight as usize >= self.send_capacity() / 4 * 3 {
                self.wanted.1 = true;
                self.flight = flight;
            }
        }
        (taken, self.wanted.1)
    }

    /// Moves received octets out.
    pub(super) fn receive(&mut self, into: &mut [u8], now: Instant) -> usize {
        // Not `may_recv`: octets that arrived before a reset or the last FIN are still the user's.
        let taken = self.socket().recv_slice(into).unwrap_or(0);
        self.consumed = self.consumed.wrapping_add(taken as u32);
        if taken > 0 {
            self.measure_rate(now);
        }
        taken
    }

    /// Whether the freed room is worth an ACK of its own that smoltcp would not send: half the buffer, or the first
    /// segment after the window had closed (RFC 9293 §3.8.6.2.2).
    pub(super) fn window_update_due(&self) -> bool {
        let socket = self.socket_ref();
        if !matches!(socket.state(), tcp::State::Established | tcp::State::FinWait1 | tcp::State::FinWait2) {
            return false;
        }
        let rcv_nxt = self.rcv_nxt();
        let room = (socket.recv_capacity() - socket.recv_queue()) as i32;
        let limit = i32::from(u16::MAX) << self.record.own_shift;
        let known = self.track.rcv_adv.since(rcv_nxt);
        let gain = room.min(limit) - known;
        gain >= socket.recv_capacity() as i32 / 2
            || known < 2 * i32::from(self.record.mss) && gain >= self.track.edge_step as i32
    }

    /// Makes the socket state its acknowledgement and window at once.
    pub(super) fn announce<S: SegmentSink>(&mut self, interface: &mut Interface, flow: Flow, sink: &mut S, mtu: usize) {
        let header = Header { seq: self.rcv_nxt().minus(1), garbage: true, ..self.peer_header(flow) };
        self.play(interface, &header, sink, mtu);
    }

    /// Notes how fast the user reads: a whole window in a round trip means that the window is what limits the sender.
    pub(super) fn measure_rate(&mut self, now: Instant) {
        let span = Duration::from_micros(u64::from(self.rtt_us.clamp(1_000, 500_000)));
        if now - self.rate.0 > span {
            self.rate = (now, self.consumed);
        } else if self.consumed.wrapping_sub(self.rate.1) as usize >= CLASS_BYTES[usize::from(self.classes.0)] / 2 {
            self.wanted.0 = true;
        }
    }
}
