//! AF_XDP ports: packets of a network interface, taken from its driver before the kernel's network stack sees them.
//!
//! The rooms: [`syscall`] speaks to the kernel; [`bpf`] spells instructions; [`program`] decides which packets are ours;
//! [`ring`] shares memory with the kernel; [`umem`] says which chunks the kernel has; [`socket`] binds a queue; [`napi`] has it
//! polled by our core; [`port`] moves packets, [`gather`] those in pieces; [`device`] puts them together.
//!
//! All sockets of a core share the registration of its arena (`XDP_SHARED_UMEM`), so that a frame received by one port is sent
//! by another without a copy by us. Everything is tied to descriptors: when the process ends, however it ends, the program
//! is detached and the interface is the kernel's again.

mod bpf;
mod device;
mod gather;
mod napi;
mod port;
mod program;
mod ring;
mod socket;
mod syscall;
mod umem;

pub(super) use device::{AfXdpDevice, AfXdpSeed};
pub use port::AfXdpPort;
