//! From a cluster's spec to a ready configuration, and what a core keeps for each.

use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ring::digest::{Context, SHA256};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::ServerName;

use super::pem::{CheckedTrust, Findings};
use super::provider::{alpn, provider, versions};
use super::spec::{ClientSpec, ConfigFault, Part, TlsConfigError, TlsWarning};

/// Sessions that a core remembers per cluster, for resumption.
const SESSIONS_PER_CORE: usize = 64;

/// TLS towards a cluster, shared by all cores; each makes its own [`Connector`] of it. Two are equal if they were built from
/// the same certificates, names and versions: connections of one are then as good as connections of the other.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<Built>);

#[derive(Debug)]
struct Built {
    config: ClientConfig,
    server_name: ServerName<'static>,
    /// Hash of everything that a connection's security rests on.
    fingerprint: [u8; 32],
}

/// TLS towards a cluster, of one core: it remembers sessions, and cores do not wait for each other's memory.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    /// Not for other threads.
    _core: core::marker::PhantomData<Rc<()>>,
}

/// The connectors of one core, by what they were made from, so that sessions outlive a reload that changes nothing.
#[derive(Debug, Default)]
pub struct Connectors(HashMap<[u8; 32], Connector, RandomState>);

impl ClientTls {
    /// Checks a spec and builds the configuration.
    ///
    /// # Errors
    /// All mistakes of the spec, in its order.
    pub fn build(spec: &ClientSpec<'_>) -> Result<(Self, Vec<TlsWarning>), Vec<TlsConfigError>> {
        let mut findings = Findings::new(spec.clock.current_time());
        let server_name = ServerName::try_from(spec.server_name).map(|name| name.to_owned()).ok();
        if server_name.is_none() {
            findings.error(Part::ServerName, ConfigFault::BadName);
        }
        let trust = findings.trust(&spec.trust);
        let own = spec.identity.and_then(|pair| findings.key_pair(0, pair, &provider())).map(|(key, _)| key);
        let alpn = alpn(&spec.alpn, &mut findings);
        let fingerprint = fingerprint(spec, trust.as_ref(), own.as_ref());
        let verifier = trust.and_then(server_verifier);
        let builder = ClientConfig::builder_with_details(provider(), Arc::clone(&spec.clock))
            .with_protocol_versions(versions(spec.min_version));
        let (Ok(builder), Some(verifier), Some(server_name)) = (builder, verifier, server_name) else {
            return findings.finish(None);
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match own {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn;
        config.enable_secret_extraction = true; // Records are sealed and opened by `traffic`.
        config.resumption = Resumption::disabled(); // Each core brings its own store.
        findings.finish(Some(Self(Arc::new(Built { config, server_name, fingerprint }))))
    }

    /// The part of one core, with an empty memory of sessions.
    #[must_use]
    pub fn connector(&self) -> Connector {
        let mut config = self.0.config.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_CORE);
        let server_name = self.0.server_name.clone();
        Connector { config: Arc::new(config), server_name, _core: core::marker::PhantomData }
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.0.fingerprint == other.0.fingerprint
    }
}

impl Eq for ClientTls {}

impl Connectors {
    /// This core's connector for `tls`, made when it is first asked for.
    pub fn of(&mut self, tls: &ClientTls) -> Connector {
        self.0.entry(tls.0.fingerprint).or_insert_with(|| tls.connector()).clone()
    }

    /// Forgets all connectors but those for `current`; call it when the tables change.
    pub fn retain<'a>(&mut self, current: impl IntoIterator<Item = &'a ClientTls>) {
        let mut old = core::mem::take(&mut self.0);
        self.0 = current.into_iter().filter_map(|tls| old.remove_entry(&tls.0.fingerprint)).collect();
    }
}

impl Connector {
    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }
}

fn server_verifier(trust: CheckedTrust) -> Option<Arc<dyn ServerCertVerifier>> {
    let mut builder = WebPkiServerVerifier::builder_with_provider(trust.roots, provider());
    if !trust.crls.is_empty() {
        builder = builder.with_crls(trust.crls).enforce_revocation_expiration();
    }
    // It fails for an empty store or a bad list, which has been reported.
    builder.build().ok().map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
}

fn fingerprint(spec: &ClientSpec<'_>, trust: Option<&CheckedTrust>, own: Option<&CertifiedKey>) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    let mut field = |kind: u8, bytes: &[u8]| {
        digest.update(&[kind]);
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    field(0, spec.server_name.as_bytes());
    field(1, &[spec.min_version as u8]);
    spec.alpn.iter().for_each(|protocol| field(2, protocol));
    if let Some(trust) = trust {
        trust.ca.iter().for_each(|der| field(3, der));
        trust.crls.iter().for_each(|der| field(4, der));
    }
    if let Some(own) = own {
        own.cert.iter().for_each(|der| field(5, der));
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.finish().as_ref());
    fingerprint
}
