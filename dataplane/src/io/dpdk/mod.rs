//! Ports on DPDK: any poll-mode driver, physical or virtual, that is installed.
//!
//! [`Eal::init`] starts DPDK once per process. [`DpdkPort::open`] finds or hot-adds a device, configures it and starts it; it
//! runs on the management thread. [`DpdkPort::queue`] gives a [`DpdkSeed`] per core, and [`DpdkSeed::attach`] makes of it, on
//! the core's own thread, the [`DpdkQueue`] that the worker polls.
//!
//! - **Memory.** Packets are mbufs in pools that live as long as the process, so a frame may outlive its port. Ports share a pool
//!   while it has buffers to spare ([`Eal::provide`]): then drivers that register their memory (`net_af_xdp`) forward
//!   between each other without a copy. A frame of other memory (TCP's own segments) is copied into an mbuf and counted.
//! - **Threads.** Cores are our own pinned threads, not lcores. `attach` registers the thread with the EAL so that it has a pool
//!   cache; the registration ends with the thread.
//! - **One call per burst** crosses into C; the fields of an mbuf are read here.
//! - **`net_af_xdp`** sets up one device per queue when several queues are wanted (`start_queue=N,queue_count=1`), since interfaces
//!   without combined channels, such as veth, offer it one queue only. It attaches its XDP program by netlink: closing the
//!   port detaches it, but a killed process leaves it behind (with promiscuous mode on) until the next start on that
//!   interface, or `ip link set dev IF xdp off`. Our own `af_xdp` port does not have that flaw.
//! - **`net_tap`** sends the process a real-time signal for packets that arrive: system calls of any thread may return `EINTR`.
//! - **Sleeping.** These drivers are polled; a core with such a port has no descriptor to sleep on.
#![allow(unsafe_code)] // libdpdk is C: devices, queues and mbufs are handled by number and pointer.

mod args;
mod device;
mod eal;
mod error;
mod mbuf;
mod pool;
mod port;
mod queue;

pub use self::{
    eal::Eal,
    error::{DpdkError, Step},
    port::{DpdkPort, DpdkPortSpec, DpdkStatistics, Link},
    queue::{DpdkQueue, DpdkSeed},
};

pub(crate) use self::mbuf::free_mbuf;
