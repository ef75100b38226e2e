//! The far end of TLS connections: a certificate, and clients that are only needed until their connection is idle.

use std::{io::Read as _, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, client::Resumption, crypto::ring::default_provider,
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tidegate_dataplane::l7::tls::{ClientAuth, KeyPair, MinVersion, ServerSpec, ServerTls, TicketKeys, wall_clock};

use super::{gateway::Seat, tcp::Client};

/// The server's name.
pub(crate) const NAME: &str = "www.example.com";

/// A listener's TLS and a client configuration that trusts it. The certificate is P-256, signed by itself; tickets are on, as in
/// the product, clients do not use them.
pub(crate) fn pair() -> (ServerTls, Arc<ClientConfig>) {
    let (server, certificate) = pair_with_certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    roots.add(der).unwrap_or_else(|error| panic!("{error}"));
    let builder =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let builder = builder.unwrap_or_else(|error| panic!("{error}"));
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    (server, Arc::new(client))
}

/// The listener's TLS and its certificate, as PEM.
pub(crate) fn pair_with_certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> (ServerTls, String) {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap_or_else(|error| panic!("{error}"));
    let key_pem = key.serialize_pem();
    let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()])
        .and_then(|params| params.self_signed(&key))
        .unwrap_or_else(|error| panic!("{error}"))
        .pem();
    let spec = ServerSpec {
        certificates: vec![KeyPair { certificate: certificate.as_bytes(), key: key_pem.as_bytes() }],
        client_auth: ClientAuth::None,
        min_version: MinVersion::Tls12,
        alpn: vec![b"http/1.1"],
        tickets: TicketKeys::generate().ok().map(Arc::new),
        clock: wall_clock(),
    };
    let (server, _) = ServerTls::build(&spec).unwrap_or_else(|errors| panic!("{errors:?}"));
    (server, certificate)
}

/// A TLS client on a connection of the rig.
pub(crate) struct Secured {
    session: ClientConnection,
    number: usize,
}

impl Secured {
    /// Shakes hands on connection `number`.
    pub(crate) fn handshake(
        seat: &mut Seat,
        clients: &mut [Client],
        number: usize,
        config: &Arc<ClientConfig>,
    ) -> Self {
        let name = ServerName::try_from(NAME).unwrap_or_else(|error| panic!("{error}"));
        let session = ClientConnection::new(Arc::clone(config), name).unwrap_or_else(|error| panic!("{error}"));
        let mut secured = Self { session, number };
        while secured.session.is_handshaking() {
            secured.flush(seat, clients);
            let mut received = Vec::new();
            seat.settle(clients, |_, bytes| received.extend_from_slice(bytes));
            secured.take(&received);
        }
        secured
    }

    /// Sends what the handshake has left to say, and takes what the server says after it: a ticket.
    pub(crate) fn complete(&mut self, seat: &mut Seat, clients: &mut [Client]) {
        self.flush(seat, clients);
        let mut received = Vec::new();
        seat.settle(clients, |_, bytes| received.extend_from_slice(bytes));
        self.take(&received);
    }

    /// Whether a session was resumed.
    pub(crate) fn kind(&self) -> Option<HandshakeKind> {
        self.session.handshake_kind()
    }

    /// Encrypts and sends a request.
    pub(crate) fn ask(&mut self, seat: &mut Seat, clients: &mut [Client], request: &[u8]) {
        use std::io::Write as _;
        self.session.writer().write_all(request).unwrap_or_else(|error| panic!("{error}"));
        self.flush(seat, clients);
    }

    /// Takes in what came and returns how many bytes of content were in it.
    pub(crate) fn take(&mut self, mut received: &[u8]) -> usize {
        while !received.is_empty() {
            self.session.read_tls(&mut received).unwrap_or_else(|error| panic!("{error}"));
            self.session.process_new_packets().unwrap_or_else(|error| panic!("{error}"));
        }
        let (mut buffer, mut taken) = ([0; 4096], 0);
        while let Ok(n @ 1..) = self.session.reader().read(&mut buffer) {
            taken += n;
        }
        taken
    }

    fn flush(&mut self, seat: &mut Seat, clients: &mut [Client]) {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
        }
        if !bytes.is_empty() {
            seat.write(self.number, &mut clients[self.number], &bytes);
        }
    }
}
