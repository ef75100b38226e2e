//! Keep-alive (RFC 1122 §4.2.3.6): a connection that waits for nothing but its peer finds out whether that is still there.

use std::collections::VecDeque;

use crate::clock::Instant;

use super::{
    conn::{ConnId, State},
    established::own_ack,
    live::Live,
    options::TcpOptions,
    record::{End, Idle, Record},
    segment::Header,
    sink::SegmentSink,
    tcp::Tcp,
};

/// log2 of the length of a slice of time in nanoseconds: 2^20 ns, about a millisecond.
const SLICE_SHIFT: u32 = 20;
/// Connections at rest whose peers are probed in a slice: 61,000 a second, of a million connections all within 17 s. Ports take several
/// times as many, and what they do not take is lost and would count against the peer.
const PROBES_PER_SLICE: u32 = 64;

/// Connections at rest whose probe is due. Those that have come together once, in a wave of clients or behind a long turn of this core,
/// are due together again after each silence; they are probed one after the other.
#[derive(Default, Debug)]
pub(super) struct Probes {
    due: VecDeque<ConnId>,
    slice: u64,
    sent: u32,
}

impl Probes {
    /// The next connection to probe, if this slice of time has room for one more.
    fn next(&mut self, now: Instant) -> Option<ConnId> {
        let slice = now.as_nanos() >> SLICE_SHIFT;
        if self.slice != slice {
            (self.slice, self.sent) = (slice, 0);
        }
        (self.sent < PROBES_PER_SLICE).then(|| self.due.pop_front())?
    }

    /// When the next one may go.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        let is_used_up = self.slice == now.as_nanos() >> SLICE_SHIFT && self.sent >= PROBES_PER_SLICE;
        let at = if is_used_up { Instant::from_nanos((self.slice + 1) << SLICE_SHIFT) } else { now };
        (!self.due.is_empty()).then_some(at)
    }
}

impl Live {
    /// When to probe, or to give up. `None` while an acknowledgement is waited for (the user timeout holds then), without a user,
    /// and with keep-alive off. A half-closed connection lives here for as long as its peer sends nothing.
    pub(super) fn keepalive_at(&self, attached: bool, options: &TcpOptions) -> Option<Instant> {
        let silence = options.keepalive.filter(|_| attached && self.waiting_since.is_none())?;
        Some(self.heard + silence + options.keepalive_interval * u32::from(self.probes))
    }
}

impl Tcp {
    /// Probes the silent peer of a connection with a socket. `false` when it was given up.
    pub(super) fn keep_alive<S: SegmentSink>(&mut self, index: u32, sink: &mut S) -> bool {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return true };
        if live.keepalive_at(conn.attached, &core.options).is_none_or(|at| core.now < at) {
            return true;
        }
        let ack = own_ack(live, conn.flow);
        if live.probes >= core.options.keepalive_probes {
            core.stats.timeouts.add(1);
            core.post(Header::reset(conn.flow, live.reset_seq(), None));
            self.end(index, End::TimedOut);
            return false;
        }
        live.probes += 1;
        core.stats.keepalives.add(1);
        core.send(Header { seq: live.track.snd_max.minus(1), ..ack }, sink);
        true
    }

    /// A keep-alive is due, or has not been answered (RFC 1122 §4.2.3.6): it takes its turn.
    pub(super) fn idle_timer(&mut self, index: u32) {
        let generation = self.conns.at(index).generation;
        self.core.probes.due.push_back(ConnId { index, generation });
    }

    /// Probes the peers of connections at rest, as many as the way out takes: a probe that never left would count as not answered.
    pub(super) fn probe_idle<S: SegmentSink>(&mut self, sink: &mut S) {
        while sink.has_room()
            && let Some(id) = self.core.probes.next(self.core.now)
        {
            // Meanwhile it may be over, busy, or have a timer again.
            if let Some(conn) = self.conns.named(id)
                && let State::Idle(idle) = conn.state
                && conn.timer.is_none()
            {
                self.probe(id.index, idle, sink);
            }
        }
    }

    /// Probes a peer that is silent, or gives up.
    fn probe<S: SegmentSink>(&mut self, index: u32, mut idle: Idle, sink: &mut S) {
        let core = &mut self.core;
        let Some(silence) = core.options.keepalive else { return };
        let due = idle.heard + silence + core.options.keepalive_interval * u32::from(idle.probes);
        let conn = self.conns.at(index);
        if core.now < due {
            return conn.arm(index, &mut core.wheel, due);
        }
        core.probes.sent += 1;
        if idle.probes >= core.options.keepalive_probes {
            core.stats.timeouts.add(1);
            core.post(Header::reset(conn.flow, idle.record.snd_nxt, None));
            return self.end(index, End::TimedOut);
        }
        idle.probes += 1;
        conn.state = State::Idle(idle);
        conn.arm(index, &mut core.wheel, core.now + core.options.keepalive_interval);
        core.stats.keepalives.add(1);
        let record: Record = idle.record;
        core.send(Header::ack(conn.flow, record.snd_nxt.minus(1), record.rcv_nxt, record.own_window()), sink);
    }
}
