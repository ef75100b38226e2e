//! What a packet is, from its first bytes.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_dataplane::l2::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, tag};
use tidegate_dataplane::meta::Network;
use tidegate_dataplane::see::{Facts, Head};

use super::{Change, Packet};

/// Transport protocols by name.
const PROTOCOLS: [(u8, &str); 13] = [
    (0, "hop-by-hop options"),
    (1, "ICMP"),
    (2, "IGMP"),
    (6, "TCP"),
    (17, "UDP"),
    (47, "GRE"),
    (50, "ESP"),
    (51, "AH"),
    (58, "ICMPv6"),
    (89, "OSPF"),
    (103, "PIM"),
    (112, "VRRP"),
    (132, "SCTP"),
];

/// ICMP for IPv4: type, code if it matters, what it is.
const ICMP4: [(u8, Option<u8>, &str); 14] = [
    (0, None, "echo reply"),
    (3, Some(0), "net unreachable"),
    (3, Some(1), "host unreachable"),
    (3, Some(2), "protocol unreachable"),
    (3, Some(3), "port unreachable"),
    (3, Some(4), "fragmentation needed"),
    (3, Some(9), "net prohibited"),
    (3, Some(10), "host prohibited"),
    (3, Some(13), "communication prohibited"),
    (3, None, "destination unreachable"),
    (5, None, "redirect"),
    (8, None, "echo request"),
    (11, None, "time exceeded"),
    (12, None, "parameter problem"),
];
/// The same for IPv6.
const ICMP6: [(u8, Option<u8>, &str); 16] = [
    (1, Some(0), "no route to destination"),
    (1, Some(1), "communication prohibited"),
    (1, Some(2), "beyond scope of source address"),
    (1, Some(3), "address unreachable"),
    (1, Some(4), "port unreachable"),
    (1, Some(5), "source address failed policy"),
    (1, Some(6), "reject route to destination"),
    (1, None, "destination unreachable"),
    (2, None, "packet too big"),
    (3, None, "time exceeded"),
    (4, None, "parameter problem"),
    (128, None, "echo request"),
    (129, None, "echo reply"),
    (134, None, "router advertisement"),
    (135, None, "neighbour solicitation"),
    (136, None, "neighbour advertisement"),
];

/// A packet; `bare` when it begins with the header of this network instead of Ethernet's.
pub(super) fn of(head: &Head, bare: Option<Network>) -> Packet {
    let facts = Facts::of(head.bytes(), bare);
    let ip = bytes_of_network(head.bytes(), bare, &facts);
    let (hops, class) = match ip.first().map(|first| first >> 4) {
        Some(4) => (ip.get(8).copied(), ip.get(1).copied()),
        Some(6) => (ip.get(7).copied(), ip.first().zip(ip.get(1)).map(|(a, b)| a << 4 | b >> 4)),
        _ => (None, None),
    };
    let routed = matches!(facts.ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6);
    let mut packet = Packet {
        text: String::new(),
        length: head.length,
        from_station: facts.stations.map(|(_, from)| from.to_string()),
        to_station: facts.stations.map(|(to, _)| to.to_string()),
        vlans: facts.vlans.to_vec(),
        network: network(facts.ethertype),
        source: facts.addresses.map(|(source, _)| source.to_string()),
        destination: facts.addresses.map(|(_, destination)| destination.to_string()),
        hops: hops.filter(|_| routed),
        traffic_class: class.filter(|_| routed),
        protocol: facts.protocol.map(protocol),
        source_port: facts.ports.map(|(source, _)| source),
        destination_port: facts.ports.map(|(_, destination)| destination),
    };
    packet.text = text(&packet, &facts, ip);
    packet
}

fn bytes_of_network<'a>(bytes: &'a [u8], bare: Option<Network>, facts: &Facts) -> &'a [u8] {
    let before = if bare.is_some() { 0 } else { HEADER + tag::LENGTH * facts.vlans.len() };
    bytes.get(before..).unwrap_or_default()
}

fn network(ethertype: u16) -> String {
    match ethertype {
        ETHERTYPE_IPV4 => "IPv4".to_owned(),
        ETHERTYPE_IPV6 => "IPv6".to_owned(),
        ETHERTYPE_ARP => "ARP".to_owned(),
        other => format!("EtherType {other:#06x}"),
    }
}

