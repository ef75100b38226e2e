//! Cuts a TCP super-segment into the packets that its sender would have sent, for a port that cannot.

use super::checksum::Sum;
use crate::{
    frame::{Arena, Frame},
    meta::{Flags, Meta},
    verdict::DropReason,
};

/// Bytes of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
const TCP: u8 = 6;
// TCP flags (RFC 9293 §3.1, RFC 3168 §6.1).
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Cuts the packet `data`, whose headers are where `meta` says, into packets of at most [`Meta::segment_size`] bytes of payload, in order.
/// Each has its own length, IPv4 identification, sequence number, flags and complete checksums.
///
/// # Errors
/// The headers are not where `meta` says ([`DropReason::TcpMalformed`]), or memory ran out ([`DropReason::NoFrame`],
/// [`DropReason::TooLong`]): what was emitted until then is good, the rest is lost, and TCP will send it again.
pub fn cut(data: &[u8], meta: &Meta, arena: &Arena, mut emit: impl FnMut(Frame, Meta)) -> Result<(), DropReason> {
    let packet = SuperSegment::parse(data, meta).ok_or(DropReason::TcpMalformed)?;
    let size = usize::from(meta.segment_size);
    let count = packet.payload.len().div_ceil(size);
    let mut meta = Meta { segment_size: 0, checksum_start: 0, checksum_offset: 0, ..*meta };
    meta.flags.remove(Flags::CHECKSUM_PARTIAL);
    for (index, payload) in packet.payload.chunks(size).enumerate() {
        let mut segment = arena.alloc().ok_or(DropReason::NoFrame)?;
        let room = segment.extend(packet.headers.len() + payload.len()).ok_or(DropReason::TooLong)?;
        let (headers, body) = room.split_at_mut(packet.headers.len());
        headers.copy_from_slice(packet.headers);
        body.copy_from_slice(payload);
        let place = Place { index, offset: index * size, is_last: index + 1 == count };
        packet.number(room, place);
        packet.sum(room);
        emit(segment, meta);
    }
    Ok(())
}

/// Where a segment lies in the super-segment.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    /// Payload bytes before it.
    offset: usize,
    is_last: bool,
}

/// A super-segment whose headers have been found.
struct SuperSegment<'a> {
    /// All headers, Ethernet's too.
    headers: &'a [u8],
    payload: &'a [u8],
    /// Offsets of the IP and the TCP header.
    ip: usize,
    tcp: usize,
    v4: bool,
}

impl<'a> SuperSegment<'a> {
    fn parse(data: &'a [u8], meta: &Meta) -> Option<Self> {
        let (ip, tcp) = (usize::from(meta.l3), usize::from(meta.l4));
        let v4 = match data.get(ip)? >> 4 {
            4 if tcp >= ip + 20 => true,
            6 if tcp >= ip + IPV6_HEADER => false,
            _ => return None,
        };
        let tcp_header = usize::from(data.get(tcp + 12)? >> 4) * 4;
        if tcp_header < 20 || meta.segment_size == 0 {
            return None;
        }
        let (headers, payload) = data.split_at_checked(tcp + tcp_header)?;
        Some(Self { headers, payload, ip, tcp, v4 })
    }

