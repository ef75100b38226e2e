//! Packets that do not exist, through a real worker on the tables of a configuration, in words.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_dataplane::clock::{Clock, Instant};
use tidegate_dataplane::frame::Arena;
use tidegate_dataplane::io::memory::{Lane, MemoryPort};
use tidegate_dataplane::io::park::Waker;
use tidegate_dataplane::io::{Capabilities, Port, PortInfo};
use tidegate_dataplane::l4::{Secrets, TcpOptions, TcpStream};
use tidegate_dataplane::l7::app::{App, Host};
use tidegate_dataplane::l7::tls::{TicketKeys, wall_clock};
use tidegate_dataplane::see::order::{Letter, Line};
use tidegate_dataplane::stats::CoreStats;
use tidegate_dataplane::tables::Phase;
use tidegate_dataplane::worker::handover::Links;
use tidegate_dataplane::worker::idle::Idle;
use tidegate_dataplane::worker::{Spec, Worker};

use super::*;
use crate::compile::Inputs;
use crate::config;
use crate::diagnostic::Source;
use crate::kernel::monitor::Counts;
use crate::publish::Publication;
use crate::status::{self, Reloads};
use crate::story::Way;
use crate::telemetry::{PortView, Telemetry};

/// Two backends of one bridge with a VLAN of the first port, another VLAN in a domain of its own, and rules.
const CONFIG: &str = r#"
[[port]]
name = "lan"
driver = "memory"
addresses = ["10.0.1.1/24", "fd00:1::1/64"]
reverse_path = "strict"

[[port]]
name = "web0"
driver = "memory"

[[port]]
name = "web1"
driver = "memory"

[[vlan]]
name = "ten"
port = "lan"
id = 10

[[vrf]]
name = "red"

[[vlan]]
name = "red-clients"
port = "lan"
id = 20
vrf = "red"
addresses = ["10.50.0.1/24"]
reverse_path = "loose"

[[vlan]]
name = "red-servers"
port = "lan"
id = 30
vrf = "red"
addresses = ["10.60.0.1/24"]

[[loopback]]
name = "lo"
addresses = ["10.255.0.1/32"]

[[bridge]]
name = "site"
ports = ["web0", "web1", "ten"]
addresses = ["10.4.0.1/24"]
stations = [{ mac = "02:00:00:00:04:12", port = "web1" }]

[[neighbor]]
interface = "site"
address = "10.4.0.12"
mac = "02:00:00:00:04:12"

[[neighbor]]
interface = "site"
address = "10.4.0.13"
mac = "02:00:00:00:04:13"

[[route]]
to = "10.66.0.0/16"
blackhole = true

[[route]]
to = "10.67.0.0/16"
unreachable = true

[[route]]
to = "10.98.0.0/16"
via = ["10.4.0.12", "10.4.0.13"]

[[route]]
vrf = "red"
to = "10.61.0.0/16"
via = "10.60.0.11"

[[policy]]
name = "shut"
to = "10.70.0.0/16"
unreachable = true

[[policy]]
name = "reddish"
to = "10.71.0.0/16"
lookup = "red"
"#;

struct Silence;

impl App for Silence {
    fn accept(&mut self, _: &Host, stream: TcpStream) {
        drop(stream);
    }
}

struct Bench {
    status: Status,
    telemetry: Telemetry,
    worker: Worker<Silence>,
    line: Line,
    waker: Arc<Waker>,
    asked: u64,
    _publication: Publication,
}

fn publication() -> Publication {
    let surroundings =
        config::Surroundings { directory: Path::new("/"), files: None, now: SystemTime::now(), dpdk: false };
    let checked = config::check(Source::new("gateway.toml", CONFIG), &surroundings);
    let config = checked.config.unwrap_or_else(|| panic!("{:?}", checked.report));
    let port = |number: u8| PortInfo {
        mac: MacAddr([2, 0, 0, 0, 0, number]),
        mtu: 1500,
        queues: 1,
        capabilities: Capabilities::default(),
        driver: "memory".to_owned(),
    };
    let inputs = Inputs {
        config: Arc::new(config),
        certs: Arc::new(checked.certs),
        ports: [port(1), port(2), port(3)].into(),
        tickets: Arc::new(TicketKeys::generate().unwrap()),
        tentative: Arc::default(),
        clock: wall_clock(),
        phase: Phase::Serve,
    };
    Publication::first(inputs).unwrap()
}

