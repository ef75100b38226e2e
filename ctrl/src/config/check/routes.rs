//! `[[http_route]]`: names resolved, hosts and paths that can match, nothing shadowed.

use std::collections::HashMap;

use super::{Checker, Names};
use crate::config::model::{self, BackendRef, PathMatch, Reference};
use crate::config::raw::{HttpMatch, HttpRoute, Raw};
use crate::config::scalar::Name;
use crate::config::slot::At;
use crate::diagnostic::{Code, Diagnostic, Span};

/// What the data plane's route table holds of one path.
const MAX_SEGMENTS: usize = 32;

pub(super) fn check(raw: &Raw, names: &Names, cx: &mut Checker<'_>) -> Vec<model::HttpRoute> {
    let mut used = Used { names: HashMap::new(), conditions: HashMap::new() };
    let mut routes = Vec::new();
    for (at, route) in raw.http_route.0.iter().enumerate() {
        routes.extend(check_one(at, route, names, &mut used, cx));
    }
    unused(raw, &routes, names, cx);
    routes
}

/// What earlier routes have taken.
struct Used {
    names: HashMap<String, Span>,
    conditions: HashMap<(usize, String, PathMatch), Span>,
}

fn check_one(
    at: usize,
    route: &HttpRoute,
    names: &Names,
    used: &mut Used,
    cx: &mut Checker<'_>,
) -> Option<model::HttpRoute> {
    if let Some(name) = route.name.ok()
        && let Some(first) = used.names.insert(name.0.clone(), name.span)
    {
        let twice =
            Diagnostic::error(Code::Duplicate, name.span, format!("there is already an http_route `{}`", name.0));
        cx.push(twice.related(first, "the first is here").help("give each its own name"));
    }
    let listeners: Vec<Reference> = if route.listeners.is_empty() {
        names.listeners.all()
    } else {
        route.listeners.iter().filter_map(|name| names.listeners.resolve(name, cx)).collect()
    };
    let hostnames: Vec<String> = route.hostnames.iter().filter_map(|host| hostname(host, cx)).collect();
    let matches: Vec<(PathMatch, Span)> = if route.matches.is_empty() {
        vec![(PathMatch::PathPrefix("/".to_owned()), route.backend_refs.ok().map_or(route.head, |refs| refs.span))]
    } else {
        route.matches.iter().filter_map(|item| Some((condition(item, cx)?, item.span))).collect()
    };
    shadowed(&listeners, &hostnames, &matches, used, cx);
    let backends = backends(route, names, cx);
    let request: Option<u32> = route.timeouts.request_ms.ok().map(|ms| ms.to());
    Some(model::HttpRoute {
        name: route.name.ok().map_or_else(|| Name(format!("route-{}", at + 1)), |name| name.value.clone()),
        listeners,
        hostnames,
        matches: matches.into_iter().map(|(condition, _)| condition).collect(),
        backends: backends?,
        request_timeout_ms: request,
        retry: model::Retry {
            attempts: route.retry.attempts.to(),
            on: route.retry.on.iter().map(|on| on.value).collect(),
        },
    })
}

fn backends(route: &HttpRoute, names: &Names, cx: &mut Checker<'_>) -> Option<Vec<BackendRef>> {
    let list = route.backend_refs.ok()?;
    let mut backends = Vec::new();
    for item in &list.value {
        let cluster = item.cluster.ok().and_then(|name| names.clusters.resolve(name, cx));
        let weight: u32 = item.weight.to();
        backends.extend(cluster.map(|cluster| BackendRef { cluster, weight }));
    }
    if cx.broken(list.span) {
        return None;
    }
    if list.is_empty() {
        let none = Diagnostic::error(Code::InvalidValue, list.span, "the route has no backend");
        cx.push(none.help("write `backend_refs = [{ cluster = \"…\" }]`"));
    } else if backends.iter().all(|backend| backend.weight == 0) && backends.len() == list.len() {
        let none =
            Diagnostic::error(Code::InvalidValue, list.span, "all weights are 0: no backend would get a request");
        cx.push(none.help("give at least one a weight of 1 or more"));
    }
    Some(backends)
}

/// A host name in lower case, perhaps with `*.` in front (Gateway API: the wildcard stands for one or more labels).
fn hostname(host: &At<String>, cx: &mut Checker<'_>) -> Option<String> {
    let text = host.to_ascii_lowercase();
    let bare = text.strip_prefix("*.").unwrap_or(&text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if bare.len() <= 253 && bare.split('.').all(label) {
        return Some(text);
    }
    let bad = Diagnostic::error(Code::InvalidValue, host.span, format!("`{}` is not a host name", host.value));
    cx.push(if text == "*" {
        bad.help("leave out `hostnames` for all hosts")
    } else if let Some((_, rest)) = text.split_once("://") {
        bad.help(format!("leave out the scheme: `\"{}\"`", rest.trim_end_matches('/')))
    } else if text.contains('*') {
        bad.help("a wildcard is `*.` in front of a name, as `*.example.com`")
    } else if let Some((name, port)) = text.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        bad.help(format!("leave out the port: `\"{name}\"`"))
    } else {
        bad.help("labels of letters, digits and `-`, joined by dots")
    });
    None
}

