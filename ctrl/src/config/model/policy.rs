//! Rules of policy routing.

use ipnet::IpNet;
use serde::Serialize;

use super::{Dscp, Name, PortRange, Reference, RouteTarget, Transport};

/// A rule that comes before the routes. What is empty asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Its name.
    pub name: Name,
    /// The routing domain whose packets it is for; `None` for the main one.
    pub vrf: Option<Reference>,
    /// Interfaces by which the packets come in, of that domain.
    pub incoming: Vec<Reference>,
    /// It is for packets of the gateway itself, instead of those in transit.
    pub own: bool,
    /// Prefixes that packets are from.
    pub from: Vec<IpNet>,
    /// Prefixes that packets are to.
    pub to: Vec<IpNet>,
    /// Transport protocols.
    pub protocols: Vec<Transport>,
    /// Ports that packets are from.
    pub source_ports: Vec<PortRange>,
    /// Ports that packets are to.
    pub destination_ports: Vec<PortRange>,
    /// Code points.
    pub dscp: Vec<Dscp>,
    /// What happens to its packets.
    pub action: PolicyAction,
}

/// What happens to packets of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyAction {
    /// They go where the routes of this domain lead; `None` is the main one.
    Lookup(Option<Reference>),
    /// They go there.
    Target(RouteTarget),
}