fn status(publication: &Publication) -> Status {
    Status {
        phase: status::Phase::Serve,
        generation: publication.generation(),
        retired: 0,
        config: Arc::clone(&publication.inputs().config),
        certificates: BTreeMap::new(),
        links: Vec::new(),
        tables: Arc::clone(publication.tables()),
        learnt: 0,
        routes: Arc::clone(publication.routes()),
        disputes: Arc::default(),
        kernel: Counts::default(),
        stalled: Vec::new(),
        reloads: Reloads::default(),
        access_written: 0,
        access_lost: 0,
    }
}

impl Bench {
    fn new() -> Self {
        let publication = publication();
        let waker = Arc::new(Waker::new().unwrap());
        let links = Rc::new(RefCell::new(Links::default()));
        let line = links.borrow_mut().desk(Arc::clone(&waker));
        let infos = publication.inputs().ports.clone();
        let port =
            |info: &PortInfo| (Port::Memory(MemoryPort::new(Lane::default(), Lane::default(), 64)), info.clone());
        let spec = Spec {
            core: 0,
            clock: Clock::new(),
            now: Instant::ZERO,
            arena: Arena::new(256, 2048).unwrap(),
            ports: infos.iter().map(port).collect(),
            reader: publication.subscription().reader(),
            links,
            waker: Arc::clone(&waker),
            idle: Idle::Poll,
            tcp: TcpOptions { max_connections: 16, ..TcpOptions::default() },
            secrets: Secrets::from_bytes(&[7; 48]),
            stats: Arc::new(CoreStats::new(infos.len())),
            tcp_stats: Arc::default(),
            seed: 7,
        };
        let status = status(&publication);
        let view = |port: &config::model::Port| PortView {
            name: port.name.0.clone(),
            driver: "memory".to_owned(),
            mac: MacAddr::default(),
            mtu: 1500,
        };
        let telemetry = Telemetry {
            started: SystemTime::now(),
            since: std::time::Instant::now(),
            cores: Vec::new(),
            ports: status.config.ports.iter().map(view).collect(),
        };
        let worker = Worker::new(spec, |_| Silence);
        Self { status, telemetry, worker, line, waker, asked: 0, _publication: publication }
    }

    /// The way of a packet, by the words of the admin API, or why there is none.
    fn way(&mut self, query: &str) -> Result<Way, String> {
        let uri = format!("/explain?{query}").parse().unwrap();
        let Query(wanted) = Query::<Wanted>::try_from_uri(&uri).unwrap();
        let entry = wanted.entry(&self.status)?;
        let port = PortId(entry.port as u16);
        let packet = wanted.draft(entry)?.packet().unwrap();
        let rehearsal = Rehearsal::new(packet, port, (0, 1), self.telemetry.ports.len(), &self.waker);
        self.asked += 1;
        let letter = Letter { number: self.asked, order: Order::Rehearse(Box::new(rehearsal)) };
        self.line.send(letter).unwrap();
        while self.worker.turn(Instant::from_millis(self.asked)) {}
        let Some(Letter { order: Order::Rehearse(rehearsal), .. }) = self.line.receive() else { panic!("no answer") };
        let around = Surroundings { status: &self.status, telemetry: &self.telemetry, unix_origin_ns: 0 };
        Ok(tell(&rehearsal.record, &around))
    }

    /// What a stage said, if it said anything; and the end, with its hint.
    #[track_caller]
    fn told(&mut self, query: &str, stage: &str) -> (Vec<String>, String, Option<String>) {
        let way = self.way(query).unwrap();
        let notes = way.steps.iter().filter(|step| step.stage == stage).flat_map(|step| step.notes.clone());
        (notes.collect(), way.end.text, way.end.hint)
    }
}

