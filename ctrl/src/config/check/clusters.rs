//! `[[cluster]]` and `[cluster.tls]`.

use std::net::SocketAddr;

use super::forwarding::Routes;
use super::listeners::alpn;
use super::network::{Domain, Network};
use super::{Checker, certificates, tls};
use crate::config::model;
use crate::config::raw::{Cluster, UpstreamTls};
use crate::config::slot::At;
use crate::diagnostic::{Code, Diagnostic, Span};

pub(super) fn check(
    raw: &[At<Cluster>],
    network: &Network,
    routes: &Routes,
    cx: &mut Checker<'_>,
) -> Vec<model::Cluster> {
    let mut clusters = Vec::new();
    for cluster in raw {
        let endpoints = endpoints(cluster, network, routes, cx);
        let tls = cluster.tls.ok().and_then(|tls| tls_of(tls, cx));
        if let Some(name) = cluster.name.ok() {
            clusters.push(model::Cluster {
                name: name.value.clone(),
                balance: cluster.balance.value,
                endpoints,
                connect_timeout_ms: cluster.connect_timeout_ms.to(),
                idle_timeout_s: cluster.idle_timeout_s.to(),
                max_idle_per_core: cluster.max_idle_per_core.to(),
                tls,
            });
        }
    }
    clusters
}

fn endpoints(cluster: &Cluster, network: &Network, routes: &Routes, cx: &mut Checker<'_>) -> Vec<SocketAddr> {
    let Some(list) = cluster.endpoints.ok() else { return Vec::new() };
    if list.is_empty() && !cx.broken(list.span) {
        let none = Diagnostic::error(Code::InvalidValue, list.span, "a cluster needs at least one endpoint");
        cx.push(none.help("write `endpoints = [\"10.0.2.11:80\"]`"));
    }
    let mut seen: Vec<(SocketAddr, Span)> = Vec::new();
    for endpoint in &list.value {
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == endpoint.value) {
            let twice = format!("{} is listed twice", endpoint.value);
            cx.push(
                Diagnostic::error(Code::Duplicate, endpoint.span, twice)
                    .related(*first, "the first is here")
                    .help("for a larger share of the requests use two clusters and `weight`"),
            );
            continue;
        }
        seen.push((endpoint.value, endpoint.span));
        reachable(endpoint, network, routes, cx);
    }
    seen.into_iter().map(|(endpoint, _)| endpoint).collect()
}

/// An endpoint that no packet can reach would only ever answer 503.
fn reachable(endpoint: &At<SocketAddr>, network: &Network, routes: &Routes, cx: &mut Checker<'_>) {
    let ip = endpoint.ip();
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        let nowhere = format!("{ip} cannot be a backend: packets go out through the ports, not through the host");
        cx.push(Diagnostic::error(Code::InvalidValue, endpoint.span, nowhere));
        return;
    }
    if network.owns(&Domain::Main, ip) {
        let own = format!("{ip} is our own address: requests would come back");
        cx.push(Diagnostic::error(Code::Conflict, endpoint.span, own));
        return;
    }
    if !network.is_whole(&Domain::Main) {
        return;
    }
    if !network.has_family(ip) {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        let none = format!("no port has an {family} address to connect to {ip} from");
        cx.push(Diagnostic::error(Code::Unreachable, endpoint.span, none).help(network.addresses()));
    } else if network.interface_to(&Domain::Main, ip).is_none() && !routes.may_lead_to(ip) {
        let far = Diagnostic::error(Code::Unreachable, endpoint.span, format!("no subnet and no route leads to {ip}"));
        cx.push(far.help("add a `[[route]]` with `to` and `via`"));
    }
}

fn tls_of(raw: &UpstreamTls, cx: &mut Checker<'_>) -> Option<model::UpstreamTls> {
    if let Some(name) = raw.server_name.ok()
        && rustls_pki_types::ServerName::try_from(name.value.as_str()).is_err()
    {
        let message = format!("`{}` is not a DNS name or an IP address", name.value);
        let bad = Diagnostic::error(Code::InvalidValue, name.span, message);
        let host = name.value.rsplit_once(':').map(|(host, _)| host).filter(|host| !host.is_empty());
        cx.push(match host {
            Some(host) if rustls_pki_types::ServerName::try_from(host).is_ok() => {
                bad.help(format!("the port is not part of it: `\"{host}\"`"))
            }
            _ => bad,
        });
    }
    let identity = match (raw.certificate.ok(), raw.key.ok()) {
        (Some(certificate), Some(key)) => Some(certificates::identity(certificate, key, cx)),
        _ => {
            let lone = [
                ("certificate", &raw.certificate, "key", &raw.key),
                ("key", &raw.key, "certificate", &raw.certificate),
            ];
            for (given, span, missing, other) in lone {
                if let Some(span) = span.span().filter(|_| other.is_absent()) {
                    cx.push(Diagnostic::error(
                        Code::MissingKey,
                        span,
                        format!("`{given}` needs `{missing}` beside it"),
                    ));
                }
            }
            None
        }
    };
    let ca = raw.ca.ok().map(|ca| certificates::authorities(ca, cx));
    let alpn = alpn(&raw.alpn.value, cx);
    let tls = model::UpstreamTls {
        server_name: raw.server_name.ok()?.value.clone(),
        ca: ca?,
        identity,
        min_version: raw.min_version.value,
        alpn,
    };
    tls::cluster(raw, &tls, cx);
    Some(tls)
}
