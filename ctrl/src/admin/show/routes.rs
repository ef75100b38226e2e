//! Routes: a million of them, so they are looked through in slices between which others have their turn, and sent as they are found.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tidegate_dataplane::l3::group::{Group, Member};
use tidegate_dataplane::l3::{Action, Table, Used, VrfId};
use tokio::sync::mpsc::Sender;

use super::{Chunks, domain_name, domains, interface_index, interface_name, line, refuse};
use crate::admin::Desk;
use crate::config::model::MAIN;
use crate::prefix;
use crate::status::Status;

/// Routes looked at before others have their turn: below a millisecond.
const SLICE: usize = 8192;
/// Bytes of rows that are sent together.
const PIECE: usize = 16 << 10;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its routing domain.
    pub vrf: String,
    /// Its prefix.
    pub to: String,
    /// Where it is from: `static` (the file), `kernel` (a daemon), `connected` (a link of ours), `local` (an address of ours).
    pub source: String,
    /// What is done: `forward`, `spread` (over several next hops), `local`, `blackhole`, `unreachable`,
    /// `prohibit`.
    pub action: String,
    /// The next hop, if it is a router.
    pub via: Option<String>,
    /// The interface it leaves by; `None` for what is of no interface, as 255.255.255.255.
    pub interface: Option<String>,
    /// The next hops that share its traffic, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
}

/// One of several next hops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The router; `None` when destinations are on the link.
    pub via: Option<String>,
    /// The interface it leaves by.
    pub interface: String,
    /// Its weight.
    pub weight: u16,
    /// It does not answer: its flows take the others.
    #[serde(default)]
    pub silent: bool,
}

/// The last line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// Routes before it.
    pub shown: u64,
    /// Routes that passed the filters beyond the limit.
    pub more: u64,
}

/// `?to=…&exact=…&longest=…&vrf=…&interface=…&via=…&source=…&limit=…`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    to: Option<String>,
    exact: Option<String>,
    longest: Option<IpAddr>,
    vrf: Option<String>,
    interface: Option<String>,
    via: Option<IpAddr>,
    source: Option<String>,
    limit: Option<u64>,
}

/// What is asked, understood.
struct Sought {
    within: Option<IpNet>,
    exact: Option<IpNet>,
    longest: Option<IpAddr>,
    domains: Vec<VrfId>,
    interface: Option<usize>,
    via: Option<IpAddr>,
    source: Option<String>,
    limit: u64,
}

impl Wanted {
    fn understood(self, status: &Status) -> Result<Sought, String> {
        if let Some(source) = &self.source
            && !SOURCES.contains(&source.as_str())
        {
            return Err(format!("no route is from `{source}`; they are from: {}", SOURCES.join(", ")));
        }
        Ok(Sought {
            within: self.to.as_deref().map(asked).transpose()?,
            exact: self.exact.as_deref().map(asked).transpose()?,
            longest: self.longest,
            domains: domains(&status.tables.l3, self.vrf.as_deref().unwrap_or(MAIN))?,
            interface: self.interface.as_deref().map(|name| interface_index(status, name)).transpose()?,
            via: self.via,
            source: self.source,
            limit: self.limit.unwrap_or(u64::MAX),
        })
    }
}

fn asked(text: &str) -> Result<IpNet, String> {
    let net = prefix::read(text).ok_or_else(|| format!("`{text}` is no prefix: write e.g. 10.0.0.0/8 or fd00::/8"))?;
    net.map_err(|bits| format!("`{text}` has {bits}"))
}

/// Whether a route is the one to all stations of whatever link: it is there in every domain, and of no interface.
fn is_of_every_link(to: IpNet) -> bool {
    to.addr() == IpAddr::V4(Ipv4Addr::BROADCAST)
}

const SOURCES: [&str; 4] = ["static", "kernel", "connected", "local"];

