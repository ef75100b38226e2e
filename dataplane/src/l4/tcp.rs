//! One core's TCP: segments in, segments out, timers; everything else hangs off it.

use std::{collections::VecDeque, sync::Arc};

use core::{net::SocketAddr, time::Duration};

use crate::{clock::Instant, verdict::DropReason, wheel::Wheel};

use super::{
    conn::{Conn, ConnId, Connections, State},
    isn::Numbers,
    keepalive::Probes,
    options::{Secrets, TcpOptions},
    path::{Paths, Way},
    pool::{FIRST_CLASS, Pool, largest_class},
    record::{End, MAX_SHIFT},
    segment::{Header, IPV4_HEADER, IPV6_HEADER, Segment, TCP_HEADER, flag},
    sink::SegmentSink,
    stats::Stats,
};

/// Resets for segments of no connection, per second (RFC 9293 §3.10.7.1 asks for them; a flood must not buy as many).
const STRAY_RESETS_PER_SECOND: u32 = 1_000;
/// Resets and ACKs that wait for the next output.
const OUTBOX_LIMIT: usize = 4_096;
/// Time between challenge ACKs of one connection (RFC 5961 §7).
pub(super) const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);

/// Tells which listener serves a local address, if any.
pub trait Listen {
    /// A number that comes back with the accepted connection ([`TcpStream::listener`](super::TcpStream::listener)).
    fn listener(&self, local: SocketAddr) -> Option<u32>;

    /// Whether segments for addresses without a listener may be for somebody else on this host. They are dropped as
    /// [`DropReason::NoListener`] then, and not reset.
    fn is_shared(&self) -> bool {
        false
    }
}

impl<F: Fn(SocketAddr) -> Option<u32>> Listen for F {
    fn listener(&self, local: SocketAddr) -> Option<u32> {
        self(local)
    }
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Used up.
    Consumed,
    /// Lost or refused, for this reason.
    Dropped(DropReason),
}

/// One core's TCP.
pub(super) struct Tcp {
    pub(super) conns: Connections,
    pub(super) core: Core,
}

/// Everything but the connections, so that one of those can be borrowed beside it.
pub(super) struct Core {
    pub(super) options: TcpOptions,
    pub(super) stats: Arc<Stats>,
    pub(super) way: Way,
    /// For connections whose path is narrower.
    pub(super) narrow: Option<Way>,
    pub(super) paths: Paths,
    /// Longest super-segment that the ways were made for.
    pub(super) super_segment: usize,
    pub(super) pool: Pool,
    pub(super) numbers: Numbers,
    pub(super) wheel: Wheel<ConnId>,
    /// Time of the current turn.
    pub(super) now: Instant,
    /// Connections to look at in the next output.
    pub(super) touched: VecDeque<u32>,
    /// Segments to send in the next output.
    pub(super) outbox: VecDeque<Header>,
    /// Established connections that nobody has taken yet.
    pub(super) accepts: VecDeque<ConnId>,
    /// Connections at rest that still have their sockets, longest at rest first; some have since become busy again.
    pub(super) resting: VecDeque<u32>,
    /// Connections whose user could not write for want of a socket.
    pub(super) starved: VecDeque<u32>,
    pub(super) half_open: usize,
    pub(super) time_waits: usize,
    /// Cookies were sent until then at the latest; ACKs out of nothing may be answers to them.
    pub(super) cookies_until: Option<Instant>,
    /// Counts on through the ports (RFC 6056 §3.3.3).
    pub(super) ports_tried: u32,
    pub(super) probes: Probes,
    stray_resets: (u64, u32),
    fired: Vec<ConnId>,
}

impl Core {
    /// Largest segment this host takes in the family of `flow`: what it announces, and what it sends at most.
    pub(super) fn own_mss(&self, v4: bool) -> u16 {
        let ip = if v4 { IPV4_HEADER } else { IPV6_HEADER };
        self.options.mtu.saturating_sub((ip + TCP_HEADER) as u16).max(536)
    }

    pub(super) fn mtu(&self) -> usize {
        usize::from(self.options.mtu)
    }

