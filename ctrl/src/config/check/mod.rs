//! What the file means: names resolved, addresses placed, files read. Each mistake is recorded and the check goes on.

mod advertisements;
mod bridges;
mod certificates;
mod clusters;
mod forwarding;
mod interfaces;
mod listeners;
mod network;
mod policies;
mod ports;
mod process;
mod routes;
mod tls;
mod vlans;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::bulk::Bulk;
use super::model::{Config, Reference};
use super::pem::Certs;
use super::raw::Raw;
use super::scalar::Name;
use super::slot::At;
use super::{Surroundings, slot::Required};
use crate::diagnostic::{Code, Diagnostic, Span, nearest};

impl Raw {
    /// Checks the whole file, of which `bulk` has the routes that are not in here, given what its decoding found. There is a
    /// configuration if nothing found is an error.
    pub(super) fn check(
        self,
        bulk: &Bulk<'_>,
        surroundings: &Surroundings<'_>,
        found: Vec<Diagnostic>,
    ) -> (Option<Config>, Certs, Vec<Diagnostic>) {
        let mut cx = Checker { surroundings, diagnostics: found, certs: Certs::default() };
        let names = Names {
            interfaces: cx.names("interface", self.interfaces().map(|interface| interface.name)),
            vrfs: cx.names("vrf", self.vrf.0.iter().map(|vrf| &vrf.name)),
            listeners: cx.names("listener", self.listener.0.iter().map(|listener| &listener.name)),
            clusters: cx.names("cluster", self.cluster.0.iter().map(|cluster| &cluster.name)),
        };
        let runtime = process::runtime(&self.runtime, &mut cx);
        let ports = ports::check(&self, &mut cx);
        let domains = network::domains(&self, &names, &mut cx);
        let interfaces = interfaces::check(&self, &domains, &names, &mut cx);
        let network = network::Network::of(&self, domains, &cx);
        let routes = forwarding::routes(&self.route.0, bulk, &network, &names, &mut cx);
        let policies = policies::check(&self, &network, &names, &mut cx);
        let neighbors = network::neighbors(&self.neighbor.0, &network, &routes, &names, &mut cx);
        let listeners = listeners::check(&self.listener.0, &network, &mut cx);
        let clusters = clusters::check(&self.cluster.0, &network, &routes, &mut cx);
        let http_routes = routes::check(&self, &names, &mut cx);
        let config = Config {
            runtime,
            admin: process::admin(&self.admin, &mut cx),
            log: process::log(&self.log, &cx),
            dpdk: process::dpdk(&self.dpdk, &self.port.0, &mut cx),
            tcp: process::tcp(&self.tcp),
            icmp: process::icmp(&self.icmp),
            neighbor_table: process::neighbor_table(&self.neighbor_table),
            ports,
            interfaces,
            vrfs: self.vrf.0.iter().filter_map(|vrf| Some(vrf.name.ok()?.value.clone())).collect(),
            routes: routes.list,
            policies,
            kernel_routes: process::kernel_routes(&self, &mut cx),
            neighbors,
            listeners,
            clusters,
            http_routes,
        };
        let good = !cx.diagnostics.iter().any(Diagnostic::is_error);
        (good.then_some(config), cx.certs, cx.diagnostics)
    }
}

/// What a check carries along.
pub(super) struct Checker<'a> {
    pub(super) surroundings: &'a Surroundings<'a>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) certs: Certs,
}

impl Checker<'_> {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Whether an error has been recorded inside `span`: then what is missing there is no news.
    pub(super) fn broken(&self, span: Span) -> bool {
        self.diagnostics.iter().any(|d| d.is_error() && span.start <= d.span.start && d.span.end <= span.end)
    }

    /// An absolute path, or one relative to the working directory if the file was given so.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        if path.is_absolute() { path.to_owned() } else { self.surroundings.directory.join(path) }
    }

    /// The names of all tables of a kind. The second of two equal ones is recorded.
    fn names<'r>(&mut self, kind: &'static str, tables: impl Iterator<Item = &'r Required<Name>>) -> NameTable {
        let mut places: HashMap<String, (usize, Span)> = HashMap::new();
        let mut complete = true;
        for (index, name) in tables.enumerate() {
            let Some(name) = name.ok() else {
                complete = false;
                continue;
            };
            if let Some((_, first)) = places.get(&name.0) {
                let article = if kind.starts_with('i') { "an" } else { "a" };
                let message = format!("there is already {article} {kind} `{}`", name.0);
                let twice = Diagnostic::error(Code::Duplicate, name.span, message);
                self.push(twice.related(*first, "the first is here").help("give each its own name"));
            } else {
                places.insert(name.0.clone(), (index, name.span));
            }
        }
        NameTable { kind, places, complete }
    }
}

/// The names of all tables that others may refer to.
pub(super) struct Names {
    pub(super) interfaces: NameTable,
    pub(super) vrfs: NameTable,
    pub(super) listeners: NameTable,
    pub(super) clusters: NameTable,
}

/// The names of one kind of table.
pub(super) struct NameTable {
    kind: &'static str,
    places: HashMap<String, (usize, Span)>,
    /// False if some table's name could not be read.
    complete: bool,
}

impl NameTable {
    /// Where the table of a name stands in the list of its kind.
    pub(super) fn resolve(&self, name: &At<Name>, cx: &mut Checker<'_>) -> Option<Reference> {
        if let Some((index, _)) = self.places.get(&name.0) {
            return Some(Reference { index: *index, name: name.value.clone() });
        }
        let mut known: Vec<&str> = self.places.keys().map(String::as_str).collect();
        known.sort_unstable();
        // With a name unread this may be it: unless the word is near another, say nothing.
        if !self.complete && nearest(&name.0, known.iter().copied()).is_none() {
            return None;
        }
        let unknown =
            Diagnostic::error(Code::UnknownReference, name.span, format!("there is no {} `{}`", self.kind, name.0));
        cx.push(match nearest(&name.0, known.iter().copied()) {
            Some(meant) => unknown.help(format!("did you mean `{meant}`?")),
            None if known.is_empty() => unknown.help(format!("add {} with this name", self.table())),
            None => unknown.help(format!("there are: {}", known.join(", "))),
        });
        None
    }

    /// What is to be added to have another of the kind.
    fn table(&self) -> String {
        match self.kind {
            "interface" => "a `[[port]]`, a `[[vlan]]`, a `[[bridge]]` or a `[[loopback]]`".to_owned(),
            kind => format!("a `[[{kind}]]`"),
        }
    }

    /// Every table of the kind, in the order of the file.
    pub(super) fn all(&self) -> Vec<Reference> {
        let mut all: Vec<Reference> = self
            .places
            .iter()
            .map(|(name, (index, _))| Reference { index: *index, name: Name(name.clone()) })
            .collect();
        all.sort_by_key(|reference| reference.index);
        all
    }

    /// Where a table's name stands in the file.
    pub(super) fn place(&self, index: usize) -> Option<Span> {
        self.places.values().find(|(at, _)| *at == index).map(|(_, span)| *span)
    }
}
