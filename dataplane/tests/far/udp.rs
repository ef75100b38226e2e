//! UDP packets from clients to anywhere, to be forwarded.

use tidegate_dataplane::{
    frame::{Arena, Frame},
    io::checksum::Sum,
    l2::Tags,
};

use super::{FAR, PORTS};

/// Bytes of the shortest packet, without frame check sequence: Ethernet's minimum, and for IPv6 the headers' length.
pub(crate) const SHORTEST: [usize; 2] = [60, 62];

/// The client: 10.64.0.9, fd64::9.
const CLIENT: [u128; 2] = [0x0a40_0009, 0xfd64 << 112 | 9];

/// A packet of `len` bytes from a client behind port 0, for the address `to`. The payload is whatever was in the frame.
pub(crate) fn packet(arena: &Arena, v6: bool, to: u128, len: usize) -> Option<Frame> {
    packet_from(arena, v6, CLIENT[usize::from(v6)], to, len)
}

/// [`packet`] from another address than that client's.
pub(crate) fn packet_from(arena: &Arena, v6: bool, from: u128, to: u128, len: usize) -> Option<Frame> {
    let mut frame = arena.alloc()?;
    let data = frame.extend(len)?;
    data[..6].copy_from_slice(&PORTS[0].0);
    data[6..12].copy_from_slice(&FAR.0);
    let udp = if v6 {
        let payload = (len - 54) as u16;
        data[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, (payload >> 8) as u8, payload as u8, 17, 64]);
        data[22..38].copy_from_slice(&from.to_be_bytes());
        data[38..54].copy_from_slice(&to.to_be_bytes());
        54
    } else {
        let total = (len - 14) as u16;
        data[12..26].copy_from_slice(&[8, 0, 0x45, 0, (total >> 8) as u8, total as u8, 0, 0, 0, 0, 64, 17, 0, 0]);
        data[26..30].copy_from_slice(&(from as u32).to_be_bytes());
        data[30..34].copy_from_slice(&(to as u32).to_be_bytes());
        let sum = Sum::new().add(&data[14..34]).finish();
        data[24..26].copy_from_slice(&sum.to_be_bytes());
        34
    };
    let payload = (len - udp) as u16;
    data[udp..udp + 8].copy_from_slice(&[0x30, 0x39, 0, 53, (payload >> 8) as u8, payload as u8, 0, 0]);
    Some(frame)
}

/// Puts tags into a frame that has none.
pub(crate) fn put_tags(frame: &mut Frame, tags: &Tags) {
    let tags = tags.as_bytes();
    if tags.is_empty() {
        return;
    }
    frame.prepend(tags.len()).unwrap_or_else(|| panic!("headroom for tags"));
    frame.data_mut().copy_within(tags.len()..tags.len() + 12, 0);
    frame.data_mut()[12..12 + tags.len()].copy_from_slice(tags);
}
