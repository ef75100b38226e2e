//! VLAN tags (IEEE 802.1Q-2018 §9): what they say, and which interface of a port is meant by them.
//!
//! A frame has no tag, one, or two (provider bridging, "QinQ"). A tag with VLAN identifier 0 carries a priority only, and the frame
//! counts as if it were not there (§9.6). Each port has a table with an entry per identifier, so that a look-up is one load; two tags
//! are two. Priorities are not looked at, and tags of our own have priority 0.

use super::HEADER;
use crate::{meta::InterfaceId, verdict::DropReason};

/// EtherType of a customer VLAN tag (IEEE 802.1Q).
pub const CUSTOMER: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const SERVICE: u16 = 0x88a8;
/// Bytes of a tag.
pub const LENGTH: usize = 4;
/// Identifiers that a tag can have; 0 and 4095 name no VLAN.
const IDENTIFIERS: usize = 4096;

/// The tags of an interface's frames, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Tags {
    bytes: [u8; 2 * LENGTH],
    len: u8,
}

impl Tags {
    /// No tag.
    pub const NONE: Self = Self { bytes: [0; 2 * LENGTH], len: 0 };

    /// One tag of the EtherType `kind`, with identifier `id`.
    pub const fn one(kind: u16, id: u16) -> Self {
        let ([a, b], [c, d]) = (kind.to_be_bytes(), (id & 0xfff).to_be_bytes());
        Self { bytes: [a, b, c, d, 0, 0, 0, 0], len: LENGTH as u8 }
    }

    /// A customer tag with identifier `inner` behind a tag of the EtherType `kind` with identifier `outer`.
    pub const fn two(kind: u16, outer: u16, inner: u16) -> Self {
        let ([a, b], [c, d]) = (kind.to_be_bytes(), (outer & 0xfff).to_be_bytes());
        let ([e, f], [g, h]) = (CUSTOMER.to_be_bytes(), (inner & 0xfff).to_be_bytes());
        Self { bytes: [a, b, c, d, e, f, g, h], len: 2 * LENGTH as u8 }
    }

    /// As they stand in a frame, behind the addresses.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// EtherType of the first, its identifier, and that of the second.
    fn parts(&self) -> Option<(u16, usize, Option<usize>)> {
        let [a, b, c, d, _, _, g, h] = self.bytes;
        let id = |high, low| usize::from(u16::from_be_bytes([high, low]));
        match usize::from(self.len) {
            0 => None,
            LENGTH => Some((u16::from_be_bytes([a, b]), id(c, d), None)),
            _ => Some((u16::from_be_bytes([a, b]), id(c, d), Some(id(g, h)))),
        }
    }
}

/// Whether `ethertype` announces a tag.
#[inline]
pub(super) const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, CUSTOMER | SERVICE)
}

/// No interface, no table.
const NOTHING: u16 = u16::MAX;

/// What a first identifier means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    /// The interface of frames with this tag alone.
    alone: u16,
    /// The table for the identifiers behind it.
    behind: u16,
}

const EMPTY: Slot = Slot { alone: NOTHING, behind: NOTHING };

/// The interfaces of one port that have tags.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Vlans {
    customer: Option<Box<[Slot; IDENTIFIERS]>>,
    service: Option<Box<[Slot; IDENTIFIERS]>>,
    behind: Vec<Box<[u16; IDENTIFIERS]>>,
}

impl Vlans {
    /// Adds an interface; one with the same tags gives way.
    pub(super) fn add(&mut self, tags: &Tags, interface: InterfaceId) {
        let Some((kind, first, second)) = tags.parts() else { return };
        let slots = if kind == SERVICE { &mut self.service } else { &mut self.customer };
        let slot = &mut slots.get_or_insert_with(|| Box::new([EMPTY; IDENTIFIERS]))[first % IDENTIFIERS];
        let Some(second) = second else {
            slot.alone = interface.0;
            return;
        };
        if slot.behind == NOTHING {
            slot.behind = self.behind.len() as u16;
            self.behind.push(Box::new([NOTHING; IDENTIFIERS]));
        }
        self.behind[usize::from(slot.behind)][second % IDENTIFIERS] = interface.0;
    }

