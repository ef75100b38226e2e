//! ICMP for both families: which errors are sent and how many, and what errors we receive say about our flows.

use core::net::{IpAddr, SocketAddr};

use super::{
    Table,
    advertise::Advertiser,
    consistency::{Consistency, Disagreement},
    extension::Fault,
    icmp4, icmp6,
    input::addresses_of,
    join::Joiner,
    listener::Listener,
};
use crate::{
    clock::Instant,
    frame::Frame,
    l2::{Bucket, Silent, Turn},
    meta::{Flags, Meta, Network},
};

/// How many ICMP messages a core sends (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpLimits {
    /// Errors per second in the long run, at least 1.
    pub errors: u32,
    /// Errors at once, at least 1.
    pub errors_at_once: u32,
    /// Echo replies per second, a tenth of it at once; at least 1.
    pub replies: u32,
}

impl Default for IcmpLimits {
    /// Replies are generous, so that a ping flood measures the link and not this limit.
    fn default() -> Self {
        Self { errors: 1_000, errors_at_once: 200, replies: 100_000 }
    }
}

impl IcmpLimits {
    fn buckets(self) -> (Bucket, Bucket) {
        let replies = self.replies.max(1);
        let errors = Bucket::per_second(self.errors.max(1), self.errors_at_once.max(1));
        (errors, Bucket::per_second(replies, (replies / 10).max(1)))
    }
}

/// What a core keeps for `l3`: how many ICMP messages may still be sent, when it advertises itself, fragments that wait for others,
/// and which gateways are silent.
#[derive(Debug)]
pub struct State {
    limits: IcmpLimits,
    errors: Bucket,
    replies: Bucket,
    identification: u16,
    pub(super) advertiser: Advertiser,
    pub(super) consistency: Consistency,
    pub(super) listener: Listener,
    pub(super) joiner: Joiner,
    pub(super) silent: Silent,
}

impl State {
    /// A core's state at the start.
    pub fn new() -> Self {
        let limits = IcmpLimits::default();
        let (errors, replies) = limits.buckets();
        Self {
            limits,
            errors,
            replies,
            identification: 0,
            advertiser: Advertiser::new(),
            consistency: Consistency::default(),
            listener: Listener::new(),
            joiner: Joiner::default(),
            silent: Silent::default(),
        }
    }

    /// A copy to try something out on: it decides as this one does, and advertises nothing.
    pub fn rehearsal(&self) -> Self {
        let Self { limits, errors, replies, identification, .. } = *self;
        let silent = self.silent.clone();
        Self {
            limits,
            errors,
            replies,
            identification,
            advertiser: Advertiser::new(),
            consistency: Consistency::default(),
            listener: Listener::new(),
            joiner: Joiner::default(),
            silent,
        }
    }

    /// Makes this the core that sends router advertisements. To be called before the first [`State::adopt`].
    pub const fn speak(&mut self, seed: u64) {
        self.advertiser.speak(seed);
        self.listener.speak(seed);
    }

    /// Takes over a new generation of tables.
    pub fn adopt(&mut self, table: &Table) {
        self.advertiser.adopt(table);
        self.consistency.adopt();
        self.listener.adopt(table);
        self.silent.read(table.link());
        // A reload that says the same gives nobody a full bucket.
        if self.limits != table.icmp {
            self.limits = table.icmp;
            (self.errors, self.replies) = self.limits.buckets();
        }
    }

    /// When [`super::tick`] next has something to do for this state.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.advertiser.next_deadline(), self.listener.next_deadline(), self.joiner.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Another router that tells hosts something else than we do, for the management thread.
    pub fn take_disagreement(&mut self) -> Option<Disagreement> {
        self.consistency.take()
    }

    pub(super) fn may_reply(&mut self, now: Instant) -> bool {
        self.replies.take(now)
    }

    pub(super) fn may_complain(&mut self, now: Instant) -> bool {
        self.errors.take(now)
    }

