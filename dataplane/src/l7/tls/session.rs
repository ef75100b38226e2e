//! A TLS session without I/O: received records in, plaintext out; plaintext in, records out.
//!
//! This is the only place that touches rustls' record interface. It is the unbuffered one: an idle session then holds no
//! buffer at all (the buffered interface keeps 4 KiB), and every buffer is ours to bound and to release.

use core::mem::take;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ProtocolVersion, ServerConfig};
use rustls_pki_types::ServerName;

use super::{Queue, TlsError};

/// Largest plaintext of one record (RFC 8446 §5.1).
pub(super) const RECORD: usize = 1 << 14;
/// Received bytes taken in at once: a record of the largest size, with its header and the expansion TLS 1.2 allows.
const INTAKE: usize = 5 + RECORD + 2048;
/// Received bytes held at most: a handshake message may span records, rustls reassembles up to 64 KiB.
const INCOMING_LIMIT: usize = 0xffff + INTAKE;
/// More than header, explicit nonce, content type and tag of any suite.
const RECORD_OVERHEAD: usize = 64;
/// A record with the fatal alert `decode_error`, in plain text (RFC 8446 §6).
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

pub(super) struct Session {
    connection: Connection,
    /// Received records, decrypted in place.
    incoming: Vec<u8>,
    /// Decrypted and not yet consumed.
    plain: Vec<u8>,
    consumed: usize,
    /// Records to send.
    pub(super) outgoing: Queue,
    /// Something was queued before: the peer may by now expect encrypted records only.
    spoken: bool,
    peer_closed: bool,
}

/// Boxed: a stream is moved a few times while it is set up, and its two sides differ in size.
enum Connection {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What to do once the session can send.
enum Task<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Close,
}

/// Where one step has led.
enum Step {
    /// There may be more to do.
    Again,
    /// Nothing is left to do but the task, which was done if the session could.
    Rest,
    PeerClosed,
}

