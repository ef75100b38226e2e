//! What can go wrong at start, with the cause in DPDK's words and a remedy in ours.

use core::{ffi::CStr, fmt};

use tidegate_dpdk_sys as sys;

/// Where opening a port failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Creating the device or finding its driver.
    Probe,
    /// Asking what the device can do.
    Describe,
    /// Setting queues and offloads.
    Configure,
    /// Setting up this receive queue.
    RxQueue(u16),
    /// Setting up this transmit queue.
    TxQueue(u16),
    /// Setting the hardware address.
    Address,
    /// Setting the MTU.
    Mtu,
    /// Switching the address filter off.
    Filter,
    /// Starting the device.
    Start,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe => f.write_str("cannot create the device"),
            Self::Describe => f.write_str("cannot ask the device what it can do"),
            Self::Configure => f.write_str("cannot configure the device"),
            Self::RxQueue(queue) => write!(f, "cannot set up receive queue {queue}"),
            Self::TxQueue(queue) => write!(f, "cannot set up transmit queue {queue}"),
            Self::Address => f.write_str("cannot set the MAC address"),
            Self::Mtu => f.write_str("cannot set the MTU"),
            Self::Filter => f.write_str("cannot receive packets for other addresses"),
            Self::Start => f.write_str("cannot start the device"),
        }
    }
}

/// Why DPDK or a port on it could not start. All are the operator's to mend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DpdkError {
    /// The EAL runs already: it starts once per process.
    AlreadyStarted,
    /// An argument for DPDK contains a NUL byte.
    Argument {
        /// Its position.
        index: usize,
    },
    /// The EAL did not start.
    Start {
        /// `rte_errno`.
        errno: i32,
        /// Free hugepages on the machine, of all sizes.
        free_hugepages: u64,
    },
    /// No memory for a pool of packet buffers.
    Buffers {
        /// Buffers in the pool.
        count: u32,
        /// Bytes per packet.
        room: u16,
        /// `rte_errno`.
        errno: i32,
    },
    /// The device string names a network interface that does not exist.
    NoInterface {
        /// The port.
        port: String,
        /// The interface.
        interface: String,
    },
    /// More queues than the device has.
    Queues {
        /// The port.
        port: String,
        /// Queues wanted.
        wanted: u16,
        /// Queues there are.
        most: u16,
    },
    /// Packets as long as wanted are longer than the device takes.
    Mtu {
        /// The port.
        port: String,
        /// Its driver.
        driver: String,
        /// Bytes of an IP packet wanted.
        wanted: u16,
        /// Bytes of the longest that the device takes.
        most: u16,
    },
    /// The queue does not exist, or a core has it already.
    QueueTaken {
        /// The port.
        port: String,
        /// The queue.
        queue: u16,
    },
    /// A step of opening the port failed.
    Port {
        /// The port.
        port: String,
        /// The device string.
        device: String,
        /// What failed.
        step: Step,
        /// The error number, positive.
        errno: i32,
    },
}

impl fmt::Display for DpdkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted => f.write_str("DPDK runs already in this process; it starts once"),
            Self::Argument { index } => write!(f, "argument {index} for DPDK contains a NUL byte"),
            Self::Start { errno, free_hugepages } => {
                write!(f, "DPDK did not start: {}; {}", Cause(*errno), start_remedy(*errno, *free_hugepages))
            }
            Self::Buffers { count, room, errno } => write!(
                f,
                "DPDK has no memory for {count} packet buffers of {room} bytes: {}; {MEMORY_REMEDY}",
                Cause(*errno)
            ),
            Self::NoInterface { port, interface } => {
                write!(f, "port {port:?}: no network interface {interface:?} (`ip link` lists them)")
            }
            Self::Queues { port, wanted, most } => {
                write!(f, "port {port:?}: {wanted} queues wanted, the device has {most}; lower `queues` or the cores")
            }
            Self::Mtu { port, driver, wanted, most } => write!(
                f,
                "port {port:?}: {driver} takes IP packets of at most {most} bytes, not {wanted}; lower `mtu`, or use another driver"
            ),
            Self::QueueTaken { port, queue } => {
                write!(f, "port {port:?}: queue {queue} does not exist or is in use by a core")
            }
            Self::Port { port, device, step, errno } => {
                write!(f, "port {port:?} ({device}): {step}: ")?;
                if *step == Step::Probe && *errno == libc::EPERM {
                    // Virtual drivers answer -1, whatever happened.
                    f.write_str("the driver refused, for the reason it wrote to the standard error above")?;
                } else {
                    write!(f, "{}", Cause(*errno))?;
                }
                write!(f, "; {}", port_remedy(*step, *errno, device))
            }
        }
    }
}

