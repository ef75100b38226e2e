//! The loop that ties management together: signals, the admin API, changed files, logs, generations, the end.

mod hear; // what cores have noticed
mod learn; // routes of the kernel
mod links; // ports that are lost
mod picture; // for the admin API

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use picture::picture;
use sd_notify::NotifyState;
use tidegate_dataplane::l7::tls::ROTATION_S;
use tidegate_dataplane::tables::Phase as TablePhase;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::access_log::AccessLog;
use crate::admin::{Desk, Hangings, Reloaded, Request};
use crate::config::model::LogLevel;
use crate::conflicts::Disputes;
use crate::cores::Cores;
use crate::diagnostic::{Report, Style};
use crate::hops::Quiet;
use crate::kernel::{self, Filter, HostInterface, Links, Monitor};
use crate::reload::{Occasion, Reloader};
use crate::status::{Phase, Reloads, Status};
use crate::telemetry::Telemetry;
use crate::unix;
use crate::watch::Watching;

/// How often logs are taken from the cores: a ring of 4096 records lasts 80 ms at 50,000 requests per second.
const TICK: Duration = Duration::from_millis(20);
/// How often generations are freed, heartbeats looked at and the status renewed.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// A core that has not turned for this long is stalled; an idle one turns every few milliseconds.
const STALLED: Duration = Duration::from_secs(2);
/// Requests to the loop that may wait.
const QUEUE: usize = 64;

/// What the loop is made from; all of it is running.
pub struct Parts {
    /// The configuration and the published tables.
    pub reloader: Reloader,
    /// The cores.
    pub cores: Cores,
    /// Their counters.
    pub telemetry: Arc<Telemetry>,
    /// The links of the ports.
    pub links: Links,
    /// The kernel's ends of ports.
    pub hosts: Vec<HostInterface>,
    /// The kernel's routes over them; `None` when nothing is learnt.
    pub monitor: Option<Monitor>,
    /// The access log.
    pub access_log: AccessLog,
    /// Told when `log.level` changes.
    pub set_level: Box<dyn Fn(LogLevel)>,
}

/// The loop.
pub struct Control {
    parts: Parts,
    watching: Watching,
    signals: Signals,
    status: watch::Sender<Arc<Status>>,
    requests: mpsc::Receiver<Request>,
    reloads: Reloads,
    phase: Phase,
    retired: usize,
    /// When a drain that ends the process gives up waiting.
    deadline: Option<Instant>,
    tickets_until: Instant,
    heartbeats: Vec<(u64, Instant)>,
    watchdog: Option<Duration>,
    fed: Instant,
    /// By what rules routes are learnt.
    filter: Option<Filter>,
    /// Who else uses our addresses.
    disputes: Arc<Disputes>,
    /// Which next hops do not answer.
    quiet: Quiet,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
}

/// The loop could not start.
#[derive(Debug)]
pub struct SignalError(io::Error);

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot handle signals: {}", self.0)
    }
}

impl std::error::Error for SignalError {}

impl Control {
    /// Takes over; returns what the admin API needs. Needs a tokio runtime.
    ///
    /// # Errors
    /// Signals cannot be handled.
    pub fn new(mut parts: Parts) -> Result<(Self, Desk), SignalError> {
        let on = |kind| signal(kind).map_err(SignalError);
        let signals = Signals {
            hangup: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            reopen: on(SignalKind::user_defined1())?,
        };
        let watching = Watching::start(&parts.reloader.watched());
        let reloads =
            Reloads { last_accepted: true, last_accepted_unix_s: unix::now().as_secs(), ..Reloads::default() };
        let disputes = Arc::new(Disputes::default());
        let status = Arc::new(picture(&mut parts, Phase::Serve, 0, &reloads, (Vec::new(), &disputes)));
        let (status, status_receiver) = watch::channel(status);
        let (request_sender, requests) = mpsc::channel(QUEUE);
        let desk = Desk {
            telemetry: Arc::clone(&parts.telemetry),
            status: status_receiver,
            requests: request_sender,
            lines: Arc::clone(parts.cores.lines()),
            hangings: Hangings::default(),
        };
        let now = Instant::now();
        let rules = parts.reloader.config().kernel_routes.clone();
        let heartbeats = parts.telemetry.cores.iter().map(|core| (core.stats.turns.value(), now)).collect();
        let control = Self {
            parts,
            watching,
            signals,
            status,
            requests,
            reloads,
            phase: Phase::Serve,
            retired: 0,
            deadline: None,
            tickets_until: now + Duration::from_secs(ROTATION_S),
            heartbeats,
            watchdog: sd_notify::watchdog_enabled(),
            fed: now,
            filter: rules.enabled.then(|| Filter::of(&rules)),
            disputes,
            quiet: Quiet::default(),
        };
        Ok((control, desk))
    }

