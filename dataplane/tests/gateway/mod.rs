//! A gateway of three ports on memory wires, as `scripts/lib/topology.sh` makes them: one worker, virtual time. For tests that speak
//! raw frames, and for the fuzz targets (`tests/fuzz`), which share it.

use core::time::Duration;
use std::{cell::RefCell, rc::Rc, sync::Arc};

use tidegate_dataplane::{
    clock::{Clock, Instant},
    frame::Arena,
    io::{
        MacAddr, Port, PortInfo,
        memory::{Lane, MemoryPort},
        park::Waker,
    },
    l2::{Bridge, Link, StaticNeighbor, Tags, tag},
    l3,
    l4::{Secrets, TcpOptions},
    l7::table::{ListenerSpec, Table, TableSpec},
    meta::{InterfaceId, PortId, VrfId},
    see::order::Line,
    stats::CoreStats,
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    worker::{Spec, Worker, handover::Links, idle::Idle},
};

#[path = "../echo/mod.rs"]
mod echo;

pub(crate) use echo::Echo;

/// Buffers of the worker.
pub(crate) const FRAMES: usize = 512;

/// A gateway of three ports, as in `scripts/lib/topology.sh`.
pub(crate) struct Gateway {
    pub(crate) worker: Worker<Echo>,
    /// Into and out of each port.
    pub(crate) wires: Vec<(Lane, Lane)>,
    pub(crate) now: Instant,
    /// Where the worker is asked things.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) line: Line,
    _tables: Publisher<Tables>,
}

fn tables() -> Tables {
    let mac = |port: u16, end: u8| MacAddr([2, 0, 0, 0, port as u8, end]);
    let port = |p: u16| l3::InterfaceSpec {
        id: InterfaceId(p),
        name: format!("port {p}"),
        link: Link::of(PortId(p)),
        mac: mac(p, 1),
        // What goes to the third has to be cut.
        mtu: if p == 2 { 576 } else { 1500 },
        v4: vec![format!("10.0.{}.1/24", p + 1).parse().unwrap()],
        v6: if p == 2 { vec![] } else { vec![format!("fd00:{}::1/64", p + 1).parse().unwrap()] },
        ..l3::InterfaceSpec::default()
    };
    let route = |to: &str, target| l3::Route { to: to.parse().unwrap(), target };
    let neighbor = |p: u16, address: &str| StaticNeighbor {
        interface: InterfaceId(p),
        address: address.parse().unwrap(),
        mac: mac(p, 2),
    };
    let spread = l3::Target::Spread(vec![hop("10.0.2.11"), hop("10.0.3.11")]);
    let spec = l3::Spec {
        interfaces: (0..3).map(port).chain(tagged()).collect(),
        routes: vec![
            route("10.66.0.0/16", l3::Target::Blackhole),
            route("10.67.0.0/16", l3::Target::Unreachable),
            route("10.68.0.0/16", spread),
        ],
        vrfs: vec![l3::VrfSpec {
            name: "red".into(),
            interfaces: vec![RED],
            routes: vec![route("10.0.0.0/8", l3::Target::Link(InterfaceId(1)))],
        }],
        bridges: vec![Bridge {
            interface: BRIDGE,
            members: vec![MEMBERS[0], MEMBERS[1]],
            mac_limit: 8,
            mac_age: Duration::from_secs(10),
            flood_limit: None,
            fixed: Vec::new(),
        }],
        neighbors: vec![
            neighbor(0, "10.0.1.100"),
            neighbor(0, "fd00:1::100"),
            neighbor(0, "fe80::100"),
            neighbor(1, "10.0.2.11"),
            neighbor(2, "10.0.3.11"),
            neighbor(1, "fd00:2::11"),
        ],
        policies: policies(),
        ..l3::Spec::default()
    };
    let listener = ListenerSpec {
        name: "web".into(),
        address: "10.0.1.1:80".parse().unwrap(),
        tls: None,
        timeouts: Default::default(),
        limits: Default::default(),
        forwarded: Default::default(),
        trusted_peers: vec![],
        websocket: false,
    };
    let l7 = TableSpec { cores: 1, listeners: vec![listener], ..TableSpec::default() };
    Tables {
        phase: Phase::Serve,
        l3: Arc::new(l3::Table::build(spec).unwrap()),
        l7: Arc::new(Table::build(&l7, None).unwrap()),
    }
}

/// VLAN 10 of the first port, in a routing domain of its own; VLANs of the others, which are bridged; and the bridge's own interface.
const RED: InterfaceId = InterfaceId(3);
const MEMBERS: [InterfaceId; 2] = [InterfaceId(4), InterfaceId(5)];
const BRIDGE: InterfaceId = InterfaceId(6);

