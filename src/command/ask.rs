//! `stats` and `reload`: questions to a running gateway by its admin socket.

use std::fmt::Write as _;
use std::process::ExitCode;

use tidegate_ctrl::admin::Reloaded;
use tidegate_ctrl::admin::client::{Method, request};
use tidegate_ctrl::telemetry::document::{Core, Document, Port};

use super::{FAILED, fail, print, table::section};
use crate::cli::{Output, Reload, Stats};

pub(crate) fn stats(args: &Stats) -> ExitCode {
    let answer = match request(&args.at.socket, Method::GET, "/stats?format=json") {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    let document: Document = match serde_json::from_str(&answer.body) {
        Ok(document) => document,
        Err(error) => return fail(&format_args!("the gateway's answer is not understood: {error} (another version?)")),
    };
    match args.output {
        Output::Table => print(&table(&document)),
        Output::Json => match serde_json::to_string_pretty(&document) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => fail(&error),
        },
    }
}

pub(crate) fn reload(args: &Reload) -> ExitCode {
    let answer = match request(&args.at.socket, Method::POST, "/reload") {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    let Ok(reloaded) = serde_json::from_str::<Reloaded>(&answer.body) else {
        return fail(&format_args!("the gateway answered with status {}: {}", answer.status, answer.body.trim_end()));
    };
    match args.output {
        Output::Json => {
            let printed = print(&(answer.body.trim_end().to_owned() + "\n"));
            if reloaded.ok { printed } else { ExitCode::from(FAILED) }
        }
        Output::Table if reloaded.ok => {
            print(&format!("{}reloaded: generation {}\n", reloaded.text, reloaded.generation))
        }
        Output::Table => {
            let refusal = format!("{}refused: generation {} stays in use", reloaded.text, reloaded.generation);
            fail(&format_args!("the configuration has mistakes\n{refusal}"))
        }
    }
}

fn table(document: &Document) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(document, &mut out);
    out
}

fn write_table(document: &Document, out: &mut String) -> std::fmt::Result {
    let Document { version, phase, generation, uptime_s, reloads, tcp, http, .. } = document;
    writeln!(out, "tidegate {version}  {phase}  generation {generation}  up {uptime_s} s")?;
    writeln!(out, "reloads: {} taken, {} refused", reloads.accepted, reloads.refused)?;
    if !reloads.last_refusal.is_empty() {
        writeln!(out, "the last reload was refused:\n{}", reloads.last_refusal.trim_end())?;
    }
    let header = ["PORT", "DRIVER", "LINK", "RX PACKETS", "RX BYTES", "RX ERRORS", "TX PACKETS", "TX BYTES"];
    section(out, &header, &document.ports.iter().map(port_row).collect::<Vec<_>>())?;
    let header = ["CPU", "GENERATION", "TURNS", "IDLE", "SLEEPS", "BUSY %", "FREE FRAMES", "RESTARTS"];
    section(out, &header, &document.cores.iter().map(core_row).collect::<Vec<_>>())?;
    let [none, informational, good, redirect, client, server] = http.requests;
    writeln!(
        out,
        "\nHTTP  {} connections, {} requests under way, {} pooled, {} retries",
        http.open_connections, http.active_requests, http.pooled, http.retries
    )?;
    writeln!(
        out,
        "      answered: {good} 2xx, {redirect} 3xx, {client} 4xx, {server} 5xx, {informational} 1xx, {none} cut off"
    )?;
    writeln!(
        out,
        "TCP   {} busy, {} idle, {} half-open, {} in TIME-WAIT, {} segments sent again",
        tcp.live, tcp.idle, tcp.half_open, tcp.time_wait, tcp.retransmits
    )?;
    let endpoints = document.clusters.iter().flat_map(|cluster| {
        cluster.endpoints.iter().map(|endpoint| {
            let counts =
                [endpoint.requests, endpoint.active, endpoint.failures, endpoint.connects, endpoint.connect_failures];
            [cluster.name.clone(), endpoint.address.clone()]
                .into_iter()
                .chain(counts.map(|count| count.to_string()))
                .collect()
        })
    });
    let header = ["CLUSTER", "ENDPOINT", "REQUESTS", "ACTIVE", "FAILURES", "CONNECTS", "CONNECT FAILURES"];
    let endpoints: Vec<Vec<String>> = endpoints.collect();
    section(out, &header, &endpoints)?;
    let drops: Vec<_> = document.drops.iter().map(|(reason, count)| vec![reason.clone(), count.to_string()]).collect();
    section(out, &["DROPPED BECAUSE", "PACKETS"], &drops)
}

fn port_row(port: &Port) -> Vec<String> {
    let counts = [port.rx_packets, port.rx_bytes, port.rx_errors, port.tx_packets, port.tx_bytes];
    [port.name.clone(), port.driver.clone(), port.link.clone()]
        .into_iter()
        .chain(counts.map(|count| count.to_string()))
        .collect()
}

fn core_row(core: &Core) -> Vec<String> {
    let busy = format!("{:.1}", core.busy_percent);
    let [cpu, generation, turns, idle, sleeps, free, restarts] = [
        u64::from(core.cpu),
        core.generation,
        core.turns,
        core.idle_turns,
        core.sleeps,
        core.free_frames,
        core.restarts,
    ]
    .map(|count| count.to_string());
    vec![cpu, generation, turns, idle, sleeps, busy, free, restarts]
}
