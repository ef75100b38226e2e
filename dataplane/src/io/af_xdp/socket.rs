//! An AF_XDP socket, bound to one queue of an interface and to a core's frame memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{
    ring::{Rings, Sizes},
    syscall, umem,
};
use crate::{
    frame::{Arena, UmemSocket},
    io::{
        error::{Cause, Step},
        link::Link,
        spec::ZeroCopy,
    },
};

/// A closed socket gives up its queue a moment later (the kernel frees it from a work queue): how often to look again, in
/// milliseconds.
const PATIENCE_MS: u32 = 500;
/// Packets that one busy poll takes from the driver at most.
const BUSY_POLL_BUDGET: i32 = 64;
/// What the kernel accounts for a packet in flight in copy mode, in bytes, rounded up.
const SEND_BUFFER_PER_PACKET: u32 = 4096;

/// What is asked of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) queue: u16,
    pub(super) zero_copy: ZeroCopy,
    pub(super) busy_poll_us: u32,
    pub(super) sizes: Sizes,
    /// Bytes of the longest Ethernet frame that is expected.
    pub(super) longest: u32,
}

/// A bound socket with its rings.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) rings: Rings,
    pub(super) zero_copy: bool,
    /// A packet may lie in several chunks, by a descriptor for each (`XDP_PKT_CONTD`).
    pub(super) pieces: bool,
}

impl Socket {
    /// Opens a socket on `link` whose packets live in `arena`: zero-copy where wished and possible, else copying; in pieces where the
    /// arena's chunks are larger than the kernel's. A kernel that has no pieces (before 6.6) will do while every packet fits into one.
    pub(super) fn bind(link: &Link, arena: &Arena, wish: &Wish) -> Result<Self, Cause> {
        let whole_will_do = umem::fits_one_piece(arena, wish.longest);
        let without = || Cause::NoMultiBuffer { interface: link.name.clone() };
        match Self::bind_any(link, arena, wish, umem::takes_pieces(arena)) {
            Err(Refusal::Pieces) if whole_will_do => Self::bind_any(link, arena, wish, false),
            // It shares the memory of a socket that was refused them.
            Ok(socket) if !socket.pieces && !whole_will_do => Err(Refusal::Pieces),
            other => other,
        }
        .map_err(|refusal| match refusal {
            Refusal::Mode => Cause::System { step: Step::Bind, errno: libc::EOPNOTSUPP },
            Refusal::Pieces => without(),
            Refusal::Other(cause) => cause,
        })
    }

    fn bind_any(link: &Link, arena: &Arena, wish: &Wish, pieces: bool) -> Result<Self, Refusal> {
        if wish.zero_copy != ZeroCopy::Off {
            match Self::bind_mode(link, arena, wish, (true, pieces)) {
                Err(Refusal::Mode) if wish.zero_copy == ZeroCopy::On => {
                    return Err(Refusal::Other(Cause::NoZeroCopy { interface: link.name.clone() }));
                }
                Err(Refusal::Mode) => {}
                other => return other,
            }
        }
        Self::bind_mode(link, arena, wish, (false, pieces))
    }

    fn bind_mode(link: &Link, arena: &Arena, wish: &Wish, (zero_copy, pieces): (bool, bool)) -> Result<Self, Refusal> {
        let fd = syscall::xdp_socket().map_err(|errno| match errno {
            libc::EAFNOSUPPORT => Refusal::Other(Cause::NoXdpSockets),
            errno => Refusal::at(Step::OpenSocket, errno),
        })?;
        let shared = arena.umem_sockets().borrow().iter().find(|socket| socket.zero_copy == zero_copy).copied();
        if shared.is_none() {
            register(fd.as_fd(), arena)?;
        }
        tune(fd.as_fd(), wish)?;
        let rings = Rings::new(fd.as_fd(), wish.sizes).map_err(|errno| Refusal::at(Step::MakeRings, errno))?;
        let pieces = shared.map_or(pieces, |socket| socket.pieces);
        bind_queue(fd.as_fd(), &address(link, wish.queue, shared, zero_copy, pieces)).map_err(|errno| match errno {
            libc::EINVAL if pieces && shared.is_none() => Refusal::Pieces,
            libc::EOPNOTSUPP | libc::EPROTONOSUPPORT if zero_copy => Refusal::Mode,
            libc::EBUSY => Refusal::Other(Cause::QueueBusy { interface: link.name.clone(), queue: wish.queue }),
            libc::ENETDOWN => Refusal::Other(Cause::InterfaceDown { interface: link.name.clone() }),
            libc::ENODEV => Refusal::Other(Cause::NoInterface { interface: link.name.clone() }),
            errno => Refusal::at(Step::Bind, errno),
        })?;
        arena.umem_sockets().borrow_mut().push(UmemSocket { fd: fd.as_raw_fd(), zero_copy, pieces });
        Ok(Self { fd, rings, zero_copy, pieces })
    }
}

