//! `[[vlan]]`: which frames of which port, and how long they may be.

use std::collections::HashMap;

use super::ports::mtu_of;
use super::{Checker, Names};
use crate::config::model::Link;
use crate::config::raw::{Capture, Raw, TagProtocol, Vlan};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Bytes of a second tag: the first is beyond a link's MTU, as the Ethernet header is.
const SECOND_TAG: u16 = 4;

/// What tells the frames of a VLAN: the port, the EtherType, and the identifiers.
type Mark = (usize, TagProtocol, Option<u16>, u16);

/// The link and the MTU of each `[[vlan]]`; `None` where the file does not say which frames are meant.
pub(super) fn links(raw: &Raw, names: &Names, cx: &mut Checker<'_>) -> Vec<Option<(Link, u16)>> {
    let mut seen = HashMap::new();
    raw.vlan.0.iter().map(|vlan| link(vlan, raw, names, &mut seen, cx)).collect()
}

fn link(
    vlan: &Vlan,
    raw: &Raw,
    names: &Names,
    seen: &mut HashMap<Mark, Span>,
    cx: &mut Checker<'_>,
) -> Option<(Link, u16)> {
    let name = vlan.port.ok()?;
    let port = names.interfaces.resolve(name, cx)?;
    let Some(below) = raw.port.0.get(port.index) else {
        let message = format!("`{}` is not a port", port.name.0);
        cx.push(Diagnostic::error(Code::InvalidValue, name.span, message).help("two tags are `id` and `outer`"));
        return None;
    };
    if let Some(capture) = below.capture.ok().filter(|capture| capture.value == Capture::Owned) {
        let message = format!("`{}` takes only what is to its own addresses, and no tagged frame is", port.name.0);
        let both = Diagnostic::error(Code::Conflict, name.span, message).related(capture.span, "it is asked for here");
        cx.push(both.help("write `capture = \"all\"` there; `host` gives the kernel its part"));
    }
    let outer = vlan.outer.ok().map(|outer| outer.to());
    let usual = if outer.is_some() { TagProtocol::Service } else { TagProtocol::Customer };
    let protocol = vlan.protocol.ok().map_or(usual, |protocol| protocol.value);
    let id = vlan.id.ok()?;
    if let Some(first) = seen.insert((port.index, protocol, outer, id.to()), id.span) {
        let message = format!("these frames of `{}` are another VLAN's already", port.name.0);
        cx.push(Diagnostic::error(Code::Duplicate, id.span, message).related(first, "the first is here"));
    }
    let most = mtu_of(below) - if outer.is_some() { SECOND_TAG } else { 0 };
    let mtu = vlan.ip.mtu.ok().map_or(most, |mtu| mtu.to());
    if let Some(given) = vlan.ip.mtu.ok().filter(|_| mtu > most) {
        let message = format!("a packet of {mtu} bytes does not fit the port: at most {most}");
        let help = format!("write `mtu = {}` for the port `{}`, or less here", mtu + mtu_of(below) - most, port.name.0);
        cx.push(Diagnostic::error(Code::OutOfRange, given.span, message).help(help));
    }
    Some((Link::Vlan { port, protocol, outer, id: id.to() }, mtu))
}
