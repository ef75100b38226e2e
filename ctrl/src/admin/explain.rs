//! `/explain`: what would become of a packet, tried out by a real core on the tables and neighbours that it has now.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tidegate_dataplane::frame::HEADROOM;
use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l2::{Link, Tags, tag};
use tidegate_dataplane::meta::{InterfaceId, PortId};
use tidegate_dataplane::see::Record;
use tidegate_dataplane::see::order::{Order, Rehearsal};

use super::Desk;
use super::show::{position, refuse};
use crate::craft::{CraftError, Draft, group_station};
use crate::lines::Silent;
use crate::status::Status;
use crate::story::{Surroundings, tell};

/// The station that packets are from when nothing else is said.
const SOMEBODY: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
/// Hop limit, unless said otherwise.
const HOPS: u8 = 64;
/// Port that packets are from, unless said otherwise: one of those that hosts choose themselves.
const SOURCE_PORT: u16 = 49_152;
const SYN: u8 = 2;

/// `?in=…&src=…&dst=…&proto=…&sport=…&dport=…&ttl=…&length=…&vlan=…&core=…`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(rename = "in")]
    port: String,
    src: IpAddr,
    dst: IpAddr,
    proto: Option<u8>,
    sport: Option<u16>,
    dport: Option<u16>,
    ttl: Option<u8>,
    tos: Option<u8>,
    df: Option<bool>,
    tcp_flags: Option<u8>,
    length: Option<usize>,
    /// With commas in between, outermost first.
    vlan: Option<String>,
    from_station: Option<String>,
    to_station: Option<String>,
    core: Option<usize>,
}

impl Wanted {
    fn entry(&self, status: &Status) -> Result<Entry, String> {
        let vlans = self.vlan.as_deref().map_or(Ok(Vec::new()), |text| text.split(',').map(vlan).collect())?;
        Entry::find(&self.port, &vlans, status)
    }

    fn draft(&self, entry: Entry) -> Result<Draft, String> {
        let to = self.to_station.as_deref().map(station).transpose()?;
        let from = self.from_station.as_deref().map(station).transpose()?;
        Ok(Draft {
            to_station: to.or_else(|| group_station(self.dst)).unwrap_or(entry.station),
            from_station: from.unwrap_or(SOMEBODY),
            tags: entry.tags,
            source: self.src,
            destination: self.dst,
            protocol: self.proto.unwrap_or(if self.dst.is_ipv4() { 1 } else { 58 }),
            source_port: self.sport.unwrap_or(SOURCE_PORT),
            destination_port: self.dport.unwrap_or(0),
            hops: self.ttl.unwrap_or(HOPS),
            traffic_class: self.tos.unwrap_or(0),
            dont_fragment: self.df.unwrap_or(false),
            tcp_flags: self.tcp_flags.unwrap_or(SYN),
            length: self.length,
        })
    }
}

/// Where a packet comes in.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    port: usize,
    /// EtherType and identifier of each of its tags, outermost first.
    tags: Vec<(u16, u16)>,
    /// Who it is to, if nothing else is said.
    station: MacAddr,
}

impl Entry {
    /// By the name of a port and the numbers of tags, or by that of an interface on a port, which has tags of its own.
    fn find(name: &str, vlans: &[u16], status: &Status) -> Result<Self, String> {
        let link = status.tables.l3.link();
        let (port, tags) = entrance(name, vlans, status)?;
        let same = |known: &Link| matches!(known, Link::Port { port: at, tags: has } if at.index() == port && parts(*has) == tags);
        let interface = link.interfaces().iter().position(|known| same(&known.link)).unwrap_or(port);
        // On a member of a bridge, the router is the bridge's own interface.
        let member = InterfaceId(interface as u16);
        let bridge = link.bridges().iter().find(|bridge| bridge.members.contains(&member));
        let station = link.interface(bridge.map_or(member, |bridge| bridge.interface)).mac;
        Ok(Self { port, tags, station })
    }
}

