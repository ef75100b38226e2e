//! `[[policy]]`: rules that come before the routes.

use super::target::TargetKeys;
use crate::config::scalar::{Name, Prefix};
use crate::config::select::{Dscp, PortRange, Transport};
use crate::config::slot::{At, OneOrMany, Optional, Required};
use crate::config::table::table;

table! {
    /// A rule of policy routing: which packets go another way than the routes say. The first rule, in the order of the file, that fits
    /// a packet decides; one that fits none follows the routes. A key that is left out fits every packet; a list fits what one of its
    /// items fits. Up to 256 rules; they come and go with a reload, and a rule counts on under its name.
    ///
    /// What is asked are packets in transit; those for the gateway itself are delivered, and those that it sends have rules of their
    /// own (`own`). Rules come before all routes, also those to the subnets of the interfaces: a rule in front with
    /// `lookup = "main"` exempts. A rule decides wherever it leads: if that is nowhere, the packet is lost as by a route, and later
    /// rules are not asked. Reverse path checks look into the routes alone.
    ///
    /// A rule has exactly one of `lookup`, `via`, `interface`, `next_hops`, `blackhole`, `unreachable` and `prohibit`.
    pub struct Policy("[[policy]]") {
        /// Name in `show`, `explain` and metrics; unique among rules.
        name: Required<Name>;
        /// The routing domain whose packets it is for, by the name of a `[[vrf]]`. Without it, the main one.
        vrf: Optional<Name>;
        /// Interfaces of that domain by which the packets come in. Without it, all of them.
        incoming: Optional<OneOrMany<Name>>;
        /// The rule is for packets that the gateway itself sends, instead of those in transit: answers of listeners, connections to
        /// backends, ICMP. A rule that sends what is `from` an address of one provider to its router keeps answers on the link that the
        /// requests came by. Neighbour discovery and what is to link-local addresses is not asked.
        own: At<bool> = false, "false";
        /// Prefixes that the packets are from.
        from: Optional<OneOrMany<Prefix>>;
        /// Prefixes that the packets are to.
        to: Optional<OneOrMany<Prefix>>;
        /// Transport protocols, by name or number. IPv6 extension headers are looked through.
        protocol: Optional<OneOrMany<Transport>>;
        /// Ports that the packets are from: numbers, or ranges such as `"1024-65535"`. Of the protocols, `tcp`, `udp`, `sctp`, `dccp` and
        /// `udplite` have ports; of a packet in fragments, the first fragment only: the others fit rules that ask for no ports.
        source_port: Optional<OneOrMany<PortRange>>;
        /// Ports that the packets are to.
        destination_port: Optional<OneOrMany<PortRange>>;
        /// Differentiated services code points: 0 to 63, or names such as `"ef"`, `"af41"` and `"cs1"`.
        dscp: Optional<OneOrMany<Dscp>>;
        /// The packets go where the routes of this domain lead, by the name of a `[[vrf]]`; `"main"` is the main one. The domain of the
        /// rule itself exempts packets from later rules.
        lookup: Optional<Name>;
        ..way: TargetKeys;
    }
}
