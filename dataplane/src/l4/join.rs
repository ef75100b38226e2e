//! Consecutive segments of a flow become one before TCP sees them, as a NIC or the kernel would have it (LRO, GRO): most of what a
//! bulk transfer costs is counted in segments, not in octets.

use super::segment::{IPV4_HEADER, IPV6_HEADER, TCP_HEADER, flag};
use crate::io::checksum::Sum;

/// Longest joined packet: what the length fields of IP can say.
const LONGEST: usize = 65_535;
const PROTOCOL_TCP: u8 = 6;

/// A segment that carries nothing but data: no options, no flag beside ACK and PSH.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// From the IP header to the end of the data.
    packet: &'a [u8],
    tcp_at: usize,
    seq: u32,
}

impl<'a> Part<'a> {
    /// The segment in `packet`, whose TCP header is at `tcp_at`. `None` if it has to go alone.
    #[inline]
    pub fn of(packet: &'a [u8], tcp_at: usize) -> Option<Self> {
        let length = |at: usize| Some(usize::from(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?])));
        let end = match packet.first()? >> 4 {
            4 if tcp_at == IPV4_HEADER => length(2)?,
            6 if tcp_at == IPV6_HEADER => IPV6_HEADER + length(4)?,
            _ => return None,
        };
        let packet = packet.get(..end)?;
        let tcp = packet.get(tcp_at..tcp_at + TCP_HEADER)?;
        let plain = usize::from(tcp[12] >> 4) * 4 == TCP_HEADER && tcp[13] & !PUSH == flag::ACK;
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        (plain && end > tcp_at + TCP_HEADER).then_some(Self { packet, tcp_at, seq })
    }

    fn data(&self) -> &'a [u8] {
        &self.packet[self.tcp_at + TCP_HEADER..]
    }

    /// Addresses.
    fn ends(&self) -> &'a [u8] {
        if self.tcp_at == IPV4_HEADER { &self.packet[12..20] } else { &self.packet[8..40] }
    }

    /// Whether `next` is of the same flow, begins where this one ends, and acknowledges the same.
    #[inline]
    pub fn goes_on(&self, next: &Self) -> bool {
        let (a, b) = (&self.packet[self.tcp_at..], &next.packet[next.tcp_at..]);
        self.seq.wrapping_add(self.data().len() as u32) == next.seq
            && self.tcp_at == next.tcp_at
            && a[..4] == b[..4]
            && a[8..12] == b[8..12]
            && self.ends() == next.ends()
    }

    /// Whether the checksum of the segment is right.
    pub fn is_sound(&self) -> bool {
        let (tcp, ends) = (&self.packet[self.tcp_at..], self.ends());
        let (src, dst) = ends.split_at(ends.len() / 2);
        Sum::new().add_pseudo(src, dst, PROTOCOL_TCP, tcp.len()).add(tcp).folded() == 0xffff
    }
}

/// Where segments are joined.
#[derive(Debug)]
pub struct Joint {
    packet: Vec<u8>,
    tcp_at: usize,
    parts: u32,
}

impl Default for Joint {
    fn default() -> Self {
        Self { packet: Vec::with_capacity(LONGEST), tcp_at: 0, parts: 0 }
    }
}

impl Joint {
    /// Begins anew with `first`.
    pub fn start(&mut self, first: &Part<'_>) {
        self.packet.clear();
        self.packet.extend_from_slice(first.packet);
        (self.tcp_at, self.parts) = (first.tcp_at, 1);
    }

    /// Adds `next`, which goes on where the last one ended. `false` if there is no room.
    pub fn add(&mut self, next: &Part<'_>) -> bool {
        if self.packet.len() + next.data().len() > LONGEST {
            return false;
        }
        self.packet.extend_from_slice(next.data());
        // The newest window counts, and what ends the data.
        let (to, from) = (self.tcp_at, &next.packet[next.tcp_at..]);
        self.packet[to + 13] = from[13];
        self.packet[to + 14..to + 16].copy_from_slice(&from[14..16]);
        self.parts += 1;
        true
    }

