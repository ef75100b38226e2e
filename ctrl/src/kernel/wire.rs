//! The bytes of rtnetlink (`linux/netlink.h`, `linux/rtnetlink.h`): messages, each a header, a fixed part and attributes.
//!
//! Numbers are in the machine's byte order, every part is padded to four bytes. Only what this program says and reads is here.

/// Kinds of messages.
pub(super) mod kind {
    pub(in crate::kernel) const ERROR: u16 = 2;
    pub(in crate::kernel) const DONE: u16 = 3;
    pub(in crate::kernel) const NEW_LINK: u16 = 16;
    pub(in crate::kernel) const DELETE_LINK: u16 = 17;
    pub(in crate::kernel) const GET_LINK: u16 = 18;
    pub(in crate::kernel) const NEW_ADDRESS: u16 = 20;
    pub(in crate::kernel) const DELETE_ADDRESS: u16 = 21;
    pub(in crate::kernel) const GET_ADDRESS: u16 = 22;
    pub(in crate::kernel) const NEW_ROUTE: u16 = 24;
    pub(in crate::kernel) const DELETE_ROUTE: u16 = 25;
    pub(in crate::kernel) const GET_ROUTE: u16 = 26;
    pub(in crate::kernel) const NEW_OBJECT: u16 = 104;
    pub(in crate::kernel) const DELETE_OBJECT: u16 = 105;
    pub(in crate::kernel) const GET_OBJECT: u16 = 106;
}

/// Flags of a request.
pub(super) mod flag {
    pub(in crate::kernel) const REQUEST: u16 = 1;
    pub(in crate::kernel) const ACKNOWLEDGE: u16 = 4;
    pub(in crate::kernel) const REPLACE: u16 = 0x100;
    pub(in crate::kernel) const DUMP: u16 = 0x300;
    pub(in crate::kernel) const CREATE: u16 = 0x400;
}

/// Bytes of a message's header.
const HEADER: usize = 16;

/// A request being written.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self { bytes }
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = 4 + value.len() as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
        self
    }

    /// The finished message.
    pub(super) fn numbered(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// An attribute that consists of attributes.
pub(super) fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let all = attributes.iter().fold(Request { bytes: Vec::new() }, |all, (kind, value)| all.attribute(*kind, value));
    all.bytes
}

/// A message that was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// Number of the socket whose request this answers, or whose change this tells.
    pub(super) socket: u32,
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind a fixed part of `fixed` bytes.
    pub(super) fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(self.body.get(aligned(fixed)..).unwrap_or_default())
    }

    /// What an [`ERROR`](kind::ERROR) says: 0 is an acknowledgement.
    pub(super) fn errno(&self) -> i32 {
        number(self.body, 0).map_or(libc::EBADMSG, |code| -code.cast_signed())
    }
}

/// The messages of a datagram. What is cut off ends it.
#[derive(Debug)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (length, kind) = (number(self.0, 0)? as usize, short(self.0, 4)?);
        let (flags, sequence, socket) = (short(self.0, 6)?, number(self.0, 8)?, number(self.0, 12)?);
        let message = Message { kind, flags, sequence, socket, body: self.0.get(HEADER..length)? };
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(message)
    }
}

/// Attributes: kind and value.
#[derive(Clone, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

/// The upper bits of an attribute's kind are flags (nested, in network byte order).
const KIND: u16 = 0x3fff;

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(short(self.0, 0)?);
        let attribute = (short(self.0, 2)? & KIND, self.0.get(4..length)?);
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(attribute)
    }
}

/// The 32-bit number at `at`.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The 16-bit number at `at`.
pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let request = Request::new(kind::NEW_LINK, flag::ACKNOWLEDGE, &[7; 16]);
        let inner = nested(&[(8, &[1]), (9, b"four")]);
        let bytes = request.attribute(3, b"eth0\0").attribute(26 | 0x8000, &inner).numbered(5);
        let all: Vec<_> = Messages(&bytes).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].sequence), (kind::NEW_LINK, 5));
        let attributes: Vec<_> = all[0].attributes(16).collect();
        assert_eq!(attributes[0], (3, &b"eth0\0"[..]));
        assert_eq!(attributes[1].0, 26);
        assert_eq!(Attributes(attributes[1].1).collect::<Vec<_>>(), [(8, &[1][..]), (9, b"four")]);
    }

    proptest! {
        #[test]
        fn anything_is_read_to_its_end(bytes: Vec<u8>) {
            let total: usize = Messages(&bytes).map(|message| message.attributes(12).count()).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
