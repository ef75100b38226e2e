//! A network namespace per test and a raw socket at the kernel's end of a wire.
//!
//! Each test thread enters a namespace of its own: all that it makes vanishes with the thread, also when the test fails. It takes
//! root; without it the test fails.
#![allow(unsafe_code, dead_code, unreachable_pub)] // System calls the standard library lacks; no test uses all of this.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A test waits on the wall clock for the kernel, and for other tests.

use std::{
    cell::Cell,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidegate_dataplane::{
    batch::{Batch, Slot},
    frame::Arena,
    io::Port,
    meta::PortId,
    stats::PortStats,
};

/// One test at a time: a program that another one starts holds all descriptors for a moment, and what is dropped meanwhile stays.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static HELD: Cell<Option<MutexGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Moves the calling thread into a new, silent network namespace, when it is its turn.
pub fn enter() {
    HELD.set(Some(TURN.lock().unwrap_or_else(PoisonError::into_inner)));
    // SAFETY: no pointers; only this thread changes its namespace.
    let code = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(code, 0, "this test needs root: {}", io::Error::last_os_error());
    // No neighbour discovery of the kernel's own between the packets of the test.
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    ip("link set lo up");
}

/// Takes all capabilities but those in `keep` (bits by number) from the calling thread, until it ends.
pub fn keep_only(keep: u64) {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let (low, high) = (keep as u32, (keep >> 32) as u32);
    // Effective, permitted, inheritable; twice.
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: the layouts of capset(2), version 3; process 0 is the calling thread.
    let code = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
}

/// Runs `ip` with these words in the thread's namespace.
pub fn ip(words: &str) {
    run("ip", words);
}

/// Runs a program in the thread's namespace.
pub fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {text}");
    text
}

/// Whether `interface` exists in the thread's namespace.
pub fn exists(interface: &str) -> bool {
    Command::new("ip").args(["link", "show", interface]).output().unwrap().status.success()
}

/// Asks until the answer is yes, for at most twenty seconds: a busy machine may take some of them away.
#[track_caller]
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A packet socket on an interface: what the kernel's end of the wire sees and sends.
pub struct Raw {
    socket: OwnedFd,
}

impl Raw {
    pub fn open(interface: &str) -> Self {
        Self::bind(interface, false)
    }

    /// One whose packets carry a virtio-net header of 10 bytes.
    pub fn with_vnet_header(interface: &str) -> Self {
        Self::bind(interface, true)
    }

    fn bind(interface: &str, vnet: bool) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: just opened.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = std::ffi::CString::new(interface).unwrap();
        // SAFETY: sockaddr_ll is plain integers; the name is terminated.
        let (mut address, index): (libc::sockaddr_ll, _) =
            unsafe { (std::mem::zeroed(), libc::if_nametoindex(name.as_ptr())) };
        assert_ne!(index, 0, "no interface {interface}");
        if vnet {
            set(fd, libc::SOL_PACKET, 15, 1); // PACKET_VNET_HDR
        }
        // Only what comes from the wire, not what this end sends.
        set(fd, libc::SOL_PACKET, 23, 1); // PACKET_IGNORE_OUTGOING
        set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20);
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index as i32;
        // SAFETY: pointer and length describe `address`.
        let code = unsafe { libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32) };
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
        Self { socket }
    }

    pub fn send(&self, packet: &[u8]) {
        // SAFETY: pointer and length describe `packet`.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), packet.as_ptr().cast(), packet.len(), 0) };
        assert_eq!(sent, packet.len() as isize, "{}", io::Error::last_os_error());
    }

    /// The next packet that is there now.
    pub fn poll(&self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 70_000];
        // SAFETY: pointer and length describe `packet`.
        let len = unsafe {
            libc::recv(self.socket.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len(), libc::MSG_DONTWAIT)
        };
        packet.truncate(usize::try_from(len).ok()?);
        Some(packet)
    }

    /// The next packet of those that `wanted` accepts.
    #[track_caller]
    pub fn receive(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut found = None;
        eventually("a packet at the kernel's end", || {
            while let Some(packet) = self.poll() {
                if wanted(&packet) {
                    found = Some(packet);
                    return true;
                }
            }
            false
        });
        found.unwrap()
    }
}

fn set(fd: i32, level: i32, name: i32, value: i32) {
    // SAFETY: pointer and length describe `value`.
    let code = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), 4) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
}

/// Receives until `count` packets that `wanted` accepts are there.
#[track_caller]
pub fn receive(
    port: &mut Port,
    arena: &Arena,
    stats: &PortStats,
    count: usize,
    wanted: impl Fn(&[u8]) -> bool,
) -> Vec<Slot> {
    let mut found = Vec::new();
    eventually("packets at the port", || {
        let mut batch = Batch::new();
        port.rx(PortId(7), arena, &mut batch, stats);
        found.extend(batch.drain().filter(|slot| slot.frame.as_ref().is_some_and(|frame| wanted(frame.data()))));
        found.len() >= count
    });
    found
}

/// An Ethernet frame of the experimental type 0x88b5 (IEEE 802, local experiment 1) that carries `payload`.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x02, 0, 0, 0, 0, 0x99, 0x88, 0xb5]);
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Whether it is one of [`frame`]'s.
pub fn is_ours(packet: &[u8]) -> bool {
    packet.get(12..14) == Some(&[0x88, 0xb5])
}

/// Ethernet, IPv4 and TCP (ACK) from 10.9.0.2:1000 to 10.9.0.1:2000 with a partial checksum: the pseudo-header's sum.
pub fn tcp_partial(to: [u8; 6], payload: usize) -> Vec<u8> {
    use tidegate_dataplane::io::checksum::Sum;
    let mut packet = to.to_vec();
    packet.extend([0x02, 0, 0, 0, 0, 0x99, 0x08, 0x00]);
    let total = (40 + payload) as u16;
    let mut ip = vec![0x45, 0];
    ip.extend(total.to_be_bytes());
    ip.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1]);
    let sum = Sum::new().add(&ip).finish();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut tcp = vec![0x03, 0xe8, 0x07, 0xd0, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0];
    tcp.extend((0..payload).map(|byte| byte as u8));
    let pseudo = Sum::new().add_pseudo(&ip[12..16], &ip[16..20], 6, tcp.len()).folded();
    tcp[16..18].copy_from_slice(&pseudo.to_be_bytes());
    packet.extend(ip);
    packet.extend(tcp);
    packet
}
