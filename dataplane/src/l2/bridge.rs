//! Bridge domains: frames go from member to member by their Ethernet addresses (IEEE 802.1Q-2018 §8), whatever they carry.
//!
//! Members are interfaces, so ports and VLANs; each has its own tags, which are taken off and put on as a frame passes. A bridge may
//! have an interface of its own, by which it is routed: frames to its address go up, and what IP sends by it comes down here. What is
//! for an unknown station or for a group goes to every member but the one it came from, as copies within the limits of the frame
//! memory and of `flood_limit`. There is no spanning tree: its frames, as all to the reserved group addresses, end here.

use super::{
    State, Table, Turn,
    stations::{Learnt, News},
    table::Bridge,
};
use crate::{
    batch::{Batch, Slot},
    clock::Instant,
    frame::Frame,
    io::MacAddr,
    meta::{InterfaceId, Meta},
    verdict::{DropReason, Verdict},
};

/// Frames to the sixteen addresses that begin so never leave a link (IEEE 802.1D-2004 §7.12.6, 802.1Q-2018 table 8-1): spanning tree,
/// pause, LACP, 802.1X, LLDP. Those of GARP and MRP (…:20 to …:2f) are forwarded, by a bridge that knows none of these protocols.
const RESERVED: [u8; 5] = [0x01, 0x80, 0xc2, 0, 0];

/// Frames that came in by members: to another member, up to IP, or lost.
pub fn receive(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    if table.bridges().is_empty() {
        return;
    }
    for slot in batch.slots_mut() {
        // IP does not know every kind of frame; a bridge need not.
        if !matches!(slot.verdict, Verdict::Continue | Verdict::Drop(DropReason::L2UnknownType)) {
            continue;
        }
        if let Some((number, bridge)) = table.bridge_of(slot.meta.interface) {
            slot.verdict = pass(table, state, turn, slot, (number, bridge));
        }
    }
}

/// Frames of this host that go out by a bridge.
pub fn send(table: &Table, state: &mut State, turn: &mut Turn<'_>, batch: &mut Batch) {
    if table.bridges().is_empty() {
        return;
    }
    for slot in batch.slots_mut() {
        if slot.verdict != Verdict::Bridge {
            continue;
        }
        let found = table.bridges().iter().zip(0u16..).find(|(bridge, _)| bridge.interface == slot.meta.out);
        let (Some((bridge, number)), Some(frame)) = (found, slot.frame.as_mut()) else {
            slot.verdict = Verdict::Drop(DropReason::TxError);
            continue;
        };
        let counters = turn.stats.interface(bridge.interface);
        counters.tx_packets.add(1);
        counters.tx_bytes.add(frame.len() as u64);
        let Some((to, _)) = addresses(frame) else {
            slot.verdict = Verdict::Drop(DropReason::L2Truncated);
            continue;
        };
        slot.verdict = match state.stations.find(number, bridge, to, turn.now) {
            Some(member) => forward(table, frame, &mut slot.meta, member),
            None => flood(table, turn, bridge, None, slot),
        };
    }
}

/// Whether the bridge of `member` knows that the station which a frame is for is behind that member.
pub(crate) fn knows(table: &Table, state: &State, member: InterfaceId, frame: &Frame, now: Instant) -> bool {
    let Some(((number, bridge), (to, _))) = table.bridge_of(member).zip(addresses(frame)) else { return false };
    state.stations.find(number, bridge, to, now) == Some(member)
}

/// What another core has learnt.
pub(crate) fn learn(table: &Table, state: &mut State, turn: &mut Turn<'_>, news: News) {
    if let Some((number, bridge)) = table.bridge_of(news.member)
        && number == news.bridge
    {
        note(state, turn, bridge, news, false);
    }
}

fn note(state: &mut State, turn: &mut Turn<'_>, bridge: &Bridge, news: News, tell: bool) {
    match state.stations.learn(bridge, news, turn.now, tell) {
        Learnt::Known => {}
        Learnt::New => turn.stats.bridge_stations.set(state.stations.len() as u64),
        Learnt::Moved => turn.stats.bridge_moves.add(1),
        Learnt::Refused => turn.stats.bridge_refused.add(1),
    }
}

