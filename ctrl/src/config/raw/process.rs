//! `[runtime]`, `[admin]`, `[log]`, `[dpdk]` and `[tcp]`: the process and its stack.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::decode::{Mistake, Text};
use crate::config::scalar::{FilePath, Int};
use crate::config::slot::{At, List, Optional};
use crate::config::table::{table, words};

table! {
    /// The cores that move packets and how they wait. A change here needs a restart, except for `drain_timeout_s`.
    pub struct Runtime("[runtime]") {
        /// Numbers of the CPUs that run a packet loop, one thread pinned to each. Each port needs one queue per core.
        /// Keep the management thread's CPU out of this list when requests must not wait for it.
        cores: At<List<Int<0, 1023>>> = vec![At::fallback(Int::new(1))], "[1]";
        /// What a core does when no packet comes. `adaptive` sleeps on the ports and costs up to 100 µs for the first packet
        /// after a pause; `poll` never sleeps and uses the whole CPU.
        idle: At<Idle> = Idle::Adaptive, "\"adaptive\"";
        /// Turns without a packet after which an adaptive core sleeps. More turns mean fewer wake-ups and more CPU time.
        idle_turns: At<Int<1, 1_000_000_000>> = Int::new(1000), "1000";
        /// Packet buffers of each core. All packets of the core, received, queued or being sent, live in them; each costs
        /// `frame_size` bytes of locked memory.
        frames_per_core: At<Int<1024, 4_194_304>> = Int::new(16_384), "16384";
        /// Bytes of a packet buffer, a power of two. 2048 holds packets of up to 1500 bytes, 16384 those of an MTU of 9000; 65536
        /// lets a `tap` with `gso` receive long segments. Packets of more than 3818 bytes take several of AF_XDP's own buffers,
        /// which needs Linux 6.6.
        frame_size: At<Int<2048, 65_536>> = Int::new(2048), "2048";
        /// Seconds that a drain (SIGTERM) waits for requests in flight before the process exits. 0 does not wait.
        drain_timeout_s: At<Int<0, 86_400>> = Int::new(30), "30";
    }
}

words! {
    /// What a core does when no packet comes.
    pub enum Idle {
        /// Sleeps on the ports' file descriptors after `idle_turns` turns without work.
        Adaptive = "adaptive",
        /// Polls without end.
        Poll = "poll",
    }
}

table! {
    /// Where the gateway is asked and told things while it runs. A change here needs a restart.
    pub struct Admin("[admin]") {
        /// Unix socket of the admin API; readable and writable by the owner only. Its directory is made if it is missing.
        socket: At<FilePath> = FilePath(PathBuf::from("/run/tidegate/admin.sock")), "\"/run/tidegate/admin.sock\"";
        /// Address on the kernel's own network for the read-only part of the admin API (`/metrics`, `/ready`, `/stats`).
        /// It has no authentication: bind it to loopback or a management interface. Without it there is only the socket.
        http: Optional<SocketAddr>;
    }
}

table! {
    /// What is written where.
    pub struct Log("[log]") {
        /// Where the access log goes, one JSON object per request: `stdout`, `stderr`, `off`, or the path of a file, which is
        /// opened again on SIGUSR1. When the writer falls behind, records are dropped and counted.
        access: At<AccessLog> = AccessLog::Stdout, "\"stdout\"";
        /// Least severe message of the gateway's own log, which goes to stderr.
        level: At<LogLevel> = LogLevel::Info, "\"info\"";
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere; cores do not write records at all.
    Off,
    /// A file, appended to.
    File(PathBuf),
}

impl Text for AccessLog {
    const FORM: &'static str = "`stdout`, `stderr`, `off` or the path of a file";
    fn parse(text: &str) -> Result<Self, Mistake> {
        match text {
            "stdout" | "-" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            "off" => Ok(Self::Off),
            path => FilePath::parse(path).map(|path| Self::File(path.0)),
        }
    }
}

impl serde::Serialize for AccessLog {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stdout => serializer.serialize_str("stdout"),
            Self::Stderr => serializer.serialize_str("stderr"),
            Self::Off => serializer.serialize_str("off"),
            Self::File(path) => serializer.collect_str(&path.display()),
        }
    }
}

impl JsonSchema for AccessLog {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "AccessLog".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["stdout", "stderr", "off", "/var/log/tidegate/access.log"] })
    }
}

