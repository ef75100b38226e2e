//! Between the pipeline and TCP: segments of a batch go in, segments to send come out as frames.

use core::net::SocketAddr;

use crate::{
    batch::{Batch, Egress, Slot},
    clock::Instant,
    frame::{Arena, Frame, HEADROOM},
    io::{Capabilities, segment},
    l3::icmp::{self, FlowError, QuotedFlow},
    l4::{self, Fate, Flow, Joint, Listen, Outcome, Part, SegmentSink, Sent, TcpHandle},
    meta::{Flags, Meta, Network},
    tables::Tables,
    verdict::{DropReason, Verdict},
};

/// Protocol number of TCP.
const TCP: u8 = 6;

/// Frames that TCP leaves in the arena for what arrives: a sender that eats all memory would stop its own acknowledgements.
const RESERVE: usize = 64;

/// Longest packet of several segments that TCP writes for a port that cuts none: it is cut here. One that fits the first cache.
const SUPER_SEGMENT: u32 = 16_384;
/// Frames that must be there before TCP writes one.
const SUPER_SEGMENT_FRAMES: usize = 32;

/// Room to join what arrives, and for what is to be cut.
#[derive(Debug)]
pub(super) struct Joinery {
    pub(super) joint: Joint,
    pub(super) scratch: Box<[u8]>,
}

impl Default for Joinery {
    fn default() -> Self {
        Self { joint: Joint::default(), scratch: vec![0; SUPER_SEGMENT as usize].into_boxed_slice() }
    }
}

/// What was lent last.
enum Lent {
    Nothing,
    Frame(Frame),
    /// As many bytes of the scratch.
    Scratch(usize),
}

/// Turns what TCP sends into packets of this host.
pub(super) struct Sink<'a> {
    arena: &'a Arena,
    egress: &'a mut Egress,
    scratch: &'a mut [u8],
    capabilities: l4::Capabilities,
    /// The port cuts no super-segments.
    cuts: bool,
    lent: Lent,
    lost: u64,
}

impl<'a> Sink<'a> {
    /// `ports` is what every port of the core can do.
    pub(super) fn new(arena: &'a Arena, egress: &'a mut Egress, scratch: &'a mut [u8], ports: Capabilities) -> Self {
        // Ethernet's header goes into the headroom.
        let room = (arena.chunk_size() - HEADROOM) as u32;
        let by_port = if ports.tx_checksum { ports.tx_segment.min(room) } else { 0 };
        let cuts = by_port == 0;
        let super_segment = if cuts { SUPER_SEGMENT } else { by_port };
        let capabilities = l4::Capabilities { checksum: ports.tx_checksum, super_segment };
        Self { arena, egress, scratch, capabilities, cuts, lent: Lent::Nothing, lost: 0 }
    }

    /// Super-segments of which a part found no frame.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn meta(sent: Sent) -> Meta {
        Meta { l4: sent.tcp_at as u16, protocol: TCP, segment_size: sent.segment_size, ..Meta::default() }
    }

    /// Sends the segments that a packet consists of.
    fn cut(&mut self, packet: &Lent, sent: Sent) {
        let data = match packet {
            Lent::Nothing => return,
            Lent::Frame(frame) => frame.data(),
            Lent::Scratch(len) => &self.scratch[..*len],
        };
        let (network, egress) = (network(data), &mut *self.egress);
        let cut = segment::cut(data, &Self::meta(sent), self.arena, |frame, meta| egress.push_ip(frame, network, meta));
        self.lost += u64::from(cut.is_err());
    }
}

fn network(packet: &[u8]) -> Network {
    if packet.first().is_some_and(|byte| byte >> 4 == 4) { Network::Ipv4 } else { Network::Ipv6 }
}

impl SegmentSink for Sink<'_> {
    fn capabilities(&self) -> l4::Capabilities {
        self.capabilities
    }

    #[inline]
    fn has_room(&self) -> bool {
        let (capacity, frames) = (self.arena.capacity(), if self.cuts { SUPER_SEGMENT_FRAMES } else { 1 });
        self.egress.room() >= frames && self.arena.available() >= RESERVE.min(capacity / 4) + frames.min(capacity / 8)
    }

    #[inline]
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.cuts && len > self.arena.chunk_size() - HEADROOM {
            self.lent = Lent::Scratch(len);
            return self.scratch.get_mut(..len);
        }
        let mut frame = self.arena.alloc()?;
        frame.extend(len)?;
        self.lent = Lent::Frame(frame);
        match &mut self.lent {
            Lent::Frame(frame) => Some(frame.data_mut()),
            _ => None,
        }
    }

    #[inline]
    fn commit(&mut self, sent: Sent) {
        let lent = core::mem::replace(&mut self.lent, Lent::Nothing);
        if self.cuts && sent.segment_size != 0 {
            return self.cut(&lent, sent);
        }
        let Lent::Frame(frame) = lent else { return };
        let network = network(frame.data());
        let mut meta = Self::meta(sent);
        if sent.checksum_partial {
            meta.flags |= Flags::CHECKSUM_PARTIAL;
            meta.checksum_start = meta.l4;
            meta.checksum_offset = 16;
        }
        self.egress.push_ip(frame, network, meta);
    }
}

