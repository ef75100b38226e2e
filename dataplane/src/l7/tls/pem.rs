//! From PEM bytes to checked key pairs, CA bundles and revocation lists, collecting every mistake.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::spec::{ConfigFault, Doubt, KeyPair, Part, TlsConfigError, TlsWarning, Trust};

/// What was found wrong or doubtful so far.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) errors: Vec<TlsConfigError>,
    pub(super) warnings: Vec<TlsWarning>,
    now_s: i64,
}

/// A CA bundle with its revocation lists.
pub(super) struct CheckedTrust {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) crls: Vec<CertificateRevocationListDer<'static>>,
    pub(super) ca: Vec<CertificateDer<'static>>,
}

impl Findings {
    pub(super) fn new(now: Option<UnixTime>) -> Self {
        let now_s = now.and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or(0);
        Self { errors: Vec::new(), warnings: Vec::new(), now_s }
    }

    pub(super) fn error(&mut self, part: Part, fault: ConfigFault) {
        self.errors.push(TlsConfigError { part, fault });
    }

    fn warn(&mut self, part: Part, doubt: Doubt) {
        self.warnings.push(TlsWarning { part, doubt });
    }

    /// The result, or all errors.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<TlsWarning>), Vec<TlsConfigError>> {
        match value {
            Some(value) if self.errors.is_empty() => return Ok((value, self.warnings)),
            None if self.errors.is_empty() => self.error(Part::Whole, ConfigFault::Refused),
            _ => {}
        }
        Err(self.errors)
    }

    /// The `n`-th key pair, with the DNS names of its certificate in lower case.
    pub(super) fn key_pair(
        &mut self,
        n: usize,
        pair: KeyPair<'_>,
        provider: &CryptoProvider,
    ) -> Option<(CertifiedKey, Vec<String>)> {
        // Both files are looked at before giving up, so that both are reported.
        let chain = self.certificates(Part::Certificate(n), pair.certificate);
        let key = self.key(Part::Key(n), pair.key, provider);
        let (chain, key) = (chain?, key?);
        let names = self.leaf(Part::Certificate(n), &chain[0])?;
        let certified = CertifiedKey::new(chain, key);
        // A key that cannot tell its public part is accepted (`Unknown`); only a proven mismatch is an error.
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Some((certified, names))
            }
            Err(rustls::Error::InconsistentKeys(_)) => {
                self.error(Part::Key(n), ConfigFault::KeyMismatch);
                None
            }
            Err(_) => {
                self.error(Part::Certificate(n), ConfigFault::BadCertificate(0));
                None
            }
        }
    }

    /// A CA bundle and its lists.
    pub(super) fn trust(&mut self, trust: &Trust<'_>) -> Option<CheckedTrust> {
        let ca = self.certificates(Part::Ca, trust.ca)?;
        let mut roots = RootCertStore::empty();
        for (n, der) in ca.iter().enumerate() {
            if roots.add(der.clone()).is_err() {
                self.error(Part::Ca, ConfigFault::BadCertificate(n));
            }
        }
        let parsed: Vec<_> =
            ca.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, ca)| ca)).collect();
        parsed.iter().for_each(|ca| self.validity(Part::Ca, ca));
        let crls = trust.crls.iter().enumerate().flat_map(|(n, pem)| self.crls(Part::Crl(n), pem, &parsed)).collect();
        Some(CheckedTrust { roots: Arc::new(roots), crls, ca: ca.clone() })
    }

    fn certificates(&mut self, part: Part, pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        self.sections(part, pem, ConfigFault::NoCertificate)
    }

    /// All sections of one kind; `None`, reported, if there is none or the file is damaged.
    fn sections<T: PemObject>(&mut self, part: Part, pem: &[u8], none: ConfigFault) -> Option<Vec<T>> {
        match T::pem_slice_iter(pem).collect::<Result<Vec<T>, pem::Error>>() {
            Ok(sections) if !sections.is_empty() => return Some(sections),
            Ok(_) => self.error(part, none),
            Err(_) => self.error(part, ConfigFault::BadPem),
        }
        None
    }

    fn key(&mut self, part: Part, pem: &[u8], provider: &CryptoProvider) -> Option<Arc<dyn rustls::sign::SigningKey>> {
        let der = match PrivateKeyDer::from_pem_slice(pem) {
            Ok(der) => der,
            Err(error) => {
                let none = matches!(error, pem::Error::NoItemsFound);
                self.error(part, if none { ConfigFault::NoKey } else { ConfigFault::BadPem });
                return None;
            }
        };
        let key = provider.key_provider.load_private_key(der).ok();
        if key.is_none() {
            self.error(part, ConfigFault::UnsupportedKey);
        }
        key
    }

    /// The DNS names of an end-entity certificate.
    fn leaf(&mut self, part: Part, der: &CertificateDer<'_>) -> Option<Vec<String>> {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            self.error(part, ConfigFault::BadCertificate(0));
            return None;
        };
        self.validity(part, &certificate);
        Some(super::identity::dns_names(&certificate).map(str::to_ascii_lowercase).collect())
    }

    /// Warns about a certificate of ours that no name selects.
    pub(super) fn unnamed(&mut self, n: usize) {
        self.warn(Part::Certificate(n), Doubt::NoNames);
    }

    fn validity(&mut self, part: Part, certificate: &X509Certificate<'_>) {
        let validity = certificate.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if to < self.now_s {
            self.warn(part, Doubt::Expired(to));
        } else if from > self.now_s {
            self.warn(part, Doubt::NotYetValid(from));
        }
    }

    fn crls(
        &mut self,
        part: Part,
        pem: &[u8],
        ca: &[X509Certificate<'_>],
    ) -> Vec<CertificateRevocationListDer<'static>> {
        let lists: Vec<CertificateRevocationListDer<'static>> =
            self.sections(part, pem, ConfigFault::NoCrl).unwrap_or_default();
        for der in &lists {
            match CertificateRevocationList::from_der(der) {
                Ok((_, list)) => self.crl(part, &list, ca),
                Err(_) => self.error(part, ConfigFault::BadCrl),
            }
        }
        lists
    }

    fn crl(&mut self, part: Part, list: &CertificateRevocationList<'_>, ca: &[X509Certificate<'_>]) {
        let mut issuers = ca.iter().filter(|ca| ca.subject().as_raw() == list.issuer().as_raw()).peekable();
        if issuers.peek().is_none() {
            self.error(part, ConfigFault::CrlIssuerUnknown);
        } else if !issuers.any(|issuer| list.verify_signature(issuer.public_key()).is_ok()) {
            self.error(part, ConfigFault::CrlSignature);
        }
        if let Some(due) = list.next_update().map(|due| due.timestamp()).filter(|&due| due < self.now_s) {
            self.warn(part, Doubt::CrlExpired(due));
        }
    }
}