/// Why a socket was not bound.
enum Refusal {
    /// Not in this mode: another may do.
    Mode,
    /// Not with packets in several chunks.
    Pieces,
    Other(Cause),
}

impl Refusal {
    fn at(step: Step, errno: i32) -> Self {
        Self::Other(Cause::system(step, errno))
    }
}

/// Registers the arena. The kernel pins its pages, so that they stay whatever happens to the mapping.
fn register(socket: BorrowedFd<'_>, arena: &Arena) -> Result<(), Refusal> {
    let registration = umem::registration(arena);
    syscall::set_option(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration).map_err(|errno| match errno {
        libc::ENOBUFS => Refusal::Other(Cause::LockedMemory { bytes: registration.len as usize }),
        errno => Refusal::at(Step::RegisterMemory, errno),
    })
}

fn tune(socket: BorrowedFd<'_>, wish: &Wish) -> Result<(), Refusal> {
    // A full transmit ring should not stop at the default limit of about 200 packets in flight. Best effort: without
    // CAP_NET_ADMIN the ring drains more slowly.
    let bytes = (wish.sizes.tx * SEND_BUFFER_PER_PACKET) as i32;
    let _ = syscall::set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes);
    if wish.busy_poll_us == 0 {
        return Ok(());
    }
    let options = [
        (SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, wish.busy_poll_us.min(i32::MAX as u32) as i32),
        (SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET),
    ];
    for (option, value) in options {
        syscall::set_option(socket, libc::SOL_SOCKET, option, &value)
            .map_err(|errno| Refusal::at(Step::BusyPoll, errno))?;
    }
    Ok(())
}

fn address(link: &Link, queue: u16, shared: Option<UmemSocket>, zero_copy: bool, pieces: bool) -> libc::sockaddr_xdp {
    let pieces = if pieces { libc::XDP_USE_SG } else { 0 };
    let (flags, fd) = match shared {
        // Mode and wake-up rule are those of the socket that is shared with.
        Some(socket) => (libc::XDP_SHARED_UMEM, socket.fd as u32),
        None if zero_copy => (libc::XDP_ZEROCOPY | libc::XDP_USE_NEED_WAKEUP | pieces, 0),
        None => (libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP | pieces, 0),
    };
    libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: link.index,
        sxdp_queue_id: u32::from(queue),
        sxdp_shared_umem_fd: fd,
    }
}

fn bind_queue(socket: BorrowedFd<'_>, address: &libc::sockaddr_xdp) -> Result<(), i32> {
    for _ in 0..PATIENCE_MS {
        match syscall::bind(socket, address) {
            Err(libc::EBUSY) => syscall::wait_a_moment(),
            other => return other,
        }
    }
    Err(libc::EBUSY)
}

/// Whether the kernel and the driver have let go of a queue after its socket was closed: a copying socket, which starts no
/// transfer into memory, can take its place.
pub(super) fn is_released(link_index: u32, queue: u16, arena: &Arena, sizes: Sizes) -> bool {
    let Ok(probe) = syscall::xdp_socket() else { return false };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: libc::XDP_COPY,
        sxdp_ifindex: link_index,
        sxdp_queue_id: u32::from(queue),
        sxdp_shared_umem_fd: 0,
    };
    register(probe.as_fd(), arena).is_ok()
        && Rings::new(probe.as_fd(), sizes).is_ok()
        && match bind_queue(probe.as_fd(), &address) {
            // A queue or an interface that has gone makes no transfers either.
            Ok(()) | Err(libc::ENODEV | libc::EINVAL | libc::ENETDOWN) => true,
            Err(_) => false,
        }
}

/// `asm-generic/socket.h`.
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;
