//! What can be asked of a packet's bytes, found without trusting any of them: the packet may be one that no stage would take.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::{
    frame::octets,
    io::MacAddr,
    l2::{
        ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER,
        tag::{CUSTOMER, SERVICE},
    },
    meta::Network,
};

/// EtherTypes that announce a tag (802.1Q, 802.1ad, and the one of QinQ before it).
const TAGS: [u16; 3] = [CUSTOMER, SERVICE, 0x9100];
/// Tags looked through.
const MOST_TAGS: usize = 4;
/// IPv6 extension headers looked through.
const MOST_EXTENSIONS: usize = 8;

/// What a filter can ask.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// Bytes, Ethernet header included.
    pub length: usize,
    /// Destination and source address of the link, where there is an Ethernet header.
    pub stations: Option<(MacAddr, MacAddr)>,
    /// VLAN numbers, outermost first.
    pub vlans: ArrayVec<u16, MOST_TAGS>,
    /// What follows the tags.
    pub ethertype: u16,
    /// Source and destination of the IP header; sender and target of an ARP message.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Transport protocol behind extension headers.
    pub protocol: Option<u8>,
    /// Source and destination port, of TCP, UDP and SCTP; not in later fragments.
    pub ports: Option<(u16, u16)>,
    /// It is an IP fragment.
    pub fragment: bool,
}

impl Facts {
    /// Of a packet that begins with its Ethernet header or, if `bare` says so, with its IP header.
    pub fn of(bytes: &[u8], bare: Option<Network>) -> Self {
        let mut facts = Self { length: bytes.len(), ..Self::default() };
        if let Some(network) = bare {
            facts.length += HEADER;
            facts.ethertype = if network == Network::Ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
            facts.network(bytes);
            return facts;
        }
        let (Some(to), Some(from)) = (octets::<6>(bytes, 0), octets::<6>(bytes, 6)) else { return facts };
        facts.stations = Some((MacAddr(to), MacAddr(from)));
        let mut at = 12;
        while let Some(kind) = octets(bytes, at).map(u16::from_be_bytes) {
            facts.ethertype = kind;
            at += 2;
            if !TAGS.contains(&kind) || facts.vlans.is_full() {
                break;
            }
            let Some(tag) = octets(bytes, at).map(u16::from_be_bytes) else { break };
            facts.vlans.push(tag & 0xfff);
            at += 2;
        }
        facts.network(bytes.get(at..).unwrap_or_default());
        facts
    }

    fn network(&mut self, packet: &[u8]) {
        match self.ethertype {
            ETHERTYPE_IPV4 => drop(self.ipv4(packet)),
            ETHERTYPE_IPV6 => drop(self.ipv6(packet)),
            ETHERTYPE_ARP => {
                let end = |at| octets::<4>(packet, at).map(|address| IpAddr::V4(Ipv4Addr::from(address)));
                self.addresses = end(14).zip(end(24));
            }
            _ => {}
        }
    }

    fn ipv4(&mut self, packet: &[u8]) -> Option<()> {
        let end = |at| octets::<4>(packet, at).map(|address| IpAddr::V4(Ipv4Addr::from(address)));
        self.addresses = Some((end(12)?, end(16)?));
        self.protocol = Some(packet[9]);
        let fragment = u16::from_be_bytes([packet[6], packet[7]]);
        self.fragment = fragment & 0x3fff != 0;
        if fragment & 0x1fff == 0 {
            self.transport(packet.get(usize::from(packet[0] & 0xf) * 4..)?);
        }
        Some(())
    }

    fn ipv6(&mut self, packet: &[u8]) -> Option<()> {
        let end = |at| octets::<16>(packet, at).map(|address| IpAddr::V6(Ipv6Addr::from(address)));
        self.addresses = Some((end(8)?, end(24)?));
        let (mut next, mut at) = (packet[6], 40);
        for _ in 0..MOST_EXTENSIONS {
            self.protocol = Some(next);
            let length = match next {
                // Hop-by-hop, routing, destination options (RFC 8200 §4).
                0 | 43 | 60 => 8 + 8 * usize::from(*packet.get(at + 1)?),
                44 => {
                    self.fragment = true;
                    if u16::from_be_bytes(octets(packet, at + 2)?) & 0xfff8 != 0 {
                        self.protocol = Some(*packet.get(at)?);
                        return None;
                    }
                    8
                }
                _ => break,
            };
            next = *packet.get(at)?;
            at += length;
        }
        self.protocol = Some(next);
        self.transport(packet.get(at..)?);
        Some(())
    }

    fn transport(&mut self, header: &[u8]) {
        if matches!(self.protocol, Some(6 | 17 | 132)) {
            self.ports = octets(header, 0).map(u16::from_be_bytes).zip(octets(header, 2).map(u16::from_be_bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_and_extension_headers_are_looked_through() {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0, 100, 0x81, 0, 0xa0, 7];
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(53, 1024)
            .write(&mut packet, &[1; 9])
            .unwrap();
        bytes.extend([0x08, 0x00]);
        bytes.extend(&packet);
        let facts = Facts::of(&bytes, None);
        assert_eq!((&facts.vlans[..], facts.ethertype), (&[100, 7][..], 0x0800));
        assert_eq!((facts.protocol, facts.ports), (Some(17), Some((53, 1024))));
        assert_eq!(facts.addresses, Some(([10, 0, 0, 1].into(), [10, 0, 0, 2].into())));
        let bare = Facts::of(&packet, Some(Network::Ipv4));
        assert_eq!((bare.ports, bare.length, bare.stations), (facts.ports, packet.len() + 14, None));
        // Hop-by-hop options, then UDP.
        let mut v6 = vec![0x60, 0, 0, 0, 0, 16, 0, 64];
        v6.extend([0xfd; 16].iter().chain(&[0xfe; 16]));
        v6.extend([17, 0, 1, 4, 0, 0, 0, 0, 0, 53, 4, 0, 0, 8, 0, 0]);
        let facts = Facts::of(&v6, Some(Network::Ipv6));
        assert_eq!((facts.protocol, facts.ports, facts.fragment), (Some(17), Some((53, 1024)), false));
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(53, 1024)
            .write(&mut packet, &[1; 9])
            .unwrap();
        packet[7] = 3;
        let facts = Facts::of(&packet, Some(Network::Ipv4));
        assert_eq!((facts.protocol, facts.ports, facts.fragment), (Some(17), None, true));
    }

    proptest! {
        #[test]
        fn any_bytes_have_facts(bytes in prop::collection::vec(any::<u8>(), 0..120), v6: bool) {
            let facts = Facts::of(&bytes, None);
            prop_assert_eq!(facts.length, bytes.len());
            let mut ip = bytes.clone();
            if let Some(first) = ip.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            Facts::of(&ip, Some(if v6 { Network::Ipv6 } else { Network::Ipv4 }));
        }
    }
}
