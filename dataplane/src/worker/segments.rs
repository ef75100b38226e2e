//! Between the pipeline and TCP: segments of a batch go in, segments to send come out as frames.

use core::net::SocketAddr;

use super::ports::Ports;
use crate::{
    batch::{Batch, Egress},
    clock::Instant,
    frame::{Arena, Frame, HEADROOM},
    io::Capabilities,
    l3::icmp::{self, FlowError, QuotedFlow},
    l4::{self, Fate, Flow, Listen, Outcome, SegmentSink, Sent, TcpHandle},
    meta::{Flags, Meta, Network},
    tables::Tables,
    verdict::{DropReason, Verdict},
};

/// Protocol number of TCP.
const TCP: u8 = 6;

/// Frames that TCP leaves in the arena for what arrives: a sender that eats all memory would stop its own acknowledgements.
const RESERVE: usize = 64;

/// Turns what TCP sends into packets of this host.
pub(super) struct Sink<'a> {
    arena: &'a Arena,
    egress: &'a mut Egress,
    capabilities: l4::Capabilities,
    frame: Option<Frame>,
}

impl<'a> Sink<'a> {
    /// `ports` is what every port of the core can do.
    pub(super) fn new(arena: &'a Arena, egress: &'a mut Egress, ports: Capabilities) -> Self {
        // Ethernet's header goes into the headroom.
        let room = (arena.chunk_size() - HEADROOM) as u32;
        let super_segment = if ports.tx_checksum { ports.tx_segment.min(room) } else { 0 };
        let capabilities = l4::Capabilities { checksum: ports.tx_checksum, super_segment };
        Self { arena, egress, capabilities, frame: None }
    }
}

impl SegmentSink for Sink<'_> {
    fn capabilities(&self) -> l4::Capabilities {
        self.capabilities
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.egress.room() > 0 && self.arena.available() > RESERVE.min(self.arena.capacity() / 4)
    }

    #[inline]
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        let mut frame = self.arena.alloc()?;
        frame.extend(len)?;
        Some(self.frame.insert(frame).data_mut())
    }

    #[inline]
    fn commit(&mut self, sent: Sent) {
        let Some(frame) = self.frame.take() else { return };
        let network = match frame.data().first().map(|byte| byte >> 4) {
            Some(4) => Network::Ipv4,
            _ => Network::Ipv6,
        };
        let mut meta =
            Meta { l4: sent.tcp_at as u16, protocol: TCP, segment_size: sent.segment_size, ..Meta::default() };
        if sent.checksum_partial {
            meta.flags |= Flags::CHECKSUM_PARTIAL;
            meta.checksum_start = meta.l4;
            meta.checksum_offset = 16;
        }
        self.egress.push_ip(frame, network, meta);
    }
}

/// Gives the batch's segments for this host to TCP. Returns how many there were.
pub(super) fn input(tcp: &TcpHandle, now: Instant, tables: &Tables, batch: &mut Batch, sink: &mut Sink<'_>) -> usize {
    let mut segments = 0;
    batch.each(Verdict::Deliver, |frame, meta| {
        if !is_segment(meta) {
            return control(tcp, frame, meta);
        }
        segments += 1;
        let l3 = usize::from(meta.l3);
        let at = usize::from(meta.l4) - l3;
        let good = meta.flags.contains(Flags::RX_CHECKSUM_GOOD);
        let segment = &mut frame.data_mut()[l3..];
        let outcome = if meta.flags.contains(Flags::HOST_PATH) {
            tcp.input(now, segment, (at, good), &Shared(tables), sink)
        } else {
            tcp.input(now, segment, (at, good), tables, sink)
        };
        match outcome {
            Outcome::Consumed => Verdict::Consumed,
            Outcome::Dropped(reason) => Verdict::Drop(reason),
        }
    });
    segments
}

/// What TCP would make of a segment for this host.
pub(super) fn fate(tcp: &TcpHandle, now: Instant, tables: &Tables, frame: &Frame, meta: &Meta) -> Fate {
    let l3 = usize::from(meta.l3);
    let offset = (usize::from(meta.l4).saturating_sub(l3), meta.flags.contains(Flags::RX_CHECKSUM_GOOD));
    let segment = frame.data().get(l3..).unwrap_or_default();
    if meta.flags.contains(Flags::HOST_PATH) {
        tcp.fate(now, segment, offset, &Shared(tables))
    } else {
        tcp.fate(now, segment, offset, tables)
    }
}

/// [`input`] for packets that do not exist: the verdicts alone.
pub(super) fn rehearse(tcp: &TcpHandle, now: Instant, tables: &Tables, batch: &mut Batch) {
    batch.each(Verdict::Deliver, |frame, meta| {
        if !is_segment(meta) {
            return control_verdict(tcp, frame, meta).0;
        }
        match fate(tcp, now, tables, frame, meta).outcome() {
            Outcome::Consumed => Verdict::Consumed,
            Outcome::Dropped(reason) => Verdict::Drop(reason),
        }
    });
}

/// The listeners of a host whose kernel has others.
struct Shared<'a>(&'a Tables);

impl Listen for Shared<'_> {
    fn listener(&self, local: SocketAddr) -> Option<u32> {
        self.0.listener(local)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// Whether a packet carries a whole TCP segment.
#[inline]
pub(super) fn is_segment(meta: &Meta) -> bool {
    meta.protocol == TCP && !meta.flags.intersects(Flags::FRAGMENT)
}

/// An ICMP error about a segment of ours. A report that the segment was too long is not acted upon: the MSS is clamped to the
/// port's MTU, and a forged one could slow a connection down (RFC 5927 §7).
fn control(tcp: &TcpHandle, frame: &Frame, meta: &Meta) -> Verdict {
    let (verdict, told) = control_verdict(tcp, frame, meta);
    if let Some((flow, sequence)) = told {
        tcp.unreachable(&flow, sequence);
    }
    verdict
}

/// What becomes of the message, and which flow is to be told about which sequence number.
fn control_verdict(tcp: &TcpHandle, frame: &Frame, meta: &Meta) -> (Verdict, Option<(Flow, u32)>) {
    match icmp::quoted_flow(frame, meta) {
        Some(QuotedFlow { local, remote, sequence, error: FlowError::Soft | FlowError::Hard }) => {
            let flow =
                Flow { local: local.ip(), remote: remote.ip(), local_port: local.port(), remote_port: remote.port() };
            if meta.flags.contains(Flags::HOST_PATH) && !tcp.knows(&flow) {
                return (Verdict::Drop(DropReason::IcmpIgnored), None);
            }
            (Verdict::Consumed, Some((flow, sequence)))
        }
        Some(_) => (Verdict::Drop(DropReason::IcmpIgnored), None),
        None => (Verdict::Deliver, None),
    }
}

/// Lets TCP send what is due.
pub(super) fn output(tcp: &TcpHandle, now: Instant, arena: &Arena, egress: &mut Egress, ports: &Ports) -> usize {
    let before = egress.len();
    tcp.output(now, &mut Sink::new(arena, egress, ports.common_capabilities()));
    egress.len() - before
}
