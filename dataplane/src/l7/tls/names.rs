//! Which certificate a client gets: by the name it asks for (SNI, RFC 6066 §3) and the signatures it understands.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smallvec::SmallVec;

/// Certificates in the order of preference; usually one, two if there is an ECDSA and an RSA one for a name.
type Choices = SmallVec<[Arc<CertifiedKey>; 1]>;

/// Certificates by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Choices, RandomState>,
    /// `*.example.com` under `example.com`.
    wildcard: HashMap<Box<str>, Choices, RandomState>,
    /// For clients that send no name or one we do not know: all, the first first.
    default: Choices,
}

impl Names {
    /// Adds a certificate under its (lower-case) DNS names. The first added is the default.
    pub(super) fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>) {
        for name in names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.into()).or_default().push(Arc::clone(key));
        }
        self.default.push(Arc::clone(key));
    }

    /// Exact name, else the wildcard of its parent (RFC 6125 §6.4.3: one label only), else the default.
    fn choices(&self, name: Option<&str>) -> &Choices {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let by_parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(name).or_else(by_parent).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choices = self.choices(hello.server_name());
        // With none understood, rustls ends the handshake with an alert; given one all the same it would, in TLS 1.2, end it
        // in silence.
        choices.iter().find(|choice| choice.key.choose_scheme(hello.signature_schemes()).is_some()).cloned()
    }
}
