//! TCP segments on the wire: read once at the edge into [`Segment`]; written by [`Header::emit`] where no socket does it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{io::checksum::Sum, verdict::DropReason};

use super::{flow::Flow, scoreboard::Block, seq::Seq, sink::SegmentSink};

/// Shortest TCP header, in bytes.
pub(super) const TCP_HEADER: usize = 20;
/// IPv4 header without options, in bytes.
pub(super) const IPV4_HEADER: usize = 20;
/// IPv6 header without extensions, in bytes.
pub(super) const IPV6_HEADER: usize = 40;
/// Longest segment that [`Header::write`] makes: IPv6, TCP, the options of a SYN.
pub(super) const MAX_CONTROL: usize = IPV6_HEADER + TCP_HEADER + 12;

const PROTOCOL_TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;

/// Control bits (RFC 9293 §3.1).
pub(super) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
}

/// What a SYN offers (RFC 9293 §3.2, RFC 7323 §2, RFC 2018 §2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct SynOptions {
    /// Maximum segment size, if given.
    pub(super) mss: Option<u16>,
    /// Window shift, if given, at most 14.
    pub(super) shift: Option<u8>,
    /// Selective acknowledgement permitted.
    pub(super) sack: bool,
}

/// What a segment acknowledges selectively (RFC 2018), as it came.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Selective {
    blocks: [Block; 4],
    count: usize,
}

impl Selective {
    /// Reads the options of a segment that starts with its TCP header, checked before.
    #[inline]
    pub(super) fn read(tcp: &[u8]) -> Self {
        let mut found = Self::default();
        let options = tcp.get(TCP_HEADER..usize::from(tcp[12] >> 4) * 4).unwrap_or_default();
        if !options.is_empty() {
            each_option(options, |kind, value| {
                for block in value.chunks_exact(8).filter(|_| kind == 5).take(4 - found.count) {
                    let word =
                        |at: usize| Seq(u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]));
                    found.blocks[found.count] = (word(0), word(4));
                    found.count += 1;
                }
            });
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks[..self.count]
    }

    /// Whether the first block reports octets that came twice: it lies before `ack`, or within the second (RFC 2883 §4).
    pub(super) fn duplicate(&self, ack: Seq) -> bool {
        match *self.blocks() {
            [first, ..] if !first.1.after(ack) => true,
            [first, second, ..] => !first.0.before(second.0) && !first.1.after(second.1),
            _ => false,
        }
    }
}

/// A checked incoming segment. `flow.local` is this host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) flow: Flow,
    pub(super) seq: Seq,
    pub(super) ack: Seq,
    pub(super) flags: u8,
    /// The field as sent, not shifted.
    pub(super) window: u16,
    /// Octets of data.
    pub(super) len: u32,
    /// Offset of the TCP header in the packet.
    pub(super) tcp_at: usize,
    /// Empty unless SYN is set.
    pub(super) options: SynOptions,
}

impl Segment {
    /// Reads an IP packet that carries TCP. `tcp_at` is where the transport header starts (behind extension headers, if any).
    pub(super) fn parse(packet: &[u8], tcp_at: usize, checksum_good: bool) -> Result<Self, DropReason> {
        let (src, dst, end) = addresses(packet).ok_or(DropReason::TcpMalformed)?;
        let tcp = packet.get(tcp_at..end).ok_or(DropReason::TcpMalformed)?;
        if tcp.len() < TCP_HEADER {
            return Err(DropReason::TcpMalformed);
        }
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if header_len < TCP_HEADER || header_len > tcp.len() {
            return Err(DropReason::TcpMalformed);
        }
        if !checksum_good && pseudo(src, dst, tcp.len()).add(tcp).folded() != 0xffff {
            return Err(DropReason::TcpBadChecksum);
        }
        let (sport, dport) = (u16::from_be_bytes([tcp[0], tcp[1]]), u16::from_be_bytes([tcp[2], tcp[3]]));
        let flags = tcp[13] & 0x3f;
        // RFC 9293 §3.10.7: combinations no TCP sends. Port 0 is reserved (RFC 6335 §6).
        if flags & flag::SYN != 0 && flags & (flag::FIN | flag::RST) != 0 || sport == 0 || dport == 0 {
            return Err(DropReason::TcpMalformed);
        }
        let options =
            if flags & flag::SYN != 0 { syn_options(&tcp[TCP_HEADER..header_len]) } else { SynOptions::default() };
        Ok(Self {
            flow: Flow { local: dst, remote: src, local_port: dport, remote_port: sport },
            seq: Seq(u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]])),
            ack: Seq(u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]])),
            flags,
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            len: (tcp.len() - header_len) as u32,
            tcp_at,
            options,
        })
    }

    #[inline]
    pub(super) const fn has(&self, bits: u8) -> bool {
        self.flags & bits == bits
    }

    /// The point after the last octet of the segment, SYN and FIN included.
    #[inline]
    pub(super) const fn end(&self) -> Seq {
        let control = (self.flags & flag::SYN != 0) as u32 + (self.flags & flag::FIN != 0) as u32;
        self.seq.plus(self.len + control)
    }
}