    /// Identification of the next IPv4 packet of our own (RFC 6864: only to be unique among fragments).
    pub(super) fn identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreachable {
    /// No route.
    Net,
    /// The next hop does not answer, or a route says so.
    Host,
    /// A route says that it is forbidden to go there (RFC 1812 §5.2.7.1, code 13; RFC 4443 §3.1, code 1).
    Prohibited,
    /// Nobody serves the protocol.
    Protocol,
    /// Nobody serves the port.
    Port,
    /// A link-local source beyond its link (RFC 4443 §3.1, code 2).
    BeyondScope,
}

/// An error about a packet, in the words of both families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Complaint {
    Unreachable(Unreachable),
    TimeExceeded,
    /// The other fragments did not come (RFC 1122 §3.3.2, RFC 8200 §4.5).
    JoinTimeExceeded,
    TooBig {
        mtu: u16,
    },
    Problem {
        code: u8,
        pointer: u32,
        even_to_groups: bool,
    },
}

/// Tells the sender that its packet did not arrive.
pub(super) fn unreachable(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &Frame,
    meta: &Meta,
    why: Unreachable,
) {
    complain(table, state, turn, frame, meta, Complaint::Unreachable(why));
}

/// Tells the sender which field of its IPv6 packet is wrong, unless the fault is to be passed over in silence.
pub(super) fn parameter_problem(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &Frame,
    meta: &Meta,
    fault: Fault,
) {
    if let Fault::Problem { code, pointer, even_to_groups } = fault {
        complain(table, state, turn, frame, meta, Complaint::Problem { code, pointer, even_to_groups });
    }
}

/// Sends an error about a packet to its sender, if one may be sent.
#[cold]
pub(super) fn complain(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    frame: &Frame,
    meta: &Meta,
    complaint: Complaint,
) {
    let Some(packet) = frame.data().get(usize::from(meta.l3)..) else { return };
    let Some((source, destination)) = addresses_of(packet) else { return };
    let to_group = meta.flags.intersects(Flags::LINK_BROADCAST | Flags::LINK_MULTICAST) || destination.is_multicast();
    let even_to_groups = matches!(complaint, Complaint::Problem { even_to_groups: true, .. });
    // Fragments of IPv6 that cannot be joined are told of, later ones too (RFC 8200 §4.5).
    let even_later = source.is_ipv6() && matches!(complaint, Complaint::Problem { .. });
    // RFC 1122 §3.2.2, RFC 4443 §2.4 (e): nothing about groups, later fragments, our own packets, or from nobody.
    if (to_group && !even_to_groups)
        || (meta.flags.contains(Flags::LATER_FRAGMENT) && !even_later)
        || meta.flags.contains(Flags::ORIGINATED)
        || source.is_unspecified()
    {
        return;
    }
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            icmp4::complain(table, state, turn, packet, meta, source, destination, complaint);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            icmp6::complain(table, state, turn, packet, meta, source, destination, complaint);
        }
        _ => {}
    }
}

/// What an ICMP error says about one of our TCP flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotedFlow {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Sequence number of the quoted segment: one outside the window is a forgery (RFC 5927 §4.1).
    pub sequence: u32,
    /// What happened to the segment.
    pub error: FlowError,
}

/// What happened to a segment of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowError {
    /// It did not get there; another may (RFC 1122 §4.2.3.9: net, host or route failure, time exceeded).
    Soft,
    /// It was refused: protocol or port unreachable, or prohibited.
    Hard,
    /// It was longer than the path allows.
    TooBig {
        /// Longest IP packet the link ahead of the router takes, in bytes: less than the quoted one has.
        mtu: u16,
    },
}

/// Reads the packet quoted by an ICMP error that [`local`](super::local) left as `Deliver`. `None` when it quotes no TCP segment.
pub fn quoted_flow(frame: &Frame, meta: &Meta) -> Option<QuotedFlow> {
    let message = frame.data().get(usize::from(meta.l4)..)?;
    match meta.network {
        Network::Ipv4 => icmp4::quoted_flow(message),
        Network::Ipv6 => icmp6::quoted_flow(message),
        _ => None,
    }
}

/// The flow of a quoted TCP header, as far as 8 bytes of it tell.
pub(super) fn flow(source: IpAddr, destination: IpAddr, tcp: &[u8], error: FlowError) -> Option<QuotedFlow> {
    let tcp = tcp.first_chunk::<8>()?;
    Some(QuotedFlow {
        local: SocketAddr::new(source, u16::from_be_bytes([tcp[0], tcp[1]])),
        remote: SocketAddr::new(destination, u16::from_be_bytes([tcp[2], tcp[3]])),
        sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
        error,
    })
}
