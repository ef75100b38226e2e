//! What the loop does with the kernel's routes.

use std::time::Instant;

use super::{Control, Parts};
use crate::config::model::KernelRoutes;
use crate::kernel::{Filter, Monitor};

impl Control {
    /// Publishes what the kernel's routes have become.
    pub(super) fn learn(&mut self) {
        let Some(monitor) = &mut self.parts.monitor else { return };
        let changes = monitor.take_changes();
        if changes.is_empty() {
            return;
        }
        let began = Instant::now();
        let routes = monitor.routes();
        let generation = self.parts.reloader.publication().learn(&changes, routes);
        let ended = Instant::now();
        let took = ended.duration_since(began);
        monitor.published(ended, took);
        tracing::debug!(generation, changes = changes.len(), routes, took_us = took.as_micros(), "routes learnt");
    }

    /// Learns by the new rules, or forgets everything.
    pub(super) fn follow_filter(&mut self, rules: &KernelRoutes) {
        let filter = rules.enabled.then(|| Filter::of(rules));
        if filter == self.filter {
            return;
        }
        let Parts { monitor, hosts, reloader, .. } = &mut self.parts;
        match (&filter, &mut *monitor) {
            (Some(filter), Some(monitor)) => monitor.refilter(filter.clone(), Instant::now()),
            (Some(filter), None) => *monitor = Monitor::for_hosts(filter.clone(), hosts),
            (None, Some(known)) => {
                reloader.publication().learn(&known.nothing(), 0);
                *monitor = None;
            }
            (None, None) => {}
        }
        self.filter = filter;
    }
}

/// Waits until there is something to learn: for ever when nothing is learnt.
pub(super) async fn routes_changed(monitor: &mut Option<Monitor>) {
    match monitor {
        Some(monitor) => monitor.changed().await,
        None => std::future::pending().await,
    }
}
