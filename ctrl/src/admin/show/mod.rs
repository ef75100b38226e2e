//! `/show/…`: the parts of the gateway's state, each with filters, as rows that programs and people read.
//!
//! Routes are many: they are filtered here and sent as they are found, a line of JSON each, so that neither this process nor the one that
//! asks holds more than a few at a time.

mod addresses; // what is ours, and who disputes it
mod drops; // losses
mod neighbors; // what the cores know about other stations
mod policies; // rules that come before the routes
mod ports; // ports and their interfaces
mod routes; // prefixes and their ways
mod stream; // a body that is made as it is sent

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tidegate_dataplane::l3::{Table, VrfId};

pub use addresses::{Address, Standing};
pub use drops::Drop;
pub use neighbors::Neighbor;
pub(crate) use neighbors::word as neighbor_word;
pub use policies::Policy;
pub use ports::Interface;
pub(crate) use routes::word as action_word;
pub use routes::{Hop, More, Route};
pub(crate) use stream::{Chunks, line};

use super::Desk;
use crate::config::model::{ALL, MAIN};
use crate::status::Status;

/// The paths.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/show/ports", get(ports::show))
        .route("/show/neighbors", get(neighbors::show))
        .route("/show/neighbours", get(neighbors::show))
        .route("/show/routes", get(routes::show))
        .route("/show/policies", get(policies::show))
        .route("/show/drops", get(drops::show))
}

/// What is wrong with a question, for people and programs.
pub(crate) fn refuse(code: StatusCode, what: impl std::fmt::Display) -> Response {
    (code, Json(json!({ "error": what.to_string() }))).into_response()
}

/// The name of an interface.
pub(crate) fn interface_name(status: &Status, index: usize) -> String {
    let known = status.tables.l3.link().interfaces().get(index).filter(|known| !known.name.is_empty());
    known.map_or_else(|| index.to_string(), |known| known.name.clone())
}

/// The name of a routing domain.
pub(crate) fn domain_name(table: &Table, vrf: VrfId) -> &str {
    if vrf == VrfId::MAIN { MAIN } else { table.vrf(vrf).name() }
}

/// The routing domains that a word stands for: the one of this name, or all; the refusal of a name that none has.
pub(crate) fn domains(table: &Table, name: &str) -> Result<Vec<VrfId>, String> {
    let numbered = || table.vrfs().iter().zip(1..).filter(|(vrf, _)| !vrf.name().is_empty());
    if name == ALL {
        return Ok(std::iter::once(VrfId::MAIN).chain(numbered().map(|(_, number)| VrfId(number))).collect());
    }
    if name == MAIN {
        return Ok(vec![VrfId::MAIN]);
    }
    let there = || [MAIN].into_iter().chain(numbered().map(|(vrf, _)| vrf.name())).collect::<Vec<_>>().join(", ");
    let one = table.vrf_named(name).map(|vrf| vec![vrf]);
    one.ok_or_else(|| format!("there is no VRF `{name}`; there are: {}; `{ALL}` stands for all of them", there()))
}

/// The number of an interface; the refusal of a name that none has.
pub(crate) fn interface_index(status: &Status, name: &str) -> Result<usize, String> {
    position("interface", name, status.tables.l3.link().interfaces().iter().map(|known| known.name.as_str()))
}

/// The place of a name among those that there are, of which the nameless are none; else what to say: `kind` is what has the names.
///
/// # Errors
/// None is called so.
pub fn position<'a>(kind: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<usize, String> {
    let at = names.clone().position(|known| known == name && !name.is_empty());
    at.ok_or_else(|| {
        let known: Vec<&str> = names.filter(|known| !known.is_empty()).collect();
        format!("there is no {kind} `{name}`; there are: {}", known.join(", "))
    })
}
