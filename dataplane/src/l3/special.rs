//! Addresses of special kinds: those that are no station's, and those that are of everybody's.

use core::net::{Ipv4Addr, Ipv6Addr};

const IGMP: u8 = 2;

/// Facts about an IPv4 address that its first octet decides.
pub(super) const NOT_A_SOURCE: u8 = 1;
pub(super) const NOT_A_DESTINATION: u8 = 2;
pub(super) const MULTICAST: u8 = 4;
/// 169.254.0.0/16 is among them.
const MAY_BE_LINK_LOCAL: u8 = 8;
pub(super) const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    // "This network" and loopback (RFC 1812 §4.2.2.11, §5.3.7).
    classes[0] = NOT_A_SOURCE | NOT_A_DESTINATION;
    classes[127] = NOT_A_SOURCE | NOT_A_DESTINATION;
    classes[169] = MAY_BE_LINK_LOCAL;
    let mut first = 224;
    while first < 256 {
        classes[first] = NOT_A_SOURCE | if first < 240 { MULTICAST } else { NOT_A_DESTINATION };
        first += 1;
    }
    classes
}

/// Whether a station that has no IPv4 address yet may send this: to all, to get one (RFC 1122 §3.2.1.3 (a)), or of its groups
/// (RFC 3376 §4.2.13). Nothing here answers it.
pub(super) fn may_lack_a_source(destination: Ipv4Addr, protocol: u8) -> bool {
    destination.is_broadcast() || protocol == IGMP && matches!(destination.octets(), [224, 0, 0, _])
}

/// Unspecified, loopback, or an IPv4 address in disguise (RFC 4291 §2.5.2, §2.5.3, §2.5.5.2): not on a link.
#[inline]
pub(super) fn is_martian_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    bits >> 32 == 0xffff || bits <= 1
}

/// All nodes and all routers on this link (RFC 4291 §2.7.1). Those on this node, `ff01::1` and `::2`, never come by a wire (§2.7).
#[inline]
pub(super) fn is_our_group(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xff02, 0, 0, 0, 0, 0, 0, 1 | 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_address_asks_for_one_and_tells_of_groups() {
        let may = |destination: &str, protocol| may_lack_a_source(destination.parse().unwrap(), protocol);
        assert!(may("255.255.255.255", 17) && may("224.0.0.22", IGMP) && may("224.0.0.2", IGMP));
        assert!(!may("224.0.0.22", 17) && !may("224.0.1.22", IGMP) && !may("10.0.0.1", IGMP));
    }
}
