//! The system calls of AF_XDP and BPF, with errors as errno.
#![allow(unsafe_code)] // System calls that take addresses.

use core::ptr::{self, NonNull};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::io::error::last_errno;

/// Opens an AF_XDP socket.
pub(super) fn xdp_socket() -> Result<OwnedFd, i32> {
    // SAFETY: no addresses are passed.
    owned(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })
}

/// `bpf(2)` for commands that return a descriptor.
///
/// # Safety
/// `attributes` is what `command` expects at the start of `union bpf_attr`, and the addresses in it are valid for that command.
pub(super) unsafe fn bpf_fd<T>(command: u32, attributes: &T) -> Result<OwnedFd, i32> {
    // SAFETY: promised by the caller.
    owned(unsafe { bpf(command, attributes) })
}

/// `bpf(2)` for commands that return nothing.
///
/// # Safety
/// As for [`bpf_fd`].
pub(super) unsafe fn bpf_unit<T>(command: u32, attributes: &T) -> Result<(), i32> {
    // SAFETY: promised by the caller.
    unit(unsafe { bpf(command, attributes) })
}

unsafe fn bpf<T>(command: u32, attributes: &T) -> i32 {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attributes`; the rest is promised by the callers' callers.
    unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), size_of::<T>()) as i32 }
}

/// Sets a socket option to a plain value.
pub(super) fn set_option<T: Plain>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> Result<(), i32> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: address and length describe `value`, which the kernel copies.
    unit(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), len) })
}

/// Reads a plain socket option.
pub(super) fn option<T: Plain>(socket: BorrowedFd<'_>, level: i32, name: i32) -> Result<T, i32> {
    // SAFETY: `Plain` promises that zero is a value.
    let mut value: T = unsafe { core::mem::zeroed() };
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: address and length describe `value`; `Plain` promises that whatever the kernel writes is one.
    unit(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

/// Integers and structures of them: every bit pattern is a value.
///
/// # Safety
/// Zero and whatever else the kernel writes into it is a value of the type.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: every bit pattern is an i32.
unsafe impl Plain for i32 {}
// SAFETY: it consists of 64-bit integers alone, four for each ring.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: it consists of 64-bit counters alone.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: integers; the address in it is one of them, and registering it with the kernel is safe: the kernel pins the pages,
// what it then does to them is ordered by the rings.
unsafe impl Plain for libc::xdp_umem_reg {}

/// Binds an AF_XDP socket.
pub(super) fn bind(socket: BorrowedFd<'_>, address: &libc::sockaddr_xdp) -> Result<(), i32> {
    let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    // SAFETY: address and length describe `address`, which the kernel copies.
    unit(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(address).cast(), len) })
}

/// Lets the kernel send from the transmit ring: at most 32 packets per call in copy mode, then `EAGAIN`.
pub(super) fn kick_tx(socket: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: no data and no address are passed.
    let code = unsafe { libc::sendto(socket.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    unit(code as i32)
}

/// Lets the driver look at the fill ring again, or poll the device on this core when busy polling is on.
pub(super) fn kick_rx(socket: BorrowedFd<'_>) {
    // SAFETY: no buffer and no address are passed. Errors are of no use: the ring says what has come.
    let _ = unsafe {
        libc::recvfrom(socket.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut())
    };
}

/// Waits a millisecond for the kernel to finish something. Only when a port opens or closes.
pub(super) fn wait_a_moment() {
    // SAFETY: no descriptors are passed.
    unsafe { libc::poll(ptr::null_mut(), 0, 1) };
}

/// Memory shared with the kernel, unmapped on drop.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes of `socket` at its page offset `at`.
    pub(super) fn new(socket: BorrowedFd<'_>, at: libc::off_t, len: usize) -> Result<Self, i32> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                at,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { base, len }),
            _ => Err(last_errno()),
        }
    }

    /// Address of the byte at `offset`, which lies within the mapping with `len` bytes behind it.
    pub(super) fn at(&self, offset: u64, len: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: within the mapping, as just checked.
        Some(unsafe { self.base.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; the rings that point into it own it and go with it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn owned(fd: i32) -> Result<OwnedFd, i32> {
    unit(fd)?;
    // SAFETY: the kernel has just returned it, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn unit(code: i32) -> Result<(), i32> {
    if code < 0 { Err(last_errno()) } else { Ok(()) }
}
