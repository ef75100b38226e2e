//! From a listener's spec to a ready configuration.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::names::Names;
use super::pem::{CheckedTrust, Findings};
use super::provider::{provider, versions};
use super::spec::{ClientAuth, ConfigFault, Part, ServerSpec, TlsConfigError, TlsWarning};
use super::tickets::{Policy, PolicyTickets};

/// TLS of a listener, shared by all cores.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// Clients may, or must, show a certificate.
    mutual: bool,
}

impl ServerTls {
    /// Checks a spec and builds the configuration.
    ///
    /// # Errors
    /// All mistakes of the spec, in its order.
    pub fn build(spec: &ServerSpec<'_>) -> Result<(Self, Vec<TlsWarning>), Vec<TlsConfigError>> {
        let provider = provider();
        let mut findings = Findings::new(spec.clock.current_time());
        let names = certificates(spec, &mut findings);
        let trust = match &spec.client_auth {
            ClientAuth::None => None,
            ClientAuth::Optional(trust) | ClientAuth::Required(trust) => findings.trust(trust),
        };
        let alpn = super::provider::alpn(&spec.alpn, &mut findings);
        let verifier = client_verifier(&spec.client_auth, trust.as_ref());
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&spec.clock))
            .with_protocol_versions(versions(spec.min_version));
        let (Ok(builder), Some(verifier)) = (builder, verifier) else {
            return findings.finish(None);
        };
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(names));
        config.alpn_protocols = alpn;
        config.enable_secret_extraction = true; // Records are sealed and opened by `traffic`.
        config.ignore_client_order = true; // All suites are strong; ours come in the order of their cost.
        config.max_early_data_size = 0; // 0-RTT requests can be replayed (RFC 8446 §8).
        config.send_tls13_tickets = 1; // A proxy's clients reuse connections; more tickets are bytes nobody reads.
        config.session_storage = Arc::new(NoServerSessionStorage {}); // State per session is memory a stranger decides on.
        if let Some(keys) = &spec.tickets {
            let policy = policy(&spec.client_auth, trust.as_ref());
            config.ticketer = Arc::new(PolicyTickets { keys: Arc::clone(keys), policy });
        } else {
            config.send_tls13_tickets = 0;
        }
        let mutual = !matches!(spec.client_auth, ClientAuth::None);
        findings.finish(Some(Self { config: Arc::new(config), mutual }))
    }

    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    pub(super) fn is_mutual(&self) -> bool {
        self.mutual
    }
}

fn certificates(spec: &ServerSpec<'_>, findings: &mut Findings) -> Names {
    let mut all = Names::default();
    if spec.certificates.is_empty() {
        findings.error(Part::Certificates, ConfigFault::Empty);
    }
    for (n, pair) in spec.certificates.iter().enumerate() {
        let Some((key, names)) = findings.key_pair(n, *pair, &provider()) else { continue };
        if names.is_empty() && n > 0 {
            findings.unnamed(n); // The first is the default, so it is of use without a name.
        }
        all.add(&names, &Arc::new(key));
    }
    all
}

fn client_verifier(auth: &ClientAuth<'_>, trust: Option<&CheckedTrust>) -> Option<Arc<dyn ClientCertVerifier>> {
    if let ClientAuth::None = auth {
        return Some(WebPkiClientVerifier::no_client_auth());
    }
    let trust = trust?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), provider());
    if !trust.crls.is_empty() {
        builder = builder.with_crls(trust.crls.iter().cloned()).enforce_revocation_expiration();
    }
    if let ClientAuth::Optional(_) = auth {
        builder = builder.allow_unauthenticated();
    }
    builder.build().ok() // An empty store or a bad list, which has been reported.
}

/// What a ticket is bound to: who had to vouch for the client when its session began.
fn policy(auth: &ClientAuth<'_>, trust: Option<&CheckedTrust>) -> Policy {
    let mut digest = Context::new(&SHA256);
    digest.update(match auth {
        ClientAuth::None => b"none",
        ClientAuth::Optional(_) => b"optional",
        ClientAuth::Required(_) => b"required",
    });
    let mut field = |kind: u8, der: &[u8]| {
        digest.update(&[kind]);
        digest.update(&(der.len() as u64).to_be_bytes());
        digest.update(der);
    };
    if let Some(trust) = trust {
        trust.ca.iter().for_each(|der| field(1, der));
        trust.crls.iter().for_each(|der| field(2, der));
    }
    let mut policy = [0; 32];
    policy.copy_from_slice(digest.finish().as_ref());
    policy
}
