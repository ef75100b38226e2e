//! Why a port could not be opened: the port, the cause in the kernel's words, and what to do about it.

use core::fmt;
use std::{io, path::PathBuf};

use super::pcap::PcapFault;

/// A port that could not be opened or attached. The operator's to mend.
#[derive(Debug)]
pub struct PortError {
    /// The port's name in the configuration.
    pub port: String,
    /// What went wrong.
    pub cause: Cause,
}

/// What the kernel was asked to do when it refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Asking about or changing an interface.
    Interface,
    /// Opening `/dev/net/tun`.
    OpenTun,
    /// Making the TAP interface or one of its queues.
    CreateTap,
    /// Setting the offloads of the TAP.
    TapOffload,
    /// Setting the carrier of the TAP.
    Carrier,
    /// Setting the MTU.
    SetMtu,
    /// Bringing the interface up.
    BringUp,
    /// Receiving packets to other stations' addresses.
    Promiscuous,
    /// Making the maps of the XDP program.
    CreateMap,
    /// Writing to a map of the XDP program.
    UpdateMap,
    /// Loading the XDP program.
    LoadProgram,
    /// Attaching the XDP program.
    AttachProgram,
    /// Opening the AF_XDP socket.
    OpenSocket,
    /// Registering the frame memory.
    RegisterMemory,
    /// Making or mapping the rings.
    MakeRings,
    /// Binding the socket to its queue.
    Bind,
    /// Turning busy polling on.
    BusyPoll,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interface => "cannot ask about the interface",
            Self::OpenTun => "cannot open /dev/net/tun",
            Self::CreateTap => "cannot make the TAP interface",
            Self::TapOffload => "cannot set the offloads of the TAP interface",
            Self::Carrier => "cannot set the carrier",
            Self::SetMtu => "cannot set the MTU",
            Self::BringUp => "cannot bring the interface up",
            Self::Promiscuous => "cannot receive packets to another hardware address",
            Self::CreateMap => "cannot make a map for the XDP program",
            Self::UpdateMap => "cannot write to a map of the XDP program",
            Self::LoadProgram => "cannot load the XDP program",
            Self::AttachProgram => "cannot attach the XDP program",
            Self::OpenSocket => "cannot open an AF_XDP socket",
            Self::RegisterMemory => "cannot register the frame memory with the kernel",
            Self::MakeRings => "cannot make the rings of the AF_XDP socket",
            Self::Bind => "cannot bind the AF_XDP socket to its queue",
            Self::BusyPoll => "cannot turn busy polling on",
        })
    }
}

/// What went wrong with a port.
#[derive(Debug)]
pub enum Cause {
    /// The interface's name is empty, longer than 15 bytes, or contains `/` or NUL.
    InterfaceName {
        /// The name.
        interface: String,
    },
    /// No such interface in this network namespace.
    NoInterface {
        /// The name.
        interface: String,
    },
    /// The interface is down.
    InterfaceDown {
        /// The name.
        interface: String,
    },
    /// The interface's MTU is smaller than the port's.
    InterfaceMtu {
        /// The name.
        interface: String,
        /// Its MTU in bytes.
        has: u32,
        /// The port's.
        wanted: u16,
    },
    /// A packet as long as the MTU allows does not fit into a frame of this memory.
    FrameSize {
        /// The MTU in bytes.
        mtu: u32,
        /// Bytes of an Ethernet frame that fit.
        room: usize,
        /// `frame_size` that would do; `None` when none does.
        frame_size: Option<usize>,
    },
    /// The interface has another number of receive queues than there are cores to serve them.
    Queues {
        /// The name.
        interface: String,
        /// Receive queues it has.
        has: u16,
        /// Cores.
        wanted: u16,
    },
    /// A queue that the device does not have.
    NoQueue {
        /// Its number.
        queue: u16,
        /// How many there are.
        has: u16,
    },
    /// Another XDP program is attached to the interface.
    ProgramBusy {
        /// The name.
        interface: String,
    },
    /// Another socket is bound to the queue, or another program uses the TAP.
    QueueBusy {
        /// The name.
        interface: String,
        /// The queue.
        queue: u16,
    },
    /// The driver has no native XDP, or not in the interface's present state.
    NoNativeXdp {
        /// The name.
        interface: String,
        /// What the kernel said.
        errno: i32,
    },
    /// The driver has no zero-copy mode.
    NoZeroCopy {
        /// The name.
        interface: String,
    },
    /// Packets of the port's MTU take several buffers, which the kernel's AF_XDP does not have.
    NoMultiBuffer {
        /// The name.
        interface: String,
    },
    /// The kernel has no AF_XDP.
    NoXdpSockets,
    /// The limit on locked memory does not allow registering the frames.
    LockedMemory {
        /// Bytes of frame memory.
        bytes: usize,
    },
    /// The kernel has no TUN/TAP driver, or its device node is missing.
    NoTun,
    /// A privilege is missing.
    NotPermitted {
        /// For what.
        step: Step,
    },
    /// Anything else the kernel refused.
    System {
        /// What was asked.
        step: Step,
        /// Its answer.
        errno: i32,
    },
    /// DPDK did not start, or not for this device.
    #[cfg(feature = "dpdk")]
    Dpdk(super::dpdk::DpdkError),
    /// The port is for DPDK, and this program was built without it or did not start it.
    NoDpdk,
    /// A capture file that cannot be used.
    Pcap {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        fault: PcapFault,
    },
}

