//! The host path: what this host's kernel gets from a port, and what it sends out of one (docs/adr/0005).
//!
//! An interface may have a *host link* beside it: a TAP whose other end looks to the kernel like the interface, with the same hardware
//! and IP addresses. What comes for this host and nothing in Tidegate serves goes there unchanged but for VLAN tags, which the
//! kernel does not see; what the kernel sends there goes out in the same way, without routing. Where no interface has a host link it
//! costs one comparison per batch.

use core::net::IpAddr;

use super::Worker;
use crate::{
    batch::{Batch, Slot},
    clock::Instant,
    frame::{Frame, octets},
    io::MacAddr,
    l2::{self, Bucket},
    l3::{self, addresses::Kind},
    l7::app::App,
    meta::{Flags, InterfaceId, Meta, Network, PortId},
    verdict::{DropReason, Verdict},
};

const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const GROUP_QUERY: u8 = 130;
const ROUTER_SOLICITATION: u8 = 133;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ARP_REPLY: [u8; 2] = [0, 2];
/// Bytes of an Ethernet header with one tag.
const LINK_HEADER: usize = l2::HEADER + l2::tag::LENGTH;

/// An interface and the way to the kernel beside it. The kernel has the addresses of such interfaces, and those of the loopbacks in
/// their domains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostLink {
    /// The interface.
    pub interface: InterfaceId,
    /// The port whose other end is the kernel.
    pub link: PortId,
    /// Packets per second that one core gives the kernel at most; a tenth of it may come at once.
    pub limit: u32,
}

/// The way to the kernel. What comes from the link itself has a share of its own.
#[derive(Clone, Debug)]
struct Way {
    link: PortId,
    limit: Bucket,
    near: Bucket,
}

/// The host links of a core.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    /// By interface; empty when none has a host link.
    ways: Vec<Option<Way>>,
    /// By port: the interface of which it is the kernel's end.
    behind: Vec<Option<InterfaceId>>,
}

impl Hosts {
    pub(super) fn new(links: &[HostLink]) -> Self {
        let mut hosts = Self::default();
        for HostLink { interface, link, limit } in links {
            let limit = Bucket::per_second((*limit).max(1), (limit / 10).max(64));
            let (way, end) = (interface.index(), link.index());
            hosts.ways.resize_with(hosts.ways.len().max(way + 1), || None);
            hosts.behind.resize(hosts.behind.len().max(end + 1), None);
            hosts.ways[way] = Some(Way { link: *link, limit, near: limit });
            hosts.behind[end] = Some(*interface);
        }
        hosts
    }

    /// The interface on whose behalf the kernel sends by the port `index`; `None` for a port on a wire.
    #[inline]
    pub(super) fn behind(&self, index: usize) -> Option<InterfaceId> {
        self.behind.get(index).copied().flatten()
    }

    /// Flags what interfaces with a host link have received.
    #[inline]
    pub(super) fn mark(&self, batch: &mut Batch) {
        if self.ways.is_empty() {
            return;
        }
        for slot in batch.slots_mut() {
            if let Some(Some(_)) = self.ways.get(slot.meta.interface.index()) {
                slot.meta.flags |= Flags::HOST_PATH;
            }
        }
    }

    /// After `l3::input`: what is for an address that the kernel does not have is served or refused here, as it is where there is no
    /// host link. The kernel would take it for a packet in transit, and route it.
    #[inline]
    pub(super) fn keep(&self, table: &l3::Table, batch: &mut Batch) {
        if self.ways.is_empty() {
            return;
        }
        for slot in batch.slots_mut() {
            let is_candidate = slot.verdict == Verdict::Deliver && slot.meta.flags.contains(Flags::HOST_PATH);
            if is_candidate && !self.kernel_has(table, slot) {
                slot.meta.flags.remove(Flags::HOST_PATH);
            }
        }
    }

    /// Whether the destination of a packet for this host is the kernel's too: an address of an interface with a host link or of a
    /// loopback, which the kernel has on the first host link of its domain, or something of the very link that it came by.
    fn kernel_has(&self, table: &l3::Table, slot: &Slot) -> bool {
        let Some(destination) = destination(slot) else { return false };
        let addresses = table.vrf(slot.meta.vrf).addresses();
        let (known, on_link) = match destination {
            IpAddr::V4(to) => (addresses.v4(to), to.is_broadcast()),
            IpAddr::V6(to) => (addresses.v6(to), to.is_multicast() || l2::table::is_link_local(to)),
        };
        on_link
            || match known {
                Some((Kind::Unicast, own)) => {
                    matches!(self.ways.get(own.index()), Some(Some(_)))
                        || table.link().interface(own).link == l2::Link::None
                }
                // The network address is one to us (RFC 1812 §4.2.2.11), and any other to the kernel.
                Some((Kind::Broadcast, _)) => {
                    let nets = &table.link().interface(slot.meta.interface).v4;
                    nets.iter().any(|net| IpAddr::V4(net.broadcast()) == destination)
                }
                // The kernel has it only if it is a router itself.
                Some((Kind::Anycast, _)) | None => false,
            }
    }

