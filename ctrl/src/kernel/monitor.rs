//! Listens to what the kernel says about its routes, and reads them all at the start and whenever something was missed.
//!
//! One socket for questions and news: the kernel then orders what a reading shows and what happens meanwhile. A reading shows
//! links, next-hop objects and routes, one dump after the other; what was known and is not shown is gone at its end.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

use netlink_sys::{AsyncSocket as _, TokioSocket, protocols::NETLINK_ROUTE};

use super::filter::Filter;
use super::link::HostInterface;
use super::rib::Rib;
use super::route::{Object, Route};
use super::told::Changes;
use super::wire::{Message, Messages, Request, flag, kind, number};

/// What is listened to (`RTNLGRP_*`): links, addresses of both families, routes of both families, next-hop objects.
const GROUPS: [u32; 6] = [1, 5, 9, 7, 11, 32];
/// What a reading asks for, one after the other: kind, family, bytes of the fixed part.
const READING: [(u16, u8, usize); 4] = [
    (kind::GET_LINK, AF_UNSPEC, 16),
    (kind::GET_OBJECT, AF_UNSPEC, 8),
    (kind::GET_ROUTE, AF_INET, 12),
    (kind::GET_ROUTE, AF_INET6, 12),
];
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Asked for; the kernel gives what `net.core.rmem_max` allows. What does not fit is read again.
const RECEIVE_BUFFER: i32 = 32 << 20;
/// Room for a datagram: the kernel fills 32 KiB at most.
const DATAGRAM: usize = 64 * 1024;
/// Datagrams taken before others have their turn.
const AT_ONCE: usize = 128;
/// Changes that come within this time are published together.
const GATHER: Duration = Duration::from_millis(5);
/// Pause before a reading that something silent or an interrupted reading makes necessary.
const AGAIN: Duration = Duration::from_millis(200);
/// The interface is up (`IFF_UP`).
const UP: u32 = 1;
/// The table changed while it was dumped (`NLM_F_DUMP_INTR`).
const INTERRUPTED: u16 = 0x10;
/// Behind those with the same key (`NLM_F_APPEND`).
const APPEND: u16 = 0x800;

/// The kernel's routes over host links, as they change.
pub struct Monitor {
    socket: TokioSocket,
    /// The kernel's number for it.
    number: u32,
    buffer: Vec<u8>,
    rib: Rib,
    /// The dump under way: its place in [`READING`], and whether it was interrupted.
    dump: Option<(usize, bool)>,
    sequence: u32,
    /// When everything is to be read again.
    read_at: Option<Instant>,
    /// When the changes that there are may be published.
    publish_at: Option<Instant>,
    /// Nothing is published before this.
    not_before: Instant,
    counts: Counts,
}

