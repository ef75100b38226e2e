//! Opening connections: SYNs answered and sent, cookies, retransmission with back-off.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::verdict::DropReason;

use super::{
    conn::{ConnId, Opening, State},
    fate::{Room, Stray},
    flow::Flow,
    isn::COOKIE_LIFETIME,
    pool::FIRST_CLASS,
    record::{End, Idle, Record},
    segment::{Header, Segment, SynOptions, flag},
    seq::Seq,
    sink::SegmentSink,
    tcp::{Listen, Outcome, Tcp},
};

/// Waits after each SYN or SYN-ACK: 1, 2, 4 s (RFC 6298 §2.1 and §5.5), then it is given up.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const PASSIVE_TRIES: u8 = 4;
const ACTIVE_TRIES: u8 = 6;
/// Connections that may wait to be accepted however low the limit on half-open ones is set to have cookies all the time.
const LEAST_BACKLOG: usize = 64;
/// Ports tried before an open fails for want of one.
const PORT_TRIES: u32 = 1_024;

/// Why an open could not even start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// Local and remote address are of different families, or one cannot be an end of a connection.
    BadAddress,
    /// `max_connections` is reached.
    ConnectionLimit,
    /// No local port is free towards this peer.
    NoPort,
}

impl core::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BadAddress => "the addresses cannot be joined by a connection",
            Self::ConnectionLimit => "max_connections is reached",
            Self::NoPort => "no local port is free towards this peer",
        })
    }
}

impl core::error::Error for ConnectError {}

impl Tcp {
    /// A segment of no connection: a SYN for a listener, the answer to a cookie, or a stray.
    pub(super) fn unmatched<S: SegmentSink>(
        &mut self,
        packet: &mut [u8],
        segment: &Segment,
        listen: &impl Listen,
        sink: &mut S,
    ) -> Outcome {
        match self.stray(segment, listen) {
            Stray::Syn(listener) => self.on_syn(segment, listener, None, sink),
            Stray::Return(listener, options) => self.open_by_cookie(packet, segment, options, listener, sink),
            Stray::Refused { reason, reset } => {
                if reset {
                    self.core.stray_reset(segment, sink);
                }
                Outcome::Dropped(reason)
            }
        }
    }

    /// A SYN for a listener. `above` is a number that the new initial sequence number must exceed.
    pub(super) fn on_syn<S: SegmentSink>(
        &mut self,
        segment: &Segment,
        listener: u32,
        above: Option<Seq>,
        sink: &mut S,
    ) -> Outcome {
        match self.room() {
            Room::Yes => {}
            Room::No(reason) => return Outcome::Dropped(reason),
            Room::Cookie => {
                self.send_cookie(segment, sink);
                return Outcome::Consumed;
            }
        }
        let core = &mut self.core;
        let mut isn = core.numbers.initial(&segment.flow, core.now);
        if let Some(above) = above.filter(|&above| !isn.after(above)) {
            isn = above.plus(64_000); // RFC 6191 §2: beyond anything of the old connection still under way.
        }
        let opening = Opening { isn, peer_isn: segment.seq, options: segment.options, sent: 1, since: core.now };
        core.half_open += 1;
        core.stats.half_open.add(1);
        let id = self.conns.insert(segment.flow, listener, State::SynReceived { opening, active: false });
        self.send_syn_ack(id.index, &opening, sink);
        let conn = self.conns.at(id.index);
        conn.arm(id.index, &mut self.core.wheel, self.core.now + FIRST_WAIT);
        Outcome::Consumed
    }

    fn send_syn_ack<S: SegmentSink>(&mut self, index: u32, opening: &Opening, sink: &mut S) {
        let flow = self.conns.at(index).flow;
        let offered = opening.options;
        let options = SynOptions {
            mss: Some(self.core.own_mss(flow.local.is_ipv4())),
            shift: offered.shift.map(|_| self.core.own_shift()),
            sack: offered.sack,
        };
        let ack = Header::ack(flow, opening.isn, opening.peer_isn.plus(1), self.core.first_window());
        self.core.send(Header { flags: flag::SYN, options, ..ack }, sink);
    }

