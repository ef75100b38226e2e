//! Pools of mbufs, shared by ports and never freed: frames may outlive the ports they came from.

use core::ptr::NonNull;
use std::{
    ffi::CString,
    sync::{Arc, Weak},
};

use tidegate_dpdk_sys as sys;

use super::error::DpdkError;

/// Mbufs that a thread keeps at hand before it goes to the shared ring.
const CACHE: u32 = 256;

/// Ethernet header, two VLAN tags and the frame check sequence, which some devices deliver.
const LINK_OVERHEAD: u32 = sys::RTE_ETHER_HDR_LEN + 8 + sys::RTE_ETHER_CRC_LEN;

/// One `rte_mempool` of mbufs and who has asked for how many of its buffers.
pub(super) struct Pool {
    raw: NonNull<sys::rte_mempool>,
    socket: i32,
    room: u16,
    count: u32,
    claims: Vec<(u32, Weak<()>)>,
}

// SAFETY: the mempool is made for use by many threads at once, and is never freed; the rest is plain values.
unsafe impl Send for Pool {}

/// A port's right to some of a pool's buffers. Given up when the last copy is dropped.
#[derive(Clone)]
pub(super) struct Claim {
    /// The pool, which lives as long as the process.
    pub(super) raw: NonNull<sys::rte_mempool>,
    /// Bytes that a buffer holds after its headroom.
    pub(super) room: u16,
    _token: Arc<()>,
}

impl Pool {
    /// Makes the pool number `index` on NUMA node `socket`.
    pub(super) fn new(index: usize, count: u32, room: u16, socket: i32) -> Result<Self, DpdkError> {
        let name = CString::new(format!("tidegate_{index}")).unwrap_or_default();
        // The library refuses a cache above two thirds of the pool.
        let cache = if count >= 8 * CACHE { CACHE } else { count / 8 };
        let data_room = room.saturating_add(sys::RTE_PKTMBUF_HEADROOM as u16);
        // SAFETY: called with a running EAL (pools are made by an `Eal`); the name is terminated and copied.
        let raw = unsafe { sys::rte_pktmbuf_pool_create(name.as_ptr(), count, cache, 0, data_room, socket) };
        let Some(raw) = NonNull::new(raw) else {
            // SAFETY: reads a thread-local integer.
            return Err(DpdkError::Buffers { count, room, errno: unsafe { sys::tidegate_rte_errno() } });
        };
        Ok(Self { raw, socket, room, count, claims: Vec::new() })
    }

    /// Bytes per buffer for packets up to `mtu`: at least 2048, which is what drivers are tuned for.
    pub(super) fn room(mtu: u16) -> u16 {
        let most = u32::from(u16::MAX) - sys::RTE_PKTMBUF_HEADROOM;
        (u32::from(mtu) + LINK_OVERHEAD).next_multiple_of(1024).clamp(2048, most) as u16
    }

    /// A claim on `count` buffers of at least `room` bytes near `socket` (negative: anywhere), if the pool has them to spare.
    pub(super) fn claim(&mut self, count: u32, room: u16, socket: i32) -> Option<Claim> {
        self.claims.retain(|(_, token)| token.strong_count() > 0);
        let claimed: u32 = self.claims.iter().map(|(count, _)| count).sum();
        let fits = self.room >= room && (socket < 0 || self.socket < 0 || self.socket == socket);
        if !fits || self.count - claimed < count {
            return None;
        }
        let token = Arc::new(());
        self.claims.push((count, Arc::downgrade(&token)));
        Some(Claim { raw: self.raw, room: self.room, _token: token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_follow_the_mtu() {
        assert_eq!(Pool::room(1500), 2048);
        assert_eq!(Pool::room(9000), 9216);
        assert_eq!(Pool::room(u16::MAX), u16::MAX - 128);
    }

    #[test]
    fn claims_are_counted_and_given_back() {
        let raw = NonNull::dangling();
        let mut pool = Pool { raw, socket: 0, room: 2048, count: 100, claims: Vec::new() };
        let first = pool.claim(60, 2048, 0).unwrap();
        assert!(pool.claim(60, 2048, 0).is_none(), "only 40 are left");
        assert!(pool.claim(10, 4096, 0).is_none(), "the buffers are too small");
        assert!(pool.claim(10, 2048, 1).is_none(), "another NUMA node");
        let second = pool.claim(40, 1024, -1).unwrap();
        drop(first);
        assert!(pool.claim(60, 2048, 0).is_some());
        drop(second);
    }
}
