//! What an operator can set about TCP.

use core::{ops::RangeInclusive, time::Duration};

/// When SYNs are answered without state (RFC 4987 §3.6).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SynCookies {
    /// Once `half_open_limit` is reached.
    #[default]
    Auto,
    /// Always. Costs window scaling and SACK on every accepted connection.
    Always,
    /// Never: SYNs beyond the limit are dropped.
    Off,
}

/// Congestion control of a sender.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Congestion {
    /// RFC 9438. Its window grows with the square of the time since the last loss: best on long fat paths.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
    /// Sends as fast as the peer's window allows. Only for paths without a bottleneck.
    None,
}

/// Settings of one core's TCP. [`Default`] is what a gateway on a LAN or the Internet wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// This core and the number of cores; a core opens only connections whose answers it owns.
    pub core: (usize, usize),
    /// Longest IP packet sent, in bytes; at least 576 (1280 where IPv6 is used). Also decides the MSS that is announced.
    pub mtu: u16,
    /// Connections in any state on this core, half-open and TIME-WAIT included. Costs about 170 bytes each, reserved at start.
    pub max_connections: usize,
    /// Half-open passive connections on this core; beyond it SYN cookies answer.
    pub half_open_limit: usize,
    /// TIME-WAIT records on this core; beyond it the connection is forgotten at once.
    pub time_wait_limit: usize,
    /// When to use SYN cookies.
    pub syn_cookies: SynCookies,
    /// Silence after which an idle connection is probed; `None` never (RFC 1122 §4.2.3.6).
    pub keepalive: Option<Duration>,
    /// Time between probes that are not answered.
    pub keepalive_interval: Duration,
    /// Probes without an answer after which the connection is given up.
    pub keepalive_probes: u8,
    /// How long sent data may stay without any sign of the peer (RFC 5482).
    pub user_timeout: Duration,
    /// How long a connection that this host has closed waits for the peer to close (FIN-WAIT-2).
    pub fin_wait_timeout: Duration,
    /// Length of TIME-WAIT, nominally twice the maximum segment lifetime.
    pub time_wait: Duration,
    /// Quiet time after which a connection gives its buffers back.
    pub dehydrate_after: Duration,
    /// Largest receive buffer of a connection, in bytes.
    pub receive_buffer: usize,
    /// Largest send buffer of a connection, in bytes.
    pub send_buffer: usize,
    /// Bytes of buffers of all connections of this core. With half of it in use, connections get the smallest buffers; with all
    /// of it, those at rest lose theirs at once, and if there are none, data is not accepted.
    pub buffer_memory: usize,
    /// Congestion control.
    pub congestion: Congestion,
    /// Local ports of opened connections.
    pub ports: RangeInclusive<u16>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            core: (0, 1),
            mtu: 1500,
            max_connections: 262_144,
            half_open_limit: 8_192,
            time_wait_limit: 65_536,
            syn_cookies: SynCookies::Auto,
            keepalive: Some(Duration::from_secs(120)),
            keepalive_interval: Duration::from_secs(15),
            keepalive_probes: 4,
            user_timeout: Duration::from_secs(60),
            fin_wait_timeout: Duration::from_secs(60),
            time_wait: Duration::from_secs(60),
            dehydrate_after: Duration::from_millis(1_500),
            receive_buffer: 1 << 20,
            send_buffer: 1 << 20,
            buffer_memory: 512 << 20,
            congestion: Congestion::Cubic,
            ports: 16_384..=65_535,
        }
    }
}

/// Keys of this process, from the system's random source. All cores share them.
#[derive(Clone, Copy, Debug)]
pub struct Secrets {
    /// Key of the flow table's hash.
    pub flows: (u64, u64),
    /// Key of initial sequence numbers (RFC 6528) and of the choice of ports (RFC 6056).
    pub sequence: (u64, u64),
    /// Key of SYN cookies.
    pub cookies: (u64, u64),
}

impl Secrets {
    /// From 48 random bytes.
    pub fn from_bytes(bytes: &[u8; 48]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self { flows: (word(0), word(8)), sequence: (word(16), word(24)), cookies: (word(32), word(40)) }
    }
}
