//! What the pipeline knows about a packet beside its bytes: offsets found by the parsers, ports, offload state.

use core::ops::{BitOr, BitOrAssign};

/// Index of a port in [`Tables::ports`](crate::tables::Tables::ports); the same on every core.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct PortId(pub u16);

impl PortId {
    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of an interface: what IP sees of a link. The untagged side of a port has the index of the port; interfaces that are not a
/// port's own come behind all ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct InterfaceId(pub u16);

impl InterfaceId {
    /// How many there can be.
    pub const LIMIT: usize = 4096;

    /// The untagged side of a port.
    #[inline]
    pub const fn of(port: PortId) -> Self {
        Self(port.0)
    }

    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Number of a routing domain; 0 is the main one, to which every interface belongs that no other has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct VrfId(pub u16);

impl VrfId {
    /// The main one.
    pub const MAIN: Self = Self(0);

    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Rules of policy routing that there can be. Each is a bit in every set of their classifier, and has counters.
pub const MAX_RULES: usize = 256;

/// What follows the Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Network {
    /// Not parsed, or nothing the pipeline handles.
    #[default]
    Other,
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp,
    /// IPv4 (RFC 791).
    Ipv4,
    /// IPv6 (RFC 8200).
    Ipv6,
}

/// Set of facts about one packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(u16);

impl Flags {
    /// This host made the packet: it is not counted as forwarded and its TTL is not decremented.
    pub const ORIGINATED: Self = Self(1);
    /// The port says that the transport checksum is good, or was never computed because the sender is on this machine.
    pub const RX_CHECKSUM_GOOD: Self = Self(1 << 1);
    /// The transport checksum field holds only the pseudo-header sum; whoever sends the packet completes it from
    /// [`Meta::checksum_start`] (virtio `NEEDS_CSUM`).
    pub const CHECKSUM_PARTIAL: Self = Self(1 << 2);
    /// Sent to the link's broadcast address: never answered with an ICMP error (RFC 1122 §3.2.2), never forwarded.
    pub const LINK_BROADCAST: Self = Self(1 << 3);
    /// Sent to a link multicast address.
    pub const LINK_MULTICAST: Self = Self(1 << 4);
    /// An IP fragment other than the first: no transport header is present.
    pub const LATER_FRAGMENT: Self = Self(1 << 5);
    /// Any IP fragment.
    pub const FRAGMENT: Self = Self(1 << 6);
    /// Came from another core's ring: it is at home here and is not handed over again.
    pub const HANDED_OVER: Self = Self(1 << 7);
    /// Came in by a port with a host link, and is not for an address that the kernel does not have: what nothing here serves is the
    /// kernel's, which then also answers it.
    pub const HOST_PATH: Self = Self(1 << 8);

    /// Not a packet: the addresses of a station that another core's bridge has learnt, and the member it is behind.
    pub const STATION: Self = Self(1 << 9);
    /// [`Meta::next_hop`] is where the look-up of the destination begins, in the tables of this turn: `l3::input` has
    /// asked for it. Whoever changes the destination clears this.
    pub const LOOKED_AHEAD: Self = Self(1 << 10);
    /// [`Meta::next_hop`] is the number of the rule that decides where the packet goes, in the tables of this turn.
    pub const POLICY: Self = Self(1 << 11);
    /// [`Meta::next_hop`] is where the packet goes, in the tables of this turn: it is a piece of one that was routed there.
    pub const ROUTED: Self = Self(1 << 12);
    /// The interface it came in by asks where its source lies.
    pub const SOURCE_ASKED: Self = Self(1 << 13);
    /// Sent to an anycast address of ours: whatever answers it has another source.
    pub const ANYCAST: Self = Self(1 << 14);

    /// No facts.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Clears `other`.
    #[inline]
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl BitOr for Flags {
    type Output = Self;
    #[inline]
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, rhs: Self) {
        self.0 |= rhs.0;
    }
}

/// Per-packet state that stages leave for later stages: with frame and verdict less than a cache line.
#[derive(Clone, Copy, Default, Debug)]
pub struct Meta {
    /// The device by which the packet came in; for packets of this host, unused.
    pub port: PortId,
    /// The interface by which it came in, as IP sees it. Set by `l2::parse`; for packets of this host, unused.
    pub interface: InterfaceId,
    /// The interface by which it goes out; set by `l3::route` or by whoever answers in place.
    pub out: InterfaceId,
    /// Offset of the network header from the start of the frame, in bytes. 0 for packets without an Ethernet header yet.
    pub l3: u16,
    /// Offset of the transport header from the start of the frame, in bytes. Set by `l3::input`.
    pub l4: u16,
    /// Offset from the start of the frame at which a partial checksum begins.
    pub checksum_start: u16,
    /// Offset from `checksum_start` of the checksum field.
    pub checksum_offset: u16,
    /// Payload bytes per segment when the frame is a super-segment to be cut by the port; 0 otherwise.
    pub segment_size: u16,
    /// Facts.
    pub flags: Flags,
    /// Network protocol.
    pub network: Network,
    /// Transport protocol number (IANA), behind IPv6 extension headers. Set by `l3::input`.
    pub protocol: u8,
    /// Longest IP packet that the way out carries, in bytes. Set by `l3::route`.
    pub mtu: u16,
    /// Next hop found by `l3::route`: index into the generation's next-hop table.
    pub next_hop: u32,
    /// Of an IPv4 packet with [`Flags::SOURCE_ASKED`]: where it is said, in the tables of this turn, whether the source passes; where that
    /// does not say it, where the look-up of the source begins.
    pub source: u32,
    /// Routing domain: that of the interface by which the packet came in, or of what it answers. Set by `l3::input`.
    pub vrf: VrfId,
}

const _: () = assert!(size_of::<Meta>() <= 32);
