//! Binding a thread to a processor, and keeping others away from it.
#![allow(unsafe_code)] // sched_setaffinity and setpriority are system calls; std has no such thing.

use std::io;

/// Binds the calling thread to processor `cpu`, for good.
///
/// # Errors
/// The processor does not exist, is offline, or is not among those this process may use (cgroup, taskset).
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is a plain bit array for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: `cpu` is within the set (checked above), and the set is live for both calls; pid 0 is the calling thread.
    let result = unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How much less a thread that makes way may claim of a processor that it must share: a tenth of a core's share.
const NICE: i32 = 10;

/// Keeps the calling thread, and those it starts from now on, out of the way of threads that are pinned to `cpus`: on other processors
/// if this process may use any, and where it has to share one, with a smaller claim to it. Returns whether it shares.
///
/// # Errors
/// The kernel refuses, which it has no reason to.
pub fn make_way(cpus: &[usize]) -> io::Result<bool> {
    // SAFETY: cpu_set_t is a plain bit array for which all zeroes is the empty set.
    let (mut set, mut others): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { core::mem::zeroed() };
    // SAFETY: the set is live and as long as said; pid 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut shares = true;
    for cpu in (0..libc::CPU_SETSIZE as usize).filter(|cpu| !cpus.contains(cpu)) {
        // SAFETY: `cpu` is within both sets, which are live.
        unsafe {
            if libc::CPU_ISSET(cpu, &set) {
                libc::CPU_SET(cpu, &mut others);
                shares = false;
            }
        }
    }
    if !shares {
        // SAFETY: as in `pin`.
        if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const others) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: takes numbers only; in Linux 0 is the calling thread, not the process.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(shares)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may start threads, look at the clock and sleep")]
mod tests {
    use super::*;

    fn own_nice() -> i32 {
        // SAFETY: takes numbers only.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn a_thread_that_makes_way_leaves_and_claims_less() {
        let before = own_nice();
        std::thread::spawn(|| {
            let cpus = std::thread::available_parallelism().unwrap().get();
            pin(0).unwrap();
            assert!(make_way(&[0]).unwrap(), "it may use no other");
            assert_eq!(std::thread::spawn(own_nice).join().unwrap(), NICE, "nor do those it starts");
            let free = std::thread::spawn(move || {
                // Back on all, as a thread that was never pinned.
                let all: Vec<usize> = (0..cpus).collect();
                let shares = make_way(&all[1..]).unwrap();
                (shares, std::thread::available_parallelism().unwrap().get())
            });
            assert_eq!(free.join().unwrap(), (false, 1));
        })
        .join()
        .unwrap();
        assert_eq!(own_nice(), before, "it is a thread's own");
    }

    #[test]
    fn a_processor_that_is_not_there_is_an_error() {
        std::thread::spawn(|| {
            pin(0).unwrap();
            assert_eq!(pin(1000).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            assert_eq!(pin(1 << 20).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        })
        .join()
        .unwrap();
    }
}
