//! Which addresses are ours, which are near, and how the rest is reached: addresses, `[[neighbor]]`.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use tidegate_dataplane::l3::is_host;

use super::{Checker, Names, forwarding::Routes, interfaces::Addressed};
use crate::config::model::{self, ALL, MAIN, Reference};
use crate::config::raw::{Neighbor, Raw};
use crate::config::scalar::Name;
use crate::config::slot::{At, Optional};
use crate::diagnostic::{Code, Diagnostic, Span};

/// Where an interface or a route belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Domain {
    /// The main routing domain.
    Main,
    /// Another.
    Vrf(Reference),
    /// One that the file does not have; recorded.
    Unknown,
}

impl Domain {
    pub(super) fn of(key: &Optional<Name>, names: &Names, cx: &mut Checker<'_>) -> Self {
        match key {
            Optional::Absent => Self::Main,
            Optional::Bad(_) => Self::Unknown,
            Optional::Given(name) if name.0 == MAIN => Self::Main,
            Optional::Given(name) => names.vrfs.resolve(name, cx).map_or(Self::Unknown, Self::Vrf),
        }
    }
}

/// As prose names it.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("the main routing domain"),
            Self::Vrf(vrf) => write!(f, "the VRF `{}`", vrf.name.0),
            Self::Unknown => f.write_str("a routing domain that there is not"),
        }
    }
}

/// The domain of each interface.
pub(super) fn domains(raw: &Raw, names: &Names, cx: &mut Checker<'_>) -> Vec<Domain> {
    for name in raw.vrf.0.iter().filter_map(|vrf| vrf.name.ok()) {
        let message = match name.0.as_str() {
            MAIN => "`main` is the domain of everything that names none",
            ALL => "`all` stands for every domain in `tidegate show`",
            _ => continue,
        };
        cx.push(Diagnostic::error(Code::Duplicate, name.span, message).help("give it another name"));
    }
    let domains: Vec<Domain> = raw.interfaces().map(|interface| Domain::of(interface.vrf, names, cx)).collect();
    for ((_, keys), domain) in raw.linked().zip(&domains) {
        let Domain::Vrf(vrf) = domain else { continue };
        let tableless = raw.vrf.0.get(vrf.index).filter(|vrf| vrf.kernel_table.is_absent());
        if let (Some(host), Some(name)) = (keys.host.span(), tableless.and_then(|vrf| vrf.name.ok())) {
            let message = format!("the domain `{}` has no table of the kernel's", vrf.name.0);
            let missing = Diagnostic::error(Code::Conflict, host, message).related(name.span, "this domain");
            cx.push(missing.help("give it `kernel_table`, the number of its VRF device's table, or leave out `host`"));
        }
    }
    domains
}

/// The addresses of all interfaces.
pub(super) struct Network {
    subnets: Vec<Subnet>,
    /// The domain of each interface.
    domains: Vec<Domain>,
    /// Loopbacks are the last interfaces, from here.
    loopbacks: usize,
    /// Interfaces with an address that could not be read.
    unread: Vec<Reference>,
    /// Somewhere `addresses` is misspelt.
    misspelt: bool,
}

struct Subnet {
    interface: Reference,
    address: IpNet,
    span: Span,
}

impl Subnet {
    /// Whether what is sent to an address is for all hosts of the subnet (RFC 1812 §5.3.5). One of two addresses has none (RFC 3021).
    fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpNet::V4(net) = self.address else { return false };
        net.prefix_len() < 31 && [net.network(), net.broadcast()].map(IpAddr::V4).contains(&address)
    }

    /// The inner and the outer of two subnets on different interfaces, if one with several addresses lies in the other.
    fn nested<'s>(a: &'s Self, b: &'s Self) -> Option<(&'s Self, &'s Self)> {
        let holds = |(inner, outer): &(&Self, &Self)| outer.address.contains(&inner.address.trunc());
        let several = |(inner, _): &(&Self, &Self)| inner.address.prefix_len() < inner.address.max_prefix_len();
        let nested = [(b, a), (a, b)].into_iter().find(holds).filter(several);
        nested.filter(|_| a.interface != b.interface)
    }
}

impl Network {
    pub(super) fn of(raw: &Raw, domains: Vec<Domain>, cx: &Checker<'_>) -> Self {
        let mut subnets = Vec::new();
        // A misspelt `addresses` is reported as such.
        let misspelt =
            |d: &Diagnostic| d.code == Code::UnknownKey && d.help.iter().any(|help| help.contains("`addresses`"));
        let misspelt = cx.diagnostics.iter().any(misspelt);
        let mut unread = Vec::new();
        for (index, Addressed { name, addresses, .. }) in raw.interfaces().enumerate() {
            let name = name.ok().map_or_else(|| Name(format!("interface {}", index + 1)), |name| name.value.clone());
            let interface = Reference { index, name };
            if addresses.given && cx.broken(addresses.span) {
                unread.push(interface.clone());
            }
            subnets.extend(addresses.iter().map(|address| Subnet {
                interface: interface.clone(),
                address: address.value.0,
                span: address.span,
            }));
        }
        let loopbacks = domains.len() - raw.loopback.0.len();
        Self { subnets, domains, loopbacks, unread, misspelt }
    }

