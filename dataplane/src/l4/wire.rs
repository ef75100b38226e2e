//! The one-frame device between a connection's smoltcp socket and the port: lends frames, and finishes what smoltcp wrote.
//!
//! smoltcp neither verifies nor computes checksums here; both are done once, at the edge. What it writes is corrected on the way
//! out: the window field is put into the scale that this host announced, and the right edge of the window never moves back
//! nor forward in crumbs (RFC 9293 §3.8.6.2).

use core::num::{NonZeroU16, NonZeroUsize};

use smoltcp::{
    phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken},
    time::Instant as SocketInstant,
};

use crate::clock::Instant;

use super::{
    early::{Early, MAX_OPTION},
    segment::{IPV4_HEADER, IPV6_HEADER, TCP_HEADER, flag},
    seq::Seq,
    sink::{Capabilities, SegmentSink, Sent},
};
use crate::io::checksum::Sum;

/// How much faster smoltcp's clock runs than the wall: its fixed minimum timeout of 1 s, after which it probes a closed window, becomes
/// 125 ms, its millisecond round-trip times get a resolution of 125 µs.
pub(super) const CLOCK_SCALE: u64 = 8;

/// Wall time as smoltcp is told it.
#[inline]
pub(super) fn socket_time(now: Instant) -> SocketInstant {
    SocketInstant::from_micros((now.as_nanos() / (1_000 / CLOCK_SCALE)) as i64)
}

/// The wall time at which smoltcp's clock reaches `at`.
#[inline]
pub(super) fn wall_time(at: SocketInstant) -> Instant {
    Instant::from_nanos(at.total_micros().max(0) as u64 * (1_000 / CLOCK_SCALE))
}

/// Longest packet without data that smoltcp writes: with one selective acknowledgement.
const LONGEST_ACK: usize = IPV6_HEADER + TCP_HEADER + 12;

/// The device's shape as smoltcp sees it: super-segments of up to `super_segment` octets if that is not 0. Over IPv4 only: smoltcp
/// 0.14 drops those of IPv6 for being longer than the MTU.
pub(super) fn capabilities(mtu: usize, super_segment: usize) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = mtu;
    capabilities.checksum = ChecksumCapabilities::ignored();
    capabilities.segmentation.tcpv4 = NonZeroUsize::new(super_segment);
    capabilities
}

/// Whether segments that were sent before may leave.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Gate {
    /// They are kept from the wire.
    #[default]
    Shut,
    /// They are sent again.
    Open,
}

/// What is learnt from the segments that a socket sends.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Track {
    pub(super) now: Instant,
    /// Highest point sent, FIN included.
    pub(super) snd_max: Seq,
    /// Last acknowledgement sent.
    pub(super) acked: Seq,
    /// Right edge of the window as the peer knows it.
    pub(super) rcv_adv: Seq,
    /// Right edge of the window as the socket remembers it: it takes nothing beyond.
    pub(super) socket_edge: Seq,
    /// The scale this host announced.
    pub(super) own_shift: u8,
    /// The scale the socket believes it announced.
    pub(super) socket_shift: u8,
    /// Least advance of the right edge that is worth telling.
    pub(super) edge_step: u32,
    /// Segments sent, wrapping.
    pub(super) segments: u32,
    /// What the peer is told about data that came early or twice.
    pub(super) early: Early,
    /// Data segments sent again, wrapping.
    pub(super) retransmits: u32,
    /// Octets sent, wrapping; those sent again count again.
    pub(super) octets: u32,
    /// Segments kept from the wire, wrapping.
    pub(super) passed_over: u32,
    /// Where the socket goes on: before `snd_max` while it sends again.
    pub(super) next: Seq,
    /// Whether segments that were sent before may be sent again.
    pub(super) gate: Gate,
    /// What was just sent again, and the highest point sent before it.
    pub(super) again: Option<(Seq, Seq, Seq)>,
    /// The socket sends its first segment again and goes on where it was.
    pub(super) first_only: bool,
    /// The peer has no room: all that the socket sends is probes of its window.
    pub(super) probing: bool,
    /// When data was last sent.
    pub(super) data_at: Instant,
    /// End and time of the segment being timed (RFC 6298 §3).
    pub(super) timed: Option<(Seq, Instant)>,
}

impl Track {
    /// Segments that the socket has sent or tried to.
    pub(super) fn moved(&self) -> u32 {
        self.segments.wrapping_add(self.passed_over)
    }

    /// The socket sends again what it has sent before.
    #[inline]
    pub(super) fn goes_over(&self) -> bool {
        self.next.before(self.snd_max)
    }

