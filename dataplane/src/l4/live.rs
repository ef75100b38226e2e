//! A connection with a socket: what arrives, what is sent, and when it comes to rest.

use smoltcp::{
    iface::{Interface, SocketHandle, SocketSet},
    socket::tcp,
    time::Duration as SocketDuration,
};

use crate::clock::Instant;

use super::{
    early::Early,
    hydrate::ack_delay,
    options::Congestion,
    path::Way,
    pool::CLASS_BYTES,
    record::Record,
    repair::Repair,
    segment::{Header, MAX_CONTROL, Segment, Selective, flag},
    seq::Seq,
    sink::SegmentSink,
    wire::{Gate, Track, Wire, socket_time},
};

/// Largest send or receive window that can lie between two segments of one connection (RFC 5961 §5.2 uses it to judge old ACKs).
const MAX_WINDOW: i32 = 4 << 20;

/// Whether a segment `offset` octets ahead of the next one expected can be the peer's: not beyond `window`, what it was told, nor older
/// than anything that can still be under way (RFC 9293 §3.10.7.4, first check; one just behind the window's end is a probe of it). Who
/// guesses addresses and ports alone changes nothing then: no window, no acknowledgement, no keep-alive timer.
pub(super) fn is_plausible(offset: i32, window: i32) -> bool {
    (-MAX_WINDOW..=window.max(0)).contains(&offset)
}

/// A socket, its buffers, and what must be known about them beside.
pub(super) struct Live {
    pub(super) sockets: SocketSet<'static>,
    pub(super) handle: SocketHandle,
    /// Buffer classes, receive and send.
    pub(super) classes: (u8, u8),
    pub(super) track: Track,
    /// As it was when the socket was made.
    pub(super) record: Record,
    /// Octets handed to the socket by the user.
    pub(super) written: u32,
    /// Octets taken from the socket by the user.
    pub(super) consumed: u32,
    /// End of the farthest segment received, in or out of order.
    rcv_high: Seq,
    /// The window field of the newest acceptable segment.
    pub(super) window: u16,
    /// The one the socket was told, which ends where congestion control does.
    pub(super) told: u16,
    /// Smoothed round-trip time, microseconds; 0 unknown.
    pub(super) rtt_us: u32,
    /// How far round trips are from that, microseconds.
    pub(super) rtt_var_us: u32,
    /// When the peer was last heard.
    pub(super) heard: Instant,
    /// Keep-alive probes sent since `heard`.
    pub(super) probes: u8,
    /// Since when sent data or a FIN waits for acknowledgement; reset by progress.
    pub(super) waiting_since: Option<Instant>,
    /// Since when the peer's FIN has been waited for on behalf of nobody.
    pub(super) fin_wait_since: Option<Instant>,
    /// Last segment in either direction.
    pub(super) active: Instant,
    pub(super) challenge_at: Instant,
    /// The user has closed the sending side, and the socket knows.
    pub(super) closed: bool,
    pub(super) close_told: bool,
    /// Since when the socket is in TIME-WAIT while the user has yet to read.
    pub(super) unread_since: Option<Instant>,
    /// Larger buffers wanted: receive, send.
    pub(super) wanted: (bool, bool),
    /// Start of the receive-rate measurement and octets consumed at that time.
    pub(super) rate: (Instant, u32),
    /// Longest packet on the path, in bytes, if a report about it came after the socket was made; else 0.
    pub(super) narrow: u16,
    /// Losses and congestion.
    pub(super) repair: Repair,
}

/// What a segment meant for the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// Taken in.
    Taken,
    /// Valid reset.
    Reset,
    /// To be answered by a challenge ACK and dropped (RFC 5961).
    Challenge,
    /// Nothing to do with it.
    Ignored,
}

impl Live {
    /// A closed socket with buffers of these classes. Large buffers are zero pages until touched.
    pub(super) fn new(rx: u8, tx: u8) -> Self {
        let ring = |class: u8| tcp::SocketBuffer::new(vec![0; CLASS_BYTES[usize::from(class)]]);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(tcp::Socket::new(ring(rx), ring(tx)));
        // The book-keeping is set when the socket is hydrated.
        Self {
            sockets,
            handle,
            classes: (rx, tx),
            track: Track::default(),
            record: Record::default(),
            written: 0,
            consumed: 0,
            rcv_high: Seq(0),
            window: 0,
            told: 0,
            rtt_us: 0,
            rtt_var_us: 0,
            heard: Instant::ZERO,
            probes: 0,
            waiting_since: None,
            fin_wait_since: None,
            active: Instant::ZERO,
            challenge_at: Instant::ZERO,
            closed: false,
            close_told: false,
            unread_since: None,
            wanted: (false, false),
            rate: (Instant::ZERO, 0),
            narrow: 0,
            repair: Repair::default(),
        }
    }

