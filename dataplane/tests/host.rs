//! The host path on memory ports: one wire, one kernel. What Tidegate serves stays, the rest reaches the kernel as it came.

use core::cell::RefCell;
use std::{net::SocketAddr, rc::Rc, sync::Arc};

use etherparse::PacketBuilder;
use tidegate_dataplane::{
    clock::{Clock, Instant},
    frame::Arena,
    io::{
        MacAddr, Port, PortInfo,
        memory::{Lane, MemoryPort},
        park::Waker,
    },
    l2::{Link, Tags},
    l3,
    l4::{Secrets, TcpOptions, TcpStream},
    l7::{
        app::{App, Host},
        table::{ListenerSpec, Table, TableSpec},
    },
    meta::{InterfaceId, PortId},
    stats::CoreStats,
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    verdict::DropReason,
    worker::{HostLink, Spec, Worker, handover::Links, idle::Idle},
};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OWN4: [u8; 4] = [10, 0, 0, 1];
const PEER4: [u8; 4] = [10, 0, 0, 9];
const LISTENER: u16 = 80;
/// Packets per second for the kernel; 64 may come at once.
const LIMIT: u32 = 100;

struct Deaf;

impl App for Deaf {
    fn accept(&mut self, _: &Host, stream: TcpStream) {
        drop(stream);
    }
}

/// A worker with one wire and, if asked for, a host link; and the far ends of both.
struct World {
    worker: Worker<Deaf>,
    arena: Arena,
    to_worker: [Lane; 2],
    from_worker: [Lane; 2],
    now: Instant,
}

/// An interface with an IPv4 and an IPv6 address.
fn interface(id: u16, name: &str, link: Link, [v4, v6]: [&str; 2]) -> l3::InterfaceSpec {
    l3::InterfaceSpec {
        id: InterfaceId(id),
        name: name.to_owned(),
        link,
        mac: MacAddr(OWN),
        mtu: 1500,
        v4: vec![v4.parse().unwrap()],
        v6: vec![v6.parse().unwrap()],
        ..l3::InterfaceSpec::default()
    }
}

fn tables() -> Arc<Tables> {
    let interfaces = vec![
        interface(0, "lan", Link::of(PortId(0)), ["10.0.0.1/24", "fd00::1/64"]),
        // Without a host link, and on no link.
        interface(1, "wan", Link::Port { port: PortId(0), tags: Tags::one(0x8100, 7) }, ["10.9.0.1/24", "fd09::1/64"]),
        interface(2, "lo", Link::None, ["192.168.255.1/32", "fdff::1/128"]),
    ];
    let l3 = l3::Table::build(l3::Spec { interfaces, ..l3::Spec::default() }).unwrap();
    let listener = ListenerSpec {
        name: "web".into(),
        address: SocketAddr::from((OWN4, LISTENER)),
        tls: None,
        timeouts: Default::default(),
        limits: Default::default(),
        forwarded: Default::default(),
        trusted_peers: vec![],
        websocket: false,
    };
    let l7 = Table::build(&TableSpec { cores: 1, listeners: vec![listener], ..TableSpec::default() }, None).unwrap();
    Arc::new(Tables { phase: Phase::Serve, l3: Arc::new(l3), l7: Arc::new(l7) })
}

