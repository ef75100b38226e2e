//! Whether a TLS section as a whole is one that the data plane takes: it is built once here, as it will be for a reload.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tidegate_dataplane::l7::tls::{ConfigFault, Doubt, Part, TlsConfigError, TlsWarning};

use super::Checker;
use crate::compile::tls as build;
use crate::config::model;
use crate::config::raw::{ListenerTls, UpstreamTls};
use crate::diagnostic::{Code, Diagnostic, Span};

/// The time of the check.
#[derive(Debug)]
struct Now(u64);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(core::time::Duration::from_secs(self.0)))
    }
}

pub(super) fn listener(raw: &ListenerTls, tls: &model::ListenerTls, cx: &mut Checker<'_>) {
    let items = raw.certificates.ok();
    let place = |part: Part| match part {
        Part::Certificate(n) => {
            items.and_then(|items| items.get(n)).and_then(|item| item.certificate.ok()).map(|c| c.span)
        }
        Part::Key(n) => items.and_then(|items| items.get(n)).and_then(|item| item.key.ok()).map(|key| key.span),
        Part::Ca => raw.client_ca.span(),
        Part::Crl(n) => raw.client_crl.get(n).map(|crl| crl.span),
        Part::Alpn(n) => raw.alpn.get(n).map(|alpn| alpn.span),
        Part::Certificates | Part::ServerName | Part::Whole => None,
    };
    let clock = clock(cx);
    let found = build::server(tls, &cx.certs, None, clock).map(|built| built.map(|(_, warnings)| warnings));
    record(found, |part| place(part).or_else(|| items.map(|items| items.span)).unwrap_or(raw.head), cx);
}

pub(super) fn cluster(raw: &UpstreamTls, tls: &model::UpstreamTls, cx: &mut Checker<'_>) {
    let place = |part: Part| match part {
        Part::Certificate(_) => raw.certificate.span(),
        Part::Key(_) => raw.key.span(),
        Part::ServerName => raw.server_name.ok().map(|name| name.span),
        Part::Alpn(n) => raw.alpn.get(n).map(|alpn| alpn.span),
        Part::Ca | Part::Crl(_) | Part::Certificates | Part::Whole => raw.ca.ok().map(|ca| ca.span),
    };
    let clock = clock(cx);
    let found = build::client(tls, &cx.certs, clock).map(|built| built.map(|(_, warnings)| warnings));
    record(found, |part| place(part).unwrap_or(raw.head), cx);
}

fn clock(cx: &Checker<'_>) -> Arc<dyn TimeProvider> {
    Arc::new(Now(cx.surroundings.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())))
}

/// What the data plane found, unless the check has said something about that place already.
fn record(
    found: Option<Result<Vec<TlsWarning>, Vec<TlsConfigError>>>,
    place: impl Fn(Part) -> Span,
    cx: &mut Checker<'_>,
) {
    let Some(found) = found else { return };
    let mut new = Vec::new();
    match found {
        Ok(warnings) => {
            // Validity periods are already told in words.
            let rest = warnings.iter().filter(|w| !matches!(w.doubt, Doubt::Expired(_) | Doubt::NotYetValid(_)));
            new.extend(rest.map(|w| Diagnostic::warning(Code::Certificate, place(w.part), format!("the {w}"))));
        }
        Err(errors) => new.extend(errors.iter().map(|error| {
            let diagnostic = Diagnostic::error(Code::Certificate, place(error.part), format!("the {error}"));
            match error.fault {
                ConfigFault::CrlIssuerUnknown => {
                    diagnostic.help("a revocation list must be signed by an authority of the CA file")
                }
                _ => diagnostic,
            }
        })),
    }
    for diagnostic in new {
        if !cx.broken(diagnostic.span) {
            cx.push(diagnostic);
        }
    }
}
