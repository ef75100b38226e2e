//! What one core's TCP counts. Written by that core, read by anyone.

use crate::sync::counter::Counter;

/// Counters of one core's TCP; gauges say so.
#[derive(Default, Debug)]
pub struct Stats {
    /// Connections opened by this host (SYNs sent first).
    pub active_opens: Counter,
    /// Connections accepted.
    pub passive_opens: Counter,
    /// Opens by this host that failed: refused, unreachable or timed out.
    pub failed_opens: Counter,
    /// Half-open passive connections (gauge).
    pub half_open: Counter,
    /// Half-open connections given up because the handshake was not completed.
    pub half_open_timeouts: Counter,
    /// Connections with a socket and buffers (gauge).
    pub live: Counter,
    /// Established connections that hold only a record (gauge).
    pub idle: Counter,
    /// TIME-WAIT records (gauge).
    pub time_wait: Counter,
    /// TIME-WAIT states skipped because the limit was reached.
    pub time_wait_overflows: Counter,
    /// SYN cookies sent.
    pub cookies_sent: Counter,
    /// Connections made from a SYN cookie that came back.
    pub cookies_accepted: Counter,
    /// Established connections refused because the accept queue was full.
    pub accept_overflows: Counter,
    /// Segments received for TCP.
    pub segments_in: Counter,
    /// Segments sent.
    pub segments_out: Counter,
    /// Data segments sent again.
    pub retransmits: Counter,
    /// Retransmissions that acknowledgements or the loss probe started, before the retransmission timer.
    pub early_retransmits: Counter,
    /// Times the retransmission timer fired.
    pub timer_retransmits: Counter,
    /// SYNs and SYN-ACKs sent again.
    pub handshake_retransmits: Counter,
    /// Reports of routers that a segment was too long for the path, which made later ones shorter.
    pub path_mtu_reductions: Counter,
    /// Resets sent.
    pub resets_sent: Counter,
    /// Valid resets received.
    pub resets_received: Counter,
    /// Challenge ACKs sent (RFC 5961).
    pub challenge_acks: Counter,
    /// Connections given up after the user timeout or unanswered keep-alives.
    pub timeouts: Counter,
    /// Keep-alive probes sent.
    pub keepalives: Counter,
    /// Records turned into sockets.
    pub hydrations: Counter,
    /// Sockets turned into records.
    pub dehydrations: Counter,
    /// Times a connection moved to larger buffers.
    pub buffer_growths: Counter,
    /// Times there was no buffer memory for a connection that needed a socket.
    pub buffer_shortages: Counter,
    /// Bytes of buffers in use or pooled (gauge).
    pub buffer_bytes: Counter,
    /// Resets and ACKs of this host that found no room in the queue for them.
    pub outbox_overflows: Counter,
}
