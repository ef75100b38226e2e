//! The files a configuration refers to: there, readable, and fitting each other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::Checker;
use crate::config::model::CertifiedKey;
use crate::config::pem::{self, Pem, PemError, Summary, Validity};
use crate::config::scalar::FilePath;
use crate::config::slot::At;
use crate::diagnostic::{Code, Diagnostic, Span};

/// A certificate that ends within this is worth a warning.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// A chain and its key.
pub(super) fn identity(certificate: &At<FilePath>, key: &At<FilePath>, cx: &mut Checker<'_>) -> CertifiedKey {
    let paths = CertifiedKey { certificate: cx.resolve(&certificate.0), key: cx.resolve(&key.0) };
    let chain = chain(&paths.certificate, certificate.span, cx);
    let private =
        read(&paths.key, key.span, cx).and_then(|pem| accept(pem::key(pem.bytes()), &paths.key, key.span, cx));
    if let (Some(chain), Some(private)) = (chain, private) {
        accept(pem::fit(chain, &private), &paths.key, key.span, cx);
    }
    paths
}

/// A bundle of authorities.
pub(super) fn authorities(file: &At<FilePath>, cx: &mut Checker<'_>) -> PathBuf {
    let path = cx.resolve(&file.0);
    chain(&path, file.span, cx);
    path
}

/// Revocation lists.
pub(super) fn revocation_lists(file: &At<FilePath>, cx: &mut Checker<'_>) -> PathBuf {
    let path = cx.resolve(&file.0);
    if let Some(pem) = read(&path, file.span, cx) {
        accept(pem::revocation_lists(pem.bytes()), &path, file.span, cx);
    }
    path
}

fn chain(path: &Path, span: Span, cx: &mut Checker<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let pem = read(path, span, cx)?;
    let (chain, summaries) = accept(pem::certificates(pem.bytes()), path, span, cx)?;
    dates(&summaries, path, span, cx);
    cx.certs.summaries.insert(path.to_owned(), summaries);
    Some(chain)
}

fn read(path: &Path, span: Span, cx: &mut Checker<'_>) -> Option<Pem> {
    let files = cx.surroundings.files?;
    match files.read(path) {
        Ok(bytes) => {
            let pem = Pem::new(bytes);
            cx.certs.files.insert(path.to_owned(), pem.clone());
            Some(pem)
        }
        Err(error) => {
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
                _ => format!("cannot read {}: {error}", path.display()),
            };
            let relative = path.is_relative() || path.starts_with(cx.surroundings.directory);
            let failed = Diagnostic::error(Code::File, span, message);
            let missing = error.kind() == std::io::ErrorKind::NotFound && relative;
            cx.push(if missing {
                failed.help("relative paths start at the directory of the configuration file")
            } else {
                failed
            });
            None
        }
    }
}

fn accept<T>(parsed: Result<T, PemError>, path: &Path, span: Span, cx: &mut Checker<'_>) -> Option<T> {
    let error = match parsed {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let rejected = Diagnostic::error(Code::Certificate, span, format!("{} {error}", path.display()));
    cx.push(match error {
        PemError::EncryptedKey => {
            rejected.help("decrypt it: `openssl pkey -in KEY -out PLAIN`; only its owner should read it")
        }
        PemError::Mismatch => rejected
            .help("certificate and key were probably renewed at different times, or swapped with another pair's"),
        PemError::Key(_) => {
            rejected.help("RSA (2048 bits or more), ECDSA P-256 and P-384, and Ed25519 keys are supported")
        }
        _ => rejected,
    });
    None
}

fn dates(summaries: &[Summary], path: &Path, span: Span, cx: &mut Checker<'_>) {
    let days = |span: Duration| span.as_secs() / 86_400;
    for certificate in summaries {
        let text = match certificate.validity(cx.surroundings.now) {
            Validity::ExpiredFor(past) => format!("expired {} days ago", days(past)),
            Validity::BeginsIn(ahead) => format!("is not valid for another {} s", ahead.as_secs()),
            Validity::EndsIn(rest) if rest < SOON => format!("expires in {} days", days(rest)),
            Validity::EndsIn(_) => continue,
        };
        let message = format!("the certificate of `{}` in {} {text}", certificate.subject, path.display());
        cx.push(Diagnostic::warning(Code::Certificate, span, message));
    }
}
