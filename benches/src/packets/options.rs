//! What can be asked of generator and sink, as it is written on the command line.

use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;
use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
};

use tidegate_dataplane::io::MacAddr;

use super::{pattern::Size, search};
use crate::{
    routes,
    station::{Seating, Wire},
};

/// Options of `packets`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to send: af_xdp:IFACE, tap:NAME, memif:SOCKET[,KEY=VALUE…], dpdk:DEVICE; memory is a wire from the generator to itself.
    #[arg(long, value_name = "PORT", default_value = "memory")]
    pub(crate) port: Wire,
    /// Where to receive, unless at the same port.
    #[arg(long, value_name = "PORT")]
    pub(crate) sink: Option<Wire>,
    #[command(flatten)]
    pub(crate) traffic: Traffic,
    /// Packets a second, in one trial; without it the highest rate without loss is searched for (RFC 2544 §26.1).
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Seconds of a trial.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    #[command(flatten)]
    pub(crate) search: search::Limits,
    /// Sleep so many microseconds when there is nothing to send or receive, for whoever else needs this processor.
    #[arg(long, value_name = "MICROSECONDS", value_parser = microseconds)]
    pub(crate) nap: Option<Duration>,
    /// What lies between port and sink takes this many hops off: 1 for a router, 0 for a wire or a bridge.
    #[arg(long, default_value_t = 1)]
    pub(crate) hops: u8,
    /// Write packets to a capture file instead of sending them, for programs that read such files.
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Packets in that file.
    #[arg(long, default_value_t = 512)]
    pub(crate) packets: usize,
    #[command(flatten)]
    pub(crate) seating: Seating,
    /// Write the line of JSON to a file instead of the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Which packets.
#[derive(clap::Args, Clone)]
pub(crate) struct Traffic {
    /// Bytes of an Ethernet frame with its check sequence (64 to 1518), or imix: 7 × 64, 4 × 594, 1 × 1518. An IPv6 packet that can
    /// be told from others has no fewer than 82.
    #[arg(long, default_value = "64")]
    pub(crate) size: Size,
    /// IPv6 instead of IPv4.
    #[arg(long)]
    pub(crate) v6: bool,
    /// Prefixes that the destinations lie in; see `routes`.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub(crate) routes: u32,
    /// Different destinations, spread over the prefixes and taken in turn.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub(crate) destinations: Option<u32>,
    /// Hardware address of the program under test.
    #[arg(long, default_value = "02:00:00:00:00:01")]
    pub(crate) to: Mac,
    /// Hardware address the packets come from.
    #[arg(long, default_value = "02:00:00:01:00:01")]
    pub(crate) from: Mac,
}

/// Options of `routes`.
#[derive(clap::Args)]
pub(crate) struct RouteOptions {
    /// Prefixes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub(crate) routes: u32,
    /// IPv6 instead of IPv4.
    #[arg(long)]
    pub(crate) v6: bool,
    /// The router they lead to.
    #[arg(long)]
    pub(crate) via: IpAddr,
    /// Who is to read them.
    #[arg(long, value_enum, default_value_t = Syntax::Tidegate)]
    pub(crate) syntax: Syntax,
}

/// How a route is written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Syntax {
    /// Tables of our configuration.
    Tidegate,
    /// For `ip -batch`.
    Iproute2,
    /// For DPDK's example l3fwd: through its second port.
    L3fwd,
}

impl Syntax {
    /// Writes the routes that `options` asks for.
    pub(crate) fn write(self, out: &mut impl Write, options: &RouteOptions) -> io::Result<()> {
        for prefix in routes::prefixes(options.routes as usize, options.v6) {
            match self {
                Self::Tidegate => writeln!(out, "[[route]]\nto = \"{prefix}\"\nvia = \"{}\"\n", options.via)?,
                Self::Iproute2 => writeln!(out, "route add {prefix} via {}", options.via)?,
                Self::L3fwd => writeln!(out, "R{prefix} 1")?,
            }
        }
        out.flush()
    }
}

/// A hardware address on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mac(pub(crate) MacAddr);

/// Words that are no hardware address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoMac(String);

impl fmt::Display for NoMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: a hardware address is six bytes, as in 02:00:00:00:00:01", self.0)
    }
}

impl std::error::Error for NoMac {}

impl FromStr for Mac {
    type Err = NoMac;

    fn from_str(text: &str) -> Result<Self, NoMac> {
        let no = || NoMac(text.to_owned());
        let bytes: Result<Vec<u8>, _> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let bytes = <[u8; 6]>::try_from(bytes.map_err(|_| no())?).map_err(|_| no())?;
        Ok(Self(MacAddr(bytes)))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("more than no time".to_owned()) } else { Ok(duration) }
}

fn microseconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_micros).map_err(|_| "a whole number of microseconds".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| *rate > 0.0 && f64::is_finite(*rate)).ok_or_else(|| "a number above 0".to_owned())
}
