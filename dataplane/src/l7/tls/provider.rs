//! The cryptography in use: what Mozilla's "intermediate" profile allows of what ring offers.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite as suite, kx_group};
use rustls::version::{TLS12, TLS13};

use super::pem::Findings;
use super::spec::{ConfigFault, MinVersion, Part};

/// ring with forward-secret AEAD suites only, AES-128 first since it is the cheapest that is strong enough.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..ring::default_provider()
    })
}

/// The versions from `oldest` on.
pub(super) fn versions(oldest: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
    match oldest {
        MinVersion::Tls12 => BOTH,
        MinVersion::Tls13 => NEW,
        #[cfg(test)]
        MinVersion::OnlyTls12 => {
            const OLD: &[&SupportedProtocolVersion] = &[&TLS12];
            OLD
        }
    }
}

/// ALPN names that fit their length byte (RFC 7301 §3.1).
pub(super) fn alpn(protocols: &[&[u8]], findings: &mut Findings) -> Vec<Vec<u8>> {
    for (n, protocol) in protocols.iter().enumerate() {
        if !(1..=255).contains(&protocol.len()) {
            findings.error(Part::Alpn(n), ConfigFault::BadAlpn);
        }
    }
    protocols.iter().map(|protocol| protocol.to_vec()).collect()
}
