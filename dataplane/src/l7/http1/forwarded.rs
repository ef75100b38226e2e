//! What a gateway tells the upstream about the client: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Request-Id`, `Via`.
//!
//! Claims a client makes about itself are overwritten; only a peer the listener trusts may have its claims kept and added to.

use core::fmt::Write;
use core::net::IpAddr;

use arrayvec::{ArrayString, ArrayVec};

use super::field::FieldName;
use super::head::Field;
use super::request::RequestHead;

/// Which of these fields a listener writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedFields {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `Via` (RFC 9110 §7.6.3), in both directions.
    pub via: bool,
    /// `X-Request-Id`.
    pub request_id: bool,
}

impl Default for ForwardedFields {
    fn default() -> Self {
        ForwardedFields { x_forwarded: true, forwarded: true, via: false, request_id: true }
    }
}

/// The client as the upstream will be told of it; made once per connection, so that no request formats an address.
#[derive(Clone, Debug)]
pub struct Peer {
    /// As in `X-Forwarded-For`.
    plain: ArrayString<46>,
    /// As in `Forwarded`: an IPv6 address is bracketed and quoted (RFC 7239 §6).
    node: ArrayString<52>,
    /// The listener takes this peer's own claims as true.
    pub trusted: bool,
    /// The connection came over TLS.
    pub secure: bool,
}

impl Peer {
    /// Describes the peer of a connection.
    pub fn new(address: IpAddr, secure: bool, trusted: bool) -> Peer {
        let address = address.to_canonical();
        let mut peer = Peer { plain: ArrayString::new(), node: ArrayString::new(), trusted, secure };
        // The longest address fits (RFC 4291 §2.2 form 3: 45 characters), so neither write can fail.
        let _ = write!(peer.plain, "{address}");
        let _ = match address {
            IpAddr::V4(_) => write!(peer.node, "{address}"),
            IpAddr::V6(_) => write!(peer.node, "\"[{address}]\""),
        };
        peer
    }

    fn scheme(&self) -> &'static [u8] {
        if self.secure { b"https" } else { b"http" }
    }
}

/// An identifier of one request, for logs on every hop.
pub type RequestId = ArrayVec<u8, 64>;

/// The peer's own identifier when it is trusted and sane, else `fresh`, written as 32 hexadecimal digits.
pub fn request_id(head: &[u8], request: &RequestHead, trusted: bool, fresh: u128) -> RequestId {
    let mut incoming = request.fields.iter().filter(|field| field.kind == FieldName::RequestId);
    let mut id = RequestId::new();
    if let (true, Some(field), None) = (trusted, incoming.next(), incoming.next()) {
        let value = field.value.of_head(head);
        if value.iter().all(u8::is_ascii_graphic) && !value.is_empty() && id.try_extend_from_slice(value).is_ok() {
            return id;
        }
    }
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(fresh.to_be_bytes()) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    id.extend(digits);
    id
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the fields. `host` is the authority the request is for.
pub fn encode(
    head: &[u8],
    request: &RequestHead,
    fields: ForwardedFields,
    peer: &Peer,
    host: &[u8],
    out: &mut Vec<u8>,
) {
    if fields.x_forwarded {
        out.extend_from_slice(b"X-Forwarded-For: ");
        incoming(head, request, FieldName::XForwardedFor, peer.trusted, out);
        out.extend_from_slice(peer.plain.as_bytes());
        out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
        out.extend_from_slice(kept(head, request, FieldName::XForwardedProto, peer).unwrap_or(peer.scheme()));
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        out.extend_from_slice(kept(head, request, FieldName::XForwardedHost, peer).unwrap_or(host));
        out.extend_from_slice(b"\r\n");
    }
    if fields.forwarded {
        out.extend_from_slice(b"Forwarded: ");
        incoming(head, request, FieldName::Forwarded, peer.trusted, out);
        out.extend_from_slice(b"for=");
        out.extend_from_slice(peer.node.as_bytes());
        // The host may hold a port or brackets, neither of which is a token.
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.extend_from_slice(b"\";proto=");
        out.extend_from_slice(peer.scheme());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends what a trusted peer already said, each line followed by a comma, ready for our own element.
fn incoming(head: &[u8], request: &RequestHead, kind: FieldName, trusted: bool, out: &mut Vec<u8>) {
    let of_kind = |field: &&Field| trusted && field.kind == kind && !field.value.is_empty();
    for field in request.fields.iter().filter(of_kind) {
        out.extend_from_slice(field.value.of_head(head));
        out.extend_from_slice(b", ");
    }
}

/// The single value a trusted peer gave.
fn kept<'h>(head: &'h [u8], request: &RequestHead, kind: FieldName, peer: &Peer) -> Option<&'h [u8]> {
    let mut values = request.fields.iter().filter(|field| field.kind == kind && peer.trusted);
    let value = values.next()?.value.of_head(head);
    (values.next().is_none() && !value.is_empty()).then_some(value)
}
