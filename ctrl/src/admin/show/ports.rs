//! Ports: what they are, what went through them and through the interfaces above them, and the addresses on their links.

use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_dataplane::l2::Link;
use tidegate_dataplane::meta::InterfaceId;

use super::addresses;
use crate::admin::Desk;
use crate::status::Status;
use crate::telemetry::Telemetry;
use crate::telemetry::document::Document;

pub(super) async fn show(State(desk): State<Desk>) -> Response {
    let status = desk.status.borrow().clone();
    let document = Document::of(&desk.telemetry, &status, Instant::now());
    let addresses = addresses::of(&status, &desk.telemetry, SystemTime::now());
    let interfaces = interfaces(&status, &desk.telemetry);
    let uptime_ms = document.uptime_ms;
    let answer = json!({
        "ports": document.ports, "interfaces": interfaces, "addresses": addresses, "uptime_ms": uptime_ms
    });
    Json(answer).into_response()
}

/// An interface with counters of its own, over all cores: a VLAN or a bridge. The untagged side of a port has the port's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The port that carries its frames; `None` for a bridge.
    pub port: Option<String>,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes of them, Ethernet header and tags included.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes of them, Ethernet header and tags included.
    pub tx_bytes: u64,
}

fn interfaces(status: &Status, telemetry: &Telemetry) -> Vec<Interface> {
    let all = status.tables.l3.link().interfaces().iter().zip(0u16..);
    let counted = all.filter(|(interface, _)| interface.has_counters());
    let row = |(interface, number): (&tidegate_dataplane::l2::Interface, u16)| {
        let id = InterfaceId(number);
        let port = match interface.link {
            Link::Port { port, .. } => telemetry.ports.get(port.index()).map(|port| port.name.clone()),
            _ => None,
        };
        Interface {
            name: interface.name.clone(),
            port,
            mtu: interface.mtu,
            rx_packets: telemetry.sum(|core| &core.stats.interface(id).rx_packets),
            rx_bytes: telemetry.sum(|core| &core.stats.interface(id).rx_bytes),
            tx_packets: telemetry.sum(|core| &core.stats.interface(id).tx_packets),
            tx_bytes: telemetry.sum(|core| &core.stats.interface(id).tx_bytes),
        }
    };
    counted.map(row).collect()
}
