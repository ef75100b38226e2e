//! The XDP program: which packets of the interface are ours.
//!
//! With `capture = "all"` every packet goes to the socket of the queue it arrived on. With `"owned"` the kernel keeps the
//! interface, and we take only
//! - IPv4 and IPv6 packets to a destination in the map of owned addresses and prefixes,
//! - ARP whose *target* address is owned: requests for our addresses, and the answers to our own requests,
//! - neighbour solicitations (RFC 4861 §4.3) for an owned target, which are sent to a multicast group.
//!
//! Neighbour advertisements come to the asker's address and need no rule. What is announced to all (gratuitous ARP, router
//! advertisements) is the kernel's: XDP cannot deliver a packet twice, and we find out by probing neighbours. Packets of a queue
//! without a socket go to the kernel.
#![allow(unsafe_code)] // bpf(2) reads maps' keys and programs by address.

use std::os::fd::{AsRawFd, OwnedFd};

use ipnet::IpNet;

use super::{
    bpf::{
        Assembler, Insn,
        Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R10},
        Width::{U8, U16, U32, U64},
    },
    syscall,
};
use crate::io::{
    error::{Cause, Step},
    link::Link,
    spec::{Capture, XdpMode},
};

/// Owned addresses and prefixes that the map holds. Its memory grows with use.
const MOST_OWNED: u32 = 65536;

/// The attached program with its maps. It is detached, and they are freed, on drop.
#[derive(Debug)]
pub(super) struct Program {
    /// Socket of each queue.
    sockets: OwnedFd,
    /// Owned destinations, with [`Capture::Owned`].
    owned: Option<OwnedFd>,
    /// Whether it runs in generic mode.
    pub(super) generic: bool,
    _link: OwnedFd,
}

impl Program {
    /// Loads the program and attaches it to `link`, which has `queues` queues and, if `jumbo`, may have packets in several buffers.
    pub(super) fn attach(
        link: &Link,
        mode: XdpMode,
        capture: Capture,
        queues: u16,
        jumbo: bool,
    ) -> Result<Self, Cause> {
        let refused = |errno| Cause::system(Step::CreateMap, errno);
        let sockets = MapCreate { kind: 17, key: 4, value: 4, entries: u32::from(queues), flags: 0 };
        let sockets = sockets.create().map_err(refused)?;
        let owned = match capture {
            Capture::All => None,
            Capture::Owned => {
                let value = 1;
                let trie = MapCreate { kind: 11, key: KEY as u32, value, entries: MOST_OWNED, flags: NO_PREALLOC };
                Some(trie.create().map_err(refused)?)
            }
        };
        let code = match &owned {
            None => redirect_all(sockets.as_raw_fd()),
            Some(owned) => redirect_owned(sockets.as_raw_fd(), owned.as_raw_fd()),
        };
        let program = match load(&code, if jumbo { HAS_FRAGS } else { 0 }) {
            // A kernel before 5.18. Whether its driver needs several buffers for such packets, attaching will tell.
            Err(libc::EINVAL) if jumbo => load(&code, 0),
            other => other,
        }
        .map_err(|errno| Cause::system(Step::LoadProgram, errno))?;
        let (attached, generic) = attach(link, &program, mode)?;
        Ok(Self { sockets, owned, generic, _link: attached })
    }

    /// Sends the packets of `queue` to `socket` from now until that is closed.
    pub(super) fn serve(&self, queue: u16, socket: &OwnedFd) -> Result<(), Cause> {
        let (key, value) = (u32::from(queue).to_ne_bytes(), socket.as_raw_fd().to_ne_bytes());
        update(&self.sockets, &key, Some(&value)).map_err(|errno| Cause::system(Step::UpdateMap, errno))
    }

    /// Takes `prefix` from the kernel, or gives it back.
    pub(super) fn own(&self, prefix: &IpNet, ours: bool) -> Result<(), Cause> {
        let Some(owned) = &self.owned else { return Ok(()) };
        let value = ours.then_some(&[1u8][..]);
        match update(owned, &key(prefix), value) {
            Err(libc::ENOENT) if !ours => Ok(()),
            other => other.map_err(|errno| Cause::system(Step::UpdateMap, errno)),
        }
    }
}

