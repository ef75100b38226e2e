//! Responses that Tidegate makes itself. Each says why, in a word that is also in the access log.

use super::date::HttpDate;
use super::http1::encode::number;
use super::http1::{Method, RequestHead, Version};
use super::reason::{Reason, phrase};

/// Appends the error page for `reason`. `request` is absent when no head was understood.
pub(super) fn error(
    reason: Reason,
    request: Option<&RequestHead>,
    keep_alive: bool,
    date: &HttpDate,
    out: &mut Vec<u8>,
) {
    let status = reason.status();
    start(status, out);
    if status == 405 {
        out.extend_from_slice(ALLOW);
    }
    out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: ");
    // "404 route_not_found\n"
    number(4 + reason.word().len() as u64 + 1, out);
    out.extend_from_slice(b"\r\nProxy-Status: tidegate; error=");
    out.extend_from_slice(reason.proxy_error().as_bytes());
    out.extend_from_slice(b"; details=\"");
    out.extend_from_slice(reason.word().as_bytes());
    out.extend_from_slice(b"\"\r\n");
    end(request, keep_alive, date, out);
    if request.is_none_or(|request| request.method != Method::Head) {
        number(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason.word().as_bytes());
        out.push(b'\n');
    }
}

/// Appends the answer to OPTIONS that may not be forwarded any further (RFC 9110 §7.6.2).
pub(super) fn options(request: &RequestHead, keep_alive: bool, date: &HttpDate, out: &mut Vec<u8>) {
    start(204, out);
    out.extend_from_slice(ALLOW);
    end(Some(request), keep_alive, date, out);
}

const ALLOW: &[u8] = b"Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n";

fn start(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn end(request: Option<&RequestHead>, keep_alive: bool, date: &HttpDate, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date);
    out.extend_from_slice(match (keep_alive, request.map(|request| request.version)) {
        (false, _) => b"\r\nConnection: close\r\n\r\n",
        (true, Some(Version::Http10)) => b"\r\nConnection: keep-alive\r\n\r\n",
        (true, _) => b"\r\n\r\n",
    });
}
