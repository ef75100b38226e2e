//! Request heads (RFC 9112 §2 to §6): tokenised by httparse, then held to everything that two readers could disagree on.

use super::field::FieldName;
use super::framing::{self, Body};
use super::head::{self, ConnectionOptions, Field, Limits, MAX_FIELDS, Span, list};
use super::target;
use crate::l7::reason::Reason;

/// The versions spoken here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, closes by default.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// Methods that a gateway treats differently from one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: the response has no content.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS: may have the target `*`.
    Options,
    /// TRACE: refused.
    Trace,
    /// CONNECT: refused.
    Connect,
    /// PATCH.
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// Recognises a method; case-sensitive (RFC 9110 §9.1).
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// Whether sending it twice has the effect of sending it once (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
    }
}

/// A checked request head. All spans point into the buffer it was parsed from. Reused from request to request.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// Its length in bytes with the empty line.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The method as sent.
    pub method_name: Span,
    /// The version.
    pub version: Version,
    /// Path and query to send on; empty stands for `/` (or `*` with OPTIONS, RFC 9112 §3.2.4).
    pub path: Span,
    /// `host[:port]` that the request is for: of an absolute target, else Host; empty only in HTTP/1.0.
    pub host: Span,
    /// How its content ends.
    pub body: Body,
    /// The field lines in order.
    pub fields: Vec<Field>,
    /// What Connection asks for.
    pub connection: ConnectionOptions,
    /// The client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub expect_continue: bool,
    /// The client takes trailers (`TE: trailers`).
    pub te_trailers: bool,
    /// The protocol it asks to change to, if it is one that may be tunnelled.
    pub upgrade: Option<Span>,
    /// Max-Forwards of an OPTIONS request (RFC 9110 §7.6.2).
    pub max_forwards: Option<u64>,
}

impl RequestHead {
    /// Parses a head whose end [`head::Scanner`] has found: `buf[..len]` is the head.
    ///
    /// # Errors
    /// The [`Reason`] to answer with; the connection must then be closed, since what follows cannot be framed.
    pub fn parse(&mut self, buf: &[u8], len: usize, limits: &Limits) -> Result<(), Reason> {
        let head = &buf[..len];
        self.len = len;
        let mut table = head::table();
        let mut parsed = httparse::Request::new(&mut []);
        let room = limits.fields.min(MAX_FIELDS);
        match parsed.parse_with_uninit_headers(head, &mut table[..room]) {
            Ok(httparse::Status::Complete(end)) if end == len => {}
            Ok(_) => return Err(Reason::MalformedHead),
            Err(httparse::Error::TooManyHeaders) => return Err(Reason::TooManyFields),
            Err(httparse::Error::Version) => return Err(version_error(head)),
            Err(_) => return Err(Reason::MalformedHead),
        }
        let (Some(method), Some(path), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Reason::MalformedHead);
        };
        self.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        self.method = Method::of(method.as_bytes());
        self.method_name = Span::of(head, method.as_bytes());
        head::collect(head, parsed.headers, &mut self.fields)?;
        self.target(head, path.as_bytes(), limits)?;
        self.body = framing::of_request(head, &self.fields, self.version)?;
        self.options(head)
    }

    /// Method, target and Host together say what is asked for (RFC 9112 §3.2, §3.3).
    fn target(&mut self, head: &[u8], path: &[u8], limits: &Limits) -> Result<(), Reason> {
        if self.method_name.len() > MAX_METHOD {
            return Err(Reason::MalformedHead);
        }
        if path.len() > limits.target_bytes {
            return Err(Reason::TargetTooLong);
        }
        let mut hosts = self.fields.iter().filter(|field| field.kind == FieldName::Host);
        let host = hosts.next().map(|field| field.value);
        if hosts.next().is_some() {
            return Err(Reason::DuplicateHost);
        }
        match host {
            Some(host) => target::check_host(host.of_head(head))?,
            None if self.version == Version::Http11 => return Err(Reason::MissingHost),
            None => {}
        }
        match self.method {
            Method::Connect => return Err(Reason::ConnectRefused),
            Method::Trace => return Err(Reason::TraceRefused),
            _ => {}
        }
        let target = target::parse(path, self.method == Method::Options)?;
        self.path = Span::of(head, target.path);
        self.host = match target.authority {
            Some(authority) => Span::of(head, authority),
            None => host.unwrap_or_default(),
        };
        Ok(())
    }

    /// The fields that steer this hop.
    fn options(&mut self, head: &[u8]) -> Result<(), Reason> {
        self.connection = ConnectionOptions::default();
        self.expect_continue = false;
        self.te_trailers = false;
        self.upgrade = None;
        self.max_forwards = None;
        let mut upgrades = 0;
        for field in &self.fields {
            let value = field.value.of_head(head);
            match field.kind {
                FieldName::Connection => self.connection.read(value),
                FieldName::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.expect_continue = true,
                FieldName::Expect => return Err(Reason::ExpectationFailed),
                FieldName::Te => self.te_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")),
                FieldName::Upgrade => {
                    upgrades += 1;
                    self.upgrade = Some(field.value);
                }
                FieldName::MaxForwards if self.method == Method::Options => self.max_forwards = target::decimal(value),
                _ => {}
            }
        }
        // RFC 9110 §7.8: ignored in HTTP/1.0 and without the connection option. §10.1.1: no interim responses to HTTP/1.0.
        if upgrades != 1 || !self.connection.upgrade || self.version == Version::Http10 {
            self.upgrade = None;
        }
        self.expect_continue &= self.version == Version::Http11 && !self.body.is_empty();
        Ok(())
    }

    /// Whether the client wants the connection to stay open after this request (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.connection.close,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
        }
    }
}

/// Longest method token accepted.
const MAX_METHOD: usize = 32;

/// A version that is well-formed but not ours is 505; anything else in its place is a malformed line.
fn version_error(head: &[u8]) -> Reason {
    let head = head.trim_ascii_start();
    let line = head.split(|b| *b == b'\r').next().unwrap_or(head);
    let mut parts = line.split(|b| *b == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Reason::UnsupportedVersion
        }
        _ => Reason::MalformedHead,
    }
}
