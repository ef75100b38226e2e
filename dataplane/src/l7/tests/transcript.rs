//! A small language for exchanges. One line per event, `|` stands for CRLF and `~` for LF:
//!
//! ```text
//! > bytes     the client sends              < bytes     the client receives
//! >> bytes    the upstream receives         << bytes    the upstream sends
//! open        the proxy opens a connection, the current upstream from now on
//! use N       the Nth connection opened is the current upstream
//! refuse      the next connection is refused (also: unreachable, hang)
//! end c / end u       that side closes its direction
//! reset c / reset u   that side resets
//! eof c / eof u       that side sees the proxy close its direction
//! gone c / gone u     that side sees a reset
//! quiet c / quiet u   that side has received nothing more
//! take N      the client reads that many bytes and forgets them
//! wait MS     time passes
//! ```
//! `Date` lines are left out of what the client receives.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Instant;
use crate::l7::access::AccessRecord;
use crate::l7::cluster::{Cluster, ClusterSpec, Endpoint};
use crate::l7::exec::Executor;
use crate::l7::http1::Limits;
use crate::l7::http1::forwarded::ForwardedFields;
use crate::l7::metrics::HttpStats;
use crate::l7::platform::{Platform, UpstreamError};
use crate::l7::proxy::{Proxy, ProxyParts};
use crate::l7::session::{Arrival, Session};
use crate::l7::stream::{ByteStream, Duplex, duplex};
use crate::l7::table::{BackendRef, ListenerSpec, Retry, RouteSpec, Table, TableSpec, Timeouts};
use crate::sync::spsc::{self, Consumer};

/// Bytes a connection holds in each direction: small, so that back-pressure is felt.
const CAPACITY: usize = 4096;

/// What the proxy runs on here.
pub(super) struct Bench {
    pub(super) tables: RefCell<Rc<Table>>,
    pub(super) draining: Cell<bool>,
    opened: Rc<RefCell<Vec<(SocketAddr, Duplex)>>>,
    outcomes: RefCell<VecDeque<Option<UpstreamError>>>,
    splits: Rc<RefCell<(Vec<usize>, Vec<usize>)>>,
}

impl Platform for Bench {
    type Upstream = Duplex;
    type Tables = Rc<Table>;

    fn tables(&self) -> Rc<Table> {
        Rc::clone(&self.tables.borrow())
    }
    fn is_draining(&self) -> bool {
        self.draining.get()
    }
    async fn connect(&self, _: &Cluster, endpoint: &Endpoint) -> Result<Duplex, UpstreamError> {
        let outcome = self.outcomes.borrow_mut().pop_front();
        match outcome {
            None => {}
            Some(Some(error)) => return Err(error),
            Some(None) => core::future::pending::<()>().await,
        }
        let (mut ours, theirs) = duplex(CAPACITY);
        let splits = self.splits.borrow();
        ours.split(&splits.0, &splits.1);
        self.opened.borrow_mut().push((endpoint.address, theirs));
        Ok(ours)
    }
}

/// One client connection through the proxy, and everything around it.
pub(super) struct World {
    pub(super) executor: Executor,
    pub(super) proxy: Rc<Proxy<Bench>>,
    pub(super) access: Consumer<AccessRecord>,
    pub(super) client: Duplex,
    opened: Rc<RefCell<Vec<(SocketAddr, Duplex)>>>,
    splits: Rc<RefCell<(Vec<usize>, Vec<usize>)>>,
    taken: usize,
    current: usize,
    pending: String,
    /// What is being played, for failures.
    line: String,
}

/// One endpoint behind one listener, without forwarding fields.
pub(super) fn spec() -> TableSpec {
    let endpoint = |port| SocketAddr::from(([10, 0, 2, 1], port));
    TableSpec {
        cores: 1,
        listeners: vec![ListenerSpec {
            name: "http".into(),
            address: local(),
            tls: None,
            timeouts: Timeouts::default(),
            limits: Limits { body_bytes: 100_000_000, ..Limits::default() },
            forwarded: ForwardedFields { x_forwarded: false, forwarded: false, via: false, request_id: false },
            trusted_peers: vec![],
            websocket: true,
        }],
        clusters: vec![ClusterSpec {
            name: "web".into(),
            endpoints: vec![endpoint(1)],
            connect_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(30),
            max_idle_per_core: 8,
            tls: None,
        }],
        routes: vec![RouteSpec {
            name: "all".into(),
            listeners: vec![],
            hostnames: vec!["a".into(), "10.0.1.1".into()],
            matches: vec![],
            backend_refs: vec![BackendRef { cluster: "web".into(), weight: 1 }],
            request_timeout: None,
            retry: Retry::default(),
        }],
    }
}

