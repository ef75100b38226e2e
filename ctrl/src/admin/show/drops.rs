//! Losses: every reason there is, what it means, and how often it occurred.

use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_dataplane::verdict::DropReason;

use super::refuse;
use crate::admin::Desk;

/// A reason and its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// The word in counters, traces and captures.
    pub reason: String,
    /// Packets lost for it since the start, over all cores.
    pub packets: u64,
    /// What it means.
    pub explanation: String,
}

/// `?reason=…&nonzero`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Words, with commas in between; a word that ends with `*` stands for all that begin with it.
    reason: Option<String>,
    nonzero: Option<String>,
}

pub(super) async fn show(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let words: Vec<&str> = wanted.reason.as_deref().map_or(Vec::new(), |words| words.split(',').collect());
    if let Some(unknown) = words.iter().find(|word| !DropReason::ALL.iter().any(|reason| is_meant(word, *reason))) {
        return refuse(StatusCode::BAD_REQUEST, unknown_reason(unknown));
    }
    let drops = DropReason::ALL
        .iter()
        .filter(|reason| words.is_empty() || words.iter().any(|word| is_meant(word, **reason)))
        .map(|reason| Drop {
            reason: reason.label().to_owned(),
            packets: desk.telemetry.sum(|core| core.stats.drops(*reason)),
            explanation: reason.explanation().trim().to_owned(),
        })
        .filter(|drop| drop.packets > 0 || wanted.nonzero.is_none());
    let uptime = desk.telemetry.uptime_ms(Instant::now());
    Json(json!({ "drops": drops.collect::<Vec<_>>(), "uptime_ms": uptime })).into_response()
}

fn is_meant(word: &str, reason: DropReason) -> bool {
    match word.strip_suffix('*') {
        Some(start) => reason.label().starts_with(start),
        None => reason.label() == word,
    }
}

fn unknown_reason(word: &str) -> String {
    let near = DropReason::ALL.iter().map(|reason| reason.label());
    let near = near.max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    let near = near.filter(|near| strsim::jaro_winkler(word, near) > 0.8);
    let hint = near.map_or_else(|| "`show drops` lists them all".to_owned(), |near| format!("is `{near}` meant?"));
    format!("no reason is called `{word}`: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_meant_by_name_or_by_their_beginning() {
        assert!(is_meant("no_route", DropReason::NoRoute) && is_meant("tcp_*", DropReason::TcpBadChecksum));
        assert!(!is_meant("no_rout", DropReason::NoRoute) && !is_meant("tcp_*", DropReason::NoRoute));
        assert_eq!(unknown_reason("no_rout"), "no reason is called `no_rout`: is `no_route` meant?");
        assert_eq!(unknown_reason("zzz"), "no reason is called `zzz`: `show drops` lists them all");
    }
}
