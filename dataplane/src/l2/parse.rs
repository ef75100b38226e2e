//! The Ethernet header: what follows it, and where.
//!
//! A tag (802.1Q, 802.1ad) is part of the header; with the port it names the interface, see [`tag`](super::tag).

use super::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, Table, tag};
use crate::{
    batch::Batch,
    frame::Frame,
    meta::{InterfaceId, Meta, Network},
    stats::CoreStats,
    verdict::{DropReason, Verdict},
};

/// Sets `interface`, `network` and `l3` in the meta-data of every packet in transit.
#[inline]
pub fn run(table: &Table, stats: &CoreStats, batch: &mut Batch) {
    batch.each(Verdict::Continue, |frame, meta| {
        let Some(header) = frame.data().first_chunk::<HEADER>() else {
            return Verdict::Drop(DropReason::L2Truncated);
        };
        meta.l3 = HEADER as u16;
        meta.interface = InterfaceId::of(meta.port);
        let ethertype = u16::from_be_bytes([header[12], header[13]]);
        meta.network = network(ethertype);
        if meta.network != Network::Other {
            return Verdict::Continue;
        }
        if tag::is_tag(ethertype) { tagged(table, stats, frame, meta) } else { unknown() }
    });
}

#[inline]
fn network(ethertype: u16) -> Network {
    match ethertype {
        ETHERTYPE_IPV4 => Network::Ipv4,
        ETHERTYPE_IPV6 => Network::Ipv6,
        ETHERTYPE_ARP => Network::Arp,
        _ => Network::Other,
    }
}

const fn unknown() -> Verdict {
    Verdict::Drop(DropReason::L2UnknownType)
}

/// A frame with a tag: it is counted for its interface, since the port's counters have all of them.
#[inline]
fn tagged(table: &Table, stats: &CoreStats, frame: &Frame, meta: &mut Meta) -> Verdict {
    let found = match table.vlans(meta.port).find(frame.data(), meta.interface) {
        Ok(found) => found,
        Err(reason) => return Verdict::Drop(reason),
    };
    (meta.interface, meta.l3) = (found.interface, found.at as u16);
    let counters = stats.interface(found.interface);
    counters.rx_packets.add(1);
    counters.rx_bytes.add(frame.len() as u64);
    meta.network = network(found.ethertype);
    if meta.network == Network::Other { unknown() } else { Verdict::Continue }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    fn parsed(bytes: &[u8]) -> (Verdict, Meta) {
        let arena = Arena::new(1, 2048).unwrap();
        let mut batch = Batch::new();
        batch.push(arena.copy_from(bytes).unwrap(), Meta::default()).unwrap();
        run(&Table::new(Vec::new(), Vec::new(), Vec::new()), &CoreStats::new(1), &mut batch);
        (batch.slots()[0].verdict, batch.slots()[0].meta)
    }

    fn ethernet(ethertype: u16) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend(ethertype.to_be_bytes());
        bytes
    }

    #[test]
    fn the_ethertype_names_the_network() {
        for (ethertype, network) in [(0x0800, Network::Ipv4), (0x86dd, Network::Ipv6), (0x0806, Network::Arp)] {
            let (verdict, meta) = parsed(&ethernet(ethertype));
            assert_eq!((verdict, meta.network, meta.l3), (Verdict::Continue, network, 14));
        }
    }

    #[test]
    fn what_it_does_not_know_or_cannot_read_is_lost_by_name() {
        assert_eq!(parsed(&ethernet(0x88cc)).0, Verdict::Drop(DropReason::L2UnknownType));
        assert_eq!(parsed(&ethernet(0x0800)[..13]).0, Verdict::Drop(DropReason::L2Truncated));
        assert_eq!(parsed(&[]).0, Verdict::Drop(DropReason::L2Truncated));
    }
}
