//! What is counted: ports, drops, cores; with rates where they are asked for.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_ctrl::admin::show::{Address, Drop, Interface, Standing, position};
use tidegate_ctrl::telemetry::document::{Core, Document, Port};
use tidegate_dataplane::stats::Stage;

use super::{ask, json, parameter};
use crate::cli::show::{Cores, Drops, Ports, View};
use crate::command::table::{grid, section, width, within};

/// Time over which rates are taken when nothing is watched.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct PortsAnswer {
    ports: Vec<Port>,
    interfaces: Vec<Interface>,
    addresses: Vec<Address>,
    uptime_ms: u64,
}

/// The counters of the picture before, and its time.
pub(super) type Before = Option<(HashMap<String, Vec<u64>>, u64)>;

/// What has been added per second since the picture before.
pub(super) fn rates(before: &Before, key: &str, now: &[u64], uptime_ms: u64) -> Option<Vec<f64>> {
    let (counts, then) = before.as_ref()?;
    let passed = uptime_ms.checked_sub(*then).filter(|passed| *passed > 0)?;
    let counts = counts.get(key)?;
    #[allow(clippy::cast_precision_loss)] // A rate for people.
    let rate = |(now, then): (&u64, &u64)| now.saturating_sub(*then) as f64 * 1000.0 / passed as f64;
    Some(now.iter().zip(counts).map(rate).collect())
}

fn port_counts(port: &Port) -> Vec<u64> {
    vec![port.rx_packets, port.rx_bytes, port.tx_packets, port.tx_bytes]
}

fn interface_counts(own: &Interface) -> Vec<u64> {
    vec![own.rx_packets, own.rx_bytes, own.tx_packets, own.tx_bytes]
}

pub(super) fn ports(args: &Ports) -> impl FnMut(&View) -> Result<String, String> {
    let mut before: Before = None;
    move |view| {
        let fetch = |socket: &Path| -> Result<PortsAnswer, String> {
            let mut answer: PortsAnswer = ask(socket, "/show/ports")?;
            if let Some(name) = &args.port {
                position("port", name, answer.ports.iter().map(|port| port.name.as_str()))?;
                answer.ports.retain(|port| port.name == *name);
                answer.interfaces.retain(|interface| interface.port.as_ref() == Some(name));
                answer.addresses.retain(|address| address.port.as_ref() == Some(name));
            }
            if let Some(link) = args.link {
                let word = link.to_possible_value();
                answer.ports.retain(|port| word.as_ref().is_some_and(|word| word.get_name() == port.link));
                let kept: Vec<_> = answer.ports.iter().map(|port| port.name.clone()).collect();
                let is_kept = |port: &Option<String>| port.as_ref().is_some_and(|port| kept.contains(port));
                answer.interfaces.retain(|interface| is_kept(&interface.port));
                answer.addresses.retain(|address| is_kept(&address.port));
            }
            Ok(answer)
        };
        let mut answer = fetch(&view.at.socket)?;
        let keep = |answer: &PortsAnswer| {
            let ports = answer.ports.iter().map(|port| (port.name.clone(), port_counts(port)));
            // Names are unique among ports, VLANs and bridges.
            let interfaces = answer.interfaces.iter().map(|own| (own.name.clone(), interface_counts(own)));
            Some((ports.chain(interfaces).collect(), answer.uptime_ms))
        };
        if args.rates && before.is_none() {
            before = keep(&answer);
            thread::sleep(MOMENT);
            answer = fetch(&view.at.socket)?;
        }
        let text = ports_text(args, view, &answer, &before);
        before = keep(&answer);
        Ok(text)
    }
}

/// Ports and interfaces as one document; `rates` are what their counters gain per second.
fn ports_json(view: &View, answer: &PortsAnswer, rates: impl Fn(&str, &[u64]) -> Option<Vec<f64>>) -> String {
    let names = ["rx_packets_per_s", "rx_bytes_per_s", "tx_packets_per_s", "tx_bytes_per_s"];
    let rated = |mut value: serde_json::Value, name: &str, counts: &[u64]| {
        if let Some(rates) = rates(name, counts) {
            value["rates"] = names.iter().zip(rates).map(|(name, rate)| ((*name).to_owned(), json!(rate))).collect();
        }
        value
    };
    let ports = answer.ports.iter().map(|port| rated(json!(port), &port.name, &port_counts(port)));
    let interfaces = answer.interfaces.iter().map(|own| rated(json!(own), &own.name, &interface_counts(own)));
    let (ports, interfaces): (Vec<_>, Vec<_>) = (ports.collect(), interfaces.collect());
    json(view, &json!({ "ports": ports, "interfaces": interfaces, "addresses": answer.addresses }))
}

