//! What a stage decided, in words.

use tidegate_dataplane::l2::Phase;
use tidegate_dataplane::l4::{Fate, Standing};
use tidegate_dataplane::meta::{Flags, Meta, Network};
use tidegate_dataplane::see::{Record, Step};
use tidegate_dataplane::stats::Stage;
use tidegate_dataplane::verdict::{DropReason, Verdict};

use super::{Surroundings, bridge, route};
use crate::admin::show::neighbor_word;

/// Protocol number of TCP.
const TCP: u8 = 6;

/// Whether a stage looks at a packet that stands there and `was` known as this.
pub(super) fn looks(record: &Record, stage: Stage, stands: Verdict, was: &Meta) -> bool {
    if stage == Stage::Bridge {
        return bridge::looks(record, stands, was);
    }
    match stands {
        Verdict::Continue => !matches!(stage, Stage::L3Local | Stage::Handover | Stage::Tcp | Stage::Host),
        Verdict::Deliver => matches!(stage, Stage::L3Local | Stage::Handover | Stage::Tcp | Stage::Host),
        Verdict::Bridge | Verdict::Transmit(_) | Verdict::Taken | Verdict::Consumed | Verdict::Drop(_) => false,
    }
}

/// What `step` decided about a packet that stood at `stood` and `was` known as this.
pub(super) fn notes(
    record: &Record,
    step: &Step,
    stood: Verdict,
    was: &Meta,
    around: &Surroundings<'_>,
) -> Vec<String> {
    let mut notes = match step.stage {
        Stage::L2Parse => parsed(step, around),
        Stage::Bridge => bridge::passed(record, step, stood, was, around),
        Stage::L2Input => vec![station(&step.meta).to_owned()],
        Stage::L3Input => vec![addressed(step, stood).to_owned()],
        Stage::L3Local => local(step),
        Stage::Handover => match record.handed_to {
            Some(core) => vec![format!("its flow is core {core}'s")],
            None => vec!["its flow is this core's".to_owned()],
        },
        Stage::Tcp => segment(record),
        Stage::Host => vec!["the kernel's way".to_owned()],
        Stage::L3Policy => route::ruled(record, step, around),
        Stage::L3Route => route::routed(record, step, around),
        Stage::L3Forward => forwarded(step, was),
        Stage::L2Output => output(record, step, around),
        _ => Vec::new(),
    };
    match step.verdict {
        Verdict::Drop(DropReason::NoListener) if step.meta.flags.contains(Flags::HOST_PATH) => {
            notes = vec!["nothing here serves it: left to the kernel".to_owned()];
        }
        // What did not go well was not what the words above say.
        Verdict::Drop(reason) => {
            if !matches!(step.stage, Stage::Bridge | Stage::L3Route | Stage::L2Output | Stage::Tcp) {
                notes.clear();
            }
            let why = match reason {
                DropReason::ReversePath => route::elsewhere(record, &step.meta, around),
                DropReason::NoListener => Some(unserved(record, &step.meta)),
                _ => None,
            };
            notes.push(format!("{reason}: {}", why.as_deref().unwrap_or(reason.explanation().trim())));
        }
        Verdict::Transmit(port) if step.stage == Stage::Host => {
            notes = vec![format!("nothing here serves it: it goes to the kernel by {}", around.port(port))];
        }
        Verdict::Transmit(port) if step.stage == Stage::L2Input => {
            notes = vec![format!("answered on the spot, out of {}", around.port(port))];
        }
        _ => {}
    }
    notes.retain(|note| !note.is_empty());
    notes
}

fn parsed(step: &Step, around: &Surroundings<'_>) -> Vec<String> {
    let network = match step.meta.network {
        Network::Ipv4 => "IPv4",
        Network::Ipv6 => "IPv6",
        Network::Arp => "ARP",
        Network::Other => "another protocol",
    };
    vec![format!("{network} on interface {}", around.interface(step.meta.interface))]
}

fn station(meta: &Meta) -> &'static str {
    if meta.flags.contains(Flags::LINK_BROADCAST) {
        "to all stations of the link"
    } else if meta.flags.contains(Flags::LINK_MULTICAST) {
        "to a group of stations"
    } else {
        "to this station"
    }
}

fn addressed(step: &Step, stood: Verdict) -> &'static str {
    match step.verdict {
        Verdict::Deliver if step.meta.flags.contains(Flags::LINK_BROADCAST) => "sound, and for all hosts of the link",
        Verdict::Deliver if step.meta.flags.contains(Flags::ANYCAST) => {
            "sound, and for any router of the link, which this host is"
        }
        Verdict::Deliver => "sound, and for this host",
        _ if stood == Verdict::Continue => "sound, and not for this host: to be routed",
        _ => "",
    }
}