/// What has happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Times everything was read.
    pub readings: u64,
    /// Times the kernel had more to say than the socket could hold.
    pub overruns: u64,
    /// Routes and next-hop objects not learnt because there are too many.
    pub refused: u64,
    /// Changes of routes that were published.
    pub routes: u64,
    /// Changes of next-hop objects that were published: of any number of routes each.
    pub objects: u64,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Starts listening; the first reading begins when it is waited for. Needs a tokio runtime.
    ///
    /// # Errors
    /// There is no netlink socket to be had.
    pub fn open(filter: Filter, hosts: &[HostInterface], now: Instant) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let number = socket.socket_mut().bind_auto()?.port_number();
        // A smaller buffer than asked for overruns sooner, which is noticed.
        let _ = socket.socket_ref().set_rx_buf_sz(RECEIVE_BUFFER);
        for group in GROUPS {
            socket.socket_mut().add_membership(group)?;
        }
        let ports: HashMap<u32, usize> = hosts.iter().map(|host| (host.index, host.number)).collect();
        Ok(Self {
            socket,
            number,
            buffer: Vec::with_capacity(DATAGRAM),
            rib: Rib::new(filter, ports),
            dump: None,
            sequence: 0,
            read_at: Some(now),
            publish_at: None,
            not_before: now,
            counts: Counts::default(),
        })
    }

    /// Starts listening if there is a host link; should that not be possible, says so and learns nothing.
    pub fn for_hosts(filter: Filter, hosts: &[HostInterface]) -> Option<Self> {
        if hosts.is_empty() {
            return None;
        }
        Self::open(filter, hosts, Instant::now())
            .inspect_err(|error| tracing::error!("no routes are learnt: the kernel gives no netlink socket: {error}"))
            .ok()
    }

    /// Waits until routes have changed and it is time to publish that. May be dropped and called again.
    pub async fn changed(&mut self) {
        loop {
            let now = Instant::now();
            if self.publish_at.is_some_and(|at| at <= now) {
                return;
            }
            if self.read_at.is_some_and(|at| at <= now) && self.dump.is_none() {
                self.begin();
            }
            // During a dump its end is the next event.
            let read_at = self.read_at.filter(|_| self.dump.is_none());
            let wake = [self.publish_at, read_at].into_iter().flatten().min();
            let wake = tokio::time::Instant::from_std(wake.unwrap_or(now + Duration::from_secs(3600)));
            let Self { socket, buffer, .. } = self;
            buffer.clear();
            let received = tokio::select! {
                received = poll_fn(|cx| socket.poll_recv(cx, buffer)) => received,
                () = tokio::time::sleep_until(wake) => continue,
            };
            self.listen(received.map(drop), Instant::now());
        }
    }

    /// What has changed; everything of it is published next.
    pub fn take_changes(&mut self) -> Changes {
        self.publish_at = None;
        let changes = self.rib.changes();
        self.counts.routes += changes.routes.len() as u64;
        self.counts.objects += changes.objects.len() as u64;
        changes
    }

    /// Prefixes that have a way, in all routing domains.
    pub fn routes(&self) -> usize {
        self.rib.told().routes().len()
    }

    /// What takes back all that was learnt.
    pub fn nothing(&self) -> Changes {
        self.rib.told().nothing()
    }

    /// Says when a publication ended and how long it took: the next leaves as much time to others.
    pub fn published(&mut self, now: Instant, took: Duration) {
        self.not_before = now + took;
    }

    /// Takes another filter, and reads everything again.
    pub fn refilter(&mut self, filter: Filter, now: Instant) {
        self.rib.refilter(filter);
        self.read_at = Some(now);
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        Counts { refused: self.rib.refused, ..self.counts }
    }

    /// Begins to read everything.
    fn begin(&mut self) {
        self.read_at = None;
        self.counts.readings += 1;
        self.rib.begin();
        self.ask(0, false);
    }

    /// Asks for one dump of a reading.
    fn ask(&mut self, place: usize, interrupted: bool) {
        let (kind, family, fixed) = READING[place];
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = vec![0; fixed];
        header[0] = family;
        let request = Request::new(kind, flag::DUMP, &header).numbered(self.sequence);
        self.dump = Some((place, interrupted));
        if let Err(error) = self.socket.socket_ref().send(&request, 0) {
            tracing::warn!("cannot ask the kernel for its routes: {error}; trying again");
            self.dump = None;
            self.read_at = Some(Instant::now() + AGAIN);
        }
    }

    /// Takes what was received into the buffer, and then what else the socket holds, or a good part of it.
    fn listen(&mut self, first: io::Result<()>, now: Instant) {
        let mut more = self.take(first, now);
        for _ in 0..AT_ONCE {
            if !more {
                break;
            }
            self.buffer.clear();
            let received = self.socket.socket_ref().recv(&mut self.buffer, 0).map(drop);
            more = self.take(received, now);
        }
        if std::mem::take(&mut self.rib.is_stale) {
            self.read_at = Some(self.read_at.map_or(now + AGAIN, |at| at.min(now + AGAIN)));
        }
        // What a reading has shown so far is not the whole; before its end nothing is published.
        if self.dump.is_none() && self.publish_at.is_none() && self.rib.has_changes() {
            self.publish_at = Some(self.not_before.max(now + GATHER));
        }
    }

    /// One attempt to receive; what came is in the buffer. Returns whether there may be more.
    fn take(&mut self, received: io::Result<()>, now: Instant) -> bool {
        match received {
            Ok(()) => self.hear(now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.counts.overruns += 1;
                // News were lost, not what was asked for: a dump under way goes on, and the next reading comes after it.
                match &mut self.dump {
                    Some((_, interrupted)) => *interrupted = true,
                    None => self.read_at = Some(now),
                }
            }
            Err(error) => {
                tracing::warn!("the kernel's routes: {error}");
                return false;
            }
        }
        true
    }

    /// A datagram.
    fn hear(&mut self, now: Instant) {
        let buffer = std::mem::take(&mut self.buffer);
        for message in Messages(&buffer) {
            // Others number their changes too.
            let ours = message.socket == self.number && message.sequence == self.sequence;
            let in_dump = ours && self.dump.is_some();
            if in_dump && message.flags & INTERRUPTED != 0 {
                self.dump = self.dump.map(|(place, _)| (place, true));
            }
            match message.kind {
                // A dump that the kernel gave up ends with its error; what it did not show is not gone.
                kind::DONE if in_dump && message.errno() <= 0 => self.dumped(now),
                // A kernel without next-hop objects.
                kind::DONE | kind::ERROR if in_dump && message.errno() == libc::EOPNOTSUPP => self.dumped(now),
                kind::DONE | kind::ERROR if in_dump => {
                    let error = io::Error::from_raw_os_error(message.errno());
                    tracing::warn!("the kernel does not show its routes: {error}; trying again");
                    (self.dump, self.read_at) = (None, Some(now + AGAIN));
                }
                _ => news(&mut self.rib, &message, in_dump),
            }
        }
        self.buffer = buffer;
    }

    /// A dump has ended: the next, or the end of the reading.
    fn dumped(&mut self, now: Instant) {
        let Some((place, interrupted)) = self.dump.take() else { return };
        if place + 1 < READING.len() {
            return self.ask(place + 1, interrupted);
        }
        if interrupted {
            // Something may have been passed over: what was not shown need not be gone.
            self.read_at = Some(now + AGAIN);
        } else {
            self.rib.end();
        }
    }
}

