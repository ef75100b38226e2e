//! Packets that do not exist, made to be tried out: whole from Ethernet on, with right lengths and checksums.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::io::checksum::Sum;
use tidegate_dataplane::l2::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, tag};

/// Longest packet.
const MOST: usize = 9216;

/// What is known about a packet; the rest is made up as senders usually do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Station it is to.
    pub to_station: MacAddr,
    /// Station it is from.
    pub from_station: MacAddr,
    /// EtherType and identifier of each VLAN tag, outermost first.
    pub tags: Vec<(u16, u16)>,
    /// Where it is from.
    pub source: IpAddr,
    /// Where it is to.
    pub destination: IpAddr,
    /// Transport protocol.
    pub protocol: u8,
    /// Port it is from.
    pub source_port: u16,
    /// Port it is to.
    pub destination_port: u16,
    /// TTL or hop limit.
    pub hops: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv4: it may not be fragmented.
    pub dont_fragment: bool,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Bytes of the IP packet; as few as there can be without it.
    pub length: Option<usize>,
}

/// Why there cannot be such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CraftError {
    /// Source and destination are of different families.
    Families,
    /// Its headers alone are longer.
    TooShort {
        /// What they take.
        least: usize,
    },
    /// No port takes so long a packet.
    TooLong,
}

impl fmt::Display for CraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Families => f.write_str("source and destination must both be IPv4 or both IPv6 addresses"),
            Self::TooShort { least } => write!(f, "the length includes all headers from IP on: it is {least} at least"),
            Self::TooLong => write!(f, "the length is {MOST} at most"),
        }
    }
}

impl std::error::Error for CraftError {}

impl Draft {
    /// The packet.
    ///
    /// # Errors
    /// There cannot be such a packet.
    pub fn packet(&self) -> Result<Vec<u8>, CraftError> {
        let header = match (self.source, self.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => 20,
            (IpAddr::V6(_), IpAddr::V6(_)) => 40,
            _ => return Err(CraftError::Families),
        };
        let transport = match self.protocol {
            6 => 20,
            17 | 1 | 58 => 8,
            _ => 0,
        };
        let least = header + transport;
        let length = self.length.unwrap_or(least);
        if length < least {
            return Err(CraftError::TooShort { least });
        }
        if length > MOST {
            return Err(CraftError::TooLong);
        }
        let mut packet = self.ethernet(header == 20);
        let ip = packet.len();
        packet.resize(ip + length, 0);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(&mut packet[ip..], source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(&mut packet[ip..], source, destination),
            _ => {}
        }
        self.transport(&mut packet[ip + header..]);
        Ok(packet)
    }

