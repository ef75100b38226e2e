//! The Ethernet header of frames that go out, with the tags of their interface: 14, 18 or 22 bytes, made once per neighbour.

use super::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Interface, tag};
use crate::{
    frame::Frame,
    io::MacAddr,
    meta::{Flags, Meta, Network},
    verdict::{DropReason, Verdict},
};

/// Bytes without tags, with one and with two.
const PLAIN: usize = super::HEADER;
const TAGGED: usize = PLAIN + tag::LENGTH;
const STACKED: usize = TAGGED + tag::LENGTH;

/// A header, and where frames with it go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    bytes: [u8; STACKED],
    len: u8,
    exit: Verdict,
}

impl Header {
    /// The header of what leaves by `interface` for the station `to`.
    pub fn new(interface: &Interface, to: MacAddr, ethertype: u16) -> Self {
        let mut bytes = [0; STACKED];
        bytes[..6].copy_from_slice(&to.0);
        bytes[6..12].copy_from_slice(&interface.mac.0);
        let tags = interface.link.tags();
        let tags = tags.as_bytes();
        bytes[12..12 + tags.len()].copy_from_slice(tags);
        bytes[12 + tags.len()..PLAIN + tags.len()].copy_from_slice(&ethertype.to_be_bytes());
        let exit = interface.exit();
        Self { bytes, len: (PLAIN + tags.len()) as u8, exit }
    }

    /// The station it leads to.
    pub fn to(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.bytes;
        MacAddr([a, b, c, d, e, f])
    }

    /// Whether it leads by the link of `interface`, as it is now.
    pub(crate) fn is_by(&self, interface: &Interface) -> bool {
        let now = Self::new(interface, self.to(), 0);
        let tags = 12..usize::from(self.len) - 2;
        (now.exit, now.len) == (self.exit, self.len) && now.bytes[tags.clone()] == self.bytes[tags]
    }

    /// Leads to another station by the same way.
    pub(super) fn lead_to(&mut self, to: MacAddr) {
        self.bytes[..6].copy_from_slice(&to.0);
    }

    /// Puts the header right in front of what begins at `meta.l3`, in place of what is there. Returns where the frame goes.
    #[inline]
    pub fn put(&self, frame: &mut Frame, meta: &mut Meta) -> Verdict {
        let [.., a, b] = self.bytes[..usize::from(self.len)] else { return Verdict::Drop(DropReason::IpTruncated) };
        self.put_typed(frame, meta, [a, b])
    }

    /// The same for an IP packet, which has the type of its own version: a neighbour is known by an address of one, and takes packets
    /// of both (RFC 8950).
    #[inline]
    pub(super) fn carry(&self, frame: &mut Frame, meta: &mut Meta) -> Verdict {
        let ethertype = if meta.network == Network::Ipv4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        self.put_typed(frame, meta, ethertype.to_be_bytes())
    }

    #[inline(always)]
    fn put_typed(&self, frame: &mut Frame, meta: &mut Meta, ethertype: [u8; 2]) -> Verdict {
        if meta.l3 != u16::from(self.len) && !make_room(frame, meta, usize::from(self.len)) {
            return Verdict::Drop(DropReason::TooLong);
        }
        let data = frame.data_mut();
        // Each length on its own, so that it is copied by a few moves.
        let done = match usize::from(self.len) {
            PLAIN => write::<PLAIN>(data, &self.bytes, ethertype),
            TAGGED => write::<TAGGED>(data, &self.bytes, ethertype),
            _ => write::<STACKED>(data, &self.bytes, ethertype),
        };
        if done { self.exit } else { Verdict::Drop(DropReason::IpTruncated) }
    }
}

#[inline]
fn write<const N: usize>(data: &mut [u8], header: &[u8; STACKED], ethertype: [u8; 2]) -> bool {
    let (Some(to), Some(from)) = (data.first_chunk_mut::<N>(), header.first_chunk::<N>()) else { return false };
    *to = *from;
    to[N - 2..].copy_from_slice(&ethertype);
    true
}

