//! What a bridge makes of a frame.

use core::iter;

use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l2::table::Bridge;
use tidegate_dataplane::meta::{Meta, Network};
use tidegate_dataplane::see::record::Made;
use tidegate_dataplane::see::{Head, Record, Step};
use tidegate_dataplane::stats::Stage;
use tidegate_dataplane::verdict::{DropReason, Verdict};

use super::Surroundings;

/// Whether a bridge looks at a packet that stands there, when its stage comes.
pub(super) fn looks(record: &Record, stands: Verdict, was: &Meta) -> bool {
    match stands {
        Verdict::Bridge => true,
        // What IP does not know, a bridge may.
        Verdict::Continue | Verdict::Drop(DropReason::L2UnknownType) => joins(record, was).is_some(),
        _ => false,
    }
}

/// The bridge that a packet's interface is a member of.
fn joins<'a>(record: &'a Record, meta: &Meta) -> Option<&'a Bridge> {
    let links = record.tables.as_deref()?.l3.link();
    links.bridge_of(meta.interface).map(|(_, bridge)| bridge)
}

/// What the bridge has decided about a packet that stood at `stood` and `was` known as this.
pub(super) fn passed(
    record: &Record,
    step: &Step,
    stood: Verdict,
    was: &Meta,
    around: &Surroundings<'_>,
) -> Vec<String> {
    let leaves = stood == Verdict::Bridge;
    let head = if leaves { leaving(record) } else { Some(record.head) };
    let (Some(to), Some(tables)) = (head.as_ref().and_then(destination), record.tables.as_deref()) else {
        return Vec::new();
    };
    let bridge = if leaves {
        tables.l3.link().bridges().iter().find(|bridge| bridge.interface == was.out)
    } else {
        joins(record, was)
    };
    let Some(bridge) = bridge else { return Vec::new() };
    let name = around.interface(bridge.interface);
    let others = bridge.members.len().saturating_sub(usize::from(!leaves));
    let flooded = |sent: usize| match flooded(record, head.as_ref(), sent, others) {
        0 => "no other member hears it".to_owned(),
        1 => "flooded to 1 member".to_owned(),
        count => format!("flooded to {count} members"),
    };
    match step.verdict {
        Verdict::Transmit(_) => {
            let by = if leaves { "out of" } else { "through" };
            let station = if record.station_known {
                format!("station {to} is behind {}", around.interface(step.meta.out))
            } else if to.is_multicast() {
                format!("for {}, {}", group(to), flooded(1))
            } else {
                format!("station {to} is not known, {}", flooded(1))
            };
            vec![format!("{by} bridge {name}: {station}")]
        }
        verdict if verdict == stood && to.is_multicast() => {
            vec![format!("into bridge {name}, for {}: {}", group(to), flooded(0)), from_here_on(&name)]
        }
        verdict if verdict == stood => {
            vec![format!("into bridge {name}, for the gateway itself"), from_here_on(&name)]
        }
        _ => Vec::new(),
    }
}

fn from_here_on(name: &str) -> String {
    format!("from here on it is a packet on {name}")
}

fn group(to: MacAddr) -> &'static str {
    if to == MacAddr::BROADCAST { "all stations" } else { "a group of stations" }
}

/// Members that a frame has gone to: by its copies and, of those that it may have gone to itself, `sent`. Where not all that was made
/// is on record, the `others` that there are.
fn flooded(record: &Record, head: Option<&Head>, sent: usize, others: usize) -> usize {
    if record.made.is_full() {
        return others;
    }
    record.made.iter().filter(|made| head.is_some_and(|head| is_copy(made, head))).count() + sent
}

/// Copies that bridges have sent of a packet, as it came in or as it left.
pub(super) fn copies(record: &Record) -> impl Iterator<Item = &Made> {
    let heads = [(!record.bare).then_some(record.head), leaving(record)];
    record.made.iter().filter(move |made| heads.iter().flatten().any(|head| is_copy(made, head)))
}

/// A packet as IP has sent it out by a bridge; or as this host has made it, header and all, which no stage changes before.
fn leaving(record: &Record) -> Option<Head> {
    let stood = iter::once(record.stood).chain(record.steps.iter().map(|step| step.verdict));
    let at = record
        .steps
        .iter()
        .zip(stood)
        .position(|(step, stood)| step.stage == Stage::Bridge && stood == Verdict::Bridge)?;
    let changed = record.steps[..at].iter().filter_map(|step| step.head).next_back();
    changed.or((!record.bare).then_some(record.head))
}

/// Whatever else is made on behalf of a packet is from a station of ours.
fn is_copy(made: &Made, head: &Head) -> bool {
    made.network == Network::Other && made.head.bytes().first_chunk::<12>() == head.bytes().first_chunk::<12>()
}

fn destination(head: &Head) -> Option<MacAddr> {
    head.bytes().first_chunk::<6>().copied().map(MacAddr)
}