words! {
    /// Severity of a log message.
    pub enum LogLevel {
        /// Only what needs somebody to act.
        Error = "error",
        /// Also what is wrong but does not stop the gateway.
        Warn = "warn",
        /// Also what changes: start, reload, drain, link state.
        Info = "info",
        /// Also what helps to find a mistake.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

table! {
    /// Passed to DPDK. A change here needs a restart.
    pub struct Dpdk("[dpdk]") {
        /// Arguments of the environment abstraction layer, as `["--no-pci", "--in-memory"]`. Unless they say otherwise, DPDK gets
        /// one lcore and shares no files; packets are moved by the gateway's own cores.
        eal_args: At<Vec<String>> = Vec::new(), "[]";
    }
}

table! {
    /// The TCP stack. A change here needs a restart.
    pub struct Tcp("[tcp]") {
        /// Most connections of one core, both sides together. At rest a connection costs about 150 bytes of TCP, a busy one its buffers
        /// as well. Beyond it new connections are refused with a reset and counted.
        max_connections: At<Int<16, 16_777_216>> = Int::new(262_144), "262144";
        /// Most half-open connections of one core. Beyond it a SYN is answered with a cookie, or dropped if cookies are off.
        half_open_limit: At<Int<0, 1_048_576>> = Int::new(8192), "8192";
        /// When a SYN is answered without keeping state (RFC 4987). A connection made by a cookie has neither window scaling nor
        /// SACK.
        syn_cookies: At<SynCookies> = SynCookies::Auto, "\"auto\"";
        /// Seconds without traffic after which a keep-alive probe is sent; 0 sends none.
        keepalive_s: At<Int<0, 86_400>> = Int::new(120), "120";
        /// Seconds that sent data may stay unacknowledged before the connection is given up (RFC 5482).
        user_timeout_s: At<Int<1, 86_400>> = Int::new(60), "60";
        /// KiB of the largest receive buffer of a connection, hence of its window. Throughput of one connection is at most this
        /// divided by the round-trip time. Buffers start small and grow while they are filled.
        receive_buffer_kib: At<Int<4, 16_384>> = Int::new(1024), "1024";
        /// KiB of the largest send buffer of a connection: the most data in flight.
        send_buffer_kib: At<Int<4, 16_384>> = Int::new(1024), "1024";
        /// MiB of buffers of all connections of a core. Beyond it connections get the smallest buffers, beyond twice that
        /// there are no new ones.
        buffer_memory_mib: At<Int<1, 1_048_576>> = Int::new(512), "512";
        /// Congestion control.
        congestion: At<Congestion> = Congestion::Cubic, "\"cubic\"";
    }
}

table! {
    /// How many ICMP messages each core sends at most; what is not sent is counted as `icmp_rate_limited` (RFC 1812 §4.3.2.8).
    pub struct Icmp("[icmp]") {
        /// Errors per second in the long run: about packets that cannot be passed on, IPv4 and IPv6 together.
        errors_per_second: At<Int<1, 1_000_000>> = Int::new(1000), "1000";
        /// Errors at once, after a quiet time. traceroute sends some dozens of packets at once, and wants to hear about each.
        errors_at_once: At<Int<1, 1_000_000>> = Int::new(200), "200";
        /// Echo replies per second, a tenth of it at once.
        replies_per_second: At<Int<1, 100_000_000>> = Int::new(100_000), "100000";
    }
}

table! {
    /// Bounds of each core's table of neighbours, IPv4 and IPv6 together.
    pub struct NeighborTable("[neighbor_table]") {
        /// Neighbours beside the static ones, 100 bytes each. When there are as many, the one that has waited longest for its first answer
        /// gives way to a new one, else one that has been silent for long; if all were confirmed lately, what is for the new one is lost as
        /// `neighbor_table_full`. More than the largest links have stations is right: a scan of a link costs only itself.
        entries: At<Int<64, 65_536>> = Int::new(4096), "4096";
        /// New neighbours that each core asks for per second on each interface, a quarter of it at once; packets for more are lost as
        /// `neighbor_rate_limited`. A scan from afar makes no more questions on a link than this, and takes nothing from other links;
        /// neighbours that are known do not count.
        questions_per_second: At<Int<4, 1_000_000>> = Int::new(1000), "1000";
    }
}

words! {
    /// When a SYN is answered without keeping state.
    pub enum SynCookies {
        /// When there are `half_open_limit` half-open connections.
        Auto = "auto",
        /// For every SYN.
        Always = "always",
        /// Never; a SYN over the limit is dropped.
        Off = "off",
    }
}

words! {
    /// Congestion control.
    pub enum Congestion {
        /// CUBIC (RFC 9438).
        Cubic = "cubic",
        /// Reno (RFC 5681).
        Reno = "reno",
        /// None: the receiver's window alone limits. For a lossless wire between own machines only.
        None = "none",
    }
}