    /// RFC 4987 §3.6: everything that must be remembered goes into the sequence number.
    fn send_cookie<S: SegmentSink>(&mut self, segment: &Segment, sink: &mut S) {
        let core = &mut self.core;
        let cookie = core.numbers.cookie(segment, core.now);
        let options = SynOptions { mss: Some(core.own_mss(segment.flow.local.is_ipv4())), shift: None, sack: false };
        let ack = Header::ack(segment.flow, cookie, segment.seq.plus(1), core.first_window());
        core.cookies_until = Some(core.now + COOKIE_LIFETIME);
        core.stats.cookies_sent.add(1);
        // Not queued if there is no frame: under a flood the peer's retransmission is the better queue.
        if (Header { flags: flag::SYN, options, ..ack }).emit(sink) {
            core.stats.segments_out.add(1);
        }
    }

    fn open_by_cookie<S: SegmentSink>(
        &mut self,
        packet: &mut [u8],
        segment: &Segment,
        options: SynOptions,
        listener: u32,
        sink: &mut S,
    ) -> Outcome {
        if self.conns.is_full() {
            self.core.stray_reset(segment, sink);
            return Outcome::Dropped(DropReason::TcpConnectionLimit);
        }
        let opening = Opening {
            isn: segment.ack.minus(1),
            peer_isn: segment.seq.minus(1),
            options,
            sent: 2, // No round trip was measured.
            since: self.core.now,
        };
        self.core.half_open += 1;
        self.core.stats.half_open.add(1);
        self.core.stats.cookies_accepted.add(1);
        let id = self.conns.insert(segment.flow, listener, State::SynReceived { opening, active: false });
        self.syn_received_input(id.index, opening, false, packet, segment, sink)
    }

    /// SYN-RECEIVED (RFC 9293 §3.10.7.4).
    pub(super) fn syn_received_input<S: SegmentSink>(
        &mut self,
        index: u32,
        opening: Opening,
        active: bool,
        packet: &mut [u8],
        segment: &Segment,
        sink: &mut S,
    ) -> Outcome {
        let rcv_nxt = opening.peer_isn.plus(1);
        if segment.has(flag::SYN) && segment.seq == opening.peer_isn {
            if !active {
                self.send_syn_ack(index, &opening, sink); // Our answer was lost, or theirs of a simultaneous open.
                return Outcome::Consumed;
            }
        } else {
            let offset = segment.seq.since(rcv_nxt);
            if offset < 0 || offset > i32::from(self.core.first_window()) {
                return Outcome::Dropped(DropReason::TcpOutOfWindow);
            }
            if segment.has(flag::RST) {
                if segment.seq == rcv_nxt {
                    self.core.stats.resets_received.add(1);
                    self.end(index, End::Refused);
                }
                return Outcome::Consumed;
            }
        }
        if !segment.has(flag::ACK) {
            return Outcome::Dropped(DropReason::TcpOutOfWindow);
        }
        if segment.ack != opening.isn.plus(1) {
            self.core.stray_reset(segment, sink);
            return Outcome::Dropped(DropReason::TcpNoConnection);
        }
        if !active && self.core.accepts.len() >= self.core.options.half_open_limit.max(LEAST_BACKLOG) {
            self.core.stats.accept_overflows.add(1);
            self.core.stray_reset(segment, sink);
            self.end(index, End::Aborted);
            return Outcome::Dropped(DropReason::TcpConnectionLimit);
        }
        let idle = self.establish(index, &opening, segment, false);
        if active {
            self.conns.at(index).wake_writer();
        } else {
            self.core.half_open -= 1;
            self.core.stats.half_open.sub(1);
            self.core.stats.passive_opens.add(1);
            let conn = self.conns.at(index);
            conn.attached = true;
            self.core.accepts.push_back(ConnId { index, generation: conn.generation });
        }
        if segment.len > 0 || segment.has(flag::FIN) {
            return self.idle_input(index, idle, packet, segment, sink);
        }
        Outcome::Consumed
    }

