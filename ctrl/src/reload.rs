//! Taking over a changed file: all of it, or nothing. What a running gateway cannot change is refused with its place in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;
use serde_json::Value;
use tidegate_dataplane::io::PortError;
use tidegate_dataplane::l2::Conflict;
use tidegate_dataplane::l3::Disagreement;

use crate::compile::{CompileError, Inputs};
use crate::config::model::Name;
use crate::config::{self, Config, Disk, Files as _, Loaded, Places};
use crate::diagnostic::{Code, Diagnostic, Report, Source, Span};
use crate::probation::Probation;
use crate::publish::Publication;

/// The running configuration and the way to the next.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    publication: Publication,
    probation: Probation,
    /// Of the text that was taken last, if this has read it.
    digest: Option<u64>,
}

/// A reload that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The number of the tables in use.
    pub generation: u64,
    /// False if the file says what is running already, and nothing was published.
    pub changed: bool,
    /// Warnings.
    pub report: Report,
}

/// Whether tables are published even if nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody asked.
    Asked,
    /// A file seems to have changed.
    Noticed,
}

/// Gives a port the destinations it takes from the kernel: port number and prefixes.
pub type Own<'a> = &'a mut dyn FnMut(usize, &[ipnet::IpNet]) -> Result<(), PortError>;

impl Reloader {
    /// Starts from what was loaded and published; `probation` said which addresses are withheld in it.
    pub fn new(path: PathBuf, publication: Publication, probation: Probation) -> Self {
        Self { path, publication, probation, digest: None }
    }

    /// Another station uses one of our addresses.
    pub fn conflict(&mut self, conflict: Conflict) {
        let Conflict { interface: id, address, mac } = conflict;
        let interface = self.publication.tables().l3.link().interface(id).name.clone();
        if self.probation.conflict(Name(interface.clone()), address) {
            tracing::error!(
                interface,
                %address,
                station = %mac,
                "the address is another station's and is not used: give one of the two another address, then reload"
            );
        } else {
            tracing::error!(
                interface,
                %address,
                station = %mac,
                "another station uses our address, and it is defended: give one of the two another address"
            );
        }
    }

    /// Another router of a link tells its hosts something else than we do.
    pub fn disagreement(&self, disagreement: Disagreement) {
        let Disagreement { interface: id, router, variable, theirs, ours } = disagreement;
        tracing::warn!(
            interface = self.publication.tables().l3.link().interface(id).name,
            %router,
            of = variable.key(),
            theirs,
            ours,
            "another router advertises something else than this one, and hosts keep what they heard last: let both say the same"
        );
    }

