//! Routes: a million of them, so they are looked through in slices between which others have their turn, and sent as they are found.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use tidegate_dataplane::l3::{Action, Table};
use tokio::sync::mpsc::Sender;

use super::{Chunks, interface_index, interface_name, refuse};
use crate::admin::Desk;
use crate::status::Status;

/// Routes looked at before others have their turn: below a millisecond.
const SLICE: usize = 8192;
/// Bytes of rows that are sent together.
const PIECE: usize = 16 << 10;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its prefix.
    pub to: String,
    /// Where it is from: `static` (the file), `kernel` (a daemon), `connected` (a link of ours), `local` (an address of ours).
    pub source: String,
    /// What is done: `forward`, `local`, `blackhole`, `unreachable`.
    pub action: String,
    /// The next hop, if it is a router.
    pub via: Option<String>,
    /// The interface it leaves by.
    pub interface: Option<String>,
}

/// The last line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// Routes before it.
    pub shown: u64,
    /// Routes that passed the filters beyond the limit.
    pub more: u64,
}

/// `?to=…&exact=…&longest=…&interface=…&via=…&source=…&limit=…`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    to: Option<String>,
    exact: Option<String>,
    longest: Option<IpAddr>,
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
            within: self.to.as_deref().map(prefix).transpose()?,
            exact: self.exact.as_deref().map(prefix).transpose()?,
            longest: self.longest,
            interface: self.interface.as_deref().map(|name| interface_index(status, name)).transpose()?,
            via: self.via,
            source: self.source,
            limit: self.limit.unwrap_or(u64::MAX),
        })
    }
}

/// A prefix, or an address as the prefix of itself.
fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.map(|net| net.trunc()).ok_or_else(|| format!("`{text}` is no prefix: write e.g. 10.0.0.0/8 or fd00::/8"))
}

const SOURCES: [&str; 4] = ["static", "kernel", "connected", "local"];