    /// The handshake is complete: the connection rests until somebody has something to say.
    fn establish(&mut self, index: u32, opening: &Opening, segment: &Segment, ack_due: bool) -> Idle {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let rcv_nxt = opening.peer_isn.plus(1);
        let scaled = opening.options.shift.is_some();
        let path_mss = core.path_mss(conn.flow.remote);
        // The window of a SYN or SYN-ACK is not scaled (RFC 7323 §2.2); what is kept here will be.
        let shift = if segment.has(flag::SYN) { opening.options.shift.unwrap_or(0) } else { 0 };
        let rtt = if opening.sent == 1 { ((core.now - opening.since).as_micros() as u32).max(1) } else { 0 };
        let record = Record {
            snd_nxt: opening.isn.plus(1),
            rcv_nxt,
            rcv_adv: rcv_nxt.plus(u32::from(core.first_window())),
            rtt_us: rtt,
            window: segment.window >> shift,
            mss: opening.options.mss.unwrap_or(536).clamp(64, path_mss), // RFC 9293 §3.7.1: 536 if none was given
            peer_shift: opening.options.shift,
            own_shift: if scaled { core.own_shift() } else { 0 },
            sack: opening.options.sack,
            rx_class: FIRST_CLASS,
            tx_class: FIRST_CLASS,
        };
        let idle = Idle { record, heard: core.now, challenge_at: core.now, probes: 0, ack_due };
        conn.state = State::Idle(idle);
        core.stats.idle.add(1);
        if let Some((id, _)) = conn.timer.take() {
            core.wheel.cancel(id);
        }
        if let Some(after) = core.options.keepalive {
            conn.arm(index, &mut core.wheel, core.now + after);
        }
        core.touch(conn, index);
        idle
    }

    /// Starts to open a connection from `local`; the port is chosen such that the answers belong to this core.
    pub(super) fn connect(&mut self, local: IpAddr, remote: SocketAddr) -> Result<ConnId, ConnectError> {
        let usable = |address: IpAddr| !address.is_unspecified() && !address.is_multicast();
        if local.is_ipv4() != remote.ip().is_ipv4() || !usable(local) || !usable(remote.ip()) || remote.port() == 0 {
            return Err(ConnectError::BadAddress);
        }
        if self.conns.is_full() {
            return Err(ConnectError::ConnectionLimit);
        }
        let flow = self.choose_port(local, remote).ok_or(ConnectError::NoPort)?;
        let core = &mut self.core;
        let isn = core.numbers.initial(&flow, core.now);
        let opening = Opening { isn, peer_isn: Seq(0), options: SynOptions::default(), sent: 0, since: core.now };
        let id = self.conns.insert(flow, 0, State::SynSent(opening));
        let conn = self.conns.at(id.index);
        conn.attached = true;
        self.core.touch(conn, id.index);
        self.core.stats.active_opens.add(1);
        Ok(id)
    }

    fn choose_port(&mut self, local: IpAddr, remote: SocketAddr) -> Option<Flow> {
        let (first, last) = (*self.core.options.ports.start(), *self.core.options.ports.end());
        let (core, cores) = self.core.options.core;
        let span = u32::from(last.checked_sub(first)?) + 1;
        let mut flow = Flow { local, remote: remote.ip(), local_port: 0, remote_port: remote.port() };
        let start = self.core.numbers.port_offset(&flow);
        (0..span.min(PORT_TRIES)).find_map(|_| {
            flow.local_port = first + (start.wrapping_add(self.core.ports_tried) % span) as u16;
            self.core.ports_tried = self.core.ports_tried.wrapping_add(1);
            (flow.local_port != 0 && flow.owner(cores) == core && self.conns.find(&flow).is_none()).then_some(flow)
        })
    }

