//! A small public-key infrastructure: CAs, certificates good and bad, revocation lists, a clock that tests set.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use super::super::{KeyPair, Trust};

/// 2030-01-01, well within the validity of what is made here unless said otherwise.
pub(super) const NOW_S: u64 = 1_893_456_000;

#[derive(Debug)]
pub(super) struct TestClock(AtomicU64);

impl TestClock {
    pub(super) fn set(&self, unix_s: u64) {
        self.0.store(unix_s, Ordering::Relaxed);
    }
}

impl TimeProvider for TestClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(core::time::Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

pub(super) fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(NOW_S)))
}

pub(super) struct Ca {
    issuer: Issuer<'static, rcgen::KeyPair>,
    pub(super) pem: Vec<u8>,
}

/// A certificate and its key, PEM.
pub(super) struct Pair {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Pair {
    pub(super) fn as_spec(&self) -> KeyPair<'_> {
        KeyPair { certificate: &self.certificate, key: &self.key }
    }
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().expect("key");
        let pem = params.self_signed(&key).expect("signed").pem().into_bytes();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(super) fn trust(&self) -> Trust<'_> {
        Trust { ca: &self.pem, crls: vec![] }
    }

    /// A certificate for DNS names.
    pub(super) fn dns(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        self.sign(&CertificateParams::new(names).expect("names"))
    }

    /// A certificate with a SPIFFE ID and a serial number.
    pub(super) fn spiffe(&self, id: &str, serial: u8) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(id.try_into().expect("ASCII")));
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        self.sign(&params)
    }

    /// A certificate whose validity ends at the start of `year`.
    pub(super) fn until(&self, names: &[&str], year: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = date_time_ymd(year, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem().into_bytes();
        Pair { certificate, key: key.serialize_pem().into_bytes() }
    }

    /// A revocation list, due for renewal at the start of `year`.
    pub(super) fn crl(&self, serials: &[u8], year: i32) -> Vec<u8> {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("signed").pem().expect("PEM").into_bytes()
    }
}
