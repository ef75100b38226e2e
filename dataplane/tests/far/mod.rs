//! A whole core between two memory wires whose far ends are made by hand: routers that send packets to forward, TCP peers
//! that keep two numbers per connection. What the core costs can so be told from what its peers cost. Virtual time.
#![allow(dead_code)] // Each program that includes this file uses a part of it.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use tidegate_dataplane::{
    clock::{Clock, Instant},
    frame::{Arena, Frame},
    io::{
        MacAddr, Port, PortInfo,
        memory::{Lane, MemoryPort},
        park::Waker,
    },
    l2::{Link, Presence, StaticNeighbor, Tags},
    l3::{self, InterfaceSpec, Route, Target},
    l4::{self, Secrets, TcpOptions},
    l7::{
        app::{App, Host},
        table::{Table, TableSpec},
    },
    meta::{InterfaceId, PortId},
    stats::CoreStats,
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    worker::{self, Worker, handover::Links, idle::Idle},
};

use crate::counting;

pub(crate) mod answer; // an application that answers
pub(crate) mod gateway; // the product's application with one listener and one origin
pub(crate) mod tcp; // peers
pub(crate) mod tls; // peers with TLS
pub(crate) mod udp; // packets to forward

/// Hardware addresses of the core's two ports.
pub(crate) const PORTS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1])];
/// Hardware address of everybody else.
pub(crate) const FAR: MacAddr = MacAddr([2, 0, 0, 1, 0, 1]);
/// Where clients connect to: the core's address on port 0.
pub(crate) const SERVICE: (u32, u16) = (0x0a00_0001, 80);
/// Who answers requests, on the link of port 1.
pub(crate) const ORIGIN: (u32, u16) = (0x0a00_0109, 80);
/// Routers on the link of port 1, by the last part of their address.
pub(crate) const GATEWAYS: core::ops::Range<u16> = 16..32;

/// An IPv4 address and port in the library's type.
pub(crate) fn address((address, port): (u32, u16)) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(address).into(), port)
}

/// Two links: clients behind a router on port 0 (10.64.0.0/10 and fd64::/16), origins and sixteen routers on port 1. All
/// neighbours are known.
pub(crate) fn links() -> l3::Spec {
    let port = |id: u16| InterfaceSpec {
        id: InterfaceId(id),
        name: format!("port {id}"),
        link: Link::of(PortId(id)),
        mac: PORTS[usize::from(id)],
        mtu: 1500,
        v4: vec![format!("10.0.{id}.1/24").parse().unwrap()],
        v6: vec![format!("fd00:{id}::1/64").parse().unwrap()],
        presence: Presence::default(),
        ..InterfaceSpec::default()
    };
    let neighbor = |port, address: String| StaticNeighbor {
        interface: InterfaceId(port),
        address: address.parse().unwrap(),
        mac: FAR,
    };
    let mut neighbors = vec![
        neighbor(0, "10.0.0.254".into()),
        neighbor(0, "fd00:0::254".into()),
        neighbor(1, Ipv4Addr::from(ORIGIN.0).to_string()),
    ];
    for gateway in GATEWAYS {
        neighbors.push(neighbor(1, format!("10.0.1.{gateway}")));
        neighbors.push(neighbor(1, format!("fd00:1::{gateway:x}")));
    }
    let clients = |to: &str, v6| Route { to: to.parse().unwrap(), target: clients_gateway(v6) };
    l3::Spec {
        interfaces: vec![port(0), port(1)],
        routes: vec![clients("10.64.0.0/10", false), clients("fd64::/16", true)],
        neighbors,
        ..l3::Spec::default()
    }
}

/// The router on port 1 that a route of this number leads to.
pub(crate) fn gateway(number: usize, v6: bool) -> Target {
    Target::Via { gateway: gateway_of(number, v6), interface: None }
}

/// Its address.
pub(crate) fn gateway_of(number: usize, v6: bool) -> IpAddr {
    let last = GATEWAYS.start + (number % GATEWAYS.len()) as u16;
    let gateway = if v6 { format!("fd00:1::{last:x}") } else { format!("10.0.1.{last}") };
    gateway.parse().unwrap()
}

/// The router on port 0.
pub(crate) fn clients_gateway(v6: bool) -> Target {
    let gateway = if v6 { "fd00:0::254" } else { "10.0.0.254" };
    Target::Via { gateway: gateway.parse().unwrap(), interface: None }
}

/// Gives both links these tags: their interfaces come behind the ports' own, as those of VLANs do, so that they are counted.
pub(crate) fn tag(spec: &mut l3::Spec, tags: [Tags; 2]) {
    let ports = spec.interfaces.len() as u16;
    for (interface, tags) in spec.interfaces.iter_mut().zip(tags).filter(|(_, tags)| *tags != Tags::NONE) {
        let port = PortId(interface.id.0);
        interface.id = InterfaceId(port.0 + ports);
        interface.link = Link::Port { port, tags };
        let neighbors = spec.neighbors.iter_mut().filter(|n| n.interface == InterfaceId::of(port));
        neighbors.for_each(|n| n.interface = interface.id);
    }
}

