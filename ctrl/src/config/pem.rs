//! Certificates, keys and revocation lists: from the bytes of a file to what rustls takes, with errors that say what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde::Serialize;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What the files of a configuration hold, by their resolved path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certs {
    /// The bytes, in PEM form.
    pub files: BTreeMap<PathBuf, Pem>,
    /// What each certificate file says, for `/certs` and the expiry metric.
    pub summaries: BTreeMap<PathBuf, Vec<Summary>>,
}

/// The content of a file. It may be a private key, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Arc<[u8]>);

impl Pem {
    /// Keeps `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// A certificate in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// DNS names, IP addresses and URIs.
    pub names: Vec<String>,
    /// First second of its validity, Unix time.
    pub not_before: i64,
    /// Last second of its validity, Unix time.
    pub not_after: i64,
}

impl Summary {
    /// Whether it is valid at `now`.
    pub fn validity(&self, now: SystemTime) -> Validity {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs().cast_signed();
        let seconds = |n: i64| Duration::from_secs(n.unsigned_abs());
        if now > self.not_after {
            Validity::ExpiredFor(seconds(now - self.not_after))
        } else if now < self.not_before {
            Validity::BeginsIn(seconds(self.not_before - now))
        } else {
            Validity::EndsIn(seconds(self.not_after - now))
        }
    }
}

/// Where a time lies in a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Over.
    ExpiredFor(Duration),
    /// Not yet begun.
    BeginsIn(Duration),
    /// Valid.
    EndsIn(Duration),
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum PemError {
    /// It has no section of the kind.
    Nothing {
        /// What was looked for.
        wanted: &'static str,
        /// What the file seems to be.
        seems: Option<&'static str>,
    },
    /// It is not PEM.
    Malformed(rustls_pki_types::pem::Error),
    /// A certificate in it is not one.
    Certificate {
        /// Its place in the file, from 1.
        index: usize,
    },
    /// A revocation list in it is not one.
    RevocationList {
        /// Its place in the file, from 1.
        index: usize,
    },
    /// The key's type or encoding is not supported.
    Key(rustls::Error),
    /// The key is encrypted.
    EncryptedKey,
    /// The key is not that of the certificate.
    Mismatch,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing { wanted, seems: None } => write!(f, "has no {wanted} in PEM form"),
            Self::Nothing { wanted, seems: Some(seems) } => write!(f, "has no {wanted}; it holds {seems}"),
            Self::Malformed(error) => write!(f, "is not PEM: {error:?}"),
            Self::Certificate { index } => write!(f, "holds a broken certificate (number {index})"),
            Self::RevocationList { index } => write!(f, "holds a broken revocation list (number {index})"),
            Self::Key(error) => write!(f, "holds a key that cannot be used: {error}"),
            Self::EncryptedKey => write!(f, "holds an encrypted key"),
            Self::Mismatch => write!(f, "is not the key of the certificate"),
        }
    }
}

impl std::error::Error for PemError {}

/// The certificates of a PEM file, each parsed once to be sure.
///
/// # Errors
/// Not PEM, no certificate in it, or a broken one.
pub fn certificates(bytes: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Vec<Summary>), PemError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(PemError::Malformed)?;
    if chain.is_empty() {
        return Err(nothing("certificate", bytes));
    }
    let summaries = chain
        .iter()
        .enumerate()
        .map(|(at, der)| summary(der).ok_or(PemError::Certificate { index: at + 1 }))
        .collect::<Result<_, _>>()?;
    Ok((chain, summaries))
}

/// The private key of a PEM file.
///
/// # Errors
/// Not PEM, no key in it, or one that cannot be used.
pub fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    if contains(bytes, "BEGIN ENCRYPTED PRIVATE KEY") || contains(bytes, "Proc-Type: 4,ENCRYPTED") {
        return Err(PemError::EncryptedKey);
    }
    match PrivateKeyDer::pem_slice_iter(bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(PemError::Malformed(error)),
        None => Err(nothing("private key", bytes)),
    }
}

/// Whether a chain and a key belong together.
///
/// # Errors
/// A key of an unsupported kind, or of another certificate.
pub fn fit(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<(), PemError> {
    let certified = CertifiedKey::new(chain, any_supported_type(key).map_err(PemError::Key)?);
    match certified.keys_match() {
        // `Unknown`: the key cannot tell its public half, which is no contradiction.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(_) => Err(PemError::Mismatch),
    }
}

/// Checks the revocation lists of a PEM file.
///
/// # Errors
/// Not PEM, no list in it, or a broken one.
pub fn revocation_lists(bytes: &[u8]) -> Result<(), PemError> {
    let lists: Vec<CertificateRevocationListDer<'static>> =
        CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(PemError::Malformed)?;
    if lists.is_empty() {
        return Err(nothing("revocation list", bytes));
    }
    for (at, list) in lists.iter().enumerate() {
        let parsed = x509_parser::revocation_list::CertificateRevocationList::from_der(list.as_ref());
        parsed.map_err(|_| PemError::RevocationList { index: at + 1 })?;
    }
    Ok(())
}

fn nothing(wanted: &'static str, bytes: &[u8]) -> PemError {
    let seems = if contains(bytes, "BEGIN CERTIFICATE REQUEST") {
        Some("a certificate request")
    } else if contains(bytes, "BEGIN CERTIFICATE") {
        Some("a certificate")
    } else if contains(bytes, "PRIVATE KEY") {
        Some("a private key")
    } else if contains(bytes, "BEGIN X509 CRL") {
        Some("a revocation list")
    } else if bytes.first() == Some(&0x30) {
        Some("DER: convert it with `openssl … -inform DER -outform PEM`")
    } else {
        None
    };
    PemError::Nothing { wanted, seems }
}

fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn summary(der: &CertificateDer<'_>) -> Option<Summary> {
    let (_, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    Some(Summary {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: certificate.raw_serial_as_string(),
        names,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::IPAddress(octets) => {
            let v4: Option<[u8; 4]> = (*octets).try_into().ok();
            let v6: Option<[u8; 16]> = (*octets).try_into().ok();
            v4.map(std::net::IpAddr::from).or(v6.map(std::net::IpAddr::from)).map(|ip| format!("IP:{ip}"))
        }
        _ => None,
    }
}
