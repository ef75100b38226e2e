//! Clusters and their endpoints: who can answer, what each core has seen of them, and whose turn it is.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::tls::ClientTls;
use crate::clock::Instant;
use crate::sync::counter::Counter;

/// One value per core, each on its own cache line: its core writes it, anybody reads it.
#[derive(Debug)]
pub struct PerCore<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerCore<T> {
    /// One default value for each of `cores` (at least one).
    pub fn new(cores: usize) -> Self {
        PerCore((0..cores.max(1)).map(|_| CachePadded::new(T::default())).collect())
    }
}

impl<T> PerCore<T> {
    /// The value of core `slot`. Slots beyond the number of cores share the last one, which then counts wrongly but safely.
    pub fn of(&self, slot: usize) -> &T {
        &self.0[slot.min(self.0.len() - 1)]
    }

    /// All values, for a reader that adds them up.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    /// Number of slots.
    pub fn cores(&self) -> usize {
        self.0.len()
    }
}

/// Names an endpoint across generations: as long as address and TLS settings stay, connections and statistics do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// What a cluster is made from.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Its name, in statistics and the access log.
    pub name: String,
    /// Addresses of its endpoints, in the order in which they take turns.
    pub endpoints: Vec<SocketAddr>,
    /// Time for TCP and TLS together to be established.
    pub connect_timeout: Duration,
    /// Time an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept per endpoint and core.
    pub max_idle_per_core: usize,
    /// TLS towards the endpoints.
    pub tls: Option<ClientTls>,
}

/// Endpoints that can stand in for one another.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// Who can answer.
    pub endpoints: Box<[Arc<Endpoint>]>,
    /// Time for TCP and TLS together to be established.
    pub connect_timeout: Duration,
    /// Time an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept per endpoint and core.
    pub max_idle_per_core: usize,
    /// TLS towards the endpoints.
    pub tls: Option<ClientTls>,
    /// Whose turn it is, on each core.
    turns: PerCore<Counter>,
}

/// One address that answers.
#[derive(Debug)]
pub struct Endpoint {
    /// Its identity across generations.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// What each core has seen of it.
    pub seen: PerCore<Seen>,
}

/// What one core has seen of one endpoint.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests sent.
    pub requests: Counter,
    /// Requests that failed by the endpoint's fault.
    pub failures: Counter,
    /// Requests under way.
    pub active: Counter,
    /// Connections established.
    pub connects: Counter,
    /// Connections that could not be established.
    pub connect_failures: Counter,
    /// Until when it is passed over, in nanoseconds of the core's clock; 0 = not marked.
    avoid_until: Counter,
    /// Connect failures in a row.
    streak: Counter,
}

impl Seen {
    /// Whether the endpoint is passed over at `now`. When a mark runs out, the first to ask gets to try and the others keep
    /// away for another while, so that a dead endpoint costs one request per period, not all of them.
    fn avoided(&self, now: Instant) -> bool {
        let until = self.avoid_until.value();
        until != 0 && now.as_nanos() < until
    }

    /// Whether the last attempt to connect failed, and nothing has come from the endpoint since.
    pub fn failing(&self) -> bool {
        self.avoid_until.value() != 0
    }

    /// A connection could not be established: pass it over for a time that doubles with each failure in a row.
    pub fn mark_failed(&self, now: Instant) {
        self.connect_failures.add(1);
        self.streak.add(1);
        let doublings = self.streak.value().min(MAX_DOUBLINGS) - 1;
        self.avoid_until.set((now + AVOID * (1 << doublings)).as_nanos().max(1));
    }

    /// A connection was established or a response arrived.
    pub fn mark_alive(&self) {
        if self.avoid_until.value() != 0 {
            self.avoid_until.set(0);
            self.streak.set(0);
        }
    }

    fn claim_probe(&self, now: Instant) {
        if self.avoid_until.value() != 0 {
            self.avoid_until.set((now + AVOID).as_nanos());
        }
    }
}

/// First period for which an endpoint that refused is passed over.
const AVOID: Duration = Duration::from_millis(500);
/// The period grows to 16 times the first.
const MAX_DOUBLINGS: u64 = 5;

