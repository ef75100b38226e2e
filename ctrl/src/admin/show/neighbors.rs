//! Neighbours: each core knows its own, and is asked; what they say about one station is shown together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_dataplane::l2::{self, Phase};
use tidegate_dataplane::l3::VrfId;
use tidegate_dataplane::meta::InterfaceId;
use tidegate_dataplane::see::order::{Census, Order};

use super::{domain_name, domains, interface_index, interface_name, refuse};
use crate::admin::Desk;
use crate::config::model::ALL;
use crate::hops::gateways;
use crate::lines::{Lines, Silent};
use crate::status::Status;

/// Neighbours that a core copies at once: some microseconds.
const AT_ONCE: usize = 512;

/// A station on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    /// The routing domain of its interface.
    pub vrf: String,
    /// The interface it is on.
    pub interface: String,
    /// Its IP address.
    pub address: String,
    /// Its hardware address; `None` while it has not answered.
    pub mac: Option<String>,
    /// Where its entry stands (RFC 4861 §7.3.2), on the core that knows most; `silent` for one of several next hops that has ceased to
    /// answer.
    pub state: String,
    /// Packets that wait for it, over all cores.
    pub waiting: u64,
    /// The same for each core that knows it, by the core's number.
    pub cores: BTreeMap<usize, String>,
}

/// `?vrf=…&interface=…&state=…`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    vrf: Option<String>,
    interface: Option<String>,
    state: Option<String>,
}

/// What is asked, understood.
struct Sought {
    domains: Vec<VrfId>,
    interface: Option<usize>,
    state: Option<String>,
}

impl Wanted {
    fn understood(self, status: &Status) -> Result<Sought, String> {
        if let Some(state) = &self.state
            && !words().any(|word| word == state)
        {
            let words: Vec<&str> = words().collect();
            return Err(format!("no neighbour is ever `{state}`; they are: {}", words.join(", ")));
        }
        Ok(Sought {
            domains: domains(&status.tables.l3, self.vrf.as_deref().unwrap_or(ALL))?,
            interface: self.interface.as_deref().map(|name| interface_index(status, name)).transpose()?,
            state: self.state,
        })
    }
}

/// From the one that knows most to the one that knows least.
const PHASES: [(Phase, &str); 6] = [
    (Phase::Static, "static"),
    (Phase::Reachable, "reachable"),
    (Phase::Delay, "delay"),
    (Phase::Probe, "probe"),
    (Phase::Stale, "stale"),
    (Phase::Incomplete, "incomplete"),
];

/// The word for one of several next hops that has ceased to answer.
const SILENT: &str = "silent";

/// The word for where an entry stands.
pub(crate) fn word(phase: Phase) -> &'static str {
    PHASES.iter().find(|(known, _)| *known == phase).map_or("?", |(_, word)| word)
}

fn words() -> impl Iterator<Item = &'static str> {
    PHASES.iter().map(|(_, word)| *word).chain([SILENT])
}

fn rank(phase: Phase) -> usize {
    PHASES.iter().position(|(known, _)| *known == phase).unwrap_or(PHASES.len())
}

pub(super) async fn show(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let status = desk.status.borrow().clone();
    let Sought { domains, interface, state } = match wanted.understood(&status) {
        Ok(sought) => sought,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let mut known: BTreeMap<(usize, IpAddr), Vec<(usize, l2::Neighbor)>> = BTreeMap::new();
    for core in 0..desk.lines.cores() {
        match of_core(&desk.lines, core).await {
            Ok(neighbors) => {
                for neighbor in neighbors {
                    known.entry((neighbor.interface.index(), neighbor.address)).or_default().push((core, neighbor));
                }
            }
            Err(silent) => return refuse(StatusCode::SERVICE_UNAVAILABLE, silent),
        }
    }
    let silent: BTreeSet<_> =
        gateways(status.tables.l3.link()).filter(|hop| hop.silent).map(|hop| (hop.interface, hop.address)).collect();
    for gateway in &silent {
        known.entry(*gateway).or_default();
    }
    let rows = known
        .into_iter()
        .filter(|((index, _), _)| interface.is_none_or(|wanted| wanted == *index))
        .map(|((index, address), seen)| (status.tables.l3.vrf_of(InterfaceId(index as u16)), index, address, seen))
        .filter(|(vrf, ..)| domains.contains(vrf))
        .map(|(vrf, index, address, seen)| {
            let is_silent = silent.contains(&(index, address));
            let place = (domain_name(&status.tables.l3, vrf).to_owned(), interface_name(&status, index));
            row(place, address, &seen, is_silent)
        })
        .filter(|row| state.as_ref().is_none_or(|wanted| *wanted == row.state));
    Json(json!({ "neighbors": rows.collect::<Vec<_>>() })).into_response()
}

fn row(
    (vrf, interface): (String, String),
    address: IpAddr,
    seen: &[(usize, l2::Neighbor)],
    is_silent: bool,
) -> Neighbor {
    let best = seen.iter().map(|(_, neighbor)| neighbor).min_by_key(|neighbor| rank(neighbor.phase));
    let known = best.filter(|best| best.phase != Phase::Incomplete);
    Neighbor {
        vrf,
        interface,
        address: address.to_string(),
        mac: known.map(|best| best.mac.to_string()),
        state: best.filter(|_| !is_silent).map_or(SILENT, |best| word(best.phase)).to_owned(),
        waiting: seen.iter().map(|(_, neighbor)| u64::from(neighbor.waiting)).sum(),
        cores: seen.iter().map(|(core, neighbor)| (*core, word(neighbor.phase).to_owned())).collect(),
    }
}

async fn of_core(lines: &Lines, core: usize) -> Result<Vec<l2::Neighbor>, Silent> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let census = Census { from, found: Vec::with_capacity(AT_ONCE), next: None };
        let Order::Neighbors(census) = lines.ask(core, Order::Neighbors(census)).await? else { return Ok(all) };
        all.extend(census.found);
        match census.next {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}
