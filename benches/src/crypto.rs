//! What a handshake costs in ring alone: the cryptography of a TLS 1.3 server — key share, signature, key schedule, transcript,
//! records and ticket — and nothing else, so that it is known what a core could reach at most.

use core::hint::black_box;
use core::time::Duration;

use tidegate_dataplane::{clock::Clock, io::affinity};

use crate::handshakes::{Kind, server::Server};
use crate::record::{Better, Measured, metric};

/// Options of `crypto`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which handshake.
    #[arg(value_enum, default_value_t = Kind::Full)]
    handshake: Kind,
    /// Seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Bind to this processor.
    #[arg(long)]
    cpu: Option<usize>,
}

/// The thread could not be bound to the processor asked for.
#[derive(Debug)]
pub(crate) struct CpuError(std::io::Error);

impl core::fmt::Display for CpuError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "cannot run on that processor: {}", self.0)
    }
}

impl std::error::Error for CpuError {}

/// Does one handshake's work after the other.
///
/// # Errors
/// The processor is not there.
pub(crate) fn run(options: &Options) -> Result<Measured, CpuError> {
    options.cpu.map_or(Ok(()), affinity::pin).map_err(CpuError)?;
    let (server, resumed) = (Server::new(), options.handshake == Kind::Resumed);
    let clock = Clock::new();
    let (begun, length) = (clock.now(), Duration::from_secs(options.seconds));
    let (mut done, mut spent) = (0u64, Duration::ZERO);
    while spent < length {
        black_box(server.shake_hands(resumed));
        done += 1;
        spent = clock.now() - begun;
    }
    let each = spent.as_secs_f64() / done as f64;
    let metrics = vec![
        metric("rate", "handshakes/s", 1.0 / each, Better::Higher),
        metric("work", "us", each * 1e6, Better::Lower),
    ];
    Ok(Measured { metrics, ..Measured::default() })
}
