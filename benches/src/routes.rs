//! Routing tables like those of the Internet, and destinations within them.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::random::Random;

/// How long prefixes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Shape {
    /// As in the global tables: mostly /24 (IPv4) and /48 (IPv6), some longer, as in one's own network.
    Internet,
    /// Every length from /16 to /32 (IPv4) and every other one from /32 to /64 (IPv6) as often as any other.
    Random,
}

impl Shape {
    /// As it is called in a table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Internet => "Internet",
            Self::Random => "random",
        }
    }

    fn len(self, bits: u64) -> u8 {
        match self {
            Self::Internet => match bits >> 60 {
                0..=9 => 24,
                10..=13 => 16 + (bits >> 56 & 7) as u8,
                14 => 22,
                _ => 28,
            },
            Self::Random => 16 + ((bits >> 48) % 17) as u8,
        }
    }
}

/// `count` different prefixes as long as those of the Internet, sorted.
pub(crate) fn prefixes(count: usize, v6: bool) -> Vec<IpNet> {
    shaped(count, v6, Shape::Internet)
}

/// `count` different prefixes, sorted.
pub(crate) fn shaped(count: usize, v6: bool, shape: Shape) -> Vec<IpNet> {
    let (mut random, mut seen) = (Random::new(), BTreeSet::new());
    while seen.len() < count {
        let bits = random.bits();
        let len = shape.len(bits);
        if v6 {
            let address = (0x2000u128 << 112) | u128::from(bits & 0x1fff_ffff_ffff) << 80;
            seen.extend(Ipv6Net::new(address.into(), len * 2).map(|net| IpNet::from(net.trunc())));
        } else {
            // 20.0.0.0 to 126.255.255.255: no address that a router refuses, none of the rig's own.
            let address = 0x1400_0000 + (bits as u32 % 0x6b00_0000);
            seen.extend(Ipv4Net::new(address.into(), len).map(|net| IpNet::from(net.trunc())));
        }
    }
    seen.into_iter().collect()
}

/// An address within a prefix.
pub(crate) fn within(net: &IpNet, random: &mut Random) -> u128 {
    match net {
        IpNet::V4(net) => u128::from(net.network().to_bits() | random.bits() as u32 & net.hostmask().to_bits()),
        IpNet::V6(net) => net.network().to_bits() | u128::from(random.bits()),
    }
}
