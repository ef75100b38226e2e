//! What a touched connection does in the output of a turn: time-outs, loss probe, segments, and the change of state that follows.

use smoltcp::{socket::tcp::State as SocketState, time::Instant as SocketInstant};

use crate::clock::Instant;

use super::{
    conn::State,
    established::own_ack,
    hydrate::hydrate,
    path::Way,
    pool::largest_class,
    record::{End, Idle, TimeWait},
    segment::Header,
    silence::Silence,
    sink::SegmentSink,
    tcp::Tcp,
};

impl Tcp {
    /// Looks at one connection.
    pub(super) fn drive<S: SegmentSink>(&mut self, index: u32, sink: &mut S) {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        match &mut conn.state {
            State::Live(_) => self.drive_live(index, sink),
            State::Idle(idle) if idle.ack_due => {
                idle.ack_due = false;
                let record = idle.record;
                core.send(Header::ack(conn.flow, record.snd_nxt, record.rcv_nxt, record.own_window()), sink);
            }
            State::SynSent(opening) if opening.sent == 0 => self.opening_timer(index, sink),
            _ => {}
        }
    }

    fn drive_live<S: SegmentSink>(&mut self, index: u32, sink: &mut S) {
        if !self.keep_alive(index, sink) {
            return;
        }
        let core = &mut self.core;
        let now = core.now;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return };
        if live.give_up_at(conn.attached, core.options.user_timeout).is_some_and(|at| now >= at) {
            core.stats.timeouts.add(1);
            let reset = Header::reset(conn.flow, live.reset_seq(), Some(live.rcv_nxt()));
            core.send(reset, sink);
            return self.end(index, End::TimedOut);
        }
        if !conn.attached && live.socket_ref().can_recv() {
            // Data for nobody is answered by a reset (RFC 1122 §4.2.2.13), but not before the last answer is delivered: a client
            // that is still sending a body that was refused should learn why.
            if live.socket_ref().send_queue() == 0 {
                return self.abort(index);
            }
            live.discard();
        }
        live.close_if_possible();
        let (first, resent) = (live.track.segments, live.track.retransmits);
        let way = core.way(live.narrow);
        live.track.now = now;
        let silence = live.on_silence(conn.flow, sink, now);
        if live.window_update_due() {
            live.announce(&mut way.single, conn.flow, sink, way.mtu);
        }
        let (more, due) = live.emit(way, conn.flow, sink, now);
        let again = u64::from(live.track.retransmits.wrapping_sub(resent));
        core.stats.timer_retransmits.add(u64::from(silence == Silence::Timer));
        core.stats.retransmits.add(again);
        core.stats.early_retransmits.add(if live.repair.after_timer() { 0 } else { again });
        core.stats.segments_out.add(u64::from(live.track.segments.wrapping_sub(first)));
        let (state, drained) = (live.socket_ref().state(), !live.socket_ref().can_recv());
        match state {
            SocketState::Closed if drained || !conn.attached => return self.end(index, End::Finished),
            SocketState::TimeWait if drained => return self.enter_time_wait(index),
            _ => {}
        }
        if more {
            core.touch(conn, index);
        }
        self.settle(index, due, sink);
    }

    /// After sending: larger buffers, rest, or the next deadline, of which `due` is the socket's.
    fn settle<S: SegmentSink>(&mut self, index: u32, due: Option<SocketInstant>, sink: &mut S) {
        let core = &mut self.core;
        let now = core.now;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return };
        let at_rest = live.at_rest();
        if (live.wanted.0 || live.wanted.1) && at_rest {
            return self.grow(index, sink);
        }
        if live.wanted.1 && live.socket_ref().send_queue() == 0 {
            live.wanted.1 = false; // The other direction is not at rest: go on with the small buffer rather than stand still.
            conn.wake_writer();
            return core.touch(conn, index);
        }
        let quiet_at = live.active + core.options.dehydrate_after;
        if at_rest {
            if now >= quiet_at {
                return self.dehydrate(index);
            }
            if !conn.resting {
                conn.resting = true;
                core.resting.push_back(index);
            }
        }
        let fin_wait = live.socket_ref().state() == SocketState::FinWait2 && !conn.attached;
        live.fin_wait_since = fin_wait.then(|| live.fin_wait_since.unwrap_or(now));
        let forget_at = live.fin_wait_since.map(|since| since + core.options.fin_wait_timeout);
        if forget_at.is_some_and(|at| now >= at) {
            return self.end(index, End::TimedOut);
        }
        let deadlines = [
            live.socket_deadline(due, now),
            live.silence_deadline(),
            live.give_up_at(conn.attached, core.options.user_timeout),
            live.keepalive_at(conn.attached, &core.options),
            at_rest.then_some(quiet_at),
            forget_at,
        ];
        // Without branches: this is asked of every connection that a segment or a user has touched.
        let at = deadlines.iter().fold(Instant::NEVER, |soonest, at| soonest.min(at.unwrap_or(Instant::NEVER)));
        if at != Instant::NEVER {
            conn.arm(index, &mut core.wheel, at);
        }
    }

    /// Moves a connection at rest to larger buffers, in place.
    fn grow<S: SegmentSink>(&mut self, index: u32, sink: &mut S) {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return };
        let larger = |class: u8, wanted: bool, limit: usize| {
            if wanted { (class + 1).min(largest_class(limit)).max(class) } else { class }
        };
        let rx = larger(live.classes.0, live.wanted.0, core.options.receive_buffer);
        let tx = larger(live.classes.1, live.wanted.1, core.options.send_buffer);
        let (wanted, window, record) = (live.wanted, live.repair.window, live.to_record());
        live.wanted = (false, false);
        if (rx, tx) != live.classes
            && let Some(mut fresh) = core.pool.take_exactly(rx, tx, &core.stats)
        {
            let acked = live.track.acked;
            hydrate(&mut fresh, conn.flow, record, &core.options, core.now);
            (fresh.track.acked, fresh.repair.window) = (acked, window);
            core::mem::swap(live, &mut fresh);
            core.pool.give(fresh, &core.stats);
            core.stats.buffer_growths.add(1);
            let State::Live(live) = &mut conn.state else { return };
            if wanted.0 || acked != live.rcv_nxt() {
                let Way { single, mtu, .. } = &mut core.way;
                live.announce(single, conn.flow, sink, *mtu);
                core.stats.segments_out.add(1);
            }
        }
        conn.wake_writer();
        core.touch(conn, index);
    }

    /// Gives the socket of a connection back if it is at rest.
    pub(super) fn dehydrate(&mut self, index: u32) {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return };
        if !live.at_rest() {
            return;
        }
        if live.track.acked != live.rcv_nxt() {
            core.post(own_ack(live, conn.flow));
        }
        let idle = Idle {
            record: live.to_record(),
            heard: live.heard,
            challenge_at: live.challenge_at,
            probes: 0,
            ack_due: false,
        };
        if let State::Live(live) = core::mem::replace(&mut conn.state, State::Idle(idle)) {
            core.pool.give(live, &core.stats);
        }
        core.stats.dehydrations.add(1);
        core.stats.live.sub(1);
        core.stats.idle.add(1);
        if let Some(silence) = core.options.keepalive {
            conn.arm(index, &mut core.wheel, idle.heard + silence);
        }
    }

    fn enter_time_wait(&mut self, index: u32) {
        let core = &mut self.core;
        if core.time_waits >= core.options.time_wait_limit {
            core.stats.time_wait_overflows.add(1);
            return self.end(index, End::Finished);
        }
        let until = core.now + core.options.time_wait;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return };
        let ack = own_ack(live, conn.flow);
        if live.track.acked != live.rcv_nxt() {
            core.post(ack); // The socket that held the acknowledgement of the FIN back goes.
        }
        let record = TimeWait { snd_nxt: live.track.snd_max, rcv_nxt: live.rcv_nxt(), window: ack.window, until };
        if let State::Live(live) = core::mem::replace(&mut conn.state, State::TimeWait(record)) {
            core.pool.give(live, &core.stats);
        }
        core.time_waits += 1;
        core.stats.live.sub(1);
        core.stats.time_wait.add(1);
        conn.wake();
        conn.arm(index, &mut core.wheel, until);
    }

    /// Ends a connection with a reset.
    pub(super) fn abort(&mut self, index: u32) {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let reset = match &mut conn.state {
            State::Live(live) => Some((live.reset_seq(), live.rcv_nxt())),
            State::Idle(idle) => Some((idle.record.snd_nxt, idle.record.rcv_nxt)),
            State::SynReceived { opening, .. } => Some((opening.isn.plus(1), opening.peer_isn.plus(1))),
            State::SynSent(_) | State::TimeWait(_) | State::Vacant | State::Remains(_) | State::Ended(_) => None,
        };
        if let Some((seq, ack)) = reset {
            core.post(Header::reset(conn.flow, seq, Some(ack)));
        }
        match conn.state {
            State::TimeWait(_) | State::Vacant | State::Ended(_) => {}
            _ => self.end(index, End::Aborted),
        }
    }

    /// Queues a FIN after what was written. True if there was a connection to close.
    pub(super) fn close(&mut self, index: u32) -> bool {
        if matches!(self.conns.at(index).state, State::Idle(_)) && self.rouse(index, 0).is_err() {
            self.abort(index);
            return false;
        }
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return false };
        if !live.closed {
            live.closed = true;
            live.close_if_possible();
            core.touch(conn, index);
        }
        true
    }

    /// The user has let go of the connection: close it in order if everything received was read, else reset it
    /// (RFC 1122 §4.2.2.13).
    pub(super) fn detach(&mut self, index: u32, unread: bool) {
        let conn = self.conns.at(index);
        conn.attached = false;
        (conn.reader, conn.writer) = (None, None);
        match &mut conn.state {
            State::Ended(_) => self.conns.release(index),
            State::Live(live) if unread || live.socket_ref().can_recv() => self.abort(index),
            State::Idle(_) if unread => self.abort(index),
            State::Live(_) | State::Idle(_) => {
                self.close(index);
                // Even if it was closed before: without a user other time-outs hold.
                self.core.touch(self.conns.at(index), index);
            }
            State::SynSent(_) | State::SynReceived { .. } | State::Remains(_) => self.abort(index),
            State::TimeWait(_) | State::Vacant => {}
        }
    }
}