impl Cluster {
    pub(super) fn build(spec: &ClusterSpec, cores: usize, old: Option<&Cluster>, next_id: &mut u64) -> Cluster {
        let kept = old.filter(|old| old.tls == spec.tls);
        let endpoint = |address: &SocketAddr| {
            let same =
                |endpoint: &&Arc<Endpoint>| endpoint.address == *address && endpoint.seen.cores() == cores.max(1);
            if let Some(endpoint) = kept.and_then(|old| old.endpoints.iter().find(same)) {
                return Arc::clone(endpoint);
            }
            *next_id += 1;
            Arc::new(Endpoint { id: EndpointId(*next_id), address: *address, seen: PerCore::new(cores) })
        };
        Cluster {
            name: spec.name.as_str().into(),
            endpoints: spec.endpoints.iter().map(endpoint).collect(),
            connect_timeout: spec.connect_timeout,
            idle_timeout: spec.idle_timeout,
            max_idle_per_core: spec.max_idle_per_core,
            tls: spec.tls.clone(),
            turns: PerCore::new(cores),
        }
    }

    /// The next endpoint's index, round robin per core. Those in `tried` and those marked as failing come last.
    pub fn pick(&self, core: usize, now: Instant, tried: &[usize]) -> Option<usize> {
        let count = self.endpoints.len();
        let turns = self.turns.of(core);
        // Cores begin at different endpoints, or the first would get the first request of every core.
        let start = (turns.value() as usize).wrapping_add(core);
        let order = || (0..count).map(|step| start.wrapping_add(step) % count);
        let fresh = |index: &usize| !tried.contains(index);
        let healthy = |index: &usize| !self.endpoints[*index].seen.of(core).avoided(now);
        let index = order()
            .find(|index| fresh(index) && healthy(index))
            .or_else(|| order().find(fresh))
            .or_else(|| order().next())?;
        let skipped = (index + count - start % count) % count;
        turns.add(skipped as u64 + 1);
        self.endpoints[index].seen.of(core).claim_probe(now);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(ports: &[u16]) -> ClusterSpec {
        ClusterSpec {
            name: "web".into(),
            endpoints: ports.iter().map(|port| SocketAddr::from(([10, 0, 0, 1], *port))).collect(),
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            max_idle_per_core: 8,
            tls: None,
        }
    }

    fn picks(cluster: &Cluster, core: usize, now: Instant, count: usize) -> Vec<usize> {
        (0..count).map(|_| cluster.pick(core, now, &[]).expect("endpoint")).collect()
    }

    #[test]
    fn round_robin_passes_over_what_failed_and_comes_back() {
        let mut next = 0;
        let cluster = Cluster::build(&spec(&[1, 2, 3]), 2, None, &mut next);
        let start = Instant::from_millis(1000);
        assert_eq!(picks(&cluster, 0, start, 4), [0, 1, 2, 0]);
        assert_eq!(picks(&cluster, 1, start, 3), [1, 2, 0]);
        cluster.endpoints[1].seen.of(0).mark_failed(start);
        assert!(cluster.endpoints[1].seen.of(0).failing() && !cluster.endpoints[1].seen.of(1).failing());
        assert_eq!(picks(&cluster, 0, start, 4), [2, 0, 2, 0]);
        // After the period one request probes it; the next still goes elsewhere.
        let later = start + AVOID;
        assert_eq!(picks(&cluster, 0, later, 4), [1, 2, 0, 2]);
        cluster.endpoints[1].seen.of(0).mark_alive();
        assert!(!cluster.endpoints[1].seen.of(0).failing());
        assert_eq!(picks(&cluster, 0, later, 3), [0, 1, 2]);
    }

    #[test]
    fn a_retry_prefers_another_but_takes_what_there_is() {
        let mut next = 0;
        let cluster = Cluster::build(&spec(&[1, 2]), 1, None, &mut next);
        assert_eq!(cluster.pick(0, Instant::ZERO, &[0]), Some(1));
        assert_eq!(cluster.pick(0, Instant::ZERO, &[0, 1]), Some(0));
        let none = Cluster::build(&spec(&[]), 1, None, &mut next);
        assert_eq!(none.pick(0, Instant::ZERO, &[]), None);
    }

    #[test]
    fn endpoints_outlive_a_reload() {
        let mut next = 0;
        let first = Cluster::build(&spec(&[1, 2]), 1, None, &mut next);
        let second = Cluster::build(&spec(&[2, 3]), 1, Some(&first), &mut next);
        assert!(Arc::ptr_eq(&first.endpoints[1], &second.endpoints[0]));
        assert_eq!(second.endpoints[1].id, EndpointId(3));
        assert_eq!(Cluster::build(&spec(&[2]), 4, Some(&second), &mut next).endpoints[0].id, EndpointId(4));
    }
}
