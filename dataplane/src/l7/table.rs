//! The tables of layer 7: listeners, routes and clusters of one generation. Immutable; built off the path by a pure function from
//! plain specifications, so that the management side needs to know nothing about how they are searched.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ipnet::IpNet;

use super::cluster::{Cluster, ClusterSpec, EndpointId};
use super::http1::Limits;
use super::http1::forwarded::ForwardedFields;
use super::http1::target::without_query;
use super::route::{PathMatch, RouteError, RouteTable, comparable};
use super::tls::ServerTls;

/// Everything layer 7 is made from.
#[derive(Clone, Debug, Default)]
pub struct TableSpec {
    /// Number of cores that will write statistics.
    pub cores: usize,
    /// Where requests come in.
    pub listeners: Vec<ListenerSpec>,
    /// Who answers them.
    pub clusters: Vec<ClusterSpec>,
    /// Which goes where; earlier rules win over later ones for the same host and path.
    pub routes: Vec<RouteSpec>,
}

/// Times that bound what a client may make us wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head (of the first one: from the connection) to its end.
    pub header: Duration,
    /// Without any progress: between requests, while content moves, in a tunnel, while waiting for an answer.
    pub idle: Duration,
    /// The whole exchange, unless the route says otherwise; `None` for no limit.
    pub request: Option<Duration>,
    /// After an answer that leaves content unread: how long what still comes in is discarded so that the client can read it.
    pub linger: Duration,
    /// Least average rate, in bytes per second, at which a client must send content and read answers once `idle` has passed;
    /// 0 for none. Only time spent waiting for the client counts.
    pub min_rate: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            request: None,
            linger: Duration::from_secs(2),
            min_rate: 240,
        }
    }
}

/// What a listener is made from.
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// Its name.
    pub name: String,
    /// Where it listens; an unspecified address takes every local one.
    pub address: SocketAddr,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Times.
    pub timeouts: Timeouts,
    /// Sizes.
    pub limits: Limits,
    /// Forwarding fields to write.
    pub forwarded: ForwardedFields,
    /// Peers whose own forwarding fields are believed.
    pub trusted_peers: Vec<IpNet>,
    /// Whether `Upgrade: websocket` may become a tunnel.
    pub websocket: bool,
}

/// Which requests go where.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Its name.
    pub name: String,
    /// Names of the listeners it belongs to; empty for all.
    pub listeners: Vec<String>,
    /// Host names, `*.suffix` for all names below; empty for any.
    pub hostnames: Vec<String>,
    /// Paths; empty for all.
    pub matches: Vec<PathMatch>,
    /// Where to send them.
    pub backend_refs: Vec<BackendRef>,
    /// The whole exchange; overrides the listener's.
    pub request_timeout: Option<Duration>,
    /// When to try again.
    pub retry: Retry,
}

/// A share of a route's requests.
#[derive(Clone, Debug)]
pub struct BackendRef {
    /// Name of the cluster.
    pub cluster: String,
    /// Its share, relative to the sum of all; 0 for none.
    pub weight: u32,
}

/// When a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries beyond the first.
    pub attempts: u8,
    /// After a connection that could not be established: nothing was sent, so any method may be tried again.
    pub on_connect_failure: bool,
    /// After a connection that ended before any byte of a response: idempotent methods only (RFC 9110 §9.2.2).
    pub on_reset: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 2, on_connect_failure: true, on_reset: true }
    }
}

/// The tables of one generation.
#[derive(Debug, Default)]
pub struct Table {
    listeners: Vec<Listener>,
    by_address: HashMap<SocketAddr, u32, RandomState>,
    clusters: Vec<Arc<Cluster>>,
    rules: Vec<Rule>,
    /// Sorted.
    endpoint_ids: Vec<EndpointId>,
    last_endpoint: u64,
}

/// Where requests come in.
#[derive(Debug)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Times.
    pub timeouts: Timeouts,
    /// Sizes.
    pub limits: Limits,
    /// Forwarding fields to write.
    pub forwarded: ForwardedFields,
    /// Whether `Upgrade: websocket` may become a tunnel.
    pub websocket: bool,
    trusted_peers: Box<[IpNet]>,
    routes: RouteTable,
}

/// What happens to the requests of one route.
#[derive(Debug)]
pub struct Rule {
    /// The route's name.
    pub name: Arc<str>,
    /// The whole exchange; overrides the listener's.
    pub request_timeout: Option<Duration>,
    /// When to try again.
    pub retry: Retry,
    backends: Box<[Share]>,
    total_weight: u64,
}

#[derive(Debug)]
struct Share {
    cluster: u32,
    /// Sum of the weights up to and including this one.
    up_to: u64,
}

