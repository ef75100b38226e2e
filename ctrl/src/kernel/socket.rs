//! A question to the kernel and its answer.

use std::io;

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::wire::{Message, Messages, Request, kind};

/// The kernel answers such questions at once, on the same thread.
const ANSWERS: usize = 64;
/// Datagrams of a dump: some thousand links are in a few hundred.
const DATAGRAMS: usize = 8192;
/// Longest datagram that is read; a link's description takes some 2 KiB.
const LONGEST: usize = 32 * 1024;

/// A socket for one question at a time.
pub(super) struct Questions {
    socket: Socket,
    sequence: u32,
}

impl Questions {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for all of something; what `read` takes of each.
    pub(super) fn dump<T>(&mut self, request: Request, read: impl Fn(&Message<'_>) -> Option<T>) -> io::Result<Vec<T>> {
        self.sequence += 1;
        self.socket.send(&request.numbered(self.sequence), 0)?;
        let (mut all, mut buffer) = (Vec::new(), Vec::with_capacity(LONGEST));
        for _ in 0..DATAGRAMS {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            for message in Messages(&buffer).filter(|message| message.sequence == self.sequence) {
                match message.kind {
                    kind::DONE if message.errno() <= 0 => return Ok(all),
                    kind::DONE | kind::ERROR => return Err(io::Error::from_raw_os_error(message.errno())),
                    _ => all.extend(read(&message)),
                }
            }
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Asks for something to be done; waits until it is.
    pub(super) fn command(&mut self, request: Request) -> io::Result<()> {
        self.ask(request, |_| ()).map(drop)
    }

    /// Asks; the last message before the acknowledgement that is not one itself, as `read` takes it.
    pub(super) fn ask<T>(&mut self, request: Request, read: impl Fn(&[u8]) -> T) -> io::Result<Option<T>> {
        self.sequence += 1;
        self.socket.send(&request.numbered(self.sequence), 0)?;
        let mut answer = None;
        let mut buffer = Vec::with_capacity(LONGEST);
        for _ in 0..ANSWERS {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            for message in Messages(&buffer).filter(|message| message.sequence == self.sequence) {
                match (message.kind, message.errno()) {
                    (kind::ERROR, 0) => return Ok(answer),
                    (kind::ERROR, errno) => return Err(io::Error::from_raw_os_error(errno)),
                    _ => answer = Some(read(message.body)),
                }
            }
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }
}
