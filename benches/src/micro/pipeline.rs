//! The packet path: each stage over a full batch, and whole turns of a core.

use core::time::Duration;

use tidegate_dataplane::{
    batch::{BATCH, Batch, Egress},
    clock::Instant,
    frame::Arena,
    l2::{self, Tags, Turn, tag},
    l3::{self, Match, PolicySpec, Route, Then},
    l4::TcpOptions,
    meta::{Meta, PortId, VrfId},
    stats::CoreStats,
    verdict::Verdict,
};

use super::{Counted, Kernel, Prepared, Work};
use crate::{
    far::{
        self, Nothing, Rig, Shape,
        answer::{self, Answer},
        gateway::{REQUEST, Seat, seat},
        tcp::{ACK, Client, FIN},
        tls::{self, Secured},
        udp,
    },
    random::Random,
    routes,
};

/// Routes in the tables: what counts is the work of a look-up, not the cache.
const ROUTES: usize = 1000;

/// The stages of forwarding, in packet order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Parse,
    LinkInput,
    NetInput,
    Route,
    Forward,
    LinkOutput,
}

const ORDER: [Stage; 6] =
    [Stage::Parse, Stage::LinkInput, Stage::NetInput, Stage::Route, Stage::Forward, Stage::LinkOutput];

macro_rules! stages {
    ($($name:literal = $stage:ident $v6:literal,)+) => {
        [$(Kernel {
            name: $name,
            unit: "packet",
            per_call: BATCH as u32,
            counted: Counted::Run,
            make: || Box::new(Prepared { state: Bench::new(Stage::$stage, $v6), prepare: Bench::prepare, run: Bench::run }),
        },)+]
    };
}

/// Everything that packets go through.
pub(super) fn kernels() -> Vec<Kernel> {
    let stages = stages![
        "l2_parse" = Parse false,
        "l2_input" = LinkInput false,
        "l3_input/v4" = NetInput false,
        "l3_input/v6" = NetInput true,
        "l3_route/v4" = Route false,
        "l3_route/v6" = Route true,
        "l3_forward/v4" = Forward false,
        "l3_forward/v6" = Forward true,
        "l2_output" = LinkOutput false,
    ];
    let turn = |name, unit, per_call, make| Kernel { name, unit, per_call, counted: Counted::Turns, make };
    let mut kernels = Vec::from(stages);
    kernels.extend([
        turn("turn/forward_v4", "packet", BATCH as u32, || Box::new(Forwarding::new(false))),
        turn("turn/forward_v6", "packet", BATCH as u32, || Box::new(Forwarding::new(true))),
        turn("turn/forward_v4_to_vlan", "packet", BATCH as u32, || Box::new(Forwarding::tagged([Tags::NONE, ONE]))),
        turn("turn/forward_v4_vlan", "packet", BATCH as u32, || Box::new(Forwarding::tagged([ONE, ONE]))),
        turn("turn/forward_v4_qinq", "packet", BATCH as u32, || Box::new(Forwarding::tagged([TWO, TWO]))),
        turn("turn/forward_v4_policy", "packet", BATCH as u32, || Box::new(Forwarding::ruled(false))),
        turn("turn/forward_v6_policy", "packet", BATCH as u32, || Box::new(Forwarding::ruled(true))),
        turn("turn/tcp_live", "exchange", 1, || Box::new(Exchange::new(false))),
        turn("turn/tcp_at_rest", "exchange", 1, || Box::new(Exchange::new(true))),
        turn("turn/http_request", "request", 1, || Box::new(Requests::new(false))),
        turn("turn/https_request", "request", 1, || Box::new(Requests::new(true))),
        turn("turn/http_connection", "connection", 1, || Box::new(Connections::new())),
    ]);
    kernels
}

/// Routes, and destinations within them.
fn table(v6: bool) -> (l3::Spec, Vec<u128>) {
    let (mut random, prefixes) = (Random::new(), routes::prefixes(ROUTES, v6));
    let destinations = (0..BATCH).map(|_| routes::within(&prefixes[random.below(ROUTES)], &mut random)).collect();
    let mut spec = far::links();
    let route = |(number, to): (usize, &ipnet::IpNet)| Route { to: *to, target: far::gateway(number, v6) };
    spec.routes.extend(prefixes.iter().enumerate().map(route));
    (spec, destinations)
}