/// Why a specification cannot become a table. Indices are into the specification's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// Two listeners have the same address.
    DuplicateListener {
        /// The later one.
        listener: usize,
    },
    /// A route names a listener that does not exist.
    UnknownListener {
        /// The route.
        route: usize,
        /// Index in its `listeners`.
        index: usize,
    },
    /// A route names a cluster that does not exist.
    UnknownCluster {
        /// The route.
        route: usize,
        /// Index in its `backend_refs`.
        index: usize,
    },
    /// A route's host name or path is not acceptable.
    Route {
        /// The route.
        route: usize,
        /// Why.
        error: RouteError,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::DuplicateListener { listener } => {
                write!(f, "listener {listener} has the address of an earlier one")
            }
            BuildError::UnknownListener { route, index } => write!(f, "route {route}: listener {index} does not exist"),
            BuildError::UnknownCluster { route, index } => {
                write!(f, "route {route}: cluster of backend {index} does not exist")
            }
            BuildError::Route { route, error } => write!(f, "route {route}: {error}"),
        }
    }
}

impl core::error::Error for BuildError {}

impl Table {
    /// Compiles a specification. Endpoints that were in `previous` with the same address and TLS keep their identity, and with it
    /// their statistics and pooled connections.
    ///
    /// # Errors
    /// The first [`BuildError`] found.
    pub fn build(spec: &TableSpec, previous: Option<&Table>) -> Result<Table, BuildError> {
        let mut table = Table { last_endpoint: previous.map_or(0, |table| table.last_endpoint), ..Table::default() };
        for cluster in &spec.clusters {
            let old = previous.and_then(|table| table.cluster_named(&cluster.name));
            table.clusters.push(Arc::new(Cluster::build(cluster, spec.cores, old, &mut table.last_endpoint)));
        }
        let ids = table.clusters.iter().flat_map(|cluster| &cluster.endpoints).map(|endpoint| endpoint.id);
        table.endpoint_ids = ids.collect();
        table.endpoint_ids.sort_unstable();
        for (index, listener) in spec.listeners.iter().enumerate() {
            if table.by_address.insert(listener.address, index as u32).is_some() {
                return Err(BuildError::DuplicateListener { listener: index });
            }
            table.listeners.push(Listener::build(listener));
        }
        for (index, route) in spec.routes.iter().enumerate() {
            table.add_route(index, route)?;
        }
        Ok(table)
    }

    fn add_route(&mut self, index: usize, route: &RouteSpec) -> Result<(), BuildError> {
        let rule = self.rules.len() as u32;
        let mut backends = Vec::new();
        let mut total_weight = 0;
        for (at, backend) in route.backend_refs.iter().enumerate() {
            let cluster = self.clusters.iter().position(|cluster| *cluster.name == *backend.cluster);
            let cluster = cluster.ok_or(BuildError::UnknownCluster { route: index, index: at })? as u32;
            total_weight += u64::from(backend.weight);
            backends.push(Share { cluster, up_to: total_weight });
        }
        self.rules.push(Rule {
            name: route.name.as_str().into(),
            request_timeout: route.request_timeout,
            retry: route.retry,
            backends: backends.into(),
            total_weight,
        });
        for (at, name) in route.listeners.iter().enumerate() {
            if !self.listeners.iter().any(|listener| *listener.name == **name) {
                return Err(BuildError::UnknownListener { route: index, index: at });
            }
        }
        let all_paths = [PathMatch::Prefix((*b"/").into())];
        let paths = if route.matches.is_empty() { &all_paths[..] } else { &route.matches };
        let any_host = [String::new()];
        let hosts = if route.hostnames.is_empty() { &any_host[..] } else { &route.hostnames };
        let belongs = |listener: &&mut Listener| {
            route.listeners.is_empty() || route.listeners.iter().any(|name| **name == *listener.name)
        };
        for listener in self.listeners.iter_mut().filter(belongs) {
            for host in hosts {
                for path in paths {
                    let inserted = listener.routes.insert(host, path, rule);
                    inserted.map_err(|error| BuildError::Route { route: index, error })?;
                }
            }
        }
        Ok(())
    }

    /// The listener that a connection to `local` belongs to.
    pub fn listener(&self, local: SocketAddr) -> Option<&Listener> {
        self.listeners.get(self.listener_index(local)? as usize)
    }

    /// Its place among [`Self::listeners`].
    pub fn listener_index(&self, local: SocketAddr) -> Option<u32> {
        let any: IpAddr = match local {
            SocketAddr::V4(_) => core::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => core::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.by_address.get(&local).or_else(|| self.by_address.get(&SocketAddr::new(any, local.port()))).copied()
    }

    /// All listeners.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// All clusters.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// The rule for a request to `listener`. `scratch` is overwritten.
    pub fn rule(&self, listener: &Listener, host: &[u8], path: &[u8], scratch: &mut Vec<u8>) -> Option<&Rule> {
        let path = comparable(without_query(path), scratch);
        // `*` (OPTIONS) asks about the server, so it goes where the root goes.
        let path = if matches!(path, b"*" | b"") { b"/" } else { path };
        self.rules.get(listener.routes.find(host, path)? as usize)
    }

    /// The cluster that takes this request of `rule`; `draw` is any number, evenly distributed. `None` if all weights are 0.
    pub fn cluster(&self, rule: &Rule, draw: u64) -> Option<&Cluster> {
        let point = draw.checked_rem(rule.total_weight)?;
        let share = rule.backends.iter().find(|share| point < share.up_to)?;
        self.clusters.get(share.cluster as usize).map(|cluster| &**cluster)
    }

    /// The cluster of that name.
    pub fn cluster_named(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| *cluster.name == *name).map(|cluster| &**cluster)
    }