fn ports_text(args: &Ports, view: &View, answer: &PortsAnswer, before: &Before) -> String {
    let rates = |name: &str, counts: &[u64]| rates(before, name, counts, answer.uptime_ms);
    if view.json {
        return ports_json(view, answer, |name, counts| args.rates.then(|| rates(name, counts)).flatten());
    }
    let mut out = String::new();
    let counted = |name: &str, counts: &[u64]| match args.rates {
        true => rates(name, counts)
            .map_or(vec!["-".to_owned(); 4], |rates| rates.iter().map(|rate| format!("{rate:.0}")).collect()),
        false => counts.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    let row = |port: &Port| {
        let counts = counted(&port.name, &port_counts(port));
        let fixed = [port.name.clone(), port.link.clone(), port.driver.clone(), port.mac.clone(), port.mtu.to_string()];
        let errors = [port.rx_errors, port.tx_errors].map(|count| count.to_string());
        fixed.into_iter().chain(counts).chain(errors).collect::<Vec<_>>()
    };
    let unit = if args.rates {
        ["RX PPS", "RX BYTES/S", "TX PPS", "TX BYTES/S"]
    } else {
        ["RX PACKETS", "RX BYTES", "TX PACKETS", "TX BYTES"]
    };
    let header: Vec<&str> = ["PORT", "LINK", "DRIVER", "STATION", "MTU"]
        .into_iter()
        .chain(unit)
        .chain(["RX ERRORS", "TX ERRORS"])
        .collect();
    // Writing to a String cannot fail.
    let _ = grid(&mut out, &header, &answer.ports.iter().map(row).collect::<Vec<_>>());
    let own = |own: &Interface| {
        let counts = counted(&own.name, &interface_counts(own));
        let fixed = [own.name.clone(), own.port.clone().unwrap_or_else(|| "-".to_owned()), own.mtu.to_string()];
        fixed.into_iter().chain(counts).collect::<Vec<_>>()
    };
    if !answer.interfaces.is_empty() {
        let header: Vec<&str> = ["INTERFACE", "PORT", "MTU"].into_iter().chain(unit).collect();
        let _ = section(&mut out, &header, &answer.interfaces.iter().map(own).collect::<Vec<_>>());
    }
    let addresses = answer.addresses.iter().map(|address| {
        let standing = match address.standing {
            Standing::InUse => "in use",
            Standing::Probing => "probing: not used until nobody else turns out to have it",
            Standing::Withheld => "withheld: another station has it; give one of the two another, then reload",
        };
        let dispute = match (&address.disputed_by, address.disputed_s_ago) {
            (Some(station), Some(ago)) => format!("{station}, {ago} s ago"),
            _ => "-".to_owned(),
        };
        vec![address.interface.clone(), address.address.clone(), dispute, standing.to_owned()]
    });
    let _ = section(&mut out, &["INTERFACE", "ADDRESS", "DISPUTED BY", "STANDING"], &addresses.collect::<Vec<_>>());
    out
}

#[derive(Deserialize)]
struct DropsAnswer {
    drops: Vec<Drop>,
    uptime_ms: u64,
}

/// A reason with its rate.
#[derive(Serialize)]
struct RatedDrop<'a> {
    #[serde(flatten)]
    drop: &'a Drop,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_per_s: Option<f64>,
}