impl World {
    fn new(links: &[HostLink]) -> Self {
        let (to_worker, from_worker) = <([Lane; 2], [Lane; 2])>::default();
        let port = |at: usize| {
            let port = MemoryPort::new(Rc::clone(&to_worker[at]), Rc::clone(&from_worker[at]), 1024);
            let mac = MacAddr(OWN);
            let info =
                PortInfo { mac, mtu: 1500, queues: 1, capabilities: Default::default(), driver: "memory".into() };
            (Port::Memory(port), info)
        };
        let tables = Publisher::new(tables());
        let spec = Spec {
            core: 0,
            clock: Clock::new(),
            now: Instant::ZERO,
            arena: Arena::new(1024, 2048).unwrap(),
            ports: (0..2).map(port).collect(),
            reader: tables.reader(),
            links: Rc::new(RefCell::new(Links::default())),
            waker: Arc::new(Waker::new().unwrap()),
            idle: Idle::Poll,
            tcp: TcpOptions { core: (0, 1), max_connections: 16, ..TcpOptions::default() },
            secrets: Secrets::from_bytes(&[1; 48]),
            stats: Arc::new(CoreStats::new(2)),
            tcp_stats: Arc::default(),
            seed: 7,
        };
        let worker = Worker::new(spec, |_| Deaf).with_host_links(links);
        let arena = Arena::new(1024, 2048).unwrap();
        let mut world = Self { worker, arena, to_worker, from_worker, now: Instant::from_millis(1) };
        // What it announces at the start is not this test's.
        world.settle();
        world.from_worker.iter().for_each(|lane| lane.borrow_mut().clear());
        world
    }

    fn with_host() -> Self {
        Self::new(&[HostLink { interface: InterfaceId(0), link: PortId(1), limit: LIMIT }])
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            self.worker.turn(self.now);
        }
    }

    /// Sends into one end, and returns what comes out of the wire and out of the kernel's end.
    fn send(&mut self, end: usize, packet: &[u8]) -> [Vec<Vec<u8>>; 2] {
        self.to_worker[end].borrow_mut().push(self.arena.copy_from(packet).unwrap());
        self.settle();
        let out = |lane: &Lane| lane.borrow_mut().drain(..).map(|frame| frame.data().to_vec()).collect();
        [out(&self.from_worker[0]), out(&self.from_worker[1])]
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.worker.stats().drops(reason).value()
    }
}

const WIRE: usize = 0;
const KERNEL: usize = 1;

fn ipv4() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(PEER, OWN).ipv4(PEER4, OWN4, 64)
}

fn ipv6(to: [u8; 16], mac: [u8; 6]) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let mut from = [0; 16];
    (from[0], from[1], from[15]) = (0xfe, 0x80, 9);
    PacketBuilder::ethernet2(PEER, mac).ipv6(from, to, 255)
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

fn syn(port: u16) -> Vec<u8> {
    written(|bytes| ipv4().tcp(40_000, port, 1, 1000).syn().write(bytes, &[]).unwrap())
}

fn reset(port: u16) -> Vec<u8> {
    written(|bytes| ipv4().tcp(40_000, port, 1, 1000).rst().write(bytes, &[]).unwrap())
}

fn udp() -> Vec<u8> {
    written(|bytes| ipv4().udp(3784, 3784).write(bytes, b"bfd").unwrap())
}

fn arp(operation: u16, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let to = if operation == 1 { [0xff; 6] } else { OWN };
    let mut bytes = [&to[..], &PEER, &[8, 6, 0, 1, 8, 0, 6, 4], &operation.to_be_bytes(), &PEER, &sender].concat();
    bytes.extend([&OWN[..], &target].concat());
    bytes
}

fn protocol(number: u8, to: [u8; 4], mac: [u8; 6]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER, mac).ipv4(PEER4, to, 1);
    written(|bytes| builder.write(bytes, etherparse::IpNumber(number), b"hello").unwrap())
}

fn icmp6(kind: u8, to: [u8; 16], mac: [u8; 6], rest: &[u8]) -> Vec<u8> {
    written(|bytes| ipv6(to, mac).icmpv6_raw(kind, 0, [0; 4]).write(bytes, rest).unwrap())
}

fn own6() -> [u8; 16] {
    let mut own = [0; 16];
    (own[0], own[15]) = (0xfd, 1);
    own
}

fn group6(last: u8) -> [u8; 16] {
    let mut group = [0; 16];
    (group[0], group[1], group[15]) = (0xff, 2, last);
    group
}