    /// Puts addresses to use that nobody has claimed in time.
    pub fn end_probations(&mut self, now: Instant) {
        let passed = self.probation.passed(now);
        if passed.is_empty() {
            return;
        }
        match self.publication.set_tentative(self.probation.tentative()) {
            Ok(generation) => {
                let addresses: Vec<String> = passed.iter().map(|(_, address)| address.to_string()).collect();
                tracing::info!(
                    generation,
                    addresses = addresses.join(" "),
                    "nobody else has these addresses: now in use"
                );
            }
            Err(error) => tracing::error!("cannot put addresses to use: {error}"),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files whose change is a reason to reload: the configuration and everything it refers to.
    pub fn watched(&self) -> Vec<PathBuf> {
        let inputs = self.publication.inputs();
        std::iter::once(self.path.clone()).chain(inputs.config.paths().map(Path::to_owned)).collect()
    }

    /// What is published.
    pub fn publication(&mut self) -> &mut Publication {
        &mut self.publication
    }

    /// The configuration in use.
    pub fn config(&self) -> &Arc<Config> {
        &self.publication.inputs().config
    }

    /// Whether the file is the one in use, and there is no other that it depends on.
    fn is_the_same(&self) -> bool {
        let text = || Disk.read(&self.path).ok();
        self.publication.inputs().config.paths().next().is_none()
            && self.digest.is_some_and(|known| text().is_some_and(|text| config::digest(&text) == known))
    }

    /// Loads the file and publishes what it says.
    ///
    /// # Errors
    /// What is wrong with it; the running generation is untouched.
    pub fn reload(&mut self, occasion: Occasion, now: SystemTime, own: Own<'_>) -> Result<Taken, Box<Report>> {
        // Who changes the file and asks for a reload has it noticed as well; a large one need not be read twice.
        if occasion == Occasion::Noticed && self.is_the_same() {
            let report = Report::new(Source::new(self.path.display().to_string(), ""), Vec::new());
            return Ok(Taken { generation: self.publication.generation(), changed: false, report });
        }
        let loaded = config::load(&self.path, now)?;
        let Loaded { config, certs, places, report, digest, .. } = loaded;
        let running = self.publication.inputs();
        let refused = needs_restart(&running.config, &config, &places);
        if !refused.is_empty() {
            let all = report.diagnostics.into_iter().chain(refused).collect();
            return Err(Box::new(Report::new(report.source, all)));
        }
        if occasion == Occasion::Noticed && *running.config == config && *running.certs == certs {
            return Ok(Taken { generation: self.publication.generation(), changed: false, report });
        }
        let moved: Vec<usize> = (0..config.ports.len())
            .filter(|at| {
                running.config.interfaces.get(*at).map(|own| &own.addresses) != Some(&config.interfaces[*at].addresses)
            })
            .collect();
        // Only a reload that is taken changes what is asked for.
        let mut probation = self.probation.clone();
        let tentative = Arc::new(probation.adopt(&config, Instant::now()));
        let inputs = Inputs { config: Arc::new(config), certs: Arc::new(certs), tentative, ..running.clone() };
        let config = Arc::clone(&inputs.config);
        match self.publication.publish(inputs) {
            Ok(generation) => {
                self.probation = probation;
                self.digest = Some(digest);
                for at in moved {
                    if let Err(error) = own(at, &config.interfaces[at].owned()) {
                        tracing::error!("{error}; the port's new addresses may not receive packets");
                    }
                }
                Ok(Taken { generation, changed: true, report })
            }
            Err(error) => Err(Box::new(uncompiled(report, &error))),
        }
    }
}

/// A mistake that only the compilation found.
fn uncompiled(report: Report, error: &CompileError) -> Report {
    let found = Diagnostic::error(Code::Conflict, Span::default(), error.to_string());
    Report::new(report.source, report.diagnostics.into_iter().chain([found]).collect())
}

/// What differs and cannot change while cores run.
fn needs_restart(running: &Config, next: &Config, places: &Places) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // How long a drain takes is asked when it begins.
    differences("runtime", &running.runtime, &next.runtime, &["drain_timeout_s"], places.runtime, &mut found);
    differences("admin", &running.admin, &next.admin, &[], places.admin, &mut found);
    differences("dpdk", &running.dpdk, &next.dpdk, &[], places.dpdk, &mut found);
    differences("tcp", &running.tcp, &next.tcp, &[], places.tcp, &mut found);
    for (at, port) in next.ports.iter().enumerate() {
        let span = places.ports.get(at).copied().unwrap_or_default();
        match running.ports.iter().position(|old| old.name == port.name) {
            Some(place) if place == at => {
                let title = format!("port `{}`", port.name.0);
                differences(&title, &running.ports[at], port, &[], span, &mut found);
            }
            Some(_) => {
                found.push(refused(span, format!("the port `{}` has changed its place among the ports", port.name.0)));
            }
            None => found.push(refused(span, format!("the port `{}` is new", port.name.0))),
        }
    }
    for gone in running.ports.iter().filter(|old| next.ports.iter().all(|port| port.name != old.name)) {
        found.push(refused(Span::default(), format!("the port `{}` is gone", gone.name.0)));
    }
    host_links(running, next, places, &mut found);
    found
}

/// A way to the kernel is opened at the start, for an interface of that name.
fn host_links(running: &Config, next: &Config, places: &Places, found: &mut Vec<Diagnostic>) {
    let of = |config: &Config, name: &Name| {
        let same = config.interfaces.iter().position(|interface| interface.name == *name);
        same.map(|at| (at, config.interfaces[at].host.clone()))
    };
    let names: BTreeSet<&Name> =
        [running, next].into_iter().flat_map(|config| &config.interfaces).map(|interface| &interface.name).collect();
    for name in names {
        let (was, is) = (of(running, name), of(next, name));
        let span = is.as_ref().and_then(|(at, _)| places.interfaces.get(*at)).copied().unwrap_or_default();
        let [was, is] = [was, is].map(|found| BTreeMap::from([("host", found.and_then(|(_, host)| host))]));
        differences(&format!("`{}`", name.0), &was, &is, &[], span, found);
    }
}

fn refused(span: Span, what: String) -> Diagnostic {
    Diagnostic::error(Code::NeedsRestart, span, what)
        .help("a running gateway cannot change this: restart it, or undo the change")
}

/// Each key with different values.
fn differences(
    table: &str,
    running: &impl Serialize,
    next: &impl Serialize,
    free: &[&str],
    span: Span,
    found: &mut Vec<Diagnostic>,
) {
    let (Ok(Value::Object(was)), Ok(Value::Object(is))) = (serde_json::to_value(running), serde_json::to_value(next))
    else {
        return;
    };
    let mut keys: Vec<&String> = was.keys().chain(is.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys.into_iter().filter(|key| !free.contains(&key.as_str())) {
        let show = |value: Option<&Value>| {
            value.filter(|value| !value.is_null()).map_or("not set".to_owned(), Value::to_string)
        };
        let (before, after) = (was.get(key), is.get(key));
        if before != after {
            found.push(refused(
                span,
                format!("{table}: `{key}` is {} in the running gateway, {} here", show(before), show(after)),
            ));
        }
    }
}