fn condition(item: &At<HttpMatch>, cx: &mut Checker<'_>) -> Option<PathMatch> {
    match (&item.path_prefix.ok(), &item.path_exact.ok()) {
        (Some(prefix), Some(exact)) => {
            let both = "`path_prefix` and `path_exact` exclude each other";
            cx.push(Diagnostic::error(Code::Conflict, exact.span, both).related(prefix.span, "the other is here"));
            None
        }
        (Some(prefix), None) => {
            let clean = path(prefix, cx)?;
            let trimmed = clean.trim_end_matches('/');
            Some(PathMatch::PathPrefix(if trimmed.is_empty() { "/" } else { trimmed }.to_owned()))
        }
        (None, Some(exact)) => path(exact, cx).map(PathMatch::PathExact),
        (None, None) => {
            if item.path_prefix.is_absent() && item.path_exact.is_absent() && !cx.broken(item.span) {
                let none = Diagnostic::error(Code::MissingKey, item.span, "the match has no condition");
                cx.push(none.help("write `{ path_prefix = \"/api\" }`; leave out `matches` for every request"));
            }
            None
        }
    }
}

/// A path as it stands in a request after normalization (RFC 3986 §3.3, §6.2.2).
fn path(path: &At<String>, cx: &mut Checker<'_>) -> Option<String> {
    let text = &path.value;
    let reason = if !text.starts_with('/') {
        Some(("must begin with `/`", format!("write `\"/{text}\"`")))
    } else if let Some(cut) = text.find(['?', '#']) {
        Some(("is more than a path", format!("write `\"{}\"`: queries are not matched", &text[..cut])))
    } else if text.split('/').any(|segment| segment == "." || segment == "..") {
        Some(("can never match: a request with `/.` or `/..` is refused", "write the resolved path".to_owned()))
    } else if text.contains("//") {
        Some(("has an empty segment", "write single slashes".to_owned()))
    } else if text.matches('/').count() > MAX_SEGMENTS {
        Some(("is too deep", format!("at most {MAX_SEGMENTS} segments")))
    } else if text.contains('*') {
        Some(("has a `*`, which is not a wildcard here", "`path_prefix` matches everything below already".to_owned()))
    } else if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c)) {
        let encoded: String = odd.encode_utf8(&mut [0; 4]).bytes().map(|b| format!("%{b:02X}")).collect();
        Some(("has a character that no path has", format!("write it as `{encoded}`")))
    } else {
        None
    };
    let Some((reason, help)) = reason else { return Some(text.clone()) };
    cx.push(Diagnostic::error(Code::InvalidValue, path.span, format!("`{text}` {reason}")).help(help));
    None
}

/// Two routes with the same condition: the later one would never get a request.
fn shadowed(
    listeners: &[Reference],
    hostnames: &[String],
    matches: &[(PathMatch, Span)],
    used: &mut Used,
    cx: &mut Checker<'_>,
) {
    let all = [String::new()];
    let hosts = if hostnames.is_empty() { &all[..] } else { hostnames };
    for (condition, span) in matches {
        let mut first = None;
        for listener in listeners {
            for host in hosts {
                let key = (listener.index, host.clone(), condition.clone());
                match used.conditions.get(&key) {
                    Some(taken) => first = first.or(Some((listener.name.0.clone(), host.clone(), *taken))),
                    None => drop(used.conditions.insert(key, *span)),
                }
            }
        }
        if let Some((listener, host, taken)) = first {
            let of = if host.is_empty() { String::new() } else { format!(" for `{host}`") };
            let message = format!("never reached on listener `{listener}`{of}: an earlier match is the same");
            cx.push(Diagnostic::error(Code::Duplicate, *span, message).related(taken, "the first is here"));
        }
    }
}

/// Listeners that would answer 404 to everything, clusters that get nothing.
fn unused(raw: &Raw, routes: &[model::HttpRoute], names: &Names, cx: &mut Checker<'_>) {
    if routes.len() < raw.http_route.0.len() {
        return;
    }
    let listened = |index| routes.iter().any(|route| route.listeners.iter().any(|listener| listener.index == index));
    let backed = |index| routes.iter().any(|route| route.backends.iter().any(|backend| backend.cluster.index == index));
    for index in 0..raw.listener.0.len() {
        if let Some(span) = names.listeners.place(index).filter(|_| !listened(index)) {
            let message = "no `[[http_route]]` is for this listener: it answers 404 to every request";
            cx.push(Diagnostic::warning(Code::Unused, span, message));
        }
    }
    for index in 0..raw.cluster.0.len() {
        if let Some(span) = names.clusters.place(index).filter(|_| !backed(index)) {
            cx.push(Diagnostic::warning(Code::Unused, span, "no `[[http_route]]` sends requests to this cluster"));
        }
    }
}
