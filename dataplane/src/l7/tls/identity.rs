//! Who the peer is: read once from the chain that the handshake has verified.

use core::fmt;
use std::rc::Rc;

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateFault, TlsError};

/// Proof that the peer holds the key of a certificate that a configured CA vouches for. Only a finished handshake makes
/// one; what demands it cannot be reached without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated(Rc<Identity>);

/// The peer's certificate, as far as decisions and logs need it.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    spiffe_id: Option<Box<str>>,
    dns_names: Box<[Box<str>]>,
    subject: Box<str>,
    serial: Box<str>,
    fingerprint: [u8; 32],
    not_after_s: i64,
}

impl Authenticated {
    /// Reads the end-entity certificate of a chain; the caller vouches that the handshake verified it.
    pub(super) fn from_verified(leaf: &CertificateDer<'_>) -> Result<Self, TlsError> {
        Identity::parse(leaf).map(|identity| Self(Rc::new(identity))).ok_or(CertificateFault::Malformed.into())
    }

    /// Who.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0
    }
}

impl Identity {
    fn parse(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
        Some(Self {
            spiffe_id: spiffe_id(&certificate).map(Box::from),
            dns_names: dns_names(&certificate).map(Box::from).collect(),
            subject: certificate.subject().to_string().into(),
            serial: certificate.raw_serial_as_string().into(),
            fingerprint,
            not_after_s: certificate.validity().not_after.timestamp(),
        })
    }

    /// The name that authorisation goes by: the SPIFFE ID, else the first DNS name. `None` for a certificate with neither;
    /// the subject is free text and names nobody.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.spiffe_id().or_else(|| self.dns_names().next())
    }

    /// `spiffe://trust-domain/path`, if the certificate is a valid X.509-SVID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&str> {
        self.spiffe_id.as_deref()
    }

    /// DNS names of the subject alternative name, as written.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.dns_names.iter().map(|name| &**name)
    }

    /// The subject's distinguished name, for logs.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The serial number in hexadecimal, bytes separated by colons.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// SHA-256 of the certificate (DER).
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// End of validity, Unix time in seconds.
    #[must_use]
    pub fn not_after_s(&self) -> i64 {
        self.not_after_s
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or(&self.subject))
    }
}

/// The DNS names of a certificate's subject alternative name.
pub(super) fn dns_names<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a str> {
    alternative_names(certificate).iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    })
}

/// The one URI of an X.509-SVID; a certificate with several is none (SPIFFE X.509-SVID §2).
fn spiffe_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let mut uris = alternative_names(certificate).iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let only = uris.next()?;
    (uris.next().is_none() && is_spiffe_id(only)).then_some(only)
}

fn alternative_names<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        _ => &[],
    }
}

/// SPIFFE-ID §2: `spiffe://`, a trust domain of lower-case letters, digits, `.`, `-`, `_`, and path segments of letters,
/// digits, `.`, `-`, `_` that are neither empty nor `.` nor `..`; at most 2048 bytes.
fn is_spiffe_id(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("spiffe://").filter(|_| uri.len() <= 2048) else { return false };
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    let mark = |byte: u8| matches!(byte, b'.' | b'-' | b'_');
    let domain_ok = (1..=255).contains(&domain.len())
        && domain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || mark(byte));
    let segment_ok = |segment: &str| {
        !matches!(segment, "" | "." | "..") && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
    };
    domain_ok && path.is_none_or(|path| path.split('/').all(segment_ok))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(uris: &[&str], dns: &[&str]) -> Identity {
        let mut params =
            CertificateParams::new(dns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).expect("names");
        params.subject_alt_names.extend(uris.iter().map(|&uri| SanType::URI(uri.try_into().expect("ASCII"))));
        params.distinguished_name.push(DnType::CommonName, "someone");
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x12, 0xab]));
        let certificate = params.self_signed(&KeyPair::generate().expect("key")).expect("signed");
        Identity::parse(certificate.der()).expect("parses")
    }

    #[test]
    fn the_name_is_the_spiffe_id_else_the_first_dns_name() {
        let both = certificate(&["spiffe://mesh.example/ns/a/sa/b"], &["b.example", "c.example"]);
        assert_eq!(both.name(), Some("spiffe://mesh.example/ns/a/sa/b"));
        assert_eq!(both.dns_names().collect::<Vec<_>>(), ["b.example", "c.example"]);
        assert_eq!((both.serial(), both.fingerprint().len()), ("12:ab", 32));
        assert!(both.subject().contains("CN=someone"), "{}", both.subject());
        assert_eq!(certificate(&[], &["b.example"]).name(), Some("b.example"));
        assert_eq!(certificate(&["https://elsewhere"], &["b.example"]).name(), Some("b.example"));
        let nameless = certificate(&[], &[]);
        assert_eq!(nameless.name(), None);
        assert_eq!(nameless.to_string(), nameless.subject());
    }

    #[test]
    fn two_uris_are_no_svid() {
        assert_eq!(certificate(&["spiffe://a/b", "spiffe://a/c"], &[]).spiffe_id(), None);
    }

    #[test]
    fn spiffe_ids_are_checked() {
        for good in ["spiffe://a", "spiffe://a.b-c_d/x", "spiffe://a/X/y.z/..."] {
            assert!(is_spiffe_id(good), "{good}");
        }
        let long = format!("spiffe://a/{}", "x".repeat(2048));
        for bad in [
            "spiffe://",
            "spiffe:///x",
            "spiffe://A/x",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/../b",
            "spiffe://a/x?y",
            "spiffe://a:1/x",
            "spiffe://u@a/x",
            "spiffe://a/%20",
            "SPIFFE://a/b",
            "http://a",
            &long,
        ] {
            assert!(!is_spiffe_id(bad), "{bad}");
        }
    }
}
