//! Heads as they leave: what arrived, less what was meant for this hop only, with framing and forwarding fields written anew
//! (RFC 9110 §7.6). One pass, one buffer.

use super::field::FieldName;
use super::forwarded::{self, ForwardedFields, Peer};
use super::framing::Body;
use super::head::{Field, named_by_connection};
use super::request::{Method, RequestHead, Version};
use super::response::ResponseHead;

/// What the upstream's request head depends on besides the client's.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The client.
    pub peer: &'a Peer,
    /// Forwarding fields to write.
    pub forwarded: ForwardedFields,
    /// Identifier of this request.
    pub request_id: &'a [u8],
    /// Authority when the client gave none (HTTP/1.0): the address it connected to (RFC 9112 §3.3).
    pub default_host: &'a [u8],
    /// Ask the upstream to change protocols as the client did.
    pub upgrade: bool,
}

/// Appends the request head for the upstream to `out`. `head` is the buffer `request` was parsed from.
pub fn request(head: &[u8], request: &RequestHead, hop: &Outgoing<'_>, out: &mut Vec<u8>) {
    let host = if request.host.is_empty() { hop.default_host } else { request.host.of_head(head) };
    out.extend_from_slice(request.method_name.of_head(head));
    out.push(b' ');
    out.extend_from_slice(match request.path.of_head(head) {
        [] if request.method == Method::Options => b"*",
        [] => b"/",
        path => path,
    });
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\n");
    lines(head, request.fields.iter().filter(|field| request_field_travels(head, request, field, hop)), out);
    body(request.body, out);
    if request.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(hops) = request.max_forwards {
        out.extend_from_slice(b"Max-Forwards: ");
        number(hops.saturating_sub(1), out);
        out.extend_from_slice(b"\r\n");
    }
    connection(head, request, hop, out);
    forwarded::encode(head, request, hop.forwarded, hop.peer, host, out);
    if hop.forwarded.request_id {
        out.extend_from_slice(b"X-Request-Id: ");
        out.extend_from_slice(hop.request_id);
        out.extend_from_slice(b"\r\n");
    }
    if hop.forwarded.via {
        out.extend_from_slice(if request.version == Version::Http10 { VIA_10 } else { VIA_11 });
    }
    out.extend_from_slice(b"\r\n");
}

fn request_field_travels(head: &[u8], request: &RequestHead, field: &Field, hop: &Outgoing<'_>) -> bool {
    match field.kind {
        FieldName::Essential | FieldName::Date | FieldName::Via => true,
        FieldName::Other => !removed_by_connection(head, request.connection.names_fields, &request.fields, field),
        FieldName::Trailer => request.body == Body::Chunked,
        FieldName::ClientClaim => hop.peer.trusted,
        // A listener that does not write these itself still never lets an untrusted client do it.
        FieldName::XForwardedFor | FieldName::XForwardedHost | FieldName::XForwardedProto => {
            hop.peer.trusted && !hop.forwarded.x_forwarded
        }
        FieldName::Forwarded => hop.peer.trusted && !hop.forwarded.forwarded,
        FieldName::RequestId => hop.peer.trusted && !hop.forwarded.request_id,
        FieldName::MaxForwards => request.method != Method::Options,
        FieldName::Connection
        | FieldName::ContentLength
        | FieldName::Expect
        | FieldName::Host
        | FieldName::Te
        | FieldName::TransferEncoding
        | FieldName::Upgrade
        | FieldName::Dropped => false,
    }
}

/// RFC 9110 §7.6.1: fields named by Connection are for this hop only.
fn removed_by_connection(head: &[u8], names_fields: bool, fields: &[Field], field: &Field) -> bool {
    let name = field.name.of_head(head);
    names_fields && named_by_connection(head, fields).any(|option| option.eq_ignore_ascii_case(name))
}