    /// Whether an endpoint of this identity still exists: if not, its pooled connections are closed.
    pub fn has_endpoint(&self, id: EndpointId) -> bool {
        self.endpoint_ids.binary_search(&id).is_ok()
    }
}

impl Listener {
    fn build(spec: &ListenerSpec) -> Listener {
        Listener {
            name: spec.name.as_str().into(),
            address: spec.address,
            tls: spec.tls.clone(),
            timeouts: spec.timeouts,
            limits: spec.limits,
            forwarded: spec.forwarded,
            websocket: spec.websocket,
            trusted_peers: spec.trusted_peers.clone().into(),
            routes: RouteTable::default(),
        }
    }

    /// Whether a peer's own forwarding fields are believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_peers.iter().any(|net| net.contains(&peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TableSpec {
        let cluster = |name: &str, port| ClusterSpec {
            name: name.into(),
            endpoints: vec![SocketAddr::from(([10, 0, 2, 1], port))],
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            max_idle_per_core: 8,
            tls: None,
        };
        let listener = ListenerSpec {
            name: "http".into(),
            address: SocketAddr::from(([10, 0, 1, 1], 80)),
            tls: None,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            forwarded: ForwardedFields::default(),
            trusted_peers: vec!["10.9.0.0/16".parse().expect("net")],
            websocket: true,
        };
        let other =
            ListenerSpec { name: "other".into(), address: SocketAddr::from(([0, 0, 0, 0], 81)), ..listener.clone() };
        let backend = |cluster: &str, weight| BackendRef { cluster: cluster.into(), weight };
        let route = RouteSpec {
            name: "r".into(),
            listeners: vec!["http".into()],
            hostnames: vec![],
            matches: vec![],
            backend_refs: vec![backend("a", 1), backend("b", 3)],
            request_timeout: None,
            retry: Retry::default(),
        };
        TableSpec {
            cores: 1,
            listeners: vec![listener, other],
            clusters: vec![cluster("a", 1), cluster("b", 2)],
            routes: vec![route],
        }
    }

    #[test]
    fn weights_and_listeners() {
        let table = Table::build(&spec(), None).expect("valid");
        let http = table.listener(SocketAddr::from(([10, 0, 1, 1], 80))).expect("listener");
        let rule = table.rule(http, b"x", b"/?q", &mut Vec::new()).expect("rule");
        assert!(table.rule(http, b"x", b"*", &mut Vec::new()).is_some());
        let shares: Vec<_> = (0..8).map(|draw| table.cluster(rule, draw).expect("cluster").name.to_string()).collect();
        assert_eq!(shares, ["a", "b", "b", "b", "a", "b", "b", "b"]);
        let other = table.listener(SocketAddr::from(([10, 0, 7, 7], 81))).expect("wildcard address");
        assert!(table.rule(other, b"x", b"/", &mut Vec::new()).is_none());
        assert!(table.listener(SocketAddr::from(([10, 0, 1, 1], 82))).is_none());
        assert!(http.trusts("::ffff:10.9.1.1".parse().expect("address")));
        assert!(!http.trusts("10.8.0.1".parse().expect("address")));
    }

    #[test]
    fn mistakes_are_located() {
        let mut bad = spec();
        bad.routes[0].backend_refs[1].cluster = "c".into();
        assert_eq!(Table::build(&bad, None).err(), Some(BuildError::UnknownCluster { route: 0, index: 1 }));
        let mut bad = spec();
        bad.routes[0].listeners.push("nobody".into());
        assert_eq!(Table::build(&bad, None).err(), Some(BuildError::UnknownListener { route: 0, index: 1 }));
        let mut bad = spec();
        bad.routes[0].hostnames.push("*".into());
        let error = RouteError::InvalidHostname;
        assert_eq!(Table::build(&bad, None).err(), Some(BuildError::Route { route: 0, error }));
        let mut bad = spec();
        bad.listeners[1].address = bad.listeners[0].address;
        assert_eq!(Table::build(&bad, None).err(), Some(BuildError::DuplicateListener { listener: 1 }));
    }

    #[test]
    fn weightless_routes_have_no_cluster() {
        let mut weightless = spec();
        weightless.routes[0].backend_refs.iter_mut().for_each(|backend| backend.weight = 0);
        let table = Table::build(&weightless, None).expect("valid");
        let listener = &table.listeners()[0];
        let rule = table.rule(listener, b"x", b"/", &mut Vec::new()).expect("rule");
        assert!(table.cluster(rule, 5).is_none());
    }
}