    /// What a frame that has a tag is to this port. `untagged` is the interface without one.
    #[inline]
    pub(super) fn find(&self, frame: &[u8], untagged: InterfaceId) -> Result<Tagged, DropReason> {
        let (kind, id, next) = tag(frame, HEADER - 2)?;
        // Nearly all frames have one tag that names a VLAN, or two.
        if id != 0 && !is_tag(next) {
            return found(self.slot(kind, id).alone, HEADER + LENGTH, next);
        }
        if id != 0 && next == CUSTOMER {
            let (_, inner, last) = tag(frame, HEADER + LENGTH - 2)?;
            if inner != 0 && !is_tag(last) {
                let behind = self.behind.get(usize::from(self.slot(kind, id).behind));
                return found(behind.map_or(NOTHING, |table| table[inner]), HEADER + 2 * LENGTH, last);
            }
        }
        self.find_beside_priorities(frame, untagged)
    }

    /// One tag or two, of which one at least names no VLAN; or what nobody asked for.
    #[inline(never)]
    fn find_beside_priorities(&self, frame: &[u8], untagged: InterfaceId) -> Result<Tagged, DropReason> {
        let (kind, id, next) = tag(frame, HEADER - 2)?;
        let at = HEADER + LENGTH;
        if !is_tag(next) {
            return Ok(Tagged { interface: untagged, at, ethertype: next });
        }
        let (inner_kind, inner, last) = tag(frame, at - 2)?;
        let at = at + LENGTH;
        if is_tag(last) {
            return Err(DropReason::VlanUnknown);
        }
        match (id, inner) {
            (0, 0) => Ok(Tagged { interface: untagged, at, ethertype: last }),
            // A priority in front of a tag.
            (0, _) => found(self.slot(inner_kind, inner).alone, at, last),
            (_, 0) if inner_kind == CUSTOMER => found(self.slot(kind, id).alone, at, last),
            _ => Err(DropReason::VlanUnknown),
        }
    }

    #[inline]
    fn slot(&self, kind: u16, id: usize) -> Slot {
        let slots = if kind == CUSTOMER { &self.customer } else { &self.service };
        slots.as_ref().map_or(EMPTY, |slots| slots[id % IDENTIFIERS])
    }
}

/// What the tags of a frame say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tagged {
    pub(super) interface: InterfaceId,
    /// Offset of what follows them.
    pub(super) at: usize,
    /// What that is.
    pub(super) ethertype: u16,
}

#[inline]
fn found(interface: u16, at: usize, ethertype: u16) -> Result<Tagged, DropReason> {
    if interface == NOTHING {
        return Err(DropReason::VlanUnknown);
    }
    Ok(Tagged { interface: InterfaceId(interface), at, ethertype })
}