/// What a core is made of.
pub(crate) struct Shape {
    pub(crate) l3: l3::Spec,
    pub(crate) l7: TableSpec,
    pub(crate) tcp: TcpOptions,
    pub(crate) frames: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { l3: links(), l7: TableSpec::default(), tcp: TcpOptions::default(), frames: 4096 }
    }
}

/// What turns with work have cost.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cost {
    /// Ticks of the time-stamp counter.
    pub(crate) cycles: u64,
    pub(crate) turns: u64,
    pub(crate) allocations: u64,
}

/// A core and its wires.
pub(crate) struct Rig<A> {
    // Frames on the wires go home before the core, whose memory they are.
    pub(crate) to: [Lane; 2],
    pub(crate) from: [Lane; 2],
    pub(crate) worker: Worker<A>,
    pub(crate) stats: Arc<CoreStats>,
    pub(crate) tcp: Arc<l4::Stats>,
    pub(crate) now: Instant,
    pub(crate) cost: Cost,
    pub(crate) clock: Clock,
    /// Where other tables are published; `None` once somebody else has it.
    pub(crate) tables: Option<Publisher<Tables>>,
}

impl<A: App> Rig<A> {
    pub(crate) fn new(mut shape: Shape, app: impl FnOnce(&Host) -> A) -> Self {
        let l3 = l3::Table::build(core::mem::take(&mut shape.l3)).unwrap_or_else(|error| panic!("{error}"));
        Self::with(shape, l3, app)
    }

    /// With this table instead of that of the shape.
    pub(crate) fn with(shape: Shape, l3: l3::Table, app: impl FnOnce(&Host) -> A) -> Self {
        let l7 = Table::build(&shape.l7, None).unwrap_or_else(|error| panic!("{error}"));
        let tables = Publisher::new(Arc::new(Tables { phase: Phase::Serve, l3: Arc::new(l3), l7: Arc::new(l7) }));
        let (to, from) = (<[Lane; 2]>::default(), <[Lane; 2]>::default());
        let wire = |side: usize| MemoryPort::new(Rc::clone(&to[side]), Rc::clone(&from[side]), 4096);
        let port = |side: usize| {
            let info = PortInfo {
                mac: PORTS[side],
                mtu: 1500,
                queues: 1,
                capabilities: Default::default(),
                driver: "memory".into(),
            };
            (Port::Memory(wire(side)), info)
        };
        let (stats, tcp, clock) = (Arc::new(CoreStats::new(2)), Arc::<l4::Stats>::default(), Clock::new());
        let spec = worker::Spec {
            core: 0,
            clock: clock.clone(),
            now: Instant::from_millis(1),
            arena: Arena::new(shape.frames, 2048).unwrap(),
            ports: vec![port(0), port(1)],
            reader: tables.reader(),
            links: Rc::new(RefCell::new(Links::default())),
            waker: Arc::new(Waker::new().unwrap()),
            idle: Idle::Poll,
            tcp: shape.tcp,
            secrets: Secrets::from_bytes(&[5; 48]),
            stats: Arc::clone(&stats),
            tcp_stats: Arc::clone(&tcp),
            seed: 7,
        };
        let worker = Worker::new(spec, app);
        Self {
            to,
            from,
            worker,
            stats,
            tcp,
            now: Instant::from_millis(1),
            cost: Cost::default(),
            clock,
            tables: Some(tables),
        }
    }

    /// One turn of the core; counted if it found work. A microsecond passes. A function of its own, so that callgrind can be told
    /// to count in it.
    #[inline(never)]
    pub(crate) fn turn(&mut self) -> bool {
        let (allocations, start) = (counting::allocations(), self.clock.cycles());
        let busy = self.worker.turn(self.now);
        let (end, allocated) = (self.clock.cycles(), counting::allocations());
        if busy {
            self.cost.cycles += end - start;
            self.cost.turns += 1;
            self.cost.allocations += allocated - allocations;
        }
        self.now += Duration::from_micros(1);
        busy
    }

    /// What was spent since the last call.
    pub(crate) fn take_cost(&mut self) -> Cost {
        core::mem::take(&mut self.cost)
    }

    /// Puts a packet on the wire to port `side`.
    pub(crate) fn send(&self, side: usize, frame: Frame) {
        self.to[side].borrow_mut().push(frame);
    }

    /// Packets the core has lost, for any reason.
    pub(crate) fn losses(&self) -> u64 {
        tidegate_dataplane::verdict::DropReason::ALL.iter().map(|reason| self.stats.drops(*reason).value()).sum()
    }
}

/// An application that refuses every connection: for routers.
pub(crate) struct Nothing;

impl App for Nothing {
    fn accept(&mut self, _: &Host, stream: l4::TcpStream) {
        drop(stream);
    }
}
