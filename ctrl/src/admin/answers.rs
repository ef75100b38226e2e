//! What each path answers.

use std::fmt::Write as _;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::{Desk, Request};
use crate::config::pem::Validity;
use crate::status::{Phase, Status};
use crate::telemetry::document::Document;
use crate::telemetry::family;

/// `?format=json`.
#[derive(Debug, Deserialize)]
pub(super) struct Form {
    format: Option<String>,
}

impl Form {
    fn is_json(&self) -> bool {
        self.format.as_deref() == Some("json")
    }
}

/// `?now`.
#[derive(Debug, Deserialize)]
pub(super) struct Haste {
    now: Option<String>,
}

pub(super) async fn index() -> &'static str {
    "GET  /ready, /readyz  200 while new connections are accepted\n\
     GET  /healthz        200 while every core turns\n\
     GET  /stats          counters; ?format=json for a document\n\
     GET  /metrics        counters for Prometheus\n\
     GET  /listeners      names and addresses\n\
     GET  /clusters       endpoints and what was seen of them\n\
     GET  /config_dump    the configuration in use\n\
     GET  /certs          the certificates in use\n\
     GET  /show/ports, /show/neighbors, /show/routes, /show/policies, /show/drops  parts of the state, with filters\n\
     GET  /capture        packets as pcapng (socket only)\n\
     GET  /trace          ways of packets as lines of JSON (socket only)\n\
     GET  /explain        what would become of a packet (socket only)\n\
     POST /stop           end a capture or trace by its number (socket only)\n\
     POST /reload         load the file again (socket only)\n\
     POST /drain_listeners  accept no new connections (socket only)\n\
     POST /quit           drain and exit; ?now at once (socket only)\n"
}

fn status(desk: &Desk) -> std::sync::Arc<Status> {
    desk.status.borrow().clone()
}

pub(super) async fn ready(State(desk): State<Desk>) -> (StatusCode, String) {
    match status(&desk).phase {
        Phase::Serve => (StatusCode::OK, "LIVE\n".to_owned()),
        other => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", other.as_str().to_uppercase())),
    }
}

pub(super) async fn healthy(State(desk): State<Desk>) -> (StatusCode, String) {
    let status = status(&desk);
    if status.stalled.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let cores: Vec<String> = status.stalled.iter().map(ToString::to_string).collect();
        (StatusCode::SERVICE_UNAVAILABLE, format!("no heartbeat from the cores on CPU {}\n", cores.join(", ")))
    }
}

pub(super) async fn stats(State(desk): State<Desk>, Query(form): Query<Form>) -> Response {
    let status = status(&desk);
    if form.is_json() {
        Json(Document::of(&desk.telemetry, &status, Instant::now())).into_response()
    } else {
        family::plain(&desk.telemetry.families(&status)).into_response()
    }
}

pub(super) async fn metrics(State(desk): State<Desk>) -> impl IntoResponse {
    let text = family::exposition(&desk.telemetry.families(&status(&desk)));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

pub(super) async fn listeners(State(desk): State<Desk>, Query(form): Query<Form>) -> Response {
    let config = status(&desk).config.clone();
    if form.is_json() {
        return Json(json!({ "listeners": config.listeners })).into_response();
    }
    let mut out = String::new();
    for listener in &config.listeners {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}::{}", listener.name.0, listener.address);
    }
    out.into_response()
}

pub(super) async fn clusters(State(desk): State<Desk>, Query(form): Query<Form>) -> Response {
    let document = Document::of(&desk.telemetry, &status(&desk), Instant::now());
    if form.is_json() {
        return Json(json!({ "clusters": document.clusters })).into_response();
    }
    let mut out = String::new();
    for cluster in &document.clusters {
        for endpoint in &cluster.endpoints {
            let flags = if endpoint.up { "healthy" } else { "/failed_connect" };
            let _ = writeln!(out, "{}::{}::health_flags::{flags}", cluster.name, endpoint.address);
            let counts = [
                ("rq_total", endpoint.requests),
                ("rq_active", endpoint.active),
                ("rq_error", endpoint.failures),
                ("cx_total", endpoint.connects),
                ("cx_connect_fail", endpoint.connect_failures),
            ];
            for (word, count) in counts {
                let _ = writeln!(out, "{}::{}::{word}::{count}", cluster.name, endpoint.address);
            }
        }
    }
    out.into_response()
}

pub(super) async fn config_dump(State(desk): State<Desk>) -> Response {
    let status = status(&desk);
    Json(json!({ "generation": status.generation, "config": &*status.config })).into_response()
}

pub(super) async fn certs(State(desk): State<Desk>) -> Response {
    let status = status(&desk);
    let now = SystemTime::now();
    let files = status.certificates.iter().map(|(path, certificates)| {
        let certificates: Vec<_> = certificates
            .iter()
            .map(|certificate| {
                let seconds_left = match certificate.validity(now) {
                    Validity::EndsIn(rest) => Some(rest.as_secs()),
                    Validity::ExpiredFor(_) | Validity::BeginsIn(_) => None,
                };
                json!({ "certificate": certificate, "valid": seconds_left.is_some(), "seconds_left": seconds_left })
            })
            .collect();
        json!({ "path": path, "certificates": certificates })
    });
    Json(json!({ "files": files.collect::<Vec<_>>() })).into_response()
}

pub(super) async fn reload(State(desk): State<Desk>) -> Response {
    match ask(&desk, Request::Reload).await {
        Ok(reloaded) => {
            let code = if reloaded.ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            (code, Json(reloaded)).into_response()
        }
        Err(gone) => gone.into_response(),
    }
}

pub(super) async fn drain(State(desk): State<Desk>) -> Response {
    match ask(&desk, Request::Drain).await {
        Ok(()) => "draining\n".into_response(),
        Err(gone) => gone.into_response(),
    }
}

pub(super) async fn quit(State(desk): State<Desk>, Query(haste): Query<Haste>) -> Response {
    let now = haste.now.is_some();
    match ask(&desk, |reply| Request::Quit { now, reply }).await {
        Ok(()) => "stopping\n".into_response(),
        Err(gone) => gone.into_response(),
    }
}

/// Sends a request to the control loop and waits for its answer.
async fn ask<T>(
    desk: &Desk,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, (StatusCode, &'static str)> {
    let gone = (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n");
    let (reply, answer) = oneshot::channel();
    desk.requests.send(request(reply)).await.map_err(|_| gone)?;
    answer.await.map_err(|_| gone)
}
