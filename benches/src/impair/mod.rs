//! A hop that treats packets badly: loss, delay, jitter, reordering, a limited rate. On our own data plane, because a kernel may
//! come without such a thing, and so that it costs what any other hop costs.

mod hop; // two ports and the wire between
mod line; // one direction

use core::time::Duration;

use serde::Serialize;
use tidegate_dataplane::{clock::Clock, frame::Arena};

use crate::station::{Seating, SetUpError, Socket, Stop, Wire, attach, rest};
use hop::Hop;
use line::{Counts, Impairment};

/// Frames of a hop: 10 ms at 10 Gbit/s are 8,700 packets of full size in one direction.
const FRAMES: usize = 65_536;
/// Bytes of a frame.
const FRAME_SIZE: usize = 2_048;

/// Options of `impair`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The two ends, as for `load`; give it twice.
    #[arg(long, value_name = "PORT", required = true, num_args = 1)]
    port: Vec<Wire>,
    #[command(flatten)]
    wire: WireOptions,
    /// Decides which packets are lost: the same packets meet the same fate.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds to run; until told to stop unless given.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    #[command(flatten)]
    seating: Seating,
}

/// What a wire does to packets, as it is written on the command line. Both directions do the same, each by its own luck.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct WireOptions {
    /// Percent of packets that are lost, each for itself.
    #[arg(long, default_value_t = 0.0, value_parser = percent, value_name = "PERCENT")]
    loss: f64,
    /// Milliseconds from one end to the other; there and back again it is twice as much.
    #[arg(long, default_value = "0", value_parser = millis, value_name = "MILLISECONDS")]
    delay: Duration,
    /// Milliseconds by which the delay varies both ways. Packets keep their order.
    #[arg(long, default_value = "0", value_parser = millis, value_name = "MILLISECONDS")]
    jitter: Duration,
    /// Percent of packets that have no delay and overtake those before them.
    #[arg(long, default_value_t = 0.0, value_parser = percent, value_name = "PERCENT")]
    reorder: f64,
    /// Mbit/s of Ethernet frames; no limit unless given.
    #[arg(long, value_parser = megabits, value_name = "MBIT")]
    bandwidth: Option<f64>,
    /// Packets that may wait for a wire of limited bandwidth; more are lost.
    #[arg(long, default_value_t = 1_000, value_name = "PACKETS")]
    queue: usize,
}

impl WireOptions {
    fn impairment(&self) -> Impairment {
        Impairment {
            loss: self.loss / 100.0,
            delay: self.delay,
            jitter: self.jitter.min(self.delay),
            reorder: self.reorder / 100.0,
            bits_per_second: self.bandwidth.map(|megabits| megabits * 1e6),
            queue: self.queue,
        }
    }
}

/// Why a hop did not run.
#[derive(Debug)]
pub(crate) enum ImpairError {
    /// Two ends make a hop.
    Ends(usize),
    /// A port did not open, or could not be used.
    SetUp(SetUpError),
}

impl core::fmt::Display for ImpairError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Ends(count) => write!(f, "a hop has two ends: --port is given {count} times"),
            Self::SetUp(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ImpairError {}

impl From<SetUpError> for ImpairError {
    fn from(error: SetUpError) -> Self {
        Self::SetUp(error)
    }
}

/// What has happened, as it is printed at the end.
#[derive(Serialize)]
struct Passed {
    from: &'static str,
    packets: u64,
    lost: u64,
    overflowed: u64,
    reordered: u64,
}

/// Runs a hop until it is told to stop, and prints what has happened.
///
/// # Errors
/// A port did not open, or could not be used.
pub(crate) fn run(options: &Options) -> Result<(), ImpairError> {
    let [near, far] = &options.port[..] else { return Err(ImpairError::Ends(options.port.len())) };
    options.seating.pin()?;
    let clock = Clock::new();
    let specs = [options.seating.port(near, "near"), options.seating.port(far, "far")];
    let sockets = Socket::open(&mut options.seating.drivers(), &specs)?;
    let arena = Arena::new(FRAMES, FRAME_SIZE).map_err(SetUpError::Arena)?;
    // Devices outlive the ports that are in the hop.
    let (mut devices, mut ends) = (Vec::new(), Vec::new());
    for socket in sockets {
        let (port, info, device) = attach(socket, "hop", &arena)?;
        ends.push((port, info.capabilities));
        devices.push(device);
    }
    let ends = ends.try_into().map_err(|ends: Vec<_>| ImpairError::Ends(ends.len()))?;
    let mut hop = Hop::new(ends, arena, options.wire.impairment(), options.seed);
    let stop = Stop::on_signals().map_err(SetUpError::System)?;
    let end = options.seconds.map(|seconds| clock.now() + Duration::from_secs_f64(seconds.max(0.0)));
    while !stop.is_set() && end.is_none_or(|end| clock.now() < end) {
        rest(hop.turn(|| clock.now()));
    }
    for (from, counts) in ["near", "far"].into_iter().zip(hop.counts()) {
        let Counts { packets, lost, overflowed, reordered } = counts;
        let passed = Passed { from, packets, lost, overflowed, reordered };
        println!("{}", serde_json::to_string(&passed).unwrap_or_else(|error| unreachable!("numbers: {error}")));
    }
    drop(hop);
    drop(devices);
    Ok(())
}

fn percent(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).ok_or("a number from 0 to 100")
}

fn millis(text: &str) -> Result<Duration, &'static str> {
    let millis: f64 = text.parse().map_err(|_| "a number of milliseconds")?;
    Duration::try_from_secs_f64(millis / 1e3).map_err(|_| "a number of milliseconds, not negative")
}

fn megabits(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|rate| *rate > 0.0 && f64::is_finite(*rate)).ok_or("a number above 0")
}
