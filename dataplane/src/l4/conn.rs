//! Connections: what each state keeps, and the slab and table that hold them.

use core::{net::IpAddr, task::Waker};

use crate::{
    clock::Instant,
    wheel::{TimerId, Wheel},
};

use super::{
    flow::{Flow, FlowTable},
    live::Live,
    record::{End, Idle, TimeWait},
    segment::SynOptions,
    seq::Seq,
};

/// Names a connection of this core; stale names are harmless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// An open that this host has answered or sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// Own initial sequence number.
    pub(super) isn: Seq,
    /// The peer's, once known.
    pub(super) peer_isn: Seq,
    pub(super) options: SynOptions,
    /// Times the SYN or SYN-ACK was sent.
    pub(super) sent: u8,
    /// When it was first sent.
    pub(super) since: Instant,
}

/// Where a connection stands. Each state keeps only what it needs.
pub(super) enum State {
    /// Free slot.
    Vacant,
    /// SYN sent.
    SynSent(Opening),
    /// SYN received and answered; `active` if this host had sent one too (simultaneous open).
    SynReceived { opening: Opening, active: bool },
    /// Established or closing, with a socket.
    Live(Box<Live>),
    /// Reset by the peer; what was received before is still to be read. RFC 9293 lets it be lost, but a server that answers
    /// early and closes resets a client that goes on sending, and the answer is worth more than the error.
    Remains(Box<Live>),
    /// Established and at rest, without one.
    Idle(Idle),
    /// Closed; the tuple is kept from reuse.
    TimeWait(TimeWait),
    /// Over; kept until its user has seen how.
    Ended(End),
}

/// One connection.
pub(super) struct Conn {
    pub(super) flow: Flow,
    pub(super) generation: u32,
    /// Which listener took it, as the listen table named it.
    pub(super) listener: u32,
    /// A stream exists, or will when it is accepted.
    pub(super) attached: bool,
    /// On the list of connections to look at in this turn.
    pub(super) touched: bool,
    /// On the list of connections at rest. Like `touched` it belongs to the slot: a slot is on the list once.
    pub(super) resting: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) timer: Option<(TimerId, Instant)>,
    pub(super) state: State,
}

// 100,000 idle connections are meant to be cheap.
const _: () = assert!(size_of::<Conn>() <= 176);

impl Conn {
    /// Wakes whoever waits for either direction.
    pub(super) fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Sees to it that the connection is looked at by `at`. A timer that fires too early costs less than moving it each time.
    pub(super) fn arm(&mut self, index: u32, wheel: &mut Wheel<ConnId>, at: Instant) {
        if let Some((id, set)) = self.timer {
            if set <= at {
                return;
            }
            wheel.cancel(id);
        }
        self.timer = Some((wheel.insert(at, ConnId { index, generation: self.generation }), at));
    }
}

/// All connections of a core.
pub(super) struct Connections {
    slots: Vec<Conn>,
    free: Vec<u32>,
    flows: FlowTable,
    limit: usize,
}

impl Connections {
    pub(super) fn new(limit: usize, key: (u64, u64)) -> Self {
        Self { slots: Vec::with_capacity(limit), free: Vec::new(), flows: FlowTable::new(limit, key), limit }
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() - self.free.len() >= self.limit
    }

    /// Connections in any state that a segment can find.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    #[inline]
    pub(super) fn find(&self, flow: &Flow) -> Option<u32> {
        self.flows.find(flow, |index| self.slots[index as usize].flow)
    }

    /// Adds a connection. The caller has checked the limit and that the flow is new.
    pub(super) fn insert(&mut self, flow: Flow, listener: u32, state: State) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Conn::vacant());
            self.slots.len() as u32 - 1
        });
        let conn = &mut self.slots[index as usize];
        conn.flow = flow;
        conn.listener = listener;
        conn.state = state;
        let id = ConnId { index, generation: conn.generation };
        let slots = &self.slots;
        self.flows.insert(&flow, index, |other| slots[other as usize].flow);
        id
    }

    /// The connection called `id`, if it is still that one.
    #[inline]
    pub(super) fn named(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.index as usize).filter(|conn| conn.generation == id.generation)
    }

    #[inline]
    pub(super) fn at(&mut self, index: u32) -> &mut Conn {
        &mut self.slots[index as usize]
    }

    /// Segments find this connection no longer; the slot stays.
    pub(super) fn unlist(&mut self, index: u32) {
        let flow = self.slots[index as usize].flow;
        self.flows.remove(&flow, index);
    }

    /// Gives the slot of an unlisted connection back.
    pub(super) fn release(&mut self, index: u32) {
        let generation = self.slots[index as usize].generation.wrapping_add(1);
        let Conn { touched, resting, .. } = self.slots[index as usize];
        self.slots[index as usize] = Conn { generation, touched, resting, ..Conn::vacant() };
        self.free.push(index);
    }
}

impl Conn {
    fn vacant() -> Self {
        let none = IpAddr::from([0; 4]);
        Self {
            flow: Flow { local: none, remote: none, local_port: 0, remote_port: 0 },
            generation: 0,
            listener: 0,
            attached: false,
            touched: false,
            resting: false,
            reader: None,
            writer: None,
            timer: None,
            state: State::Vacant,
        }
    }
}