pub(super) fn protocol(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("protocol {number}"), |(_, name)| (*name).to_owned())
}

/// One line: what it is, between whom, how long.
fn text(packet: &Packet, facts: &Facts, ip: &[u8]) -> String {
    let length = packet.length;
    let tagged: String = packet.vlans.iter().map(|vlan| format!(", VLAN {vlan}")).collect();
    let Some((source, destination)) = facts.addresses else {
        let ends = facts.stations.map_or(String::new(), |(to, from)| format!(" {from} → {to}"));
        return format!("{}{ends}, {length} bytes{tagged}", packet.network);
    };
    if packet.network == "ARP" {
        return arp(ip, source, destination);
    }
    let end = |address: IpAddr, port: Option<u16>| match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let ends = format!("{} → {}", end(source, packet.source_port), end(destination, packet.destination_port));
    let fragment = if facts.fragment { ", a fragment" } else { "" };
    format!("{} {ends}, {length} bytes{tagged}{fragment}", kind(facts, ip))
}

fn arp(message: &[u8], sender: IpAddr, target: IpAddr) -> String {
    match message.get(7) {
        Some(1) if sender == target => format!("ARP announcement: {sender} is here"),
        Some(1) if sender == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => format!("ARP probe: does anybody have {target}?"),
        Some(1) => format!("ARP request: who has {target}? tell {sender}"),
        Some(2) => format!("ARP reply: {sender} is here"),
        _ => "ARP".to_owned(),
    }
}

/// The protocol; of ICMP the message, of TCP the flags.
fn kind(facts: &Facts, ip: &[u8]) -> String {
    let Some(number) = facts.protocol else { return "IP".to_owned() };
    let name = protocol(number);
    let transport = match ip.first().map(|first| first >> 4) {
        Some(4) => ip.get(usize::from(ip[0] & 0xf) * 4..),
        _ => ip.get(40..),
    };
    let Some(header) = transport.filter(|_| !facts.fragment) else { return name };
    let icmp = |known: &[(u8, Option<u8>, &str)]| {
        let (kind, code) = (*header.first()?, *header.get(1)?);
        let found = known.iter().find(|(known, only, _)| *known == kind && only.is_none_or(|only| only == code));
        Some(found.map_or_else(|| format!("{name} type {kind}"), |(.., what)| format!("{name} {what}")))
    };
    match number {
        1 => icmp(&ICMP4).unwrap_or(name),
        58 if facts.ethertype == ETHERTYPE_IPV6 => icmp(&ICMP6).unwrap_or(name),
        6 => header.get(13).map_or(name, |flags| format!("TCP {}", tcp_flags(*flags))),
        _ => name,
    }
}

fn tcp_flags(flags: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let set: Vec<&str> =
        names.iter().enumerate().filter(|(bit, _)| flags & 1 << bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "without flags".to_owned() } else { set.join(" ") }
}

/// What is different between two looks at a packet.
pub(super) fn changes(before: &Packet, after: &Packet) -> Vec<Change> {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let vlans = |packet: &Packet| match &packet.vlans[..] {
        [] => "-".to_owned(),
        vlans => vlans.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    let hops = if after.network == "IPv6" { "hop limit" } else { "TTL" };
    let fields = [
        ("destination station", shown(&before.to_station), shown(&after.to_station)),
        ("source station", shown(&before.from_station), shown(&after.from_station)),
        ("VLANs", vlans(before), vlans(after)),
        ("source", shown(&before.source), shown(&after.source)),
        ("destination", shown(&before.destination), shown(&after.destination)),
        (hops, number(before.hops.map(u64::from)), number(after.hops.map(u64::from))),
        ("traffic class", number(before.traffic_class.map(u64::from)), number(after.traffic_class.map(u64::from))),
        ("source port", number(before.source_port.map(u64::from)), number(after.source_port.map(u64::from))),
        (
            "destination port",
            number(before.destination_port.map(u64::from)),
            number(after.destination_port.map(u64::from)),
        ),
        ("length", number(Some(before.length.into())), number(Some(after.length.into()))),
    ];
    let changed = fields.into_iter().filter(|(_, from, to)| from != to);
    changed.map(|(field, from, to)| Change { field: field.to_owned(), from, to }).collect()
}
