//! Where a frame's memory goes back to, in one word.

use core::ptr::NonNull;

use super::Inner;

/// A pointer to an arena or, with its lowest bit set, to an mbuf: both are aligned to more than a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Home(NonNull<Inner>);

/// A [`Home`] taken apart.
pub(super) enum Memory {
    Arena(NonNull<Inner>),
    #[cfg(feature = "dpdk")]
    Mbuf(NonNull<tidegate_dpdk_sys::rte_mbuf>),
}

#[cfg(feature = "dpdk")]
const MBUF: usize = 1;

const _: () = assert!(align_of::<Inner>() > 1);

impl Home {
    #[inline]
    pub(super) const fn arena(inner: NonNull<Inner>) -> Self {
        Self(inner)
    }

    #[cfg(feature = "dpdk")]
    #[inline]
    pub(super) fn mbuf(mbuf: NonNull<tidegate_dpdk_sys::rte_mbuf>) -> Self {
        const { assert!(align_of::<tidegate_dpdk_sys::rte_mbuf>() > 1) }
        Self(mbuf.cast().map_addr(|address| address | MBUF))
    }

    #[inline]
    pub(super) fn memory(self) -> Memory {
        #[cfg(feature = "dpdk")]
        if self.0.addr().get() & MBUF != 0 {
            // SAFETY: `Home::mbuf` went one byte into the mbuf, and this goes back to its start.
            return Memory::Mbuf(unsafe { self.0.cast::<tidegate_dpdk_sys::rte_mbuf>().byte_sub(MBUF) });
        }
        Memory::Arena(self.0)
    }
}