/// The number of a port, and the tags of frames there.
fn entrance(name: &str, vlans: &[u16], status: &Status) -> Result<(usize, Vec<(u16, u16)>), String> {
    let ports = status.config.ports.iter().map(|port| port.name.0.as_str());
    if let Ok(port) = position("port", name, ports.clone()) {
        // 802.1ad outside, 802.1Q inside.
        let Some((inner, outer)) = vlans.split_last() else { return Ok((port, Vec::new())) };
        let outer = outer.iter().map(|vlan| (tag::SERVICE, *vlan));
        return Ok((port, outer.chain([(tag::CUSTOMER, *inner)]).collect()));
    }
    let interfaces = status.tables.l3.link().interfaces();
    let tagged = interfaces.iter().filter(|known| matches!(known.link, Link::Port { tags, .. } if tags != Tags::NONE));
    match interfaces.iter().find(|known| known.name == name && !name.is_empty()).map(|known| known.link) {
        Some(Link::Port { .. }) if !vlans.is_empty() => {
            Err(format!("the tags of `{name}` are known: name its port, or leave out `vlan`"))
        }
        Some(Link::Port { port, tags }) => Ok((port.index(), parts(tags))),
        Some(Link::Bridge) => Err(format!("`{name}` is a bridge: name the member by which the packet comes in")),
        Some(Link::None) => Err(format!("`{name}` is on no link: nothing comes in by it")),
        None => {
            let names = ports.chain(tagged.map(|known| known.name.as_str()));
            position("port or VLAN", name, names).map(|port| (port, Vec::new()))
        }
    }
}

/// EtherType and identifier of each tag.
fn parts(tags: Tags) -> Vec<(u16, u16)> {
    let (each, _) = tags.as_bytes().as_chunks();
    each.iter().map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))).collect()
}

fn vlan(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number < 4095);
    number.ok_or_else(|| format!("`{text}` is no VLAN's number: they are 0 to 4094"))
}

/// A hardware address from six hexadecimal numbers.
fn station(text: &str) -> Result<MacAddr, String> {
    crate::filter::station(text).ok_or_else(|| format!("`{text}` is no station: write e.g. 02:00:00:00:00:01"))
}

pub(super) async fn explain(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let status = desk.status.borrow().clone();
    let entry = match wanted.entry(&status) {
        Ok(entry) => entry,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let port = entry.port;
    let core = wanted.core.unwrap_or(0);
    if core >= desk.lines.cores() {
        return refuse(StatusCode::BAD_REQUEST, format_args!("there are only {} cores, from 0", desk.lines.cores()));
    }
    let packet = wanted.draft(entry).and_then(|draft| draft.packet().map_err(|error: CraftError| error.to_string()));
    let packet = match packet {
        Ok(packet) => packet,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let (bytes, frame_size) = (packet.len(), status.config.runtime.frame_size as usize);
    let most = frame_size - HEADROOM;
    if bytes > most {
        return refuse(
            StatusCode::BAD_REQUEST,
            format_args!(
                "a frame of {bytes} bytes: with `frame_size = {frame_size}` a core can try out {most} at most; take a shorter `length`"
            ),
        );
    }
    let around =
        Surroundings { status: &status, telemetry: &desk.telemetry, unix_origin_ns: desk.lines.unix_origin_ns() };
    let mut ways = Vec::new();
    let mut next = Some((core, None));
    // A packet is handed over once.
    while let Some((core, handed)) = next.take() {
        match rehearse(&desk, core, PortId(port as u16), &packet, handed).await {
            Ok(record) => {
                let last = record.steps.last().map(|step| step.meta);
                next = record.handed_to.zip(last).filter(|_| ways.is_empty()).map(|(owner, meta)| (owner, Some(meta)));
                ways.push(tell(&record, &around));
            }
            Err(silent) => return refuse(StatusCode::SERVICE_UNAVAILABLE, silent),
        }
    }
    Json(json!({ "ways": ways })).into_response()
}

async fn rehearse(
    desk: &Desk,
    core: usize,
    port: PortId,
    packet: &[u8],
    handed: Option<tidegate_dataplane::meta::Meta>,
) -> Result<Record, Silent> {
    let (cores, ports) = (desk.lines.cores(), desk.telemetry.ports.len());
    let mut rehearsal = Rehearsal::new(packet.to_vec(), port, (core, cores), ports, desk.lines.waker());
    rehearsal.handed = handed;
    match desk.lines.ask(core, Order::Rehearse(Box::new(rehearsal))).await? {
        Order::Rehearse(rehearsal) => Ok(rehearsal.record),
        _ => Ok(Record::empty()),
    }
}

#[cfg(test)]
mod tests;
