//! What can be asked of a load, as it is written on the command line.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use crate::{
    origin,
    station::{Addresses, Attachment, Seating, Wire},
};

/// Options of `load`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the connections do.
    #[arg(long, value_enum, default_value_t = Mode::Keepalive)]
    pub(crate) mode: Mode,
    /// Where to attach: memory (the generator against the origin, nothing between), af_xdp:IFACE, tap:NAME, memif:SOCKET[,KEY=VALUE…],
    /// dpdk:DEVICE.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Wire,
    /// Addresses to connect from, with the prefix length of the link: A/LEN or FIRST-LAST/LEN, with commas between.
    #[arg(long, default_value = "10.0.1.2/24")]
    pub(crate) address: Addresses,
    /// Where to connect to; several are taken in turn.
    #[arg(long, value_delimiter = ',', default_value = "10.0.1.1:80")]
    pub(crate) to: Vec<SocketAddr>,
    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Requests (connections, handshakes) a second, at fixed times whatever the server does; without it each connection begins the
    /// next as soon as the last is done.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Seconds of silence between the opening of the last connection and the first request, and again after the last.
    #[arg(long, default_value = "0", value_parser = seconds, requires = "rate")]
    pub(crate) rest: Duration,
    /// Seconds that count.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before that do not.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Seconds until a connection that does not open, or a request that is not answered, is a failure.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// What to ask for: /1k, in bulk /100m, with --upload /check, unless given.
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// TLS towards the target.
    #[arg(long, requires = "ca")]
    pub(crate) tls: bool,
    /// CA that vouches for the target, PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) ca: Option<PathBuf>,
    /// Name that the target's certificate must have; its address unless given.
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) server_name: Option<String>,
    /// Our own certificate chain, for a target that asks for one, PEM.
    #[arg(long, value_name = "FILE", requires = "tls", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Send this many bytes of content with each request (POST); the origin's /check looks at them, /echo sends them back.
    #[arg(long, value_name = "BYTES")]
    pub(crate) upload: Option<u64>,
    /// Host to ask; the target's address unless given.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Answers come from something else than our origin: only their status and framing are judged, and that all are equally long.
    #[arg(long)]
    pub(crate) any_content: bool,
    /// An origin in the same process, on the same processor: PORT,A/LEN[,A/LEN…].
    #[arg(long, value_name = "PORT,ADDRESSES")]
    pub(crate) origin: Option<Attachment>,
    #[command(flatten)]
    pub(crate) at_origin: origin::Service,
    #[command(flatten)]
    pub(crate) seating: Seating,
    /// Write the line of JSON to a file instead of the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Whether there is work once the connections are open, or nothing but silence.
    pub(crate) fn works(&self) -> bool {
        self.mode != Mode::Idle || self.rate.is_some()
    }
}

/// What the connections of a load do.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Requests, one after another, on connections that stay open.
    Keepalive,
    /// A new connection for each request.
    New,
    /// Connections that are made and closed again; with TLS, a full handshake each.
    Handshake,
    /// The same, but each connection resumes the TLS session of the one before.
    Resume,
    /// As keepalive, with large content.
    Bulk,
    /// One request each, then silence to the end; with --rate, requests that each wake the connection which was silent longest.
    Idle,
}

impl Mode {
    /// What is asked for unless something is said.
    pub(crate) fn path(self, upload: bool) -> &'static str {
        match self {
            _ if upload => "/check",
            Self::Bulk => "/100m",
            _ => "/1k",
        }
    }

    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Keepalive | Self::Bulk | Self::Idle => "requests/s",
            Self::New => "connections/s",
            Self::Handshake | Self::Resume => "handshakes/s",
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| *rate > 0.0 && f64::is_finite(*rate)).ok_or_else(|| "a number above 0".to_owned())
}