    /// Window scale that this host announces: enough for the largest receive buffer.
    pub(super) fn own_shift(&self) -> u8 {
        let largest = super::pool::CLASS_BYTES[usize::from(largest_class(self.options.receive_buffer))];
        ((largest.ilog2() + 1).saturating_sub(16) as u8).min(MAX_SHIFT)
    }

    /// Window field of this host's SYNs and SYN-ACKs, which is never scaled.
    pub(super) fn first_window(&self) -> u16 {
        let first = super::pool::CLASS_BYTES[usize::from(FIRST_CLASS)];
        first.min(usize::from(u16::MAX)) as u16
    }

    /// Follows what the way out can do: smoltcp asks only once, when an interface is made.
    fn adapt<S: SegmentSink>(&mut self, sink: &S) {
        let super_segment = sink.capabilities().super_segment as usize;
        if super_segment != self.super_segment {
            self.super_segment = super_segment;
            self.way = Way::new(self.mtu(), super_segment);
            self.narrow = None;
        }
    }

    /// Queues a segment for the next output.
    pub(super) fn post(&mut self, header: Header) {
        if self.outbox.len() >= OUTBOX_LIMIT {
            self.stats.outbox_overflows.add(1);
            return;
        }
        self.outbox.push_back(header);
    }

    /// Sends a segment now, or with the next output if the sink has no room.
    pub(super) fn send<S: SegmentSink>(&mut self, header: Header, sink: &mut S) {
        if sink.has_room() && header.emit(sink) {
            self.count_sent(&header);
        } else {
            self.post(header);
        }
    }

    fn count_sent(&self, header: &Header) {
        self.stats.segments_out.add(1);
        if header.flags & flag::RST != 0 {
            self.stats.resets_sent.add(1);
        }
    }

    /// Puts a connection on the list for the next output.
    pub(super) fn touch(&mut self, conn: &mut Conn, index: u32) {
        if !conn.touched {
            conn.touched = true;
            self.touched.push_back(index);
        }
    }

    /// Answers a segment that belongs to no connection (RFC 9293 §3.10.7.1), up to a rate.
    pub(super) fn stray_reset<S: SegmentSink>(&mut self, segment: &Segment, sink: &mut S) {
        let second = self.now.as_nanos() / 1_000_000_000;
        if self.stray_resets.0 != second {
            self.stray_resets = (second, 0);
        }
        if !segment.has(flag::RST) && self.stray_resets.1 < STRAY_RESETS_PER_SECOND {
            self.stray_resets.1 += 1;
            self.reset(segment, sink);
        }
    }

    /// The reset that `segment` asks for where it belongs to nothing (RFC 9293 §3.5.2).
    pub(super) fn reset<S: SegmentSink>(&mut self, segment: &Segment, sink: &mut S) {
        let header = if segment.has(flag::ACK) {
            Header::reset(segment.flow, segment.ack, None)
        } else {
            Header::reset(segment.flow, super::seq::Seq(0), Some(segment.end()))
        };
        self.send(header, sink);
    }
}

impl Tcp {
    pub(super) fn new(options: TcpOptions, secrets: &Secrets, stats: Arc<Stats>, now: Instant) -> Self {
        let core = Core {
            way: Way::new(usize::from(options.mtu), 0),
            narrow: None,
            paths: Paths::default(),
            super_segment: 0,
            pool: Pool::new(&options),
            numbers: Numbers::new(secrets),
            wheel: Wheel::new(now),
            now,
            touched: VecDeque::new(),
            outbox: VecDeque::new(),
            accepts: VecDeque::new(),
            resting: VecDeque::new(),
            starved: VecDeque::new(),
            half_open: 0,
            time_waits: 0,
            cookies_until: None,
            ports_tried: 0,
            probes: Probes::default(),
            stray_resets: (0, 0),
            fired: Vec::new(),
            stats,
            options,
        };
        Self { conns: Connections::new(core.options.max_connections, secrets.flows), core }
    }

