//! Rules that come before the routes: what each asks for, where it leads, and what it has decided.

use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_dataplane::l3::policy::{Rule, Way};
use tidegate_dataplane::stats::PolicyStats;
use tidegate_dataplane::sync::counter::Counter;

use super::routes::{Hop, Leads};
use super::{domain_name, position, refuse};
use crate::admin::Desk;
use crate::config::model::{self, ALL, MAIN, Reference};
use crate::status::Status;
use crate::telemetry::Telemetry;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The routing domain whose packets it is for.
    pub vrf: String,
    /// It is for packets of the gateway itself.
    pub own: bool,
    /// What it asks for; empty lists ask for nothing.
    pub asks: Asks,
    /// What is done: `lookup` (in the routes of a domain), `forward`, `spread` (over several next hops), `blackhole`, `unreachable`,
    /// `prohibit`, `none` if it leads nowhere now.
    pub action: String,
    /// The domain of `lookup`.
    pub lookup: Option<String>,
    /// The next hop, if it is a router.
    pub via: Option<String>,
    /// The interface it leaves by.
    pub interface: Option<String>,
    /// The next hops that share its packets, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// Packets that it has decided about, over all cores.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// What a rule asks of packets, as the file says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// Interfaces they come in by.
    pub incoming: Vec<String>,
    /// Prefixes they are from.
    pub from: Vec<String>,
    /// Prefixes they are to.
    pub to: Vec<String>,
    /// Transport protocols.
    pub protocol: Vec<String>,
    /// Ports they are from.
    pub source_port: Vec<String>,
    /// Ports they are to.
    pub destination_port: Vec<String>,
    /// Code points.
    pub dscp: Vec<String>,
}

/// `?name=…&vrf=…`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    name: Option<String>,
    vrf: Option<String>,
}

pub(super) async fn show(State(desk): State<Desk>, Query(mut wanted): Query<Wanted>) -> Response {
    wanted.vrf = wanted.vrf.filter(|name| name != ALL);
    let status = desk.status.borrow().clone();
    let known = status.config.policies.iter().map(|policy| policy.name.0.as_str());
    let domains = std::iter::once(MAIN).chain(status.config.vrfs.iter().map(|vrf| vrf.0.as_str()));
    let named = wanted.name.as_deref().map(|name| position("policy", name, known)).transpose();
    let inside = wanted.vrf.as_deref().map(|name| position("VRF", name, domains)).transpose();
    if let Err(wrong) = named.and(inside) {
        return refuse(StatusCode::BAD_REQUEST, wrong);
    }
    let rows = status.config.policies.iter().filter_map(|policy| row(&status, &desk.telemetry, policy));
    let rows = rows.filter(|row| wanted.name.as_ref().is_none_or(|name| *name == row.name));
    let rows = rows.filter(|row| wanted.vrf.as_ref().is_none_or(|vrf| *vrf == row.vrf));
    let uptime = desk.telemetry.uptime_ms(Instant::now());
    Json(json!({ "policies": rows.collect::<Vec<_>>(), "uptime_ms": uptime })).into_response()
}

/// A rule of the file, if the tables have it already.
fn row(status: &Status, telemetry: &Telemetry, policy: &model::Policy) -> Option<Policy> {
    let table = &status.tables.l3;
    let Rule { way, counter, .. } = table.policies().rules().iter().find(|rule| *rule.name == *policy.name.0)?;
    let sum = |of: fn(&PolicyStats) -> &Counter| telemetry.sum(|core| of(core.stats.policy(*counter)));
    let (lookup, leads) = match *way {
        Way::Domain(vrf) => {
            (Some(domain_name(table, vrf).to_owned()), Leads { action: "lookup".to_owned(), ..Leads::default() })
        }
        Way::Hop(hop) => (None, Leads::to(status, table, hop)),
    };
    Some(Policy {
        name: policy.name.0.clone(),
        vrf: domain(policy.vrf.as_ref()),
        own: policy.own,
        asks: asks(policy),
        action: leads.action,
        lookup,
        via: leads.via,
        interface: leads.interface,
        hops: leads.hops,
        packets: sum(|counts| &counts.packets),
        bytes: sum(|counts| &counts.bytes),
    })
}

fn asks(policy: &model::Policy) -> Asks {
    fn words<T: ToString>(list: &[T]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }
    Asks {
        incoming: policy.incoming.iter().map(|interface| interface.name.0.clone()).collect(),
        from: words(&policy.from),
        to: words(&policy.to),
        protocol: words(&policy.protocols),
        source_port: words(&policy.source_ports),
        destination_port: words(&policy.destination_ports),
        dscp: words(&policy.dscp),
    }
}

fn domain(vrf: Option<&Reference>) -> String {
    vrf.map_or(MAIN, |vrf| &vrf.name.0).to_owned()
}