    /// Whether the domain is known and all addresses in it could be read; else nothing is said about one that seems to be missing.
    pub(super) fn is_whole(&self, domain: &Domain) -> bool {
        let placed = *domain != Domain::Unknown && !self.domains.contains(&Domain::Unknown);
        placed && !self.misspelt && self.unread.iter().all(|interface| self.domain(interface) != domain)
    }

    /// The domain of an interface.
    pub(super) fn domain(&self, interface: &Reference) -> &Domain {
        self.domains.get(interface.index).unwrap_or(&Domain::Unknown)
    }

    /// Whether an interface is a loopback, which leads nowhere.
    pub(super) fn is_loopback(&self, interface: &Reference) -> bool {
        interface.index >= self.loopbacks
    }

    /// The subnets of a domain.
    fn inside<'a>(&'a self, domain: &'a Domain) -> impl Iterator<Item = &'a Subnet> {
        self.subnets.iter().filter(move |subnet| self.domain(&subnet.interface) == domain)
    }

    /// Whether an address is one of ours in a domain.
    pub(super) fn owns(&self, domain: &Domain, address: IpAddr) -> bool {
        self.inside(domain).any(|subnet| subnet.address.addr() == address)
    }

    /// Whether we have any address of the family of `address` in the main domain.
    pub(super) fn has_family(&self, address: IpAddr) -> bool {
        self.inside(&Domain::Main).any(|subnet| subnet.address.addr().is_ipv4() == address.is_ipv4())
    }

    /// The interface of a domain in whose subnet `address` is.
    pub(super) fn interface_to<'a>(&'a self, domain: &'a Domain, address: IpAddr) -> Option<&'a Reference> {
        let inside = self.inside(domain).filter(|subnet| subnet.address.contains(&address));
        inside.max_by_key(|subnet| subnet.address.prefix_len()).map(|subnet| &subnet.interface)
    }

    /// The interfaces of other domains in whose subnets `address` is, and where the file says so: those of the longest prefix, in
    /// the order of the file.
    pub(super) fn interfaces_beyond(&self, domain: &Domain, address: IpAddr) -> Vec<(&Reference, Span)> {
        let beyond = self.subnets.iter().filter(|subnet| self.domain(&subnet.interface) != domain);
        let near: Vec<_> = beyond.filter(|subnet| subnet.address.contains(&address)).collect();
        let longest = near.iter().map(|subnet| subnet.address.prefix_len()).max();
        let nearest = near.into_iter().filter(|subnet| Some(subnet.address.prefix_len()) == longest);
        nearest.map(|subnet| (&subnet.interface, subnet.span)).collect()
    }

    /// Our addresses in the main domain, for help.
    pub(super) fn addresses(&self) -> String {
        let all: Vec<String> = self
            .inside(&Domain::Main)
            .map(|subnet| format!("{} ({})", subnet.address.addr(), subnet.interface.name.0))
            .collect();
        if all.is_empty() {
            "no interface has an address".to_owned()
        } else {
            format!("the interfaces have: {}", all.join(", "))
        }
    }

