//! What remains of an established connection without a socket: enough to make one.

use crate::clock::Instant;

use super::seq::Seq;

/// Largest window shift that is ever announced: windows up to 4 MiB.
pub(super) const MAX_SHIFT: u8 = 7;

/// The state of a connection at rest: everything acknowledged, nothing buffered.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Record {
    /// Next number to send; everything before it is acknowledged.
    pub(super) snd_nxt: Seq,
    /// Next number expected.
    pub(super) rcv_nxt: Seq,
    /// Right edge of the window as the peer knows it.
    pub(super) rcv_adv: Seq,
    /// Smoothed round-trip time in microseconds; 0 unknown.
    pub(super) rtt_us: u32,
    /// The peer's window field, to be shifted by `peer_shift`.
    pub(super) window: u16,
    /// Octets per segment towards the peer.
    pub(super) mss: u16,
    /// The peer's window scale; `None` if it offered none, and then ours is 0 too (RFC 7323 §2.2).
    pub(super) peer_shift: Option<u8>,
    /// The window scale this host announced.
    pub(super) own_shift: u8,
    /// Both ends permit SACK.
    pub(super) sack: bool,
    /// Buffer classes of the socket to make.
    pub(super) rx_class: u8,
    pub(super) tx_class: u8,
}

impl Record {
    /// The window field of an ACK sent without a socket.
    pub(super) fn own_window(&self) -> u16 {
        let window = self.rcv_adv.since(self.rcv_nxt).max(0) as u32 >> self.own_shift;
        window.min(u32::from(u16::MAX)) as u16
    }
}

/// An established connection at rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) record: Record,
    /// When the peer was last heard.
    pub(super) heard: Instant,
    /// No challenge ACK before this (RFC 5961 §7).
    pub(super) challenge_at: Instant,
    /// Keep-alive probes since then.
    pub(super) probes: u8,
    /// The peer waits for an acknowledgement.
    pub(super) ack_due: bool,
}

/// A connection that this host closed first and whose number pair must stay unused for a while (RFC 9293 §3.6.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeWait {
    pub(super) snd_nxt: Seq,
    pub(super) rcv_nxt: Seq,
    pub(super) window: u16,
    pub(super) until: Instant,
}

/// How a connection ended, for the user who still holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Closed in order on both sides.
    Finished,
    /// The peer reset it.
    Reset,
    /// The peer fell silent.
    TimedOut,
    /// The peer refused to open it.
    Refused,
    /// The network says that the peer cannot be reached.
    Unreachable,
    /// This host aborted it.
    Aborted,
}