#[test]
fn what_nobody_serves_reaches_the_kernel_as_it_came() {
    let mut world = World::with_host();
    let ospf = protocol(89, [224, 0, 0, 5], [1, 0, 0x5e, 0, 0, 5]);
    let ospf3 = written(|bytes| {
        let builder = ipv6(group6(5), [0x33, 0x33, 0, 0, 0, 5]);
        builder.write(bytes, etherparse::IpNumber(89), b"hello").unwrap();
    });
    let fragment = {
        // More fragments, and so a multiple of eight bytes.
        let mut packet = written(|bytes| ipv4().udp(49152, 3784).write(bytes, &[0; 16]).unwrap());
        packet[20] |= 0x20;
        let sum = written(|sum| {
            let mut header = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap().0;
            header.header_checksum = header.calc_header_checksum();
            header.write(sum).unwrap();
        });
        packet[14..34].copy_from_slice(&sum);
        packet
    };
    let echo_reply = written(|bytes| ipv4().icmpv4_echo_reply(1, 1).write(bytes, b"ping").unwrap());
    // LLDP, and IS-IS with its length in place of a type.
    let lldp = [&[1, 0x80, 0xc2, 0, 0, 0x0e][..], &PEER, &[0x88, 0xcc], &[0; 50]].concat();
    let isis = [&[1, 0x80, 0xc2, 0, 0, 0x14][..], &PEER, &[0, 50, 0xfe, 0xfe, 3], &[0; 50]].concat();
    let igmp = {
        let builder = PacketBuilder::ethernet2(PEER, [1, 0, 0x5e, 0, 0, 22]).ipv4([0; 4], [224, 0, 0, 22], 1);
        written(|bytes| builder.write(bytes, etherparse::IpNumber(2), &[0x22, 0, 0xdd, 0xff, 0, 0, 0, 0]).unwrap())
    };
    let router_solicitation = icmp6(133, group6(2), [0x33, 0x33, 0, 0, 0, 2], &[]);
    for (name, packet) in [
        ("SYN to ssh", syn(22)),
        ("RST to ssh", reset(22)),
        ("BFD", udp()),
        ("OSPF", ospf),
        ("OSPFv3", ospf3),
        ("GRE", protocol(47, OWN4, OWN)),
        ("a fragment", fragment),
        ("echo reply", echo_reply),
        ("ARP reply", arp(2, PEER4, OWN4)),
        ("LLDP", lldp),
        ("IS-IS", isis),
        ("IGMP of a station without an address", igmp),
        ("router solicitation", router_solicitation),
    ] {
        let [wire, kernel] = world.send(WIRE, &packet);
        assert_eq!(kernel, [packet], "{name}");
        assert!(wire.is_empty(), "{name} is answered by the kernel alone");
    }
    assert_eq!(DropReason::ALL.iter().map(|reason| world.drops(*reason)).sum::<u64>(), 0);
}

#[test]
fn what_tidegate_serves_stays_here() {
    let mut world = World::with_host();
    let echo = written(|bytes| ipv4().icmpv4_echo_request(1, 1).write(bytes, b"ping").unwrap());
    let solicitation = icmp6(135, own6(), OWN, &[&own6()[..], &[1, 1], &PEER].concat());
    // The first makes the peer known, so that answers need not wait.
    for (name, packet, answers) in [
        ("ARP request", arp(1, PEER4, OWN4), 1),
        ("echo request", echo, 1),
        ("SYN to a listener", syn(LISTENER), 1),
        ("stray RST to a listener", reset(LISTENER), 0),
        ("neighbour solicitation", solicitation, 1),
    ] {
        let [wire, kernel] = world.send(WIRE, &packet);
        assert!(kernel.is_empty(), "{name} is not for the kernel");
        assert_eq!(wire.len(), answers, "{name}");
    }
    // A fragment of a segment could be for a listener: the kernel would reset the connection. Here it waits for the others.
    let mut fragment = syn(LISTENER);
    fragment.extend([0; 4]);
    fragment[17] += 4;
    fragment[20] |= 0x20;
    let mut header = etherparse::Ipv4Header::from_slice(&fragment[14..]).unwrap().0;
    header.header_checksum = header.calc_header_checksum();
    fragment.splice(14..34, header.to_bytes());
    assert!(world.send(WIRE, &fragment)[KERNEL].is_empty());
    assert_eq!(world.drops(DropReason::FragmentForHost), 0);
}

