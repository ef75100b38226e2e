//! The files a configuration refers to: there, readable, and fitting each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;

use super::Checker;
use crate::config::model::{CertifiedKey, ClientTrust};
use crate::config::pem::{self, PemError, Summary, Validity};
use crate::config::scalar::FilePath;
use crate::config::slot::At;
use crate::diagnostic::{Code, Diagnostic, Span};

/// A certificate that ends within this is worth a warning.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// A chain and its key.
pub(super) fn identity(certificate: &At<FilePath>, key: &At<FilePath>, cx: &mut Checker<'_>) -> CertifiedKey {
    let paths = CertifiedKey { certificate: cx.resolve(&certificate.0), key: cx.resolve(&key.0) };
    let chain = read(&paths.certificate, certificate.span, cx)
        .and_then(|bytes| accept(pem::certificates(&bytes), &paths.certificate, certificate.span, cx));
    let private = read(&paths.key, key.span, cx).and_then(|bytes| accept(pem::key(&bytes), &paths.key, key.span, cx));
    let Some((chain, summaries)) = chain else { return paths };
    dates(&summaries, &paths.certificate, certificate.span, cx);
    cx.certs.summaries.insert(paths.certificate.clone(), summaries);
    if let Some(private) = private
        && let Some(identity) = accept(pem::identity(chain, &private), &paths.key, key.span, cx)
    {
        cx.certs.identities.insert((paths.certificate.clone(), paths.key.clone()), Arc::new(identity));
    }
    paths
}

/// A bundle of authorities.
pub(super) fn authorities(file: &At<FilePath>, cx: &mut Checker<'_>) -> PathBuf {
    let path = cx.resolve(&file.0);
    let roots = read(&path, file.span, cx).and_then(|bytes| accept(pem::authorities(&bytes), &path, file.span, cx));
    if let Some((roots, summaries)) = roots {
        dates(&summaries, &path, file.span, cx);
        cx.certs.summaries.insert(path.clone(), summaries);
        cx.certs.authorities.insert(path.clone(), Arc::new(roots));
    }
    path
}

/// Revocation lists.
pub(super) fn revocation_lists(file: &At<FilePath>, cx: &mut Checker<'_>) -> PathBuf {
    let path = cx.resolve(&file.0);
    let lists =
        read(&path, file.span, cx).and_then(|bytes| accept(pem::revocation_lists(&bytes), &path, file.span, cx));
    if let Some(lists) = lists {
        cx.certs.crls.insert(path.clone(), Arc::new(lists));
    }
    path
}

/// Whether rustls accepts the authorities and lists together. Says nothing if one of them could not be read.
pub(super) fn buildable(trust: &ClientTrust, span: Span, cx: &mut Checker<'_>) {
    let Some(roots) = cx.certs.authorities.get(&trust.ca) else { return };
    let lists: Option<Vec<_>> = trust.crl.iter().map(|path| cx.certs.crls.get(path).cloned()).collect();
    let Some(lists) = lists else { return };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
        .with_crls(lists.iter().flat_map(|file| file.iter().cloned()));
    if let Err(error) = builder.build() {
        let message = format!("client certificates cannot be verified with these files: {error}");
        cx.push(Diagnostic::error(Code::Certificate, span, message));
    }
}

fn read(path: &Path, span: Span, cx: &mut Checker<'_>) -> Option<Vec<u8>> {
    let files = cx.surroundings.files?;
    match files.read(path) {
        Ok(bytes) => Some(bytes),
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
