//! Keep-alive (RFC 1122 §4.2.3.6): a connection that waits for nothing but its peer finds out whether that is still there.

use crate::clock::Instant;

use super::{
    conn::State,
    established::own_ack,
    live::Live,
    options::TcpOptions,
    record::{End, Idle, Record},
    segment::Header,
    sink::SegmentSink,
    tcp::Tcp,
};

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

    /// A keep-alive is due, or has not been answered (RFC 1122 §4.2.3.6).
    pub(super) fn idle_timer<S: SegmentSink>(&mut self, index: u32, mut idle: Idle, sink: &mut S) {
        let core = &mut self.core;
        let Some(silence) = core.options.keepalive else { return };
        let due = idle.heard + silence + core.options.keepalive_interval * u32::from(idle.probes);
        let conn = self.conns.at(index);
        if core.now < due {
            return conn.arm(index, &mut core.wheel, due);
        }
        if idle.probes >= core.options.keepalive_probes {
            core.stats.timeouts.add(1);
            self.core.post(Header::reset(self.conns.at(index).flow, idle.record.snd_nxt, None));
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
