//! The user's side of a connection with a socket: what is written and read, and the windows and buffer sizes that follow.

use core::time::Duration;

use smoltcp::{
    iface::Interface,
    socket::tcp,
    time::{Duration as SocketDuration, Instant as SocketInstant},
};

use crate::clock::Instant;

use super::{
    flow::Flow,
    live::Live,
    pool::{CLASS_BYTES, largest_class},
    record::MAX_SHIFT,
    segment::Header,
    seq::Seq,
    sink::SegmentSink,
    wire::{socket_time, wall_time},
};

/// How far a socket in TIME-WAIT sees time go on while octets wait to be read, on its own clock: long enough for a delayed ACK.
const HELD: SocketDuration = SocketDuration::from_secs(2);

impl Live {
    pub(super) fn peer_has_room(&self) -> bool {
        self.window != 0
    }

    /// Octets that the peer has room for.
    pub(super) fn room(&self) -> u32 {
        u32::from(self.window) << self.record.peer_shift.unwrap_or(0)
    }

    /// Tells the socket that the user has closed, once all that is queued fits into the window it knows: in LAST-ACK and CLOSING smoltcp
    /// takes no window update.
    pub(super) fn close_if_possible(&mut self) {
        if !self.closed || self.close_told {
            return;
        }
        let window = u32::from(self.told) << self.told_shift();
        let end = self.record.snd_nxt.plus(self.written);
        if !end.after(self.snd_una().plus(window)) || self.socket_ref().send_queue() == 0 {
            self.close_told = true;
            self.socket().close();
        }
    }

    /// The time that the socket is told when it may send. It throws received octets away when its TIME-WAIT of 10 s is over, so
    /// time stands still for it before that until they are read.
    pub(super) fn egress_time(&mut self, now: Instant) -> SocketInstant {
        let socket = self.socket_ref();
        if socket.state() == tcp::State::TimeWait && socket.can_recv() {
            self.unread_since.get_or_insert(now);
        }
        let still = self.unread_since.map(|since| socket_time(since) + HELD);
        still.map_or(socket_time(now), |still| still.min(socket_time(now)))
    }

    /// When to look at the socket again if it says `due`.
    pub(super) fn socket_deadline(&self, due: Option<SocketInstant>, now: Instant) -> Option<Instant> {
        if self.unread_since.is_some_and(|since| socket_time(since) + HELD < socket_time(now)) {
            return None; // Until the user reads.
        }
        // "Now" although nothing was sent just before: smoltcp is waiting for a window. Look again, but do not spin.
        Some(wall_time(due?).max(now + Duration::from_millis(1)))
    }

    /// A segment as the peer would send it now, without data: base of what is played.
    pub(super) fn peer_header(&self, flow: Flow) -> Header {
        let from =
            Flow { local: flow.remote, remote: flow.local, local_port: flow.remote_port, remote_port: flow.local_port };
        Header::ack(from, self.rcv_nxt(), self.acknowledged(), self.told)
    }

    /// The scale of the windows that the socket is told: the peer's, or a finer one that still reaches farther than any buffer.
    pub(super) fn told_shift(&self) -> u8 {
        self.record.peer_shift.unwrap_or(0).min(MAX_SHIFT)
    }

    /// The window that the socket is to know: the peer's, or up to where congestion control allows: rounded to the scale, `up` or, if
    /// nothing may be sent, down.
    pub(super) fn told(&self, up: bool) -> u16 {
        self.told_after(self.acknowledged(), up)
    }

    /// The same once everything before `una` is acknowledged.
    pub(super) fn told_after(&self, una: Seq, up: bool) -> u16 {
        let (shift, peer) = (self.told_shift(), self.room());
        let allowance = self.allowance(una);
        let limit = self.track.snd_max.since(una).max(0) as u32 + allowance;
        if limit >= peer {
            return (peer >> shift).min(u32::from(u16::MAX)) as u16;
        }
        let rounding = if up || allowance > 0 { (1 << shift) - 1 } else { 0 };
        // Never 0: that would be a peer without room.
        ((limit + rounding) >> shift).clamp(1, u32::from(u16::MAX)) as u16
    }

    /// Tells the socket a window.
    pub(super) fn tell<S: SegmentSink>(
        &mut self,
        interface: &mut Interface,
        flow: Flow,
        told: u16,
        sink: &mut S,
        mtu: usize,
    ) {
        self.told = told;
        let header = self.peer_header(flow);
        self.play(interface, &header, sink, mtu);
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

    /// Throws received octets away.
    pub(super) fn discard(&mut self) {
        // A ring has at most two parts.
        for _ in 0..2 {
            let thrown = self.socket().recv(|part| (part.len(), part.len())).unwrap_or(0);
            self.consumed = self.consumed.wrapping_add(thrown as u32);
        }
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

    /// When to give up waiting for acknowledgement. A connection with a user goes on as long as its peer shows any sign of
    /// life (a closed window may last); one without must make progress.
    pub(super) fn give_up_at(&self, attached: bool, user_timeout: Duration) -> Option<Instant> {
        let since = self.waiting_since?;
        Some(if attached { since.max(self.heard) } else { since } + user_timeout)
    }
}