fn pass(
    table: &Table,
    state: &mut State,
    turn: &mut Turn<'_>,
    slot: &mut Slot,
    (number, bridge): (u16, &Bridge),
) -> Verdict {
    let Some(frame) = slot.frame.as_mut() else { return slot.verdict };
    let Some((to, from)) = addresses(frame) else { return Verdict::Drop(DropReason::L2Truncated) };
    let member = slot.meta.interface;
    let own = table.interface(bridge.interface);
    if from.is_multicast() || from == MacAddr::default() {
        return Verdict::Drop(DropReason::L2BadSource);
    }
    if from == own.mac {
        return Verdict::Drop(DropReason::BridgeLoop);
    }
    if to.0[..5] == RESERVED && to.0[5] < 16 {
        return Verdict::Drop(DropReason::BridgeReserved);
    }
    note(state, turn, bridge, News { bridge: number, member, mac: from }, true);
    if to == own.mac {
        return up(turn, bridge, slot);
    }
    if !to.is_multicast() {
        return match state.stations.find(number, bridge, to, turn.now) {
            Some(found) if found == member => Verdict::Drop(DropReason::BridgeSameSide),
            Some(found) => forward(table, frame, &mut slot.meta, found),
            None if !state.stations.may_flood(number, turn.now) => Verdict::Drop(DropReason::BridgeFloodLimited),
            None => flood(table, turn, bridge, Some(member), slot),
        };
    }
    if !state.stations.may_flood(number, turn.now) {
        return Verdict::Drop(DropReason::BridgeFloodLimited);
    }
    if own.v4.is_empty() && own.v6.is_empty() {
        return flood(table, turn, bridge, Some(member), slot);
    }
    // The host hears it as well.
    for other in bridge.members.iter().filter(|other| **other != member) {
        copy(table, turn, slot, *other);
    }
    up(turn, bridge, slot)
}

/// To the bridge's own interface; what becomes of it there was known before.
fn up(turn: &Turn<'_>, bridge: &Bridge, slot: &mut Slot) -> Verdict {
    slot.meta.interface = bridge.interface;
    let counters = turn.stats.interface(bridge.interface);
    counters.rx_packets.add(1);
    counters.rx_bytes.add(slot.frame.as_ref().map_or(0, Frame::len) as u64);
    slot.verdict
}

/// To all members but one: copies, and the frame itself to the last.
fn flood(table: &Table, turn: &mut Turn<'_>, bridge: &Bridge, but: Option<InterfaceId>, slot: &mut Slot) -> Verdict {
    let others = || bridge.members.iter().copied().filter(|member| Some(*member) != but);
    let Some(last) = others().next_back() else { return Verdict::Drop(DropReason::BridgeSameSide) };
    for member in others().take_while(|member| *member != last) {
        copy(table, turn, slot, member);
    }
    match slot.frame.as_mut() {
        Some(frame) => forward(table, frame, &mut slot.meta, last),
        None => slot.verdict,
    }
}

/// A copy for one member; what cannot be copied is counted.
fn copy(table: &Table, turn: &mut Turn<'_>, slot: &Slot, member: InterfaceId) {
    let Some(frame) = &slot.frame else { return };
    let lost = |reason| turn.stats.drops(reason).add(1);
    let Some(mut copy) = turn.arena.copy_from(frame.data()) else { return lost(DropReason::NoFrame) };
    let mut meta = slot.meta;
    match forward(table, &mut copy, &mut meta, member) {
        Verdict::Drop(reason) => lost(reason),
        exit => turn.egress.push_link(copy, exit, meta),
    }
}

/// Out of a member, with its tags.
#[inline]
fn forward(table: &Table, frame: &mut Frame, meta: &mut Meta, member: InterfaceId) -> Verdict {
    let interface = table.interface(member);
    let length = frame.len().saturating_sub(usize::from(meta.l3));
    if meta.segment_size == 0 && length > usize::from(interface.mtu) {
        return Verdict::Drop(DropReason::TooLong);
    }
    meta.out = member;
    interface.send_framed(frame, meta)
}

#[inline]
fn addresses(frame: &Frame) -> Option<(MacAddr, MacAddr)> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *frame.data().first_chunk::<12>()?;
    Some((MacAddr([a, b, c, d, e, f]), MacAddr([g, h, i, j, k, l])))
}
