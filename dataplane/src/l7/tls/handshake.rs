//! A TLS handshake without I/O: rustls does it, one received record at a time, and hands over the keys at its end.
//!
//! rustls sees no record of the time after the handshake: those are for [`Traffic`]. What it needs of memory is gone by then.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, ServerName};

use super::control::Kernel;
use super::record::{Opener, Sealer};
use super::traffic::{Parts, Traffic};
use super::window::{BUFFER, Buffers, Window};
use super::{ServerTls, TlsError};

/// Bytes in front of every record.
const HEADER: usize = 5;
/// Received bytes held at most: a handshake message may span records, rustls reassembles up to 64 KiB.
const INCOMING_LIMIT: usize = 0xffff + BUFFER;
/// Space for a first flight; rustls says when it needs more.
const FLIGHT: usize = 4 << 10;
/// A record with the fatal alert `decode_error`, in plain text (RFC 8446 §6).
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

pub(super) struct Handshake {
    connection: Connection,
    /// Received records.
    incoming: Window,
    /// Bytes of them that rustls works on: whole records.
    whole: usize,
    outgoing: Window,
    /// Something was queued before: the peer may by now expect encrypted records only.
    spoken: bool,
    done: bool,
    buffers: Buffers,
}

/// Boxed: a handshake is moved a few times, and its two sides differ in size.
enum Connection {
    /// And whether it asks for a certificate.
    Server(Box<UnbufferedServerConnection>, bool),
    Client(Box<UnbufferedClientConnection>),
}

/// What was agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) alpn: Option<Box<[u8]>>,
    pub(super) resumed: bool,
}

/// Where one step has led.
enum Step {
    /// There may be more to do.
    Again,
    /// rustls has nothing to do with what it was shown.
    Rest,
    /// The peer closed the connection in order, before it was open.
    Closed,
}

impl Handshake {
    pub(super) fn server(tls: &ServerTls, buffers: &Buffers) -> Result<Self, TlsError> {
        let connection =
            UnbufferedServerConnection::new(Arc::clone(tls.config())).map_err(|error| TlsError::from(&error))?;
        Ok(Self::new(Connection::Server(Box::new(connection), tls.is_mutual()), buffers))
    }

