//! Whose packet is it? Segments of a connection belong to one core; neighbour messages to all.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{handover::Links, segments::is_segment};
use crate::{
    batch::Batch,
    frame::{Arena, Frame, octets},
    io::MacAddr,
    l2::{self, News, Turn},
    l3, l4,
    meta::{Flags, Meta, Network},
    stats::CoreStats,
    verdict::{DropReason, Verdict},
};

/// Copies ARP and neighbour discovery messages to the other cores, so that each learns; this core alone answers. Before `l2::input`,
/// which uses ARP up.
pub(super) fn share_neighbor_messages(links: &mut Links, stats: &CoreStats, batch: &mut Batch) {
    if links.cores() <= 1 {
        return;
    }
    batch.each(Verdict::Continue, |frame, meta| {
        if l2::is_neighbor_message(frame, meta) {
            let lost = links.send_all(frame, *meta);
            stats.drops(DropReason::HandoverFull).add(lost);
        }
        Verdict::Continue
    });
}

/// Tells the other cores what stations bridges have learnt here.
pub(super) fn share_stations(links: &mut Links, arena: &Arena, stats: &CoreStats, link: &mut l2::State) {
    while let Some(News { bridge, member, mac }) = link.take_news() {
        if links.cores() <= 1 {
            continue;
        }
        let [a, b] = bridge.to_be_bytes();
        let [c, d, e, f, g, h] = mac.0;
        let Some(frame) = arena.copy_from(&[a, b, c, d, e, f, g, h]) else { continue };
        let meta = Meta { interface: member, flags: Flags::STATION, ..Meta::default() };
        stats.drops(DropReason::HandoverFull).add(links.send_all(&frame, meta));
    }
}

/// What [`share_stations`] sent.
fn station(frame: &Frame, meta: &Meta) -> Option<News> {
    let [a, b, c, d, e, f, g, h] = *frame.data().first_chunk::<8>()?;
    Some(News { bridge: u16::from_be_bytes([a, b]), member: meta.interface, mac: MacAddr([c, d, e, f, g, h]) })
}

/// Passes segments for this host, and ICMP errors about segments of this host, to the core that owns the flow. Returns whether
/// there is any other core.
pub(super) fn hand_over(links: &mut Links, stats: &CoreStats, me: usize, batch: &mut Batch) -> bool {
    let cores = links.cores();
    if cores <= 1 {
        return false;
    }
    batch.each(Verdict::Deliver, |frame, meta| {
        let Some(owner) = owner(frame, meta, cores) else { return Verdict::Deliver };
        if owner == me {
            return Verdict::Deliver;
        }
        if links.send(owner, frame, *meta) {
            stats.handovers.add(1);
            Verdict::Consumed
        } else {
            Verdict::Drop(DropReason::HandoverFull)
        }
    });
    true
}

/// What other cores sent: neighbour messages are learnt and used up, segments stay to be delivered.
pub(super) fn receive(
    table: &l3::Table,
    net: &mut l3::State,
    link: &mut l2::State,
    turn: &mut Turn<'_>,
    batch: &mut Batch,
) {
    batch.each(Verdict::Continue, |frame, meta| {
        if meta.flags.contains(Flags::STATION) {
            if let Some(news) = station(frame, meta) {
                l2::bridge::learn(table.link(), link, turn, news);
            }
            Verdict::Consumed
        } else if l2::is_neighbor_message(frame, meta) {
            l3::learn(table, net, link, turn, frame, meta);
            Verdict::Consumed
        } else {
            Verdict::Deliver
        }
    });
}

/// The core that owns the flow of a segment, or of the segment that an ICMP error quotes; `None` for anything else.
pub(super) fn owner(frame: &Frame, meta: &Meta, cores: usize) -> Option<usize> {
    if !is_segment(meta) {
        let quoted = l3::icmp::quoted_flow(frame, meta)?;
        return Some(l4::owner(
            quoted.local.ip(),
            quoted.remote.ip(),
            quoted.local.port(),
            quoted.remote.port(),
            cores,
        ));
    }
    let packet = frame.data().get(usize::from(meta.l3)..)?;
    let [a, b, c, d] = octets(frame.data(), usize::from(meta.l4))?;
    let (src, dst): (IpAddr, IpAddr) = match meta.network {
        Network::Ipv4 => (Ipv4Addr::from(octets(packet, 12)?).into(), Ipv4Addr::from(octets(packet, 16)?).into()),
        Network::Ipv6 => {
            (Ipv6Addr::from(octets::<16>(packet, 8)?).into(), Ipv6Addr::from(octets::<16>(packet, 24)?).into())
        }
        Network::Arp | Network::Other => return None,
    };
    Some(l4::owner(src, dst, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), cores))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{frame::Arena, io::park::Waker, worker::handover};

    /// A SYN from 192.0.2.1 to port 80, IPv4 header onwards.
    fn segment(source_port: u16) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
        packet[16..20].copy_from_slice(&[192, 0, 2, 2]);
        packet[20..22].copy_from_slice(&source_port.to_be_bytes());
        packet[22..24].copy_from_slice(&80u16.to_be_bytes());
        packet
    }

    /// Hands over `n` segments of the flow from `source_port` on core 0 of two; the verdicts.
    fn verdicts(links: &mut Links, stats: &CoreStats, source_port: u16, n: usize) -> Vec<Verdict> {
        let arena = Arena::new(64, 2048).unwrap();
        let mut verdicts = Vec::new();
        for _ in 0..n {
            let mut batch = Batch::new();
            let meta = Meta { network: Network::Ipv4, protocol: 6, l4: 20, ..Meta::default() };
            batch.push(arena.copy_from(&segment(source_port)).unwrap(), meta).unwrap();
            batch.slots_mut()[0].verdict = Verdict::Deliver;
            assert!(hand_over(links, stats, 0, &mut batch));
            verdicts.push(batch.slots()[0].verdict);
        }
        verdicts
    }

    #[test]
    fn an_owner_that_is_overloaded_costs_a_counted_loss() {
        let wakers: Vec<_> = (0..2).map(|_| Arc::new(Waker::new().unwrap())).collect();
        let mut links = handover::mesh(&wakers, 2048).remove(0);
        let stats = CoreStats::new(0);
        let owner = |port| {
            let [src, dst] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|octets| Ipv4Addr::from(octets).into());
            l4::owner(src, dst, port, 80, 2)
        };
        let [mine, other] = [0, 1].map(|core| (1024..).find(|&port| owner(port) == core).unwrap());
        assert_eq!(verdicts(&mut links, &stats, mine, 3), [Verdict::Deliver; 3]);
        assert_eq!(stats.handovers.value(), 0);
        let all = verdicts(&mut links, &stats, other, 600);
        assert_eq!(all[0], Verdict::Consumed);
        assert_eq!(all[599], Verdict::Drop(DropReason::HandoverFull), "nobody empties the ring");
        assert_eq!(all.iter().filter(|v| **v == Verdict::Consumed).count() as u64, stats.handovers.value());
    }
}