#[test]
fn the_routing_domain_that_was_looked_into_is_named() {
    let mut bench = Bench::new();
    let way = bench.way("in=red-clients&src=10.50.0.9&dst=10.61.0.1").unwrap();
    let routed = way.steps.iter().find(|step| step.stage == "l3_route").unwrap();
    assert_eq!(routed.notes[0], "the longest prefix of the VRF `red` with 10.61.0.1 in it is 10.61.0.0/16");
    assert_eq!((way.end.vrf.as_deref(), way.end.prefix.as_deref()), (Some("red"), Some("10.61.0.0/16")));
    let way = bench.way("in=lan&src=10.0.1.9&dst=10.4.0.12").unwrap();
    assert!(
        way.steps
            .iter()
            .any(|step| step.notes.contains(&"the longest prefix with 10.4.0.12 in it is 10.4.0.0/24".to_owned()))
    );
    assert_eq!(way.end.vrf, None);
}

#[test]
fn who_has_no_route_is_sent_to_the_table_that_has_none() {
    let mut bench = Bench::new();
    let mut said = |query| bench.told(query, "l3_route");
    let (notes, _, hint) = said("in=red-clients&src=10.50.0.9&dst=10.4.0.12");
    assert_eq!(notes[0], "no prefix of the VRF `red` has 10.4.0.12 in it");
    assert_eq!(hint.unwrap(), "`tidegate show routes --longest 10.4.0.12 --vrf red` shows what there is");
    let (notes, _, hint) = said("in=lan&src=10.0.1.9&dst=10.61.0.1");
    assert_eq!(notes[0], "no prefix has 10.61.0.1 in it");
    assert_eq!(hint.unwrap(), "`tidegate show routes --longest 10.61.0.1` shows what there is");
    let (_, _, hint) = said("in=lan&src=10.0.1.9&dst=10.67.0.1");
    assert_eq!(hint.unwrap(), "`tidegate show routes --longest 10.67.0.1` shows what there is");
    // A rule led into the other domain; another rule needs no route to say so.
    let (notes, _, hint) = said("in=lan&src=10.0.1.9&dst=10.71.0.1");
    assert_eq!(notes[0], "no prefix of the VRF `red` has 10.71.0.1 in it");
    assert_eq!(hint.unwrap(), "`tidegate show routes --longest 10.71.0.1 --vrf red` shows what there is");
    let (notes, text, hint) = said("in=lan&src=10.0.1.9&dst=10.70.0.1");
    assert_eq!((&notes[0][..], hint), ("the rule says where", None));
    assert!(text.starts_with("it is dropped: No route"), "{text}");
}

#[test]
fn where_a_spoofed_source_lies_is_said() {
    let mut bench = Bench::new();
    let mut said = |port: &str, source: &str| {
        let to = if source.contains(':') { "fd00:9::1" } else { "10.99.0.1" };
        let (notes, text, _) = bench.told(&format!("in={port}&src={source}&dst={to}"), "l3_input");
        assert!(text.starts_with("it is dropped: There is no way to the source"), "{text}");
        assert_eq!(notes.len(), 1, "{notes:?}");
        notes[0].clone()
    };
    assert_eq!(said("lan", "10.4.0.2"), "reverse_path: 10.4.0.2 lies behind site (10.4.0.0/24), and came in by lan");
    assert_eq!(said("lan", "10.98.0.2"), "reverse_path: 10.98.0.2 lies behind site (10.98.0.0/16), and came in by lan");
    assert_eq!(said("lan", "10.66.0.5"), "reverse_path: 10.66.0.5 leads into a blackhole (10.66.0.0/16)");
    assert_eq!(said("lan", "10.67.0.5"), "reverse_path: the way to 10.67.0.5 is `unreachable` (10.67.0.0/16)");
    assert_eq!(said("lan", "10.9.9.9"), "reverse_path: no prefix has 10.9.9.9 in it");
    assert_eq!(said("lan", "fd09::9"), "reverse_path: no prefix has fd09::9 in it");
    assert_eq!(said("red-clients", "10.4.0.2"), "reverse_path: no prefix of the VRF `red` has 10.4.0.2 in it");
}

