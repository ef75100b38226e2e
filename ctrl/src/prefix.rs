//! Prefixes as people ask for them.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Bits that are set behind a prefix: an address is meant, or a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostBits {
    network: IpNet,
}

impl HostBits {
    /// Those of `net`, if there are any.
    pub(crate) fn of(net: IpNet) -> Option<Self> {
        let network = net.trunc();
        (net != network).then_some(Self { network })
    }
}

/// What is wrong, and what to write.
impl fmt::Display for HostBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (net, bits, most) = (self.network, self.network.prefix_len(), self.network.max_prefix_len());
        write!(f, "bits set behind its {bits} bit prefix: write {net}, or /{most} for this address alone")
    }
}

/// A prefix, or an address as the prefix of itself; `None` if it is neither.
pub(crate) fn read(text: &str) -> Option<Result<IpNet, HostBits>> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(HostBits::of(net).map_or(Ok(net), Err))
}