    /// The interface of a domain whose subnet this is, and where the file says so.
    pub(super) fn has_subnet<'a>(&'a self, domain: &'a Domain, net: IpNet) -> Option<(&'a Reference, Span)> {
        let subnet = self.inside(domain).find(|subnet| subnet.address.trunc() == net)?;
        Some((&subnet.interface, subnet.span))
    }

    /// What the one address of `net` is to an interface of a domain, if no route can lead there, and where the file says so.
    pub(super) fn reserved<'a>(
        &'a self,
        domain: &'a Domain,
        net: IpNet,
    ) -> Option<(&'static str, &'a Reference, Span)> {
        let address = (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())?;
        let what = |subnet: &Subnet| match subnet.address {
            own if own.addr() == address => Some("an address"),
            IpNet::V4(_) if subnet.is_broadcast(address) => Some("a broadcast address"),
            IpNet::V6(own) if own.prefix_len() < 127 && IpAddr::V6(own.network()) == address => {
                Some("the subnet-router anycast address")
            }
            _ => None,
        };
        self.inside(domain).find_map(|subnet| Some((what(subnet)?, &subnet.interface, subnet.span)))
    }

    /// Why an address of a domain is no neighbour's, if it is none's.
    pub(super) fn no_neighbor(&self, domain: &Domain, address: &At<IpAddr>) -> Option<Diagnostic> {
        let wrong = |code, message: String| {
            let wrong = Diagnostic::error(code, address.span, message);
            Some(wrong.help("give the address that another station on the link has"))
        };
        let address = address.value;
        if !is_host(address) {
            let message = format!("{address} is no host's address: it is unspecified, loopback, multicast or reserved");
            return wrong(Code::InvalidValue, message);
        }
        match self.reserved(domain, address.into())? {
            _ if self.owns(domain, address) => wrong(Code::Conflict, format!("{address} is our own address")),
            (what, interface, span) => {
                let message = format!("{address} is {what} of `{}`", interface.name.0);
                Some(wrong(Code::Conflict, message)?.related(span, "its address"))
            }
        }
    }

    /// The subnets of a domain, for help: what has other stations, so none of a loopback.
    pub(super) fn subnets(&self, domain: &Domain) -> String {
        let all: Vec<String> = self
            .inside(domain)
            .filter(|subnet| !self.is_loopback(&subnet.interface))
            .map(|subnet| format!("{} ({})", subnet.address.trunc(), subnet.interface.name.0))
            .collect();
        if all.is_empty() {
            format!("no interface in {domain} has a subnet")
        } else {
            format!("the subnets are: {}", all.join(", "))
        }
    }

    /// Records addresses that two interfaces share, and subnets that would make it unclear which interface leads there.
    pub(super) fn overlaps(&self, cx: &mut Checker<'_>) {
        for (at, second) in self.subnets.iter().enumerate() {
            let domain = self.domain(&second.interface);
            for first in self.subnets[..at].iter().filter(|first| self.domain(&first.interface) == domain) {
                let (name, address) = (&first.interface.name.0, second.address);
                let diagnostic = if first.address.addr() == address.addr() {
                    Diagnostic::error(
                        Code::Duplicate,
                        second.span,
                        format!("`{}` is already an address of `{name}`", address.addr()),
                    )
                } else if first.address.trunc() == address.trunc() && first.interface != second.interface {
                    Diagnostic::error(
                        Code::Duplicate,
                        second.span,
                        format!("the subnet {} is already on `{name}`", address.trunc()),
                    )
                    .help("a subnet is on one interface; give one of them a longer prefix")
                } else if first.is_broadcast(address.addr()) || second.is_broadcast(first.address.addr()) {
                    let (own, of) = if first.is_broadcast(address.addr()) { (second, first) } else { (first, second) };
                    let message = format!("{} is a broadcast address of {}", own.address.addr(), of.address.trunc());
                    Diagnostic::error(Code::Conflict, second.span, message)
                } else if let Some((inner, outer)) = Subnet::nested(first, second) {
                    let message = format!(
                        "{} lies in {}: its hosts are looked for on `{}`, and on `{}` no longer",
                        inner.address.trunc(),
                        outer.address.trunc(),
                        inner.interface.name.0,
                        outer.interface.name.0
                    );
                    Diagnostic::warning(Code::Conflict, second.span, message)
                } else {
                    continue;
                };
                cx.push(diagnostic.related(first.span, "the first is here"));
            }
        }
    }
}

pub(super) fn neighbors(
    raw: &[At<Neighbor>],
    network: &Network,
    routes: &Routes,
    names: &Names,
    cx: &mut Checker<'_>,
) -> Vec<model::Neighbor> {
    let mut seen: HashMap<(usize, IpAddr), Span> = HashMap::new();
    let mut neighbors = Vec::new();
    for neighbor in raw {
        let interface = neighbor.interface.ok().and_then(|interface| names.interfaces.resolve(interface, cx));
        let (Some(interface), Some(address)) = (interface, neighbor.address.ok()) else { continue };
        if let Some(first) = seen.insert((interface.index, address.value), address.span) {
            let twice = format!("{} is already a neighbour on `{}`", address.value, interface.name.0);
            cx.push(Diagnostic::error(Code::Duplicate, address.span, twice).related(first, "the first is here"));
        }
        let here = |subnet: &&Subnet| subnet.interface.index == interface.index;
        let near = matches!(address.value, IpAddr::V6(address) if address.is_unicast_link_local())
            || network.subnets.iter().filter(here).any(|subnet| subnet.address.contains(&address.value))
            || routes.lead_by(&interface, address.value);
        let domain = network.domain(&interface);
        if let Some(wrong) = network.no_neighbor(domain, address) {
            cx.push(wrong);
        } else if !near && !network.misspelt && !network.unread.contains(&interface) {
            let far = format!("{} is in no subnet of `{}`", address.value, interface.name.0);
            let mut far = Diagnostic::error(Code::Unreachable, address.span, far);
            if *domain != Domain::Unknown {
                far = far.help(network.subnets(domain));
            }
            cx.push(far.help("a router elsewhere is the `via` of a `[[route]]` with this `interface`"));
        }
        if let Some(mac) = neighbor.mac.ok() {
            neighbors.push(model::Neighbor { interface, address: address.value, mac: mac.value });
        }
    }
    neighbors
}
