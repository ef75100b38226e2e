//! What ring alone allows on this core, and how near the gateway comes to it: TLS 1.3 handshakes on the server's side, and
//! records.
//!
//! The raw figure is the cryptography of a handshake and nothing else: no messages, no TCP, no state. It is what a perfect
//! gateway with the same library would cost, so the ratio of the two is the share of a handshake that is not overhead.

mod server; // a server's cryptography

use std::hint::black_box;
use std::sync::Arc;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{ClientConfig, HandshakeKind, client::Resumption};
use server::Server;
use tidegate_dataplane::{clock::Clock, l4::TcpOptions};

use crate::{
    Missed,
    far::{
        gateway::{Seat, seat},
        tls::{self, Secured},
    },
    place::ticks_per_nanosecond,
    report::{Figure, Report, Table},
};

/// Options of `handshakes`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Handshakes per round, of each kind.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    handshakes: u32,
}

/// Share of what ring alone allows that the gateway must reach.
const GOAL: f64 = 0.85;

/// Measures and reports.
///
/// # Errors
/// The gateway's handshakes per second are less than 85 % of what ring alone allows.
pub(crate) fn run(options: &Options, rounds: usize, report: &mut Report) -> Result<(), Missed> {
    let mut bench = Bench::new();
    let mut missed = None;
    let mut table = Table::new(
        "TLS 1.3 handshakes of a server, AES-128-GCM, X25519, P-256; the gateway's from the first SYN to the ticket",
    );
    for (case, resumed) in [("full", false), ("resumed", true)] {
        bench.round(4, resumed); // The first resumed one is a full one: there is no ticket yet.
        let (mut raw, mut whole, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let alone = bench.raw(options.handshakes, resumed);
            let gateway = bench.round(options.handshakes as usize, resumed);
            ratios.push(alone / gateway);
            raw.push(alone);
            whole.push(gateway);
        }
        let rate = |cycles: &[f64]| cycles.iter().map(|cycles| bench.ticks * 1e9 / cycles).collect();
        let (alone, gateway) = (Figure::of("1/s", rate(&raw)), Figure::of("1/s", rate(&whole)));
        let ratio = Figure::of("", ratios);
        if ratio.median() < GOAL {
            missed.get_or_insert(Missed {
                goal: "the gateway reaches 85 % of the handshakes that ring alone allows",
                measured: ratio.median(),
            });
        }
        let cycles = vec![
            ("ring alone", Figure::of("cycles", raw)),
            ("gateway", Figure::of("cycles", whole)),
            ("ring alone per core", alone),
            ("gateway per core", gateway),
            ("gateway / ring", ratio),
        ];
        table.row(case, cycles);
    }
    report.add(table);
    report.add(steps(&bench, rounds));
    report.add(records(&bench, rounds));
    missed.map_or(Ok(()), Err)
}

struct Bench {
    server: Server,
    seat: Seat,
    clients: Vec<crate::far::tcp::Client>,
    full: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
    clock: Clock,
    ticks: f64,
}

impl Bench {
    fn new() -> Self {
        let (listener, full) = tls::pair();
        let mut resuming = ClientConfig::clone(&full);
        resuming.resumption = Resumption::in_memory_sessions(16);
        let seat = seat(Some(listener), TcpOptions::default());
        let clock = seat.rig.clock.clone();
        let ticks = ticks_per_nanosecond(&clock);
        Self { server: Server::new(), seat, clients: Vec::new(), full, resuming: Arc::new(resuming), clock, ticks }
    }

    /// Cycles per handshake of ring alone.
    fn raw(&self, count: u32, resumed: bool) -> f64 {
        self.cycles(count, || self.server.shake_hands(resumed))
    }

    /// Cycles that the gateway spends per handshake, on new connections that stay open.
    fn round(&mut self, count: usize, resumed: bool) -> f64 {
        let config = if resumed { Arc::clone(&self.resuming) } else { Arc::clone(&self.full) };
        let first = self.clients.len();
        self.seat.rig.take_cost();
        self.clients.extend(self.seat.rig.open(first..first + count));
        for number in first..first + count {
            let mut secured = Secured::handshake(&mut self.seat, &mut self.clients, number, &config);
            secured.complete(&mut self.seat, &mut self.clients);
            let kind = secured.kind();
            let expected = if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
            assert!(kind == Some(expected) || resumed && number == first, "{kind:?}");
        }
        self.seat.rig.take_cost().cycles as f64 / count as f64
    }

    fn cycles<R>(&self, count: u32, mut work: impl FnMut() -> R) -> f64 {
        let start = self.clock.cycles();
        for _ in 0..count {
            black_box(work());
        }
        (self.clock.cycles() - start) as f64 / f64::from(count)
    }
}

/// What a full handshake is made of.
fn steps(bench: &Bench, rounds: usize) -> Table {
    const COUNT: u32 = 64;
    let mut table = Table::new("ring alone, by step");
    let server = &bench.server;
    let mut step = |name: &str, work: &dyn Fn() -> [u8; 32]| {
        let cycles = (0..rounds).map(|_| bench.cycles(COUNT, work)).collect();
        table.row(name, vec![("each", Figure::of("cycles", cycles))]);
    };
    step("X25519, a key and an agreement", &|| server.agree());
    step("ECDSA P-256, a signature", &|| {
        server.sign(&[7; 32]);
        [0; 32]
    });
    step("SHA-256, 1 KiB", &|| server::hash_of(&[7; 1024]));
    step("HKDF-Expand-Label, 32 B", &|| server::expand(&[7; 32], b"key", &[7; 32]));
    table
}

/// Bytes per second of records, where they lie.
fn records(bench: &Bench, rounds: usize) -> Table {
    const BYTES: usize = 256 << 10;
    let mut table = Table::new("ring alone: records sealed and opened in place");
    let suites: [(&str, &'static Algorithm); 3] =
        [("AES-128-GCM", &AES_128_GCM), ("AES-256-GCM", &AES_256_GCM), ("ChaCha20-Poly1305", &CHACHA20_POLY1305)];
    for (name, algorithm) in suites {
        let key = key(algorithm, &[9; 32][..algorithm.key_len()]);
        for size in [1 << 10, 16 << 10] {
            let mut record = vec![5; size];
            let (mut sealing, mut opening) = (Vec::new(), Vec::new());
            let rate = |cycles: f64| size as f64 * bench.ticks / cycles;
            let count = (BYTES / size) as u32;
            for _ in 0..rounds {
                sealing.push(rate(bench.cycles(count, || seal(&key, &mut record))));
                // What does not authenticate costs the same as what does: the tag is judged at the end.
                opening.push(rate(bench.cycles(count, || open(&key, &mut record))));
            }
            let figures = vec![("seal", Figure::of("GB/s", sealing)), ("open", Figure::of("GB/s", opening))];
            table.row(format!("{name}, {size} B"), figures);
        }
    }
    table
}

fn key(algorithm: &'static Algorithm, bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, bytes).unwrap_or_else(|error| panic!("{error}")))
}

/// Nonces do not matter here: nobody sees these records.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([3; 12])
}

fn seal(key: &LessSafeKey, record: &mut [u8]) -> bool {
    key.seal_in_place_separate_tag(nonce(), Aad::from([0; 5]), record).is_ok()
}

fn open(key: &LessSafeKey, record: &mut [u8]) -> bool {
    key.open_in_place(nonce(), Aad::from([0; 5]), record).is_ok()
}