/// Everything to the queue's socket; to the kernel while there is none.
fn redirect_all(sockets: i32) -> Vec<Insn> {
    let mut a = Assembler::default();
    redirect(&mut a, R1, sockets);
    a.finish()
}

/// `return bpf_redirect_map(sockets, context->rx_queue_index, XDP_PASS)`
fn redirect(a: &mut Assembler, context: super::bpf::Reg, sockets: i32) {
    a.load(U32, R2, context, CONTEXT_QUEUE);
    a.load_map(R1, sockets);
    a.set(R3, XDP_PASS);
    a.call(REDIRECT_MAP);
    a.exit();
}

/// What is for an owned destination to the queue's socket, the rest to the kernel. R6 is the context, R7 the packet, R8 its end;
/// the key of the lookup is built on the stack.
fn redirect_owned(sockets: i32, owned: i32) -> Vec<Insn> {
    let mut a = Assembler::default();
    a.copy(R6, R1);
    a.load(U32, R7, R6, CONTEXT_DATA);
    a.load(U32, R8, R6, CONTEXT_DATA_END);
    a.store_value(U64, R10, KEY_ADDRESS, 0);
    a.store_value(U64, R10, KEY_ADDRESS + 8, 0);
    require(&mut a, 14);
    a.load(U16, R3, R7, 12);
    a.jump_equal(R3, network_order(0x0800), "ipv4");
    a.jump_equal(R3, network_order(0x0806), "arp");
    a.jump_unequal(R3, network_order(0x86dd), "pass");

    require(&mut a, 54);
    a.copy(R4, R7);
    a.add(R4, 38);
    a.load(U8, R3, R7, 38);
    a.jump_unequal(R3, 0xff, "ipv6_key");
    // To a multicast group: only a neighbour solicitation can be for us, by its target.
    a.load(U8, R3, R7, 20);
    a.jump_unequal(R3, 58, "pass");
    require(&mut a, 78);
    a.load(U8, R3, R7, 54);
    a.jump_unequal(R3, 135, "pass");
    a.copy(R4, R7);
    a.add(R4, 62);
    a.label("ipv6_key");
    a.load(U64, R3, R4, 0);
    a.store(U64, R10, KEY_ADDRESS, R3);
    a.load(U64, R3, R4, 8);
    a.store(U64, R10, KEY_ADDRESS + 8, R3);
    a.store_value(U32, R10, KEY_FAMILY, IPV6 as i32);
    a.store_value(U32, R10, KEY_LENGTH, 32 + 128);
    a.jump("look_up");

    a.label("arp");
    require(&mut a, 42);
    a.load(U32, R3, R7, 38);
    a.jump("ipv4_key");
    a.label("ipv4");
    require(&mut a, 34);
    a.load(U32, R3, R7, 30);
    a.label("ipv4_key");
    a.store(U32, R10, KEY_ADDRESS, R3);
    a.store_value(U32, R10, KEY_FAMILY, IPV4 as i32);
    a.store_value(U32, R10, KEY_LENGTH, 32 + 32);

    a.label("look_up");
    a.load_map(R1, owned);
    a.copy(R2, R10);
    a.add(R2, i32::from(KEY_LENGTH));
    a.call(MAP_LOOKUP);
    a.jump_equal(R0, 0, "pass");
    redirect(&mut a, R6, sockets);
    a.label("pass");
    a.set(R0, XDP_PASS);
    a.exit();
    a.finish()
}

/// Passes packets of fewer than `len` bytes to the kernel.
fn require(a: &mut Assembler, len: i32) {
    a.copy(R2, R7);
    a.add(R2, len);
    a.jump_greater(R2, R8, "pass");
}

const fn network_order(value: u16) -> i32 {
    value.to_be() as i32
}

/// `struct bpf_lpm_trie_key`: prefix length in bits; then the family and the address as one string of bits.
fn key(prefix: &IpNet) -> [u8; KEY] {
    let mut key = [0; KEY];
    let (family, bits) = match prefix {
        IpNet::V4(net) => {
            key[8..12].copy_from_slice(&net.network().octets());
            (IPV4, net.prefix_len())
        }
        IpNet::V6(net) => {
            key[8..24].copy_from_slice(&net.network().octets());
            (IPV6, net.prefix_len())
        }
    };
    key[..4].copy_from_slice(&(32 + u32::from(bits)).to_ne_bytes());
    key[4..8].copy_from_slice(&family.to_ne_bytes());
    key
}

