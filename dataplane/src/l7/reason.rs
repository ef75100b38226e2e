//! Why a request did not get its upstream's answer: one stable word per cause, shared by the error page, the
//! `Proxy-Status` field (RFC 9209), the access log and the counters. The words are an interface: never renamed.

/// Declares the reasons once: variant, word, status sent to the client (0 = nothing can be sent), RFC 9209 error type.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $proxy:literal;)*) => {
        /// Cause of a response that Tidegate made itself, or of a connection it cut.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in counter order.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];
            /// The stable word, as in the access log.
            pub const fn word(self) -> &'static str { match self { $(Reason::$name => $word,)* } }
            /// Status code sent to the client; 0 when the connection is cut without an answer.
            pub const fn status(self) -> u16 { match self { $(Reason::$name => $status,)* } }
            /// `error` parameter of `Proxy-Status` (RFC 9209 §2.3); empty when the request got its answer.
            pub const fn proxy_error(self) -> &'static str { match self { $(Reason::$name => $proxy,)* } }
        }
    };
}

reasons! {
    /// The upstream's own response was delivered.
    Ok = "ok", 0, "";
    /// Request line or field line outside the grammar (RFC 9112 §3, §5).
    MalformedHead = "malformed_head", 400, "http_request_error";
    /// A CR or LF that is not part of CRLF (RFC 9112 §2.2).
    BareLineEnding = "bare_line_ending", 400, "http_request_error";
    /// Request target that is no origin, absolute, authority or asterisk form, or holds bytes no URI may hold (RFC 9112 §3.2).
    InvalidTarget = "invalid_target", 400, "http_request_error";
    /// Path with `.` or `..` segments: client and upstream would not agree on the resource (RFC 3986 §6.2.2.3).
    DotSegment = "dot_segment", 400, "http_request_error";
    /// HTTP/1.1 request without Host (RFC 9112 §3.2).
    MissingHost = "missing_host", 400, "http_request_error";
    /// More than one Host field (RFC 9112 §3.2).
    DuplicateHost = "duplicate_host", 400, "http_request_error";
    /// Host that is no `uri-host [":" port]` (RFC 9112 §3.2).
    InvalidHost = "invalid_host", 400, "http_request_error";
    /// Content-Length that is not one decimal number, or repeated (RFC 9112 §6.3).
    InvalidContentLength = "invalid_content_length", 400, "http_request_error";
    /// Content-Length together with Transfer-Encoding (RFC 9112 §6.1).
    ConflictingFraming = "conflicting_framing", 400, "http_request_error";
    /// Transfer-Encoding in an HTTP/1.0 message, repeated, empty, or not ending in chunked (RFC 9112 §6.1).
    InvalidTransferEncoding = "invalid_transfer_encoding", 400, "http_request_error";
    /// Transfer coding other than chunked (RFC 9112 §6.1).
    UnsupportedTransferEncoding = "unsupported_transfer_encoding", 501, "http_request_error";
    /// Any version but HTTP/1.0 and HTTP/1.1.
    UnsupportedVersion = "unsupported_version", 505, "http_request_error";
    /// Head larger than the listener allows.
    HeadTooLarge = "head_too_large", 431, "http_request_error";
    /// More field lines than the listener allows.
    TooManyFields = "too_many_fields", 431, "http_request_error";
    /// Request target longer than the listener allows.
    TargetTooLong = "target_too_long", 414, "http_request_error";
    /// CONNECT: a gateway opens no tunnels to places the client names.
    ConnectRefused = "connect_refused", 501, "http_request_denied";
    /// TRACE would echo credentials added on the way (RFC 9110 §9.3.8).
    TraceRefused = "trace_refused", 405, "http_request_denied";
    /// Expect with anything but `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed = "expectation_failed", 417, "http_request_error";
    /// Chunk framing outside the grammar (RFC 9112 §7.1).
    MalformedChunk = "malformed_chunk", 400, "http_request_error";
    /// Trailer section outside the grammar (RFC 9112 §7.1.2).
    MalformedTrailer = "malformed_trailer", 400, "http_request_error";
    /// Trailer section or chunk extensions larger than allowed.
    TrailerTooLarge = "trailer_too_large", 431, "http_request_error";
    /// Content larger than the listener allows.
    BodyTooLarge = "body_too_large", 413, "http_request_error";
    /// Head not complete in time.
    HeaderTimeout = "header_timeout", 408, "http_request_error";
    /// Content came too slowly.
    BodyTimeout = "body_timeout", 408, "http_request_error";
    /// The client closed or reset before its answer was complete; 499 in the log.
    ClientClosed = "client_closed", 0, "http_request_error";
    /// The client read its answer too slowly, or a tunnel stood still.
    ClientStalled = "client_stalled", 0, "http_request_error";
    /// No route matches host and path.
    RouteNotFound = "route_not_found", 404, "destination_not_found";
    /// The route has no backend with weight.
    NoBackend = "no_backend", 503, "destination_unavailable";
    /// The cluster has no endpoint.
    NoEndpoint = "no_endpoint", 503, "destination_unavailable";
    /// The endpoint refused the connection (RST to SYN).
    UpstreamConnectRefused = "upstream_connect_refused", 503, "connection_refused";
    /// No route, no neighbour, or ICMP unreachable on the way to the endpoint.
    UpstreamConnectUnreachable = "upstream_connect_unreachable", 503, "destination_ip_unroutable";
    /// The connection was not established in time.
    UpstreamConnectTimeout = "upstream_connect_timeout", 504, "connection_timeout";
    /// No local port, buffer or connection slot was free.
    UpstreamConnectExhausted = "upstream_connect_exhausted", 503, "connection_limit_reached";
    /// The TLS handshake with the endpoint failed.
    UpstreamTlsFailed = "upstream_tls_failed", 502, "tls_protocol_error";
    /// The endpoint closed or reset before a complete response head.
    UpstreamReset = "upstream_reset", 502, "connection_terminated";
    /// The endpoint's response cannot be framed without ambiguity.
    UpstreamMalformed = "upstream_malformed", 502, "http_protocol_error";
    /// The endpoint's response head is larger than allowed.
    UpstreamHeadTooLarge = "upstream_head_too_large", 502, "http_response_header_section_size";
    /// The endpoint switched protocols unasked (RFC 9110 §15.2.2).
    UpstreamUpgradeUnexpected = "upstream_upgrade_unexpected", 502, "http_upgrade_failed";
    /// The endpoint did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "http_response_timeout";
    /// The request's own time budget (`timeouts.request_ms`) ran out.
    RequestTimeout = "request_timeout", 504, "http_response_timeout";
    /// The endpoint closed before the response was complete; the client's connection was cut so that it can tell.
    UpstreamTruncated = "upstream_truncated", 0, "http_response_incomplete";
}

impl Reason {
    /// Number of reasons: the size of a counter array indexed by `reason as usize`.
    pub const COUNT: usize = Reason::ALL.len();

    /// Whether the fault is the upstream's (it counts against the endpoint).
    pub const fn blames_upstream(self) -> bool {
        matches!(
            self,
            Reason::UpstreamConnectRefused
                | Reason::UpstreamConnectUnreachable
                | Reason::UpstreamConnectTimeout
                | Reason::UpstreamTlsFailed
                | Reason::UpstreamReset
                | Reason::UpstreamMalformed
                | Reason::UpstreamHeadTooLarge
                | Reason::UpstreamUpgradeUnexpected
                | Reason::UpstreamTimeout
                | Reason::UpstreamTruncated
        )
    }
}

/// The standard phrase of the status codes Tidegate sends itself (RFC 9110 §15).
pub const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_every_status_has_a_phrase() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(reason.status() == 0 || !phrase(reason.status()).is_empty(), "{}", reason.word());
            assert!(reason.word().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert_eq!(Reason::ALL.iter().filter(|other| other.word() == reason.word()).count(), 1);
        }
    }
}
