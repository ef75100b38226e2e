//! Segments of connections that are open, at rest, or waiting out their time.

use core::net::SocketAddr;

use crate::{clock::Instant, verdict::DropReason};

use super::{
    conn::State,
    hydrate::hydrate,
    live::{Arrival, Live, is_plausible},
    record::{End, Idle, TimeWait},
    segment::{Header, Segment, flag},
    sink::SegmentSink,
    tcp::{CHALLENGE_INTERVAL, Listen, Outcome, Tcp},
};

impl Tcp {
    /// A segment of a connection with a socket.
    pub(super) fn live_input<S: SegmentSink>(
        &mut self,
        index: u32,
        packet: &mut [u8],
        segment: &Segment,
        sink: &mut S,
    ) -> Outcome {
        let core = &mut self.core;
        let now = core.now;
        let conn = self.conns.at(index);
        let State::Live(live) = &mut conn.state else { return Outcome::Consumed };
        let first = live.track.segments;
        let before = live.socket_ref().send_queue();
        let way = core.way(live.narrow);
        let arrival = live.arrive(way, packet, segment, sink, now);
        core.stats.segments_out.add(u64::from(live.track.segments.wrapping_sub(first)));
        match arrival {
            Arrival::Taken => {
                let socket = live.socket_ref();
                let readable = socket.can_recv() || !socket.may_recv();
                let writable = socket.send_queue() < before || !socket.may_send();
                core.touch(conn, index);
                if readable {
                    conn.wake_reader();
                }
                if writable {
                    conn.wake_writer();
                }
                Outcome::Consumed
            }
            Arrival::Reset => {
                core.stats.resets_received.add(1);
                self.on_reset(index);
                Outcome::Consumed
            }
            Arrival::Challenge => {
                if now >= live.challenge_at {
                    live.challenge_at = now + CHALLENGE_INTERVAL;
                    core.stats.challenge_acks.add(1);
                    let ack = own_ack(live, conn.flow);
                    core.send(ack, sink);
                }
                Outcome::Dropped(DropReason::TcpOutOfWindow)
            }
            Arrival::Ignored => Outcome::Dropped(DropReason::TcpOutOfWindow),
        }
    }

    /// The peer has reset a connection with a socket.
    fn on_reset(&mut self, index: u32) {
        let conn = self.conns.at(index);
        let unread = conn.attached && matches!(&conn.state, State::Live(live) if live.socket_ref().can_recv());
        if !unread {
            return self.end(index, End::Reset);
        }
        if let State::Live(live) = core::mem::replace(&mut conn.state, State::Vacant) {
            conn.state = State::Remains(live);
        }
        conn.wake();
        if let Some((id, _)) = conn.timer.take() {
            self.core.wheel.cancel(id);
        }
        self.conns.unlist(index);
    }

    /// A segment of a connection at rest. Only data and FIN are worth a socket.
    pub(super) fn idle_input<S: SegmentSink>(
        &mut self,
        index: u32,
        mut idle: Idle,
        packet: &mut [u8],
        segment: &Segment,
        sink: &mut S,
    ) -> Outcome {
        let core = &mut self.core;
        let (now, record) = (core.now, idle.record);
        let flow = segment.flow;
        let offset = segment.seq.since(record.rcv_nxt);
        let window = record.rcv_adv.since(record.rcv_nxt);
        if segment.has(flag::RST) && offset == 0 {
            core.stats.resets_received.add(1);
            self.end(index, End::Reset);
            return Outcome::Consumed;
        }
        // RFC 5961 §3.2, §4.2, §5.2, and what cannot be the peer's.
        let suspicious = segment.has(flag::SYN)
            || segment.has(flag::RST) && offset > 0 && offset < window
            || segment.ack.after(record.snd_nxt)
            || !segment.has(flag::RST) && !is_plausible(offset, window);
        if suspicious {
            if now >= idle.challenge_at {
                idle.challenge_at = now + CHALLENGE_INTERVAL;
                core.stats.challenge_acks.add(1);
                core.send(Header::ack(flow, record.snd_nxt, record.rcv_nxt, record.own_window()), sink);
                self.conns.at(index).state = State::Idle(idle);
            }
            return Outcome::Dropped(DropReason::TcpOutOfWindow);
        }
        if segment.has(flag::RST) || !segment.has(flag::ACK) {
            return Outcome::Dropped(DropReason::TcpOutOfWindow);
        }
        let end = segment.end().since(record.rcv_nxt);
        if end > 0 && offset <= window {
            return match self.rouse(index, 0) {
                Ok(()) => self.live_input(index, packet, segment, sink),
                Err(reason) => Outcome::Dropped(reason),
            };
        }
        (idle.heard, idle.probes) = (now, 0);
        if offset == 0 && segment.ack == record.snd_nxt {
            idle.record.window = segment.window;
        } else if offset < 0 {
            // A keep-alive, a window probe, or a segment whose ACK was lost (RFC 9293 §3.10.7.4).
            core.send(Header::ack(flow, record.snd_nxt, record.rcv_nxt, record.own_window()), sink);
        }
        self.conns.at(index).state = State::Idle(idle);
        Outcome::Consumed
    }