    fn send_syn<S: SegmentSink>(&mut self, flow: Flow, opening: &Opening, sink: &mut S) {
        let options = SynOptions {
            mss: Some(self.core.own_mss(flow.local.is_ipv4())),
            shift: Some(self.core.own_shift()),
            sack: true,
        };
        let header = Header::ack(flow, opening.isn, Seq(0), self.core.first_window());
        self.core.send(Header { ack: None, flags: flag::SYN, options, ..header }, sink);
    }

    /// SYN-SENT (RFC 9293 §3.10.7.3).
    pub(super) fn syn_sent_input<S: SegmentSink>(
        &mut self,
        index: u32,
        mut opening: Opening,
        segment: &Segment,
        sink: &mut S,
    ) -> Outcome {
        if segment.has(flag::ACK) && segment.ack != opening.isn.plus(1) {
            self.remembered(index, opening.sent, segment, sink);
            return Outcome::Dropped(DropReason::TcpNoConnection);
        }
        if segment.has(flag::RST) {
            if segment.has(flag::ACK) {
                self.core.stats.resets_received.add(1);
                self.end(index, End::Refused);
            }
            return Outcome::Consumed;
        }
        if !segment.has(flag::SYN) {
            return Outcome::Dropped(DropReason::TcpOutOfWindow);
        }
        opening.peer_isn = segment.seq;
        opening.options = segment.options;
        if segment.has(flag::ACK) {
            self.establish(index, &opening, segment, true);
            self.conns.at(index).wake_writer();
        } else {
            // Simultaneous open (RFC 9293 §3.5).
            self.conns.at(index).state = State::SynReceived { opening, active: true };
            self.send_syn_ack(index, &opening, sink);
        }
        Outcome::Consumed
    }

    /// An acknowledgement of what we have not sent: the peer still has an earlier connection of the same addresses and ports. A
    /// reset ends that one and the SYN follows it (RFC 9293 §3.5.1, figure 9), once at once, later when its time comes.
    fn remembered<S: SegmentSink>(&mut self, index: u32, sent: u8, segment: &Segment, sink: &mut S) {
        if sent > 1 || segment.has(flag::RST) {
            return self.core.stray_reset(segment, sink);
        }
        self.core.reset(segment, sink);
        self.opening_timer(index, sink);
    }

    /// The first SYN, or the answer did not come in time.
    pub(super) fn opening_timer<S: SegmentSink>(&mut self, index: u32, sink: &mut S) {
        let now = self.core.now;
        let conn = self.conns.at(index);
        let flow = conn.flow;
        let (opening, passive) = match &mut conn.state {
            State::SynSent(opening) => (opening, false),
            State::SynReceived { opening, active } => (opening, !*active),
            _ => return,
        };
        if opening.sent >= if passive { PASSIVE_TRIES } else { ACTIVE_TRIES } {
            if passive {
                self.core.stats.half_open_timeouts.add(1);
            }
            return self.end(index, End::TimedOut);
        }
        let wait = FIRST_WAIT * (1 << opening.sent);
        opening.sent += 1;
        let (opening, repeated) = (*opening, opening.sent > 1);
        conn.arm(index, &mut self.core.wheel, now + if repeated { wait } else { FIRST_WAIT });
        if repeated {
            self.core.stats.handshake_retransmits.add(1);
        }
        match self.conns.at(index).state {
            State::SynSent(_) => self.send_syn(flow, &opening, sink),
            _ => self.send_syn_ack(index, &opening, sink),
        }
    }

    /// The network reports that `flow`'s peer cannot be reached. Before the connection is open that ends the attempt (RFC 1122
    /// §4.2.3.9 calls some codes soft; a proxy has other endpoints to try); afterwards it is a hint that retransmission
    /// outlives (RFC 5927 §4.3). `seq` is the number in the quoted segment, which a blind attacker does not know.
    pub(super) fn unreachable(&mut self, flow: &Flow, seq: u32) {
        if let Some(index) = self.conns.find(flow)
            && let State::SynSent(opening) = self.conns.at(index).state
            && opening.isn == Seq(seq)
        {
            self.end(index, End::Unreachable);
        }
    }
}
