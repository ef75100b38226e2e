//! Is a frame for this station? ARP is answered here, in place.

use super::{HEADER, State, Table, Turn, arp};
use crate::{
    batch::Batch,
    io::MacAddr,
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Filters by destination address, refuses impossible sources, flags broadcast and multicast, and answers ARP.
#[inline]
pub fn run(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    batch.each(Verdict::Continue, |frame, meta| {
        let Some(header) = frame.data().first_chunk::<HEADER>() else {
            return Verdict::Drop(DropReason::L2Truncated);
        };
        let verdict = filter(table.interface(meta.interface).mac, header, meta);
        if meta.network == Network::Arp && verdict == Verdict::Continue {
            return arp::receive(table, state, turn, frame, meta);
        }
        verdict
    });
}

#[inline]
fn filter(own: MacAddr, header: &[u8; HEADER], meta: &mut Meta) -> Verdict {
    let (destination, source) = (station(header, 0), station(header, 6));
    // Of a group, whose bit is the first, or of nobody.
    if source & 1 != 0 || source == 0 {
        return Verdict::Drop(DropReason::L2BadSource);
    }
    let [a, b, c, d, e, f] = own.0;
    if destination != u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) {
        return not_to_us(header, meta);
    }
    Verdict::Continue
}

/// The address at `at` as a number whose lowest octet is the first.
#[inline]
fn station(header: &[u8; HEADER], at: usize) -> u64 {
    let mut octets = [0; 8];
    octets.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(octets) & 0xffff_ffff_ffff
}

#[inline(never)]
fn not_to_us(header: &[u8; HEADER], meta: &mut Meta) -> Verdict {
    let [a, b, c, d, e, f, ..] = *header;
    let destination = MacAddr([a, b, c, d, e, f]);
    if !destination.is_multicast() {
        return Verdict::Drop(DropReason::L2WrongAddress);
    }
    let broadcast = destination == MacAddr::BROADCAST;
    meta.flags |= if broadcast { Flags::LINK_BROADCAST } else { Flags::LINK_MULTICAST };
    Verdict::Continue
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn filtered(destination: [u8; 6], source: [u8; 6]) -> (Verdict, Flags) {
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(&destination);
        header[6..12].copy_from_slice(&source);
        let mut meta = Meta::default();
        (filter(OWN, &header, &mut meta), meta.flags)
    }

    #[test]
    fn only_our_unicast_and_groups_pass() {
        let peer = [2, 0, 0, 0, 0, 2];
        assert_eq!(filtered(OWN.0, peer), (Verdict::Continue, Flags::empty()));
        assert_eq!(filtered([0xff; 6], peer), (Verdict::Continue, Flags::LINK_BROADCAST));
        assert_eq!(filtered([0x33, 0x33, 0, 0, 0, 1], peer), (Verdict::Continue, Flags::LINK_MULTICAST));
        assert_eq!(filtered([2, 0, 0, 0, 0, 9], peer).0, Verdict::Drop(DropReason::L2WrongAddress));
    }

    #[test]
    fn no_station_sends_from_a_group_or_from_nowhere() {
        for source in [[0xff; 6], [1, 0, 0, 0, 0, 1], [0; 6]] {
            assert_eq!(filtered(OWN.0, source).0, Verdict::Drop(DropReason::L2BadSource));
        }
    }
}