fn load(code: &[Insn], flags: u32) -> Result<OwnedFd, i32> {
    let attributes = ProgLoad {
        kind: 6, // BPF_PROG_TYPE_XDP
        count: code.len() as u32,
        code: code.as_ptr() as u64,
        license: c"Apache-2.0 OR MIT".as_ptr() as u64,
        log: [0; 2],
        log_buffer: 0,
        kernel_version: 0,
        flags,
        name: *b"tidegate\0\0\0\0\0\0\0\0",
    };
    // SAFETY: the attributes have the layout of BPF_PROG_LOAD; instructions and licence outlive the call, which copies them.
    unsafe { syscall::bpf_fd(PROG_LOAD, &attributes) }
}

/// Attaches `program` by a link that goes with its descriptor. Says whether it is in generic mode.
fn attach(link: &Link, program: &OwnedFd, mode: XdpMode) -> Result<(OwnedFd, bool), Cause> {
    let interface = || link.name.clone();
    let try_mode = |flags| {
        let (program, target, kind) = (program.as_raw_fd() as u32, link.index, 37 /* BPF_XDP */);
        let attributes = LinkCreate { program, target, kind, flags };
        // SAFETY: the attributes have the layout of BPF_LINK_CREATE and hold no addresses.
        unsafe { syscall::bpf_fd(LINK_CREATE, &attributes) }
    };
    let refused = |errno| match errno {
        libc::EBUSY | libc::EEXIST => Cause::ProgramBusy { interface: interface() },
        errno => Cause::system(Step::AttachProgram, errno),
    };
    if mode != XdpMode::Generic {
        match try_mode(FLAG_NATIVE) {
            Ok(attached) => return Ok((attached, false)),
            Err(errno @ (libc::EBUSY | libc::EEXIST | libc::EPERM | libc::ENODEV)) => return Err(refused(errno)),
            Err(errno) if mode == XdpMode::Native => return Err(Cause::NoNativeXdp { interface: interface(), errno }),
            // The driver has no native hook, or not in this state: the generic one makes no demands.
            Err(_) => {}
        }
    }
    try_mode(FLAG_GENERIC).map(|attached| (attached, true)).map_err(refused)
}

/// Sets or removes an element. `key` and `value` have the sizes that the map was made with.
fn update(map: &OwnedFd, key: &[u8], value: Option<&[u8]>) -> Result<(), i32> {
    let attributes = MapElement {
        map: map.as_raw_fd() as u32,
        _pad: 0,
        key: key.as_ptr() as u64,
        value: value.map_or(0, |value| value.as_ptr() as u64),
        flags: 0,
    };
    let command = if value.is_some() { MAP_UPDATE } else { MAP_DELETE };
    // SAFETY: the attributes have the layout of both commands; key and value are as long as the map's, by the callers above, and
    // outlive the call, which copies them.
    unsafe { syscall::bpf_unit(command, &attributes) }
}

/// Attributes of `BPF_MAP_CREATE`.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

impl MapCreate {
    fn create(&self) -> Result<OwnedFd, i32> {
        // SAFETY: the layout of BPF_MAP_CREATE, which holds no addresses.
        unsafe { syscall::bpf_fd(MAP_CREATE, self) }
    }
}

/// Attributes of the commands on one element of a map.
#[repr(C)]
struct MapElement {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Attributes of `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    code: u64,
    license: u64,
    log: [u32; 2],
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Attributes of `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    kind: u32,
    flags: u32,
}

// `linux/bpf.h`, `linux/if_link.h`.
const MAP_CREATE: u32 = 0;
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const PROG_LOAD: u32 = 5;
const LINK_CREATE: u32 = 28;
const NO_PREALLOC: u32 = 1;
/// The program knows that a packet may have more buffers than the one it can read: all that it reads are headers.
const HAS_FRAGS: u32 = 1 << 5;
const FLAG_GENERIC: u32 = 2;
const FLAG_NATIVE: u32 = 4;
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;

/// Bytes of a key: length, family, address.
const KEY: usize = 24;
/// Where the parts of a key are on the program's stack.
const KEY_LENGTH: i16 = -24;
const KEY_FAMILY: i16 = -20;
const KEY_ADDRESS: i16 = -16;
const IPV4: u32 = 4;
const IPV6: u32 = 6;
