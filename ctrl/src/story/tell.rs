//! The whole way of a packet.

use std::net::SocketAddr;

use tidegate_dataplane::meta::{InterfaceId, Network, PortId, VrfId};
use tidegate_dataplane::see::{Origin, Record};
use tidegate_dataplane::stats::Stage;
use tidegate_dataplane::verdict::{DropReason, Verdict};

use super::route::{self, Found};
use super::{End, Packet, Step, Way, bridge, packet, stage};
use crate::admin::show::interface_name;
use crate::status::Status;
use crate::telemetry::Telemetry;

/// What the names in a story are taken from.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Interfaces.
    pub status: &'a Status,
    /// Ports.
    pub telemetry: &'a Telemetry,
    /// Nanoseconds since 1970 at the zero of the cores' clock.
    pub unix_origin_ns: u64,
}

impl Surroundings<'_> {
    pub(super) fn interface(&self, id: InterfaceId) -> String {
        interface_name(self.status, id.index())
    }

    pub(super) fn port(&self, id: PortId) -> String {
        let known = self.telemetry.ports.get(id.index());
        known.map_or_else(|| id.index().to_string(), |port| port.name.clone())
    }
}

/// Tells what a core has recorded.
pub fn tell(record: &Record, around: &Surroundings<'_>) -> Way {
    let bare = record.bare.then_some(record.meta.network);
    let first = packet::of(&record.head, bare);
    let steps = steps(record, around, &first, bare);
    let made = record.made.iter().map(|made| {
        let bare = Some(made.network).filter(|network| *network != Network::Other);
        packet::of(&made.head, bare)
    });
    Way {
        unix_ns: around.unix_origin_ns.saturating_add(record.at.as_nanos()),
        core: record.core,
        generation: record.generation,
        origin: match record.origin {
            Origin::Wire => "wire",
            Origin::Core => "core",
            Origin::Host => "host",
            Origin::Kernel => "kernel",
        }
        .to_owned(),
        port: (record.origin != Origin::Host).then(|| around.port(record.port)),
        packet: first,
        steps,
        end: end(record, around),
        made: made.collect(),
    }
}

fn steps(record: &Record, around: &Surroundings<'_>, first: &Packet, bare: Option<Network>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut before, mut was, mut stood) = (first.clone(), record.meta, record.stood);
    for step in &record.steps {
        // A stage that does not look at the packet has nothing to tell about it.
        if step.verdict != stood || step.head.is_some() || stage::looks(record, step.stage, stood, &was) {
            let after = step.head.map_or_else(
                || before.clone(),
                |head| {
                    let headless = bare.filter(|_| step.meta.l3 == 0);
                    packet::of(&head, headless)
                },
            );
            steps.push(Step {
                stage: step.stage.label().to_owned(),
                cycles: step.cycles,
                verdict: word(step.verdict).to_owned(),
                notes: stage::notes(record, step, stood, &was, around),
                changes: packet::changes(&before, &after),
            });
            before = after;
        }
        (was, stood) = (step.meta, step.verdict);
    }
    steps
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Continue => "continue",
        Verdict::Deliver => "deliver",
        Verdict::Transmit(_) => "transmit",
        Verdict::Bridge => "bridge",
        Verdict::Taken => "taken",
        Verdict::Consumed => "consumed",
        Verdict::Drop(_) => "drop",
    }
}

fn end(record: &Record, around: &Surroundings<'_>) -> End {
    let mut end = fate(record, around);
    end.copies = copies(record, around);
    if !end.copies.is_empty() {
        let (by, others) = (end.copies.join(", "), if record.made.is_full() { ", and maybe others" } else { "" });
        let text = end.text.trim_end_matches('.').to_owned();
        end.text = format!("{text}; copies leave by {by}{others}");
    }
    end
}

/// The ports by which bridges have sent copies of a packet.
fn copies(record: &Record, around: &Surroundings<'_>) -> Vec<String> {
    bridge::copies(record).filter_map(|made| made.port).map(|port| around.port(port)).collect()
}

/// The stage that has kept a packet.
fn taken_by(record: &Record) -> Option<Stage> {
    record.steps.iter().find(|step| step.verdict == Verdict::Taken).map(|step| step.stage)
}

