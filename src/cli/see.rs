//! The command line of `capture`, `trace` and `explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::At;

/// What filters look like.
pub(crate) const FILTERS: &str = "\
Filters:
  host ADDRESS, net PREFIX, port NUMBER, portrange FROM-TO, each with src or dst before it; ADDRESS and PREFIX also alone
  ip, ip6, arp, tcp, udp, icmp, icmp6, sctp, igmp, gre, esp, ah, ospf, vrrp, pim, proto NUMBER; tcp port 80, udp src port 53
  ether host STATION, ether src STATION, ether dst STATION, ether proto NUMBER, vlan, vlan NUMBER
  broadcast, multicast, fragment, less BYTES, greater BYTES
joined by and, or, not and brackets; `and` binds tighter than `or`. Tests look through VLAN tags and IPv6 extension headers.";

/// Arguments of `capture`.
#[derive(Debug, Args)]
#[command(after_help = FILTERS)]
pub(crate) struct Capture {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// The file to write, or - for standard output, e.g. `-w - | tcpdump -r -`.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: PathBuf,
    /// Ports to capture on, with commas in between; all without it.
    #[arg(short, long, value_name = "PORT", value_delimiter = ',')]
    pub(crate) port: Vec<String>,
    /// Where on its way a packet is captured, with commas in between.
    #[arg(long = "at", value_name = "POINT", id = "point", value_enum, value_delimiter = ',', default_values = ["rx", "tx"])]
    pub(crate) points: Vec<Point>,
    /// Only packets that pass this filter.
    #[arg(short, long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// At most so many packets per second and core; those beyond are counted.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// End after so many packets.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Keep at most so many bytes of a packet.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(14..=65_536))]
    pub(crate) snap: Option<u32>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
}

fn seconds(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds < 1e9).ok_or("seconds, more than 0")
}

/// Where on its way a packet is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// As it comes in.
    Rx,
    /// As it goes out.
    Tx,
    /// When it is lost; the reason is the packet's comment.
    Drop,
}

/// Arguments of `trace`.
#[derive(Debug, Args)]
#[command(after_help = FILTERS)]
pub(crate) struct Trace {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// Only packets that pass this filter; all without it. Its words need no quotes unless they have brackets.
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// End after so many packets.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Follow at most so many packets per second and core, 10000 at most; those beyond are counted.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Print a JSON document for each packet, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The gateway.
    #[command(flatten)]
    pub(crate) at: At,
    /// The port that the packet would come in by, or a VLAN's interface on one.
    #[arg(long = "in", value_name = "PORT")]
    pub(crate) port: String,
    /// Where it would be from.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) src: IpAddr,
    /// Where it would be to.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dst: IpAddr,
    /// Transport protocol: tcp, udp, icmp (an echo request, of either family), or a number.
    #[arg(long, value_name = "PROTOCOL", default_value = "icmp", value_parser = Protocol::parse)]
    pub(crate) proto: Protocol,
    /// Port that it would be from.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) sport: Option<u16>,
    /// Port that it would be to.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) dport: Option<u16>,
    /// TTL or hop limit [default: 64].
    #[arg(long, value_name = "HOPS")]
    pub(crate) ttl: Option<u8>,
    /// DSCP and ECN: the octet of the header.
    #[arg(long, value_name = "OCTET")]
    pub(crate) tos: Option<u8>,
    /// It may not be fragmented (IPv4).
    #[arg(long)]
    pub(crate) df: bool,
    /// TCP flags, with commas in between [default: syn].
    #[arg(long, value_name = "FLAG", value_enum, value_delimiter = ',')]
    pub(crate) tcp_flags: Vec<TcpFlag>,
    /// Bytes from the IP header on [default: as few as there can be].
    #[arg(long, value_name = "BYTES")]
    pub(crate) length: Option<u32>,
    /// VLAN tags, with commas in between, outermost first; the last is 802.1Q, others are 802.1ad.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub(crate) vlan: Vec<u16>,
    /// Station that it would be from.
    #[arg(long, value_name = "STATION")]
    pub(crate) from_station: Option<String>,
    /// Station that it would be to [default: the gateway's own there, or that of a group address].
    #[arg(long, value_name = "STATION")]
    pub(crate) to_station: Option<String>,
    /// The core that would receive it.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) core: Option<usize>,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A transport protocol; echo requests have one in each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// An echo request.
    Icmp,
    /// By number.
    Number(u8),
}

impl Protocol {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "icmp" | "icmp6" => Ok(Self::Icmp),
            "tcp" => Ok(Self::Number(6)),
            "udp" => Ok(Self::Number(17)),
            _ => text.parse().map(Self::Number).map_err(|_| "tcp, udp, icmp, or a number from 0 to 255"),
        }
    }

    /// Its number, in the family of `address`.
    pub(crate) fn number(self, address: IpAddr) -> u8 {
        match self {
            Self::Icmp if address.is_ipv4() => 1,
            Self::Icmp => 58,
            Self::Number(number) => number,
        }
    }
}

/// A TCP flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TcpFlag {
    /// The sender has no more to say.
    Fin,
    /// It opens a connection.
    Syn,
    /// It ends one.
    Rst,
    /// It is to be read at once.
    Psh,
    /// It acknowledges.
    Ack,
    /// It has urgent data.
    Urg,
}

impl TcpFlag {
    /// Its bit.
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}