fn tagged() -> [l3::InterfaceSpec; 4] {
    let interface = |id: InterfaceId, link, v4: &str| l3::InterfaceSpec {
        id,
        name: format!("interface {}", id.0),
        link,
        mac: MacAddr([2, 0, 0, 0, id.0 as u8, 1]),
        mtu: 1400,
        v4: v4.parse().into_iter().collect(),
        reverse_path: l3::ReversePath::Loose,
        ..l3::InterfaceSpec::default()
    };
    let on = |port, tags| Link::Port { port: PortId(port), tags };
    [
        interface(RED, on(0, Tags::one(tag::CUSTOMER, 10)), "10.0.2.1/24"),
        interface(MEMBERS[0], on(1, Tags::one(tag::CUSTOMER, 10)), ""),
        interface(MEMBERS[1], on(2, Tags::two(tag::SERVICE, 100, 7)), ""),
        interface(BRIDGE, Link::Bridge, "10.0.9.1/24"),
    ]
}

fn hop(gateway: &str) -> l3::Hop {
    l3::Hop { gateway: Some(gateway.parse().unwrap()), interface: None, weight: 1 }
}

/// Rules for marked packets, so that what is not marked goes by the routes, after all have been asked.
fn policies() -> Vec<l3::PolicySpec> {
    let rule = |dscp: u8, own: bool, then: l3::Then, more: l3::Match| l3::PolicySpec {
        name: format!("{dscp}"),
        vrf: VrfId::MAIN,
        own,
        matches: l3::Match { dscp: vec![dscp], ..more },
        then,
    };
    let spread = l3::Target::Spread(vec![hop("10.0.2.11"), hop("10.0.3.11")]);
    let ports =
        l3::Match { protocols: vec![17, 6], destination_ports: vec![80..=80, 1000..=60000], ..l3::Match::default() };
    let interface = l3::Match { incoming: vec![InterfaceId(0)], ..l3::Match::default() };
    vec![
        rule(46, false, l3::Then::Target(spread), ports),
        rule(8, false, l3::Then::Target(l3::Target::Prohibit), interface),
        rule(10, false, l3::Then::Lookup(VrfId::MAIN), l3::Match::default()),
        // The precedence of ICMP errors.
        rule(48, true, l3::Then::Lookup(VrfId::MAIN), l3::Match::default()),
    ]
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

impl Gateway {
    pub(crate) fn new() -> Self {
        thread_local! {
            // Large, and the same for all.
            static TABLES: Arc<Tables> = Arc::new(tables());
        }
        let tables = Publisher::new(TABLES.with(Arc::clone));
        let wires: Vec<(Lane, Lane)> = (0..3).map(|_| Default::default()).collect();
        let port = |(index, (incoming, outgoing)): (usize, &(Lane, Lane))| {
            let mac = MacAddr([2, 0, 0, 0, index as u8, 1]);
            let port = MemoryPort::new(Rc::clone(incoming), Rc::clone(outgoing), 256);
            let capabilities = Default::default();
            (Port::Memory(port), PortInfo { mac, mtu: 1500, queues: 1, capabilities, driver: "memory".into() })
        };
        let waker = Arc::new(Waker::new().unwrap());
        let links = Rc::new(RefCell::new(Links::default()));
        let line = links.borrow_mut().desk(Arc::clone(&waker));
        let spec = Spec {
            core: 0,
            clock: Clock::new(),
            now: Instant::ZERO,
            arena: Arena::new(FRAMES, 2048).unwrap(),
            ports: wires.iter().enumerate().map(port).collect(),
            reader: tables.reader(),
            links,
            waker,
            idle: Idle::Poll,
            tcp: TcpOptions { max_connections: 100, ..TcpOptions::default() },
            secrets: Secrets::from_bytes(&[7; 48]),
            stats: Arc::new(CoreStats::new(3)),
            tcp_stats: Arc::default(),
            seed: 7,
        };
        Self { worker: Worker::new(spec, |_| Echo), wires, now: Instant::ZERO, line, _tables: tables }
    }

    /// What a frame that comes in by a port makes the gateway send, and by which ports. Virtual time goes on by 100 ms.
    pub(crate) fn receive(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        self.now += Duration::from_millis(100);
        let frame = self.worker.arena().copy_from(frame).unwrap();
        self.wires[port].0.borrow_mut().push(frame);
        self.settle()
    }

    /// Turns until nothing moves; what is sent.
    pub(crate) fn settle(&mut self) -> Vec<(usize, Vec<u8>)> {
        while self.worker.turn(self.now) {}
        let sent = |(port, (_, out)): (usize, &(Lane, Lane))| {
            out.borrow_mut().drain(..).map(|frame| (port, frame.data().to_vec())).collect::<Vec<_>>()
        };
        self.wires.iter().enumerate().flat_map(sent).collect()
    }

    /// Lets time pass, from deadline to deadline, until `end`.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let next = self.worker.next_deadline().unwrap_or(end);
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
            self.settle();
        }
    }
}