    /// Finishes a packet that smoltcp wrote: one segment, or several of `segment_size` octets each that the port will cut. `None` if it is
    /// not to be sent.
    fn finish(&mut self, packet: &mut [u8], port: Capabilities, segment_size: u16) -> Option<Sent> {
        let v4 = packet[0] >> 4 == 4;
        let tcp_at = if v4 { IPV4_HEADER } else { IPV6_HEADER };
        let len = packet.len();
        let tcp = &mut packet[tcp_at..];
        let seq = Seq(u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]));
        let ack = Seq(u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]));
        let payload = (len - tcp_at - usize::from(tcp[12] >> 4) * 4) as u32;
        let fin = tcp[13] & flag::FIN != 0;
        let field = u16::from_be_bytes([tcp[14], tcp[15]]);
        let end = seq.plus(payload + u32::from(fin));
        if end == seq {
            if self.goes_over() && !self.probing {
                // A number from before what was sent would make the peer drop the acknowledgement.
                tcp[4..8].copy_from_slice(&self.snd_max.0.to_be_bytes());
            }
        } else if !self.lets_pass((seq, end)) {
            self.socket_edge = ack.plus(u32::from(field) << self.socket_shift);
            return None;
        }
        let count = if segment_size == 0 { 1 } else { payload.div_ceil(u32::from(segment_size)) };
        self.segments = self.segments.wrapping_add(count);
        self.octets = self.octets.wrapping_add(payload);
        self.acked = ack;
        let window = self.window(ack, field);
        tcp[14..16].copy_from_slice(&window.to_be_bytes());
        tcp[16..18].fill(0);
        let tcp_len = len - tcp_at;
        let pseudo = if v4 {
            Sum::new().add_pseudo(&packet[12..16], &packet[16..20], 6, tcp_len)
        } else {
            Sum::new().add_pseudo(&packet[8..24], &packet[24..40], 6, tcp_len)
        };
        // Who cuts a packet computes the checksums of its parts.
        let partial = port.checksum || segment_size != 0;
        let sum = if partial { pseudo.folded() } else { pseudo.add(&packet[tcp_at..]).finish() };
        packet[tcp_at + 16..tcp_at + 18].copy_from_slice(&sum.to_be_bytes());
        if v4 {
            packet[10..12].fill(0);
            let sum = Sum::new().add(&packet[..IPV4_HEADER]).finish();
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(Sent { tcp_at, checksum_partial: partial, segment_size })
    }

    /// Whether a segment from `seq` to `end` may leave, and what follows if it does.
    fn lets_pass(&mut self, (seq, end): (Seq, Seq)) -> bool {
        if !self.first_only && !self.probing {
            self.next = end;
        }
        let old = seq.before(self.snd_max);
        if old && !self.probing && self.gate == Gate::Shut && !end.after(self.snd_max) {
            self.passed_over = self.passed_over.wrapping_add(1);
            return false;
        }
        self.data_at = self.now;
        if old {
            self.again = Some((seq, end.min(self.snd_max), self.snd_max));
            self.retransmits = self.retransmits.wrapping_add(1);
            self.timed = None; // Karn's algorithm: an acknowledgement of it would say nothing.
        } else if self.timed.is_none() {
            self.timed = Some((end, self.now));
        }
        self.snd_max = self.snd_max.max(end);
        true
    }

    /// The window field to send for the one that the socket wrote.
    pub(super) fn window(&mut self, ack: Seq, field: u16) -> u16 {
        let edge = ack.plus(u32::from(field) << self.socket_shift);
        self.socket_edge = edge;
        if edge.since(self.rcv_adv) >= self.edge_step as i32 {
            self.rcv_adv = edge;
        }
        let window = self.rcv_adv.since(ack).max(0) as u32 >> self.own_shift;
        window.min(u32::from(u16::MAX)) as u16
    }
}

/// The device: at most one packet in, segments out through the sink.
pub(super) struct Wire<'a, S> {
    pub(super) packet: Option<&'a [u8]>,
    pub(super) sink: &'a mut S,
    pub(super) track: &'a mut Track,
    pub(super) mtu: usize,
}

impl<S: SegmentSink> Device for Wire<'_, S> {
    type RxToken<'t>
        = Arrived<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Lent<'t, S>
    where
        Self: 't;

    fn receive(&mut self, _: SocketInstant) -> Option<(Arrived<'_>, Lent<'_, S>)> {
        let packet = self.packet.take()?;
        Some((Arrived(packet), Lent { sink: self.sink, track: self.track, meta: PacketMeta::default() }))
    }

    fn transmit(&mut self, _: SocketInstant) -> Option<Lent<'_, S>> {
        self.sink.has_room().then_some(Lent { sink: self.sink, track: self.track, meta: PacketMeta::default() })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu, self.sink.capabilities().super_segment as usize)
    }
}

/// The packet handed in.
pub(super) struct Arrived<'a>(&'a [u8]);

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Leave to send one packet.
pub(super) struct Lent<'a, S> {
    sink: &'a mut S,
    track: &'a mut Track,
    meta: PacketMeta,
}

impl<S: SegmentSink> Lent<'_, S> {
    /// Sends what `f` writes, an acknowledgement most likely, with what is to be told about early data.
    fn tell<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut scratch = [0; LONGEST_ACK + MAX_OPTION];
        let result = f(&mut scratch[..len]);
        let tcp_at = if scratch[0] >> 4 == 4 { IPV4_HEADER } else { IPV6_HEADER };
        let len = self.track.early.tell(&mut scratch, len, tcp_at);
        let port = self.sink.capabilities();
        if let Some(buffer) = self.sink.reserve(len) {
            let packet = &mut buffer[..len];
            packet.copy_from_slice(&scratch[..len]);
            if let Some(sent) = self.track.finish(packet, port, 0) {
                self.sink.commit(sent);
            }
        }
        result
    }
}

impl<S: SegmentSink> TxToken for Lent<'_, S> {
    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }

    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if len <= LONGEST_ACK && !self.track.early.is_empty() {
            return self.tell(len, f);
        }
        let port = self.sink.capabilities();
        let segment_size = self.meta.segmentation_offload_size.map_or(0, NonZeroU16::get);
        let Some(buffer) = self.sink.reserve(len) else {
            // An ACK in reply to a segment while frames are short. smoltcp must write somewhere; the peer will ask again.
            return f(&mut vec![0; len]);
        };
        let packet = &mut buffer[..len];
        let result = f(packet);
        if let Some(sent) = self.track.finish(packet, port, segment_size) {
            self.sink.commit(sent);
        }
        result
    }
}

/// Swallows what a socket says while it is being hydrated.
pub(super) struct Discard(pub(super) [u8; 128]);

impl SegmentSink for Discard {
    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum: true, super_segment: 0 }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.get_mut(..len)
    }

    fn commit(&mut self, _: Sent) {}
}
