//! Where packets are sent: the keys that routes and policy rules have in common.

use std::net::IpAddr;

use crate::config::scalar::{Int, Name};
use crate::config::slot::{At, List, OneOrMany, Optional};
use crate::config::table::table;

table! {
    /// Next hops, or an end.
    pub struct TargetKeys("[[route]]") {
        /// Next router, which must be in the subnet of an interface, unless `interface` is said too; or a list of routers, among which
        /// flows are spread evenly. IPv4 packets, too, may be sent to a router's IPv6 address, also a link-local one (RFC 8950).
        via: Optional<OneOrMany<IpAddr>>;
        /// Next hops among which flows are spread, up to 64; in place of `via` and `interface`.
        next_hops: Optional<List<RouteHop>>;
        /// Interface that leads there: the name of a port, a VLAN or a bridge. Without it, the one whose subnet has `via`.
        interface: Optional<Name>;
        /// Drop these packets (counted) and tell nobody.
        blackhole: At<bool> = false, "false";
        /// Drop these packets and tell their senders by ICMP that the destination is unreachable.
        unreachable: At<bool> = false, "false";
        /// Drop these packets and tell their senders by ICMP that this is forbidden.
        prohibit: At<bool> = false, "false";
    }
}

table! {
    /// One of several next hops of a route. It has `via`, `interface` or both.
    pub struct RouteHop("an item of `next_hops`") {
        /// Next router; it must be in the subnet of an interface, unless `interface` is said too.
        via: Optional<IpAddr>;
        /// Interface that leads there: the name of a port, a VLAN or a bridge. Without it, the one whose subnet has `via`.
        interface: Optional<Name>;
        /// Share of the flows: this weight divided by the sum of all.
        weight: At<Int<1, 256>> = Int::new(1), "1";
    }
}