    /// After the stages that serve packets for this host: what none of them wanted is the kernel's. Returns how much that is.
    #[inline]
    pub(super) fn claim(&mut self, table: &l2::Table, now: Instant, batch: &mut Batch) -> usize {
        if self.ways.is_empty() {
            return 0;
        }
        let mut claimed = 0;
        for slot in batch.slots_mut() {
            if !slot.meta.flags.contains(Flags::HOST_PATH) || !is_for_kernel(table, slot) {
                continue;
            }
            let near_by = is_near(table, slot);
            let Some(Some(Way { link, limit, near })) = self.ways.get_mut(slot.meta.interface.index()) else {
                continue;
            };
            claimed += 1;
            let limit = if near_by { near } else { limit };
            slot.verdict =
                if limit.take(now) { to_kernel(slot, *link) } else { Verdict::Drop(DropReason::HostLimited) };
        }
        claimed
    }

    /// What the kernel sent on behalf of an interface goes out of it, with the tags of its link. Only its own address may send there.
    pub(super) fn send(table: &l2::Table, id: InterfaceId, batch: &mut Batch) {
        let own = table.interface(id);
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
            (meta.l3, meta.interface, meta.out) = (l2::HEADER as u16, id, id);
            meta.flags |= Flags::ORIGINATED;
            own.send_framed(frame, meta)
        });
    }
}

/// Where an IP packet goes.
fn destination(slot: &Slot) -> Option<IpAddr> {
    let packet = slot.frame.as_ref()?.data().get(usize::from(slot.meta.l3)..)?;
    match slot.meta.network {
        Network::Ipv4 => octets(packet, 16).map(|to: [u8; 4]| to.into()),
        Network::Ipv6 => octets(packet, 24).map(|to: [u8; 16]| to.into()),
        Network::Arp | Network::Other => None,
    }
}

/// The kernel's end has no tags: they are what makes it another interface than the port's.
fn to_kernel(slot: &mut Slot, link: PortId) -> Verdict {
    let tagged = usize::from(slot.meta.l3) > l2::HEADER;
    if tagged
        && let Some(frame) = &mut slot.frame
        && !l2::header::retag(frame, &mut slot.meta, &l2::Tags::NONE)
    {
        return Verdict::Drop(DropReason::TooLong);
    }
    Verdict::Transmit(link)
}

/// What a frame of the kernel's carries: whoever completes its checksum asks.
fn content(frame: &Frame) -> (Network, u8) {
    let data = frame.data();
    let protocol = |at: usize| data.get(l2::HEADER + at).copied().unwrap_or_default();
    match octets(data, l2::HEADER - 2).map(u16::from_be_bytes) {
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
        Verdict::Drop(DropReason::IcmpIgnored | DropReason::RouterDisagrees) => {
            icmp_kind(frame, meta) != Some(SOLICITATION)
        }
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

/// A reply or a gratuitous request (RFC 5227 §2.3); other requests are answered here, and by the kernel they must not be.
fn is_arp_news(frame: &Frame, meta: &Meta) -> bool {
    let message = frame.data().get(usize::from(meta.l3)..).unwrap_or_default();
    is_arp_reply(frame, meta) || octets::<4>(message, 14) == octets(message, 24)
}

fn concerns_both(frame: &Frame, meta: &Meta) -> bool {
    meta.network == Network::Arp && is_arp_news(frame, meta)
        || matches!(icmp_kind(frame, meta), Some(ADVERTISEMENT | ROUTER_SOLICITATION | GROUP_QUERY))
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

impl<A: App> Worker<A> {
    /// Gives ports their ways to the kernel. Kernel ends come after all other ports.
    #[must_use]
    pub fn with_host_links(mut self, links: &[HostLink]) -> Self {
        let wires = links.iter().map(|link| link.link.index()).min();
        self.ports.limit_wires(wires.unwrap_or(usize::MAX));
        self.hosts = Hosts::new(links);
        self
    }
}
