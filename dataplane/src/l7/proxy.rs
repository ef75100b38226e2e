//! What the sessions of one core share: pool, buffers, counters, the access log, the date.

use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use super::access::AccessRecord;
use super::cluster::{Cluster, Endpoint};
use super::date::{DateCell, HttpDate};
use super::exec::Executor;
use super::metrics::HttpStats;
use super::platform::Platform;
use super::pool::Pool;
use super::scratch::Scratch;
use crate::clock::Instant;
use crate::random;
use crate::sync::spsc::Producer;

/// One core's proxy. Sessions hold it by `Rc`.
pub struct Proxy<P: Platform> {
    /// Tables and connections.
    pub platform: P,
    /// Tasks and time.
    pub executor: Executor,
    /// Which slot of the endpoints' per-core statistics is ours.
    pub core: usize,
    /// Counters.
    pub stats: Arc<HttpStats>,
    pool: RefCell<Pool<P::Upstream>>,
    #[expect(clippy::vec_box, reason = "sessions take and return them: a pointer moves, not a kilobyte")]
    spare: RefCell<Vec<Box<Scratch>>>,
    access: RefCell<Option<Producer<AccessRecord>>>,
    date: DateCell,
    unix_origin_ns: Cell<u64>,
    random: Cell<u64>,
    idle: RefCell<Slab<Waker>>,
}

/// What a proxy is made from.
pub struct ProxyParts<P> {
    /// Tables and connections.
    pub platform: P,
    /// Tasks and time.
    pub executor: Executor,
    /// Which slot of the endpoints' per-core statistics is ours.
    pub core: usize,
    /// Counters.
    pub stats: Arc<HttpStats>,
    /// Where access records go; `None` for nowhere.
    pub access: Option<Producer<AccessRecord>>,
    /// Nanoseconds since 1970 at [`Instant::ZERO`].
    pub unix_origin_ns: u64,
    /// Seed for request identifiers and weighted choices.
    pub seed: u64,
}

/// Exchanges' buffers kept for reuse.
const MAX_SPARE: usize = 256;
/// How often the pool is looked through.
const SWEEP: Duration = Duration::from_secs(1);

impl<P: Platform> Proxy<P> {
    /// Makes the proxy and starts the task that keeps its pool clean.
    pub fn new(parts: ProxyParts<P>) -> Rc<Proxy<P>> {
        let proxy = Rc::new(Proxy {
            platform: parts.platform,
            executor: parts.executor,
            core: parts.core,
            stats: parts.stats,
            pool: RefCell::default(),
            spare: RefCell::default(),
            access: RefCell::new(parts.access),
            date: DateCell::default(),
            unix_origin_ns: Cell::new(parts.unix_origin_ns),
            random: Cell::new(parts.seed),
            idle: RefCell::default(),
        });
        // Weak: the sweeper must not keep the proxy alive.
        let weak = Rc::downgrade(&proxy);
        let executor = proxy.executor.clone();
        proxy.executor.spawn(async move {
            loop {
                executor.sleep(SWEEP).await;
                let Some(proxy) = weak.upgrade() else { break };
                proxy.sweep();
            }
        });
        proxy
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.executor.now()
    }

    /// Nanoseconds since 1970 at `at`.
    pub fn unix_ns(&self, at: Instant) -> u64 {
        self.unix_origin_ns.get().wrapping_add(at.as_nanos())
    }

    /// Corrects the wall clock.
    pub fn set_unix_origin_ns(&self, origin: u64) {
        self.unix_origin_ns.set(origin);
    }

    /// The date for responses.
    pub(super) fn date(&self) -> HttpDate {
        self.date.at(self.unix_ns(self.now()) / 1_000_000_000)
    }

    /// A number that nobody needs to be unable to guess.
    pub(super) fn draw(&self) -> u64 {
        let mut state = self.random.get();
        let number = random::next(&mut state);
        self.random.set(state);
        number
    }

    /// Buffers for an exchange.
    pub(super) fn borrow_scratch(&self) -> Box<Scratch> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes the buffers back.
    pub(super) fn return_scratch(&self, mut scratch: Box<Scratch>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            scratch.shrink();
            spare.push(scratch);
        }
    }

    /// A pooled connection to an endpoint.
    pub(super) fn take_pooled(&self, endpoint: &Endpoint, cx: &mut Context<'_>) -> Option<P::Upstream> {
        let mut pool = self.pool.borrow_mut();
        let taken = pool.take(endpoint.id, self.now(), cx);
        self.stats.pool_idle.set(pool.len() as u64);
        taken
    }

    /// Keeps a connection for the next request, unless there is no next.
    pub(super) fn put_pooled(&self, cluster: &Cluster, endpoint: &Endpoint, stream: P::Upstream) {
        if self.platform.is_draining() || !self.platform.tables().has_endpoint(endpoint.id) {
            return;
        }
        let mut pool = self.pool.borrow_mut();
        pool.put(endpoint.id, stream, self.now(), cluster.idle_timeout, cluster.max_idle_per_core);
        self.stats.pool_idle.set(pool.len() as u64);
    }

    /// New tables are current: lets go of endpoints that are no more, and of idle clients when the program is going down.
    pub fn tables_changed(&self) {
        let mut pool = self.pool.borrow_mut();
        if self.platform.is_draining() {
            pool.clear();
            self.idle.borrow().iter().for_each(|(_, waker)| waker.wake_by_ref());
        }
        let tables = self.platform.tables();
        pool.keep_endpoints(|endpoint| tables.has_endpoint(endpoint));
        self.stats.pool_idle.set(pool.len() as u64);
    }

    fn sweep(&self) {
        let mut pool = self.pool.borrow_mut();
        pool.sweep(self.now());
        self.stats.pool_idle.set(pool.len() as u64);
    }

    /// Connections waiting in the pool.
    pub fn pooled(&self) -> usize {
        self.pool.borrow().len()
    }

    /// Lets a connection that waits for its next request hear of draining.
    pub(super) fn enter_idle(&self, waker: &Waker) -> usize {
        self.idle.borrow_mut().insert(waker.clone())
    }

    /// The connection does something again.
    pub(super) fn leave_idle(&self, key: usize) {
        self.idle.borrow_mut().try_remove(key);
    }

    /// Writes a record for the access log in place: every field, since the slot holds an older one.
    pub(super) fn log(&self, write: impl FnOnce(&mut AccessRecord)) {
        if let Some(access) = self.access.borrow_mut().as_mut()
            && !access.push_with(write)
        {
            self.stats.access_lost.add(1);
        }
    }
}
