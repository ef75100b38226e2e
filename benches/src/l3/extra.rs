//! What a packet's way may have beside plain forwarding.

use ipnet::IpNet;
use tidegate_dataplane::{
    l2::{Tags, tag},
    l3::{self, Hop, ReversePath, Target},
};

use crate::{far, random::Random, routes};

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Extra {
    /// A VLAN tag, taken off and another put on.
    Vlan,
    /// Two tags (QinQ), taken off and others put on.
    Qinq,
    /// Routes with four next hops each, in sixteen groups.
    Ecmp,
    /// Sources are looked up: any route will do. They lie anywhere in the table, as destinations do.
    Loose,
    /// Sources are looked up and must lie behind the port they came in by: half of the routes lead back there, half go on.
    Strict,
}

/// Next hops of a route that has several.
const HOPS: usize = 4;

impl Extra {
    /// As it is called in a table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Vlan => "VLAN",
            Self::Qinq => "QinQ",
            Self::Ecmp => "ECMP",
            Self::Loose => "uRPF loose",
            Self::Strict => "uRPF strict",
        }
    }

    /// The tags of packets that come in, and of those that go out.
    pub(super) const fn tags(self) -> [Tags; 2] {
        match self {
            Self::Vlan => [Tags::one(tag::CUSTOMER, 10), Tags::one(tag::CUSTOMER, 20)],
            Self::Qinq => [Tags::two(tag::SERVICE, 100, 10), Tags::two(tag::SERVICE, 100, 20)],
            Self::Ecmp | Self::Loose | Self::Strict => [Tags::NONE; 2],
        }
    }

    /// Asks it of a router that has no routes yet.
    pub(super) fn ask(self, spec: &mut l3::Spec) {
        far::tag(spec, self.tags());
        spec.interfaces[0].reverse_path = match self {
            Self::Loose => ReversePath::Loose,
            Self::Strict => ReversePath::Strict,
            Self::Vlan | Self::Qinq | Self::Ecmp => ReversePath::Off,
        };
    }

    /// Whether it can be measured with so many routes: a few may all lead the same way.
    pub(super) const fn fits(self, routes: usize) -> bool {
        !matches!(self, Self::Strict) || routes >= 16
    }

    /// Where the route of this number leads.
    pub(super) fn target(self, number: usize, to: &IpNet) -> Target {
        let v6 = to.addr().is_ipv6();
        match self {
            Self::Ecmp => Target::Spread(
                (0..HOPS)
                    .map(|at| Hop { gateway: far::gateway_of(number + at, v6).into(), interface: None, weight: 1 })
                    .collect(),
            ),
            Self::Strict if leads_back(to) => far::clients_gateway(v6),
            _ => far::gateway(number, v6),
        }
    }

    /// Whether packets for such a route leave by the port they did not come by.
    pub(super) fn goes_on(self, to: &IpNet) -> bool {
        self != Self::Strict || !leads_back(to)
    }

    /// `count` sources that pass; none if it does not matter where packets come from.
    pub(super) fn sources(self, prefixes: &[IpNet], count: usize, random: &mut Random) -> Vec<u128> {
        let mut within = |prefixes: &[&IpNet]| -> Vec<u128> {
            (0..count).map(|_| routes::within(prefixes[random.below(prefixes.len())], random)).collect()
        };
        match self {
            Self::Loose => within(&prefixes.iter().collect::<Vec<_>>()),
            Self::Strict => within(&prefixes.iter().filter(|net| leads_back(net)).collect::<Vec<_>>()),
            Self::Vlan | Self::Qinq | Self::Ecmp => Vec::new(),
        }
    }
}

/// Whether a route leads to where packets come from: every other one by the last bit that all prefixes have, so that a longer prefix
/// leads where the shorter one does that it lies in.
fn leads_back(to: &IpNet) -> bool {
    match to {
        IpNet::V4(net) => net.network().to_bits() >> 16 & 1 != 0,
        IpNet::V6(net) => net.network().to_bits() >> 96 & 1 != 0,
    }
}