/// Connection options towards the upstream; persistence is HTTP/1.1's default and needs no word.
fn connection(head: &[u8], request: &RequestHead, hop: &Outgoing<'_>, out: &mut Vec<u8>) {
    let upgrade = request.upgrade.filter(|_| hop.upgrade);
    out.extend_from_slice(match (upgrade, request.te_trailers) {
        (Some(_), true) => b"Connection: upgrade, te\r\n",
        (Some(_), false) => b"Connection: upgrade\r\n",
        (None, true) => b"Connection: te\r\n",
        (None, false) => b"",
    });
    if request.te_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Upgrade: ");
        out.extend_from_slice(protocol.of_head(head));
        out.extend_from_slice(b"\r\n");
    }
}

/// What the client's response head depends on besides the upstream's.
#[derive(Clone, Copy, Debug)]
pub struct Returning<'a> {
    /// Framing towards the client.
    pub body: Body,
    /// The client's version.
    pub version: Version,
    /// The connection stays open after this response.
    pub keep_alive: bool,
    /// Date for a response that has none (RFC 9110 §6.6.1).
    pub date: &'a [u8],
    /// Add Via.
    pub via: bool,
}

/// Appends the response head for the client to `out`. `head` is the buffer `response` was parsed from.
pub fn response(head: &[u8], response: &ResponseHead, hop: &Returning<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(u64::from(response.status), out);
    out.push(b' ');
    out.extend_from_slice(response.phrase.of_head(head));
    out.extend_from_slice(b"\r\n");
    let travels = |field: &&Field| match field.kind {
        FieldName::Other => !removed_by_connection(head, response.connection.names_fields, &response.fields, field),
        FieldName::Trailer => hop.body == Body::Chunked,
        // 426 must say what to upgrade to (RFC 9110 §15.5.22).
        FieldName::Upgrade => response.status == 101 || response.status == 426,
        FieldName::Connection
        | FieldName::ContentLength
        | FieldName::TransferEncoding
        | FieldName::Te
        | FieldName::Dropped => false,
        _ => true,
    };
    lines(head, response.fields.iter().filter(travels), out);
    if response.is_interim() {
        out.extend_from_slice(b"\r\n");
        return;
    }
    match (hop.body, response.length) {
        (Body::None, Some(length)) => body(Body::Length(length), out),
        (framing, _) => body(framing, out),
    }
    out.extend_from_slice(match (response.status, hop.keep_alive, hop.version) {
        (101, _, _) => b"Connection: upgrade\r\n",
        (426, true, _) => b"Connection: upgrade\r\n",
        (426, false, _) => b"Connection: upgrade, close\r\n",
        (_, false, _) => b"Connection: close\r\n",
        (_, true, Version::Http10) => b"Connection: keep-alive\r\n",
        (_, true, Version::Http11) => b"",
    });
    if !response.has_date {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(hop.date);
        out.extend_from_slice(b"\r\n");
    }
    if hop.via {
        out.extend_from_slice(if response.version == Version::Http10 { VIA_10 } else { VIA_11 });
    }
    out.extend_from_slice(b"\r\n");
}

const VIA_10: &[u8] = b"Via: 1.0 tidegate\r\n";
const VIA_11: &[u8] = b"Via: 1.1 tidegate\r\n";

fn body(body: Body, out: &mut Vec<u8>) {
    match body {
        Body::None | Body::UntilClose => {}
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            number(length, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes the fields as `Name: value`. Neighbours that arrived in just that form, as most do, are copied in one piece.
fn lines<'f>(head: &[u8], fields: impl Iterator<Item = &'f Field>, out: &mut Vec<u8>) {
    let mut run = 0..0;
    for field in fields {
        let (start, end) = (field.name.start as usize, field.value.end as usize);
        let plain = head.get(field.name.end as usize..field.value.start as usize) == Some(b": ")
            && head.get(end..end + 2) == Some(b"\r\n");
        if plain && start == run.end {
            run.end = end + 2;
            continue;
        }
        out.extend_from_slice(&head[run]);
        if plain {
            run = start..end + 2;
        } else {
            run = 0..0;
            line(head, field, out);
        }
    }
    out.extend_from_slice(&head[run]);
}

fn line(head: &[u8], field: &Field, out: &mut Vec<u8>) {
    out.extend_from_slice(field.name.of_head(head));
    out.extend_from_slice(b": ");
    out.extend_from_slice(field.value.of_head(head));
    out.extend_from_slice(b"\r\n");
}

/// Appends a decimal number.
pub(crate) fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
