//! The environment abstraction layer: DPDK's start, its memory, its idea of threads.

use core::{cell::RefCell, ffi::c_char, fmt, mem::size_of, ptr};
use std::{ffi::CString, fs};

use tidegate_dpdk_sys as sys;

use super::{
    args,
    error::DpdkError,
    pool::{Claim, Pool},
};

/// Proof that DPDK runs in this process, and the owner of its packet memory. It stays on the management thread.
///
/// There is no stop: frames may lie anywhere in the process, and unmapping their memory under them would be unsound. The kernel
/// takes everything back at exit; devices are closed by their [`DpdkPort`](super::DpdkPort).
pub struct Eal {
    pools: RefCell<Vec<Pool>>,
}

impl Eal {
    /// Starts DPDK with the operator's EAL arguments (no program name). Unless they say otherwise, one lcore, no files shared
    /// with other processes, and no telemetry socket are asked for. The calling thread keeps its CPU affinity.
    ///
    /// # Errors
    /// It runs already, an argument is not text for C, or the EAL refuses (no hugepages, no permission, unknown options).
    pub fn init(args: &[String]) -> Result<Self, DpdkError> {
        let line = args::command_line(args, first_cpu());
        // The operator's arguments come last.
        let own = line.len() - args.len();
        let line = line.into_iter().enumerate().map(|(position, arg)| {
            CString::new(arg).map_err(|_| DpdkError::Argument { index: position.saturating_sub(own) })
        });
        let line = line.collect::<Result<Vec<_>, _>>()?;
        let count = i32::try_from(line.len()).map_err(|_| DpdkError::Argument { index: line.len() })?;
        // Once per process, so the leak is bounded: the EAL and `openlog` keep pointers into these strings.
        let argv: &mut [*mut c_char] =
            Box::leak(line.into_iter().map(CString::into_raw).chain([ptr::null_mut()]).collect());
        let affinity = affinity();
        // SAFETY: `argv` holds `count` terminated strings and a null, all leaked, so they live as long as the EAL. The EAL
        // itself refuses a second start with an atomic test.
        let parsed = unsafe { sys::rte_eal_init(count, argv.as_mut_ptr()) };
        // SAFETY: reads a thread-local integer.
        let errno = unsafe { sys::tidegate_rte_errno() };
        restore(affinity);
        if parsed >= 0 {
            return Ok(Self { pools: RefCell::default() });
        }
        Err(match errno {
            libc::EALREADY => DpdkError::AlreadyStarted,
            errno => DpdkError::Start { errno, free_hugepages: free_hugepages() },
        })
    }

    /// Makes a pool of `buffers` packet buffers for packets up to `mtu`, that ports opened later share. Drivers that register
    /// memory forward between ports of one pool without a copy. Without this call, a port makes a pool for itself.
    ///
    /// # Errors
    /// DPDK has no memory for it.
    pub fn provide(&self, buffers: u32, mtu: u16) -> Result<(), DpdkError> {
        self.add_pool(buffers, Pool::room(mtu), main_socket()).map(drop)
    }

    /// Takes `buffers` of a pool on NUMA node `socket` (negative: any) with space for `mtu`, making one if none has them to spare.
    pub(super) fn claim(&self, buffers: u32, mtu: u16, socket: i32) -> Result<Claim, DpdkError> {
        let room = Pool::room(mtu);
        let fitting = self.pools.borrow_mut().iter_mut().find_map(|pool| pool.claim(buffers, room, socket));
        if let Some(claim) = fitting {
            return Ok(claim);
        }
        let index = self.add_pool(buffers, room, if socket < 0 { main_socket() } else { socket })?;
        let claim = self.pools.borrow_mut()[index].claim(buffers, room, socket);
        claim.ok_or(DpdkError::Buffers { count: buffers, room, errno: libc::ENOMEM })
    }

    fn add_pool(&self, buffers: u32, room: u16, socket: i32) -> Result<usize, DpdkError> {
        let mut pools = self.pools.borrow_mut();
        let index = pools.len();
        pools.push(Pool::new(index, buffers, room, socket)?);
        Ok(index)
    }
}

impl fmt::Debug for Eal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eal").field("pools", &self.pools.borrow().len()).finish()
    }
}

/// Registers the calling thread with the EAL until it ends, so that mempools keep a cache for it. If the EAL has no lcore left,
/// everything works, more slowly.
pub(super) fn register_thread() {
    thread_local! {
        static REGISTRATION: Registration = Registration::new();
    }
    REGISTRATION.with(|_| {});
}

struct Registration {
    ours: bool,
}

impl Registration {
    fn new() -> Self {
        // SAFETY: reads a thread-local integer.
        let known = unsafe { sys::rte_lcore_id() } != sys::LCORE_ID_ANY;
        // SAFETY: callers hold something made from an `Eal`, so the EAL runs. The thread is unregistered when it ends, which the
        // EAL demands because it cannot see that happen.
        let ours = !known && unsafe { sys::rte_thread_register() } == 0;
        Self { ours }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.ours {
            // SAFETY: this thread registered itself in `new`, and thread-locals are dropped on their own thread.
            unsafe { sys::rte_thread_unregister() }
        }
    }
}

/// The NUMA node of the EAL's main lcore.
fn main_socket() -> i32 {
    // SAFETY: reads a thread-local; on threads the EAL does not know it is `SOCKET_ID_ANY`, which callers accept.
    i32::try_from(unsafe { sys::rte_socket_id() }).unwrap_or(sys::SOCKET_ID_ANY)
}

fn affinity() -> Option<libc::cpu_set_t> {
    // SAFETY: a CPU set is a bit array; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: writes at most the given size into `set`; 0 is the calling thread.
    let got = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    (got == 0).then_some(set)
}

/// `rte_eal_init` pins its caller to the main lcore's CPU. The management thread wants to stay where it may run.
fn restore(affinity: Option<libc::cpu_set_t>) {
    if let Some(set) = affinity {
        // SAFETY: `set` was filled by `sched_getaffinity`. Failure leaves the thread pinned, which is slower and not wrong.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    }
}

/// The first CPU this process may run on; the EAL's own lcore does nothing there after the start.
fn first_cpu() -> usize {
    let Some(set) = affinity() else { return 0 };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: `cpu` is below CPU_SETSIZE, the size of the set.
        .find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .unwrap_or(0)
}

/// Free hugepages of all sizes, for the message when DPDK finds no memory; 0 when the kernel does not say.
#[allow(clippy::disallowed_methods)] // Read once, when the start has failed: the figure makes the message useful.
fn free_hugepages() -> u64 {
    let Ok(sizes) = fs::read_dir("/sys/kernel/mm/hugepages") else { return 0 };
    sizes
        .filter_map(|size| {
            fs::read_to_string(size.ok()?.path().join("free_hugepages")).ok()?.trim().parse::<u64>().ok()
        })
        .sum()
}