#[test]
fn neighbours_are_learnt_on_both_sides() {
    let mut world = World::with_host();
    // Tidegate asks for the peer, since an echo from it must be answered; the peer's answer is for the kernel too.
    let echo = written(|bytes| ipv4().icmpv4_echo_request(1, 1).write(bytes, b"ping").unwrap());
    let [asked, _] = world.send(WIRE, &echo);
    assert_eq!(asked[0][12..14], [8, 6], "a question by ARP");
    let reply = arp(2, PEER4, OWN4);
    let [answered, learnt] = world.send(WIRE, &reply);
    assert_eq!(learnt, [reply]);
    assert_eq!(answered.len(), 1, "and the echo reply could leave");
    let target = [&own6()[..15], &[9]].concat();
    let advertisement = icmp6(136, own6(), OWN, &[&target[..], &[2, 1], &PEER].concat());
    assert_eq!(world.send(WIRE, &advertisement)[KERNEL], [advertisement]);
}

#[test]
fn the_kernel_sends_out_of_its_port_and_only_in_its_name() {
    let mut world = World::with_host();
    let mut packet = syn(179);
    packet[..6].copy_from_slice(&PEER);
    packet[6..12].copy_from_slice(&OWN);
    let [wire, kernel] = world.send(KERNEL, &packet);
    assert_eq!((wire, kernel.len()), (vec![packet.clone()], 0));
    packet[6] = 4;
    assert!(world.send(KERNEL, &packet)[WIRE].is_empty());
    assert_eq!(world.drops(DropReason::HostForeign), 1);
    assert!(world.send(KERNEL, &packet[..13])[WIRE].is_empty());
    assert_eq!(world.drops(DropReason::L2Truncated), 1);
    let long = [&PEER[..], &OWN, &[8, 0], &[0x45; 1600]].concat();
    assert!(world.send(KERNEL, &long)[WIRE].is_empty());
    assert_eq!(world.drops(DropReason::TooLong), 1);
}

#[test]
fn a_flood_for_the_kernel_is_cut_and_counted() {
    let mut world = World::with_host();
    let through: usize = (0..100).map(|_| world.send(WIRE, &udp())[KERNEL].len()).sum();
    assert_eq!((through, world.drops(DropReason::HostLimited)), (64, 36), "the burst");
    world.now = Instant::from_millis(101);
    let through: usize = (0..100).map(|_| world.send(WIRE, &udp())[KERNEL].len()).sum();
    assert_eq!(through, LIMIT as usize / 10, "a tenth of a second later");
}

#[test]
fn a_flood_from_afar_leaves_the_neighbours_their_share() {
    let mut world = World::with_host();
    let far = PacketBuilder::ethernet2(PEER, OWN).ipv4([192, 0, 2, 66], OWN4, 64);
    let far = written(|bytes| far.udp(53, 53).write(bytes, b"flood").unwrap());
    let through: usize = (0..100).map(|_| world.send(WIRE, &far)[KERNEL].len()).sum();
    assert_eq!(through, 64);
    for near in [udp(), arp(2, PEER4, OWN4)] {
        assert_eq!(world.send(WIRE, &near)[KERNEL].len(), 1);
    }
}

/// From the peer's own address to any of ours.
fn to(own: &str) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let own: std::net::IpAddr = own.parse().unwrap();
    let mac = if own == std::net::Ipv4Addr::BROADCAST { [0xff; 6] } else { OWN };
    let link = PacketBuilder::ethernet2(PEER, mac);
    match own {
        std::net::IpAddr::V4(own) => link.ipv4(PEER4, own.octets(), 64),
        std::net::IpAddr::V6(own) => {
            let peer: std::net::Ipv6Addr = "fd00::9".parse().unwrap();
            link.ipv6(peer.octets(), own.octets(), 64)
        }
    }
}

fn datagram(own: &str) -> Vec<u8> {
    written(|bytes| to(own).udp(49152, 9).write(bytes, b"anybody?").unwrap())
}

