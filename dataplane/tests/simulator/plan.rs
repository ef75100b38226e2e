//! What is to happen in one run, as plain data: the generator writes it, the actors read it, a failure prints it.

use core::{fmt, time::Duration};

use tidegate_dataplane::clock::Instant;

use crate::wire::Impairment;

/// How fast one side moves bytes in one direction.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) enum Pace {
    /// As fast as it goes.
    #[default]
    Eager,
    /// This many bytes, then a rest.
    Slow { piece: u64, rest: Duration },
    /// Nothing for a while once this many bytes are through.
    Stall { after: u64, pause: Duration },
}

impl Pace {
    /// Time it adds to `bytes` at most.
    pub(crate) fn delay(self, bytes: u64) -> Duration {
        match self {
            Self::Eager => Duration::ZERO,
            Self::Slow { piece, rest } => rest * (bytes / piece + 1) as u32,
            Self::Stall { pause, .. } => pause,
        }
    }
}

/// How a message's content is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    Length,
    Chunked,
    /// By the end of the connection; responses only.
    Close,
}

/// The content of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) framing: Framing,
    pub(crate) len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    /// GET with `Upgrade: websocket`: the contents go through the tunnel.
    Upgrade,
}

/// What goes wrong on purpose, and where.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The client resets after this many bytes of request content.
    ClientAbortsSending(u64),
    /// The client resets after this many bytes of response content.
    ClientAbortsReading(u64),
    /// The origin resets before it answers.
    OriginResets,
    /// The origin resets after this many bytes of response content.
    OriginAborts(u64),
    /// The origin closes in order after this many bytes of response content, though more was promised.
    OriginTruncates(u64),
    /// The origin closes after the response, without having said so.
    OriginClosesAfter,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// First element of the path, which decides the route.
    pub(crate) route: char,
    pub(crate) request: Content,
    pub(crate) response: Content,
    /// Interim response asked for.
    pub(crate) expect: bool,
    /// The origin answers before it reads the request's content.
    pub(crate) early: bool,
    /// Rest of the client before the request.
    pub(crate) pause: Duration,
    /// Time the origin takes to answer.
    pub(crate) think: Duration,
    pub(crate) client_writes: Pace,
    pub(crate) client_reads: Pace,
    pub(crate) origin_writes: Pace,
    pub(crate) origin_reads: Pace,
    pub(crate) fault: Fault,
}

/// What a session does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// HTTP through the gateway; numbers of asks.
    Http {
        asks: Vec<usize>,
        /// Requests under way at once.
        pipeline: usize,
        /// The client closes its side after the last request.
        half_close: bool,
    },
    /// Plain TCP to an origin, routed by the gateway; the origin sends everything back.
    Echo { origin: usize, len: u64, client_writes: Pace, client_reads: Pace, origin_reads: Pace, fault: Fault },
}

/// One client connection, and those that follow when it is closed.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: usize,
    pub(crate) start: Instant,
    pub(crate) v6: bool,
    pub(crate) work: Work,
}

/// What a new generation of tables changes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Origins of the clusters `a` and `b`.
    Clusters(Vec<usize>, Vec<usize>),
    /// An origin no longer accepts connections, or does again.
    Refuse(usize, bool),
    /// The gateway drains.
    Drain,
}

/// A host's or a gateway's settings.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) frames: usize,
    pub(crate) receive_buffer: usize,
    pub(crate) send_buffer: usize,
    pub(crate) cookies: bool,
    pub(crate) dehydrate_after: Duration,
    pub(crate) reno: bool,
}

/// How harsh the network is, and with it what may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weather {
    /// Nothing is lost.
    Calm,
    /// Losses that TCP must hide.
    Rough,
    /// Losses and outages that may break connections.
    Storm,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) weather: Weather,
    pub(crate) cores: usize,
    /// Packets of one flow come to one core of the gateway, though perhaps the wrong one; else each to any.
    pub(crate) rss: bool,
    pub(crate) mtu: [u16; 2],
    /// Origins are reached over IPv6.
    pub(crate) upstream_v6: bool,
    pub(crate) gateway: Stack,
    pub(crate) client: Stack,
    pub(crate) origin: Stack,
    /// By client: from it, to it.
    pub(crate) client_lanes: Vec<[Impairment; 2]>,
    /// By origin: from it, to it.
    pub(crate) origin_lanes: Vec<[Impairment; 2]>,
    /// Of the clusters `a` and `b`.
    pub(crate) clusters: [Vec<usize>; 2],
    pub(crate) pool: usize,
    pub(crate) pool_idle: Duration,
    pub(crate) asks: Vec<Ask>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) changes: Vec<(Instant, Change)>,
}

impl Scenario {
    /// Whether some origin closes connections that the gateway may be about to use.
    pub(crate) fn closes_idle(&self) -> bool {
        self.asks.iter().any(|ask| ask.fault == Fault::OriginClosesAfter)
    }

    /// Whether packets may arrive twice.
    pub(crate) fn duplicates(&self) -> bool {
        self.client_lanes.iter().chain(&self.origin_lanes).flatten().any(|lane| lane.duplicate > 0)
    }

    /// When the gateway begins to drain, if it does.
    pub(crate) fn drains_at(&self) -> Option<Instant> {
        self.changes.iter().find(|(_, change)| matches!(change, Change::Drain)).map(|(at, _)| *at)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clients, origins) = (self.client_lanes.len(), self.origin_lanes.len());
        writeln!(f, "seed {}: {:?} weather, {clients} clients, {origins} origins", self.seed, self.weather)?;
        let family = if self.upstream_v6 { "IPv6" } else { "IPv4" };
        let spread = if self.rss { "by flow" } else { "packet by packet" };
        writeln!(f, "  {} cores ({spread}), MTU {:?}, upstream {family}", self.cores, self.mtu)?;
        for (name, stack) in [("gateway", &self.gateway), ("clients", &self.client), ("origins", &self.origin)] {
            writeln!(f, "  {name}: {stack:?}")?;
        }
        let [a, b] = &self.clusters;
        writeln!(f, "  clusters a = {a:?}, b = {b:?}, pool {} for {:?}", self.pool, self.pool_idle)?;
        for (name, lanes) in [("client", &self.client_lanes), ("origin", &self.origin_lanes)] {
            for (at, [from, to]) in lanes.iter().enumerate() {
                writeln!(f, "  {name} {at}: from it {from}; to it {to}")?;
            }
        }
        for (at, change) in &self.changes {
            writeln!(f, "  at {} ms: {change:?}", at.as_millis())?;
        }
        for (number, session) in self.sessions.iter().enumerate() {
            let family = if session.v6 { "IPv6" } else { "IPv4" };
            let start = session.start.as_millis();
            match &session.work {
                Work::Http { asks, pipeline, half_close } => {
                    let half = if *half_close { ", then half-close" } else { "" };
                    writeln!(
                        f,
                        "  session {number} of client {} at {start} ms over {family}: asks {asks:?}, {pipeline} at once{half}",
                        session.client
                    )?;
                }
                echo => writeln!(
                    f,
                    "  session {number} of client {} at {start} ms over {family}: {echo:?}",
                    session.client
                )?,
            }
        }
        for (id, ask) in self.asks.iter().enumerate() {
            writeln!(f, "  ask {id}: {ask:?}")?;
        }
        Ok(())
    }
}
