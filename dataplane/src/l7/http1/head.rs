//! What request and response heads have in common: finding their end strictly, cutting them into fields by offset, and
//! reading `Connection`.
//!
//! A head is kept once, as the bytes that arrived; everything known about it is a [`Span`] into those bytes, so that parsing
//! allocates nothing per field.

use core::mem::MaybeUninit;

use super::field::{FieldName, classify};
use crate::l7::reason::Reason;

/// Most field lines that any configuration may allow; the tokeniser's table for them lies on the stack.
pub const MAX_FIELDS: usize = 128;

/// A part of a head, as offsets into its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The offsets of `part` inside `whole`; `part` must be a sub-slice of it.
    pub(super) fn of(whole: &[u8], part: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(part.is_empty() || start + part.len() <= whole.len());
        Span { start: start as u32, end: (start + part.len()) as u32 }
    }

    /// The bytes this span stands for.
    pub fn of_head(self, head: &[u8]) -> &[u8] {
        &head[self.start as usize..self.end as usize]
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What the name means to a gateway.
    pub kind: FieldName,
    /// The name as sent.
    pub name: Span,
    /// The value without surrounding white space.
    pub value: Span,
}

/// Bounds on what one message may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from the first byte of the start line to the empty line.
    pub head_bytes: usize,
    /// Field lines of a head; at most [`MAX_FIELDS`].
    pub fields: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Bytes of a trailer section.
    pub trailer_bytes: usize,
    /// Bytes of request content; `u64::MAX` for no limit.
    pub body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 32 << 10,
            fields: 100,
            target_bytes: 8 << 10,
            trailer_bytes: 8 << 10,
            body_bytes: u64::MAX,
        }
    }
}

/// Looks for the end of a head as bytes arrive. Each byte is looked at once, however the peer splits them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scanner {
    scanned: usize,
    line_start: usize,
    started: bool,
    past_start_line: bool,
}

impl Scanner {
    /// `buf` is everything received of this message so far. Returns the length of the head with its empty line, once all of it is there.
    ///
    /// Every line must end in CRLF and CR may stand nowhere else (RFC 9112 §2.2 lets a recipient accept a bare LF; peers that
    /// disagree about it are how requests get smuggled). Empty lines before the start line are skipped, as §2.2 asks.
    ///
    /// # Errors
    /// [`Reason::BareLineEnding`] as soon as one is seen; [`Reason::MalformedHead`] when the first byte cannot begin a message.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, Reason> {
        if let Some(first) = buf.get(self.line_start)
            && !self.started
            && *first != b'\r'
        {
            if !first.is_ascii_graphic() {
                return Err(if *first == b'\n' { Reason::BareLineEnding } else { Reason::MalformedHead });
            }
            self.started = true;
        }
        while let Some(at) = memchr::memchr2(b'\r', b'\n', &buf[self.scanned..]) {
            let at = self.scanned + at;
            if buf[at] == b'\n' {
                return Err(Reason::BareLineEnding);
            }
            match buf.get(at + 1) {
                None => {
                    self.scanned = at;
                    return Ok(None);
                }
                Some(b'\n') => {}
                Some(_) => return Err(Reason::BareLineEnding),
            }
            let empty = at == self.line_start;
            self.scanned = at + 2;
            self.line_start = at + 2;
            if !empty {
                self.past_start_line = true;
            } else if self.started {
                return Ok(Some(at + 2));
            } else if self.line_start > MAX_LEADING {
                return Err(Reason::MalformedHead);
            } else {
                return self.scan(buf);
            }
        }
        self.scanned = buf.len();
        Ok(None)
    }

    /// Whether the start line is complete: decides between 414 and 431 when a head does not fit.
    pub fn past_start_line(&self) -> bool {
        self.past_start_line
    }
}

/// Bytes of empty lines tolerated before a start line.
const MAX_LEADING: usize = 8;

/// The table httparse writes its fields to. Uninitialised: clearing 4 KiB for each head would cost more than the parse.
pub(super) type Table<'b> = [MaybeUninit<httparse::Header<'b>>; MAX_FIELDS];

/// A fresh table.
pub(super) const fn table<'b>() -> Table<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Turns httparse's slices into offsets and tells the names apart.
pub(super) fn collect(head: &[u8], parsed: &[httparse::Header<'_>], fields: &mut Vec<Field>) -> Result<(), Reason> {
    fields.clear();
    for header in parsed {
        if header.name.is_empty() {
            return Err(Reason::MalformedHead);
        }
        let name = header.name.as_bytes();
        fields.push(Field { kind: classify(name), name: Span::of(head, name), value: Span::of(head, header.value) });
    }
    Ok(())
}

/// What the `Connection` fields of a message ask for (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`: only means something to HTTP/1.0.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// Some option names another field, which then must not be forwarded.
    pub names_fields: bool,
}

impl ConnectionOptions {
    pub(super) fn read(&mut self, value: &[u8]) {
        for option in list(value) {
            match option {
                _ if option.eq_ignore_ascii_case(b"close") => self.close = true,
                _ if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                _ => self.names_fields = true,
            }
        }
    }
}

/// The non-empty members of a comma-separated field value, without white space around them (RFC 9110 §5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|member| !member.is_empty())
}

/// `value` without leading and trailing SP and HTAB.
pub fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(start, |at| at + 1);
    &value[start..end]
}

/// The fields that a message's `Connection` fields name, as an iterator over their names.
pub fn named_by_connection<'h>(head: &'h [u8], fields: &'h [Field]) -> impl Iterator<Item = &'h [u8]> {
    fields.iter().filter(|field| field.kind == FieldName::Connection).flat_map(|field| list(field.value.of_head(head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(buf: &[u8]) -> Result<Option<usize>, Reason> {
        Scanner::default().scan(buf)
    }

    #[test]
    fn ends_only_at_an_empty_crlf_line() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"), Ok(Some(27)));
        assert_eq!(scan(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Ok(Some(22)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(None));
        assert_eq!(scan(b"GET / HTTP/1.1\nHost: a\n\n"), Err(Reason::BareLineEnding));
        assert_eq!(scan(b"GET / HTTP/1.1\rHost: a\r\r"), Err(Reason::BareLineEnding));
        assert_eq!(scan(b"\n"), Err(Reason::BareLineEnding));
        assert_eq!(scan(b"\x16\x03\x01"), Err(Reason::MalformedHead));
        assert_eq!(scan(b" GET"), Err(Reason::MalformedHead));
        assert_eq!(scan(&b"\r\n".repeat(6)), Err(Reason::MalformedHead));
    }

    #[test]
    fn splits_do_not_matter() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
        let mut scanner = Scanner::default();
        for end in 0..head.len() {
            assert_eq!(scanner.scan(&head[..end]), Ok(None), "{end}");
        }
        assert_eq!(scanner.scan(head), Ok(Some(head.len())));
    }

    #[test]
    fn lists_drop_empty_members() {
        let members: Vec<&[u8]> = list(b", a,,\tb c ,").collect();
        assert_eq!(members, [&b"a"[..], b"b c"]);
        assert_eq!(trim(b" \t "), b"");
    }
}