impl Session {
    pub(super) fn server(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config)).map_err(|error| TlsError::from(&error))?;
        Ok(Self::new(Connection::Server(Box::new(connection))))
    }

    pub(super) fn client(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let connection =
            UnbufferedClientConnection::new(Arc::clone(config), name).map_err(|error| TlsError::from(&error))?;
        Ok(Self::new(Connection::Client(Box::new(connection))))
    }

    fn new(connection: Connection) -> Self {
        let (incoming, plain) = (Vec::new(), Vec::new());
        Self { connection, incoming, plain, consumed: 0, outgoing: Queue::default(), spoken: false, peer_closed: false }
    }

    /// What has been agreed on.
    pub(super) fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(connection) => connection,
            Connection::Client(connection) => connection,
        }
    }

    /// Whether, with the handshake complete on this side, the peer needs nothing of what is queued to complete it as well.
    pub(super) fn owes_only_tickets(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
            && self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether the peer has said that it will send no more.
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    pub(super) fn plaintext(&self) -> &[u8] {
        &self.plain[self.consumed..]
    }

    pub(super) fn consume(&mut self, n: usize) {
        assert!(n <= self.plaintext().len(), "consumed more than was shown");
        self.consumed += n;
        if self.consumed == self.plain.len() {
            self.plain.clear();
            self.consumed = 0;
        }
    }

    /// Takes received bytes and tells how many; call `process` then.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(INTAKE);
        self.incoming.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Memory held by buffers.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.incoming.capacity() + self.plain.capacity() + self.outgoing.capacity()
    }

    /// Works through everything received. On an error the alert for the peer is in `outgoing`.
    pub(super) fn process(&mut self) -> Result<(), TlsError> {
        self.run(Task::Nothing)?;
        // What is left is less than a record and a handshake message, unless the peer never ends one.
        if self.incoming.len() > INCOMING_LIMIT {
            self.accuse(TlsError::Misbehaved);
            return Err(TlsError::Misbehaved);
        }
        Ok(())
    }

    /// Appends `plain` as records to `outgoing`.
    pub(super) fn encrypt(&mut self, plain: &[u8]) -> Result<(), TlsError> {
        self.run(Task::Encrypt(plain))
    }

    /// Appends `close_notify` to `outgoing` (RFC 8446 §6.1); nothing may be encrypted after it.
    pub(super) fn close(&mut self) -> Result<(), TlsError> {
        self.run(Task::Close)
    }

    /// Gives back the buffers that are empty; the next use allocates anew.
    pub(super) fn release(&mut self) {
        if self.incoming.is_empty() {
            take(&mut self.incoming);
        }
        if self.plain.is_empty() {
            take(&mut self.plain);
        }
        self.outgoing.release();
    }

    fn run(&mut self, mut task: Task<'_>) -> Result<(), TlsError> {
        loop {
            let (incoming, plain, outgoing) = (&mut self.incoming, &mut self.plain, &mut self.outgoing);
            let (discard, step) = match &mut self.connection {
                Connection::Server(c) => settle(c.process_tls_records(incoming), plain, outgoing, &mut task),
                Connection::Client(c) => settle(c.process_tls_records(incoming), plain, outgoing, &mut task),
            };
            self.incoming.drain(..discard);
            self.spoken |= !self.outgoing.is_empty();
            match step {
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => self.peer_closed = true,
                Ok(Step::Rest) => return Ok(()),
                Err(error) => {
                    self.collect_alert();
                    self.accuse(error);
                    return Err(error);
                }
            }
        }
    }

    /// Tells a peer that broke the protocol with its very first message so. rustls is silent when that message is too long
    /// to be believed, but RFC 8446 §6.2 asks for an alert; nothing is encrypted yet, so it can be made here.
    fn accuse(&mut self, error: TlsError) {
        if self.spoken || error != TlsError::Misbehaved || !self.outgoing.is_empty() {
            return;
        }
        self.spoken = true;
        let queued = self.outgoing.append(DECODE_ERROR.len(), |space| {
            space[..DECODE_ERROR.len()].copy_from_slice(&DECODE_ERROR);
            Ok(Ok(DECODE_ERROR.len()))
        });
        debug_assert_eq!(queued, Ok(()), "there is room for as much as was asked for");
    }

    /// Moves what rustls has queued, the alert at its end, to `outgoing`. Asked only while it says that there is something,
    /// since with nothing to send it would go on with the records that failed.
    fn collect_alert(&mut self) {
        while self.state().wants_write() {
            let (incoming, plain, outgoing) = (&mut self.incoming, &mut self.plain, &mut self.outgoing);
            let (discard, step) = match &mut self.connection {
                Connection::Server(c) => settle(c.process_tls_records(incoming), plain, outgoing, &mut Task::Nothing),
                Connection::Client(c) => settle(c.process_tls_records(incoming), plain, outgoing, &mut Task::Nothing),
            };
            self.incoming.drain(..discard);
            if step.is_err() {
                return;
            }
        }
    }
}

/// Handles one state of rustls' machine; gives the number of received bytes that are used up.
fn settle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    outgoing: &mut Queue,
    task: &mut Task<'_>,
) -> (usize, Result<Step, TlsError>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(TlsError::from(&error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut step = Ok(Step::Again);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => step = Err(TlsError::from(&error)),
                }
            }
            step
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let encoded = outgoing.append(RECORD_OVERHEAD, |space| match data.encode(space) {
                Ok(written) => Ok(Ok(written)),
                Err(EncodeError::InsufficientSize(size)) => Err(size.required_size),
                Err(EncodeError::AlreadyEncoded) => Ok(Err(TlsError::Internal)),
            });
            encoded.map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done(); // It is in `outgoing`, in order.
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let (plain, close) = match core::mem::replace(task, Task::Nothing) {
                Task::Nothing => return (discard, Ok(Step::Rest)),
                Task::Encrypt(plain) => (plain, false),
                Task::Close => (&[][..], true),
            };
            let room = plain.len() + (plain.len() / RECORD + 1) * RECORD_OVERHEAD;
            let sealed = outgoing.append(room, |space| {
                let written = if close { traffic.queue_close_notify(space) } else { traffic.encrypt(plain, space) };
                match written {
                    Ok(written) => Ok(Ok(written)),
                    Err(EncryptError::InsufficientSize(size)) => Err(size.required_size),
                    Err(EncryptError::EncryptExhausted) => Ok(Err(TlsError::Internal)),
                }
            });
            sealed.map(|()| Step::Rest)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        // Early data is never offered nor accepted, and the enum may grow: neither can be ignored safely.
        Ok(ConnectionState::ReadEarlyData(_)) => Err(TlsError::Internal),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Step::Rest),
        Ok(_) => Err(TlsError::Internal),
    };
    (discard, step)
}