    /// Runs until the gateway has been told to stop and has stopped.
    pub async fn run(mut self) {
        tell(&[NotifyState::Ready]);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = Instant::now();
        while self.phase != Phase::Stop {
            tokio::select! {
                Some(()) = self.signals.terminate.recv() => self.stop(),
                Some(()) = self.signals.interrupt.recv() => self.stop(),
                Some(()) = self.signals.hangup.recv() => drop(self.reload(Occasion::Asked)),
                Some(()) = self.signals.reopen.recv() => self.parts.access_log.reopen(),
                () = self.watching.changed() => drop(self.reload(Occasion::Noticed)),
                Some(request) = self.requests.recv() => self.answer(request),
                () = self.parts.links.changed() => {}
                () = learn::routes_changed(&mut self.parts.monitor) => self.learn(),
                now = tick.tick() => {
                    self.parts.access_log.drain();
                    let now = now.into_std();
                    if now.duration_since(kept) >= HOUSEKEEPING {
                        kept = now;
                        self.keep_house(now);
                    }
                    self.end_drain(now);
                }
            }
        }
        self.finish();
    }

    fn answer(&mut self, request: Request) {
        // Whoever asked may have gone: then there is nobody to tell.
        match request {
            Request::Reload(reply) => drop(reply.send(self.reload(Occasion::Asked))),
            Request::Drain(reply) => {
                self.set_phase(Phase::Drain);
                let _ = reply.send(());
            }
            Request::Quit { now, reply } => {
                self.stop();
                if now {
                    self.deadline = Some(Instant::now());
                }
                let _ = reply.send(());
            }
        }
    }

    /// The first time: drain, then stop. The second time: stop.
    fn stop(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some() {
            tracing::info!("stopping at once");
            self.deadline = Some(now);
            return;
        }
        tell(&[NotifyState::Stopping]);
        let patience = Duration::from_secs(self.parts.reloader.config().runtime.drain_timeout_s.into());
        let open = self.parts.telemetry.open_connections();
        tracing::info!(open_connections = open, timeout_s = patience.as_secs(), "draining");
        self.deadline = Some(now + patience);
        self.set_phase(Phase::Drain);
    }

