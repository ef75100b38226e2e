//! Ports' addresses, routes and neighbours.

use std::time::Duration;

use ipnet::IpNet;
use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l2::{Presence, StaticNeighbor};
use tidegate_dataplane::l3::{Advertise, PortAddresses, Route, Spec, Table, Target};
use tidegate_dataplane::meta::PortId;

use super::{CompileError, Inputs};
use crate::config::model::{DuplicateDetection, Reference, RouteTarget, RouterAdvertisements};

/// Whether both make the same table.
pub(super) fn same(a: &Inputs, b: &Inputs) -> bool {
    let links = |inputs: &Inputs| {
        let ports = inputs.config.ports.iter().map(|port| {
            let shown = (port.announce, port.duplicate_detection, port.router_advertisements.clone());
            (port.addresses.clone(), shown)
        });
        ports.collect::<Vec<_>>()
    };
    a.ports == b.ports
        && a.tentative == b.tentative
        && a.config.routes == b.config.routes
        && a.config.neighbors == b.config.neighbors
        && links(a) == links(b)
}

pub(super) fn build(inputs: &Inputs, previous: Option<&Table>) -> Result<Table, CompileError> {
    let config = &inputs.config;
    let ports = config.ports.iter().zip(inputs.ports.iter()).enumerate();
    let ports = ports.map(|(index, (port, info))| {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in &port.addresses {
            match address.0 {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        let tentative = inputs.tentative.addresses.iter().filter(|(port, _)| *port == index);
        let presence = Presence {
            announce: port.announce,
            probe: port.duplicate_detection != DuplicateDetection::Off,
            tentative: tentative.map(|(_, address)| *address).collect(),
            attempt: inputs.tentative.attempt,
        };
        let advertise = port.router_advertisements.as_ref().map(advertise);
        PortAddresses { port: id(index), mac: info.mac, mtu: info.mtu, v4, v6, presence, advertise }
    });
    let routes = config.routes.iter().map(|route| Route {
        to: route.to,
        target: match &route.target {
            RouteTarget::Via { gateway, port } => Target::Via { gateway: *gateway, port: Some(id_of(port)) },
            RouteTarget::OnLink { port } => Target::Link(id_of(port)),
            RouteTarget::Blackhole => Target::Blackhole,
            RouteTarget::Unreachable => Target::Unreachable,
        },
    });
    let neighbors = config.neighbors.iter().map(|neighbor| StaticNeighbor {
        port: id_of(&neighbor.port),
        address: neighbor.address,
        mac: MacAddr(neighbor.mac.0),
    });
    let spec = Spec { ports: ports.collect(), routes: routes.collect(), neighbors: neighbors.collect() };
    Table::build(spec, previous).map_err(CompileError::L3)
}

fn advertise(config: &RouterAdvertisements) -> Advertise {
    Advertise {
        interval: Duration::from_secs(config.interval_s.into()),
        lifetime_s: config.lifetime_s,
        managed: config.managed,
        other: config.other_configuration,
        autonomous: config.autonomous,
        valid_lifetime_s: config.valid_lifetime_s,
        preferred_lifetime_s: config.preferred_lifetime_s,
        dns: config.dns.clone(),
    }
}

fn id_of(port: &Reference) -> PortId {
    id(port.index)
}

/// A port's place in the configuration is its number.
pub(super) fn id(index: usize) -> PortId {
    // More than 65535 ports do not open in the first place.
    PortId(u16::try_from(index).unwrap_or(u16::MAX))
}
