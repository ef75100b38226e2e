//! `[[vrf]]` and `[[loopback]]`: routing domains, and addresses that are on no link.

use crate::config::scalar::{Int, InterfaceAddress, Name};
use crate::config::slot::{At, List, Optional, Required};
use crate::config::table::table;

table! {
    /// A routing domain: addresses and routes of its own, so that those of another may be the same. Interfaces belong to it by
    /// their key `vrf`, static routes by theirs; what names none is in the main domain. A packet is routed in the domain of the
    /// interface it came in by, and leaves it only by a route whose next hop names an `interface` of another.
    ///
    /// The gateway answers ping, ARP, neighbour discovery and errors in each domain. Listeners and backends are in the main domain.
    /// Domains come and go with a reload.
    pub struct Vrf("[[vrf]]") {
        /// Name in other tables and in `show`; unique among domains. Not `main`, which is that of everything that names none, and not
        /// `all`, which is every domain in `show`.
        name: Required<Name>;
        /// Number of the kernel's routing table whose routes are learnt into this domain, by the other rules of `[kernel_routes]`: the
        /// table of the domain's VRF device. Interfaces of the domain may then have `host`: the kernel's ends of them belong to that
        /// device, which is made, by the name of the domain, if there is none. Without it the domain has nothing to do with the kernel.
        kernel_table: Optional<Int<1, 4_294_967_295>>;
    }
}

table! {
    /// Addresses of the gateway that are on no link: they stay when a port goes, and are answered for whichever interface of their
    /// domain a packet comes in by. Others need routes to them. A listener may have one; what the gateway sends of its own accord is
    /// from one only where the interface that it leaves by has no address of that family. The kernel has them too if an interface of the domain has `host`: a routing daemon's sessions may be from
    /// one.
    pub struct Loopback("[[loopback]]") {
        /// Name in other tables and in `show`; unique among interfaces.
        name: Required<Name>;
        /// The addresses, each with the prefix length of a single one: /32, or /128 for IPv6.
        addresses: At<List<InterfaceAddress>> = Vec::new(), "[]";
        /// The routing domain they belong to, by the name of a `[[vrf]]`. Without it, the main one.
        vrf: Optional<Name>;
    }
}