/// One stage: those before it are preparation.
struct Bench {
    at: Stage,
    v6: bool,
    destinations: Vec<u128>,
    table: l3::Table,
    net: l3::State,
    link: l2::State,
    stats: CoreStats,
    egress: Egress,
    // Packets go home before the memory they are.
    batch: Batch,
    arena: Arena,
}

impl Bench {
    fn new(at: Stage, v6: bool) -> Self {
        let (spec, destinations) = table(v6);
        let table = l3::Table::build(spec).unwrap_or_else(|error| panic!("{error}"));
        let mut link = l2::State::new(l2::Limits::default(), 7);
        link.adopt(table.link());
        Self {
            at,
            v6,
            destinations,
            table,
            net: l3::State::new(),
            link,
            stats: CoreStats::new(2),
            egress: Egress::new(BATCH),
            batch: Batch::new(),
            arena: Arena::new(4 * BATCH, 2048).unwrap_or_else(|error| panic!("{error}")),
        }
    }

    fn prepare(&mut self) {
        for slot in self.batch.drain() {
            assert!(!matches!(slot.verdict, Verdict::Drop(_)), "no packet is lost: {:?}", slot.verdict);
        }
        for to in &self.destinations {
            let frame = udp::packet(&self.arena, self.v6, *to, udp::SHORTEST[usize::from(self.v6)]);
            let frame = frame.unwrap_or_else(|| panic!("frames leak"));
            let meta = Meta { port: PortId(0), ..Meta::default() };
            self.batch.push(frame, meta).unwrap_or_else(|_| panic!("room for a batch"));
        }
        let at = self.at;
        for stage in ORDER.into_iter().take_while(|stage| *stage < at) {
            self.stage(stage);
        }
    }

    fn run(&mut self) {
        self.stage(self.at);
    }

    // Inlined, so that a stage is not asked which it is in the middle of what is counted more than once.
    #[inline]
    fn stage(&mut self, stage: Stage) {
        let Self { table, net, link, stats, egress, batch, arena, .. } = self;
        let mut turn = Turn { now: Instant::from_millis(1), arena, egress, stats };
        match stage {
            Stage::Parse => l2::parse::run(table.link(), stats, batch),
            Stage::LinkInput => l2::input::run(table.link(), link, &mut turn, batch),
            Stage::NetInput => {
                assert!(!l3::input::run(table, net, &mut turn, batch), "in transit");
            }
            Stage::Route => l3::route::run(table, net, &mut turn, batch),
            Stage::Forward => l3::forward::run(table, net, &mut turn, batch),
            Stage::LinkOutput => drop(l2::output::run(table.link(), link, &mut turn, batch)),
        }
    }
}

/// The tags of a VLAN and of QinQ.
const ONE: Tags = Tags::one(tag::CUSTOMER, 10);
const TWO: Tags = Tags::two(tag::SERVICE, 100, 10);

/// A router's turn, from memory port to memory port.
struct Forwarding {
    rig: Rig<Nothing>,
    /// What the packets come with.
    tags: Tags,
    destinations: Vec<u128>,
    v6: bool,
}

impl Forwarding {
    fn new(v6: bool) -> Self {
        let (l3, destinations) = table(v6);
        Self { rig: Rig::new(Shape { l3, ..Shape::default() }, |_| Nothing), tags: Tags::NONE, destinations, v6 }
    }

    /// With rules that ask for everything there is; the last fits, and leaves it to the routes.
    fn ruled(v6: bool) -> Self {
        let (mut l3, destinations) = table(v6);
        l3.policies = (1..=RULES).map(|number| rule(number, v6)).collect();
        let rig = Rig::new(Shape { l3, ..Shape::default() }, |_| Nothing);
        Self { rig, tags: Tags::NONE, destinations, v6 }
    }

    /// IPv4 between interfaces with these tags.
    fn tagged(tags: [Tags; 2]) -> Self {
        let (mut l3, destinations) = table(false);
        far::tag(&mut l3, tags);
        let rig = Rig::new(Shape { l3, ..Shape::default() }, |_| Nothing);
        Self { rig, tags: tags[0], destinations, v6: false }
    }
}

/// Rules of policy routing.
const RULES: u16 = 64;

