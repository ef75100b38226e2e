//! Ports: what they are, what went through them, and the addresses on their links.

use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::addresses;
use crate::admin::Desk;
use crate::telemetry::document::Document;

pub(super) async fn show(State(desk): State<Desk>) -> Response {
    let status = desk.status.borrow().clone();
    let document = Document::of(&desk.telemetry, &status, Instant::now());
    let addresses = addresses::of(&status, &desk.telemetry, SystemTime::now());
    let answer = json!({ "ports": document.ports, "addresses": addresses, "uptime_ms": document.uptime_ms });
    Json(answer).into_response()
}