/// Source, destination and total length according to the header.
fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let head: &[u8; IPV4_HEADER] = packet.first_chunk()?;
            let src = Ipv4Addr::new(head[12], head[13], head[14], head[15]);
            let dst = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
            Some((src.into(), dst.into(), usize::from(u16::from_be_bytes([head[2], head[3]]))))
        }
        6 => {
            let head: &[u8; IPV6_HEADER] = packet.first_chunk()?;
            let src: [u8; 16] = head[8..24].try_into().ok()?;
            let dst: [u8; 16] = head[24..40].try_into().ok()?;
            let end = IPV6_HEADER + usize::from(u16::from_be_bytes([head[4], head[5]]));
            Some((Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into(), end))
        }
        _ => None,
    }
}

/// The running sum over the pseudo-header.
pub(super) fn pseudo(src: IpAddr, dst: IpAddr, len: usize) -> Sum {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Sum::new().add_pseudo(&src.octets(), &dst.octets(), PROTOCOL_TCP, len),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Sum::new().add_pseudo(&src.octets(), &dst.octets(), PROTOCOL_TCP, len),
        // A flow has one family by construction; an impossible pair gets a checksum that no receiver accepts.
        _ => Sum::new(),
    }
}

/// Reads the options of a SYN.
fn syn_options(bytes: &[u8]) -> SynOptions {
    let mut found = SynOptions::default();
    each_option(bytes, |kind, value| match (kind, value) {
        (2, &[high, low]) => found.mss = Some(u16::from_be_bytes([high, low])).filter(|&mss| mss != 0),
        (3, &[shift]) => found.shift = Some(shift.min(14)), // RFC 7323 §2.3
        (4, &[]) => found.sack = true,
        _ => {}
    });
    found
}

/// Shows each option with its value. Malformed lists end the reading: what was understood so far counts, as in other stacks.
fn each_option(mut bytes: &[u8], mut show: impl FnMut(u8, &[u8])) {
    while let Some((&kind, rest)) = bytes.split_first() {
        match kind {
            0 => break,
            1 => bytes = rest,
            _ => {
                let Some(&len) = rest.first() else { break };
                let Some(option) = bytes.get(..usize::from(len)).filter(|o| o.len() >= 2) else { break };
                show(kind, &option[2..]);
                bytes = &bytes[option.len()..];
            }
        }
    }
}

/// A segment without data that this host sends without a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) flow: Flow,
    pub(super) seq: Seq,
    /// Acknowledgement; sets the ACK bit when present.
    pub(super) ack: Option<Seq>,
    /// Bits beside ACK.
    pub(super) flags: u8,
    /// The field as sent.
    pub(super) window: u16,
    /// Written when SYN is set.
    pub(super) options: SynOptions,
    /// One octet of garbage, which some receivers want in a keep-alive (RFC 1122 §4.2.3.6).
    pub(super) garbage: bool,
}

impl Header {
    /// An ACK.
    pub(super) const fn ack(flow: Flow, seq: Seq, ack: Seq, window: u16) -> Self {
        Self {
            flow,
            seq,
            ack: Some(ack),
            flags: 0,
            window,
            options: SynOptions { mss: None, shift: None, sack: false },
            garbage: false,
        }
    }

