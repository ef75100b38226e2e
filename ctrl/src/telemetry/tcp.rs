//! TCP, summed over the cores.

use tidegate_dataplane::l4::Stats;
use tidegate_dataplane::sync::counter::Counter;

use super::Telemetry;
use super::family::Family;

type Of = fn(&Stats) -> &Counter;

const COUNTERS: &[(&str, &str, Of)] = &[
    ("tidegate_tcp_active_opens_total", "Connections opened by this host.", |t| &t.active_opens),
    ("tidegate_tcp_passive_opens_total", "Connections accepted.", |t| &t.passive_opens),
    ("tidegate_tcp_failed_opens_total", "Opens that were refused, unreachable or timed out.", |t| &t.failed_opens),
    ("tidegate_tcp_half_open_timeouts_total", "Handshakes that clients did not complete.", |t| &t.half_open_timeouts),
    ("tidegate_tcp_time_wait_overflows_total", "TIME-WAIT states skipped at the limit.", |t| &t.time_wait_overflows),
    ("tidegate_tcp_cookies_sent_total", "SYN cookies sent.", |t| &t.cookies_sent),
    ("tidegate_tcp_cookies_accepted_total", "Connections made from a SYN cookie.", |t| &t.cookies_accepted),
    ("tidegate_tcp_accept_overflows_total", "Connections refused because the accept queue was full.", |t| {
        &t.accept_overflows
    }),
    ("tidegate_tcp_segments_received_total", "Segments received.", |t| &t.segments_in),
    ("tidegate_tcp_segments_sent_total", "Segments sent.", |t| &t.segments_out),
    ("tidegate_tcp_retransmits_total", "Data segments sent again.", |t| &t.retransmits),
    ("tidegate_tcp_early_retransmits_total", "Retransmissions before the retransmission timer.", |t| {
        &t.early_retransmits
    }),
    ("tidegate_tcp_handshake_retransmits_total", "SYNs and SYN-ACKs sent again.", |t| &t.handshake_retransmits),
    ("tidegate_tcp_path_mtu_reductions_total", "Reports that a path takes shorter segments only.", |t| {
        &t.path_mtu_reductions
    }),
    ("tidegate_tcp_resets_sent_total", "Resets sent.", |t| &t.resets_sent),
    ("tidegate_tcp_resets_received_total", "Valid resets received.", |t| &t.resets_received),
    ("tidegate_tcp_challenge_acks_total", "Challenge ACKs sent (RFC 5961).", |t| &t.challenge_acks),
    ("tidegate_tcp_timeouts_total", "Connections given up for silence of the peer.", |t| &t.timeouts),
    ("tidegate_tcp_keepalives_total", "Keep-alive probes sent.", |t| &t.keepalives),
    ("tidegate_tcp_hydrations_total", "Records turned into sockets.", |t| &t.hydrations),
    ("tidegate_tcp_dehydrations_total", "Sockets turned into records.", |t| &t.dehydrations),
    ("tidegate_tcp_buffer_growths_total", "Times a connection got larger buffers.", |t| &t.buffer_growths),
    ("tidegate_tcp_buffer_shortages_total", "Times there was no buffer memory left.", |t| &t.buffer_shortages),
    ("tidegate_tcp_outbox_overflows_total", "Resets and ACKs that found no room in the queue for them.", |t| {
        &t.outbox_overflows
    }),
];

const GAUGES: &[(&str, &str, Of)] = &[
    ("tidegate_tcp_half_open_connections", "Half-open connections.", |t| &t.half_open),
    ("tidegate_tcp_live_connections", "Connections with a socket and buffers.", |t| &t.live),
    ("tidegate_tcp_idle_connections", "Established connections that hold only a record.", |t| &t.idle),
    ("tidegate_tcp_time_wait_connections", "TIME-WAIT records.", |t| &t.time_wait),
    ("tidegate_tcp_buffer_bytes", "Bytes of buffers in use or pooled.", |t| &t.buffer_bytes),
];

pub(super) fn families(telemetry: &Telemetry) -> Vec<Family> {
    let sum = |of: Of| telemetry.sum(|core| of(&core.tcp));
    let counters = COUNTERS.iter().map(|(name, help, of)| Family::counter(name, help).with(&[], sum(*of)));
    let gauges = GAUGES.iter().map(|(name, help, of)| Family::gauge(name, help).with(&[], sum(*of)));
    counters.chain(gauges).collect()
}
