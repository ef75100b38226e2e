//! Whole hosts on memory ports: everything from Ethernet to a byte stream, in virtual time.

use core::{cell::RefCell, time::Duration};
use std::{net::SocketAddr, rc::Rc, sync::Arc};

use tidegate_dataplane::{
    clock::{Clock, Instant},
    frame::Arena,
    io::{
        MacAddr, Port, PortInfo,
        memory::{Lane, MemoryPort},
        park::Waker,
    },
    l3,
    l4::{Secrets, TcpOptions, TcpStream},
    l7::{
        app::{App, Host},
        stream::ByteStream,
        table::{ListenerSpec, Table, TableSpec},
    },
    meta::{InterfaceId, PortId},
    stats::CoreStats,
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    verdict::DropReason,
    worker::{
        Spec, Worker,
        handover::{self, Links},
        idle::Idle,
    },
};

mod echo;

use echo::Echo;

const FRAMES: usize = 2048;

/// Accepts nothing; tests spawn what it does.
struct Client;

impl App for Client {
    fn accept(&mut self, _: &Host, stream: TcpStream) {
        drop(stream);
    }
}

fn tables(mac: MacAddr, address: &str, listen: Option<SocketAddr>) -> Arc<Tables> {
    let port = l3::InterfaceSpec {
        id: InterfaceId(0),
        name: "lan".to_owned(),
        link: tidegate_dataplane::l2::Link::of(PortId(0)),
        mac,
        mtu: 1500,
        v4: vec![address.parse().unwrap()],
        v6: vec![],
        presence: tidegate_dataplane::l2::Presence::default(),
        ..l3::InterfaceSpec::default()
    };
    let l3 = l3::Table::build(l3::Spec { interfaces: vec![port], ..l3::Spec::default() }).unwrap();
    let listener = |address| ListenerSpec {
        name: "echo".into(),
        address,
        tls: None,
        timeouts: Default::default(),
        limits: Default::default(),
        forwarded: Default::default(),
        trusted_peers: vec![],
        websocket: false,
    };
    let l7 = TableSpec { cores: 2, listeners: listen.into_iter().map(listener).collect(), ..TableSpec::default() };
    let l7 = Table::build(&l7, None).unwrap();
    Arc::new(Tables { phase: Phase::Serve, l3: Arc::new(l3), l7: Arc::new(l7) })
}

struct Seat {
    number: usize,
    of: usize,
    links: Links,
    waker: Arc<Waker>,
}

fn worker<A: App>(seat: Seat, port: MemoryPort, mac: MacAddr, tables: &Publisher<Tables>, app: A) -> Worker<A> {
    let arena = Arena::new(FRAMES, 2048).unwrap();
    let info = PortInfo { mac, mtu: 1500, queues: 1, capabilities: Default::default(), driver: "memory".into() };
    let spec = Spec {
        core: seat.number,
        clock: Clock::new(),
        now: Instant::ZERO,
        arena,
        ports: vec![(Port::Memory(port), info)],
        reader: tables.reader(),
        links: Rc::new(RefCell::new(seat.links)),
        waker: seat.waker,
        idle: Idle::Poll,
        tcp: TcpOptions { core: (seat.number, seat.of), max_connections: 1000, ..TcpOptions::default() },
        secrets: Secrets::from_bytes(&[seat.number as u8 + 1; 48]),
        stats: Arc::new(CoreStats::new(1)),
        tcp_stats: Arc::default(),
        seed: 7,
    };
    Worker::new(spec, |_| app)
}

fn alone() -> Seat {
    Seat { number: 0, of: 1, links: Links::default(), waker: Arc::new(Waker::new().unwrap()) }
}

const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const ADDRESS: &str = "10.0.0.2:7";

/// Opens a connection from `client`, sends `bytes`, and returns what came back once the peer has closed.
fn exchange(client: &Worker<Client>, bytes: Vec<u8>) -> Rc<RefCell<Option<Vec<u8>>>> {
    let (host, answer) = (client.host().clone(), Rc::new(RefCell::new(None)));
    let result = Rc::clone(&answer);
    let mut stream = host.tcp.connect("10.0.0.1".parse().unwrap(), ADDRESS.parse().unwrap(), host.exec.now()).unwrap();
    host.exec.spawn(async move {
        let mut back = Vec::new();
        let mut buffer = [0; 1500];
        for chunk in bytes.chunks(1000) {
            stream.write_all(chunk).await.unwrap();
            let mut echoed = 0;
            while echoed < chunk.len() {
                let n = stream.read(&mut buffer).await.unwrap();
                echoed += n;
                back.extend_from_slice(&buffer[..n]);
            }
        }
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut buffer).await, Ok(0));
        *result.borrow_mut() = Some(back);
    });
    answer
}

