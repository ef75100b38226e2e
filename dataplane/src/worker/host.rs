//! The host path: what this host's kernel gets from a port, and what it sends out of one (docs/adr/0005).
//!
//! A port may have a *host link* beside it: a TAP whose other end looks to the kernel like the port itself, with the same hardware
//! and IP addresses. What comes for this host and nothing in Tidegate serves goes there unchanged; what the kernel sends there goes
//! out of the port unchanged, without routing. Ports without a host link pay one comparison per batch.

use core::net::IpAddr;

use crate::{
    batch::{Batch, Slot},
    clock::Instant,
    frame::Frame,
    io::MacAddr,
    l2::{self, Bucket},
    meta::{Flags, InterfaceId, Meta, Network, PortId},
    verdict::{DropReason, Verdict},
};

const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ARP_REPLY: [u8; 2] = [0, 2];
/// Bytes of an Ethernet header with one tag.
const LINK_HEADER: usize = 18;

/// A port and the way to the kernel beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostLink {
    /// The port on the wire.
    pub port: PortId,
    /// The port whose other end is the kernel.
    pub link: PortId,
    /// Packets per second that one core gives the kernel at most; a tenth of it may come at once.
    pub limit: u32,
}

/// What a port is to the host path.
#[derive(Debug)]
enum End {
    /// Nothing.
    Alone,
    /// On the wire. What comes from the link itself has a share of its own.
    Wire { link: PortId, limit: Bucket, near: Bucket },
    /// Towards the kernel.
    Kernel { port: PortId },
}

/// The host links of a core.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// By port; empty when no port has a host link.
    ends: Vec<End>,
}

impl Hosts {
    pub(super) fn new(links: &[HostLink]) -> Self {
        let last = links.iter().map(|link| link.port.index().max(link.link.index()));
        let mut ends: Vec<End> = Vec::new();
        ends.resize_with(last.max().map_or(0, |last| last + 1), || End::Alone);
        for HostLink { port, link, limit } in links {
            let limit = Bucket::per_second((*limit).max(1), (limit / 10).max(64));
            ends[port.index()] = End::Wire { link: *link, limit, near: limit };
            ends[link.index()] = End::Kernel { port: *port };
        }
        Self { ends }
    }

    /// The port on whose behalf the kernel sends by `index`; `None` for a port on a wire.
    #[inline]
    pub(super) fn behind(&self, index: usize) -> Option<PortId> {
        match self.ends.get(index) {
            Some(End::Kernel { port }) => Some(*port),
            _ => None,
        }
    }

    /// Flags what a port with a host link has received.
    #[inline]
    pub(super) fn mark(&self, index: usize, batch: &mut Batch) {
        if let Some(End::Wire { .. }) = self.ends.get(index) {
            for slot in batch.slots_mut() {
                slot.meta.flags |= Flags::HOST_PATH;
            }
        }
    }

    /// After the stages that serve packets for this host: what none of them wanted is the kernel's. Returns how much that is.
    #[inline]
    pub(super) fn claim(&mut self, table: &l2::Table, now: Instant, batch: &mut Batch) -> usize {
        if self.ends.is_empty() {
            return 0;
        }
        let mut claimed = 0;
        for slot in batch.slots_mut() {
            if !slot.meta.flags.contains(Flags::HOST_PATH) || !is_for_kernel(table, slot) {
                continue;
            }
            let near_by = is_near(table, slot);
            let Some(End::Wire { link, limit, near }) = self.ends.get_mut(slot.meta.port.index()) else { continue };
            claimed += 1;
            let limit = if near_by { near } else { limit };
            slot.verdict =
                if limit.take(now) { Verdict::Transmit(*link) } else { Verdict::Drop(DropReason::HostLimited) };
        }
        claimed
    }

    /// What the kernel sent on behalf of `port` goes out of it as it is. Only the port's own address may send there.
    pub(super) fn send(table: &l2::Table, port: PortId, batch: &mut Batch) {
        let own = table.interface(InterfaceId::of(port));
        batch.each(Verdict::Continue, |frame, meta| {
            let Some(header) = frame.data().first_chunk::<{ l2::HEADER }>() else {
                return Verdict::Drop(DropReason::L2Truncated);
            };
            if header[6..12] != own.mac.0 {
                return Verdict::Drop(DropReason::HostForeign);
            }
            if meta.segment_size == 0 && frame.len() > usize::from(own.mtu) + LINK_HEADER {
                return Verdict::Drop(DropReason::TooLong);
            }
            (meta.network, meta.protocol) = content(frame);
            (meta.l3, meta.port, meta.out) = (l2::HEADER as u16, port, InterfaceId::of(port));
            meta.flags |= Flags::ORIGINATED;
            Verdict::Transmit(port)
        });
    }
}