/// One message: a change, or an entry of a dump.
fn news(rib: &mut Rib, message: &Message<'_>, in_dump: bool) {
    match message.kind {
        kind::NEW_ROUTE => {
            if let Some(route) = Route::parse(message) {
                rib.add(route, in_dump || message.flags & APPEND != 0);
            }
        }
        kind::DELETE_ROUTE => {
            if let Some(route) = Route::parse(message) {
                rib.remove(&route);
            }
        }
        kind::NEW_OBJECT => {
            if let Some((id, object)) = Object::parse(message) {
                rib.add_object(id, object);
            }
        }
        kind::DELETE_OBJECT => {
            if let Some((id, _)) = Object::parse(message) {
                rib.remove_object(id);
            }
        }
        // With a device that goes down or loses an address, IPv4 routes go without a word.
        kind::NEW_LINK | kind::DELETE_LINK => {
            let (Some(device), Some(flags)) = (number(message.body, 4), number(message.body, 8)) else { return };
            let up = message.kind == kind::NEW_LINK && flags & UP != 0;
            rib.is_stale |= rib.set_up(device, up);
        }
        kind::DELETE_ADDRESS => {
            let device = number(message.body, 4);
            rib.is_stale |= device.is_some_and(|device| rib.knows(device));
        }
        _ => {}
    }
}

/// The changes that follow from what the kernel says in these datagrams, when its devices 1 to `ports` stand beside ports. Without a
/// socket: for those who say it in the kernel's place, the fuzz target among them.
pub fn changes_of<'a>(filter: Filter, ports: usize, datagrams: impl Iterator<Item = &'a [u8]>) -> Changes {
    let mut rib = Rib::new(filter, (0..ports).map(|port| (port as u32 + 1, port)).collect());
    for datagram in datagrams {
        for message in Messages(datagram) {
            news(&mut rib, &message, false);
        }
    }
    rib.changes()
}
