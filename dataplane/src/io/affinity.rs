//! Binding a thread to a processor.
#![allow(unsafe_code)] // sched_setaffinity is a system call; std has no such thing.

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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may start threads, look at the clock and sleep")]
mod tests {
    use super::*;

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
