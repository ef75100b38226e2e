//! What becomes of a segment, decided without touching anything: by TCP itself before it acts, and for operators who ask.

use core::net::SocketAddr;

use crate::{clock::Instant, verdict::DropReason};

use super::{
    conn::State,
    options::SynCookies,
    segment::{Segment, SynOptions, flag},
    stream::TcpHandle,
    tcp::{Listen, Outcome, Tcp},
};

/// Where a connection stands, in the words of RFC 9293 §3.3.2 where they fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED.
    SynReceived,
    /// Established or closing, with a socket and buffers.
    Live,
    /// Established, without them until something is said.
    AtRest,
    /// TIME-WAIT.
    TimeWait,
    /// Over; its user has not looked yet.
    Over,
}

/// What becomes of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes to its connection, which judges its numbers.
    Connection(Standing),
    /// It opens a connection to this listener: a record is made, and a SYN-ACK answers.
    Opens(u32),
    /// It asks this listener for a connection, and a SYN cookie answers: nothing is remembered.
    Cookie(u32),
    /// It answers a SYN cookie and makes a connection to this listener.
    Returns(u32),
    /// It is refused.
    Refused {
        /// Why.
        reason: DropReason,
        /// A reset answers.
        reset: bool,
    },
}

impl Fate {
    /// What that is to the packet, as far as it is known beforehand.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Refused { reason, .. } => Outcome::Dropped(reason),
            _ => Outcome::Consumed,
        }
    }

    /// The listener that is to serve it.
    pub fn listener(self) -> Option<u32> {
        match self {
            Self::Opens(listener) | Self::Cookie(listener) | Self::Returns(listener) => Some(listener),
            Self::Connection(_) | Self::Refused { .. } => None,
        }
    }
}

/// A segment of no connection.
pub(super) enum Stray {
    /// A SYN for a listener.
    Syn(u32),
    /// The answer to a cookie, for a listener.
    Return(u32, SynOptions),
    /// Neither.
    Refused { reason: DropReason, reset: bool },
}

/// Whether there is room for one more half-open connection.
pub(super) enum Room {
    Yes,
    /// Only on the peer's side.
    Cookie,
    No(DropReason),
}

impl Tcp {
    /// Tells a SYN for a listener and the answer to a cookie from a stray.
    pub(super) fn stray(&self, segment: &Segment, listen: &impl Listen) -> Stray {
        let none = DropReason::TcpNoConnection;
        let listener = listen.listener(SocketAddr::new(segment.flow.local, segment.flow.local_port));
        if listener.is_none() && listen.is_shared() {
            return Stray::Refused { reason: DropReason::NoListener, reset: false };
        }
        if segment.has(flag::RST) || listener.is_some() && segment.flags & (flag::SYN | flag::ACK) == 0 {
            // RFC 9293 §3.10.7.2: to a listener, neither a SYN nor an answer to one.
            return Stray::Refused { reason: none, reset: false };
        }
        let Some(listener) = listener else { return Stray::Refused { reason: none, reset: true } };
        if segment.has(flag::SYN) && !segment.has(flag::ACK) {
            return Stray::Syn(listener);
        }
        if self.core.cookies_until.is_none_or(|until| self.core.now >= until) {
            return Stray::Refused { reason: none, reset: true };
        }
        if segment.has(flag::ACK)
            && !segment.has(flag::SYN)
            && let Some(options) = self.core.numbers.open(segment, self.core.now)
        {
            return Stray::Return(listener, options);
        }
        // Perhaps a segment that has overtaken the answer to a cookie: a reset would end an honest handshake. What is to come
        // again comes again, and the flood that cookies are used against passes.
        let reset = self.core.options.syn_cookies != SynCookies::Auto;
        Stray::Refused { reason: DropReason::TcpBadCookie, reset }
    }

    /// Whether a SYN may make a record.
    pub(super) fn room(&self) -> Room {
        let options = &self.core.options;
        let full = self.core.half_open >= options.half_open_limit || self.conns.is_full();
        match options.syn_cookies {
            SynCookies::Off if self.conns.is_full() => Room::No(DropReason::TcpConnectionLimit),
            SynCookies::Off if full => Room::No(DropReason::TcpHalfOpenLimit),
            SynCookies::Off => Room::Yes,
            SynCookies::Auto if !full => Room::Yes,
            SynCookies::Auto | SynCookies::Always => Room::Cookie,
        }
    }

    fn fate(&mut self, packet: &[u8], tcp_at: usize, checksum_good: bool, listen: &impl Listen) -> Fate {
        let segment = match Segment::parse(packet, tcp_at, checksum_good) {
            Ok(segment) => segment,
            Err(reason) => return Fate::Refused { reason, reset: false },
        };
        if let Some(index) = self.conns.find(&segment.flow) {
            return Fate::Connection(match self.conns.at(index).state {
                State::SynSent(_) => Standing::SynSent,
                State::SynReceived { .. } => Standing::SynReceived,
                State::Live(_) => Standing::Live,
                State::Idle(_) => Standing::AtRest,
                State::TimeWait(_) => Standing::TimeWait,
                State::Vacant | State::Remains(_) | State::Ended(_) => Standing::Over,
            });
        }
        match self.stray(&segment, listen) {
            Stray::Refused { reason, reset } => Fate::Refused { reason, reset },
            Stray::Return(listener, _) => Fate::Returns(listener),
            Stray::Syn(listener) => match self.room() {
                Room::Yes => Fate::Opens(listener),
                Room::Cookie => Fate::Cookie(listener),
                Room::No(reason) => Fate::Refused { reason, reset: false },
            },
        }
    }
}

impl TcpHandle {
    /// What [`TcpHandle::input`] would make of a packet. Nothing is changed.
    pub fn fate(
        &self,
        now: Instant,
        packet: &[u8],
        (tcp_at, checksum_good): (usize, bool),
        listen: &impl Listen,
    ) -> Fate {
        self.enter(|tcp| {
            tcp.core.now = now;
            tcp.fate(packet, tcp_at, checksum_good, listen)
        })
    }
}
