//! Which rule a request belongs to: host first, then path, with the precedence of the Gateway API. Hosts go from exact over the
//! longest wildcard to any; under each host an exact path beats the longest prefix. A host whose paths do not match gives way to
//! the next less specific one.

use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::http1::target::{MAX_HOST, split_port};

/// How a rule's path is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Whole path elements from the start: `/a` matches `/a` and `/a/b`, not `/ab`. A trailing slash means nothing.
    Prefix(Box<[u8]>),
    /// The path and nothing else.
    Exact(Box<[u8]>),
}

/// Why a rule cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Not a host name, or a `*` anywhere but as the whole first label.
    InvalidHostname,
    /// A path that does not begin with `/`, or a prefix of more than [`MAX_DEPTH`] elements.
    InvalidPath,
}

impl core::fmt::Display for RouteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RouteError::InvalidHostname => f.write_str("not a host name; a wildcard must be the whole first label"),
            RouteError::InvalidPath => write!(f, "a path begins with / and a prefix has at most {MAX_DEPTH} elements"),
        }
    }
}

impl core::error::Error for RouteError {}

/// Most elements of a path prefix: bounds the look-ups per request, whatever path a client sends.
pub const MAX_DEPTH: usize = 32;

/// The rules of one listener, as numbers.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<[u8]>, Paths, RandomState>,
    /// Keyed by the part after the `*`, with its dot.
    wildcard: HashMap<Box<[u8]>, Paths, RandomState>,
    any: Paths,
}

#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, u32, RandomState>,
    prefix: HashMap<Box<[u8]>, u32, RandomState>,
    /// Elements of the longest prefix.
    depth: usize,
}

impl RouteTable {
    /// Adds a rule; `hostname` is a name, `*.suffix`, or empty for any. The first rule for the same host and path wins, as in the
    /// Gateway API the oldest does.
    ///
    /// # Errors
    /// [`RouteError`]; nothing is added then.
    pub fn insert(&mut self, hostname: &str, path: &PathMatch, rule: u32) -> Result<(), RouteError> {
        let path = CheckedPath::of(path)?;
        let host = hostname.trim_end_matches('.').to_ascii_lowercase();
        let paths = match host.strip_prefix('*') {
            _ if host.is_empty() => &mut self.any,
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') && is_name(&suffix[1..]) => {
                self.wildcard.entry(suffix.as_bytes().into()).or_default()
            }
            None if is_name(&host) => self.exact.entry(host.as_bytes().into()).or_default(),
            _ => return Err(RouteError::InvalidHostname),
        };
        match path {
            CheckedPath::Exact(path) => paths.exact.entry(path.into()).or_insert(rule),
            CheckedPath::Prefix(path, depth) => {
                paths.depth = paths.depth.max(depth);
                paths.prefix.entry(path.into()).or_insert(rule)
            }
        };
        Ok(())
    }

    /// The rule for a request. `host` is `host[:port]` as sent; `path` is without its query.
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<u32> {
        let mut lower = ArrayVec::<u8, MAX_HOST>::new();
        let name = split_port(host).0;
        let name = name.strip_suffix(b".").unwrap_or(name);
        // A longer one cannot be in the table.
        if lower.try_extend_from_slice(name).is_err() {
            return self.any.find(path);
        }
        lower.make_ascii_lowercase();
        if let Some(rule) = self.exact.get(&lower[..]).and_then(|paths| paths.find(path)) {
            return Some(rule);
        }
        if !self.wildcard.is_empty() {
            // The longest suffix first; `*` stands for at least one label.
            for at in memchr::memchr_iter(b'.', &lower).filter(|at| *at > 0) {
                if let Some(rule) = self.wildcard.get(&lower[at..]).and_then(|paths| paths.find(path)) {
                    return Some(rule);
                }
            }
        }
        self.any.find(path)
    }
}

impl Paths {
    fn find(&self, path: &[u8]) -> Option<u32> {
        if let Some(rule) = self.exact.get(path) {
            return Some(*rule);
        }
        // Ends of the first `depth` elements, at most; the root's prefix is the empty string.
        let mut ends = ArrayVec::<usize, MAX_DEPTH>::new();
        if self.depth > 0 {
            let slashes = memchr::memchr_iter(b'/', path).filter(|at| *at > 0);
            ends.extend(slashes.chain([path.len()]).take(self.depth));
        }
        ends.iter().rev().chain([&0]).find_map(|end| self.prefix.get(&path[..*end])).copied()
    }
}

enum CheckedPath<'p> {
    Exact(&'p [u8]),
    Prefix(&'p [u8], usize),
}

impl CheckedPath<'_> {
    fn of(path: &PathMatch) -> Result<CheckedPath<'_>, RouteError> {
        let (PathMatch::Prefix(bytes) | PathMatch::Exact(bytes)) = path;
        if bytes.first() != Some(&b'/') {
            return Err(RouteError::InvalidPath);
        }
        match path {
            PathMatch::Exact(bytes) => Ok(CheckedPath::Exact(bytes)),
            PathMatch::Prefix(bytes) => {
                let trimmed = bytes.strip_suffix(b"/").unwrap_or(bytes);
                let depth = memchr::memchr_iter(b'/', trimmed).count();
                if depth > MAX_DEPTH { Err(RouteError::InvalidPath) } else { Ok(CheckedPath::Prefix(trimmed, depth)) }
            }
        }
    }
}

