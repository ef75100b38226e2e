//! `struct virtio_net_hdr`: what is still to be done to a packet (virtio 1.2 §5.1.6), in the byte order of this machine.

use crate::{
    frame::Frame,
    meta::{Flags, Meta},
};

/// Bytes of the header (without the merged-buffers field, which TAP does not use).
pub(super) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Congestion bit beside a TCP type: the first segment carries CWR.
const GSO_ECN: u8 = 0x80;

/// Takes over what the kernel says about the packet that follows `header`, which is `len` bytes long. `None` when it promises
/// something impossible.
#[inline]
pub(super) fn parse(header: [u8; LEN], len: usize, meta: &mut Meta) -> Option<()> {
    let [flags, gso, _, _, size_0, size_1, start_0, start_1, offset_0, offset_1] = header;
    let start = u16::from_ne_bytes([start_0, start_1]);
    let offset = u16::from_ne_bytes([offset_0, offset_1]);
    if flags & NEEDS_CSUM != 0 {
        if usize::from(start) + usize::from(offset) + 2 > len {
            return None;
        }
        meta.flags |= Flags::CHECKSUM_PARTIAL | Flags::RX_CHECKSUM_GOOD;
        meta.checksum_start = start;
        meta.checksum_offset = offset;
    } else if flags & DATA_VALID != 0 {
        meta.flags |= Flags::RX_CHECKSUM_GOOD;
    }
    match gso & !GSO_ECN {
        GSO_NONE => Some(()),
        GSO_TCPV4 | GSO_TCPV6 => {
            meta.segment_size = u16::from_ne_bytes([size_0, size_1]);
            (meta.segment_size != 0 && meta.flags.contains(Flags::CHECKSUM_PARTIAL)).then_some(())
        }
        _ => None,
    }
}

/// Says what is left to do to `frame`: its checksum when it is partial, its segmentation when it is a super-segment.
#[inline]
pub(super) fn build(frame: &Frame, meta: &Meta) -> [u8; LEN] {
    let mut header = [0; LEN];
    if !meta.flags.contains(Flags::CHECKSUM_PARTIAL) {
        return header;
    }
    header[0] = NEEDS_CSUM;
    header[6..8].copy_from_slice(&meta.checksum_start.to_ne_bytes());
    header[8..10].copy_from_slice(&meta.checksum_offset.to_ne_bytes());
    let start = usize::from(meta.checksum_start);
    if meta.segment_size == 0 {
        return header;
    }
    let data = frame.data();
    // The kernel wants the length of all headers, to copy them before each segment.
    let headers = start + data.get(start + 12).map_or(20, |offset| usize::from(offset >> 4) * 4);
    if data.len() <= headers + usize::from(meta.segment_size) {
        return header;
    }
    let version = data.get(usize::from(meta.l3)).map_or(4, |first| first >> 4);
    header[1] = if version == 6 { GSO_TCPV6 } else { GSO_TCPV4 };
    header[2..4].copy_from_slice(&(headers as u16).to_ne_bytes());
    header[4..6].copy_from_slice(&meta.segment_size.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    #[test]
    fn what_is_built_is_parsed() {
        let arena = Arena::new(1, 8192).unwrap();
        let mut bytes = vec![0; 4000];
        bytes[14] = 0x45;
        bytes[34 + 12] = 0x50;
        let frame = arena.copy_from(&bytes).unwrap();
        let sent = Meta {
            l3: 14,
            checksum_start: 34,
            checksum_offset: 16,
            segment_size: 1448,
            flags: Flags::CHECKSUM_PARTIAL,
            ..Meta::default()
        };
        let header = build(&frame, &sent);
        assert_eq!(header[..4], [NEEDS_CSUM, GSO_TCPV4, 54, 0]);
        let mut received = Meta::default();
        parse(header, 4000, &mut received).unwrap();
        assert_eq!((received.checksum_start, received.checksum_offset, received.segment_size), (34, 16, 1448));
        assert!(received.flags.contains(Flags::CHECKSUM_PARTIAL | Flags::RX_CHECKSUM_GOOD));
    }

    #[test]
    fn impossible_promises_are_refused() {
        let beyond = [NEEDS_CSUM, 0, 0, 0, 0, 0, 34, 0, 16, 0];
        assert!(parse(beyond, 51, &mut Meta::default()).is_none());
        assert!(parse(beyond, 52, &mut Meta::default()).is_some());
        assert!(parse([0, GSO_TCPV4, 0, 0, 100, 0, 0, 0, 0, 0], 60, &mut Meta::default()).is_none());
        assert!(parse([0, 3, 0, 0, 100, 0, 0, 0, 0, 0], 60, &mut Meta::default()).is_none());
    }
}