/// The same with two endpoints.
pub(super) fn two() -> TableSpec {
    let mut two = spec();
    two.clusters[0].endpoints.push(SocketAddr::from(([10, 0, 2, 1], 2)));
    two
}

pub(super) fn local() -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 1], 80))
}

impl World {
    pub(super) fn new(spec: &TableSpec) -> World {
        let executor = Executor::new(Instant::from_millis(1));
        let (producer, access) = spsc::channel(64, AccessRecord::default);
        let opened = Rc::<RefCell<Vec<_>>>::default();
        let splits = Rc::<RefCell<(Vec<usize>, Vec<usize>)>>::default();
        let bench = Bench {
            tables: RefCell::new(Rc::new(Table::build(spec, None).expect("valid"))),
            draining: Cell::new(false),
            opened: Rc::clone(&opened),
            outcomes: RefCell::default(),
            splits: Rc::clone(&splits),
        };
        let proxy = Proxy::new(ProxyParts {
            platform: bench,
            executor: executor.clone(),
            core: 0,
            stats: Arc::new(HttpStats::default()),
            access: Some(producer),
            unix_origin_ns: 0,
            seed: 1,
        });
        let client = duplex(1).1;
        let mut world = World {
            executor,
            proxy,
            access,
            client,
            opened,
            splits,
            taken: 0,
            current: 0,
            pending: String::new(),
            line: String::new(),
        };
        world.connect_client();
        world
    }

    /// Splits what the proxy reads and writes, on connections made from now on.
    pub(super) fn split(&mut self, read: &[usize], write: &[usize]) {
        *self.splits.borrow_mut() = (read.to_vec(), write.to_vec());
        self.connect_client();
    }

    /// A new client connection takes the place of the old one.
    pub(super) fn connect_client(&mut self) {
        let (mut ours, theirs) = duplex(CAPACITY);
        ours.split(&self.splits.borrow().0, &self.splits.borrow().1);
        let arrival = Arrival { remote: SocketAddr::from(([192, 0, 2, 7], 4000)), local: local(), secure: false };
        let session = Session::new(ours, arrival, &self.proxy).expect("listener");
        self.executor.spawn(session.run());
        self.client = theirs;
        self.settle();
    }

    pub(super) fn settle(&self) {
        while self.executor.run(64) > 0 {}
    }

    /// Lets time pass, timer by timer.
    pub(super) fn wait(&self, duration: Duration) {
        let until = self.executor.now() + duration;
        while let Some(at) = self.executor.next_deadline().filter(|at| *at <= until) {
            self.executor.set_now(at);
            self.settle();
        }
        self.executor.set_now(until);
        self.settle();
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.borrow().len()
    }

    /// Address of the Nth connection.
    pub(super) fn endpoint(&self, index: usize) -> u16 {
        self.opened.borrow()[index].0.port()
    }

    /// Takes all connections opened so far, for tasks that serve them.
    pub(super) fn drain_opened(&self) -> Vec<Duplex> {
        self.opened.borrow_mut().drain(..).map(|(_, stream)| stream).collect()
    }

    fn with<R>(&mut self, side: &str, act: impl FnOnce(&mut Duplex) -> R) -> R {
        match side {
            "c" => act(&mut self.client),
            "u" => act(&mut self.opened.borrow_mut()[self.current].1),
            _ => panic!("side {side:?}"),
        }
    }

    /// Everything that side has received, up to `most` bytes; the flag tells how it ended.
    fn received(&mut self, side: &str, most: usize) -> (Vec<u8>, Ended) {
        let mut bytes = Vec::new();
        loop {
            self.settle();
            let cx = &mut Context::from_waker(Waker::noop());
            let wanted = most - bytes.len();
            let ended = self.with(side, |stream| {
                let taken = match stream.poll_fill(cx) {
                    Poll::Pending => return Some(Ended::Open),
                    Poll::Ready(Err(_)) => return Some(Ended::Reset),
                    Poll::Ready(Ok([])) => return Some(Ended::Closed),
                    Poll::Ready(Ok(_)) if wanted == 0 => return Some(Ended::Open),
                    Poll::Ready(Ok(shown)) => {
                        let taken = shown.len().min(wanted);
                        bytes.extend_from_slice(&shown[..taken]);
                        taken
                    }
                };
                stream.consume(taken);
                None
            });
            if let Some(ended) = ended {
                return (bytes, ended);
            }
        }
    }