    /// A reset at `seq`.
    pub(super) const fn reset(flow: Flow, seq: Seq, ack: Option<Seq>) -> Self {
        Self {
            flow,
            seq,
            ack,
            flags: flag::RST,
            window: 0,
            options: SynOptions { mss: None, shift: None, sack: false },
            garbage: false,
        }
    }

    /// Bytes of the whole IP packet.
    pub(super) fn len(&self) -> usize {
        let ip = if self.flow.local.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
        ip + TCP_HEADER + self.options_len() + usize::from(self.garbage)
    }

    fn options_len(&self) -> usize {
        if self.flags & flag::SYN == 0 {
            return 0;
        }
        4 * (usize::from(self.options.mss.is_some())
            + usize::from(self.options.shift.is_some())
            + usize::from(self.options.sack))
    }

    /// Hands the segment to the sink. False if the sink has no room: the loss is the sink's to count, and TCP's to repair.
    pub(super) fn emit<S: SegmentSink>(&self, sink: &mut S) -> bool {
        let len = self.len();
        let Some(buffer) = sink.reserve(len) else { return false };
        let tcp_at = self.write(&mut buffer[..len], true);
        sink.commit(super::sink::Sent { tcp_at, checksum_partial: false, segment_size: 0 });
        true
    }

    /// Writes the packet into exactly [`Self::len`] bytes; returns the offset of the TCP header. Checksums are filled in
    /// unless the reader is known not to look.
    pub(super) fn write(&self, buffer: &mut [u8], checksums: bool) -> usize {
        let tcp_at = write_ip(self.flow, buffer, checksums);
        let tcp = &mut buffer[tcp_at..];
        tcp[0..2].copy_from_slice(&self.flow.local_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.flow.remote_port.to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.unwrap_or_default().0.to_be_bytes());
        tcp[12] = ((TCP_HEADER + self.options_len()) as u8 / 4) << 4;
        tcp[13] = self.flags | if self.ack.is_some() { flag::ACK } else { 0 };
        tcp[14..16].copy_from_slice(&self.window.to_be_bytes());
        tcp[16..20].fill(0);
        let mut at = TCP_HEADER;
        let mut option = |bytes: [u8; 4]| {
            tcp[at..at + 4].copy_from_slice(&bytes);
            at += 4;
        };
        if self.flags & flag::SYN != 0 {
            if let Some(mss) = self.options.mss {
                let [high, low] = mss.to_be_bytes();
                option([2, 4, high, low]);
            }
            if self.options.sack {
                option([1, 1, 4, 2]);
            }
            if let Some(shift) = self.options.shift {
                option([1, 3, 3, shift]);
            }
        }
        if self.garbage {
            tcp[at] = 0;
        }
        if checksums {
            let sum = pseudo(self.flow.local, self.flow.remote, tcp.len()).add(tcp).finish();
            tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        }
        tcp_at
    }
}

/// Writes an IP header from `flow.local` to `flow.remote` for a packet as long as the buffer.
fn write_ip(flow: Flow, buffer: &mut [u8], checksums: bool) -> usize {
    let len = buffer.len();
    match (flow.local, flow.remote) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let head = &mut buffer[..IPV4_HEADER];
            // Version and length; DSCP 0; identification 0 with DF set (RFC 6864 §4.1).
            head[..12].copy_from_slice(&[
                0x45,
                0,
                (len >> 8) as u8,
                len as u8,
                0,
                0,
                0x40,
                0,
                HOP_LIMIT,
                PROTOCOL_TCP,
                0,
                0,
            ]);
            head[12..16].copy_from_slice(&src.octets());
            head[16..20].copy_from_slice(&dst.octets());
            if checksums {
                let sum = Sum::new().add(head).finish();
                head[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            IPV4_HEADER
        }
        (src, dst) => {
            let payload = len - IPV6_HEADER;
            let head = &mut buffer[..IPV6_HEADER];
            head[..8].copy_from_slice(&[0x60, 0, 0, 0, (payload >> 8) as u8, payload as u8, PROTOCOL_TCP, HOP_LIMIT]);
            head[8..24].copy_from_slice(&octets(src));
            head[24..40].copy_from_slice(&octets(dst));
            IPV6_HEADER
        }
    }
}

/// An address as 16 bytes (IPv4 mapped, RFC 4291 §2.5.5.2).
pub(super) const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
