//! From a cluster's spec to a ready configuration.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::ServerName;

use super::pem::{CheckedTrust, Findings};
use super::provider::{alpn, provider, versions};
use super::spec::{ClientSpec, ConfigFault, Part, TlsConfigError, TlsWarning};

/// Sessions that a core remembers per cluster, for resumption.
const SESSIONS_PER_CORE: usize = 64;

/// TLS towards a cluster, shared by all cores; each takes its own [`Connector`].
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

/// TLS towards a cluster, of one core: it remembers sessions, and cores do not wait for each other's memory.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    /// Not for other threads.
    _core: core::marker::PhantomData<std::rc::Rc<()>>,
}

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
        let own = spec.identity.map(|pair| findings.key_pair(0, pair, &provider()).map(|(key, _)| key));
        let alpn = alpn(&spec.alpn, &mut findings);
        let verifier = trust.and_then(server_verifier);
        let builder = ClientConfig::builder_with_details(provider(), Arc::clone(&spec.clock))
            .with_protocol_versions(versions(spec.min_version));
        let (Ok(builder), Some(verifier), Some(server_name)) = (builder, verifier, server_name) else {
            return findings.finish(None);
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match own.flatten() {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn;
        config.resumption = Resumption::disabled(); // Each core brings its own store.
        findings.finish(Some(Self { config: Arc::new(config), server_name }))
    }

    /// The part of one core, with an empty memory of sessions. Take it once per core and generation of the tables: what a
    /// session was admitted under goes when the configuration changes.
    #[must_use]
    pub fn connector(&self) -> Connector {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_PER_CORE);
        Connector { config: Arc::new(config), server_name: self.server_name.clone(), _core: core::marker::PhantomData }
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