    pub(super) fn send(&mut self, side: &str, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let cx = &mut Context::from_waker(Waker::noop());
            match self.with(side, |stream| stream.poll_write(cx, &[bytes])) {
                Poll::Ready(Ok(written)) => bytes = &bytes[written..],
                Poll::Ready(Err(_)) => return,
                Poll::Pending => panic!("no room for {:?}", String::from_utf8_lossy(bytes)),
            }
            self.settle();
        }
    }

    /// What the client has received and no transcript has asked for yet, without dates; and how its connection stands.
    fn pending(&mut self) -> Ended {
        let (bytes, ended) = self.received("c", usize::MAX);
        self.pending.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(start) = self.pending.find("\r\nDate: ") {
            let Some(length) = self.pending[start..].find(" GMT\r\n") else { break };
            self.pending.replace_range(start..start + length + 4, "");
        }
        ended
    }

    fn expect(&mut self, side: &str, text: &str) {
        let expected = bytes_of(text);
        let seen = if side == "c" {
            self.pending();
            let end = expected.len().min(self.pending.len());
            self.pending.drain(..end).collect()
        } else {
            String::from_utf8_lossy(&self.received(side, expected.len()).0).into_owned()
        };
        assert_eq!(seen.replace("\r\n", "|").replace('\n', "~"), text, "{}", self.line);
    }

    /// Plays a transcript.
    pub(super) fn play(&mut self, transcript: &str) {
        for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            self.line = line.to_owned();
            match verb {
                ">" => self.send("c", bytes_of(rest).as_bytes()),
                "<" => self.expect("c", rest),
                ">>" => self.expect("u", rest),
                "<<" => self.send("u", bytes_of(rest).as_bytes()),
                "open" => {
                    self.settle();
                    assert!(self.opened() > self.taken, "no connection was opened: {}", self.line);
                    self.current = self.taken;
                    self.taken += 1;
                }
                "use" => self.current = rest.parse().expect("number"),
                "refuse" => self.outcome(Some(UpstreamError::Refused)),
                "unreachable" => self.outcome(Some(UpstreamError::Unreachable)),
                "hang" => self.outcome(None),
                "end" => {
                    let cx = &mut Context::from_waker(Waker::noop());
                    let _ = self.with(rest, |stream| stream.poll_shutdown(cx));
                }
                "reset" => self.with(rest, Duplex::abort),
                "eof" => self.ended(rest, Ended::Closed),
                "gone" => self.ended(rest, Ended::Reset),
                "quiet" => self.ended(rest, Ended::Open),
                "take" => {
                    let most = rest.parse().expect("number");
                    assert_eq!(self.received("c", most).0.len(), most);
                }
                "wait" => self.wait(Duration::from_millis(rest.parse().expect("milliseconds"))),
                _ => panic!("{line:?}"),
            }
            self.settle();
        }
    }

    fn outcome(&mut self, outcome: Option<UpstreamError>) {
        self.proxy.platform.outcomes.borrow_mut().push_back(outcome);
    }

    fn ended(&mut self, side: &str, expected: Ended) {
        let (seen, ended) = if side == "c" {
            let ended = self.pending();
            (std::mem::take(&mut self.pending), ended)
        } else {
            let (bytes, ended) = self.received(side, usize::MAX);
            (String::from_utf8_lossy(&bytes).into_owned(), ended)
        };
        assert_eq!((seen.as_str(), ended), ("", expected), "{}", self.line);
    }

    /// All the client has received until now.
    pub(super) fn client_received(&mut self) -> String {
        self.pending();
        std::mem::take(&mut self.pending)
    }

    /// `status reason` of the next access record.
    pub(super) fn logged(&mut self) -> String {
        self.settle();
        let record = self.access.pop_with(|record| *record).expect("a record");
        format!("{} {}", record.status, record.reason.word())
    }
}

/// The bytes that a transcript's text stands for.
pub(super) fn bytes_of(text: &str) -> String {
    text.replace('|', "\r\n").replace('~', "\n")
}

/// How a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Open,
    Closed,
    Reset,
}

/// Plays a transcript against [`spec`] and returns the world for further questions.
pub(super) fn play(transcript: &str) -> World {
    play_with(&spec(), transcript)
}

/// Plays a transcript against other tables.
pub(super) fn play_with(spec: &TableSpec, transcript: &str) -> World {
    let mut world = World::new(spec);
    world.play(transcript);
    world
}
