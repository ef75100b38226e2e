//! Cycles per HTTP request through the gateway, and of each stage: the number that travels.

use core::time::Duration;

use tidegate_dataplane::l4::TcpOptions;

use crate::{
    Missed,
    far::{
        Cost,
        gateway::{CONTENT, REQUEST, Seat, seat},
        tcp::Client,
        tls::{self, Secured},
    },
    place::ticks_per_nanosecond,
    report::{Figure, Report, Table},
    stages::{Marks, Split},
};

/// Options of `http`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Requests per round.
    #[arg(long, default_value_t = 640)]
    requests: usize,
    /// Connections that each have a request under way all the time; as many runs.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64])]
    connections: Vec<usize>,
    /// TLS towards clients.
    #[arg(long)]
    tls: bool,
}

/// Measures and reports.
///
/// # Errors
/// None: there is no goal but the figure.
pub(crate) fn run(options: &Options, rounds: usize, report: &mut Report) -> Result<(), Missed> {
    let scheme = if options.tls { "HTTPS" } else { "HTTP" };
    let mut whole = Table::new(format!(
        "{scheme}/1.1 with keep-alive through the gateway, {CONTENT} B of content; requests/s of one core at this clock"
    ));
    let mut splits = Vec::new();
    for connections in &options.connections {
        let mut bench = Bench::new(*connections, options.tls);
        let turns = options.requests.div_ceil(*connections);
        let requests = (turns * connections) as u64;
        // Two seconds of virtual time, until every timer has fired once and every list has its length.
        for _ in 0..300 {
            bench.round(1);
            bench.seat.rig.now += Duration::from_millis(7);
        }
        let (mut split, mut rates) = (Split::default(), Vec::new());
        let (mut allocations, segments) = (0, bench.segments());
        for _ in 0..rounds {
            let before = Marks::of(&bench.seat.rig.stats);
            let cost = bench.round(turns);
            split.round(&before, &bench.seat.rig.stats, cost.cycles, requests);
            rates.push(requests as f64 * bench.ticks * 1e9 / cost.cycles as f64);
            allocations += cost.allocations;
        }
        let all = (requests * rounds as u64) as f64;
        let segments = (bench.segments() - segments) as f64;
        let case = format!("{connections} requests under way");
        whole.row(
            case.clone(),
            vec![
                ("per request", split.whole()),
                ("rate", Figure::of("requests/s", rates)),
                ("segments per request", Figure::once("count", segments / all)),
                ("allocations per request", Figure::once("count", allocations as f64 / all)),
            ],
        );
        let mut table = Table::new(format!("{scheme}, {case}: by stage, per request"));
        split.rows(&mut table);
        splits.push(table);
    }
    report.add(whole);
    splits.into_iter().for_each(|table| report.add(table));
    Ok(())
}

/// Requests per second of the processor's time, 64 under way: what `scale` compares between cores.
pub(crate) fn rate(tls: bool, length: Duration) -> f64 {
    let mut bench = Bench::new(64, tls);
    let clock = bench.seat.rig.clock.clone();
    let (mut requests, mut cycles, begun) = (0, 0, clock.now());
    while clock.now() - begun < length {
        cycles += bench.round(1).cycles;
        requests += bench.all.len();
        bench.seat.rig.now += Duration::from_millis(1);
    }
    requests as f64 * bench.ticks * 1e9 / cycles as f64
}

struct Bench {
    seat: Seat,
    clients: Vec<Client>,
    secured: Vec<Secured>,
    all: Vec<usize>,
    ticks: f64,
}

impl Bench {
    fn new(connections: usize, secure: bool) -> Self {
        let (server, config) = tls::pair();
        let mut seat = seat(secure.then_some(server), TcpOptions::default());
        let mut clients = seat.rig.open(0..connections);
        let all: Vec<usize> = (0..connections).collect();
        let handshake = |number: &usize| Secured::handshake(&mut seat, &mut clients, *number, &config);
        let secured = if secure { all.iter().map(handshake).collect() } else { Vec::new() };
        let ticks = ticks_per_nanosecond(&seat.rig.clock);
        Self { seat, clients, secured, all, ticks }
    }

    /// A request on each connection, `turns` times.
    fn round(&mut self, turns: usize) -> Cost {
        self.seat.rig.take_cost();
        for _ in 0..turns {
            if self.secured.is_empty() {
                self.seat.exchange(&self.all, &mut self.clients);
            } else {
                self.exchange_secured();
            }
        }
        self.seat.rig.take_cost()
    }

    fn exchange_secured(&mut self) {
        for secured in &mut self.secured {
            secured.ask(&mut self.seat, &mut self.clients, REQUEST);
        }
        let (secured, mut content) = (&mut self.secured, 0);
        self.seat.settle(&mut self.clients, |number, bytes| content += secured[number].take(bytes));
        assert!(content > CONTENT * self.all.len(), "every request is answered");
    }

    fn segments(&self) -> u64 {
        self.seat.rig.tcp.segments_in.value() + self.seat.rig.tcp.segments_out.value()
    }
}
