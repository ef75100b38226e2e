//! `[[listener]]` and `[listener.tls]`.

use std::net::SocketAddr;

use super::network::{Domain, Network};
use super::{Checker, certificates, tls};
use crate::config::model::{self, ClientTrust, ClientVerification};
use crate::config::raw::{Alpn, ClientAuth, Listener, ListenerTls};
use crate::config::slot::At;
use crate::diagnostic::{Code, Diagnostic, Span, nearest};

pub(super) fn check(raw: &[At<Listener>], network: &Network, cx: &mut Checker<'_>) -> Vec<model::Listener> {
    let mut taken: Vec<(SocketAddr, Span)> = Vec::new();
    let mut listeners = Vec::new();
    for listener in raw {
        if let Some(address) = listener.address.ok() {
            placed(address, network, cx);
            if let Some((other, first)) = taken.iter().find(|(other, _)| overlap(*other, address.value)) {
                let message =
                    format!("another listener already has {other}, so this one would not get all its connections");
                cx.push(Diagnostic::error(Code::Duplicate, address.span, message).related(*first, "the first is here"));
            }
            taken.push((address.value, address.span));
        }
        let tls = listener.tls.ok().and_then(|tls| tls_of(tls, cx));
        if let (Some(name), Some(address)) = (listener.name.ok(), listener.address.ok()) {
            let request_timeout_s: u32 = listener.request_timeout_s.to();
            listeners.push(model::Listener {
                name: name.value.clone(),
                address: address.value,
                protocol: listener.protocol.value,
                idle_timeout_s: listener.idle_timeout_s.to(),
                header_timeout_s: listener.header_timeout_s.to(),
                request_timeout_s: (request_timeout_s != 0).then_some(request_timeout_s),
                max_head_bytes: listener.max_head_bytes.to(),
                max_body_bytes: Some(listener.max_body_kib.to::<u64>() * 1024).filter(|bytes| *bytes != 0),
                linger_ms: listener.linger_ms.to(),
                min_rate_bytes_s: listener.min_rate_bytes_s.to(),
                forwarded: listener.forwarded.iter().map(|field| field.value).collect(),
                trusted_peers: listener.trusted_peers.iter().map(|peers| peers.0).collect(),
                websocket: listener.websocket.value,
                tls,
            });
        }
    }
    listeners
}

/// The address must be ours, or no packet for it would be taken.
fn placed(address: &At<SocketAddr>, network: &Network, cx: &mut Checker<'_>) {
    let ip = address.ip();
    let ours = if ip.is_unspecified() { network.has_family(ip) } else { network.owns(&Domain::Main, ip) };
    if ours || !network.is_whole(&Domain::Main) {
        return;
    }
    let known = network.addresses();
    let near = nearest(&ip.to_string(), known.split([' ', ',', '(', ')']).filter(|word| word.contains(['.', ':'])))
        .map(|near| format!("did you mean `{}`? ", SocketAddr::new(near.parse().unwrap_or(ip), address.port())));
    let message = format!("no port has the address {ip}");
    cx.push(Diagnostic::error(Code::Unreachable, address.span, message).help(near.unwrap_or_default() + &known));
}

/// Whether a connection could belong to both.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn tls_of(raw: &ListenerTls, cx: &mut Checker<'_>) -> Option<model::ListenerTls> {
    let mut certificates = Vec::new();
    if let Some(list) = raw.certificates.ok() {
        if list.is_empty() && !cx.broken(list.span) {
            let none = Diagnostic::error(Code::InvalidValue, list.span, "TLS needs at least one certificate");
            cx.push(none.help("write `certificates = [{ certificate = \"cert.pem\", key = \"key.pem\" }]`"));
        }
        for item in &list.value {
            if let (Some(certificate), Some(key)) = (item.certificate.ok(), item.key.ok()) {
                certificates.push(certificates::identity(certificate, key, cx));
            }
        }
    }
    let client_auth = client_verification(raw, cx);
    let alpn = alpn(&raw.alpn.value, cx);
    let tls = model::ListenerTls {
        certificates,
        client_auth: client_auth?,
        min_version: raw.min_version.value,
        alpn,
        session_tickets: raw.session_tickets.value,
    };
    tls::listener(raw, &tls, cx);
    Some(tls)
}

/// Protocols named once each, in the order of the file.
pub(super) fn alpn(list: &[At<Alpn>], cx: &mut Checker<'_>) -> Vec<Alpn> {
    let mut protocols = Vec::new();
    for protocol in list {
        if protocols.contains(&protocol.value) {
            cx.push(Diagnostic::error(
                Code::Duplicate,
                protocol.span,
                format!("`{}` is listed twice", protocol.as_str()),
            ));
        } else {
            protocols.push(protocol.value);
        }
    }
    protocols
}

fn client_verification(raw: &ListenerTls, cx: &mut Checker<'_>) -> Option<ClientVerification> {
    let word = raw.client_auth.value;
    if word == ClientAuth::None {
        let unused = [raw.client_ca.span(), raw.client_crl.given.then_some(raw.client_crl.span)];
        for span in unused.into_iter().flatten() {
            let message = "clients are not asked for a certificate, so this is not used";
            cx.push(
                Diagnostic::error(Code::Conflict, span, message)
                    .help("add `client_auth = \"required\"` (or \"optional\")"),
            );
        }
        return Some(ClientVerification::None);
    }
    if raw.client_ca.is_absent() {
        let message = format!("`client_auth = \"{}\"` needs `client_ca`: who vouches for clients?", word.as_str());
        let missing = Diagnostic::error(Code::MissingKey, raw.client_auth.span, message);
        cx.push(missing.help("name a PEM file with the authorities that sign client certificates"));
    }
    let crl: Vec<_> = raw.client_crl.iter().map(|path| certificates::revocation_lists(path, cx)).collect();
    let ca = certificates::authorities(raw.client_ca.ok()?, cx);
    let trust = ClientTrust { ca, crl };
    Some(if word == ClientAuth::Required {
        ClientVerification::Required(trust)
    } else {
        ClientVerification::Optional(trust)
    })
}