/// The peer is known to the worker, so that answers need not wait.
fn acquainted() -> World {
    let mut world = World::with_host();
    world.send(WIRE, &arp(1, PEER4, OWN4));
    let peer = [&own6()[..15], &[9]].concat();
    let builder = PacketBuilder::ethernet2(PEER, OWN).ipv6(peer.clone().try_into().unwrap(), own6(), 255);
    let solicitation = [&own6()[..], &[1, 1], &PEER].concat();
    world.send(WIRE, &written(|bytes| builder.icmpv6_raw(135, 0, [0; 4]).write(bytes, &solicitation).unwrap()));
    world
}

#[test]
fn the_kernel_gets_nothing_for_addresses_that_it_does_not_have() {
    let mut world = acquainted();
    // ICMP: unreachable for the port; parameter problem of IPv6.
    for own in ["10.9.0.1", "fd09::1", "fd09::", "fd00::"] {
        let [wire, kernel] = world.send(WIRE, &datagram(own));
        assert_eq!((wire.len(), kernel.len()), (1, 0), "port unreachable at {own}");
    }
    for own in ["10.9.0.1", "fd09::1"] {
        let syn = written(|bytes| to(own).tcp(40_000, 22, 1, 1000).syn().write(bytes, &[]).unwrap());
        let [wire, kernel] = world.send(WIRE, &syn);
        assert_eq!((wire.len(), kernel.len()), (1, 0), "reset by {own}");
        let unknown = written(|bytes| to(own).write(bytes, etherparse::IpNumber(47), b"gre").unwrap());
        let [wire, kernel] = world.send(WIRE, &unknown);
        assert_eq!((wire.len(), kernel.len()), (1, 0), "protocol refused by {own}");
    }
    // Broadcasts of another link, and the network address of this one, which the kernel would send on.
    for own in ["10.9.0.255", "10.9.0.0", "10.0.0.0"] {
        let [wire, kernel] = world.send(WIRE, &datagram(own));
        assert_eq!((wire.len(), kernel.len()), (0, 0), "{own}");
    }
}

#[test]
fn the_kernel_gets_what_is_for_loopbacks_and_for_the_link() {
    let mut world = acquainted();
    for own in ["192.168.255.1", "fdff::1", "10.0.0.255", "255.255.255.255"] {
        let packet = datagram(own);
        let [wire, kernel] = world.send(WIRE, &packet);
        assert_eq!((wire.len(), kernel), (0, vec![packet]), "{own}");
    }
}

#[test]
fn fragments_for_an_address_that_the_kernel_does_not_have_are_joined_here() {
    let mut world = acquainted();
    let echo = written(|bytes| to("10.9.0.1").icmpv4_echo_request(1, 1).write(bytes, &[7; 16]).unwrap());
    let fragment = |payload: &[u8], field: u16| {
        let mut packet = [&echo[..34], payload].concat();
        let mut header = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap().0;
        header.set_payload_len(payload.len()).unwrap();
        header.identification = 77;
        header.dont_fragment = false;
        header.more_fragments = field == 0;
        header.fragment_offset = etherparse::IpFragOffset::try_new(field).unwrap();
        header.header_checksum = header.calc_header_checksum();
        packet.splice(14..34, header.to_bytes());
        packet
    };
    let (first, last) = (fragment(&echo[34..50], 0), fragment(&echo[50..], 2));
    assert_eq!(world.send(WIRE, &first).map(|out| out.len()), [0, 0]);
    assert_eq!(world.send(WIRE, &last).map(|out| out.len()), [2, 0], "an answer in pieces, as it was asked");
}

#[test]
fn without_a_host_link_nothing_changes() {
    let mut world = World::new(&[]);
    world.send(WIRE, &arp(1, PEER4, OWN4));
    let [wire, kernel] = world.send(WIRE, &syn(22));
    assert_eq!((wire.len(), kernel.len()), (1, 0), "reset");
    assert_eq!(world.send(WIRE, &udp())[WIRE].len(), 1, "port unreachable");
    assert_eq!(world.drops(DropReason::NoListener), 1);
}