/// What a frame of the kernel's carries: whoever completes its checksum asks.
fn content(frame: &Frame) -> (Network, u8) {
    let data = frame.data();
    let protocol = |at: usize| data.get(l2::HEADER + at).copied().unwrap_or_default();
    match data.get(12..14).and_then(|kind| kind.first_chunk::<2>()).map(|kind| u16::from_be_bytes(*kind)) {
        Some(l2::ETHERTYPE_IPV4) => (Network::Ipv4, protocol(9)),
        Some(l2::ETHERTYPE_IPV6) => (Network::Ipv6, protocol(6)),
        Some(l2::ETHERTYPE_ARP) => (Network::Arp, 0),
        _ => (Network::Other, 0),
    }
}

/// Whether the stages left a packet to the kernel. What they refused for another reason than that nothing here serves it stays refused.
fn is_for_kernel(table: &l2::Table, slot: &Slot) -> bool {
    let Some(frame) = &slot.frame else { return false };
    let meta = &slot.meta;
    match slot.verdict {
        Verdict::Deliver | Verdict::Drop(DropReason::NoListener) => true,
        // What a neighbour says about itself was learnt here and is for the kernel's table too, and who asks for routers may mean a
        // daemon that advertises. Other cores' copies are not: the kernel hears it once.
        Verdict::Consumed => !meta.flags.contains(Flags::HANDED_OVER) && concerns_both(frame, meta),
        // An answer to a question of the kernel's.
        Verdict::Drop(DropReason::ArpIgnored) => is_arp_reply(frame, meta),
        Verdict::Drop(DropReason::IcmpIgnored) => icmp_kind(frame, meta) != Some(SOLICITATION),
        // A whole TCP segment may be for a listener of ours, and the kernel would reset it.
        Verdict::Drop(DropReason::FragmentForHost) => meta.protocol != TCP,
        Verdict::Drop(DropReason::NotForwardable) => is_link_scope(frame, meta),
        Verdict::Drop(DropReason::L2UnknownType) => is_to(table.interface(meta.interface).mac, frame),
        _ => false,
    }
}

/// Whether a packet comes from the link itself, as those of routing protocols do: by its kind, by a hop limit that no router has
/// lowered (RFC 5082), by a group that no router forwards, or by its source. A flood from afar does not take their share.
fn is_near(table: &l2::Table, slot: &Slot) -> bool {
    let Some(frame) = &slot.frame else { return false };
    let meta = &slot.meta;
    let packet = frame.data().get(usize::from(meta.l3)..).unwrap_or_default();
    let (hops, source): (_, Option<IpAddr>) = match meta.network {
        Network::Arp | Network::Other => return true,
        Network::Ipv4 => (packet.get(8), octets(packet, 12).map(|source: [u8; 4]| source.into())),
        Network::Ipv6 => (packet.get(7), octets(packet, 8).map(|source: [u8; 16]| source.into())),
    };
    hops == Some(&255)
        || is_link_scope(frame, meta)
        || source.is_some_and(|source| table.interface(meta.interface).is_on_link(source))
}

fn octets<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

/// A reply or a gratuitous request (RFC 5227 §2.3); other requests are answered here, and by the kernel they must not be.
fn is_arp_news(frame: &Frame, meta: &Meta) -> bool {
    let message = frame.data().get(usize::from(meta.l3)..).unwrap_or_default();
    is_arp_reply(frame, meta) || octets::<4>(message, 14) == octets(message, 24)
}

fn concerns_both(frame: &Frame, meta: &Meta) -> bool {
    meta.network == Network::Arp && is_arp_news(frame, meta)
        || matches!(icmp_kind(frame, meta), Some(ADVERTISEMENT | ROUTER_SOLICITATION))
}

fn is_arp_reply(frame: &Frame, meta: &Meta) -> bool {
    let at = usize::from(meta.l3) + 6;
    frame.data().get(at..at + 2) == Some(&ARP_REPLY)
}

/// The type of an ICMPv6 message.
fn icmp_kind(frame: &Frame, meta: &Meta) -> Option<u8> {
    let is_icmp = meta.network == Network::Ipv6 && meta.protocol == ICMPV6;
    is_icmp.then(|| frame.data().get(usize::from(meta.l4)).copied())?
}

/// Groups that no router forwards: 224.0.0.0/24 (RFC 5771 §4) and ff02::/16 (RFC 4291 §2.7). Routing protocols speak to them.
fn is_link_scope(frame: &Frame, meta: &Meta) -> bool {
    let packet = frame.data().get(usize::from(meta.l3)..).unwrap_or_default();
    match meta.network {
        Network::Ipv4 => packet.get(16..19) == Some(&[224, 0, 0]),
        Network::Ipv6 => packet.get(24..26) == Some(&[0xff, 0x02]),
        Network::Arp | Network::Other => false,
    }
}

/// Whether a frame is to this station or to a group.
fn is_to(own: MacAddr, frame: &Frame) -> bool {
    let destination = frame.data().first_chunk::<6>().copied().map(MacAddr);
    destination.is_some_and(|to| to == own || to.is_multicast())
}
