//! HTTP, summed over the cores, and the endpoints of clusters.

use tidegate_dataplane::l7::cluster::Seen;
use tidegate_dataplane::l7::metrics::{HttpStats, LATENCY_BOUNDS_US};
use tidegate_dataplane::l7::reason::Reason;
use tidegate_dataplane::sync::counter::Counter;
use tidegate_dataplane::tables::Tables;

use super::Telemetry;
use super::family::Family;

type Of = fn(&HttpStats) -> &Counter;

const COUNTERS: &[(&str, &str, Of)] = &[
    ("tidegate_http_connections_total", "Client connections accepted.", |h| &h.connections),
    ("tidegate_http_handshake_failures_total", "Client connections whose TLS handshake failed.", |h| {
        &h.handshake_failures
    }),
    ("tidegate_http_request_bytes_total", "Bytes of request content received.", |h| &h.bytes_in),
    ("tidegate_http_response_bytes_total", "Bytes of response content sent.", |h| &h.bytes_out),
    ("tidegate_http_upstream_connects_total", "Connections to endpoints established.", |h| &h.upstream_connects),
    ("tidegate_http_upstream_connect_failures_total", "Connections to endpoints that could not be established.", |h| {
        &h.upstream_connect_failures
    }),
    ("tidegate_http_upstream_pool_hits_total", "Requests sent on a pooled connection.", |h| &h.pool_hits),
    ("tidegate_http_retries_total", "Requests sent again.", |h| &h.retries),
];

const GAUGES: &[(&str, &str, Of)] = &[
    ("tidegate_http_open_connections", "Client connections open.", |h| &h.open_connections),
    ("tidegate_http_active_requests", "Requests under way.", |h| &h.active_requests),
    ("tidegate_http_upstream_pool_connections", "Pooled connections waiting.", |h| &h.pool_idle),
    ("tidegate_http_open_tunnels", "Tunnels open.", |h| &h.open_tunnels),
];

/// Status classes, in the order of the counters.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) fn families(telemetry: &Telemetry) -> Vec<Family> {
    let sum = |of: Of| telemetry.sum(|core| of(&core.http));
    let mut families: Vec<Family> = Vec::new();
    families.extend(COUNTERS.iter().map(|(name, help, of)| Family::counter(name, help).with(&[], sum(*of))));
    families.extend(GAUGES.iter().map(|(name, help, of)| Family::gauge(name, help).with(&[], sum(*of))));
    let mut requests = Family::counter("tidegate_http_requests_total", "Finished requests by class of status.");
    for (class, word) in CLASSES.iter().enumerate() {
        requests.push(&[("status", word)], telemetry.sum(|core| &core.http.requests[class]));
    }
    families.push(requests);
    let mut reasons =
        Family::counter("tidegate_http_reasons_total", "Finished requests by the reason word of the access log.");
    for reason in Reason::ALL {
        reasons.push(&[("reason", reason.word())], telemetry.sum(|core| core.http.reasons.of(*reason)));
    }
    families.push(reasons);
    families.push(latency(telemetry));
    families
}

#[allow(clippy::cast_precision_loss)] // Microseconds: exact for centuries.
fn latency(telemetry: &Telemetry) -> Family {
    let mut family = Family::histogram(
        "tidegate_http_request_duration_seconds",
        "Time from the first byte of a request to the last byte of its response.",
    );
    let mut below = 0;
    for bucket in 0..=LATENCY_BOUNDS_US.len() {
        below += telemetry.sum(|core| &core.http.latency.buckets[bucket]);
        let bound = LATENCY_BOUNDS_US.get(bucket).map(|bound| *bound as f64 / 1e6);
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
        family.push_as("_bucket", &[("le", &bound)], below as f64);
    }
    family.push_as("_sum", &[], telemetry.sum(|core| &core.http.latency.sum_us) as f64 / 1e6);
    family.push_as("_count", &[], below as f64);
    family
}

/// What the cores have seen of each endpoint of the current tables.
pub(super) fn clusters(tables: &Tables) -> Vec<Family> {
    type OfSeen = fn(&Seen) -> &Counter;
    let counters: [(&str, &str, OfSeen); 4] = [
        ("tidegate_endpoint_requests_total", "Requests sent to an endpoint.", |seen| &seen.requests),
        ("tidegate_endpoint_failures_total", "Requests that failed by an endpoint's fault.", |seen| &seen.failures),
        ("tidegate_endpoint_connects_total", "Connections to an endpoint established.", |seen| &seen.connects),
        (
            "tidegate_endpoint_connect_failures_total",
            "Connections to an endpoint that could not be established.",
            |seen| &seen.connect_failures,
        ),
    ];
    let of_all = |mut family: Family, of: OfSeen| {
        for cluster in tables.l7.clusters() {
            for endpoint in &cluster.endpoints {
                let sum = endpoint.seen.iter().map(|seen| of(seen).value()).sum();
                family.push(&[("cluster", &cluster.name), ("endpoint", &endpoint.address.to_string())], sum);
            }
        }
        family
    };
    let mut families: Vec<Family> =
        counters.into_iter().map(|(name, help, of)| of_all(Family::counter(name, help), of)).collect();
    families.push(of_all(
        Family::gauge("tidegate_endpoint_active_requests", "Requests under way at an endpoint."),
        |seen| &seen.active,
    ));
    families
}
