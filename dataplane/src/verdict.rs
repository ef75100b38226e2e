//! Where a packet stands in the pipeline, and why packets are lost.

use core::fmt;

use crate::meta::PortId;

/// What the stages so far have decided about a packet. A stage looks only at the verdict it handles and leaves by setting another.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Verdict {
    /// In transit: the next stage in packet order looks at it.
    #[default]
    Continue,
    /// For this host: the local stages (ICMP, ND, TCP) look at it.
    Deliver,
    /// Complete with its Ethernet header: goes out on this port.
    Transmit(PortId),
    /// Complete with its Ethernet header, without tags: goes out by the bridge whose interface is `meta.out`.
    Bridge,
    /// The frame has a new owner (neighbour queue, another core's ring, a connection): the slot is empty.
    Taken,
    /// Used up by this host: a control message that was understood, a segment that was absorbed. Freed, not a loss.
    Consumed,
    /// Lost, for this reason: freed and counted.
    Drop(DropReason),
}

impl Verdict {
    /// Why a packet is lost that stands here at the end of its way, when no stage comes any more; `None` if it is not lost.
    #[inline]
    pub const fn loss(self) -> Option<DropReason> {
        match self {
            Self::Transmit(_) | Self::Taken | Self::Consumed => None,
            Self::Drop(reason) => Some(reason),
            // Nobody claimed it: a packet for this host that no stage serves.
            Self::Continue | Self::Deliver => Some(DropReason::NoListener),
            // The stage for it has been: the bridge has gone since.
            Self::Bridge => Some(DropReason::TxError),
        }
    }
}

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+) => {
        /// Why a packet was dropped. Each has a counter per core (`tidegate_drops_total{reason}`); the text is the operator's manual.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $name,)+ }

        impl DropReason {
            /// All reasons, in declaration order: `ALL[reason as usize] == reason`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The word used in counters and traces: `layer_cause`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// What it means, for the operator.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+),)+ }
            }
        }
    };
}

