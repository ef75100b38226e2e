//! What the admin API sees of the loop.

use std::sync::Arc;

use super::Parts;
use crate::conflicts::Disputes;
use crate::kernel::Monitor;
use crate::status::{Phase, Reloads, Status};

pub(super) fn picture(
    parts: &mut Parts,
    phase: Phase,
    retired: usize,
    reloads: &Reloads,
    (stalled, disputes): (Vec<u16>, &Arc<Disputes>),
) -> Status {
    let publication = parts.reloader.publication();
    Status {
        phase,
        generation: publication.generation(),
        retired,
        config: Arc::clone(&publication.inputs().config),
        certificates: publication.inputs().certs.summaries.clone(),
        links: parts.links.states(),
        tables: Arc::clone(publication.tables()),
        learnt: publication.learnt(),
        routes: Arc::clone(publication.routes()),
        disputes: Arc::clone(disputes),
        kernel: parts.monitor.as_ref().map(Monitor::counts).unwrap_or_default(),
        stalled,
        reloads: reloads.clone(),
        access_written: parts.access_log.written(),
        access_lost: parts.access_log.lost(),
    }
}