impl Cause {
    /// The cause for a refused `step`, by the errno that means the same everywhere.
    pub(super) fn system(step: Step, errno: i32) -> Self {
        match errno {
            libc::EPERM | libc::EACCES => Self::NotPermitted { step },
            _ => Self::System { step, errno },
        }
    }

    /// The cause for a `step` that has just failed in the C library.
    pub(super) fn last(step: Step) -> Self {
        Self::system(step, last_errno())
    }

    /// Names the port.
    pub(super) fn of(self, port: &str) -> PortError {
        PortError { port: port.to_owned(), cause: self }
    }
}

/// `errno` of the system call that has just failed on this thread.
pub(super) fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port \"{}\": {}", self.port, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InterfaceName { interface } => {
                write!(f, "\"{interface}\" is not an interface name: 1 to 15 bytes without `/`")
            }
            Self::NoInterface { interface } => write!(
                f,
                "there is no interface {interface} in this network namespace; `ip link` lists those there are"
            ),
            Self::InterfaceDown { interface } => {
                write!(f, "interface {interface} is down; bring it up: `ip link set {interface} up`")
            }
            Self::InterfaceMtu { interface, has, wanted } => write!(
                f,
                "interface {interface} has an MTU of {has} bytes and the port wants {wanted}; set `mtu = {has}`, or raise it: \
                 `ip link set {interface} mtu {wanted}`"
            ),
            Self::FrameSize { mtu, room, frame_size } => frame_size_text(f, *mtu, *room, *frame_size),
            Self::Queues { interface, has, wanted } => write!(
                f,
                "interface {interface} has {has} receive queue(s) for {wanted} core(s); each core serves one: \
                 `ethtool -L {interface} combined {wanted}` (veth: `rx {wanted} tx {wanted}`), or list {has} core(s) in \
                 [runtime] cores"
            ),
            Self::NoQueue { queue, has } => write!(f, "there is no queue {queue}: the port has {has}"),
            Self::ProgramBusy { interface } => write!(
                f,
                "another XDP program is attached to {interface}; `bpftool net` shows it, `ip link set {interface} xdp off` \
                 removes one that a killed program left behind"
            ),
            Self::QueueBusy { interface, queue } => write!(
                f,
                "queue {queue} of {interface} is in use by another program; stop it (`ss --xdp -p` and `lsof /dev/net/tun` \
                 name it)"
            ),
            Self::NoNativeXdp { interface, errno } => write!(
                f,
                "the driver of {interface} refuses native XDP ({}); set `xdp_mode = \"generic\"` or \"auto\"; a driver that has \
                 it may want a smaller MTU or as many receive queues as its peer has transmit queues",
                io::Error::from_raw_os_error(*errno)
            ),
            Self::NoZeroCopy { interface } => write!(
                f,
                "the driver of {interface} has no zero-copy AF_XDP (or not in generic mode); set `zero_copy = \"auto\"`"
            ),
            Self::NoMultiBuffer { interface } => multi_buffer_text(f, interface),
            Self::NoXdpSockets => f.write_str(
                "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS); use another kernel, or `driver = \"tap\"` or \"dpdk\"",
            ),
            Self::LockedMemory { bytes } => write!(
                f,
                "the limit on locked memory is below the {bytes} bytes of frames; give the service CAP_IPC_LOCK, set \
                 `LimitMEMLOCK=infinity` (systemd) or `ulimit -l unlimited`, or lower frames_per_core"
            ),
            Self::NoTun => f.write_str(
                "there is no /dev/net/tun; `modprobe tun`, and in a container pass the device (`--device /dev/net/tun`)",
            ),
            Self::NotPermitted { step } => write!(
                f,
                "{step}: not permitted; run as root or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
            ),
            Self::System { step, errno } => write!(f, "{step}: {}", io::Error::from_raw_os_error(*errno)),
            #[cfg(feature = "dpdk")]
            Self::Dpdk(error) => error.fmt(f),
            Self::NoDpdk => f.write_str(
                "`driver = \"dpdk\"` is not available: build with the `dpdk` feature (on by default), or use `af_xdp` or `tap`",
            ),
            Self::Pcap { path, fault } => write!(f, "{}: {fault}", path.display()),
        }
    }
}

fn multi_buffer_text(f: &mut fmt::Formatter<'_>, interface: &str) -> fmt::Result {
    write!(
        f,
        "packets of {interface} take more than one buffer, for which AF_XDP needs Linux 6.6; set `mtu` to 3818 or less, or use \
         `driver = \"tap\"` or \"dpdk\""
    )
}

fn frame_size_text(f: &mut fmt::Formatter<'_>, mtu: u32, room: usize, enough: Option<usize>) -> fmt::Result {
    write!(f, "an MTU of {mtu} bytes does not fit: a frame has room for {room} bytes with the Ethernet header; ")?;
    match enough {
        Some(size) => write!(f, "set [runtime] frame_size = {size}, or lower the MTU of the interface"),
        None => f.write_str("lower the MTU of the interface (`ip link set … mtu …`)"),
    }
}

impl core::error::Error for PortError {}
impl core::error::Error for Cause {}