    fn end_drain(&mut self, now: Instant) {
        let Some(deadline) = self.deadline else { return };
        let open = self.parts.telemetry.open_connections();
        // Every core must have seen the drain before "none open" means anything.
        let generation = self.parts.reloader.publication().generation();
        let seen = self.parts.telemetry.cores.iter().all(|core| core.stats.generation.value() >= generation);
        if open == 0 && seen || now >= deadline {
            if open > 0 {
                tracing::warn!(open_connections = open, "the drain timed out; connections are cut");
            }
            self.set_phase(Phase::Stop);
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        let table_phase = match phase {
            Phase::Start | Phase::Serve => TablePhase::Serve,
            Phase::Drain => TablePhase::Drain,
            Phase::Stop => TablePhase::Stop,
        };
        match self.parts.reloader.publication().set_phase(table_phase) {
            Ok(generation) => tracing::info!(generation, phase = phase.as_str(), "phase"),
            // The same inputs compiled before; if they do not now, stopping goes on without the cores' consent.
            Err(error) => tracing::error!("cannot publish the phase {}: {error}", phase.as_str()),
        }
        self.phase = phase;
        self.publish_status();
    }

    fn reload(&mut self, occasion: Occasion) -> Reloaded {
        let ready = NotifyState::monotonic_usec_now();
        tell(&[Some(NotifyState::Reloading), ready.ok()].into_iter().flatten().collect::<Vec<_>>());
        let devices = Arc::clone(self.parts.cores.devices());
        let mut own = |port: usize, prefixes: &[ipnet::IpNet]| {
            let mut devices = devices.lock().unwrap_or_else(PoisonError::into_inner);
            devices.get_mut(port).map_or(Ok(()), |device| device.own(prefixes))
        };
        let result = self.parts.reloader.reload(occasion, SystemTime::now(), &mut own);
        tell(&[NotifyState::Ready]);
        let (ok, report) = match result {
            Ok(taken) => {
                if taken.changed {
                    tracing::info!(generation = taken.generation, "configuration reloaded");
                    self.reloads.accepted += 1;
                }
                self.reloads.last_accepted = true;
                self.reloads.last_accepted_unix_s = unix::now().as_secs();
                self.reloads.last_refusal.clear();
                self.apply();
                (true, self.with_lost_ports(taken.report))
            }
            Err(report) => {
                let text = report.text(Style::Plain);
                tracing::error!("the configuration is refused; generation {} stays\n{text}", self.generation());
                self.reloads.refused += 1;
                self.reloads.last_accepted = false;
                self.reloads.last_refusal = text;
                (false, *report)
            }
        };
        self.watching.set(self.parts.reloader.watched());
        self.publish_status();
        self.reloaded(ok, &report)
    }

    fn generation(&mut self) -> u64 {
        self.parts.reloader.publication().generation()
    }

    fn reloaded(&mut self, ok: bool, report: &Report) -> Reloaded {
        Reloaded {
            ok,
            generation: self.generation(),
            text: report.text(Style::Plain),
            report: serde_json::to_value(report.json()).unwrap_or_default(),
        }
    }

    /// What a new configuration changes outside of the tables.
    fn apply(&mut self) {
        let config = Arc::clone(self.parts.reloader.config());
        let link = Arc::clone(self.parts.reloader.publication().tables().l3.link());
        let ours = |own: usize, address| link.interfaces().get(own).is_some_and(|own| own.claims(address));
        Arc::make_mut(&mut self.disputes).keep(ours);
        self.parts.access_log.retarget(&config.log.access);
        (self.parts.set_level)(config.log.level);
        self.follow_filter(&config.kernel_routes);
        self.address_hosts(true);
        self.parts.links.follow(&config);
    }

    fn address_hosts(&mut self, again: bool) {
        let inputs = self.parts.reloader.publication().inputs();
        kernel::follow(&mut self.parts.hosts, &inputs.config, &inputs.tentative, again);
    }

    fn keep_house(&mut self, now: Instant) {
        self.hear();
        self.parts.links.look();
        self.parts.reloader.end_probations(now);
        self.address_hosts(false);
        self.retired = self.parts.reloader.publication().reclaim();
        for (core, (turns, since)) in self.parts.telemetry.cores.iter().zip(&mut self.heartbeats) {
            let current = core.stats.turns.value();
            if *turns != current {
                (*turns, *since) = (current, now);
            }
        }
        self.publish_status();
        if now >= self.tickets_until {
            self.tickets_until = now + Duration::from_secs(ROTATION_S);
            self.rotate_tickets();
        }
        // The watchdog is fed only while every core turns.
        if let Some(period) = self.watchdog
            && now.duration_since(self.fed) >= period / 2
            && self.stalled(now).is_empty()
        {
            tell(&[NotifyState::Watchdog]);
            self.fed = now;
        }
    }

    fn rotate_tickets(&mut self) {
        let publication = self.parts.reloader.publication();
        let Ok(keys) = publication.inputs().tickets.rotated() else {
            tracing::error!("no random numbers for new ticket keys; the old ones stay");
            return;
        };
        match publication.set_tickets(keys) {
            Ok(generation) => tracing::info!(generation, "session ticket keys rotated"),
            Err(error) => tracing::error!("cannot rotate session ticket keys: {error}"),
        }
    }

    fn stalled(&self, now: Instant) -> Vec<u16> {
        let cores = self.parts.telemetry.cores.iter().zip(&self.heartbeats);
        cores.filter(|(_, (_, since))| now.duration_since(*since) >= STALLED).map(|(core, _)| core.cpu).collect()
    }

    fn publish_status(&mut self) {
        let stalled = self.stalled(Instant::now());
        let picture = picture(&mut self.parts, self.phase, self.retired, &self.reloads, (stalled, &self.disputes));
        self.status.send_replace(Arc::new(picture));
    }

    fn finish(self) {
        let Parts { cores, access_log, .. } = self.parts;
        cores.join();
        // Takes what the cores wrote last.
        drop(access_log);
        tracing::info!("stopped");
    }
}

/// Tells the service manager; without one this does nothing.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}
