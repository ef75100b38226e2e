//! Listeners, clusters and HTTP routes.

use std::sync::Arc;
use std::time::Duration;

use tidegate_dataplane::l7::cluster::ClusterSpec;
use tidegate_dataplane::l7::http1::Limits;
use tidegate_dataplane::l7::http1::forwarded::ForwardedFields;
use tidegate_dataplane::l7::route::PathMatch;
use tidegate_dataplane::l7::table::{BackendRef, ListenerSpec, Retry, RouteSpec, Table, TableSpec, Timeouts};
use tidegate_dataplane::l7::tls::{ClientTls, ServerTls, TicketKeys};

use super::{CompileError, Inputs, tls};
use crate::config::model::{self, ForwardedField, RetryOn};
use crate::config::pem::{Certs, Pem};

/// As good as no limit, and still far from the end of the clock.
const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The TLS of the previous generation, to be used again where its section and files are the same: building it costs
/// signatures, and connections to backends are pooled by it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    /// The keys that the listeners' configurations seal tickets with.
    tickets: Option<Arc<TicketKeys>>,
    listeners: Vec<(model::ListenerTls, Vec<Option<Pem>>, ServerTls)>,
    clusters: Vec<(model::UpstreamTls, Vec<Option<Pem>>, ClientTls)>,
}

/// Whether both make the same table.
pub(super) fn same(a: &Inputs, b: &Inputs) -> bool {
    let (x, y) = (&a.config, &b.config);
    x.listeners == y.listeners
        && x.clusters == y.clusters
        && x.http_routes == y.http_routes
        && x.runtime.cores == y.runtime.cores
        && (Arc::ptr_eq(&a.certs, &b.certs) || a.certs.files == b.certs.files)
        && Arc::ptr_eq(&a.tickets, &b.tickets)
}

pub(super) fn build(inputs: &Inputs, previous: Option<(&Table, &Cache)>) -> Result<(Table, Cache), CompileError> {
    let config = &inputs.config;
    let mut cache = Cache { tickets: Some(Arc::clone(&inputs.tickets)), ..Cache::default() };
    let old = previous.map(|(_, cache)| cache);
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let own = listener.tls.as_ref().map(|section| server(&listener.name.0, section, inputs, old, &mut cache));
        listeners.push(listener_spec(listener, own.transpose()?));
    }
    let mut clusters = Vec::new();
    for cluster in &config.clusters {
        let own = cluster.tls.as_ref().map(|section| client(&cluster.name.0, section, inputs, old, &mut cache));
        clusters.push(ClusterSpec {
            name: cluster.name.0.clone(),
            endpoints: cluster.endpoints.clone(),
            connect_timeout: Duration::from_millis(cluster.connect_timeout_ms.into()),
            idle_timeout: Duration::from_secs(cluster.idle_timeout_s.into()),
            max_idle_per_core: cluster.max_idle_per_core as usize,
            tls: own.transpose()?,
        });
    }
    let routes = config.http_routes.iter().map(route_spec).collect();
    let spec = TableSpec { cores: config.runtime.cores.len(), listeners, clusters, routes };
    let table = Table::build(&spec, previous.map(|(table, _)| table)).map_err(CompileError::L7)?;
    Ok((table, cache))
}

fn server(
    name: &str,
    section: &model::ListenerTls,
    inputs: &Inputs,
    old: Option<&Cache>,
    cache: &mut Cache,
) -> Result<ServerTls, CompileError> {
    let files = files(section.paths(), &inputs.certs);
    // The keys of tickets are part of it: they are rotated by building anew.
    let same_keys = |cache: &&Cache| cache.tickets.as_ref().is_some_and(|keys| Arc::ptr_eq(keys, &inputs.tickets));
    let kept = old.filter(same_keys).into_iter().flat_map(|cache| &cache.listeners);
    let kept = kept.filter(|(was, held, _)| was == section && *held == files);
    let built = match kept.map(|(_, _, tls)| tls).next() {
        Some(tls) => tls.clone(),
        None => {
            let tickets = Some(Arc::clone(&inputs.tickets));
            finished(name, tls::server(section, &inputs.certs, tickets, Arc::clone(&inputs.clock)))?
        }
    };
    cache.listeners.push((section.clone(), files, built.clone()));
    Ok(built)
}

