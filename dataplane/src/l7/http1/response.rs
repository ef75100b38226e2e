//! Response heads from upstreams (RFC 9112 §4): held to the same strictness as requests, because a response that two readers
//! frame differently splits into two responses.

use super::field::FieldName;
use super::framing::{self, Body};
use super::head::{self, ConnectionOptions, Field, Limits, MAX_FIELDS, Span};
use super::request::{Method, Version};
use crate::l7::reason::Reason;

/// A checked response head. All spans point into the buffer it was parsed from.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// Its length in bytes with the empty line.
    pub len: usize,
    /// The upstream's version.
    pub version: Version,
    /// Status code, 100 to 999.
    pub status: u16,
    /// The reason phrase as sent; may be empty.
    pub phrase: Span,
    /// How its content ends.
    pub body: Body,
    /// Content-Length to send on, also where there is no content (HEAD, 304).
    pub length: Option<u64>,
    /// The field lines in order.
    pub fields: Vec<Field>,
    /// What Connection asks for.
    pub connection: ConnectionOptions,
    /// The protocol of a `101 Switching Protocols`.
    pub upgrade: Option<Span>,
    /// It has a Date.
    pub has_date: bool,
}

impl ResponseHead {
    /// Parses a head whose end [`head::Scanner`] has found: `buf[..len]` is the head. `request` is the method it answers.
    ///
    /// # Errors
    /// [`Reason::UpstreamMalformed`] or [`Reason::UpstreamHeadTooLarge`]; the upstream connection must not be used again.
    pub fn parse(&mut self, buf: &[u8], len: usize, request: &Method, limits: &Limits) -> Result<(), Reason> {
        let head = &buf[..len];
        self.len = len;
        let mut table = head::table();
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let room = limits.fields.min(MAX_FIELDS);
        match config.parse_response_with_uninit_headers(&mut parsed, head, &mut table[..room]) {
            Ok(httparse::Status::Complete(end)) if end == len => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Reason::UpstreamHeadTooLarge),
            _ => return Err(Reason::UpstreamMalformed),
        }
        let (Some(status), Some(phrase), Some(minor)) = (parsed.code, parsed.reason, parsed.version) else {
            return Err(Reason::UpstreamMalformed);
        };
        if !(100..=999).contains(&status) {
            return Err(Reason::UpstreamMalformed);
        }
        self.status = status;
        self.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        self.phrase = if phrase.is_empty() { Span::default() } else { Span::of(head, phrase.as_bytes()) };
        head::collect(head, parsed.headers, &mut self.fields).map_err(|_| Reason::UpstreamMalformed)?;
        (self.body, self.length) = framing::of_response(head, &self.fields, self.version, status, request)?;
        self.options(head);
        Ok(())
    }

    fn options(&mut self, head: &[u8]) {
        self.connection = ConnectionOptions::default();
        self.upgrade = None;
        self.has_date = false;
        for field in &self.fields {
            match field.kind {
                FieldName::Connection => self.connection.read(field.value.of_head(head)),
                FieldName::Upgrade => self.upgrade = Some(field.value),
                FieldName::Date => self.has_date = true,
                _ => {}
            }
        }
    }

    /// Whether this is an interim response (1xx other than 101).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the upstream connection may carry another request once the content has been read (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        let persistent = match self.version {
            Version::Http11 => !self.connection.close,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
        };
        persistent && self.body != Body::UntilClose && self.status != 101
    }
}