    fn ethernet(&self, v4: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + tag::LENGTH * self.tags.len() + MOST);
        bytes.extend(self.to_station.0);
        bytes.extend(self.from_station.0);
        for (kind, vlan) in &self.tags {
            bytes.extend(kind.to_be_bytes());
            bytes.extend(vlan.to_be_bytes());
        }
        bytes.extend(if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 }.to_be_bytes());
        bytes
    }

    fn ipv4(&self, packet: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) {
        let length = packet.len() as u16;
        packet[0] = 0x45;
        packet[1] = self.traffic_class;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[6] = if self.dont_fragment { 0x40 } else { 0 };
        packet[8] = self.hops;
        packet[9] = self.protocol;
        packet[12..16].copy_from_slice(&source.octets());
        packet[16..20].copy_from_slice(&destination.octets());
        let sum = Sum::new().add(&packet[..20]).finish();
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    fn ipv6(&self, packet: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
        let length = (packet.len() - 40) as u16;
        packet[0] = 0x60 | self.traffic_class >> 4;
        packet[1] = self.traffic_class << 4;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet[6] = self.protocol;
        packet[7] = self.hops;
        packet[8..24].copy_from_slice(&source.octets());
        packet[24..40].copy_from_slice(&destination.octets());
    }

    fn transport(&self, segment: &mut [u8]) {
        let length = segment.len();
        let at = match self.protocol {
            6 => {
                segment[4..8].copy_from_slice(&1u32.to_be_bytes());
                segment[12] = 5 << 4;
                segment[13] = self.tcp_flags;
                segment[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
                16
            }
            17 => {
                segment[4..6].copy_from_slice(&(length as u16).to_be_bytes());
                6
            }
            // An echo request.
            1 => {
                segment[0] = 8;
                2
            }
            58 => {
                segment[0] = 128;
                2
            }
            _ => return,
        };
        if matches!(self.protocol, 6 | 17) {
            segment[0..2].copy_from_slice(&self.source_port.to_be_bytes());
            segment[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        }
        let sum = match (self.source, self.destination) {
            (IpAddr::V4(_), _) if self.protocol == 1 => Sum::new(),
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Sum::new().add_pseudo(&source.octets(), &destination.octets(), self.protocol, length)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Sum::new().add_pseudo(&source.octets(), &destination.octets(), self.protocol, length)
            }
            _ => return,
        };
        let sum = sum.add(segment).finish();
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The station that a packet to `destination` is sent to when that is a group of its own (RFC 1112 §6.4, RFC 2464 §7).
pub fn group_station(destination: IpAddr) -> Option<MacAddr> {
    match destination {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some(MacAddr::BROADCAST),
        IpAddr::V4(address) if address.is_multicast() => {
            let [_, b, c, d] = address.octets();
            Some(MacAddr([1, 0, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(address) if address.is_multicast() => {
            let [.., a, b, c, d] = address.octets();
            Some(MacAddr([0x33, 0x33, a, b, c, d]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_dataplane::see::Facts;

    use super::*;

    fn draft(source: &str, destination: &str, protocol: u8) -> Draft {
        Draft {
            to_station: MacAddr([2, 0, 0, 0, 0, 1]),
            from_station: MacAddr([2, 0, 0, 0, 0, 2]),
            tags: vec![(tag::SERVICE, 100), (tag::CUSTOMER, 7)],
            source: source.parse().expect("address"),
            destination: destination.parse().expect("address"),
            protocol,
            source_port: 1024,
            destination_port: 80,
            hops: 64,
            traffic_class: 0xb8,
            dont_fragment: true,
            tcp_flags: 2,
            length: None,
        }
    }

    #[test]
    fn packets_are_what_was_asked_for_and_their_sums_are_right() {
        for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            for (protocol, ports) in [(6, true), (17, true), (1, false), (58, false), (89, false)] {
                let packet = draft(source, destination, protocol).packet().expect("possible");
                let facts = Facts::of(&packet, None);
                assert_eq!((&facts.vlans[..], facts.protocol), (&[100, 7][..], Some(protocol)));
                assert_eq!(facts.ports, ports.then_some((1024, 80)));
                let ip = &packet[HEADER + 8..];
                if source.contains('.') {
                    assert_eq!(Sum::new().add(&ip[..20]).folded(), 0xffff);
                    if protocol == 1 {
                        assert_eq!(Sum::new().add(&ip[20..]).folded(), 0xffff);
                    }
                }
                if ports {
                    let header = if source.contains('.') { 20 } else { 40 };
                    let addresses = if header == 20 { (&ip[12..16], &ip[16..20]) } else { (&ip[8..24], &ip[24..40]) };
                    let sum = Sum::new().add_pseudo(addresses.0, addresses.1, protocol, ip.len() - header);
                    assert_eq!(sum.add(&ip[header..]).folded(), 0xffff);
                }
            }
        }
    }

    #[test]
    fn impossible_packets_are_refused() {
        assert_eq!(draft("10.0.0.1", "fd00::2", 6).packet(), Err(CraftError::Families));
        let long = |length| Draft { length: Some(length), ..draft("10.0.0.1", "10.0.0.2", 6) }.packet();
        assert_eq!(long(39), Err(CraftError::TooShort { least: 40 }));
        assert_eq!(long(10_000), Err(CraftError::TooLong));
        assert_eq!(long(1500).expect("possible").len(), HEADER + 8 + 1500);
        assert_eq!(group_station([224, 0, 0, 5].into()), Some(MacAddr([1, 0, 0x5e, 0, 0, 5])));
        assert_eq!(group_station([10, 0, 0, 5].into()), None);
    }
}
