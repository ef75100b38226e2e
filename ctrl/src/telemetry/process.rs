//! The process: build, generation, reloads, certificates, logs.

use std::time::UNIX_EPOCH;

use super::Telemetry;
use super::family::Family;
use crate::hops::{Gateway, gateways};
use crate::status::{Phase, Status};

pub(super) fn families(telemetry: &Telemetry, status: &Status) -> Vec<Family> {
    let started = telemetry.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut expiry = Family::gauge(
        "tidegate_certificate_expiry_timestamp_seconds",
        "End of the validity of each certificate in a file, Unix time.",
    );
    for (path, certificates) in &status.certificates {
        for certificate in certificates {
            let end = u64::try_from(certificate.not_after).unwrap_or(0);
            let labels = [
                ("path", &*path.to_string_lossy()),
                ("subject", &certificate.subject),
                ("serial", &certificate.serial),
            ];
            expiry.push(&labels, end);
        }
    }
    let mut phase = Family::gauge("tidegate_phase", "1 for what the process is doing.");
    for each in Phase::ALL {
        phase.push(&[("phase", each.as_str())], u64::from(*each == status.phase));
    }
    let links = status.tables.l3.link();
    let mut hops = Family::gauge("tidegate_next_hop_up", "1 if the next hop, one of several, answers.");
    for Gateway { interface, address, silent } in gateways(links) {
        let interface = links.interfaces().get(interface).map_or("?", |interface| &interface.name);
        hops.push(&[("interface", interface), ("address", &address.to_string())], u64::from(!silent));
    }
    let process = vec![
        Family::gauge("tidegate_build_info", "The running version.").with(&[("version", env!("CARGO_PKG_VERSION"))], 1),
        Family::gauge("tidegate_start_time_seconds", "Start of the process, Unix time.").with(&[], started),
        Family::gauge("tidegate_generation", "Number of the tables published last.").with(&[], status.generation),
        Family::gauge("tidegate_generations_retired", "Older tables that sessions still hold.")
            .with(&[], status.retired as u64),
        phase,
        Family::counter("tidegate_config_reloads_total", "Reloads by result.")
            .with(&[("result", "accepted")], status.reloads.accepted)
            .with(&[("result", "refused")], status.reloads.refused),
        Family::gauge("tidegate_config_last_reload_successful", "1 if the last reload was accepted.")
            .with(&[], u64::from(status.reloads.last_accepted)),
        Family::gauge(
            "tidegate_config_last_reload_success_timestamp_seconds",
            "The last reload that was accepted, Unix time.",
        )
        .with(&[], status.reloads.last_accepted_unix_s),
        expiry,
        hops,
        Family::counter(
            "tidegate_next_hop_changes_total",
            "Times a next hop, one of several, ceased or began to answer.",
        )
        .with(&[], links.changes().count() as u64),
        Family::counter("tidegate_access_log_lines_total", "Access-log lines handed to the writer.")
            .with(&[], status.access_written),
        Family::counter("tidegate_access_log_lost_total", "Access-log lines lost, by where.")
            .with(&[("place", "writer")], status.access_lost)
            .with(&[("place", "ring")], telemetry.sum(|core| &core.http.access_lost)),
    ];
    process.into_iter().chain(kernel_routes(status)).collect()
}

/// What is learnt from the kernel.
fn kernel_routes(status: &Status) -> [Family; 5] {
    let counts = &status.kernel;
    [
        Family::gauge("tidegate_learnt_routes", "Prefixes whose way was learnt from the kernel.")
            .with(&[], status.learnt as u64),
        Family::counter("tidegate_kernel_route_readings_total", "Times all routes of the kernel were read.")
            .with(&[], counts.readings),
        Family::counter("tidegate_kernel_route_overruns_total", "Times the kernel had more news than its socket held.")
            .with(&[], counts.overruns),
        Family::counter("tidegate_kernel_routes_refused_total", "Routes not learnt, there being too many.")
            .with(&[], counts.refused),
        Family::counter(
            "tidegate_kernel_changes_total",
            "Changes learnt from the kernel: of routes, and of what many share.",
        )
        .with(&[("of", "route")], counts.routes)
        .with(&[("of", "next_hop")], counts.objects),
    ]
}
