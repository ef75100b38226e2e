//! Which field lines mean something to a gateway, and which of them may travel on (RFC 9110 §7.6).

/// A field name as far as a gateway must tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// Hop-by-hop: `Connection` (RFC 9110 §7.6.1).
    Connection,
    /// Framing: written anew for each hop.
    ContentLength,
    /// `Date`: added to responses that lack it (RFC 9110 §6.6.1).
    Date,
    /// `Expect` (RFC 9110 §10.1.1).
    Expect,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `Host`: written anew.
    Host,
    /// `Max-Forwards` (RFC 9110 §7.6.2).
    MaxForwards,
    /// `TE`: only `trailers` travels on (RFC 9110 §10.1.4).
    Te,
    /// `Trailer`: travels on while the coding stays chunked.
    Trailer,
    /// Framing: written anew for each hop.
    TransferEncoding,
    /// `Upgrade` (RFC 9110 §7.8).
    Upgrade,
    /// `Via` (RFC 9110 §7.6.3).
    Via,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `X-Forwarded-Host`.
    XForwardedHost,
    /// `X-Forwarded-Proto`.
    XForwardedProto,
    /// Any other `X-Forwarded-*`, `X-Real-IP`, `X-Envoy-External-Address`: statements about the client that only a trusted peer may make.
    ClientClaim,
    /// `X-Request-Id`.
    RequestId,
    /// Never forwarded: `Keep-Alive`, `Proxy-Connection`, `Proxy-Authorization`, `HTTP2-Settings`, `Proxy` (httpoxy), and
    /// names that only differ from a special one by `_` for `-`, which CGI-style servers fold together.
    Dropped,
    /// End-to-end and not removable by `Connection`, because the message would change its meaning without it.
    Essential,
    /// End-to-end.
    Other,
}

/// Tells the fields of a message apart. Case-insensitive; `name` is a token (RFC 9110 §5.6.2).
pub fn classify(name: &[u8]) -> FieldName {
    let known = known(name);
    if known != FieldName::Other || !name.contains(&b'_') || name.len() > LONGEST_KNOWN {
        return known;
    }
    let mut dashed = [0u8; LONGEST_KNOWN];
    let dashed = &mut dashed[..name.len()];
    for (to, from) in dashed.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    match self::known(dashed) {
        FieldName::Other | FieldName::Essential | FieldName::Date => FieldName::Other,
        _ => FieldName::Dropped,
    }
}

/// Longest name with a meaning of its own; a longer one with underscores cannot be taken for it.
const LONGEST_KNOWN: usize = 32;

/// The name in lower case is compared as a whole, so that the compiler can make a switch on length and words of it. Setting bit 5
/// lowers letters and leaves digits and `-` as they are; no other character of a token becomes one of these.
fn known(name: &[u8]) -> FieldName {
    let mut lower = [0u8; LONGEST_KNOWN];
    let Some(lower) = lower.get_mut(..name.len()) else { return long(name) };
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from | 0x20;
    }
    match &*lower {
        b"te" => FieldName::Te,
        b"via" => FieldName::Via,
        b"host" => FieldName::Host,
        b"date" => FieldName::Date,
        b"expect" => FieldName::Expect,
        b"upgrade" => FieldName::Upgrade,
        b"trailer" => FieldName::Trailer,
        b"forwarded" => FieldName::Forwarded,
        b"connection" => FieldName::Connection,
        b"max-forwards" => FieldName::MaxForwards,
        b"x-request-id" => FieldName::RequestId,
        b"content-length" => FieldName::ContentLength,
        b"transfer-encoding" => FieldName::TransferEncoding,
        b"x-forwarded-for" => FieldName::XForwardedFor,
        b"x-forwarded-host" => FieldName::XForwardedHost,
        b"x-forwarded-proto" => FieldName::XForwardedProto,
        b"x-real-ip" | b"x-envoy-external-address" => FieldName::ClientClaim,
        b"proxy" | b"keep-alive" | b"http2-settings" | b"proxy-connection" | b"proxy-authorization" => {
            FieldName::Dropped
        }
        b"cookie" | b"location" | b"set-cookie" | b"content-type" | b"authorization" | b"cache-control"
        | b"content-range" | b"content-encoding" | b"www-authenticate" => FieldName::Essential,
        _ => family(lower),
    }
}

/// A name too long for any single meaning.
fn long(name: &[u8]) -> FieldName {
    let mut start = [0u8; LONGEST_KNOWN];
    for (to, from) in start.iter_mut().zip(name) {
        *to = from | 0x20;
    }
    family(&start)
}

/// `X-Forwarded` and `X-Forwarded-…`: whatever they say is a claim about the client.
fn family(lower: &[u8]) -> FieldName {
    match lower.strip_prefix(b"x-forwarded") {
        Some([] | [b'-', ..]) => FieldName::ClientClaim,
        _ => FieldName::Other,
    }
}

/// Fields a trailer section may never carry on: framing, routing, request modifiers, authentication, response control
/// (RFC 9110 §6.5.1). Everything a gateway treats specially is among them.
pub fn forbidden_in_trailer(name: &[u8]) -> bool {
    classify(name) != FieldName::Other
        || name.len() > 2 && name[..3].eq_ignore_ascii_case(b"if-")
        || name.len() > 5 && name[..6].eq_ignore_ascii_case(b"proxy-")
        || TRAILER_FORBIDDEN.iter().any(|word| name.eq_ignore_ascii_case(word))
}

const TRAILER_FORBIDDEN: &[&[u8]] =
    &[b"age", b"allow", b"expires", b"pragma", b"range", b"retry-after", b"status", b"vary", b"warning"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_underscore_aliases_are_dropped() {
        assert_eq!(classify(b"Transfer-ENCODING"), FieldName::TransferEncoding);
        assert_eq!(classify(b"Transfer_Encoding"), FieldName::Dropped);
        assert_eq!(classify(b"content_length"), FieldName::Dropped);
        assert_eq!(classify(b"X_Forwarded-For"), FieldName::Dropped);
        assert_eq!(classify(b"x_real_ip"), FieldName::Dropped);
        assert_eq!(classify(b"my_header"), FieldName::Other);
        assert_eq!(classify(b"X-Forwarded-Client-Cert"), FieldName::ClientClaim);
        assert_eq!(classify(b"X-ForwardedX"), FieldName::Other);
        assert_eq!(classify(b"Proxy"), FieldName::Dropped);
        assert_eq!(classify(b"_"), FieldName::Other);
    }

    #[test]
    fn trailers_may_carry_metadata_only() {
        for name in [
            &b"Content-Length"[..],
            b"Transfer-Encoding",
            b"Host",
            b"Authorization",
            b"Cookie",
            b"If-Match",
            b"Proxy-Authenticate",
            b"transfer_encoding",
            b"Trailer",
        ] {
            assert!(forbidden_in_trailer(name), "{name:?}");
        }
        for name in [&b"grpc-status"[..], b"X-Checksum", b"Digest", b"Server-Timing"] {
            assert!(!forbidden_in_trailer(name), "{name:?}");
        }
    }
}