drop_reasons! {
    // io
    /// The port's transmit queue was full: the link or its driver is slower than the traffic.
    TxFull = "tx_full",
    /// No free frame was left to copy the packet into: raise `frames_per_core`.
    NoFrame = "no_frame",
    /// The packet is longer than the frame or the port's MTU allows.
    TooLong = "too_long",
    /// The port's link is down (`tidegate show ports`), or there is no such port.
    TxError = "tx_error",
    // hand-over
    /// The ring to the core that owns the flow was full: that core is overloaded.
    HandoverFull = "handover_full",
    // host path
    /// More packets for the kernel than `host_limit` of the port allows: a flood, or a limit too low for what runs there.
    HostLimited = "host_limited",
    /// The kernel sent a frame with another source address than the port's: a bridge or a virtual interface on top of the host link.
    HostForeign = "host_foreign",
    // l2
    /// Shorter than an Ethernet header, or a VLAN tag is cut off.
    L2Truncated = "l2_truncated",
    /// The EtherType is none that Tidegate handles (it handles IPv4, IPv6 and ARP).
    L2UnknownType = "l2_unknown_type",
    /// A VLAN tag that no `[[vlan]]` of the port has, or more tags than two.
    VlanUnknown = "vlan_unknown",
    /// To a group address that no bridge forwards (IEEE 802.1D): spanning tree, LACP, LLDP. Tidegate takes no part in them.
    BridgeReserved = "bridge_reserved",
    /// A frame with a bridge's own address as its source came in by a member: there is a loop, and no spanning tree to cut it.
    BridgeLoop = "bridge_loop",
    /// The destination is behind the member by which the frame came, or the bridge has no other member.
    BridgeSameSide = "bridge_same_side",
    /// More unknown, broadcast and multicast frames than `flood_limit` of the bridge allows.
    BridgeFloodLimited = "bridge_flood_limited",
    /// Unicast to another station's address.
    L2WrongAddress = "l2_wrong_address",
    /// The source address is a multicast or zero address, which no station may send from.
    L2BadSource = "l2_bad_source",
    /// An ARP packet that is cut off or not for IPv4 over Ethernet (RFC 826).
    ArpMalformed = "arp_malformed",
    /// An ARP request for an address that is not ours, or an answer nobody asked for.
    ArpIgnored = "arp_ignored",
    /// Another station claims one of our addresses (RFC 5227 §2.4): find it, one of the two is misconfigured.
    AddressConflict = "address_conflict",
    /// The next hop's hardware address is being resolved and the queue for it is full.
    NeighborQueueFull = "neighbor_queue_full",
    /// The next hop did not answer ARP or ND: it is down or the address is wrong.
    NeighborUnreachable = "neighbor_unreachable",
    /// The neighbour table is full.
    NeighborTableFull = "neighbor_table_full",
    /// Too many new neighbours were asked for at once: somebody scans a connected prefix.
    NeighborRateLimited = "neighbor_rate_limited",
    // l3
    /// The IP packet is shorter than its header says.
    IpTruncated = "ip_truncated",
    /// The version or header length field is wrong (RFC 1812 §5.2.2).
    IpBadHeader = "ip_bad_header",
    /// The IPv4 header checksum is wrong (RFC 1812 §5.2.2).
    Ipv4BadChecksum = "ipv4_bad_checksum",
    /// IPv4 options that nobody can read; the sender is told by ICMP (RFC 1812 §4.3.3.5).
    IpBadOption = "ip_bad_option",
    /// The sender asks for a way of its own choice, loose or strict source routing: refused (RFC 7126 §4.3, §4.4).
    IpSourceRoute = "ip_source_route",
    /// A fragment no honest sender makes: beyond 65535 bytes, of a length that leaves a gap, empty, or one that cuts a TCP header in
    /// two to get it past a filter (RFC 1858, RFC 3128).
    BadFragment = "bad_fragment",
    /// A source or destination address that may not appear on a link (RFC 1812 §5.3.7, RFC 4291 §2.5).
    IpMartian = "ip_martian",
    /// The source is one of our own addresses: a loop or a spoofed packet.
    IpOwnSource = "ip_own_source",
    /// There is no way to the source, or none by the interface the packet came in by (`reverse_path`): a spoofed packet, or routes that
    /// are not symmetric where `strict` asks for it (RFC 3704).
    ReversePath = "reverse_path",
    /// Hop limit used up; the sender is told by ICMP (RFC 1812 §5.3.1).
    TtlExceeded = "ttl_exceeded",
    /// No route to the destination; the sender is told by ICMP.
    NoRoute = "no_route",
    /// The route is a blackhole.
    Blackhole = "blackhole",
    /// The route says that it is forbidden to go there; the sender is told by ICMP.
    Prohibited = "prohibited",
    /// Longer than the way out allows and may not be fragmented; the sender is told by ICMP.
    PacketTooBig = "packet_too_big",
    /// A multicast or broadcast packet, or one with an address that counts on its link only: no router forwards it without multicast
    /// routing (RFC 1812 §5.3.5, RFC 3927 §2.7, RFC 4291 §2.5.6).
    NotForwardable = "not_forwardable",
    /// To an address of the gateway in another routing domain than the packet's: a route or rule leads there, but such an address is
    /// reached by the interfaces of its own domain only. Or an answer to such an address. The sender is told by ICMP.
    OwnAddress = "own_address",
    /// A fragment for this host that nothing here puts together: to a group, or of a packet that is longer than a frame and no echo
    /// request.
    FragmentForHost = "fragment_for_host",
    /// A fragment for this host overlaps or contradicts another, so that its packet is lost as a whole (RFC 5722); or it repeats one.
    FragmentOverlap = "fragment_overlap",
    /// Fragments for this host whose other fragments did not come within a minute.
    FragmentTimeout = "fragment_timeout",
    /// Fragments for this host that gave way to newer ones: 64 packets and 512 fragments wait at most in each core, and no more than an eighth of its frames.
    FragmentTableFull = "fragment_table_full",
    /// A protocol or port that nothing on this host serves. The sender is told by ICMP, but not of what was for a group or for all, and not
    /// of TCP (in a VRF, or to an anycast address).
    NoListener = "no_listener",
    /// A malformed ICMP or ND message, or one with a wrong checksum.
    IcmpMalformed = "icmp_malformed",
    /// An ICMP message this host does not act on.
    IcmpIgnored = "icmp_ignored",
    /// Another router of the link advertises something else than we do (RFC 4861 §6.2.7): hosts keep what they heard last. The log says what.
    RouterDisagrees = "router_disagrees",
    /// The limit on ICMP errors and echo replies per second was reached.
    IcmpRateLimited = "icmp_rate_limited",
    /// IPv6 extension headers in a wrong order, too many, or cut off (RFC 8200 §4).
    Ipv6BadExtension = "ipv6_bad_extension",
    // egress
    /// The queue of packets that this host originates was full in this turn.
    EgressFull = "egress_full",
    // l4
    /// A TCP segment cut off or with impossible header fields.
    TcpMalformed = "tcp_malformed",
    /// A wrong TCP checksum.
    TcpBadChecksum = "tcp_bad_checksum",
    /// A SYN beyond the half-open limit while SYN cookies are off.
    TcpHalfOpenLimit = "tcp_half_open_limit",
    /// A new connection beyond `max_connections`.
    TcpConnectionLimit = "tcp_connection_limit",
    /// A segment for no connection; it is answered by RST, up to a rate.
    TcpNoConnection = "tcp_no_connection",
    /// An ACK that is not the answer to any SYN cookie of ours.
    TcpBadCookie = "tcp_bad_cookie",
    /// A segment outside the connection's window.
    TcpOutOfWindow = "tcp_out_of_window",
    /// A segment with data for a connection for which there is no buffer memory: raise it or lower `max_connections`.
    TcpNoMemory = "tcp_no_memory",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

const _: () = assert!(size_of::<Verdict>() <= 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_indexed_and_named_once() {
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(reason.explanation().trim().ends_with('.'), "{reason}: explanation is a sentence");
        }
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::COUNT);
    }
}
