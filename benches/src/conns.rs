//! Memory of idle connections through the gateway: each has had one request answered and then rests.
//!
//! The clients are made by hand and keep eight bytes each, so that what the process takes is the gateway's. Each number of
//! connections is measured in a process of its own: memory once used is not always given back.

use core::time::Duration;
use std::process::{Command, Stdio};

use tidegate_dataplane::l4::TcpOptions;

use crate::{
    Missed, counting,
    far::{
        gateway::{CONTENT, REQUEST, Seat, seat},
        tcp::Client,
        tls::{self, Secured},
    },
    memory::resident,
    report::{Figure, Report, Table},
};

/// Options of `conns`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Connections; as many runs.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    connections: Vec<usize>,
    /// TLS towards clients.
    #[arg(long)]
    tls: bool,
    /// New connections per second of virtual time: those of the last 1.5 s still hold buffers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

/// Connections made together.
const STEP: usize = 50;
/// What 100,000 plain connections may take, in bytes.
const GOAL: u64 = 600_000_000;

/// Measures and reports.
///
/// # Errors
/// 100,000 plain connections take more than 600 MB, or a number of connections could not be measured.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), Missed> {
    if let [count] = options.connections[..] {
        return one(count, options, report);
    }
    let failed = options.connections.iter().filter(|count| !again(**count, options)).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Missed { goal: "every number of connections is measured and within its bounds", measured: failed as f64 })
}

/// The same program for one number of connections. It prints its own report. Whether it succeeded; if not, why is on stderr.
fn again(count: usize, options: &Options) -> bool {
    let status = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(["conns", "--connections", &count.to_string(), "--rate", &options.rate.to_string()]);
        command.args(options.tls.then_some("--tls")).args(std::env::args().filter(|argument| argument == "--json"));
        command.stdout(Stdio::inherit()).status()
    });
    match status {
        Ok(status) if status.success() => return true,
        Ok(status) => eprintln!("{count} connections: {status}"),
        Err(error) => eprintln!("{count} connections: {error}"),
    }
    false
}

fn one(count: usize, options: &Options, report: &mut Report) -> Result<(), Missed> {
    let (server, config) = tls::pair();
    let mut seat = seat(options.tls.then_some(server), TcpOptions::default());
    let mut clients = Vec::with_capacity(count);
    // The origin's connections and the first buffers are there before anything is counted.
    let (before, held) = (resident(), counting::held());
    let pause = Duration::from_secs(STEP as u64) / options.rate;
    let mut most_live = 0;
    for first in (0..count).step_by(STEP) {
        let numbers: Vec<usize> = (first..count.min(first + STEP)).collect();
        clients.extend(seat.rig.open(first..first + numbers.len()));
        if options.tls {
            for number in &numbers {
                secured_exchange(&mut seat, &mut clients, *number, &config);
            }
        } else {
            seat.exchange(&numbers, &mut clients);
        }
        seat.acknowledge(&numbers, &mut clients);
        most_live = most_live.max(seat.rig.tcp.live.value());
        seat.rig.now += pause;
    }
    for _ in 0..50 {
        seat.rig.now += Duration::from_millis(100);
        seat.settle(&mut clients, |_, _| ());
    }
    let open = seat.http.open_connections.value() as usize;
    let (live, idle) = (seat.rig.tcp.live.value(), seat.rig.tcp.idle.value() as usize);
    assert_eq!((open, live), (count, 0), "all connections are open and rest: {:?}", seat.rig.tcp);
    assert!(idle >= count, "{idle}");
    let (after, held_after) = (resident(), counting::held());
    // They are not only there: the last and the first still answer.
    if !options.tls {
        seat.exchange(&[0, count - 1], &mut clients);
    }
    let each = |from: f64, to: f64| Figure::once("B", (to - from) / count as f64);
    let mut table = Table::new(format!(
        "{} idle connections through the gateway{}, made at {}/s; at most {most_live} had buffers at a time",
        count,
        if options.tls { " with TLS" } else { "" },
        options.rate
    ));
    let mib = |bytes: u64| Figure::once("MB", bytes as f64 / 1e6);
    table.row(
        format!("{count} connections"),
        vec![
            ("resident before", mib(before.now)),
            ("resident with all idle", mib(after.now)),
            ("most resident", mib(after.peak)),
            ("resident per connection", each(before.now as f64, after.now as f64)),
            ("allocated per connection", each(held as f64, held_after as f64)),
        ],
    );
    report.add(table);
    if !options.tls && count == 100_000 && after.now > GOAL {
        return Err(Missed {
            goal: "100,000 idle connections take less than 600 MB",
            measured: after.now as f64 / 1e6,
        });
    }
    Ok(())
}

fn secured_exchange(
    seat: &mut Seat,
    clients: &mut [Client],
    number: usize,
    config: &std::sync::Arc<rustls::ClientConfig>,
) {
    let mut secured = Secured::handshake(seat, clients, number, config);
    secured.ask(seat, clients, REQUEST);
    let mut content = 0;
    seat.settle(clients, |_, bytes| content += secured.take(bytes));
    assert!(content > CONTENT, "the request is answered");
}