fn local(step: &Step) -> Vec<String> {
    let note = match step.verdict {
        Verdict::Continue => "an echo request: turned into its reply, which is routed like any packet",
        Verdict::Deliver => "left to TCP",
        Verdict::Taken => "a fragment: kept until the others of its packet are here",
        Verdict::Consumed => "understood and used up",
        _ => "",
    };
    vec![note.to_owned()]
}

/// Why nothing serves a packet for this host, and whether its sender is told: then an ICMP message is made on its behalf.
pub(super) fn unserved(record: &Record, meta: &Meta) -> String {
    let told = record.made.iter().any(|made| made.network != Network::Other);
    let why = match (meta.protocol, route::name(record, meta.vrf)) {
        (TCP, _) if meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST) => {
            "TCP to a group is passed over".to_owned()
        }
        (TCP, _) if meta.flags.contains(Flags::ANYCAST) => "TCP to an anycast address is passed over".to_owned(),
        (TCP, Some(vrf)) => format!("nothing serves TCP in the VRF `{vrf}`"),
        _ => "nothing on this host serves it".to_owned(),
    };
    format!("{why}, and the sender is {}", if told { "told by ICMP" } else { "not told" })
}

fn segment(record: &Record) -> Vec<String> {
    let note = match record.segment {
        None => "not a TCP segment",
        Some(Fate::Opens(_)) => "opens a connection: a half-open record is made and a SYN-ACK sent",
        Some(Fate::Cookie(_)) => {
            "asks for a connection while many are half open: a SYN cookie answers, nothing is remembered"
        }
        Some(Fate::Returns(_)) => "answers a SYN cookie: the connection is made",
        Some(Fate::Refused { reset: true, .. }) => "for no connection and no listener: a reset answers, up to a rate",
        Some(Fate::Refused { reset: false, .. }) => "refused without an answer",
        Some(Fate::Connection(standing)) => match standing {
            Standing::SynSent => "for a connection that this host is opening",
            Standing::SynReceived => "for a half-open connection",
            Standing::Live => "for an open connection; its sequence numbers decide the rest",
            Standing::AtRest => "for an open connection at rest, which it rouses; its sequence numbers decide the rest",
            Standing::TimeWait => "for a connection in TIME-WAIT",
            Standing::Over => "for a connection that is over",
        },
    };
    vec![note.to_owned()]
}

fn forwarded(step: &Step, was: &Meta) -> Vec<String> {
    if was.flags.contains(Flags::ORIGINATED) {
        return vec!["this host's own: its hop limit stays".to_owned()];
    }
    match step.verdict {
        Verdict::Continue => vec!["one hop more, and it fits".to_owned()],
        _ => vec!["sent on in pieces".to_owned()],
    }
}

fn output(record: &Record, step: &Step, around: &Surroundings<'_>) -> Vec<String> {
    let Some(target) = record.target else { return Vec::new() };
    let interface = around.interface(step.meta.out);
    let note = match (&record.neighbor, step.verdict) {
        (_, Verdict::Drop(DropReason::NeighborRateLimited | DropReason::NeighborTableFull)) => {
            format!("{target} on {interface} is not known, and is not asked for")
        }
        (_, Verdict::Drop(DropReason::OwnAddress | DropReason::NotForwardable)) => {
            format!("{target} is the gateway's own there: nobody is asked for it")
        }
        (_, Verdict::Drop(_)) => format!("{target} on {interface} is not known"),
        (Some(neighbor), Verdict::Taken) if neighbor.waiting > 1 => {
            format!(
                "{target} on {interface} has been asked and has not answered: the packet waits with {} others",
                neighbor.waiting - 1
            )
        }
        (_, Verdict::Taken) => format!("{target} on {interface} is not known: it is asked for, and the packet waits"),
        (Some(neighbor), _) => {
            let doubt = match neighbor.phase {
                Phase::Stale | Phase::Delay => ", not confirmed lately",
                Phase::Probe => ", being asked whether it is still there",
                Phase::Static | Phase::Reachable | Phase::Incomplete => "",
            };
            format!("{target} is station {} ({}{doubt})", neighbor.mac, neighbor_word(neighbor.phase))
        }
        (None, _) => String::new(),
    };
    vec![note]
}