    /// Takes in an IP packet whose TCP header starts at `tcp_at`. Answers that cannot wait go to `sink` at once.
    pub(super) fn input<S: SegmentSink>(
        &mut self,
        packet: &mut [u8],
        tcp_at: usize,
        checksum_good: bool,
        listen: &impl Listen,
        sink: &mut S,
    ) -> Outcome {
        let segment = match Segment::parse(packet, tcp_at, checksum_good) {
            Ok(segment) => segment,
            Err(reason) => return Outcome::Dropped(reason),
        };
        self.core.adapt(sink);
        self.core.stats.segments_in.add(1);
        let Some(index) = self.conns.find(&segment.flow) else {
            return self.unmatched(packet, &segment, listen, sink);
        };
        match self.conns.at(index).state {
            State::Live(_) => self.live_input(index, packet, &segment, sink),
            State::Idle(idle) => self.idle_input(index, idle, packet, &segment, sink),
            State::SynReceived { opening, active } => {
                self.syn_received_input(index, opening, active, packet, &segment, sink)
            }
            State::SynSent(opening) => self.syn_sent_input(index, opening, &segment, sink),
            State::TimeWait(record) => self.time_wait_input(index, record, &segment, listen, sink),
            State::Vacant | State::Remains(_) | State::Ended(_) => Outcome::Dropped(DropReason::TcpNoConnection),
        }
    }

    /// Timers that are due, then everything that this turn's segments and users have made sendable.
    pub(super) fn output<S: SegmentSink>(&mut self, sink: &mut S) {
        self.core.adapt(sink);
        let mut fired = core::mem::take(&mut self.core.fired);
        self.core.wheel.advance(self.core.now, |id| fired.push(id));
        for id in fired.drain(..) {
            if let Some(conn) = self.conns.named(id) {
                conn.timer = None;
                self.on_timer(id.index, sink);
            }
        }
        self.core.fired = fired;
        while sink.has_room()
            && let Some(header) = self.core.outbox.pop_front()
        {
            header.emit(sink);
            self.core.count_sent(&header);
        }
        self.probe_idle(sink);
        if !self.core.starved.is_empty() && (self.core.pool.has_room() || !self.core.resting.is_empty()) {
            for index in core::mem::take(&mut self.core.starved) {
                self.conns.at(index).wake_writer();
            }
        }
        // Those that have more to send put themselves on the list again, behind the others.
        for _ in 0..self.core.touched.len() {
            if !sink.has_room() {
                break;
            }
            let Some(index) = self.core.touched.pop_front() else { break };
            self.conns.at(index).touched = false;
            self.drive(index, sink);
        }
    }

    fn on_timer<S: SegmentSink>(&mut self, index: u32, sink: &mut S) {
        match self.conns.at(index).state {
            State::Live(_) => {
                let conn = self.conns.at(index);
                self.core.touch(conn, index);
            }
            State::Idle(_) => self.idle_timer(index),
            State::SynReceived { .. } | State::SynSent(_) => self.opening_timer(index, sink),
            State::TimeWait(record) => self.time_wait_timer(index, record.until),
            State::Vacant | State::Remains(_) | State::Ended(_) => {}
        }
    }

    /// When [`Self::output`] has something to do next without new segments or writes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let core = &self.core;
        if !core.touched.is_empty() || !core.outbox.is_empty() {
            return Some(core.now);
        }
        [core.wheel.next_deadline(), core.probes.next_at(core.now)].into_iter().flatten().min()
    }

    /// The connection is over: its buffers, timer and table entry go; its user, if any, is told.
    pub(super) fn end(&mut self, index: u32, how: End) {
        self.conns.unlist(index);
        let core = &mut self.core;
        let conn = self.conns.at(index);
        if let Some((id, _)) = conn.timer.take() {
            core.wheel.cancel(id);
        }
        match core::mem::replace(&mut conn.state, State::Ended(how)) {
            State::Live(live) | State::Remains(live) => {
                core.pool.give(live, &core.stats);
                core.stats.live.sub(1);
            }
            State::Idle(_) => core.stats.idle.sub(1),
            State::TimeWait(_) => {
                core.time_waits -= 1;
                core.stats.time_wait.sub(1);
            }
            State::SynReceived { active: false, .. } => {
                core.half_open -= 1;
                core.stats.half_open.sub(1);
            }
            State::SynSent(_) | State::SynReceived { .. } => core.stats.failed_opens.add(1),
            State::Vacant | State::Ended(_) => {}
        }
        conn.wake();
        if !conn.attached {
            self.conns.release(index);
        }
    }
}
