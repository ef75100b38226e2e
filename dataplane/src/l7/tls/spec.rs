//! What a TLS configuration is made of, as plain values, and what can be wrong with it. No files: PEM comes as bytes.

use core::fmt;
use std::sync::Arc;

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use super::tickets::TicketKeys;

/// A certificate chain with its private key.
#[derive(Clone, Copy, Debug)]
pub struct KeyPair<'a> {
    /// PEM: the certificate of this host first, then the intermediates that lead to the CA.
    pub certificate: &'a [u8],
    /// PEM: PKCS #8, PKCS #1 or SEC 1. P-256 is the cheapest to sign with.
    pub key: &'a [u8],
}

/// Who vouches for the peer.
#[derive(Clone, Debug)]
pub struct Trust<'a> {
    /// PEM: one CA certificate or more.
    pub ca: &'a [u8],
    /// PEM: revocation lists, each issued by a CA of `ca`. With any list at all, every certificate of a chain must be
    /// covered by a list that is still valid, else the peer is refused.
    pub crls: Vec<&'a [u8]>,
}

/// Whether clients show a certificate.
#[derive(Clone, Debug)]
pub enum ClientAuth<'a> {
    /// They are not asked.
    None,
    /// They are asked; what they send must be valid, but they may send nothing.
    Optional(Trust<'a>),
    /// Without a valid one there is no connection.
    Required(Trust<'a>),
}

/// The oldest protocol version spoken; the newest is always TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246), with ECDHE and AEAD suites only.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
    /// A peer that knows nothing newer.
    #[cfg(test)]
    OnlyTls12,
}

/// Everything a listener needs for TLS.
#[derive(Clone, Debug)]
pub struct ServerSpec<'a> {
    /// Chosen by the client's SNI among the DNS names of each certificate; the first is the default.
    pub certificates: Vec<KeyPair<'a>>,
    /// Client certificates.
    pub client_auth: ClientAuth<'a>,
    /// Oldest version spoken.
    pub min_version: MinVersion,
    /// ALPN protocols, preferred first; empty: not negotiated. A client that offers only others is refused (RFC 7301).
    pub alpn: Vec<&'a [u8]>,
    /// Keys for session tickets; `None`: no resumption. Pass the same keys across reloads.
    pub tickets: Option<Arc<TicketKeys>>,
    /// Wall clock for validity periods.
    pub clock: Arc<dyn TimeProvider>,
}

/// Everything a cluster needs for TLS towards its endpoints.
#[derive(Clone, Debug)]
pub struct ClientSpec<'a> {
    /// DNS name or IP address that the endpoint's certificate must carry; a DNS name is also sent as SNI.
    pub server_name: &'a str,
    /// Who vouches for endpoints.
    pub trust: Trust<'a>,
    /// What this side shows when it is asked for a certificate.
    pub identity: Option<KeyPair<'a>>,
    /// Oldest version spoken.
    pub min_version: MinVersion,
    /// ALPN protocols, preferred first.
    pub alpn: Vec<&'a [u8]>,
    /// Wall clock for validity periods.
    pub clock: Arc<dyn TimeProvider>,
}

/// The system's wall clock, for the `clock` of a spec.
#[must_use]
pub fn wall_clock() -> Arc<dyn TimeProvider> {
    Arc::new(DefaultTimeProvider)
}

/// Which part of a spec is meant; numbers count from zero in the order of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The list of certificates.
    Certificates,
    /// The n-th certificate file.
    Certificate(usize),
    /// The n-th key file.
    Key(usize),
    /// The CA bundle.
    Ca,
    /// The n-th revocation list file.
    Crl(usize),
    /// The server name.
    ServerName,
    /// The n-th ALPN protocol.
    Alpn(usize),
    /// The combination of all.
    Whole,
}

/// A mistake in a spec: the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsConfigError {
    /// Where.
    pub part: Part,
    /// What.
    pub fault: ConfigFault,
}

/// What is wrong with a part of a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFault {
    /// The list is empty.
    Empty,
    /// Not PEM, or damaged.
    BadPem,
    /// PEM without a `CERTIFICATE` section.
    NoCertificate,
    /// PEM without a private key section.
    NoKey,
    /// A private key of a kind that is not supported (RSA of 2048 bits or more, P-256, P-384, Ed25519 are).
    UnsupportedKey,
    /// The private key belongs to another certificate.
    KeyMismatch,
    /// The n-th certificate of the file cannot be parsed or may not be used here.
    BadCertificate(usize),
    /// PEM without an `X509 CRL` section.
    NoCrl,
    /// A revocation list that cannot be parsed or uses something unsupported.
    BadCrl,
    /// No certificate of the CA bundle issued this revocation list.
    CrlIssuerUnknown,
    /// A CA of that name is in the bundle, but the list is not signed by its key.
    CrlSignature,
    /// Neither a DNS name nor an IP address.
    BadName,
    /// ALPN protocol names have 1 to 255 bytes.
    BadAlpn,
    /// The TLS library refuses the combination.
    Refused,
}

/// Something that works, but probably not as meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsWarning {
    /// Where.
    pub part: Part,
    /// What.
    pub doubt: Doubt,
}

/// Why a part of a spec will hardly do what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The certificate's validity ended at this Unix time; peers refuse it.
    Expired(i64),
    /// The certificate becomes valid at this Unix time.
    NotYetValid(i64),
    /// The certificate has no DNS name, so that no SNI selects it.
    NoNames,
    /// The revocation list should have been renewed by this Unix time; peers are refused until it is.
    CrlExpired(i64),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates => f.write_str("list of certificates"),
            Self::Certificate(n) => write!(f, "certificate {}", n + 1),
            Self::Key(n) => write!(f, "key {}", n + 1),
            Self::Ca => f.write_str("CA bundle"),
            Self::Crl(n) => write!(f, "revocation list {}", n + 1),
            Self::ServerName => f.write_str("server name"),
            Self::Alpn(n) => write!(f, "ALPN protocol {}", n + 1),
            Self::Whole => f.write_str("TLS configuration"),
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::BadPem => "is not valid PEM",
            Self::NoCertificate => "contains no certificate",
            Self::NoKey => "contains no private key",
            Self::UnsupportedKey => {
                "is of an unsupported kind (use P-256, P-384, Ed25519, or RSA of at least 2048 bits)"
            }
            Self::KeyMismatch => "does not belong to its certificate",
            Self::BadCertificate(n) => {
                return write!(f, "contains a malformed or unusable certificate (number {})", n + 1);
            }
            Self::NoCrl => "contains no revocation list",
            Self::BadCrl => "is malformed or of an unsupported kind",
            Self::CrlIssuerUnknown => "was not issued by any certificate of the CA bundle",
            Self::CrlSignature => "is not signed by the CA whose name it bears",
            Self::BadName => "is neither a DNS name nor an IP address",
            Self::BadAlpn => "must have 1 to 255 bytes",
            Self::Refused => "is refused by the TLS library",
        })
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part, self.fault)
    }
}

impl core::error::Error for TlsConfigError {}

impl fmt::Display for TlsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.part)?;
        match self.doubt {
            Doubt::Expired(at) => write!(f, "expired at Unix time {at}"),
            Doubt::NotYetValid(at) => write!(f, "is not valid before Unix time {at}"),
            Doubt::NoNames => f.write_str("has no DNS name, so no client can ask for it"),
            Doubt::CrlExpired(at) => write!(f, "was due for renewal at Unix time {at}; peers are refused"),
        }
    }
}