    pub(super) fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Buffers,
    ) -> Result<Self, TlsError> {
        let connection =
            UnbufferedClientConnection::new(Arc::clone(config), name).map_err(|error| TlsError::from(&error))?;
        Ok(Self::new(Connection::Client(Box::new(connection)), buffers))
    }

    fn new(connection: Connection, buffers: &Buffers) -> Self {
        let (incoming, outgoing, buffers) = (Window::default(), Window::default(), buffers.clone());
        Self { connection, incoming, whole: 0, outgoing, spoken: false, done: false, buffers }
    }

    fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(connection, _) => connection,
            Connection::Client(connection) => connection,
        }
    }

    /// Whether this side has done its part.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether what comes next takes long: a key is made, agreed on, or something is signed or verified with one.
    pub(super) fn is_costly(&self) -> bool {
        let (received, whole) = (self.incoming.filled(), needed(self.incoming.filled(), 0));
        let record = whole > HEADER && whole <= received.len();
        match &self.connection {
            Connection::Client(_) => record || !self.spoken,
            // In TLS 1.3 a client without a certificate ends the handshake with nothing but a hash.
            Connection::Server(connection, mutual) => {
                record && !(self.spoken && !mutual && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3))
            }
        }
    }

    /// Whether, with the handshake complete on this side, the peer needs nothing of what is queued to complete it as well.
    pub(super) fn owes_only_tickets(&self) -> bool {
        matches!(self.connection, Connection::Server(..))
            && self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// The certificate that the peer has proved to hold the key of.
    pub(super) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.state().peer_certificates().and_then(|chain| chain.first())
    }

    /// Where to put what is received next.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let missing = needed(self.incoming.filled(), self.whole).saturating_sub(self.incoming.len());
        self.incoming.space(missing.max(1), &self.buffers)
    }

    /// That many bytes were put there.
    pub(super) fn received(&mut self, n: usize) {
        self.incoming.fill(n);
    }

    /// Records that wait to be sent.
    pub(super) fn pending(&self) -> &[u8] {
        self.outgoing.filled()
    }

    /// That many bytes of them are sent.
    pub(super) fn sent(&mut self, n: usize) {
        self.outgoing.advance(n);
    }

    /// Works through what was received, up to the end of the handshake. On an error the alert for the peer is queued.
    pub(super) fn process(&mut self) -> Result<(), TlsError> {
        while !self.done {
            match self.step(self.whole)? {
                Step::Again => {}
                Step::Rest if !self.state().is_handshaking() => self.done = true,
                Step::Rest => match needed(self.incoming.filled(), self.whole) {
                    // What is left is less than a record and a handshake message, unless the peer never ends one.
                    end if end > INCOMING_LIMIT => return Err(self.blame(TlsError::Misbehaved)),
                    // Of a record that is not complete, rustls judges the header: what is not TLS is not waited for.
                    end if end > self.incoming.len() => return self.step(self.incoming.len()).map(drop),
                    end => self.whole = end,
                },
                Step::Closed => return Err(TlsError::HandshakeEof),
            }
        }
        // No handshake message may follow the last in its record, or span a change of keys (RFC 8446 §5.1).
        if self.whole > 0 { Err(self.blame(TlsError::Misbehaved)) } else { Ok(()) }
    }

    /// Shows the first `shown` bytes to rustls. If they are wrong, what the peer is told is queued.
    fn step(&mut self, shown: usize) -> Result<Step, TlsError> {
        self.try_step(shown).inspect_err(|error| {
            self.collect_alert();
            self.blame(*error);
        })
    }

    fn try_step(&mut self, shown: usize) -> Result<Step, TlsError> {
        let (seen, outgoing) = (&mut self.incoming.filled_mut()[..shown], &mut self.outgoing);
        let (discard, step) = match &mut self.connection {
            Connection::Server(c, _) => settle(c.process_tls_records(seen), outgoing, &self.buffers),
            Connection::Client(c) => settle(c.process_tls_records(seen), outgoing, &self.buffers),
        };
        self.incoming.advance(discard);
        self.whole = self.whole.saturating_sub(discard);
        self.spoken |= !self.outgoing.is_empty();
        step
    }

    /// Tells a peer that broke the protocol with its very first message so. rustls is silent when that message is too long
    /// to be believed, but RFC 8446 §6.2 asks for an alert; nothing is encrypted yet, so it can be made here.
    fn blame(&mut self, error: TlsError) -> TlsError {
        if !self.spoken && error == TlsError::Misbehaved && self.outgoing.is_empty() {
            self.spoken = true;
            self.outgoing.space(DECODE_ERROR.len(), &self.buffers)[..DECODE_ERROR.len()].copy_from_slice(&DECODE_ERROR);
            self.outgoing.fill(DECODE_ERROR.len());
        }
        error
    }

    /// Moves what rustls has queued, the alert at its end, to `outgoing`. Asked only while it says that there is something,
    /// since with nothing to send it would go on with the records that failed.
    fn collect_alert(&mut self) {
        while self.state().wants_write() && self.try_step(self.whole).is_ok() {}
    }

    /// The established connection.
    ///
    /// # Errors
    /// If the handshake is not done, or rustls does not know the suite's keys.
    pub(super) fn finish(self) -> Result<(Traffic, Agreed), TlsError> {
        let state = self.state();
        let agreed = Agreed {
            alpn: state.alpn_protocol().map(Box::from),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        let limit = match state.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls13(suite)) => suite.common.confidentiality_limit,
            Some(SupportedCipherSuite::Tls12(suite)) => suite.common.confidentiality_limit,
            None => return Err(TlsError::Internal),
        };
        let tls13 = state.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let failed = |error| TlsError::from(&error);
        let (secrets, kernel) = match self.connection {
            Connection::Server(connection, _) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(failed)?;
                (secrets, if tls13 { Kernel::Server(Box::new(kernel)) } else { Kernel::Old { server: true } })
            }
            Connection::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(failed)?;
                (secrets, if tls13 { Kernel::Client(Box::new(kernel)) } else { Kernel::Old { server: false } })
            }
        };
        let ((sent, sending), (received, receiving)) = (secrets.tx, secrets.rx);
        let parts = Parts {
            opener: Opener::new(&receiving, received, tls13)?,
            sealer: Sealer::new(&sending, sent, tls13, limit)?,
            kernel,
            incoming: self.incoming,
            outgoing: self.outgoing,
            limit,
            buffers: self.buffers,
        };
        Ok((Traffic::new(parts), agreed))
    }
}

/// The end of the record that begins at `start`, or of its header if that is not complete.
fn needed(received: &[u8], start: usize) -> usize {
    match &received[start..] {
        [_, _, _, high, low, ..] => start + HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        _ => start + HEADER,
    }
}

/// Handles one state of rustls' machine; gives the number of received bytes that are used up.
fn settle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Window,
    buffers: &Buffers,
) -> (usize, Result<Step, TlsError>) {
    let step = match status.state {
        Err(error) => Err(TlsError::from(&error)),
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let mut encoded = data.encode(outgoing.space(FLIGHT, buffers));
            if let Err(EncodeError::InsufficientSize(size)) = encoded {
                encoded = data.encode(outgoing.space(size.required_size, buffers));
            }
            encoded.map(|written| outgoing.fill(written)).map(|()| Step::Again).map_err(|_| TlsError::Internal)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done(); // It is in `outgoing`, in order.
            Ok(Step::Again)
        }
        // A server may write before the client's last flight, but nobody does.
        Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => Ok(Step::Rest),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Closed),
        // Early data is never offered nor accepted, other data is not shown to rustls, and the enum may grow.
        Ok(_) => Err(TlsError::Internal),
    };
    (status.discard, step)
}