    /// Gives a connection at rest a socket. `queued` octets are about to be written.
    pub(super) fn rouse(&mut self, index: u32, queued: usize) -> Result<(), DropReason> {
        let core = &mut self.core;
        let conn = self.conns.at(index);
        let State::Idle(idle) = &conn.state else { return Ok(()) };
        let mut record = idle.record;
        let largest = super::pool::largest_class(core.options.send_buffer);
        while record.tx_class < largest && queued > super::pool::CLASS_BYTES[usize::from(record.tx_class)] {
            record.tx_class += 1;
        }
        let Some(mut live) = self.socket_for(record.rx_class, record.tx_class) else {
            return Err(DropReason::TcpNoMemory);
        };
        let core = &mut self.core;
        let conn = self.conns.at(index);
        record.mss = record.mss.min(core.path_mss(conn.flow.remote));
        hydrate(&mut live, conn.flow, record, &core.options, core.now);
        conn.state = State::Live(live);
        core.stats.hydrations.add(1);
        core.stats.idle.sub(1);
        core.stats.live.add(1);
        core.touch(conn, index);
        Ok(())
    }

    /// A socket from the pool; if need be, one that a connection at rest has not given back yet.
    fn socket_for(&mut self, rx: u8, tx: u8) -> Option<Box<Live>> {
        loop {
            if let Some(live) = self.core.pool.take(rx, tx, &self.core.stats) {
                return Some(live);
            }
            self.core.stats.buffer_shortages.add(1);
            let index = self.core.resting.pop_front()?;
            self.conns.at(index).resting = false;
            self.dehydrate(index);
        }
    }

    /// A segment in TIME-WAIT (RFC 9293 §3.10.7.4, RFC 6191, RFC 1337).
    pub(super) fn time_wait_input<S: SegmentSink>(
        &mut self,
        index: u32,
        mut record: TimeWait,
        segment: &Segment,
        listen: &impl Listen,
        sink: &mut S,
    ) -> Outcome {
        if segment.has(flag::RST) {
            return Outcome::Dropped(DropReason::TcpOutOfWindow); // RFC 1337: it must not cut the wait short.
        }
        let syn = segment.has(flag::SYN) && !segment.has(flag::ACK);
        if syn
            && segment.seq.after(record.rcv_nxt)
            && let Some(listener) = listen.listener(SocketAddr::new(segment.flow.local, segment.flow.local_port))
        {
            self.end(index, End::Finished);
            return self.on_syn(segment, listener, Some(record.snd_nxt), sink);
        }
        if segment.end() == segment.seq && segment.seq == record.rcv_nxt {
            return Outcome::Consumed; // A plain ACK. Answering it could start a war of ACKs.
        }
        if segment.has(flag::FIN) {
            // The wheel looks again at the old time and finds the new one.
            record.until = self.core.now + self.core.options.time_wait;
            self.conns.at(index).state = State::TimeWait(record);
        }
        self.core.send(Header::ack(segment.flow, record.snd_nxt, record.rcv_nxt, record.window), sink);
        Outcome::Consumed
    }

    /// The time of a TIME-WAIT record is over, unless a retransmitted FIN has started it anew.
    pub(super) fn time_wait_timer(&mut self, index: u32, until: Instant) {
        if self.core.now < until {
            self.conns.at(index).arm(index, &mut self.core.wheel, until);
        } else {
            self.end(index, End::Finished);
        }
    }
}

/// An ACK of the present state, made without the socket.
pub(super) fn own_ack(live: &mut Live, flow: super::flow::Flow) -> Header {
    let (ack, edge) = (live.rcv_nxt(), live.track.rcv_adv);
    let window = edge.since(ack).max(0) as u32 >> live.record.own_shift;
    Header::ack(flow, live.track.snd_max, ack, window.min(u32::from(u16::MAX)) as u16)
}
