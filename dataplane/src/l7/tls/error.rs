//! What can go wrong on a TLS connection, small enough to travel in every stream error.

use core::fmt;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a TLS connection failed. Carries blame ([`TlsError::is_local`]) and data, and is `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The peer closed the connection below TLS without `close_notify`, so data may be missing (RFC 8446 §6.1).
    Truncated,
    /// The peer closed the connection before the handshake was complete.
    HandshakeEof,
    /// The handshake was not complete in time.
    HandshakeTimeout,
    /// The peer sent this fatal alert (RFC 8446 §6.2).
    Alert(AlertDescription),
    /// The peer was asked for a certificate and sent none.
    NoCertificate,
    /// The peer's certificate was not accepted.
    Certificate(CertificateFault),
    /// No protocol version, cipher suite, group or signature scheme in common.
    Incompatible,
    /// No application protocol (ALPN) in common (RFC 7301 §3.2).
    NoApplicationProtocol,
    /// The peer does not speak TLS, broke the protocol, or its records do not authenticate.
    Misbehaved,
    /// The keys of a TLS 1.2 connection have made as many records as they safely can (RFC 9325 §4.4), and it has no way to
    /// get new ones.
    Exhausted,
    /// Not enough randomness, a broken key, or a mistake of ours.
    Internal,
}

/// What was wrong with a peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its validity has ended.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// No configured CA has signed it.
    UnknownIssuer,
    /// A revocation list names it.
    Revoked,
    /// No valid revocation list of its issuer is configured.
    RevocationUnknown,
    /// It is valid for other names.
    WrongName,
    /// It may not be used for this side of a connection (extended key usage).
    WrongPurpose,
    /// Its signature, or the handshake's signature by its key, is wrong.
    BadSignature,
    /// It cannot be parsed or uses something unsupported.
    Malformed,
}

impl TlsError {
    /// Whether the cause is on this side (configuration or a bug), not the peer or the path to it.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Self::Internal)
    }
}

impl From<CertificateFault> for TlsError {
    fn from(fault: CertificateFault) -> Self {
        Self::Certificate(fault)
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::Alert(*alert),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(fault) => Self::Certificate(fault.into()),
            Error::InvalidCertRevocationList(_) => Self::Certificate(CertificateFault::RevocationUnknown),
            Error::PeerIncompatible(_) => Self::Incompatible,
            // A listener has a certificate, so the client understands the signatures of none.
            Error::General(reason) if reason == NOT_RESOLVED => Self::Incompatible,
            Error::NoApplicationProtocol => Self::NoApplicationProtocol,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::Misbehaved,
            _ => Self::Internal,
        }
    }
}

/// What rustls says, in words only, when `names` had no certificate for a client.
const NOT_RESOLVED: &str = "no server certificate chain resolved";

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::Revoked => Self::Revoked,
            E::UnknownRevocationStatus | E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
                Self::RevocationUnknown
            }
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::WrongName,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            E::BadSignature => Self::BadSignature,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the peer closed the connection without close_notify",
            Self::HandshakeEof => "the peer closed the connection during the TLS handshake",
            Self::HandshakeTimeout => "the TLS handshake took too long",
            Self::Alert(alert) => return write!(f, "the peer sent the TLS alert {alert:?}"),
            Self::NoCertificate => "the peer sent no certificate",
            Self::Certificate(fault) => return write!(f, "the peer's certificate {fault}"),
            Self::Incompatible => "no TLS version, cipher suite or group in common",
            Self::NoApplicationProtocol => "no application protocol (ALPN) in common",
            Self::Misbehaved => "the peer broke the TLS protocol",
            Self::Exhausted => "the keys of this TLS 1.2 connection are used up",
            Self::Internal => "TLS failed on this side",
        })
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "has expired",
            Self::NotYetValid => "is not valid yet",
            Self::UnknownIssuer => "is not signed by a configured CA",
            Self::Revoked => "is revoked",
            Self::RevocationUnknown => "cannot be checked against a valid revocation list",
            Self::WrongName => "is for another name",
            Self::WrongPurpose => "is for another purpose",
            Self::BadSignature => "has a wrong signature",
            Self::Malformed => "is malformed",
        })
    }
}

impl core::error::Error for TlsError {}