/// Turns everybody until nothing moves; then jumps to the next deadline, until `end`.
fn run(end: Instant, mut turn: impl FnMut(Instant) -> (bool, Option<Instant>)) {
    let mut now = Instant::ZERO;
    while now < end {
        let (busy, deadline) = turn(now);
        now = if busy {
            now + Duration::from_micros(10)
        } else {
            deadline.map_or(end, |at| at.max(now + Duration::from_micros(10)))
        };
    }
}

#[test]
fn bytes_cross_two_hosts_and_come_back() {
    let (a, b) = MemoryPort::pair(256);
    let client_tables = Publisher::new(tables(CLIENT, "10.0.0.1/24", None));
    let server_tables = Publisher::new(tables(SERVER, "10.0.0.2/24", Some(ADDRESS.parse().unwrap())));
    let mut client = worker(alone(), a, CLIENT, &client_tables, Client);
    let mut server = worker(alone(), b, SERVER, &server_tables, Echo);
    let sent: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
    let answer = exchange(&client, sent.clone());
    run(Instant::from_millis(300_000), |now| {
        let busy = client.turn(now) | server.turn(now);
        (busy, [client.next_deadline(), server.next_deadline()].into_iter().flatten().min())
    });
    assert!(answer.borrow().as_ref() == Some(&sent), "everything came back in order");
    assert_eq!((client.host().exec.live_tasks(), server.host().exec.live_tasks()), (0, 0));
    assert_eq!((client.host().tcp.connections(), server.host().tcp.connections()), (0, 0), "TIME-WAIT is over");
    assert_eq!(client.arena().available() + server.arena().available(), 2 * FRAMES, "no frame is lost");
}

#[test]
fn a_segment_that_lands_on_the_wrong_core_reaches_its_owner() {
    let (to_client, to_server) = (Lane::default(), Lane::default());
    let port = |incoming: &Lane, outgoing: &Lane| MemoryPort::new(Rc::clone(incoming), Rc::clone(outgoing), 256);
    let client_tables = Publisher::new(tables(CLIENT, "10.0.0.1/24", None));
    let server_tables = Publisher::new(tables(SERVER, "10.0.0.2/24", Some(ADDRESS.parse().unwrap())));
    let mut client = worker(alone(), port(&to_client, &to_server), CLIENT, &client_tables, Client);
    let wakers: Vec<_> = (0..2).map(|_| Arc::new(Waker::new().unwrap())).collect();
    let mut seats = handover::mesh(&wakers, 2048).into_iter().zip(wakers).enumerate();
    let mut seat = || seats.next().map(|(number, (links, waker))| Seat { number, of: 2, links, waker }).unwrap();
    // Only core 0 receives; core 1 owns about half of the connections and sends onto the same wire.
    let mut first = worker(seat(), port(&to_server, &to_client), SERVER, &server_tables, Echo);
    let mut other = worker(seat(), port(&Lane::default(), &to_client), SERVER, &server_tables, Echo);
    let first_stats = Arc::clone(first.stats());
    let answers: Vec<_> = (0..16u8).map(|byte| exchange(&client, vec![byte; 3000])).collect();
    run(Instant::from_millis(300_000), |now| {
        let busy = client.turn(now) | first.turn(now) | other.turn(now);
        let deadlines = [client.next_deadline(), first.next_deadline(), other.next_deadline()];
        (busy, deadlines.into_iter().flatten().min())
    });
    for (byte, answer) in answers.iter().enumerate() {
        assert_eq!(answer.borrow().as_deref(), Some(&vec![byte as u8; 3000][..]), "connection {byte}");
    }
    let handed = first_stats.handovers.value();
    assert!(handed >= 16 * 3, "a segment for every owner: {handed}");
    assert_eq!(first_stats.drops(DropReason::HandoverFull).value(), 0);
}

#[test]
#[allow(clippy::disallowed_methods)] // A thread, so that one that goes on for ever is seen.
fn a_core_whose_work_never_ends_stops_when_told() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut tables = Publisher::new(tables(CLIENT, "10.0.0.1/24", None));
        let (near, _far) = MemoryPort::pair(4);
        let mut core = worker(alone(), near, CLIENT, &tables, Client);
        core.host().exec.spawn(std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }));
        let current = tables.current();
        let (l3, l7) = (Arc::clone(&current.l3), Arc::clone(&current.l7));
        tables.publish(Arc::new(Tables { phase: Phase::Stop, l3, l7 }));
        core.run();
        done.send(())
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(()), "it goes on for ever");
}