pub(super) async fn show(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let status = desk.status.borrow().clone();
    let sought = match wanted.understood(&status) {
        Ok(sought) => sought,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let (sender, body) = Chunks::channel();
    tokio::spawn(run(status, sought, sender));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Sends the routes of each domain, then how many there were, until all is sent or the reader has gone.
async fn run(status: Arc<Status>, sought: Sought, sender: Sender<Bytes>) {
    let mut sent = Sent { rows: Vec::new(), counts: More { shown: 0, more: 0 }, sender };
    for vrf in sought.domains.iter().copied() {
        let (status, sought) = (&*status, &sought);
        let search = Search { status, sought, vrf, origins: Origins::of(&status.tables.l3, vrf) };
        if search.run(&mut sent).await.is_err() {
            return;
        }
    }
    line(&mut sent.rows, &sent.counts);
    // Whoever asked may have gone.
    let _ = sent.sender.send(sent.rows.into()).await;
}

/// What has been found.
struct Sent {
    /// Rows that wait to be sent together.
    rows: Vec<u8>,
    counts: More,
    sender: Sender<Bytes>,
}

/// The reader has gone.
struct Gone;

/// A walk through the table of a domain.
struct Search<'a> {
    status: &'a Status,
    sought: &'a Sought,
    vrf: VrfId,
    origins: Origins,
}

impl Search<'_> {
    async fn run(&self, sent: &mut Sent) -> Result<(), Gone> {
        let Sent { rows, counts, sender } = sent;
        let mut last = None;
        loop {
            let (found, table) = self.slice(last);
            for used in &found {
                if !self.passes(&table, *used) {
                    continue;
                }
                if counts.shown == self.sought.limit {
                    counts.more += 1;
                    continue;
                }
                counts.shown += 1;
                line(rows, &self.row(&table, *used));
                if rows.len() >= PIECE {
                    sender.send(std::mem::take(rows).into()).await.map_err(|_| Gone)?;
                }
            }
            last = found.last().map(|used| used.to);
            if last.is_none() || self.sought.longest.is_some() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// The routes behind a prefix, or the one of the address that is asked for, with the table that has their next hops.
    fn slice(&self, last: Option<IpNet>) -> (Vec<Used>, Arc<Table>) {
        let routes = self.status.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match self.sought.longest {
            // One address has one route; what is asked beside it may still leave that out.
            Some(address) => routes.builder.longest(self.vrf, address).into_iter().collect(),
            None => routes.builder.routes(self.vrf, last).take(SLICE).collect(),
        };
        (found, Arc::clone(&routes.table))
    }

    fn passes(&self, table: &Table, used: Used) -> bool {
        let Used { to, next_hop: hop, .. } = used;
        let Sought { within, exact, interface, via, source, .. } = self.sought;
        let next = table.next_hop(hop);
        within.is_none_or(|within| within.contains(&to))
            && exact.is_none_or(|exact| exact == to)
            && interface.is_none_or(|wanted| {
                let by = |hop: u32| table.next_hop(hop).interface.index() == wanted;
                leaves(next.action) && !is_of_every_link(to) && by(hop)
                    || members(table, next.action).iter().any(|member| by(member.next_hop))
            })
            && via.is_none_or(|via| {
                let by = |hop: u32| gateway_of(table, hop) == Some(via);
                by(hop) || members(table, next.action).iter().any(|member| by(member.next_hop))
            })
            && source.as_ref().is_none_or(|source| self.origins.of_route(next.action, used) == source)
    }

    fn row(&self, table: &Table, used: Used) -> Route {
        let Used { to, next_hop: hop, .. } = used;
        let source = self.origins.of_route(table.next_hop(hop).action, used).to_owned();
        let Leads { action, via, interface, hops } = Leads::to(self.status, table, hop);
        let interface = interface.filter(|_| !is_of_every_link(to));
        let vrf = domain_name(&self.status.tables.l3, self.vrf).to_owned();
        Route { vrf, to: to.to_string(), source, action, via, interface, hops }
    }
}

/// The members of a group of next hops.
fn members(table: &Table, action: Action) -> &[Member] {
    match action {
        Action::Spread(group) => table.group(group).map(Group::members).unwrap_or_default(),
        _ => &[],
    }
}

/// Where packets are sent, in words.
#[derive(Default)]
pub(super) struct Leads {
    pub(super) action: String,
    pub(super) via: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) hops: Vec<Hop>,
}

impl Leads {
    /// What the next hop `hop` does.
    pub(super) fn to(status: &Status, table: &Table, hop: u32) -> Self {
        let next = table.next_hop(hop);
        Self {
            action: word(next.action).to_owned(),
            via: gateway_of(table, hop).map(|gateway| gateway.to_string()),
            interface: leaves(next.action).then(|| interface_name(status, next.interface.index())),
            hops: hops(status, table, next.action),
        }
    }
}

/// Those that share the traffic, if there are several.
fn hops(status: &Status, table: &Table, action: Action) -> Vec<Hop> {
    let hop = |member: &Member| Hop {
        via: gateway_of(table, member.next_hop).map(|gateway| gateway.to_string()),
        interface: interface_name(status, table.next_hop(member.next_hop).interface.index()),
        weight: member.weight,
        silent: table.link().is_silent(member.next_hop),
    };
    members(table, action).iter().map(hop).collect()
}

fn leaves(action: Action) -> bool {
    matches!(action, Action::Forward | Action::Local)
}

/// The word for what is done with packets.
pub(crate) fn word(action: Action) -> &'static str {
    match action {
        Action::NoRoute => "none",
        Action::Forward => "forward",
        Action::Local => "local",
        Action::Blackhole => "blackhole",
        Action::Unreachable => "unreachable",
        Action::Prohibit => "prohibit",
        Action::Spread(_) => "spread",
    }
}

/// Where the routes of a domain are from.
struct Origins {
    connected: HashSet<IpNet>,
}

impl Origins {
    fn of(table: &Table, vrf: VrfId) -> Self {
        let mut connected = HashSet::new();
        for link in table.members(vrf).map(|id| table.link().interface(id)) {
            connected.extend(link.v4.iter().map(|net| IpNet::V4(net.trunc())));
            connected.extend(link.v6.iter().map(|net| IpNet::V6(net.trunc())));
        }
        Self { connected }
    }

    fn of_route(&self, action: Action, used: Used) -> &'static str {
        match action {
            Action::Local => "local",
            _ if self.connected.contains(&used.to) => "connected",
            _ if used.learnt => "kernel",
            _ => "static",
        }
    }
}

/// The router of a next hop.
fn gateway_of(table: &Table, hop: u32) -> Option<IpAddr> {
    table.link().adjacencies().get(hop as usize).and_then(|next| next.gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_with_bits_behind_it_is_refused() {
        assert_eq!(asked("10.2.0.0/24"), Ok("10.2.0.0/24".parse().unwrap()));
        assert_eq!(asked("10.2.0.1"), Ok("10.2.0.1/32".parse().unwrap()));
        let wrong =
            "`10.2.0.1/24` has bits set behind its 24 bit prefix: write 10.2.0.0/24, or /32 for this address alone";
        assert_eq!(asked("10.2.0.1/24"), Err(wrong.to_owned()));
        assert!(asked("fd00::1/64").unwrap_err().contains("write fd00::/64, or /128"));
    }
}
