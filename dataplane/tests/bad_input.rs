//! What no sender should send, through a whole worker: each frame of `tests/bad_input/corpus.txt` comes to the end it must come to,
//! its sender is told what the RFCs ask for and nothing else, no frame is lost, and traffic goes on.

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
    l2::{Presence, StaticNeighbor},
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
    worker::{Spec, Worker, handover::Links, idle::Idle},
};

const CORPUS: &str = include_str!("../../tests/bad_input/corpus.txt");
const FRAMES: usize = 512;
/// Our hardware addresses are 02:00:00:00:PP:01, those of the neighbours end in 02.
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A line of the corpus.
struct Case {
    name: &'static str,
    end: &'static str,
    answer: &'static str,
    frames: Vec<Vec<u8>>,
}

fn corpus() -> impl Iterator<Item = Case> {
    CORPUS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split(" | ").collect();
        let [name, end, answer, frames] = fields[..] else { panic!("not a case: {line}") };
        Case { name, end, answer, frames: frames.split(' ').map(bytes).collect() }
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Takes connections and lets them lie.
struct Deaf;

impl App for Deaf {
    fn accept(&mut self, _: &Host, stream: TcpStream) {
        drop(stream);
    }
}

/// A gateway of three ports, as in `scripts/lib/topology.sh`.
struct Gateway {
    worker: Worker<Deaf>,
    /// Into and out of each port.
    wires: Vec<(Lane, Lane)>,
    now: Instant,
    _tables: Publisher<Tables>,
}

fn tables() -> Tables {
    let mac = |port: u16, end: u8| MacAddr([2, 0, 0, 0, port as u8, end]);
    let port = |p: u16| l3::InterfaceSpec {
        id: InterfaceId(p),
        name: format!("port {p}"),
        link: tidegate_dataplane::l2::Link::of(PortId(p)),
        mac: mac(p, 1),
        mtu: 1500,
        v4: vec![format!("10.0.{}.1/24", p + 1).parse().unwrap()],
        v6: vec![format!("fd00:{}::1/64", p + 1).parse().unwrap()],
        presence: Presence::default(),
        advertise: None,
    };
    let route = |to: &str, target| l3::Route { to: to.parse().unwrap(), target };
    let neighbor = |p: u16, address: &str| StaticNeighbor {
        interface: InterfaceId(p),
        address: address.parse().unwrap(),
        mac: mac(p, 2),
    };
    let spec = l3::Spec {
        interfaces: (0..3).map(port).collect(),
        routes: vec![route("10.66.0.0/16", l3::Target::Blackhole), route("10.67.0.0/16", l3::Target::Unreachable)],
        neighbors: vec![
            neighbor(0, "10.0.1.100"),
            neighbor(0, "fd00:1::100"),
            neighbor(0, "fe80::100"),
            neighbor(1, "10.0.2.11"),
            neighbor(1, "fd00:2::11"),
        ],
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
        l3: Arc::new(l3::Table::build(spec, None).unwrap()),
        l7: Arc::new(Table::build(&l7, None).unwrap()),
    }
}

impl Gateway {
    fn new() -> Self {
        let tables = Publisher::new(Arc::new(tables()));
        let wires: Vec<(Lane, Lane)> = (0..3).map(|_| Default::default()).collect();
        let port = |(index, (incoming, outgoing)): (usize, &(Lane, Lane))| {
            let mac = MacAddr([2, 0, 0, 0, index as u8, 1]);
            let port = MemoryPort::new(Rc::clone(incoming), Rc::clone(outgoing), 256);
            let capabilities = Default::default();
            (Port::Memory(port), PortInfo { mac, mtu: 1500, queues: 1, capabilities, driver: "memory".into() })
        };
        let spec = Spec {
            core: 0,
            clock: Clock::new(),
            now: Instant::ZERO,
            arena: Arena::new(FRAMES, 2048).unwrap(),
            ports: wires.iter().enumerate().map(port).collect(),
            reader: tables.reader(),
            links: Rc::new(RefCell::new(Links::default())),
            waker: Arc::new(Waker::new().unwrap()),
            idle: Idle::Poll,
            tcp: TcpOptions { max_connections: 100, ..TcpOptions::default() },
            secrets: Secrets::from_bytes(&[7; 48]),
            stats: Arc::new(CoreStats::new(3)),
            tcp_stats: Arc::default(),
            seed: 7,
        };
        Self { worker: Worker::new(spec, |_| Deaf), wires, now: Instant::ZERO, _tables: tables }
    }

    /// What a frame that comes in by the first port makes the gateway send.
    fn receive(&mut self, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        self.now += Duration::from_millis(100);
        let frame = self.worker.arena().copy_from(frame).unwrap();
        self.wires[0].0.borrow_mut().push_back(frame);
        while self.worker.turn(self.now) {}
        let sent = |(port, (_, out)): (usize, &(Lane, Lane))| {
            out.borrow_mut().drain(..).map(|frame| (port, frame.data().to_vec())).collect::<Vec<_>>()
        };
        self.wires.iter().enumerate().flat_map(sent).collect()
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        DropReason::ALL.iter().map(|reason| (reason.label(), self.worker.stats().drops(*reason).value())).collect()
    }

    /// What became of a frame, in the words of the corpus: its end, and what was said about it.
    fn judge(&mut self, frame: &[u8]) -> (String, String) {
        let before = self.drops();
        let sent = self.receive(frame);
        let lost: Vec<_> = self.drops().into_iter().zip(before).filter(|(now, then)| now != then).collect();
        match &lost[..] {
            [] if sent.is_empty() => ("used".into(), "-".into()),
            [] => {
                assert_eq!(sent.len(), 1, "one frame makes one frame");
                let passed =
                    sent[0].1[26..] == frame[26..sent[0].1.len()] || sent[0].1[22..] == frame[22..sent[0].1.len()];
                (if passed { "forwarded" } else { "answered" }.into(), "-".into())
            }
            [((reason, now), (_, then))] => {
                assert_eq!(now - then, 1, "{reason} once");
                (reason.to_string(), if *reason == "address_conflict" { "-".into() } else { said(&sent) })
            }
            more => panic!("more than one end: {more:?}"),
        }
    }
}

/// An answer to a lost frame, in the words of the corpus.
fn said(sent: &[(usize, Vec<u8>)]) -> String {
    let [(port, frame)] = sent else {
        assert!(sent.is_empty(), "at most one answer: {sent:02x?}");
        return "-".into();
    };
    assert_eq!((*port, &frame[..12]), (0, &[SENDER, GATEWAY].concat()[..]), "to its sender and nobody else");
    match (&frame[12..14], frame[14]) {
        ([8, 0], 0x45) if frame[23] == 6 => if frame[47] & 4 != 0 { "rst" } else { "tcp" }.into(),
        ([8, 0], first) => {
            assert_eq!((first, frame[23]), (0x45, 1));
            assert!(frame.len() <= 14 + 576, "RFC 1812 §4.3.2.3");
            let pointer = if frame[34] == 12 { format!("@{}", frame[38]) } else { String::new() };
            format!("icmp:{}/{}{pointer}", frame[34], frame[35])
        }
        _ => {
            assert_eq!((frame[14] >> 4, frame[20]), (6, 58));
            assert!(frame.len() <= 14 + 1280, "RFC 4443 §2.4 (c)");
            let pointer = if frame[54] == 4 {
                format!("@{}", u32::from_be_bytes(frame[58..62].try_into().unwrap()))
            } else {
                String::new()
            };
            format!("icmp6:{}/{}{pointer}", frame[54], frame[55])
        }
    }
}

#[test]
fn every_bad_frame_comes_to_its_end() {
    let mut gateway = Gateway::new();
    let good = corpus().find(|case| case.name == "a whole packet").expect("a packet that passes");
    let (mut wrong, mut frames) = (Vec::new(), 0);
    for case in corpus() {
        for frame in &case.frames {
            let (end, answer) = gateway.judge(frame);
            if (end.as_str(), answer.as_str()) != (case.end, case.answer) {
                wrong.push(format!(
                    "{} ({} bytes): {end} {answer}, not {} {}",
                    case.name,
                    frame.len(),
                    case.end,
                    case.answer
                ));
            }
            frames += 1;
        }
        assert_eq!(gateway.worker.arena().available(), FRAMES, "{}: every frame is home", case.name);
        assert_eq!(gateway.judge(&good.frames[0]).0, "forwarded", "traffic goes on after: {}", case.name);
    }
    assert!(wrong.is_empty(), "{} of {frames}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(frames > 400, "the corpus is whole: {frames}");
}

/// All of it at once, and again, in batches of every size: no order of bad frames does more than each alone.
#[test]
fn a_flood_of_bad_frames_leaves_nothing_behind() {
    let mut gateway = Gateway::new();
    let all: Vec<Vec<u8>> = corpus().flat_map(|case| case.frames).collect();
    for round in 1..=70usize {
        for chunk in all.chunks(round) {
            for frame in chunk {
                let frame = gateway.worker.arena().copy_from(frame).unwrap();
                gateway.wires[0].0.borrow_mut().push_back(frame);
            }
            while gateway.worker.turn(gateway.now) {}
            gateway.wires.iter().for_each(|(_, out)| out.borrow_mut().clear());
        }
        gateway.now += Duration::from_secs(1);
    }
    // Half-open connections of the SYNs among them end by themselves.
    for _ in 0..600 {
        gateway.now += Duration::from_secs(1);
        while gateway.worker.turn(gateway.now) {}
        gateway.wires.iter().for_each(|(_, out)| out.borrow_mut().clear());
    }
    assert_eq!(gateway.worker.arena().available(), FRAMES);
    assert_eq!(gateway.worker.host().tcp.connections(), 0);
}