pub(super) async fn show(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let status = desk.status.borrow().clone();
    let sought = match wanted.understood(&status) {
        Ok(sought) => sought,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let (sender, body) = Chunks::channel();
    tokio::spawn(Search { origins: Origins::of(&status), status, sought }.run(sender));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// A walk through the table.
struct Search {
    status: Arc<Status>,
    sought: Sought,
    origins: Origins,
}

impl Search {
    /// Sends rows until all are sent or the reader has gone.
    async fn run(self, sender: Sender<Bytes>) {
        let table = Arc::clone(&self.status.tables.l3);
        let (mut rows, mut counts) = (Vec::new(), More { shown: 0, more: 0 });
        // One address has one route; what is asked beside it may still leave that out.
        let longest = self.sought.longest.map(|address| matched(&table, address).into_iter().collect::<Vec<_>>());
        let total = longest.as_ref().map_or_else(|| size(&table), Vec::len);
        let mut at = 0;
        while at < total {
            let end = total.min(at + SLICE);
            for place in at..end {
                let (to, hop) = longest.as_ref().map_or_else(|| entry(&table, place), |found| found[place]);
                if !self.passes(&table, to, hop) {
                    continue;
                }
                if counts.shown == self.sought.limit {
                    counts.more += 1;
                    continue;
                }
                counts.shown += 1;
                let row = self.row(&table, to, hop);
                // Serializing to memory cannot fail.
                let _ = serde_json::to_writer(&mut rows, &row);
                rows.push(b'\n');
                if rows.len() >= PIECE && sender.send(std::mem::take(&mut rows).into()).await.is_err() {
                    return;
                }
            }
            at = end;
            tokio::task::yield_now().await;
        }
        let _ = serde_json::to_writer(&mut rows, &counts);
        rows.push(b'\n');
        // Whoever asked may have gone.
        let _ = sender.send(rows.into()).await;
    }

    fn passes(&self, table: &Table, to: IpNet, hop: u32) -> bool {
        let Sought { within, exact, interface, via, source, .. } = &self.sought;
        let next = table.next_hop(hop);
        within.is_none_or(|within| within.contains(&to))
            && exact.is_none_or(|exact| exact == to)
            && interface.is_none_or(|wanted| leaves(next.action) && next.interface.index() == wanted)
            && via.is_none_or(|via| gateway_of(table, hop) == Some(via))
            && source.as_ref().is_none_or(|source| self.origins.of_route(next.action, to) == source)
    }

    fn row(&self, table: &Table, to: IpNet, hop: u32) -> Route {
        let next = table.next_hop(hop);
        Route {
            to: to.to_string(),
            source: self.origins.of_route(next.action, to).to_owned(),
            action: word(next.action).to_owned(),
            via: gateway_of(table, hop).map(|gateway| gateway.to_string()),
            interface: leaves(next.action).then(|| interface_name(&self.status, next.interface.index())),
        }
    }
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
    }
}

/// Where routes are from.
struct Origins {
    connected: HashSet<IpNet>,
    /// The file's, in order; empty where nothing is learnt and they need not be told from what is.
    given: Vec<IpNet>,
    status: Arc<Status>,
}

impl Origins {
    fn of(status: &Arc<Status>) -> Self {
        let mut connected = HashSet::new();
        for link in status.tables.l3.link().interfaces() {
            connected.extend(link.v4.iter().map(|net| IpNet::V4(net.trunc())));
            connected.extend(link.v6.iter().map(|net| IpNet::V6(net.trunc())));
        }
        let mut given = Vec::new();
        if !status.learnt.is_empty() {
            given.extend(status.config.routes.iter().map(|route| route.to.trunc()));
            given.sort_unstable();
        }
        Self { connected, given, status: Arc::clone(status) }
    }

    fn of_route(&self, action: Action, to: IpNet) -> &'static str {
        if action == Action::Local {
            return "local";
        }
        if self.connected.contains(&to) {
            return "connected";
        }
        let learnt = self.status.learnt.binary_search_by_key(&to, |(to, _)| *to).is_ok();
        let given = || self.given.binary_search(&to).is_ok();
        if learnt && (self.status.config.kernel_routes.override_static || !given()) { "kernel" } else { "static" }
    }
}

/// Prefixes of both families.
fn size(table: &Table) -> usize {
    table.fib4().entries().len() + table.fib6().entries().len()
}

/// The prefix at a place, IPv4 first.
fn entry(table: &Table, place: usize) -> (IpNet, u32) {
    let v4 = table.fib4().entries();
    match v4.get(place) {
        Some((net, hop)) => (IpNet::V4(*net), *hop),
        None => {
            let (net, hop) = table.fib6().entries()[place - v4.len()];
            (IpNet::V6(net), hop)
        }
    }
}

/// The router of a next hop.
fn gateway_of(table: &Table, hop: u32) -> Option<IpAddr> {
    table.link().adjacencies().get(hop as usize).and_then(|next| next.gateway)
}

/// The longest prefix with `address` in it, and its next hop.
pub(crate) fn matched(table: &Table, address: IpAddr) -> Option<(IpNet, u32)> {
    match address {
        IpAddr::V4(address) => {
            let entries = table.fib4().entries();
            (0..=32u8).rev().find_map(|len| {
                let net = Ipv4Net::new(address, len).ok()?.trunc();
                let key = (net.addr(), len);
                let at = entries.binary_search_by_key(&key, |(net, _)| (net.addr(), net.prefix_len())).ok()?;
                Some((IpNet::V4(net), entries[at].1))
            })
        }
        IpAddr::V6(address) => {
            let entries = table.fib6().entries();
            (0..=128u8).rev().find_map(|len| {
                let net = Ipv6Net::new(address, len).ok()?.trunc();
                let key = (net.addr(), len);
                let at = entries.binary_search_by_key(&key, |(net, _)| (net.addr(), net.prefix_len())).ok()?;
                Some((IpNet::V6(net), entries[at].1))
            })
        }
    }
}
