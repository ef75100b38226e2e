//! Mbufs as frames: the fields are read and written here, without a call into C.

use core::ptr::{self, NonNull};

use tidegate_dpdk_sys as sys;

use crate::{
    frame::Frame,
    meta::{Flags, Meta, Network},
};

/// Gives an mbuf back to its pool.
///
/// # Safety
/// The caller owns the mbuf and does not use it again.
#[inline]
pub(crate) unsafe fn free_mbuf(mbuf: NonNull<sys::rte_mbuf>) {
    // SAFETY: owned by the caller; its pool lives as long as the process (see `pool`).
    unsafe { sys::rte_pktmbuf_free(mbuf.as_ptr()) }
}

/// Makes a frame of a received mbuf, and tells what the device has found out about its checksum. Segments are gathered into one;
/// `None` (the mbuf is freed) when they do not fit.
///
/// # Safety
/// A driver has just given the mbuf to the caller: it is valid, unshared, and the caller owns it.
#[inline]
pub(super) unsafe fn receive(mbuf: NonNull<sys::rte_mbuf>) -> Option<(Frame, Flags)> {
    // SAFETY: valid and ours alone, by contract.
    let fields = unsafe { &mut *mbuf.as_ptr() };
    if fields.nb_segs != 1 {
        // SAFETY: a driver's chain is valid, and ours as a whole.
        match unsafe { gather(fields) } {
            // SAFETY: `gather` cut the rest off, so nothing else refers to it.
            Some(rest) => unsafe { free_mbuf(rest) },
            None => {
                // SAFETY: ours, and not used again.
                unsafe { free_mbuf(mbuf) };
                return None;
            }
        }
    }
    let good = fields.ol_flags & sys::TIDEGATE_F_RX_L4_CKSUM_MASK == sys::TIDEGATE_F_RX_L4_CKSUM_GOOD;
    let flags = if good { Flags::RX_CHECKSUM_GOOD } else { Flags::empty() };
    let chunk = NonNull::new(fields.buf_addr.cast::<u8>())?;
    let (head, len) = (u32::from(fields.data_off), u32::from(fields.data_len));
    // SAFETY: owned by contract; the values are the mbuf's own, and a driver keeps `data_off + data_len <= buf_len`.
    Some((unsafe { Frame::from_mbuf(mbuf, chunk, head, len) }, flags))
}

/// Copies all segments into the first and returns the others, cut off; `None` when they do not fit behind it.
///
/// # Safety
/// The chain is valid and the caller owns it.
unsafe fn gather(first: &mut sys::rte_mbuf) -> Option<NonNull<sys::rte_mbuf>> {
    let end = u32::from(first.data_off) + first.pkt_len;
    if end > u32::from(first.buf_len) {
        return None;
    }
    let rest = NonNull::new(first.next)?;
    let mut at = usize::from(first.data_off) + usize::from(first.data_len);
    let mut segment = first.next;
    while !segment.is_null() {
        // SAFETY: a member of the chain, valid by contract.
        let next = unsafe { &*segment };
        let len = usize::from(next.data_len);
        if at + len > end as usize {
            return None; // The driver's lengths contradict each other.
        }
        // SAFETY: `at + len <= end <= buf_len`, checked above; different segments have different buffers.
        unsafe {
            ptr::copy_nonoverlapping(
                next.buf_addr.cast::<u8>().add(usize::from(next.data_off)),
                first.buf_addr.cast::<u8>().add(at),
                len,
            );
        }
        at += len;
        segment = next.next;
    }
    let segments = first.nb_segs;
    first.data_len = (at - usize::from(first.data_off)) as u16;
    first.pkt_len = u32::from(first.data_len);
    first.nb_segs = 1;
    first.next = ptr::null_mut();
    // SAFETY: still valid, and ours; what is cut off is a chain of its own from here on.
    unsafe { (*rest.as_ptr()).nb_segs = segments.saturating_sub(1) };
    Some(rest)
}

/// What the device shall do to a packet on its way out: `ol_flags` and `tx_offload` of its mbuf.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Offload {
    flags: u64,
    lengths: u64,
}

impl Offload {
    /// The offload that completes a partial checksum; `None` when it is no TCP or UDP checksum behind an IP header, which
    /// devices cannot complete.
    #[inline]
    pub(super) fn checksum(meta: &Meta) -> Option<Self> {
        let transport = match meta.checksum_offset {
            16 => sys::TIDEGATE_F_TX_TCP_CKSUM,
            6 => sys::TIDEGATE_F_TX_UDP_CKSUM,
            _ => return None,
        };
        let network = match meta.network {
            Network::Ipv4 => sys::TIDEGATE_F_TX_IPV4,
            Network::Ipv6 => sys::TIDEGATE_F_TX_IPV6,
            _ => return None,
        };
        let l2 = u64::from(meta.l3);
        let l3 = u64::from(meta.checksum_start.checked_sub(meta.l3)?);
        // Widths of the bit fields `l2_len` and `l3_len`.
        if l2 < u64::from(sys::RTE_ETHER_HDR_LEN) || l2 >= 1 << 7 || !(20..1 << 9).contains(&l3) {
            return None;
        }
        Some(Self { flags: network | transport, lengths: l2 | l3 << 7 })
    }
}