fn client(
    name: &str,
    section: &model::UpstreamTls,
    inputs: &Inputs,
    old: Option<&Cache>,
    cache: &mut Cache,
) -> Result<ClientTls, CompileError> {
    let files = files(section.paths(), &inputs.certs);
    let kept = old.into_iter().flat_map(|cache| &cache.clusters);
    let built = match kept.filter(|(was, held, _)| was == section && *held == files).map(|(_, _, tls)| tls).next() {
        Some(tls) => tls.clone(),
        None => finished(name, tls::client(section, &inputs.certs, Arc::clone(&inputs.clock)))?,
    };
    cache.clusters.push((section.clone(), files, built.clone()));
    Ok(built)
}

fn files<'a>(paths: impl Iterator<Item = &'a std::path::Path>, certs: &Certs) -> Vec<Option<Pem>> {
    paths.map(|path| certs.files.get(path).cloned()).collect()
}

fn finished<T>(name: &str, built: Option<tls::Built<T>>) -> Result<T, CompileError> {
    match built {
        Some(Ok((tls, _))) => Ok(tls),
        Some(Err(errors)) => Err(CompileError::Tls { name: name.to_owned(), errors }),
        None => Err(CompileError::NotRead { name: name.to_owned() }),
    }
}

fn listener_spec(listener: &model::Listener, tls: Option<ServerTls>) -> ListenerSpec {
    let writes = |field| listener.forwarded.contains(&field);
    ListenerSpec {
        name: listener.name.0.clone(),
        address: listener.address,
        tls,
        timeouts: Timeouts {
            header: Duration::from_secs(listener.header_timeout_s.into()),
            idle: Duration::from_secs(listener.idle_timeout_s.into()),
            request: listener.request_timeout_s.map(|seconds| Duration::from_secs(seconds.into())),
            linger: Duration::from_millis(listener.linger_ms.into()),
            min_rate: listener.min_rate_bytes_s,
        },
        limits: limits(listener),
        forwarded: ForwardedFields {
            x_forwarded: writes(ForwardedField::XForwarded),
            forwarded: writes(ForwardedField::Forwarded),
            via: writes(ForwardedField::Via),
            request_id: writes(ForwardedField::RequestId),
        },
        trusted_peers: listener.trusted_peers.clone(),
        websocket: listener.websocket,
    }
}

fn limits(listener: &model::Listener) -> Limits {
    let head_bytes = listener.max_head_bytes as usize;
    let usual = Limits::default();
    Limits {
        head_bytes,
        target_bytes: usual.target_bytes.min(head_bytes),
        body_bytes: listener.max_body_bytes.unwrap_or(u64::MAX),
        ..usual
    }
}

fn route_spec(route: &model::HttpRoute) -> RouteSpec {
    let path = |path: &str| path.as_bytes().into();
    RouteSpec {
        name: route.name.0.clone(),
        listeners: route.listeners.iter().map(|listener| listener.name.0.clone()).collect(),
        hostnames: route.hostnames.clone(),
        matches: route
            .matches
            .iter()
            .map(|condition| match condition {
                model::PathMatch::PathPrefix(prefix) => PathMatch::Prefix(path(prefix)),
                model::PathMatch::PathExact(exact) => PathMatch::Exact(path(exact)),
            })
            .collect(),
        backend_refs: route
            .backends
            .iter()
            .map(|backend| BackendRef { cluster: backend.cluster.name.0.clone(), weight: backend.weight })
            .collect(),
        request_timeout: route
            .request_timeout_ms
            .map(|ms| if ms == 0 { NO_LIMIT } else { Duration::from_millis(ms.into()) }),
        retry: Retry {
            attempts: u8::try_from(route.retry.attempts).unwrap_or(u8::MAX),
            on_connect_failure: route.retry.on.contains(&RetryOn::ConnectFailure),
            on_reset: route.retry.on.contains(&RetryOn::Reset),
        },
    }
}