#[test]
fn a_bridge_says_what_it_does() {
    let mut bench = Bench::new();
    let mut said = |query: &str| bench.told(query, "l2_bridge").0;
    let up = ["into bridge site, for the gateway itself", "from here on it is a packet on site"];
    assert_eq!(said("in=web0&src=10.4.0.11&dst=10.0.1.9"), up);
    assert_eq!(said("in=ten&src=10.4.0.11&dst=10.0.1.9"), up);
    let across = |station| format!("in=web0&src=10.4.0.11&dst=10.4.0.12&to_station={station}");
    assert_eq!(said(&across("02:00:00:00:04:12")), ["through bridge site: station 02:00:00:00:04:12 is behind web1"]);
    assert_eq!(
        said(&across("02:00:00:00:04:99")),
        ["through bridge site: station 02:00:00:00:04:99 is not known, flooded to 2 members"]
    );
    assert_eq!(
        said(&across("ff:ff:ff:ff:ff:ff")),
        ["into bridge site, for all stations: flooded to 2 members", "from here on it is a packet on site"]
    );
    // What IP sends by it.
    assert_eq!(
        said("in=lan&src=10.0.1.9&dst=10.4.0.12"),
        ["out of bridge site: station 02:00:00:00:04:12 is behind web1"]
    );
    assert_eq!(
        said("in=lan&src=10.0.1.9&dst=10.4.0.13"),
        ["out of bridge site: station 02:00:00:00:04:13 is not known, flooded to 3 members"]
    );
    let text = bench.told("in=lan&src=10.0.1.9&dst=10.4.0.13", "l2_bridge").1;
    assert_eq!(text, "it leaves by lan; copies leave by web0, web1");
    // Who is no member has nothing to do with it.
    let way = bench.way("in=lan&src=10.0.1.9&dst=10.0.1.1").unwrap();
    assert!(way.steps.iter().all(|step| step.stage != "l2_bridge"), "{way:?}");
}

#[test]
fn tcp_that_nobody_serves_is_told_as_it_is() {
    let mut bench = Bench::new();
    let (notes, text, hint) = bench.told("in=red-clients&src=10.50.0.9&dst=10.60.0.1&proto=6&dport=22", "l3_local");
    let silence = "nothing serves TCP in the VRF `red`, and the sender is not told";
    assert_eq!(notes, [format!("no_listener: {silence}")]);
    assert_eq!((text, hint), (format!("it is dropped: {silence}"), None));
    let (_, text, _) = bench.told("in=lan&src=fd00:1::9&dst=fd00:1::&proto=6&dport=22", "l3_local");
    assert_eq!(text, "it is dropped: TCP to an anycast address is passed over, and the sender is not told");
    let (_, text, _) = bench.told("in=lan&src=10.0.1.9&dst=10.0.1.255&proto=17&dport=22", "l3_local");
    assert_eq!(text, "it is dropped: nothing on this host serves it, and the sender is not told");
    // Of UDP he is.
    let way = bench.way("in=red-clients&src=10.50.0.9&dst=10.60.0.1&proto=17&dport=53").unwrap();
    assert_eq!(way.end.text, "it is dropped: nothing on this host serves it, and the sender is told by ICMP");
    assert_eq!((way.end.hint, way.made.len()), (None, 1));
    let (_, _, hint) = bench.told("in=lan&src=10.0.1.9&dst=10.0.1.1&proto=17&dport=53", "l3_local");
    assert!(hint.unwrap().starts_with("`[[listener]]`"));
}

#[test]
fn an_interface_that_is_none_is_told_which_there_are() {
    let mut bench = Bench::new();
    let mut refused = |name| bench.way(&format!("in={name}&src=10.0.1.9&dst=10.0.1.1")).unwrap_err();
    let names = "lan, web0, web1, ten, red-clients, red-servers";
    assert_eq!(refused("nope"), format!("there is no port or VLAN `nope`; there are: {names}"));
    assert_eq!(refused("lo"), "`lo` is on no link: nothing comes in by it");
    assert_eq!(refused("site"), "`site` is a bridge: name the member by which the packet comes in");
}
