//! An established TLS connection without I/O: received records in, plaintext out; plaintext in, records out.
//!
//! Records are opened where they were received and sealed where they are gathered. A connection at rest has its keys and no
//! buffer.

use core::ops::Range;

use rustls::AlertDescription as Alert;

use super::TlsError;
use super::control::{Asked, Control, Heard, Kernel};
use super::record::{FRAGMENT, Fault, OVERHEAD, Opener, Sealer, content};
use super::window::{BUFFER, Buffers, Window};

/// Records that a connection begins with after a rest, so that a reader need not wait for sixteen kilobytes to come through a
/// congestion window that starts with ten segments (RFC 6928).
const SMALL: usize = 4 << 10;
/// Bytes sent in such records.
const SMALL_FIRST: usize = 16 << 10;

pub(super) struct Traffic {
    opener: Opener,
    sealer: Sealer,
    control: Control,
    /// Received records; the first may be open.
    incoming: Window,
    /// What is left of the plaintext of the record that is open, in `incoming`, and the bytes up to that record's end.
    plain: Range<usize>,
    open: usize,
    /// Records to send. Behind them lies the content of the next one.
    outgoing: Window,
    gathered: usize,
    /// Bytes sent since the last rest.
    sent: usize,
    limit: u64,
    peer_closed: bool,
    /// This side has sent `close_notify`: it says nothing more, whatever it is asked.
    closed: bool,
    /// An answer to a key update is among what waits; another would say no more (RFC 8446 §4.6.3).
    update_waits: bool,
    buffers: Buffers,
}

/// What a handshake leaves.
pub(super) struct Parts {
    pub(super) opener: Opener,
    pub(super) sealer: Sealer,
    pub(super) kernel: Kernel,
    /// What was received and is not part of the handshake.
    pub(super) incoming: Window,
    /// What waits to be sent.
    pub(super) outgoing: Window,
    /// Records that one key may make.
    pub(super) limit: u64,
    pub(super) buffers: Buffers,
}

