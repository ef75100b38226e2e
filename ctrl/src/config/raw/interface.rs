//! The keys of everything that IP sees as an interface, whatever it is made of.

use std::net::Ipv6Addr;

use crate::config::scalar::{Int, InterfaceAddress, Name, Prefix};
use crate::config::segment::SegmentLimit;
use crate::config::slot::{At, List, Optional, Required};
use crate::config::table::{table, words};

table! {
    /// What IP does on an interface.
    pub struct InterfaceKeys("an interface") {
        /// Largest IP packet in bytes. Longer ones are refused with "packet too big" or fragmented, as RFC 1812 asks.
        /// 1500 by default on a port; a VLAN has its port's, a bridge the least of its members'.
        mtu: Optional<Int<1280, 65_000>>;
        /// Own addresses with the prefix length of their subnet. Each subnet is a route.
        addresses: At<List<InterfaceAddress>> = Vec::new(), "[]";
        /// The routing domain it belongs to, by the name of a `[[vrf]]`. Without it, the main one; a VLAN does not follow its port.
        vrf: Optional<Name>;
        /// Name of a TAP that is made beside the port, with its addresses (at most 15 bytes). What comes for the gateway and nothing
        /// in it serves goes to the kernel there, and what the kernel sends there goes out of the port: sshd, BIRD or FRR work on a
        /// port that the data plane owns. Costs a system call for each such packet, nothing for others.
        host: Optional<String>;
        /// Packets from afar per second and core that go to the kernel at most, and as many again from the link itself; a tenth of it at
        /// once, but at least 64. More are dropped as `host_limited`. Only with `host`; 20000 by default.
        host_limit: Optional<Int<100, 10_000_000>>;
        /// Tell the neighbours about new addresses, three times (gratuitous ARP, unsolicited neighbour advertisements), so that
        /// they turn to this gateway at once when it takes over from another machine.
        announce: At<bool> = true, "true";
        /// Whether to ask if another station has an address already (RFC 5227, RFC 4862).
        duplicate_detection: At<DuplicateDetection> = DuplicateDetection::Report, "\"report\"";
        /// Whether packets are dropped whose source does not lie where they come from (RFC 3704).
        reverse_path: At<ReversePath> = ReversePath::Off, "\"off\"";
        /// Longest TCP segment that connections through the interface may announce, in bytes, or `"pmtu"` for what fits both the way in
        /// and the way out. Lowers the MSS in SYNs that are forwarded, of IPv4 and IPv6, in both directions: for paths that swallow
        /// long packets and say nothing. Without it SYNs are not looked at.
        tcp_mss: At<SegmentLimit> = SegmentLimit::Off, "\"off\"";
        /// What hosts on the link are told, so that they configure themselves. Without it they are told nothing.
        router_advertisements: Optional<RouterAdvertisements>;
    }
}

table! {
    /// Router advertisements (RFC 4861 §6.2): they make the gateway the default router of the hosts on the link, and tell them the
    /// interface's IPv6 prefixes.
    pub struct RouterAdvertisements("`router_advertisements`") {
        /// Most seconds between two advertisements; they come at random times.
        interval_s: At<Int<4, 1800>> = Int::new(600), "600";
        /// Least seconds between two, at most three quarters of `interval_s`. Without it, a third of `interval_s`, or three quarters if
        /// that is less than 9.
        least_interval_s: Optional<Int<3, 1350>>;
        /// Seconds for which hosts use the gateway as their default router without hearing of it again: 0 if they shall not, else no
        /// less than `interval_s`.
        lifetime_s: At<Int<0, 9000>> = Int::new(1800), "1800";
        /// Tell hosts to ask a DHCPv6 server for addresses.
        managed: At<bool> = false, "false";
        /// Tell hosts to ask a DHCPv6 server for everything but addresses.
        other_configuration: At<bool> = false, "false";
        /// Hop limit of what hosts send; 0 leaves it to them.
        hop_limit: At<Int<0, 255>> = Int::new(64), "64";
        /// Milliseconds for which hosts take a neighbour to be reachable after it has answered; 0 leaves it to them.
        reachable_ms: At<Int<0, 3_600_000>> = Int::new(0), "0";
        /// Milliseconds after which hosts ask a neighbour again that has not answered; 0 leaves it to them.
        retransmit_ms: At<Int<0, 4_294_967_295>> = Int::new(0), "0";
        /// MTU of the link, in bytes; 0 says nothing of it. Without it, the interface's.
        mtu: Optional<Int<0, 65_000>>;
        /// Tell hosts that the addresses of the prefixes are on the link; if not, they send to a router for those, too.
        on_link: At<bool> = true, "true";
        /// Let hosts make addresses of their own in prefixes of 64 bits (RFC 4862).
        autonomous: At<bool> = true, "true";
        /// Seconds for which the prefixes are on the link and addresses in them valid.
        valid_lifetime_s: At<Int<0, 4_294_967_295>> = Int::new(2_592_000), "2592000";
        /// Seconds for which hosts prefer such addresses for new connections; no more than `valid_lifetime_s`.
        preferred_lifetime_s: At<Int<0, 4_294_967_295>> = Int::new(604_800), "604800";
        /// Prefixes of the interface that hosts are told something else about.
        prefixes: At<List<AdvertisedPrefix>> = Vec::new(), "[]";
        /// Name servers for the hosts (RFC 8106), at most 8.
        dns: At<List<Ipv6Addr>> = Vec::new(), "[]";
    }
}

table! {
    /// What hosts are told about one prefix. What it does not say is said for all.
    pub struct AdvertisedPrefix("an item of `prefixes`") {
        /// The prefix: that of an IPv6 address of the interface.
        prefix: Required<Prefix>;
        /// Whether hosts are told of it at all.
        advertise: At<bool> = true, "true";
        /// As for all prefixes.
        on_link: Optional<bool>;
        /// As for all prefixes.
        autonomous: Optional<bool>;
        /// As for all prefixes.
        valid_lifetime_s: Optional<Int<0, 4_294_967_295>>;
        /// As for all prefixes; no more than the `valid_lifetime_s` of this one.
        preferred_lifetime_s: Optional<Int<0, 4_294_967_295>>;
    }
}

words! {
    /// Whether to ask if another station has an address already.
    pub enum DuplicateDetection {
        /// Ask, and use the address meanwhile; a conflict is logged and counted, and the address defended.
        Report = "report",
        /// Use the address only when nobody has answered for 8 seconds; in conflict, not at all until a reload asks again.
        Withhold = "withhold",
        /// Do not ask. A conflict that is noticed later is still logged, counted and defended against.
        Off = "off",
    }
}

words! {
    /// What is asked of the sources of packets (unicast reverse path forwarding).
    pub enum ReversePath {
        /// Nothing.
        Off = "off",
        /// There is a way to the source, the default route included; a blackhole is none. For networks with more than one way out.
        Loose = "loose",
        /// There is a way to the source by the interface itself. For links with hosts or networks that are reached by it alone.
        Strict = "strict",
    }
}