/// Prepares an mbuf whose packet lies at `head` for transmission.
///
/// # Safety
/// The caller owns the mbuf, which has one segment, and `head + len <= buf_len`.
#[inline]
pub(super) unsafe fn prepare(mbuf: NonNull<sys::rte_mbuf>, head: u32, len: u32, offload: Offload) {
    // SAFETY: valid and ours alone, by contract.
    let fields = unsafe { &mut *mbuf.as_ptr() };
    fields.data_off = head as u16;
    fields.data_len = len as u16;
    fields.pkt_len = len;
    fields.ol_flags = offload.flags;
    if offload.flags != 0 {
        // The second cache line is touched only when it must be.
        fields.__bindgen_anon_3.tx_offload = offload.lengths;
    }
}

/// Copies a packet into a fresh mbuf (data at its headroom); `false` when it does not fit.
///
/// # Safety
/// The caller owns the mbuf, which was just allocated.
#[inline]
pub(super) unsafe fn fill(mbuf: NonNull<sys::rte_mbuf>, packet: &[u8], offload: Offload) -> bool {
    // SAFETY: valid and ours alone, by contract.
    let (buffer, head, size) =
        unsafe { ((*mbuf.as_ptr()).buf_addr, (*mbuf.as_ptr()).data_off, (*mbuf.as_ptr()).buf_len) };
    if usize::from(head) + packet.len() > usize::from(size) {
        return false;
    }
    // SAFETY: `head + packet.len() <= buf_len`, checked above; a frame's memory and a fresh mbuf's do not overlap.
    unsafe {
        ptr::copy_nonoverlapping(packet.as_ptr(), buffer.cast::<u8>().add(usize::from(head)), packet.len());
        prepare(mbuf, u32::from(head), packet.len() as u32, offload);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mbuf(buffer: &mut [u8], head: u16, len: u16) -> Box<sys::rte_mbuf> {
        let mut mbuf = Box::new(sys::rte_mbuf::default());
        mbuf.buf_addr = buffer.as_mut_ptr().cast();
        mbuf.buf_len = buffer.len() as u16;
        mbuf.data_off = head;
        mbuf.data_len = len;
        mbuf.pkt_len = u32::from(len);
        mbuf.nb_segs = 1;
        mbuf
    }

    #[test]
    fn segments_are_gathered_in_order() {
        let (mut a, mut b, mut c) = ([1u8; 64], [2u8; 16], [3u8; 16]);
        let (mut first, mut second, mut third) = (mbuf(&mut a, 8, 10), mbuf(&mut b, 4, 5), mbuf(&mut c, 0, 6));
        second.next = &mut *third;
        first.next = &mut *second;
        (first.nb_segs, first.pkt_len) = (3, 21);
        // SAFETY: a chain of local mbufs.
        let rest = unsafe { gather(&mut first) }.unwrap();
        assert_eq!(rest.as_ptr(), &raw mut *second);
        assert_eq!((first.nb_segs, first.data_len, first.pkt_len), (1, 21, 21));
        assert!(first.next.is_null());
        assert_eq!(second.nb_segs, 2);
        assert_eq!(a[8..29], [[1; 10].as_slice(), &[2; 5], &[3; 6]].concat());
        assert_eq!(a[29], 1, "nothing is written behind the packet");
    }

    #[test]
    fn what_does_not_fit_is_refused_untouched() {
        let (mut a, mut b) = ([1u8; 16], [2u8; 16]);
        let (mut first, mut second) = (mbuf(&mut a, 4, 10), mbuf(&mut b, 0, 3));
        first.next = &mut *second;
        (first.nb_segs, first.pkt_len) = (2, 13);
        // SAFETY: a chain of local mbufs.
        assert!(unsafe { gather(&mut first) }.is_none());
        // Lengths that contradict each other are not believed either.
        first.pkt_len = 11;
        // SAFETY: as above.
        assert!(unsafe { gather(&mut first) }.is_none());
        assert_eq!(a, [1; 16]);
    }

    #[test]
    fn checksum_offload_needs_ip_and_a_known_transport() {
        let meta = Meta { l3: 14, checksum_start: 34, checksum_offset: 16, network: Network::Ipv4, ..Meta::default() };
        let offload = Offload::checksum(&meta).unwrap();
        assert_eq!(offload.lengths, 14 | 20 << 7);
        assert_eq!(offload.flags, sys::TIDEGATE_F_TX_IPV4 | sys::TIDEGATE_F_TX_TCP_CKSUM);
        let udp6 = Meta { checksum_start: 54, checksum_offset: 6, network: Network::Ipv6, ..meta };
        assert_eq!(Offload::checksum(&udp6).unwrap().flags, sys::TIDEGATE_F_TX_IPV6 | sys::TIDEGATE_F_TX_UDP_CKSUM);
        for impossible in [
            Meta { checksum_offset: 2, ..meta },
            Meta { network: Network::Arp, ..meta },
            Meta { checksum_start: 10, ..meta },
            Meta { l3: 0, ..meta },
            Meta { checksum_start: 14 + 512, ..meta },
        ] {
            assert_eq!(Offload::checksum(&impossible), None);
        }
    }

    #[test]
    fn fill_checks_the_size() {
        let mut buffer = [0u8; 200];
        let mut fresh = mbuf(&mut buffer, 128, 0);
        let fresh_ptr = NonNull::from(&mut *fresh);
        // SAFETY: a local mbuf that nobody else uses.
        unsafe {
            assert!(!fill(fresh_ptr, &[9; 73], Offload::default()));
            assert!(fill(fresh_ptr, &[9; 72], Offload::default()));
        }
        assert_eq!((fresh.data_len, fresh.pkt_len), (72, 72));
        assert_eq!(buffer[127..129], [0, 9]);
    }
}
