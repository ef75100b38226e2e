//! Ethernet: what came in and for whom, who our neighbours are, and the header on the way out.
//!
//! Stages in packet order: [`parse`], [`bridge`], [`input`] (with [`arp`] answered in place), and at the end of the pipeline [`output`]
//! and [`bridge`] once more, for what goes out by one.
//! What the configuration says is in the immutable [`Table`]; what a core has learnt from the link is in its own [`State`].
//! Cores share nothing: the worker copies each [neighbour message](is_neighbor_message) to all cores, and each learns for itself.

pub mod tag; // VLAN tags, and the interfaces they name
pub mod parse; // Ethernet header to offsets
pub mod bridge; // from member to member of a bridge
mod stations; // which member leads to whom
pub mod input; // is it for this station?
pub mod arp; // RFC 826: who has an IPv4 address
pub mod neighbor; // what a core knows about the stations on its links
pub mod entries; // the memory of the neighbour table
pub mod pending; // packets that wait for a neighbour to answer
pub mod solicit; // asking and telling: ARP requests, neighbour solicitations and advertisements
pub mod presence; // our own addresses: in conflict, announced
pub mod bucket; // what may be sent only so often
pub mod header; // the Ethernet header of what goes out
pub mod output; // next hop to Ethernet header
pub mod table; // what the configuration says about links

pub use bucket::Bucket;
pub use entries::{Bounds, Limits, Neighbor, Phase};
pub use header::Header;
pub use neighbor::{
    State,
    vigil::{Silent, Watched},
};
pub use presence::{Conflict, Presence};
pub(crate) use stations::News;
pub use table::{Adjacency, Bridge, Interface, Link, StaticNeighbor, Table};
pub use tag::Tags;

use crate::{
    batch::Egress,
    clock::Instant,
    frame::{Arena, Frame},
    meta::{Meta, Network},
    stats::CoreStats,
};

/// Bytes of an Ethernet header without tags.
pub const HEADER: usize = 14;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What a turn lends to the stages that make packets of their own: the time, memory, the queue for what they make, and counters.
pub struct Turn<'a> {
    /// The time of this turn.
    pub now: Instant,
    /// Memory for new packets.
    pub arena: &'a Arena,
    /// Where new packets go.
    pub egress: &'a mut Egress,
    /// Where packets lost outside a batch are counted.
    pub stats: &'a CoreStats,
}

impl core::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Turn").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Whether a parsed IPv6 packet is a query of multicast listener discovery (RFC 9777 §5.1), behind the router alert that it must have.
#[inline]
pub fn is_group_query(frame: &Frame, meta: &Meta) -> bool {
    let data = frame.data().get(usize::from(meta.l3)..).unwrap_or_default();
    data.get(6) == Some(&0) && data.get(40..42) == Some(&[58, 0]) && data.get(48) == Some(&130)
}

/// Whether a parsed packet tells something about a neighbour, so that every core must see it: ARP, a router solicitation, or a
/// neighbour solicitation or advertisement (RFC 4861 §4.1, §4.3, §4.4). To be asked after [`parse`] and before [`input`].
#[inline]
pub fn is_neighbor_message(frame: &Frame, meta: &Meta) -> bool {
    match meta.network {
        Network::Arp => true,
        Network::Ipv6 => {
            let at = usize::from(meta.l3);
            let data = frame.data();
            let is_nd = || data.get(at + 40).is_some_and(|kind| matches!(kind, 133 | 135 | 136));
            data.get(at + 6) == Some(&58) && is_nd() || is_group_query(frame, meta)
        }
        _ => false,
    }
}