pub(super) fn drops(args: &Drops) -> impl FnMut(&View) -> Result<String, String> {
    let mut before: Before = None;
    let mut wanted = Vec::new();
    if !args.reason.is_empty() {
        wanted.push(parameter("reason", &args.reason.join(",")));
    }
    if args.nonzero {
        wanted.push(parameter("nonzero", ""));
    }
    let path = format!("/show/drops?{}", wanted.join("&"));
    move |view| {
        let mut answer: DropsAnswer = ask(&view.at.socket, &path)?;
        let keep = |answer: &DropsAnswer| {
            let counts = answer.drops.iter().map(|drop| (drop.reason.clone(), vec![drop.packets]));
            Some((counts.collect(), answer.uptime_ms))
        };
        if args.rates && before.is_none() {
            before = keep(&answer);
            thread::sleep(MOMENT);
            answer = ask(&view.at.socket, &path)?;
        }
        let rate = |drop: &Drop| {
            let rates = rates(&before, &drop.reason, &[drop.packets], answer.uptime_ms);
            args.rates.then(|| rates.map_or(0.0, |rates| rates[0]))
        };
        let text = if view.json {
            let drops = answer.drops.iter().map(|drop| RatedDrop { drop, packets_per_s: rate(drop) });
            json(view, &json!({ "drops": drops.collect::<Vec<_>>() }))
        } else {
            drops_text(&answer.drops, args.rates, rate)
        };
        before = keep(&answer);
        Ok(text)
    }
}

fn drops_text(drops: &[Drop], rates: bool, rate: impl Fn(&Drop) -> Option<f64>) -> String {
    if drops.is_empty() {
        return "nothing was lost\n".to_owned();
    }
    let row = |drop: &Drop| {
        let rate = rate(drop).map(|rate| format!("{rate:.1}"));
        let cells = [Some(drop.reason.clone()), Some(drop.packets.to_string()), rate, Some(drop.explanation.clone())];
        cells.into_iter().flatten().collect::<Vec<_>>()
    };
    let header: &[&str] =
        if rates { &["REASON", "PACKETS", "PER SECOND", "MEANING"] } else { &["REASON", "PACKETS", "MEANING"] };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = grid(&mut out, header, &within(width(), header, drops.iter().map(row).collect()));
    out
}

pub(super) fn cores(args: &Cores) -> impl FnMut(&View) -> Result<String, String> {
    move |view| {
        let document: Document = ask(&view.at.socket, "/stats?format=json")?;
        let cores: Vec<&Core> =
            document.cores.iter().filter(|core| args.cpu.is_none_or(|cpu| cpu == core.cpu)).collect();
        if cores.is_empty() {
            let cpus: Vec<String> = document.cores.iter().map(|core| core.cpu.to_string()).collect();
            return Err(format!("no core is on that CPU; they are on: {}", cpus.join(", ")));
        }
        if view.json {
            return Ok(json(view, &json!({ "cores": cores })));
        }
        let mut out = String::new();
        let row = |core: &&Core| {
            let counts = [core.turns, core.idle_turns, core.sleeps, core.rx_packets, core.tx_packets, core.handovers];
            let head = [core.cpu.to_string(), format!("{:.1}", core.busy_percent)];
            let tail = [core.free_frames, core.generation, core.restarts].map(|count| count.to_string());
            head.into_iter().chain(counts.map(|count| count.to_string())).chain(tail).collect::<Vec<_>>()
        };
        let header = [
            "CPU",
            "BUSY %",
            "TURNS",
            "IDLE",
            "SLEEPS",
            "RX",
            "TX",
            "HANDED OVER",
            "FREE FRAMES",
            "GENERATION",
            "RESTARTS",
        ];
        // Writing to a String cannot fail.
        let _ = grid(&mut out, &header, &cores.iter().map(row).collect::<Vec<_>>());
        for core in cores {
            let _ = writeln!(out, "\nstages on CPU {}", core.cpu);
            // In packet order, not in that of the alphabet.
            let rows = Stage::ALL.iter().filter_map(|stage| {
                let counts = core.stages.get(stage.label())?;
                let each = core.cycles_per_packet.get(stage.label());
                let each = each.map_or("-".to_owned(), |cycles| format!("{cycles:.1}"));
                Some(vec![stage.label().to_owned(), counts.packets.to_string(), each])
            });
            let _ = grid(&mut out, &["STAGE", "PACKETS", "CYCLES EACH"], &rows.collect::<Vec<_>>());
        }
        Ok(out)
    }
}