    /// The joined packet, the offset of its TCP header, and of how many it was made. Its checksums are not set: those of its parts
    /// were looked at.
    pub fn finish(&mut self) -> (&mut [u8], usize, u32) {
        let len = self.packet.len();
        if self.tcp_at == IPV4_HEADER {
            self.packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        } else {
            self.packet[4..6].copy_from_slice(&((len - IPV6_HEADER) as u16).to_be_bytes());
        }
        (&mut self.packet, self.tcp_at, self.parts)
    }
}

const PUSH: u8 = 8;

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, PacketHeaders, TransportHeader};

    use super::*;

    fn segment(v6: bool, seq: u32, push: bool, window: u16, payload: &[u8]) -> Vec<u8> {
        let ip = if v6 {
            PacketBuilder::ipv6([1; 16], [2; 16], 64)
        } else {
            PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let tcp = ip.tcp(1000, 2000, seq, window).ack(77);
        let mut bytes = Vec::new();
        if push { tcp.psh() } else { tcp }.write(&mut bytes, payload).unwrap();
        bytes
    }

    fn part(packet: &[u8]) -> Option<Part<'_>> {
        Part::of(packet, if packet[0] >> 4 == 4 { 20 } else { 40 })
    }

    #[test]
    fn what_goes_on_is_joined() {
        for v6 in [false, true] {
            let first = segment(v6, u32::MAX - 99, true, 5, &[1; 100]);
            // A frame may be longer than its packet.
            let second = [segment(v6, 0, false, 6, &[2; 50]), vec![9; 6]].concat();
            let third = segment(v6, 50, true, 7, &[3; 1]);
            let parts = [&first, &second, &third].map(|packet| part(packet).unwrap());
            assert!(parts[0].goes_on(&parts[1]) && parts[1].goes_on(&parts[2]) && !parts[0].goes_on(&parts[2]));
            assert!(parts.iter().all(Part::is_sound));
            let mut joint = Joint::default();
            joint.start(&parts[0]);
            assert!(joint.add(&parts[1]) && joint.add(&parts[2]));
            let (packet, _, count) = joint.finish();
            let headers = PacketHeaders::from_ip_slice(packet).unwrap();
            let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("TCP") };
            assert_eq!((tcp.sequence_number, tcp.window_size, tcp.psh, count), (u32::MAX - 99, 7, true, 3));
            assert_eq!(headers.payload.slice(), [vec![1; 100], vec![2; 50], vec![3; 1]].concat());
        }
    }

    #[test]
    fn what_differs_stays_apart() {
        let data = segment(false, 0, false, 5, &[1; 10]);
        let first = part(&data).unwrap();
        let changed = |at: usize, to: u8| {
            let mut next = segment(false, 10, false, 5, &[2; 10]);
            next[at] = to;
            next
        };
        let alone = [
            (32, 0x60), // options
            (33, 0x11), // FIN
            (33, 0x18 | 0x20),
            (2, 0xff), // longer than the frame
        ];
        for (at, to) in alone {
            assert!(part(&changed(at, to)).is_none(), "octet {at} = {to:#x}");
        }
        for (at, to) in [(15, 9), (19, 9), (21, 9), (23, 9), (27, 11), (31, 78)] {
            let next = changed(at, to);
            assert!(!first.goes_on(&part(&next).unwrap()), "octet {at} = {to:#x}");
        }
        let broken = changed(45, 3);
        let broken = part(&broken).unwrap();
        assert!(first.goes_on(&broken) && !broken.is_sound());
        assert!(part(&segment(false, 0, false, 5, &[])).is_none());
        assert!(part(&[0x45; 19]).is_none() && part(&[0x45]).is_none());
    }

    #[test]
    fn a_joined_packet_has_a_longest_length() {
        let data = segment(false, 0, false, 5, &[1; 1460]);
        let mut joint = Joint::default();
        joint.start(&part(&data).unwrap());
        let added = (0..100).take_while(|_| joint.add(&part(&data).unwrap())).count();
        assert_eq!(added, 43);
        assert_eq!(joint.finish().0.len(), 40 + 44 * 1460);
    }
}
