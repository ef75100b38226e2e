//! Facts about a network interface, and the few changes we make to one.
#![allow(unsafe_code)] // ioctl(2) on structures that the C library defines.

use core::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{
    MacAddr,
    error::{Cause, Step, last_errno},
};

/// Whether packets can pass by a port.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LinkState {
    /// They can.
    #[default]
    Up,
    /// There is nothing at the other end of the wire, or it is down.
    NoCarrier,
    /// The interface was set down.
    Down,
    /// The device was deleted, or moved to another network namespace. What the port had of it does not come back with another device,
    /// even of the same name.
    Gone,
}

impl LinkState {
    /// The word in statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoCarrier => "no-carrier",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }
}

/// What the kernel says about an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mac: MacAddr,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// Receive queues in use.
    pub(super) queues: u16,
}

impl Link {
    /// Asks about `name` in the calling thread's network namespace.
    pub(super) fn find(name: &str) -> Result<Self, Cause> {
        let control = Control::open()?;
        let mut request = request(name)?;
        let missing = |errno| match errno {
            libc::ENODEV => Cause::NoInterface { interface: name.to_owned() },
            errno => Cause::system(Step::Interface, errno),
        };
        control.ask(libc::SIOCGIFINDEX, &mut request).map_err(missing)?;
        // SAFETY: SIOCGIFINDEX filled this member of the union; all bit patterns are integers.
        let index = unsafe { request.ifr_ifru.ifru_ifindex } as u32;
        control.ask(libc::SIOCGIFFLAGS, &mut request).map_err(missing)?;
        // SAFETY: SIOCGIFFLAGS filled this member.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        control.ask(libc::SIOCGIFMTU, &mut request).map_err(missing)?;
        // SAFETY: SIOCGIFMTU filled this member.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu } as u32;
        control.ask(libc::SIOCGIFHWADDR, &mut request).map_err(missing)?;
        // SAFETY: SIOCGIFHWADDR filled this member.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address) {
            *to = from as u8;
        }
        let queues = control.receive_queues(name)?;
        Ok(Self { name: name.to_owned(), index, mac: MacAddr(mac), mtu, up: flags & libc::IFF_UP != 0, queues })
    }

    /// Refuses an interface that cannot carry a port of this MTU now.
    pub(super) fn check(&self, mtu: u16) -> Result<(), Cause> {
        let interface = self.name.clone();
        if !self.up {
            return Err(Cause::InterfaceDown { interface });
        }
        if self.mtu < u32::from(mtu) {
            return Err(Cause::InterfaceMtu { interface, has: self.mtu, wanted: mtu });
        }
        Ok(())
    }
}

/// Brings `name` up with an MTU of `mtu` bytes.
pub(super) fn bring_up(name: &str, mtu: u16) -> Result<(), Cause> {
    let control = Control::open()?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = i32::from(mtu);
    control.ask(libc::SIOCSIFMTU, &mut request).map_err(|errno| Cause::system(Step::SetMtu, errno))?;
    let failed = |errno| Cause::system(Step::BringUp, errno);
    control.ask(libc::SIOCGIFFLAGS, &mut request).map_err(failed)?;
    // SAFETY: SIOCGIFFLAGS filled this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as i16;
    control.ask(libc::SIOCSIFFLAGS, &mut request).map_err(failed)
}

/// Lets the interface receive packets to any hardware address for as long as the returned socket is open.
pub(super) fn promiscuous(index: u32) -> Result<OwnedFd, Cause> {
    // Protocol 0: the socket itself receives nothing.
    let socket =
        open_socket(libc::AF_PACKET, libc::SOCK_RAW).map_err(|errno| Cause::system(Step::Promiscuous, errno))?;
    // SAFETY: packet_mreq is plain integers, for which zero is a value.
    let mut membership: libc::packet_mreq = unsafe { mem::zeroed() };
    membership.mr_ifindex = index as i32;
    membership.mr_type = libc::PACKET_MR_PROMISC as u16;
    // SAFETY: the pointer and length describe `membership`, which the kernel copies.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            size_of_val(&membership) as u32,
        )
    };
    if code < 0 { Err(Cause::last(Step::Promiscuous)) } else { Ok(socket) }
}

