//! TLS sections and the files they name, as the data plane builds them.

use std::path::Path;
use std::sync::Arc;

use rustls::time_provider::TimeProvider;
use tidegate_dataplane::l7::tls::{
    ClientAuth, ClientSpec, ClientTls, KeyPair, MinVersion, ServerSpec, ServerTls, TicketKeys, TlsConfigError,
    TlsWarning, Trust,
};

use crate::config::model::{Alpn, CertifiedKey, ClientTrust, ClientVerification, ListenerTls, TlsVersion, UpstreamTls};
use crate::config::pem::Certs;

/// What a build yields: a configuration with what is odd about it, or every mistake.
pub type Built<T> = Result<(T, Vec<TlsWarning>), Vec<TlsConfigError>>;

/// A listener's TLS; `None` if one of its files has not been read.
pub fn server(
    tls: &ListenerTls,
    certs: &Certs,
    tickets: Option<Arc<TicketKeys>>,
    clock: Arc<dyn TimeProvider>,
) -> Option<Built<ServerTls>> {
    let certificates = tls.certificates.iter().map(|pair| key_pair(pair, certs)).collect::<Option<_>>()?;
    let client_auth = match &tls.client_auth {
        ClientVerification::None => ClientAuth::None,
        ClientVerification::Optional(own) => ClientAuth::Optional(trust(own, certs)?),
        ClientVerification::Required(own) => ClientAuth::Required(trust(own, certs)?),
    };
    Some(ServerTls::build(&ServerSpec {
        certificates,
        client_auth,
        min_version: version(tls.min_version),
        alpn: alpn(&tls.alpn),
        tickets: tickets.filter(|_| tls.session_tickets),
        clock,
    }))
}

/// A cluster's TLS; `None` if one of its files has not been read.
pub fn client(tls: &UpstreamTls, certs: &Certs, clock: Arc<dyn TimeProvider>) -> Option<Built<ClientTls>> {
    let identity = match &tls.identity {
        Some(pair) => Some(key_pair(pair, certs)?),
        None => None,
    };
    Some(ClientTls::build(&ClientSpec {
        server_name: &tls.server_name,
        trust: Trust { ca: bytes(&tls.ca, certs)?, crls: Vec::new() },
        identity,
        min_version: version(tls.min_version),
        alpn: alpn(&tls.alpn),
        clock,
    }))
}

fn key_pair<'a>(pair: &CertifiedKey, certs: &'a Certs) -> Option<KeyPair<'a>> {
    Some(KeyPair { certificate: bytes(&pair.certificate, certs)?, key: bytes(&pair.key, certs)? })
}

fn trust<'a>(trust: &ClientTrust, certs: &'a Certs) -> Option<Trust<'a>> {
    let crls = trust.crl.iter().map(|path| bytes(path, certs)).collect::<Option<_>>()?;
    Some(Trust { ca: bytes(&trust.ca, certs)?, crls })
}

fn bytes<'a>(path: &Path, certs: &'a Certs) -> Option<&'a [u8]> {
    certs.files.get(path).map(|pem| pem.bytes())
}

fn version(version: TlsVersion) -> MinVersion {
    match version {
        TlsVersion::V12 => MinVersion::Tls12,
        TlsVersion::V13 => MinVersion::Tls13,
    }
}

fn alpn(protocols: &[Alpn]) -> Vec<&'static [u8]> {
    protocols.iter().map(|protocol| protocol.as_str().as_bytes()).collect()
}