/// Gives the batch's segments for this host to TCP. Returns how many there were.
pub(super) fn input(
    tcp: &TcpHandle,
    now: Instant,
    tables: &Tables,
    batch: &mut Batch,
    joint: &mut Joint,
    sink: &mut Sink<'_>,
) -> usize {
    let (mut segments, mut rest) = (0, batch.slots_mut());
    while !rest.is_empty() {
        let count = join(rest, joint);
        let (run, others) = rest.split_at_mut(count);
        rest = others;
        let shared = run[0].meta.flags.contains(Flags::HOST_PATH);
        if count > 1 {
            segments += count;
            let outcome = if shared {
                tcp.input_joint(now, joint, &Shared(tables), sink)
            } else {
                tcp.input_joint(now, joint, tables, sink)
            };
            run.iter_mut().for_each(|slot| slot.verdict = verdict(outcome));
            continue;
        }
        let Slot { frame: Some(frame), meta, verdict: Verdict::Deliver } = &mut run[0] else { continue };
        run[0].verdict = if !is_segment(meta) {
            control(tcp, frame, meta)
        } else {
            segments += 1;
            let l3 = usize::from(meta.l3);
            let at = (usize::from(meta.l4) - l3, meta.flags.contains(Flags::RX_CHECKSUM_GOOD));
            let segment = &mut frame.data_mut()[l3..];
            verdict(if shared {
                tcp.input(now, segment, at, &Shared(tables), sink)
            } else {
                tcp.input(now, segment, at, tables, sink)
            })
        };
    }
    segments
}

/// What TCP would make of a segment for this host.
pub(super) fn fate(tcp: &TcpHandle, now: Instant, tables: &Tables, frame: &Frame, meta: &Meta) -> Fate {
    let l3 = usize::from(meta.l3);
    let offset = (usize::from(meta.l4).saturating_sub(l3), meta.flags.contains(Flags::RX_CHECKSUM_GOOD));
    let segment = frame.data().get(l3..).unwrap_or_default();
    if meta.flags.contains(Flags::HOST_PATH) {
        tcp.fate(now, segment, offset, &Shared(tables))
    } else {
        tcp.fate(now, segment, offset, tables)
    }
}

/// [`input`] for packets that do not exist: the verdicts alone.
pub(super) fn rehearse(tcp: &TcpHandle, now: Instant, tables: &Tables, batch: &mut Batch) {
    batch.each(Verdict::Deliver, |frame, meta| {
        if !is_segment(meta) {
            return control_verdict(tcp, frame, meta).0;
        }
        verdict(fate(tcp, now, tables, frame, meta).outcome())
    });
}

fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Consumed => Verdict::Consumed,
        Outcome::Dropped(reason) => Verdict::Drop(reason),
    }
}

/// Joins the segments at the front that go on where the one before ends. Returns their number; 1 if the first goes alone.
fn join(slots: &[Slot], joint: &mut Joint) -> usize {
    let Some((mut last, first_good)) = slots.first().and_then(part) else { return 1 };
    let mut count = 1;
    while let Some((next, good)) = slots.get(count).and_then(part)
        && last.goes_on(&next)
    {
        if count == 1 {
            if !first_good && !last.is_sound() {
                return 1;
            }
            joint.start(&last);
        }
        if !good && !next.is_sound() || !joint.add(&next) {
            break;
        }
        count += 1;
        last = next;
    }
    count
}

/// The segment in a slot if it can be joined with others, and whether its checksum is known to be right.
#[inline]
fn part(slot: &Slot) -> Option<(Part<'_>, bool)> {
    let Slot { frame: Some(frame), meta, verdict: Verdict::Deliver } = slot else { return None };
    if !is_segment(meta) {
        return None;
    }
    let l3 = usize::from(meta.l3);
    let part = Part::of(frame.data().get(l3..)?, usize::from(meta.l4).checked_sub(l3)?)?;
    Some((part, meta.flags.contains(Flags::RX_CHECKSUM_GOOD)))
}

/// The listeners of a host whose kernel has others.
struct Shared<'a>(&'a Tables);

impl Listen for Shared<'_> {
    fn listener(&self, local: SocketAddr) -> Option<u32> {
        self.0.listener(local)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// Whether a packet carries a whole TCP segment.
#[inline]
pub(super) fn is_segment(meta: &Meta) -> bool {
    meta.protocol == TCP && !meta.flags.intersects(Flags::FRAGMENT)
}

/// An ICMP error about a segment of ours.
fn control(tcp: &TcpHandle, frame: &Frame, meta: &Meta) -> Verdict {
    let (verdict, told) = control_verdict(tcp, frame, meta);
    match told {
        Some((flow, sequence, FlowError::TooBig { mtu })) => {
            tcp.too_big(&flow, sequence, mtu);
        }
        Some((flow, sequence, FlowError::Soft | FlowError::Hard)) => tcp.unreachable(&flow, sequence),
        None => {}
    }
    verdict
}

/// What becomes of the message, and which flow is to be told what about which sequence number.
fn control_verdict(tcp: &TcpHandle, frame: &Frame, meta: &Meta) -> (Verdict, Option<(Flow, u32, FlowError)>) {
    let Some(QuotedFlow { local, remote, sequence, error }) = icmp::quoted_flow(frame, meta) else {
        return (Verdict::Deliver, None);
    };
    let flow = Flow { local: local.ip(), remote: remote.ip(), local_port: local.port(), remote_port: remote.port() };
    // Without a connection there is nothing to shorten; and what is not ours may be the kernel's.
    let needs_one = matches!(error, FlowError::TooBig { .. }) || meta.flags.contains(Flags::HOST_PATH);
    if needs_one && !tcp.knows(&flow) {
        return (Verdict::Drop(DropReason::IcmpIgnored), None);
    }
    (Verdict::Consumed, Some((flow, sequence, error)))
}

/// Lets TCP send what is due. Returns the number of packets.
pub(super) fn output(tcp: &TcpHandle, now: Instant, sink: &mut Sink<'_>) -> usize {
    let before = sink.egress.len();
    tcp.output(now, sink);
    sink.egress.len() - before
}