/// Makes the space before `meta.l3` exactly `wanted` bytes long; offsets move along. `false` if the frame has no room.
#[inline]
pub(super) fn make_room(frame: &mut Frame, meta: &mut Meta, wanted: usize) -> bool {
    let before = usize::from(meta.l3);
    if before > wanted {
        frame.trim_front(before - wanted);
    } else if frame.prepend(wanted - before).is_none() {
        return false;
    }
    let moved = |offset: u16| (usize::from(offset) + wanted).saturating_sub(before) as u16;
    meta.l4 = moved(meta.l4);
    if meta.flags.contains(Flags::CHECKSUM_PARTIAL) {
        meta.checksum_start = moved(meta.checksum_start);
    }
    meta.l3 = wanted as u16;
    true
}

/// Gives a frame with both addresses in front other tags than those before `meta.l3`. `false` if there is no room for them.
pub(crate) fn retag(frame: &mut Frame, meta: &mut Meta, tags: &tag::Tags) -> bool {
    let before = usize::from(meta.l3);
    let tags = tags.as_bytes();
    let Some(addresses) = frame.data().first_chunk::<12>().copied() else { return false };
    let Some(ethertype) = frame.data().get(..before).and_then(|header| header.last_chunk::<2>()).copied() else {
        return false;
    };
    let wanted = PLAIN + tags.len();
    if before != wanted && !make_room(frame, meta, wanted) {
        return false;
    }
    let Some(header) = frame.data_mut().get_mut(..wanted) else { return false };
    header[..12].copy_from_slice(&addresses);
    header[12..12 + tags.len()].copy_from_slice(tags);
    header[12 + tags.len()..].copy_from_slice(&ethertype);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Arena,
        l2::table::Link,
        l2::tag::{CUSTOMER, SERVICE, Tags},
        meta::PortId,
    };

    fn interface(tags: Tags) -> Interface {
        let link = Link::Port { port: PortId(4), tags };
        Interface { link, mac: MacAddr([2, 0, 0, 0, 0, 1]), ..Interface::absent() }
    }

    #[test]
    fn a_packet_gets_its_header_whatever_it_had() {
        let arena = Arena::new(4, 2048).unwrap();
        let to = MacAddr([2, 0, 0, 0, 0, 9]);
        let tags = [Tags::NONE, Tags::one(CUSTOMER, 7), Tags::two(SERVICE, 8, 9)];
        for had in [0usize, 14, 18, 22] {
            for tags in tags {
                let mut frame = arena.copy_from(&vec![0xee; had]).unwrap();
                frame.extend(24).unwrap().copy_from_slice(&[0x45; 24]);
                let flags = Flags::CHECKSUM_PARTIAL;
                let at = had as u16;
                let mut meta = Meta { l3: at, l4: at + 20, checksum_start: at + 20, flags, ..Meta::default() };
                let header = Header::new(&interface(tags), to, 0x0800);
                assert_eq!(header.put(&mut frame, &mut meta), Verdict::Transmit(PortId(4)));
                let expected = [&to.0[..], &[2, 0, 0, 0, 0, 1], tags.as_bytes(), &[8, 0], &[0x45; 24]].concat();
                assert_eq!(frame.data(), expected);
                let l3 = 14 + tags.as_bytes().len() as u16;
                assert_eq!((meta.l3, meta.l4, meta.checksum_start), (l3, l3 + 20, l3 + 20));
            }
        }
    }

    #[test]
    fn other_tags_leave_the_rest_of_the_frame_alone() {
        let arena = Arena::new(4, 2048).unwrap();
        for from in [Tags::NONE, Tags::one(CUSTOMER, 7), Tags::two(SERVICE, 8, 9)] {
            for to in [Tags::NONE, Tags::one(SERVICE, 70), Tags::two(CUSTOMER, 80, 90)] {
                let with = |tags: &Tags| [&[1; 6][..], &[2; 6], tags.as_bytes(), &[0x86, 0xdd], &[0x60; 40]].concat();
                let mut frame = arena.copy_from(&with(&from)).unwrap();
                let mut meta = Meta { l3: 14 + from.as_bytes().len() as u16, ..Meta::default() };
                assert!(retag(&mut frame, &mut meta, &to));
                assert_eq!(frame.data(), with(&to));
                assert_eq!(usize::from(meta.l3), 14 + to.as_bytes().len());
            }
        }
        let mut cut = arena.copy_from(&[1; 13]).unwrap();
        assert!(!retag(&mut cut, &mut Meta { l3: 14, ..Meta::default() }, &Tags::NONE));
    }
}
