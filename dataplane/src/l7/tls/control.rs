//! What a peer says besides data once the connection is established: alerts, tickets, key updates, wishes to renegotiate.

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription as Alert, ConnectionTrafficSecrets, Error};

use super::TlsError;
use super::record::Fault;

/// What rustls keeps of a TLS 1.3 connection: the secrets that the next keys come from, and where tickets go. TLS 1.2 has
/// neither after the handshake.
pub(super) enum Kernel {
    Server(Box<KernelConnection<ServerConnectionData>>),
    Client(Box<KernelConnection<ClientConnectionData>>),
    /// TLS 1.2, as server or client.
    Old {
        server: bool,
    },
}

/// The receiving half of what is not data.
pub(super) struct Control {
    kernel: Kernel,
    /// The beginning of a message whose end comes with the next record.
    begun: Vec<u8>,
    /// What a peer may still do of the things that cost it nothing.
    warnings: u8,
    renegotiations: u8,
    updates: u8,
    empty: u8,
}

/// What a handshake message asks for.
pub(super) enum Asked {
    Nothing,
    /// The peer's next records come with these keys; it may want new ones of this side.
    NewKeys {
        secrets: ConnectionTrafficSecrets,
        answer: bool,
    },
    /// To begin anew, which is refused (RFC 5246 §7.2.2, `no_renegotiation`).
    Renegotiation,
}

/// What an alert says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something that changes nothing.
    Warning,
    /// The peer will send no more.
    CloseNotify,
}

// As in BoringSSL and rustls: more than any honest peer needs.
const WARNINGS: u8 = 4;
const RENEGOTIATIONS: u8 = 1;
/// In a row, without data between them.
const UPDATES: u8 = 32;
/// Records that only go on with a message count as empty.
const EMPTY: u8 = 32;
/// Length of a message at most; a ticket takes the most.
const MESSAGE_LIMIT: usize = 0xffff;
/// Length of a client's offer to renegotiate at most: it is read only to be refused.
const HELLO_LIMIT: usize = 0x4000;

/// Bytes of a message's length.
const LENGTH: usize = 3;

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

impl Control {
    pub(super) fn new(kernel: Kernel) -> Self {
        let (begun, warnings, renegotiations, updates, empty) = (Vec::new(), WARNINGS, RENEGOTIATIONS, UPDATES, EMPTY);
        Self { kernel, begun, warnings, renegotiations, updates, empty }
    }

