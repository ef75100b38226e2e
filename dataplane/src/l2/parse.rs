//! The Ethernet header: what follows it, and where.
//!
//! A tag (802.1Q, 802.1ad) is an EtherType like another here, and as yet an unknown one.

use super::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER};
use crate::{
    batch::Batch,
    meta::{InterfaceId, Network},
    verdict::{DropReason, Verdict},
};

/// Sets `interface`, `network` and `l3` in the meta-data of every packet in transit.
#[inline]
pub fn run(batch: &mut Batch) {
    batch.each(Verdict::Continue, |frame, meta| {
        let Some(header) = frame.data().first_chunk::<HEADER>() else {
            return Verdict::Drop(DropReason::L2Truncated);
        };
        meta.l3 = HEADER as u16;
        meta.interface = InterfaceId::of(meta.port);
        meta.network = match u16::from_be_bytes([header[12], header[13]]) {
            ETHERTYPE_IPV4 => Network::Ipv4,
            ETHERTYPE_IPV6 => Network::Ipv6,
            ETHERTYPE_ARP => Network::Arp,
            _ => return Verdict::Drop(DropReason::L2UnknownType),
        };
        Verdict::Continue
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Arena, meta::Meta};

    fn parsed(bytes: &[u8]) -> (Verdict, Meta) {
        let arena = Arena::new(1, 2048).unwrap();
        let mut batch = Batch::new();
        batch.push(arena.copy_from(bytes).unwrap(), Meta::default()).unwrap();
        run(&mut batch);
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
        assert_eq!(parsed(&ethernet(0x8100)).0, Verdict::Drop(DropReason::L2UnknownType));
        assert_eq!(parsed(&ethernet(0x0800)[..13]).0, Verdict::Drop(DropReason::L2Truncated));
        assert_eq!(parsed(&[]).0, Verdict::Drop(DropReason::L2Truncated));
    }
}