    /// Sets the book-keeping for a socket that is being hydrated from `record`.
    pub(super) fn restart(&mut self, record: Record, congestion: Congestion, now: Instant) {
        let capacity = CLASS_BYTES[usize::from(self.classes.0)] as u32;
        self.track = Track {
            now,
            snd_max: record.snd_nxt,
            acked: record.rcv_nxt,
            rcv_adv: record.rcv_adv,
            socket_edge: record.rcv_nxt, // Set below, once the scale is known.
            own_shift: record.own_shift,
            // As smoltcp derives it from the capacity; without the peer's consent nobody scales.
            socket_shift: if record.peer_shift.is_some() { (capacity.ilog2() + 1).saturating_sub(16) as u8 } else { 0 },
            edge_step: u32::from(record.mss).min(capacity / 2),
            segments: 0,
            retransmits: 0,
            octets: 0,
            passed_over: 0,
            next: record.snd_nxt,
            gate: Gate::Shut,
            again: None,
            first_only: false,
            probing: record.window == 0,
            early: Early::default(),
            data_at: now,
            timed: None,
        };
        let widest = u32::from(u16::MAX) << self.track.socket_shift;
        self.track.socket_edge = record.rcv_nxt.plus(capacity.min(widest));
        self.record = record;
        (self.written, self.consumed) = (0, 0);
        self.rcv_high = record.rcv_nxt;
        self.window = record.window;
        (self.rtt_us, self.rtt_var_us) = (record.rtt_us, record.rtt_us / 2);
        (self.heard, self.active, self.probes) = (now, now, 0);
        (self.waiting_since, self.fin_wait_since) = (None, None);
        (self.closed, self.close_told) = (false, false);
        self.unread_since = None;
        self.wanted = (false, false);
        self.rate = (now, 0);
        self.narrow = 0;
        self.repair.restart(congestion, record.mss);
        self.told = self.told(true);
    }