/// A rule for traffic of its own, if it is not the last. Every other asks for what the client sends, but to elsewhere.
fn rule(number: u16, v6: bool) -> PolicySpec {
    let net = |text: String| text.parse().unwrap_or_else(|_| panic!("a prefix: {text}"));
    let of = |first: u16| if v6 { format!("fd{first}:{number:x}::/32") } else { format!("10.{first}.{number}.0/24") };
    let client = if v6 { "fd64::/16" } else { "10.64.0.0/10" };
    let everywhere = if v6 { ["::/1", "8000::/1"] } else { ["0.0.0.0/1", "128.0.0.0/1"] };
    let last = number == RULES;
    PolicySpec {
        name: number.to_string(),
        vrf: VrfId::MAIN,
        own: false,
        matches: Match {
            from: vec![net(if number.is_multiple_of(2) { client.to_owned() } else { of(10) })],
            to: if last { everywhere.map(|text| net(text.to_owned())).into() } else { vec![net(of(20))] },
            protocols: vec![6, 17],
            source_ports: vec![1024..=65535],
            destination_ports: if last { vec![53..=53] } else { vec![1000 + number * 10..=1005 + number * 10] },
            dscp: vec![0, (number % 64) as u8],
            ..Match::default()
        },
        then: Then::Lookup(VrfId::MAIN),
    }
}

impl Work for Forwarding {
    fn prepare(&mut self) {
        for to in &self.destinations {
            let frame = udp::packet(self.rig.worker.arena(), self.v6, *to, udp::SHORTEST[usize::from(self.v6)]);
            let mut frame = frame.unwrap_or_else(|| panic!("frames leak"));
            udp::put_tags(&mut frame, &self.tags);
            self.rig.send(0, frame);
        }
    }
    fn run(&mut self) {
        self.rig.turn();
        assert_eq!(self.rig.from[1].borrow_mut().drain(..).count(), BATCH, "every packet is forwarded");
    }
}

/// A request of 100 B, a response of 1 KiB and its acknowledgement, on a connection with a socket or on one that has to be
/// given one.
struct Exchange {
    rig: Rig<Answer>,
    clients: Vec<Client>,
    rests: bool,
}

impl Exchange {
    fn new(rests: bool) -> Self {
        let mut rig = answer::rig(TcpOptions { keepalive: None, ..TcpOptions::default() });
        let clients = rig.open(0..1);
        Self { rig, clients, rests }
    }
}

impl Work for Exchange {
    fn run(&mut self) {
        self.rig.exchange(&[0], &mut self.clients);
        if self.rests {
            // The turns in which it comes to rest are part of what resting costs.
            for _ in 0..2 {
                self.rig.now += Duration::from_secs(2);
                self.rig.settle(|seen| panic!("nothing to say: {seen:?}"));
            }
            assert_eq!(self.rig.tcp.live.value(), 0, "it rests");
        }
    }
}

/// Requests through the gateway on one connection.
struct Requests {
    seat: Seat,
    clients: Vec<Client>,
    secured: Option<Secured>,
}

impl Requests {
    fn new(secure: bool) -> Self {
        let (server, config) = tls::pair();
        let mut seat = seat(secure.then_some(server), TcpOptions::default());
        let mut clients = seat.rig.open(0..1);
        let secured = secure.then(|| Secured::handshake(&mut seat, &mut clients, 0, &config));
        Self { seat, clients, secured }
    }
}

impl Work for Requests {
    fn run(&mut self) {
        let Some(secured) = &mut self.secured else {
            return self.seat.exchange(&[0], &mut self.clients);
        };
        secured.ask(&mut self.seat, &mut self.clients, REQUEST);
        let mut content = 0;
        self.seat.settle(&mut self.clients, |_, bytes| content += secured.take(bytes));
        assert!(content > far::gateway::CONTENT, "the request is answered");
    }
}

/// A connection for one request.
struct Connections {
    seat: Seat,
    clients: Vec<Client>,
}

impl Connections {
    fn new() -> Self {
        Self { seat: seat(None, TcpOptions::default()), clients: Vec::new() }
    }
}

impl Work for Connections {
    fn run(&mut self) {
        let number = self.clients.len();
        self.clients.extend(self.seat.rig.open(number..number + 1));
        self.seat.exchange(&[number], &mut self.clients);
        self.seat.rig.say(&self.clients[number].say(number, FIN | ACK, &[]));
        self.clients[number].next = self.clients[number].next.wrapping_add(1);
        self.seat.settle(&mut self.clients, |_, _| ());
        self.seat.acknowledge(&[number], &mut self.clients);
        assert_eq!(self.seat.http.open_connections.value(), 0, "it is closed");
    }
}
