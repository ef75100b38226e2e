//! TLS of a station, from files.

use core::fmt;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_dataplane::l7::tls::{
    ClientAuth, ClientSpec, ClientTls, KeyPair, MinVersion, ServerSpec, ServerTls, TicketKeys, TlsConfigError, Trust,
    wall_clock,
};

/// Spoken on every connection.
const ALPN: &[u8] = b"http/1.1";

/// Why there is no TLS.
#[derive(Debug)]
pub(crate) enum TlsFault {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// What the files say is not enough, or wrong.
    Content(Vec<TlsConfigError>),
    /// The system has no random numbers for the keys of tickets.
    Random,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Content(errors) => {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                write!(f, "TLS: {}", all.join("; "))
            }
            Self::Random => f.write_str("no random numbers for the keys of tickets"),
        }
    }
}

impl std::error::Error for TlsFault {}

/// Files of a certificate chain and its key, PEM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairFiles<'a> {
    /// The chain.
    pub(crate) certificate: &'a Path,
    /// The private key.
    pub(crate) key: &'a Path,
}

impl PairFiles<'_> {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), TlsFault> {
        Ok((read(self.certificate)?, read(self.key)?))
    }
}

/// TLS towards the server `name`, which `ca` vouches for.
///
/// # Errors
/// A file is missing or says something wrong.
pub(crate) fn client(name: &str, ca: &Path, pair: Option<PairFiles<'_>>) -> Result<ClientTls, TlsFault> {
    let (ca, pair) = (read(ca)?, pair.map(|pair| pair.read()).transpose()?);
    let spec = ClientSpec {
        server_name: name,
        trust: Trust { ca: &ca, crls: Vec::new() },
        identity: pair.as_ref().map(|(certificate, key)| KeyPair { certificate, key }),
        min_version: MinVersion::Tls12,
        alpn: vec![ALPN],
        clock: wall_clock(),
    };
    ClientTls::build(&spec).map(|(tls, _)| tls).map_err(TlsFault::Content)
}

/// TLS of a listener. With `client_ca` clients must have a certificate of it.
///
/// # Errors
/// A file is missing or says something wrong.
pub(crate) fn server(pair: PairFiles<'_>, client_ca: Option<&Path>) -> Result<ServerTls, TlsFault> {
    let ((certificate, key), ca) = (pair.read()?, client_ca.map(read).transpose()?);
    let spec = ServerSpec {
        certificates: vec![KeyPair { certificate: &certificate, key: &key }],
        client_auth: match &ca {
            Some(ca) => ClientAuth::Required(Trust { ca, crls: Vec::new() }),
            None => ClientAuth::None,
        },
        min_version: MinVersion::Tls12,
        alpn: vec![ALPN],
        tickets: Some(Arc::new(TicketKeys::generate().map_err(|_| TlsFault::Random)?)),
        clock: wall_clock(),
    };
    ServerTls::build(&spec).map(|(tls, _)| tls).map_err(TlsFault::Content)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    fs::read(path).map_err(|error| TlsFault::Read(path.to_owned(), error))
}
