//! Request targets and Host (RFC 9112 §3.2, RFC 3986): what resource is meant, as one authority and one path.

use crate::l7::reason::Reason;

/// A request target taken apart. The slices are parts of the target as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'t> {
    /// Path and query to send on; `*` for the asterisk form; empty when an absolute form has no path.
    pub path: &'t [u8],
    /// `host[:port]` of an absolute form; it replaces Host (RFC 9112 §3.2.2).
    pub authority: Option<&'t [u8]>,
}

/// Takes a request target apart. CONNECT is refused before this is asked.
///
/// # Errors
/// [`Reason::InvalidTarget`] for anything that is not origin, absolute or (with OPTIONS) asterisk form;
/// [`Reason::DotSegment`] for paths that a client should have resolved; [`Reason::InvalidHost`] for a bad authority.
pub fn parse(target: &[u8], is_options: bool) -> Result<Target<'_>, Reason> {
    // No fragment ever travels in a request, a backslash reads as a slash to some servers, and bytes outside ASCII have no one reading.
    if target.iter().any(|b| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\')) {
        return Err(Reason::InvalidTarget);
    }
    match target {
        [b'/', ..] => Ok(Target { path: checked_path(target)?, authority: None }),
        b"*" if is_options => Ok(Target { path: target, authority: None }),
        _ => absolute(target),
    }
}

fn absolute(target: &[u8]) -> Result<Target<'_>, Reason> {
    let scheme_len = if target.len() > 7 && target[..7].eq_ignore_ascii_case(b"http://") {
        7
    } else if target.len() > 8 && target[..8].eq_ignore_ascii_case(b"https://") {
        8
    } else {
        return Err(Reason::InvalidTarget);
    };
    let rest = &target[scheme_len..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    check_host(authority)?;
    // A query without a path would need a `/` put before it; no client sends that, so it is not worth a second buffer.
    if path.first() == Some(&b'?') {
        return Err(Reason::InvalidTarget);
    }
    Ok(Target { path: checked_path(path)?, authority: Some(authority) })
}

/// Refuses dot segments, also percent-encoded ones.
fn checked_path(path_and_query: &[u8]) -> Result<&[u8], Reason> {
    let path = without_query(path_and_query);
    if memchr::memchr2(b'.', b'%', path).is_some() && path.split(|b| *b == b'/').any(is_dot_segment) {
        return Err(Reason::DotSegment);
    }
    Ok(path_and_query)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    // Path parameters (`..;x=y`) are cut off by some servers before they resolve the segment.
    let mut rest = segment.split(|b| *b == b';').next().unwrap_or(segment);
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', tail @ ..] => tail,
            [b'%', b'2', b'e' | b'E', tail @ ..] => tail,
            _ => return false,
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// The path alone.
pub fn without_query(path_and_query: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    &path_and_query[..end]
}

/// Checks `uri-host [ ":" port ]`. Narrower than RFC 3986: registered names are letters, digits, `-`, `.`, `_` and `~` only, since no
/// two servers agree on percent-encoded or sub-delimiter host names.
///
/// # Errors
/// [`Reason::InvalidHost`], also for an empty host (RFC 9110 §4.2.1).
pub fn check_host(host: &[u8]) -> Result<(), Reason> {
    let (name, port) = split_port(host);
    let valid_name = match name {
        [b'[', inner @ .., b']'] => is_ipv6(inner),
        _ => name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')),
    };
    let valid_port = match port {
        None | Some([]) => true,
        Some(digits) => digits.len() <= 5 && decimal(digits).is_some_and(|port| port <= 65535),
    };
    if name.is_empty() || name.len() > MAX_HOST || !valid_name || !valid_port {
        Err(Reason::InvalidHost)
    } else {
        Ok(())
    }
}

/// Longest host name (RFC 1035 §2.3.4).
pub const MAX_HOST: usize = 255;

fn is_ipv6(inner: &[u8]) -> bool {
    core::str::from_utf8(inner).is_ok_and(|text| text.parse::<core::net::Ipv6Addr>().is_ok())
}

/// Splits `host:port`; the port is `None` without a colon. Brackets stay with the host.
pub fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = if host.first() == Some(&b'[') { host.iter().position(|b| *b == b']').unwrap_or(0) } else { 0 };
    match host[from..].iter().position(|b| *b == b':') {
        Some(at) => (&host[..from + at], Some(&host[from + at + 1..])),
        None => (host, None),
    }
}

/// A decimal number of 1 to 20 digits, nothing else; `None` on overflow.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(target: &[u8]) -> Result<Target<'_>, Reason> {
        parse(target, false)
    }

    #[test]
    fn forms() {
        assert_eq!(origin(b"/a?b").unwrap().path, b"/a?b");
        assert_eq!(origin(b"http://b/x").unwrap(), Target { path: b"/x", authority: Some(b"b") });
        assert_eq!(origin(b"HTTPS://b:8443").unwrap(), Target { path: b"", authority: Some(b"b:8443") });
        assert_eq!(parse(b"*", true).unwrap().path, b"*");
        for bad in [&b"*"[..], b"a", b"ftp://b/", b"/a#b", b"/\xff", b"/a\\b", b"http://b?x", b"//"] {
            if bad == b"//" {
                assert!(origin(bad).is_ok());
            } else {
                assert_eq!(origin(bad), Err(Reason::InvalidTarget), "{bad:?}");
            }
        }
        assert_eq!(origin(b"http://a@b/"), Err(Reason::InvalidHost));
        assert_eq!(origin(b"http:///x"), Err(Reason::InvalidHost));
    }

    #[test]
    fn dot_segments_are_refused_in_every_spelling() {
        for bad in [&b"/../x"[..], b"/a/..", b"/a/./b", b"/%2e%2E/x", b"/.%2e/x", b"/a/..;x=y/b", b"/..?q"] {
            assert_eq!(origin(bad), Err(Reason::DotSegment), "{bad:?}");
        }
        for fine in [&b"/..."[..], b"/.well-known/x", b"/a..b", b"/x?../..", b"/%2e%2e%2e", b"/%2f.."] {
            assert!(origin(fine).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn hosts() {
        for fine in [&b"a"[..], b"a.example:80", b"[::1]:443", b"[2001:db8::1]", b"10.0.0.1", b"a:", b"under_score.x"] {
            assert!(check_host(fine).is_ok(), "{fine:?}");
        }
        for bad in [
            &b""[..],
            b":80",
            b"a b",
            b"a,b",
            b"a@b",
            b"a/b",
            b"a:b",
            b"a:65536",
            b"a:1:2",
            b"[::1",
            b"[x]",
            b"::1",
            b"a%41",
            b"[::1]x",
        ] {
            assert_eq!(check_host(bad), Err(Reason::InvalidHost), "{bad:?}");
        }
        assert_eq!(split_port(b"[::1]:80"), (&b"[::1]"[..], Some(&b"80"[..])));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b"+5"), None);
    }
}