fn fate(record: &Record, around: &Surroundings<'_>) -> End {
    let mut end = End { core: record.handed_to, ..End::default() };
    let found = Found::of(record);
    if record.steps.iter().any(|step| step.stage == Stage::L3Route && step.meta.next_hop != 0) {
        end.vrf = found.as_ref().and_then(|found| route::name(record, found.domain?)).map(str::to_owned);
        end.prefix = found.and_then(|found| found.prefix).map(|net| net.to_string());
    }
    let rule = record.tables.as_deref().and_then(|tables| route::rule(record, &tables.l3));
    end.policy = rule.map(|rule| rule.name.to_string());
    end.next_hop = record.target.map(|target| target.to_string());
    end.listener = listener(record);
    let last = record.steps.last().map(|step| step.stage);
    match record.verdict {
        Verdict::Transmit(port) => {
            let name = around.port(port);
            end.verdict = "sent".to_owned();
            end.text = format!("it leaves by {name}");
            end.port = Some(name);
        }
        Verdict::Taken if taken_by(record) == Some(Stage::L3Local) => {
            end.verdict = "waiting".to_owned();
            end.text = "it waits for the other fragments of its packet".to_owned();
            end.hint =
                Some(format!("if they do not come, it is dropped as {} within a minute", DropReason::FragmentTimeout));
        }
        Verdict::Taken => {
            let target = end.next_hop.clone().unwrap_or_else(|| "its next hop".to_owned());
            end.verdict = "waiting".to_owned();
            end.text = format!("it waits until {target} has said which station it is");
            end.hint = Some(format!(
                "{target} has not answered yet; if it never does, the packet is dropped as {} within three seconds",
                DropReason::NeighborUnreachable
            ));
        }
        Verdict::Consumed if record.handed_to.is_some() => {
            end.verdict = "handed-over".to_owned();
            end.text = format!("it goes on on core {}, which owns its flow", record.handed_to.unwrap_or_default());
        }
        Verdict::Consumed => {
            end.verdict = "absorbed".to_owned();
            end.text = "this host has used it up".to_owned();
        }
        Verdict::Continue | Verdict::Deliver if last.is_none() => {
            end.verdict = "lost".to_owned();
            end.text = "the core had no free frame to try it out with".to_owned();
        }
        verdict => {
            if let Some(reason) = verdict.loss() {
                dropped(record, &mut end, reason);
            }
        }
    }
    end
}

fn dropped(record: &Record, end: &mut End, reason: DropReason) {
    let meta = record.steps.last().map_or(record.meta, |step| step.meta);
    let unserved = (reason == DropReason::NoListener).then(|| stage::unserved(record, &meta));
    end.verdict = "dropped".to_owned();
    end.text = format!("it is dropped: {}", unserved.as_deref().unwrap_or(reason.explanation().trim()));
    end.reason = Some(reason.label().to_owned());
    let target = end.next_hop.as_deref().unwrap_or("the next hop");
    end.hint = match reason {
        DropReason::NoRoute => route::hint(record),
        DropReason::NeighborUnreachable | DropReason::NeighborQueueFull => {
            Some(format!("see that {target} is up and answers ARP or neighbour discovery: `tidegate show neighbours`"))
        }
        DropReason::L2WrongAddress => Some("the sender believes another station to be its router".to_owned()),
        // There are none in other domains.
        DropReason::NoListener if meta.vrf == VrfId::MAIN => {
            Some("`[[listener]]` in the configuration says what is served".to_owned())
        }
        _ => None,
    };
}

/// The listener that took a segment, or serves the address of its connection.
fn listener(record: &Record) -> Option<String> {
    let (fate, tables) = (record.segment?, record.tables.as_deref()?);
    let facts = record.facts();
    let local = facts.addresses.zip(facts.ports).map(|((_, to), (_, port))| SocketAddr::new(to, port));
    let index = fate.listener().or_else(|| tables.l7.listener_index(local?));
    let listener = tables.l7.listeners().get(index? as usize)?;
    Some(listener.name.to_string())
}
