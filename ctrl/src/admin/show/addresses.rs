//! Our own addresses: in use, withheld until nobody turns out to have them, disputed.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tidegate_dataplane::l2::{Interface, Link};

use super::interface_name;
use crate::status::Status;
use crate::telemetry::Telemetry;

/// Where an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is used and answered for.
    InUse,
    /// Others are being asked whether they have it.
    Probing,
    /// Another station has it: it is not used until a reload asks again.
    Withheld,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The interface.
    pub interface: String,
    /// The port that leads to its link; `None` if it has none of its own.
    pub port: Option<String>,
    /// With the prefix of the link.
    pub address: String,
    /// Where it stands.
    pub standing: Standing,
    /// The hardware address of another station that uses it, or did.
    pub disputed_by: Option<String>,
    /// Seconds since that was last heard.
    pub disputed_s_ago: Option<u64>,
}

/// The addresses of all interfaces.
pub(super) fn of(status: &Status, telemetry: &Telemetry, now: SystemTime) -> Vec<Address> {
    let interfaces = status.tables.l3.link().interfaces().iter().enumerate();
    interfaces.flat_map(|(index, link)| of_interface(status, telemetry, (index, link), now)).collect()
}

fn of_interface(
    status: &Status,
    telemetry: &Telemetry,
    (interface, link): (usize, &Interface),
    now: SystemTime,
) -> Vec<Address> {
    let port = match link.link {
        Link::Port { port, .. } => telemetry.ports.get(port.index()).map(|port| port.name.clone()),
        _ => None,
    };
    let v4 = link.v4.iter().map(|net| ipnet::IpNet::V4(*net));
    let v6 = link.v6.iter().map(|net| ipnet::IpNet::V6(*net));
    let address = |net: ipnet::IpNet| {
        let dispute = status.disputes.about(interface, net.addr());
        let standing = match (link.is_tentative(net.addr()), dispute) {
            (false, _) => Standing::InUse,
            (true, None) => Standing::Probing,
            (true, Some(_)) => Standing::Withheld,
        };
        Address {
            interface: interface_name(status, interface),
            port: port.clone(),
            address: net.to_string(),
            standing,
            disputed_by: dispute.map(|dispute| dispute.station.to_string()),
            disputed_s_ago: dispute
                .map(|dispute| now.duration_since(dispute.last).map_or(0, |passed| passed.as_secs())),
        }
    };
    v4.chain(v6).map(address).collect()
}
