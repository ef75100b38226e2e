//! `[[http_route]]`: which requests go where, in the words of the Gateway API.

use crate::config::scalar::{Int, Name};
use crate::config::slot::{At, List, Optional, Required};
use crate::config::table::{table, words};

table! {
    /// Requests that go to the same backends.
    ///
    /// Among all routes of a listener the most specific wins: exact host before wildcard, the longer wildcard first; then an
    /// exact path before a prefix, the longer prefix first; then the earlier route in the file.
    pub struct HttpRoute("[[http_route]]") {
        /// Name in logs and metrics; unique. Without it the route is called `route-N`, counted from 1.
        name: Optional<Name>;
        /// Listeners it applies to, by name. Without it, all.
        listeners: At<List<Name>> = Vec::new(), "[]";
        /// Hosts it applies to: `www.example.com`, or `*.example.com` for every name below. Without it, all.
        hostnames: At<List<String>> = Vec::new(), "[]";
        /// Conditions on the request, one of which must hold. Without it, every request.
        matches: At<List<HttpMatch>> = Vec::new(), "[]";
        /// Clusters the requests go to, in proportion to their weights.
        backend_refs: Required<List<BackendRef>>;
        /// Limits in time.
        timeouts: At<Timeouts>;
        /// What is tried again on another backend.
        retry: At<Retry>;
    }
}

table! {
    /// Conditions, all of which must hold.
    pub struct HttpMatch("an item of `matches`") {
        /// The path is this or below it, in whole segments: `/api` matches `/api` and `/api/x`, not `/apix`.
        path_prefix: Optional<String>;
        /// The path is exactly this.
        path_exact: Optional<String>;
    }
}

table! {
    /// A share of a route's requests.
    pub struct BackendRef("an item of `backend_refs`") {
        /// A cluster's name.
        cluster: Required<Name>;
        /// Its share: its weight divided by the sum of all. 0 gets nothing.
        weight: At<Int<0, 1_000_000>> = Int::new(1), "1";
    }
}

table! {
    /// Limits in time.
    pub struct Timeouts("`timeouts`") {
        /// Milliseconds from the complete request head to the end of the response, retries included; 0 is no limit. Without it,
        /// the listener's `request_timeout_s`.
        request_ms: Optional<Int<0, 86_400_000>>;
    }
}

table! {
    /// What is tried again on another backend.
    pub struct Retry("`retry`") {
        /// How often a request is tried again; 0 is never.
        attempts: At<Int<0, 10>> = Int::new(2), "2";
        /// After which failures.
        on: At<List<RetryOn>> = vec![At::fallback(RetryOn::ConnectFailure), At::fallback(RetryOn::Reset)],
            "[\"connect_failure\", \"reset\"]";
    }
}

words! {
    /// A failure after which a request is tried again.
    pub enum RetryOn {
        /// No connection could be made: nothing was sent, so any request may be tried again.
        ConnectFailure = "connect_failure",
        /// The connection broke before the first byte of a response. Only idempotent requests (RFC 9110 §9.2.2).
        Reset = "reset",
    }
}