impl core::error::Error for DpdkError {}

/// An error number in DPDK's words.
struct Cause(i32);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: `rte_strerror` returns a terminated string that is constant or in a buffer of this thread's own, valid until
        // its next call in this thread; it is copied out before this function returns.
        let text = unsafe { CStr::from_ptr(sys::rte_strerror(self.0)) };
        write!(f, "{} (error {})", text.to_string_lossy(), self.0)
    }
}

fn start_remedy(errno: i32, free_hugepages: u64) -> &'static str {
    match errno {
        libc::EINVAL | libc::ENOENT => "check `dpdk.eal_args` against `dpdk-testpmd --help`",
        _ if free_hugepages == 0 => {
            "no hugepage is free: `sysctl vm.nr_hugepages=256`, or do without by `--no-huge`, `-m`, `256` in `dpdk.eal_args`"
        }
        libc::EACCES | libc::EPERM => "run as root, or with CAP_IPC_LOCK and CAP_SYS_ADMIN",
        libc::ENOMEM => "ask for less memory (`-m`) or free hugepages (`sysctl vm.nr_hugepages`)",
        _ => "the lines above on the standard error are the EAL's own; `--log-level=lib.eal:debug` shows more",
    }
}

fn port_remedy(step: Step, errno: i32, device: &str) -> &'static str {
    let af_xdp = device.contains("net_af_xdp");
    match (step, errno) {
        (Step::Probe, libc::ENODEV | libc::ENOENT) => {
            "check its spelling; a NIC must be bound to vfio-pci (`dpdk-devbind.py --status`), and a virtual device needs its \
             driver's plugin, librte_net_*.so"
        }
        (Step::Probe, libc::EEXIST) => {
            "a device that was given to the EAL (`--vdev`, PCI scan) opens once: name it in `device` with its arguments instead"
        }
        (Step::Probe, libc::EINVAL) => "check the arguments of the device string",
        (Step::Probe, _) if af_xdp => {
            "net_af_xdp needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, and queues that exist (`ethtool -l IF`)"
        }
        (Step::RxQueue(_), libc::EBUSY | libc::EEXIST | libc::EINVAL | libc::EPERM) if af_xdp => {
            "either another XDP program holds the interface (`ip link set dev IF xdp off`), or CAP_NET_ADMIN, CAP_NET_RAW or CAP_BPF \
             is missing"
        }
        (_, libc::ENOMEM) => MEMORY_REMEDY,
        (Step::Mtu, _) => "choose an MTU that the driver takes",
        (_, libc::EPERM | libc::EACCES) => "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK",
        (_, libc::EBUSY) => "another process uses the device; stop it",
        _ => "the driver's own lines on the standard error above say more",
    }
}

const MEMORY_REMEDY: &str =
    "ask for fewer buffers, or give DPDK more memory: `-m` in `dpdk.eal_args`, or `sysctl vm.nr_hugepages`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_port_cause_and_remedy() {
        let error = DpdkError::Port {
            port: "lan".to_owned(),
            device: "net_af_xdp0,iface=eth1".to_owned(),
            step: Step::RxQueue(0),
            errno: libc::EBUSY,
        };
        let text = error.to_string();
        for part in ["\"lan\"", "net_af_xdp0,iface=eth1", "receive queue 0", "Device or resource busy", "xdp off"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
        let text = DpdkError::Start { errno: libc::ENOMEM, free_hugepages: 0 }.to_string();
        assert!(text.contains("vm.nr_hugepages") && text.contains("--no-huge"), "{text}");
    }

    #[test]
    fn a_driver_that_says_minus_one_is_not_called_a_missing_permission() {
        let step = Step::Probe;
        let error = DpdkError::Port { port: "a".into(), device: "net_tap0".into(), step, errno: libc::EPERM };
        assert!(!error.to_string().contains("not permitted"));
    }
}
