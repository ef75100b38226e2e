//! DPDK mbufs behind the same type as chunks of an arena.

use core::{mem::ManuallyDrop, ptr::NonNull};

use super::{
    Frame,
    home::{Home, Memory},
};

impl Frame {
    /// Makes a frame of a received, single-segment mbuf.
    ///
    /// # Safety
    /// The mbuf is owned by the caller and nobody else; `chunk` is its `buf_addr`, `head` its `data_off`, `len` its `data_len`,
    /// and `head + len <= buf_len`.
    #[inline]
    pub(crate) unsafe fn from_mbuf(
        mbuf: NonNull<tidegate_dpdk_sys::rte_mbuf>,
        chunk: NonNull<u8>,
        head: u32,
        len: u32,
    ) -> Self {
        Self { chunk, head, len, home: Home::mbuf(mbuf) }
    }

    /// The mbuf and the position of the packet in it (`data_off`, length), ownership given away; the frame back when its home
    /// is an arena.
    #[inline]
    pub(crate) fn into_mbuf(self) -> Result<(NonNull<tidegate_dpdk_sys::rte_mbuf>, u32, u32), Self> {
        match self.home.memory() {
            Memory::Mbuf(mbuf) => {
                let frame = ManuallyDrop::new(self);
                Ok((mbuf, frame.head, frame.len))
            }
            Memory::Arena(_) => Err(self),
        }
    }
}