    pub(super) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub(super) fn socket_ref(&self) -> &tcp::Socket<'static> {
        self.sockets.get(self.handle)
    }

    pub(super) fn send_capacity(&self) -> usize {
        CLASS_BYTES[usize::from(self.classes.1)]
    }

    /// Octets acknowledged by the peer end here.
    pub(super) fn snd_una(&self) -> Seq {
        self.record.snd_nxt.plus(self.written).minus(self.socket_ref().send_queue() as u32)
    }

    /// Next octet expected, as far as data goes: a FIN is one more.
    pub(super) fn rcv_nxt(&self) -> Seq {
        let socket = self.socket_ref();
        let fin = matches!(
            socket.state(),
            tcp::State::CloseWait | tcp::State::LastAck | tcp::State::Closing | tcp::State::TimeWait
        );
        self.record.rcv_nxt.plus(self.consumed).plus(socket.recv_queue() as u32).plus(u32::from(fin))
    }

    /// The peer's last cumulative acknowledgement: [`Self::snd_una`], and the FIN once it is acknowledged.
    pub(super) fn acknowledged(&self) -> Seq {
        let socket = self.socket_ref();
        let fin_acked = matches!(socket.state(), tcp::State::FinWait2 | tcp::State::TimeWait);
        self.record.snd_nxt.plus(self.written).minus(socket.send_queue() as u32).plus(u32::from(fin_acked))
    }

    /// Sent and not acknowledged, a FIN included.
    pub(super) fn outstanding(&self) -> u32 {
        self.track.snd_max.since(self.acknowledged()).max(0) as u32
    }

    /// Takes a segment in, in the order of RFC 9293 §3.10.7.4. The packet may be altered.
    pub(super) fn arrive<S: SegmentSink>(
        &mut self,
        way: &mut Way,
        packet: &mut [u8],
        segment: &Segment,
        sink: &mut S,
        now: Instant,
    ) -> Arrival {
        let rcv_nxt = self.rcv_nxt();
        if segment.has(flag::RST) {
            return self.judge_reset(segment, rcv_nxt);
        }
        if segment.has(flag::SYN) {
            return Arrival::Challenge; // RFC 5961 §4.2
        }
        if !is_plausible(segment.seq.since(rcv_nxt), self.track.rcv_adv.since(rcv_nxt)) {
            return Arrival::Challenge;
        }
        if !segment.has(flag::ACK) {
            return Arrival::Ignored;
        }
        let una = self.acknowledged();
        if segment.ack.after(self.track.snd_max) || segment.ack.since(una) < -MAX_WINDOW {
            return Arrival::Challenge; // RFC 5961 §5.2
        }
        let empty = segment.len == 0 && !segment.has(flag::FIN);
        let tcp = &mut packet[segment.tcp_at..];
        let selective = if self.record.sack { Selective::read(tcp) } else { Selective::default() };
        let old = segment.ack.before(una);
        if old {
            // An old acknowledgement on data that came late. smoltcp would drop the data with it.
            if empty {
                return Arrival::Ignored;
            }
            tcp[8..12].copy_from_slice(&una.0.to_be_bytes());
        }
        let repeated = segment.ack == una && empty && segment.window == self.window;
        if !old && (!segment.seq.before(rcv_nxt) || segment.ack.after(una)) {
            if self.window == 0 && segment.window != 0 {
                self.repair.on_room(una, self.track.snd_max);
            }
            self.window = segment.window;
            self.track.probing = segment.window == 0;
        }
        let room = self.socket_ref().recv_capacity() - self.socket_ref().recv_queue();
        if segment.end().since(rcv_nxt) > room as i32 {
            tcp[13] &= !flag::FIN; // smoltcp would take the FIN and cut the data before it.
        } else if segment.end().after(self.rcv_high) {
            self.rcv_high = segment.end();
        }
        (self.heard, self.active, self.probes) = (now, now, 0);
        self.track.now = now;
        if !old && (!segment.seq.before(rcv_nxt) || self.socket_takes(segment, rcv_nxt)) {
            self.account(una, segment.ack, &selective, repeated && self.outstanding() > 0, now);
        }
        let told = self.told_after(segment.ack.max(una), true);
        tcp[14..16].copy_from_slice(&told.to_be_bytes());
        // What says nothing new to the socket would be counted by it, and answered by sending something again.
        if !empty || segment.ack.after(una) || told != self.told || segment.seq.before(rcv_nxt) {
            self.told = told;
            if self.socket_takes(segment, rcv_nxt) || self.take_ack_alone(way, segment, rcv_nxt, sink) {
                self.take(way, packet, segment, sink);
            }
        }
        self.on_progress(una, now);
        Arrival::Taken
    }

    /// Feeds a segment that the socket takes, or answers.
    fn take<S: SegmentSink>(&mut self, way: &mut Way, packet: &[u8], segment: &Segment, sink: &mut S) {
        let rcv_nxt = self.rcv_nxt();
        let (start, end) = (segment.seq, segment.seq.plus(segment.len));
        let told =
            self.record.sack && segment.len > 0 && (start.before(rcv_nxt) || self.socket_takes(segment, rcv_nxt));
        // What lies beyond the socket's window is not taken.
        let end = if end.after(self.track.socket_edge) { self.track.socket_edge } else { end };
        if told {
            self.track.early.note(start, end, rcv_nxt);
        }
        let before = self.track.segments;
        // A segment that was merged on its way counts as the many that it was: at once (RFC 9293 §3.8.6.3).
        let merged = segment.len > u32::from(self.record.mss);
        if merged {
            self.socket().set_ack_delay(Some(SocketDuration::ZERO));
        }
        self.feed(&mut way.single, packet, sink, way.mtu);
        if merged {
            self.socket().set_ack_delay(Some(ack_delay()));
        }
        if told && start.after(rcv_nxt) && self.track.segments == before && sink.has_room() {
            self.track.early.forget(start, end); // More holes than the socket can remember.
        }
        self.track.early.advance(self.rcv_nxt());
    }

    fn feed<S: SegmentSink>(&mut self, interface: &mut Interface, packet: &[u8], sink: &mut S, mtu: usize) {
        let at = socket_time(self.track.now);
        let mut wire = Wire { packet: Some(packet), sink, track: &mut self.track, mtu };
        interface.poll_ingress_single(at, &mut wire, &mut self.sockets);
    }

    /// Plays a segment without data from the peer to the socket; what it answers goes to `sink`.
    pub(super) fn play<S: SegmentSink>(
        &mut self,
        interface: &mut Interface,
        header: &Header,
        sink: &mut S,
        mtu: usize,
    ) {
        let mut packet = [0; MAX_CONTROL];
        let packet = &mut packet[..header.len()];
        header.write(packet, false);
        self.feed(interface, packet, sink, mtu);
    }

    fn on_progress(&mut self, una: Seq, now: Instant) {
        let new = self.acknowledged();
        if let Some((end, at)) = self.track.timed
            && !new.before(end)
        {
            let sample = ((now - at).as_micros() as u32).max(1);
            self.on_round_trip(sample);
            self.track.timed = None;
        }
        if new != una {
            self.repair.on_progress(new);
            self.waiting_since = Some(now);
        }
        if self.outstanding() == 0 {
            self.waiting_since = None;
        }
    }

    /// RFC 6298 §2.2 and §2.3.
    fn on_round_trip(&mut self, sample: u32) {
        if self.rtt_us == 0 {
            (self.rtt_us, self.rtt_var_us) = (sample, sample / 2);
        } else {
            let off = self.rtt_us.abs_diff(sample);
            self.rtt_var_us = (self.rtt_var_us / 4 * 3).saturating_add(off / 4);
            self.rtt_us = (self.rtt_us / 8 * 7).saturating_add(sample / 8).max(1);
        }
    }

    /// Everything is acknowledged in both directions and nothing is buffered: the socket can be replaced.
    pub(super) fn at_rest(&self) -> bool {
        let socket = self.socket_ref();
        socket.state() == tcp::State::Established
            && socket.send_queue() == 0
            && socket.recv_queue() == 0
            && self.outstanding() == 0
            && !self.rcv_high.after(self.rcv_nxt())
    }

    /// The record of a connection at rest.
    pub(super) fn to_record(&self) -> Record {
        Record {
            snd_nxt: self.snd_una(),
            rcv_nxt: self.rcv_nxt(),
            rcv_adv: self.track.rcv_adv,
            rtt_us: self.rtt_us,
            window: self.window,
            rx_class: self.classes.0,
            tx_class: self.classes.1,
            ..self.record
        }
    }
}