    /// The keys for what is sent after a key update.
    pub(super) fn next_sending_secrets(&mut self) -> Result<ConnectionTrafficSecrets, Fault> {
        let next = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_tx_secret(),
            Kernel::Client(kernel) => kernel.update_tx_secret(),
            Kernel::Old { .. } => return Err(Fault::internal()),
        };
        next.map(|(_, secrets)| secrets).map_err(|_| Fault::internal())
    }

    /// A record with `len` bytes of data arrived.
    pub(super) fn data(&mut self, len: usize) -> Result<(), Fault> {
        self.whole()?;
        if len > 0 {
            (self.updates, self.empty) = (UPDATES, EMPTY);
            return Ok(());
        }
        spend(&mut self.empty)
    }

    /// A record with an alert arrived (RFC 8446 §6, RFC 5246 §7.2).
    pub(super) fn alert(&mut self, payload: &[u8]) -> Result<Heard, Fault> {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        self.whole()?;
        let [level, description] = payload else { return Err(Fault::misbehaved(Alert::DecodeError)) };
        let received = TlsError::Alert(Alert::from(*description));
        match (*level, Alert::from(*description)) {
            (WARNING | FATAL, Alert::CloseNotify) => Ok(Heard::CloseNotify),
            (WARNING, Alert::UserCanceled) => spend(&mut self.warnings).map(|()| Heard::Warning),
            // TLS 1.3 knows no other warnings.
            (WARNING, _) if !self.is_old() => Err(Fault { error: received, alert: Some(Alert::DecodeError) }),
            (WARNING, _) => spend(&mut self.warnings).map(|()| Heard::Warning),
            (FATAL, _) => Err(Fault { error: received, alert: None }),
            _ => Err(Fault { error: received, alert: Some(Alert::IllegalParameter) }),
        }
    }

    /// A record with handshake messages, or parts of them, arrived.
    pub(super) fn handshake(&mut self, payload: &[u8]) -> Result<Asked, Fault> {
        if payload.is_empty() {
            return Err(Fault::misbehaved(Alert::UnexpectedMessage)); // RFC 8446 §5.1.
        }
        if self.begun.is_empty() {
            return self.messages(payload);
        }
        // Each piece costs a copy of all before it.
        spend(&mut self.empty)?;
        let mut joined = core::mem::take(&mut self.begun);
        joined.extend_from_slice(payload);
        self.messages(&joined)
    }

    fn messages(&mut self, mut bytes: &[u8]) -> Result<Asked, Fault> {
        while let [kind, rest @ ..] = bytes {
            self.expect(*kind)?;
            let Some((body, next)) = body_len(*kind, rest)?.and_then(|len| rest[LENGTH..].split_at_checked(len)) else {
                self.begun.extend_from_slice(bytes);
                break;
            };
            bytes = next;
            match self.message(*kind, body)? {
                Asked::Nothing => {}
                // No message may span a change of keys (RFC 8446 §5.1), and a renegotiation is one message.
                _ if !bytes.is_empty() => return Err(Fault::misbehaved(Alert::UnexpectedMessage)),
                asked => return Ok(asked),
            }
        }
        Ok(Asked::Nothing)
    }

    /// Refuses a message by its first byte, before any of it is kept.
    fn expect(&self, kind: u8) -> Result<(), Fault> {
        match (kind, &self.kernel) {
            (KEY_UPDATE, Kernel::Server(_) | Kernel::Client(_))
            | (NEW_SESSION_TICKET, Kernel::Client(_))
            | (HELLO_REQUEST, Kernel::Old { server: false })
            | (CLIENT_HELLO, Kernel::Old { server: true }) => Ok(()),
            _ => Err(Fault::misbehaved(Alert::UnexpectedMessage)),
        }
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Result<Asked, Fault> {
        match &mut self.kernel {
            Kernel::Old { .. } => spend(&mut self.renegotiations).map(|()| Asked::Renegotiation),
            Kernel::Client(kernel) if kind == NEW_SESSION_TICKET => {
                kernel.handle_new_session_ticket(body).map(|()| Asked::Nothing).map_err(|error| ticket_fault(&error))
            }
            Kernel::Client(kernel) => key_update(&mut self.updates, body, || kernel.update_rx_secret()),
            Kernel::Server(kernel) => key_update(&mut self.updates, body, || kernel.update_rx_secret()),
        }
    }

    /// Another kind of record may not come between the parts of a message (RFC 8446 §5.1).
    fn whole(&self) -> Result<(), Fault> {
        if self.begun.is_empty() { Ok(()) } else { Err(Fault::misbehaved(Alert::UnexpectedMessage)) }
    }

    fn is_old(&self) -> bool {
        matches!(self.kernel, Kernel::Old { .. })
    }
}

/// Length of the body of a message of a type; `None` while that is not there. One that is too long is refused before any of it is kept.
fn body_len(kind: u8, bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let [a, b, c, ..] = bytes else { return Ok(None) };
    let limit = match kind {
        HELLO_REQUEST => 0,
        KEY_UPDATE => 1,
        CLIENT_HELLO => HELLO_LIMIT,
        _ => MESSAGE_LIMIT,
    };
    match u32::from_be_bytes([0, *a, *b, *c]) as usize {
        len if len > limit => Err(Fault::misbehaved(Alert::DecodeError)),
        len => Ok(Some(len)),
    }
}

/// RFC 8446 §4.6.3.
fn key_update(
    updates: &mut u8,
    body: &[u8],
    next: impl FnOnce() -> Result<(u64, ConnectionTrafficSecrets), Error>,
) -> Result<Asked, Fault> {
    let answer = match body {
        [0] => false,
        [1] => true,
        [_] => return Err(Fault::misbehaved(Alert::IllegalParameter)),
        _ => return Err(Fault::misbehaved(Alert::DecodeError)),
    };
    spend(updates)?;
    let (_, secrets) = next().map_err(|_| Fault::internal())?;
    Ok(Asked::NewKeys { secrets, answer })
}

fn ticket_fault(error: &Error) -> Fault {
    let alert = match error {
        Error::InvalidMessage(_) => Alert::DecodeError,
        Error::PeerMisbehaved(_) => Alert::IllegalParameter,
        _ => return Fault::internal(),
    };
    Fault { error: TlsError::from(error), alert: Some(alert) }
}

/// What is free for a peer is bounded here.
fn spend(allowance: &mut u8) -> Result<(), Fault> {
    *allowance = allowance.checked_sub(1).ok_or(Fault::misbehaved(Alert::UnexpectedMessage))?;
    Ok(())
}