/// Forbids the kernel to hand super-segments of more than `bytes` (IP packet) to the interface.
pub(super) fn limit_super_segments(index: u32, bytes: u32) -> Result<(), Cause> {
    let failed = |errno| Cause::system(Step::TapOffload, errno);
    let socket = open_socket(libc::AF_NETLINK, libc::SOCK_RAW).map_err(failed)?;
    // nlmsghdr (length, type, flags, sequence, port), ifinfomsg (family and type, index, flags, change), one attribute.
    let kind = u32::from(libc::RTM_NEWLINK) | ((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u32) << 16;
    let attribute = 8 | u32::from(IFLA_GSO_MAX_SIZE) << 16;
    let words = if cfg!(target_endian = "little") {
        [40, kind, 1, 0, 0, index, 0, 0, attribute, bytes]
    } else {
        [40, kind.rotate_left(16), 1, 0, 0, index, 0, 0, attribute.rotate_left(16), bytes]
    };
    // SAFETY: the pointer and length describe `words`, which the kernel copies.
    let sent = unsafe { libc::send(socket.as_raw_fd(), words.as_ptr().cast(), size_of_val(&words), 0) };
    if sent < 0 {
        return Err(failed(last_errno()));
    }
    let mut answer = [0i32; 64];
    // SAFETY: the pointer and length describe `answer`, for which all bit patterns are values.
    let read = unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), size_of_val(&answer), 0) };
    // An acknowledgement is an nlmsgerr: 16 bytes of header, then the errno, negative.
    match answer[4] {
        _ if read < 20 => Err(failed(last_errno())),
        0 => Ok(()),
        errno => Err(failed(-errno)),
    }
}

/// An `ifreq` for `name`.
pub(super) fn request(name: &str) -> Result<libc::ifreq, Cause> {
    // SAFETY: ifreq is integers, arrays and a pointer-sized union, for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= request.ifr_name.len() || bytes.iter().any(|b| *b == b'/' || *b == 0) {
        return Err(Cause::InterfaceName { interface: name.to_owned() });
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(request)
}

/// A socket to ask about interfaces on.
struct Control(OwnedFd);

impl Control {
    fn open() -> Result<Self, Cause> {
        open_socket(libc::AF_INET, libc::SOCK_DGRAM).map(Self).map_err(|errno| Cause::system(Step::Interface, errno))
    }

    fn ask(&self, what: libc::c_ulong, request: &mut libc::ifreq) -> Result<(), i32> {
        // SAFETY: all interface ioctls used here read and write one `ifreq`, which the reference provides.
        let code = unsafe { libc::ioctl(self.0.as_raw_fd(), what as _, &raw mut *request) };
        if code < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// Receive queues by ethtool, or by sysfs where the driver does not implement the question (TAP).
    fn receive_queues(&self, name: &str) -> Result<u16, Cause> {
        let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
        let mut request = request(name)?;
        request.ifr_ifru.ifru_data = (&raw mut channels).cast();
        if self.ask(SIOCETHTOOL, &mut request).is_ok() {
            return Ok((channels.rx_count + channels.combined_count).clamp(1, u32::from(u16::MAX)) as u16);
        }
        let queues = std::fs::read_dir(format!("/sys/class/net/{name}/queues")).map_or(1, |entries| {
            entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"rx-")).count()
        });
        Ok(queues.clamp(1, usize::from(u16::MAX)) as u16)
    }
}

fn open_socket(family: i32, kind: i32) -> Result<OwnedFd, i32> {
    // SAFETY: no pointers; the result is checked.
    let fd: RawFd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `linux/if_link.h`.
const IFLA_GSO_MAX_SIZE: u16 = 41;
/// `linux/sockios.h`.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `linux/ethtool.h`.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_channels`.
#[derive(Default)]
#[repr(C)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx_count: u32,
    tx_count: u32,
    other_count: u32,
    combined_count: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_nonsense_is_not() {
        let link = Link::find("lo").unwrap();
        assert_eq!((link.index, link.mac, link.queues), (1, MacAddr([0; 6]), 1));
        assert!(matches!(Link::find("tgx-none"), Err(Cause::NoInterface { .. })));
        assert!(matches!(Link::find("a-name-that-is-too-long"), Err(Cause::InterfaceName { .. })));
    }
}