impl Traffic {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { opener, sealer, kernel, incoming, outgoing, limit, buffers } = parts;
        Self {
            opener,
            sealer,
            control: Control::new(kernel),
            incoming,
            plain: 0..0,
            open: 0,
            outgoing,
            gathered: 0,
            sent: 0,
            limit,
            peer_closed: false,
            closed: false,
            update_waits: false,
            buffers,
        }
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.sealer.is_tls13()
    }

    /// Whether the peer has said that it will send no more.
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Received and not consumed.
    pub(super) fn plaintext(&self) -> &[u8] {
        if self.open == 0 { &[] } else { &self.incoming.filled()[self.plain.clone()] }
    }

    pub(super) fn consume(&mut self, n: usize) {
        assert!(n <= self.plain.len(), "consumed more than was shown");
        self.plain.start += n;
        if self.plain.is_empty() && self.open > 0 {
            self.incoming.advance(self.open);
            (self.plain, self.open) = (0..0, 0);
        }
    }

    /// Where to put what is received next: at least up to the end of the record that has begun.
    pub(super) fn space(&mut self) -> Result<&mut [u8], Fault> {
        let missing = self.opener.needed(self.incoming.filled())?.saturating_sub(self.incoming.len());
        Ok(self.incoming.space(missing.max(1), &self.buffers))
    }

    /// That many bytes were put there.
    pub(super) fn received(&mut self, n: usize) {
        self.incoming.fill(n);
    }

    /// Opens records until there is plaintext or the peer's end: true. False if more must be received.
    pub(super) fn process(&mut self) -> Result<bool, Fault> {
        while self.open == 0 && !self.peer_closed {
            let needed = self.opener.needed(self.incoming.filled())?;
            if self.incoming.len() < needed {
                return Ok(false);
            }
            self.open_record(needed)?;
        }
        Ok(true)
    }

    fn open_record(&mut self, len: usize) -> Result<(), Fault> {
        let (kind, at) = self.opener.open(&mut self.incoming.filled_mut()[..len])?;
        match kind {
            content::DATA => {
                self.control.data(at.len())?;
                if !at.is_empty() {
                    (self.plain, self.open) = (at, len);
                    return Ok(());
                }
            }
            content::ALERT => match self.control.alert(&self.incoming.filled()[at])? {
                Heard::Warning => {}
                Heard::CloseNotify => {
                    // What comes after it is ignored (RFC 8446 §6.1).
                    self.peer_closed = true;
                    self.incoming.advance(self.incoming.len());
                    return Ok(());
                }
            },
            content::HANDSHAKE => match self.control.handshake(&self.incoming.filled()[at])? {
                Asked::Nothing => {}
                Asked::NewKeys { secrets, answer } => {
                    self.opener = Opener::new(&secrets, 0, true).map_err(|_| Fault::internal())?;
                    if answer && !self.update_waits && !self.closed {
                        self.update_sending_keys()?;
                        self.update_waits = true;
                    }
                }
                Asked::Renegotiation if self.closed => {}
                Asked::Renegotiation => self.say(content::ALERT, &[1, Alert::NoRenegotiation.into()])?,
            },
            _ => return Err(Fault::misbehaved(Alert::UnexpectedMessage)),
        }
        self.incoming.advance(len);
        Ok(())
    }

    /// Whether a whole record fits behind what waits to be sent.
    pub(super) fn has_room(&self) -> bool {
        self.gathered > 0 || self.outgoing.len() + FRAGMENT + OVERHEAD <= BUFFER
    }

    /// Takes from the front of `data` what goes into the record that is being gathered; `has_room` has said yes.
    pub(super) fn gather(&mut self, data: &[&[u8]]) -> Result<usize, Fault> {
        let prefix = self.sealer.prefix();
        if self.gathered == 0 {
            if self.sealer.is_worn() {
                self.update_sending_keys()?;
            }
            self.outgoing.space(FRAGMENT + OVERHEAD, &self.buffers);
        }
        let most = self.record_limit();
        let space = &mut self.outgoing.behind()[prefix..];
        let mut taken = 0;
        for part in data {
            let n = part.len().min(most - self.gathered);
            space[self.gathered..self.gathered + n].copy_from_slice(&part[..n]);
            self.gathered += n;
            taken += n;
        }
        Ok(taken)
    }

    fn record_limit(&self) -> usize {
        if self.sent < SMALL_FIRST { SMALL } else { FRAGMENT }
    }

    pub(super) fn record_is_full(&self) -> bool {
        self.gathered >= self.record_limit()
    }

    /// Makes a record of what was gathered.
    pub(super) fn seal(&mut self) -> Result<(), Fault> {
        if self.gathered == 0 {
            return Ok(());
        }
        let len = core::mem::take(&mut self.gathered);
        self.sent = self.sent.saturating_add(len);
        let total = self.sealer.seal(content::DATA, self.outgoing.behind(), len)?;
        self.outgoing.fill(total);
        Ok(())
    }

    /// Whether this side has sent `close_notify`.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends `close_notify` (RFC 8446 §6.1), once; nothing may be gathered after it.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        if self.closed {
            return Ok(());
        }
        self.say(content::ALERT, &[1, Alert::CloseNotify.into()])?;
        self.closed = true;
        Ok(())
    }

    /// Appends what the peer is told at the end of a connection that has failed.
    pub(super) fn accuse(&mut self, alert: Alert) {
        const FATAL: u8 = 2;
        if self.closed {
            return;
        }
        let level = if alert == Alert::CloseNotify { 1 } else { FATAL };
        // Without a key that may still be used there is nothing to say it with.
        let _ = self.say(content::ALERT, &[level, alert.into()]);
    }

    /// New keys for what is sent (RFC 8446 §4.6.3).
    fn update_sending_keys(&mut self) -> Result<(), Fault> {
        const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
        if !self.is_tls13() {
            return Err(Fault { error: TlsError::Exhausted, alert: Some(Alert::CloseNotify) });
        }
        self.change_keys(&KEY_UPDATE)
    }

    /// `message` is the last thing that is said with the old keys.
    fn change_keys(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.say(content::HANDSHAKE, message)?;
        let secrets = self.control.next_sending_secrets()?;
        self.sealer = Sealer::new(&secrets, 0, true, self.limit).map_err(|_| Fault::internal())?;
        Ok(())
    }

    /// Appends a record behind everything gathered.
    pub(super) fn say(&mut self, content: u8, message: &[u8]) -> Result<(), Fault> {
        self.seal()?;
        let prefix = self.sealer.prefix();
        let space = self.outgoing.space(message.len() + OVERHEAD, &self.buffers);
        space[prefix..prefix + message.len()].copy_from_slice(message);
        let total = self.sealer.seal(content, space, message.len())?;
        self.outgoing.fill(total);
        Ok(())
    }

    /// Records that wait to be sent.
    pub(super) fn pending(&self) -> &[u8] {
        self.outgoing.filled()
    }

    /// That many bytes of them are sent.
    pub(super) fn sent(&mut self, n: usize) {
        self.outgoing.advance(n);
        self.update_waits &= !self.outgoing.is_empty();
    }

    /// Gives back the buffers that nothing is in.
    pub(super) fn release(&mut self) {
        self.incoming.release(&self.buffers);
        if self.gathered == 0 && self.outgoing.is_empty() {
            self.outgoing.release(&self.buffers);
            self.sent = 0;
        }
    }

    /// Lets the key in use make only `records` more, and later ones that many.
    #[cfg(test)]
    pub(super) fn limit_keys(&mut self, records: u64) {
        self.limit = self.sealer.limit_to(records);
    }

    /// Says `message`, a key update or the end of one, and does it.
    #[cfg(test)]
    pub(super) fn update_keys(&mut self, message: &[u8]) {
        self.change_keys(message).unwrap_or_else(|fault| panic!("{fault:?}"));
    }

    /// Records made with the key in use.
    #[cfg(test)]
    pub(super) fn sent_records(&self) -> u64 {
        self.sealer.made()
    }

    /// Memory held by buffers.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity()
    }
}