/// A name or an address that Host can hold.
fn is_name(host: &str) -> bool {
    host.len() <= MAX_HOST
        && split_port(host.as_bytes()).1.is_none()
        && super::http1::target::check_host(host.as_bytes()).is_ok()
}

/// The path as rules see it: percent-encoded unreserved characters are decoded, since `/%61` and `/a` are the same resource
/// (RFC 3986 §6.2.2.2) and a rule must not be dodged by spelling. What is forwarded stays as sent.
pub fn comparable<'p>(path: &'p [u8], scratch: &'p mut Vec<u8>) -> &'p [u8] {
    if memchr::memchr(b'%', path).is_none() {
        return path;
    }
    scratch.clear();
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        scratch.extend_from_slice(&rest[..at]);
        match decoded(&rest[at..]) {
            Some(byte) => {
                scratch.push(byte);
                rest = &rest[at + 3..];
            }
            None => {
                scratch.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    scratch.extend_from_slice(rest);
    scratch
}

fn decoded(encoded: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let [_, high, low, ..] = encoded else { return None };
    let byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(path: &str) -> PathMatch {
        PathMatch::Prefix(path.as_bytes().into())
    }

    fn table(rules: &[(&str, &str)]) -> RouteTable {
        let mut table = RouteTable::default();
        for (rule, (host, path)) in rules.iter().enumerate() {
            table.insert(host, &prefix(path), rule as u32).expect("valid");
        }
        table
    }

    #[test]
    fn the_most_specific_host_wins_then_the_longest_prefix() {
        let table = table(&[
            ("", "/"),
            ("*.example.com", "/"),
            ("*.a.example.com", "/"),
            ("x.example.com", "/api"),
            ("x.example.com", "/api/v2/"),
            ("*.example.com", "/api"),
        ]);
        for (host, path, rule) in [
            ("other", "/api", 0),
            ("example.com", "/", 0),
            ("y.example.com", "/q", 1),
            ("y.example.com", "/api/v2", 5),
            ("b.a.example.com", "/", 2),
            ("X.Example.COM:8443", "/api/v1", 3),
            ("x.example.com.", "/api/v2", 4),
            ("x.example.com", "/api/v2/", 4),
            ("x.example.com", "/api/v22", 3),
            ("x.example.com", "/apiv2", 1),
            ("", "/", 0),
        ] {
            assert_eq!(table.find(host.as_bytes(), path.as_bytes()), Some(rule), "{host} {path}");
        }
    }

    #[test]
    fn exact_paths_and_the_first_of_equals_win() {
        let mut table = table(&[("", "/a"), ("", "/a/")]);
        table.insert("", &PathMatch::Exact((*b"/a/b").into()), 7).expect("valid");
        assert_eq!(table.find(b"h", b"/a/b"), Some(7));
        assert_eq!(table.find(b"h", b"/a/b/c"), Some(0));
        assert_eq!(table.find(b"h", b"/"), None);
        assert_eq!(table.find(&[b'x'; 300], b"/a"), Some(0));
    }

    #[test]
    fn bad_rules_are_refused() {
        let mut table = RouteTable::default();
        for host in ["*", "a.*.b", "*a.b", "a b", "*.", "a:80"] {
            assert_eq!(table.insert(host, &prefix("/"), 0), Err(RouteError::InvalidHostname), "{host}");
        }
        assert_eq!(table.insert("", &prefix("a"), 0), Err(RouteError::InvalidPath));
        assert_eq!(table.insert("", &prefix(&"/a".repeat(33)), 0), Err(RouteError::InvalidPath));
    }

    #[test]
    fn spelling_does_not_dodge_a_rule() {
        let mut scratch = Vec::new();
        assert_eq!(comparable(b"/%61dmin/%2f%zz%4", &mut scratch), b"/admin/%2f%zz%4");
        assert_eq!(comparable(b"/plain", &mut scratch), b"/plain");
    }

    proptest! {
        #[test]
        fn prefixes_agree_with_the_definition(
            prefixes in proptest::collection::vec("(/[ab]{0,2}){1,4}", 1..6),
            path in "(/[ab]{0,2}){1,6}",
        ) {
            let mut table = RouteTable::default();
            for (rule, text) in prefixes.iter().enumerate() {
                table.insert("", &prefix(text), rule as u32).expect("valid");
            }
            let matches = |text: &str| {
                let text = text.strip_suffix('/').unwrap_or(text);
                path.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let length = |text: &str| text.strip_suffix('/').unwrap_or(text).len();
            let longest = prefixes.iter().filter(|text| matches(text)).map(|text| length(text)).max();
            let expected = longest.and_then(|len| prefixes.iter().position(|text| matches(text) && length(text) == len));
            prop_assert_eq!(table.find(b"h", path.as_bytes()), expected.map(|rule| rule as u32));
        }
    }
}
