//! Making the TAP interface: one descriptor per queue, offloads, MTU, up.
#![allow(unsafe_code)] // ioctl(2) on /dev/net/tun.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

use super::{port::TapPort, vnet};
use crate::{
    frame::{Arena, HEADROOM},
    io::{
        Capabilities, LinkState, MacAddr, PortInfo,
        device::ETHERNET,
        error::{Cause, Step, last_errno},
        link,
        spec::{PortSpec, TapSpec},
    },
};

/// `linux/if_tun.h`: `_IOW('T', 226, int)`.
const TUNSETCARRIER: libc::c_ulong = 0x4004_54e2;
/// Longest IP packet that a super-segment can be.
const LONGEST_PACKET: u32 = 65535;
/// Below this room a super-segment would hold hardly more than a packet: not worth asking for.
const WORTHWHILE_ROOM: usize = 4096;

/// A TAP interface with all its queues. It goes away when this and all its ports are dropped.
#[derive(Debug)]
pub(in crate::io) struct TapDevice {
    interface: String,
    index: u32,
    spec: TapSpec,
    mtu: u16,
    queues: Vec<File>,
}

impl TapDevice {
    /// Makes the interface, with `queues` queues.
    pub(in crate::io) fn open(spec: &PortSpec, tap: &TapSpec, queues: u16) -> Result<(PortInfo, Self), Cause> {
        let files = (0..queues).map(|queue| open_queue(&tap.interface, queue)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = files.first() else { return Err(Cause::NoQueue { queue: 0, has: 0 }) };
        offload(first, tap, false)?;
        link::bring_up(&tap.interface, spec.mtu)?;
        let link = link::Link::find(&tap.interface)?;
        let gso = tap.gso && tap.checksum_offload;
        let info = PortInfo {
            // Not the interface's own address: that is the kernel's at the other end of the wire.
            mac: spec.mac.unwrap_or_else(|| MacAddr::local(&spec.name)),
            mtu: spec.mtu,
            queues,
            capabilities: Capabilities {
                tx_checksum: tap.checksum_offload,
                tx_segment: if gso { LONGEST_PACKET } else { 0 },
                rx_max: if gso { LONGEST_PACKET } else { u32::from(spec.mtu) } + ETHERNET,
            },
            driver: if gso { "tap vnet gso" } else { "tap vnet" }.to_owned(),
        };
        let spec = TapSpec { gso, ..tap.clone() };
        Ok((info, Self { interface: link.name, index: link.index, spec, mtu: link.mtu as u16, queues: files }))
    }

    /// The state of the interface, wherever it was moved to: the kernel takes packets while it is up.
    pub(in crate::io) fn link(&self) -> LinkState {
        let Some(queue) = self.queues.first() else { return LinkState::Gone };
        let mut polled = libc::pollfd { fd: queue.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: the pointer describes one live pollfd; a timeout of 0 does not wait.
        unsafe { libc::poll(&raw mut polled, 1, 0) };
        match polled.revents {
            gone if gone & (libc::POLLERR | libc::POLLHUP) != 0 => LinkState::Gone,
            up if up & libc::POLLOUT != 0 => LinkState::Up,
            _ => LinkState::Down,
        }
    }

    /// Tells the kernel whether its end has a carrier.
    pub(in crate::io) fn set_carrier(&self, carrier: bool) -> Result<(), Cause> {
        let Some(queue) = self.queues.first() else { return Ok(()) };
        let carrier = libc::c_int::from(carrier);
        // SAFETY: TUNSETCARRIER reads one int.
        let code = unsafe { libc::ioctl(queue.as_raw_fd(), TUNSETCARRIER as _, &raw const carrier) };
        if code < 0 { Err(Cause::last(Step::Carrier)) } else { Ok(()) }
    }

    pub(in crate::io) fn queue(&self, queue: u16) -> Result<TapSeed, Cause> {
        let Some(file) = self.queues.get(usize::from(queue)) else {
            return Err(Cause::NoQueue { queue, has: self.queues.len() as u16 });
        };
        let queue = file.try_clone().map_err(|error| refused(&self.interface, queue, &error))?;
        Ok(TapSeed { index: self.index, spec: self.spec.clone(), mtu: self.mtu, queue })
    }
}

/// A queue of a TAP on its way to its core.
#[derive(Debug)]
pub(in crate::io) struct TapSeed {
    index: u32,
    spec: TapSpec,
    mtu: u16,
    queue: File,
}

impl TapSeed {
    /// Starts to receive into frames of `arena`. Super-segments are asked for when frames have room for them, and no longer than
    /// fits.
    pub(in crate::io) fn attach(self, arena: &Arena) -> Result<TapPort, Cause> {
        let room = arena.chunk_size() - HEADROOM;
        let needed = usize::from(self.mtu) + ETHERNET as usize;
        if room < needed {
            let frame_size = (HEADROOM + needed).next_power_of_two();
            return Err(Cause::FrameSize {
                mtu: u32::from(self.mtu),
                room,
                frame_size: (frame_size <= 65536).then_some(frame_size),
            });
        }
        if self.spec.gso && room >= WORTHWHILE_ROOM {
            link::limit_super_segments(self.index, (room - ETHERNET as usize) as u32)?;
            offload(&self.queue, &self.spec, true)?;
        }
        Ok(TapPort::new(self.queue))
    }
}

/// Opens one more queue of `interface`, which the first call makes.
fn open_queue(interface: &str, queue: u16) -> Result<File, Cause> {
    let mut request = link::request(interface)?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun").map_err(
        |error| match error.raw_os_error().unwrap_or(0) {
            libc::ENOENT | libc::ENODEV | libc::ENXIO => Cause::NoTun,
            errno => Cause::system(Step::OpenTun, errno),
        },
    )?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as i16;
    let failed = || refused(interface, queue, &io::Error::last_os_error());
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which the reference provides.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        return Err(failed());
    }
    let header = vnet::LEN as libc::c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header) } < 0 {
        return Err(failed());
    }
    Ok(file)
}

/// Says what the kernel may leave to us in packets it sends.
fn offload(queue: &File, spec: &TapSpec, receive_super_segments: bool) -> Result<(), Cause> {
    let mut flags = 0;
    if spec.checksum_offload {
        flags |= libc::TUN_F_CSUM;
        if receive_super_segments {
            flags |= libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        }
    }
    // SAFETY: TUNSETOFFLOAD takes its flags by value.
    let code = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) };
    if code < 0 { Err(Cause::system(Step::TapOffload, last_errno())) } else { Ok(()) }
}

fn refused(interface: &str, queue: u16, error: &io::Error) -> Cause {
    match error.raw_os_error().unwrap_or(0) {
        libc::EBUSY => Cause::QueueBusy { interface: interface.to_owned(), queue },
        errno => Cause::system(Step::CreateTap, errno),
    }
}
