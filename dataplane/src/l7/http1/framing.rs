//! How long a message is (RFC 9112 §6.3), as a type: whatever cannot be told for certain is refused, never guessed.

use super::field::FieldName;
use super::head::{Field, list};
use super::request::{Method, Version};
use super::target::decimal;
use crate::l7::reason::Reason;

/// The content of a message and how its end is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// No content.
    #[default]
    None,
    /// Exactly that many bytes.
    Length(u64),
    /// Chunked coding, with or without trailers.
    Chunked,
    /// Until the sender closes; responses only.
    UntilClose,
}

impl Body {
    /// Whether nothing follows the head.
    pub fn is_empty(self) -> bool {
        matches!(self, Body::None | Body::Length(0))
    }
}

/// The framing fields of one head.
#[derive(Clone, Copy, Debug, Default)]
struct Declared {
    length: Option<u64>,
    length_fields: u32,
    codings: Codings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    Absent,
    Chunked,
    Unsupported,
    Invalid,
}

fn declared(head: &[u8], fields: &[Field]) -> Result<Declared, Reason> {
    let mut found = Declared::default();
    for field in fields {
        let value = field.value.of_head(head);
        match field.kind {
            FieldName::ContentLength => {
                let length = decimal(value).ok_or(Reason::InvalidContentLength)?;
                if found.length.is_some_and(|earlier| earlier != length) {
                    return Err(Reason::InvalidContentLength);
                }
                found.length = Some(length);
                found.length_fields += 1;
            }
            FieldName::TransferEncoding => {
                found.codings = if found.codings == Codings::Absent { codings(value) } else { Codings::Invalid };
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Only `chunked` alone is understood. A list that ends in chunked is a coding we do not have (501); one that does not
/// cannot be framed at all (400).
fn codings(value: &[u8]) -> Codings {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Codings::Chunked;
    }
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let count = list(value).filter(|coding| chunked(coding)).count();
    match list(value).last() {
        None => Codings::Invalid,
        Some(last) if count > 1 || count == 1 && !chunked(last) => Codings::Invalid,
        Some(_) => Codings::Unsupported,
    }
}

/// The framing of a request (RFC 9112 §6.3 items 3 to 7).
///
/// # Errors
/// Conflicting, repeated or malformed framing fields, and any Transfer-Encoding in HTTP/1.0.
pub fn of_request(head: &[u8], fields: &[Field], version: Version) -> Result<Body, Reason> {
    let declared = declared(head, fields)?;
    match (declared.codings, declared.length) {
        (Codings::Absent, None) => Ok(Body::None),
        (Codings::Absent, Some(_)) if declared.length_fields > 1 => Err(Reason::InvalidContentLength),
        (Codings::Absent, Some(length)) => Ok(Body::Length(length)),
        (_, _) if version == Version::Http10 => Err(Reason::InvalidTransferEncoding),
        (_, Some(_)) => Err(Reason::ConflictingFraming),
        (Codings::Chunked, None) => Ok(Body::Chunked),
        (Codings::Unsupported, None) => Err(Reason::UnsupportedTransferEncoding),
        (Codings::Invalid, None) => Err(Reason::InvalidTransferEncoding),
    }
}

/// The framing of a response: it depends on the request's method (RFC 9112 §6.3 items 1, 2 and 8). The second value is
/// the Content-Length to send on where the response has no content of its own (HEAD, 304).
///
/// # Errors
/// [`Reason::UpstreamMalformed`] for all that a request would be refused for, save that equal Content-Lengths may repeat.
pub fn of_response(
    head: &[u8],
    fields: &[Field],
    version: Version,
    status: u16,
    request: &Method,
) -> Result<(Body, Option<u64>), Reason> {
    let declared = declared(head, fields).map_err(|_| Reason::UpstreamMalformed)?;
    if status < 200 || status == 204 {
        return Ok((Body::None, None));
    }
    let conflicting = declared.codings != Codings::Absent && declared.length.is_some();
    if conflicting || declared.codings != Codings::Absent && version == Version::Http10 {
        return Err(Reason::UpstreamMalformed);
    }
    if *request == Method::Head || status == 304 {
        return Ok((Body::None, declared.length));
    }
    match (declared.codings, declared.length) {
        (Codings::Absent, Some(length)) => Ok((Body::Length(length), Some(length))),
        (Codings::Absent, None) => Ok((Body::UntilClose, None)),
        (Codings::Chunked, _) => Ok((Body::Chunked, None)),
        (Codings::Unsupported | Codings::Invalid, _) => Err(Reason::UpstreamMalformed),
    }
}