/// The tag at `at`: its EtherType, its identifier, and the EtherType behind it.
#[inline]
fn tag(frame: &[u8], at: usize) -> Result<(u16, usize, u16), DropReason> {
    let [a, b, c, d, e, f] =
        *frame.get(at..).and_then(|rest| rest.first_chunk::<6>()).ok_or(DropReason::L2Truncated)?;
    let id = u16::from_be_bytes([c, d]) & 0xfff;
    Ok((u16::from_be_bytes([a, b]), usize::from(id), u16::from_be_bytes([e, f])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTAGGED: InterfaceId = InterfaceId(3);
    const UNKNOWN: Result<(InterfaceId, usize), DropReason> = Err(DropReason::VlanUnknown);

    fn vlans() -> Vlans {
        let mut vlans = Vlans::default();
        vlans.add(&Tags::one(CUSTOMER, 10), InterfaceId(10));
        vlans.add(&Tags::one(SERVICE, 10), InterfaceId(11));
        vlans.add(&Tags::two(SERVICE, 10, 20), InterfaceId(12));
        vlans.add(&Tags::two(SERVICE, 10, 21), InterfaceId(13));
        vlans.add(&Tags::two(CUSTOMER, 30, 4094), InterfaceId(14));
        vlans
    }

    /// What a frame with these tags, before an IPv4 packet, is found to be.
    fn found(tags: &[(u16, u16)]) -> Result<(InterfaceId, usize), DropReason> {
        let mut frame = vec![2; 12];
        for (kind, control) in tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend([8, 0, 0x45]);
        let found = vlans().find(&frame, UNTAGGED)?;
        assert_eq!(found.ethertype, 0x0800);
        Ok((found.interface, found.at))
    }

    #[test]
    fn every_combination_of_tags_has_one_meaning() {
        for (tags, expected) in [
            (&[(CUSTOMER, 10)][..], Ok((InterfaceId(10), 18))),
            // Priority and drop eligibility do not matter.
            (&[(CUSTOMER, 0xf00a)], Ok((InterfaceId(10), 18))),
            (&[(SERVICE, 10)], Ok((InterfaceId(11), 18))),
            (&[(SERVICE, 10), (CUSTOMER, 20)], Ok((InterfaceId(12), 22))),
            (&[(SERVICE, 10), (CUSTOMER, 21)], Ok((InterfaceId(13), 22))),
            (&[(CUSTOMER, 30), (CUSTOMER, 4094)], Ok((InterfaceId(14), 22))),
            // A priority is not a VLAN, in front, behind, or both.
            (&[(CUSTOMER, 0xe000)], Ok((UNTAGGED, 18))),
            (&[(SERVICE, 0), (CUSTOMER, 0)], Ok((UNTAGGED, 22))),
            (&[(SERVICE, 0), (CUSTOMER, 10)], Ok((InterfaceId(10), 22))),
            (&[(SERVICE, 10), (CUSTOMER, 0)], Ok((InterfaceId(11), 22))),
            (&[(CUSTOMER, 11)], UNKNOWN),
            (&[(CUSTOMER, 4095)], UNKNOWN),
            (&[(SERVICE, 30)], UNKNOWN),
            (&[(SERVICE, 10), (CUSTOMER, 22)], UNKNOWN),
            (&[(CUSTOMER, 10), (CUSTOMER, 20)], UNKNOWN),
            (&[(CUSTOMER, 30)], UNKNOWN),
            (&[(SERVICE, 10), (SERVICE, 20)], UNKNOWN),
            (&[(SERVICE, 10), (CUSTOMER, 20), (CUSTOMER, 1)], UNKNOWN),
            (&[(SERVICE, 0), (SERVICE, 10), (CUSTOMER, 20)], UNKNOWN),
        ] {
            assert_eq!(found(tags), expected, "{tags:x?}");
        }
    }

    #[test]
    fn a_tag_that_is_cut_off_is_told_from_one_that_is_unknown() {
        let mut frame = vec![2; 12];
        for (kind, id) in [(SERVICE, 10u16), (CUSTOMER, 20)] {
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend([8, 0]);
        let whole = Tagged { interface: InterfaceId(12), at: 22, ethertype: 0x0800 };
        assert_eq!(vlans().find(&frame, UNTAGGED), Ok(whole));
        for len in 12..frame.len() {
            assert_eq!(vlans().find(&frame[..len], UNTAGGED), Err(DropReason::L2Truncated), "{len}");
        }
    }

    #[test]
    fn a_port_without_vlans_knows_none() {
        let frame = &[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0x81, 0, 0, 1, 8, 0];
        assert_eq!(Vlans::default().find(frame, UNTAGGED), Err(DropReason::VlanUnknown));
    }
}
