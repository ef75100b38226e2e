//! TCP peers made by hand. A segment says all that is needed to answer it, so an origin keeps nothing; a client keeps its
//! two sequence numbers.

use tidegate_dataplane::{frame::Frame, io::checksum::Sum, l7::app::App};

use super::{FAR, ORIGIN, PORTS, Rig, SERVICE};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// Bytes of a segment at most.
pub(crate) const MSS: usize = 1460;
/// Clients behind one address.
const PER_ADDRESS: usize = 50_000;
const FIRST_CLIENT: u32 = 0x0a40_0001;
const FIRST_PORT: u16 = 10_000;

/// A segment that the core has sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) near: (u32, u16),
    pub(crate) far: (u32, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Of an Ethernet frame; `None` if it is no TCP over IPv4.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        if frame[12..14] != [8, 0] || ip[9] != 6 {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]);
        let half = |at: usize| u16::from_be_bytes([ip[at], ip[at + 1]]);
        let header = 20 + usize::from(ip[32] >> 4) * 4;
        Some(Self {
            near: (word(12), half(20)),
            far: (word(16), half(22)),
            seq: word(24),
            ack: word(28),
            flags: ip[33],
            payload: &ip[header..usize::from(half(2))],
        })
    }

    /// The next sequence number of the sender.
    pub(crate) fn end(&self) -> u32 {
        let control = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        self.seq.wrapping_add(self.payload.len() as u32 + control)
    }
}

/// A segment to send to the core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) near: (u32, u16),
    pub(crate) far: (u32, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) payload: &'a [u8],
}

/// What a client knows of its connection.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Client {
    pub(crate) next: u32,
    pub(crate) expected: u32,
}

/// Addresses of the client of this number.
pub(crate) fn client_address(number: usize) -> (u32, u16) {
    (FIRST_CLIENT + (number / PER_ADDRESS) as u32, FIRST_PORT + (number % PER_ADDRESS) as u16)
}

/// The number of the client at these addresses.
pub(crate) fn client_number((address, port): (u32, u16)) -> usize {
    (address - FIRST_CLIENT) as usize * PER_ADDRESS + usize::from(port - FIRST_PORT)
}

impl Client {
    /// A segment of client `number`.
    pub(crate) fn say<'a>(&self, number: usize, flags: u8, payload: &'a [u8]) -> Said<'a> {
        let far = client_address(number);
        Said { near: SERVICE, far, seq: self.next, ack: self.expected, flags, payload }
    }
}

/// An origin that answers every request head with `response`.
pub(crate) fn origin<'r>(seen: &Seen<'_>, response: &'r [u8]) -> Option<Said<'r>> {
    let answer =
        |seq, flags, payload| Some(Said { near: seen.near, far: seen.far, seq, ack: seen.end(), flags, payload });
    if seen.flags & RST != 0 {
        None
    } else if seen.flags & SYN != 0 {
        answer(seen.near.1.into(), SYN | ACK, &[][..])
    } else if seen.flags & FIN != 0 {
        answer(seen.ack, FIN | ACK, &[][..])
    } else if seen.payload.ends_with(b"\r\n\r\n") {
        answer(seen.ack, PSH | ACK, response)
    } else {
        None
    }
}

impl<A: App> Rig<A> {
    /// A segment as a frame of the core's memory, with its checksums.
    pub(crate) fn frame(&self, side: usize, said: &Said<'_>) -> Frame {
        let options: &[u8] = if said.flags & SYN != 0 { &[2, 4, 5, 0xb4] } else { &[] };
        let len = 20 + options.len() + said.payload.len();
        let mut frame = self.worker.arena().alloc().expect("a frame: do they leak?");
        let data = frame.extend(34 + len).expect("room for a segment");
        data[..6].copy_from_slice(&PORTS[side].0);
        data[6..12].copy_from_slice(&FAR.0);
        data[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6]);
        data[16..18].copy_from_slice(&(20 + len as u16).to_be_bytes());
        data[24..26].fill(0);
        data[26..30].copy_from_slice(&said.far.0.to_be_bytes());
        data[30..34].copy_from_slice(&said.near.0.to_be_bytes());
        let sum = Sum::new().add(&data[14..34]).finish();
        data[24..26].copy_from_slice(&sum.to_be_bytes());
        data[34..36].copy_from_slice(&said.far.1.to_be_bytes());
        data[36..38].copy_from_slice(&said.near.1.to_be_bytes());
        data[38..42].copy_from_slice(&said.seq.to_be_bytes());
        data[42..46].copy_from_slice(&said.ack.to_be_bytes());
        data[46..54].copy_from_slice(&[(5 + options.len() as u8 / 4) << 4, said.flags, 0xff, 0xff, 0, 0, 0, 0]);
        data[54..54 + options.len()].copy_from_slice(options);
        data[54 + options.len()..].copy_from_slice(said.payload);
        let sum = Sum::new().add_pseudo(&data[26..30], &data[30..34], 6, len).add(&data[34..]).finish();
        data[50..52].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// Sends a segment to the core: by port 0 if it is for the service, by port 1 if it is from the origin.
    pub(crate) fn say(&self, said: &Said<'_>) {
        let side = usize::from(said.far == ORIGIN);
        self.send(side, self.frame(side, said));
    }

    /// Turns until nothing moves. `far` is shown each segment the core sends and says what comes back.
    pub(crate) fn settle<'r>(&mut self, mut far: impl FnMut(&Seen<'_>) -> Option<Said<'r>>) {
        loop {
            let busy = self.turn();
            let mut sent = false;
            for side in 0..2 {
                // Taken first: the answer needs the wire.
                let frames: Vec<_> = self.from[side].borrow_mut().drain(..).collect();
                for frame in frames {
                    sent = true;
                    if let Some(answer) = Seen::parse(frame.data()).and_then(|seen| far(&seen)) {
                        drop(frame);
                        self.say(&answer);
                    }
                }
            }
            if !busy && !sent && self.to.iter().all(|lane| lane.borrow().is_empty()) {
                return;
            }
        }
    }

    /// Opens connections, a batch at a time; `numbers` are the clients'.
    pub(crate) fn open(&mut self, numbers: core::ops::Range<usize>) -> Vec<Client> {
        let mut clients = vec![Client::default(); numbers.len()];
        let first = numbers.start;
        for client in 0..clients.len() {
            let number = first + client;
            clients[client].next = number as u32 * 7;
            self.say(&clients[client].say(number, SYN, &[]));
            clients[client].next += 1;
            if client % 64 != 63 && client + 1 != clients.len() {
                continue;
            }
            self.settle(|seen| {
                assert_eq!(seen.flags, SYN | ACK, "{seen:?}");
                let number = client_number(seen.far);
                clients[number - first].expected = seen.end();
                Some(clients[number - first].say(number, ACK, &[]))
            });
        }
        clients
    }
}