    /// Makes the copied headers those of the segment at `place`.
    fn number(&self, segment: &mut [u8], place: Place) {
        let length = segment.len() - self.ip;
        let ip = &mut segment[self.ip..];
        if self.v4 {
            ip[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(place.index as u16);
            ip[4..6].copy_from_slice(&id.to_be_bytes());
        } else {
            ip[4..6].copy_from_slice(&((length - IPV6_HEADER) as u16).to_be_bytes());
        }
        let tcp = &mut segment[self.tcp..];
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(place.offset as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        // What ends the data goes with its end; the answer to a congestion mark is given once (RFC 3168 §6.1.2).
        if !place.is_last {
            tcp[13] &= !(FIN | PSH);
        }
        if place.index > 0 {
            tcp[13] &= !CWR;
        }
    }

    /// Computes the checksums.
    fn sum(&self, segment: &mut [u8]) {
        let (ip, tcp) = segment[self.ip..].split_at_mut(self.tcp - self.ip);
        let pseudo = if self.v4 {
            ip[10..12].fill(0);
            let sum = Sum::new().add(ip).finish();
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            Sum::new().add_pseudo(&ip[12..16], &ip[16..20], TCP, tcp.len())
        } else {
            Sum::new().add_pseudo(&ip[8..24], &ip[24..40], TCP, tcp.len())
        };
        tcp[16..18].fill(0);
        let sum = pseudo.add(tcp).finish();
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::*;

    fn super_segment(v4: bool, options: usize, payload: &[u8]) -> (Vec<u8>, Meta) {
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let ip = if v4 { link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64) } else { link.ipv6([1; 16], [2; 16], 64) };
        let tcp = ip.tcp(1000, 2000, u32::MAX - 3000, 5000).ack(77).psh().fin().cwr();
        let tcp = tcp.options_raw(&vec![1; options * 4]).unwrap();
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, payload).unwrap();
        let l4 = if v4 { 34 } else { 54 };
        // What an offloading sender leaves in the field is not to matter.
        bytes[l4 + 16..l4 + 18].copy_from_slice(&[0xab, 0xcd]);
        let meta = Meta {
            l3: 14,
            l4: l4 as u16,
            checksum_start: l4 as u16,
            checksum_offset: 16,
            flags: Flags::CHECKSUM_PARTIAL,
            ..Meta::default()
        };
        (bytes, meta)
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            v4: bool, options in 0usize..10, size in 1u16..1400, payload in prop::collection::vec(any::<u8>(), 1..9000),
        ) {
            let count = payload.len().div_ceil(usize::from(size));
            let arena = Arena::new(count, 2048).unwrap();
            let (bytes, meta) = super_segment(v4, options, &payload);
            let meta = Meta { segment_size: size, ..meta };
            let mut parts = Vec::new();
            cut(&bytes, &meta, &arena, |frame, meta| parts.push((frame, meta))).unwrap();
            prop_assert_eq!(parts.len(), count);
            let mut seen = Vec::new();
            for (index, (frame, meta)) in parts.iter().enumerate() {
                prop_assert_eq!((meta.segment_size, meta.flags), (0, Flags::empty()));
                let packet = SlicedPacket::from_ethernet(frame.data()).unwrap();
                let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("TCP") };
                prop_assert_eq!(tcp.sequence_number(), (u32::MAX - 3000).wrapping_add(seen.len() as u32));
                let last = index + 1 == count;
                prop_assert_eq!((tcp.fin(), tcp.psh(), tcp.cwr(), tcp.ack()), (last, last, index == 0, true));
                match &packet.net {
                    Some(etherparse::NetSlice::Ipv4(ip)) => {
                        let header = ip.header();
                        prop_assert_eq!(usize::from(header.identification()), index);
                        prop_assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                        prop_assert_eq!(usize::from(header.total_len()), frame.len() - 14);
                        prop_assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap());
                    }
                    Some(etherparse::NetSlice::Ipv6(ip)) => {
                        let header = ip.header();
                        prop_assert_eq!(usize::from(header.payload_length()), frame.len() - 54);
                        prop_assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(header.source(), header.destination()).unwrap());
                    }
                    other => panic!("{other:?}"),
                }
                seen.extend_from_slice(tcp.payload());
            }
            prop_assert_eq!(seen, payload);
        }
    }

    #[test]
    fn nonsense_and_shortage_are_reported() {
        let (big, arena) = (Arena::new(1, 8192).unwrap(), Arena::new(2, 2048).unwrap());
        let (bytes, meta) = super_segment(true, 0, &[7; 4000]);
        let frame = big.copy_from(&bytes).unwrap();
        let try_cut = |meta: Meta| {
            let mut count = 0;
            (cut(frame.data(), &meta, &arena, |_, _| count += 1), count)
        };
        assert_eq!(
            try_cut(Meta { segment_size: 1448, ..meta }),
            (Ok(()), 3),
            "each frame is home before the next is needed"
        );
        assert_eq!(try_cut(meta), (Err(DropReason::TcpMalformed), 0));
        assert_eq!(try_cut(Meta { segment_size: 1448, l4: 20, ..meta }), (Err(DropReason::TcpMalformed), 0));
        assert_eq!(try_cut(Meta { segment_size: 1448, l4: 8000, ..meta }), (Err(DropReason::TcpMalformed), 0));
        assert_eq!(try_cut(Meta { segment_size: 3000, ..meta }), (Err(DropReason::TooLong), 0));
        let mut held = Vec::new();
        let cut = cut(frame.data(), &Meta { segment_size: 1448, ..meta }, &arena, |frame, _| held.push(frame));
        assert_eq!((cut, held.len()), (Err(DropReason::NoFrame), 2));
        drop(held);
        assert_eq!(arena.available(), 2);
    }
}
