//! Busy polling: the receive work of a queue is done by the core that polls it, inside its own system calls, instead of by an
//! interrupt on whichever processor takes it.
//!
//! Two things make that so. The socket asks the kernel to prefer it (`SO_PREFER_BUSY_POLL`); and the interface holds its
//! interrupts back for as long as somebody polls (`napi_defer_hard_irqs`, `gro_flush_timeout`): a timer that each poll winds up
//! again, and whose end means that the core has gone to sleep or died.
//!
//! It works where the kernel knows which NAPI instance serves the queue of a socket. veth does not say (Linux 6.18), and there
//! the second part alone would only delay packets by the timer: so nothing is changed until the socket has seen an instance.
#![expect(
    clippy::disallowed_methods,
    reason = "an interface's settings are files to the kernel; read when a port opens and closes"
)]

use std::{
    fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use super::syscall;
use crate::io::link::Link;

/// Timer ends in a row without a packet after which interrupts are back, so that a sleeping core is woken at once.
const EMPTY_TIMERS: &str = "2";

/// Whether the kernel knows the NAPI instance of the socket's queue: from when it is bound (Linux 6.16), or from the first packet.
pub(super) fn is_known(socket: BorrowedFd<'_>) -> bool {
    syscall::option::<i32>(socket, libc::SOL_SOCKET, SO_INCOMING_NAPI_ID).is_ok_and(|id| id != 0)
}

/// An interface that holds its interrupts back. Its own settings return on drop; a process that is killed leaves these behind,
/// which the kernel's stack gets along with: packets then come in bursts of up to the timer.
#[derive(Debug)]
pub(super) struct Deferral {
    saved: Vec<(PathBuf, String)>,
}

impl Deferral {
    /// Starts to hold back the interrupts of `link` for up to `us` microseconds after a poll. Where this is not permitted, or
    /// sysfs shows another network namespace's interfaces, all stays as it is: polling then shares the work with interrupts.
    pub(super) fn start(link: &Link, us: u32) -> Self {
        Self::within(Path::new("/sys/class/net"), link, us)
    }

    fn within(interfaces: &Path, link: &Link, us: u32) -> Self {
        let mut deferral = Self { saved: Vec::new() };
        let directory = interfaces.join(&link.name);
        let index = fs::read_to_string(directory.join("ifindex"));
        if index.is_ok_and(|index| index.trim() == link.index.to_string()) {
            // The timer first: without it interrupts held back would never return.
            let timer = (u64::from(us) * 1000).to_string();
            let _ = deferral.set(directory.join("gro_flush_timeout"), &timer)
                && deferral.set(directory.join("napi_defer_hard_irqs"), EMPTY_TIMERS);
        }
        deferral
    }

    fn set(&mut self, file: PathBuf, value: &str) -> bool {
        let Ok(before) = fs::read_to_string(&file) else { return false };
        let written = fs::write(&file, value).is_ok();
        if written {
            self.saved.push((file, before));
        }
        written
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        for (file, value) in self.saved.drain(..).rev() {
            // An interface that has gone needs nothing back.
            let _ = fs::write(file, value);
        }
    }
}

/// `asm-generic/socket.h`.
const SO_INCOMING_NAPI_ID: i32 = 56;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::MacAddr;

    fn link(index: u32) -> Link {
        Link { name: "eth9".to_owned(), index, mac: MacAddr::default(), mtu: 1500, up: true, queues: 1 }
    }

    /// A directory like sysfs's with one interface, number 7.
    fn interfaces(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("tidegate-napi-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("eth9")).unwrap();
        for (file, value) in [("ifindex", "7\n"), ("gro_flush_timeout", "0\n"), ("napi_defer_hard_irqs", "1\n")] {
            fs::write(root.join("eth9").join(file), value).unwrap();
        }
        root
    }

    fn settings(root: &Path) -> [String; 2] {
        ["gro_flush_timeout", "napi_defer_hard_irqs"]
            .map(|file| fs::read_to_string(root.join("eth9").join(file)).unwrap())
    }

    #[test]
    fn settings_return_when_it_ends() {
        let root = interfaces("return");
        let deferral = Deferral::within(&root, &link(7), 50);
        assert_eq!(settings(&root), ["50000", "2"]);
        drop(deferral);
        assert_eq!(settings(&root), ["0\n", "1\n"]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn another_namespaces_interface_of_that_name_is_left_alone() {
        let root = interfaces("foreign");
        let deferral = Deferral::within(&root, &link(8), 50);
        assert_eq!(settings(&root), ["0\n", "1\n"]);
        drop(deferral);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn interrupts_are_not_held_back_without_the_timer() {
        let root = interfaces("half");
        fs::remove_file(root.join("eth9/gro_flush_timeout")).unwrap();
        let _deferral = Deferral::within(&root, &link(7), 50);
        assert_eq!(fs::read_to_string(root.join("eth9/napi_defer_hard_irqs")).unwrap(), "1\n");
        fs::remove_dir_all(root).unwrap();
    }
}
