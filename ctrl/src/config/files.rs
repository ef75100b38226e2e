//! What a checked configuration refers to outside of itself: files, and the destinations that are its own.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::model::{ClientVerification, Config, Interface, ListenerTls, UpstreamTls};

impl Interface {
    /// The destinations that are the interface's own, each as a prefix of one address.
    pub fn owned(&self) -> Vec<IpNet> {
        self.addresses.iter().map(|address| IpNet::from(address.0.addr())).collect()
    }
}

impl ListenerTls {
    /// The files it names.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let trust = match &self.client_auth {
            ClientVerification::None => None,
            ClientVerification::Optional(trust) | ClientVerification::Required(trust) => Some(trust),
        };
        let trust = trust.into_iter().flat_map(|trust| std::iter::once(&trust.ca).chain(&trust.crl));
        self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]).chain(trust).map(PathBuf::as_path)
    }
}

impl UpstreamTls {
    /// The files it names.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let identity = self.identity.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        std::iter::once(&self.ca).chain(identity).map(PathBuf::as_path)
    }
}

impl Config {
    /// Every file it refers to.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(ListenerTls::paths);
        let clusters = self.clusters.iter().filter_map(|cluster| cluster.tls.as_ref()).flat_map(UpstreamTls::paths);
        listeners.chain(clusters)
    }
}
