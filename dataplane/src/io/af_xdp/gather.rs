//! A packet that arrives in several chunks, put together in the first.

use crate::frame::Frame;

/// What has come of a packet whose last piece has not.
#[derive(Default, Debug)]
pub(super) struct Gather {
    so_far: Option<Pieces>,
}

#[derive(Debug)]
enum Pieces {
    /// In the first one's chunk, which is larger than the kernel thinks.
    Packet(Frame),
    /// The packet is longer than a chunk, or a piece of it is missing: the rest is waited for, and all of it is lost.
    Spoilt,
}

impl Gather {
    /// Whether the next piece belongs to a packet that has begun.
    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        self.so_far.is_some()
    }

    /// Adds a piece (`None`: one that is lost), `more` of which follow. With the last it returns the packet; `None` if that is lost.
    #[cold]
    pub(super) fn add(&mut self, piece: Option<Frame>, more: bool) -> Option<Frame> {
        let so_far = match (self.so_far.take(), piece) {
            (None, Some(first)) => Pieces::Packet(first),
            (Some(Pieces::Packet(mut packet)), Some(piece)) => match packet.extend(piece.len()) {
                Some(room) => {
                    room.copy_from_slice(piece.data());
                    Pieces::Packet(packet)
                }
                None => Pieces::Spoilt,
            },
            _ => Pieces::Spoilt,
        };
        match so_far {
            so_far if more => {
                self.so_far = Some(so_far);
                None
            }
            Pieces::Packet(packet) => Some(packet),
            Pieces::Spoilt => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Arena;

    #[test]
    fn pieces_become_a_packet_and_go_home() {
        let arena = Arena::new(8, 8192).unwrap();
        let piece = |byte, len| arena.copy_from(&vec![byte; len]);
        let mut gather = Gather::default();
        assert!(gather.add(piece(1, 3840), true).is_none() && gather.is_under_way());
        assert!(gather.add(piece(2, 3840), true).is_none());
        let packet = gather.add(piece(3, 100), false).unwrap();
        assert!(!gather.is_under_way());
        assert_eq!((packet.len(), arena.available()), (7780, 7));
        assert_eq!([packet.data()[3839], packet.data()[3840], packet.data()[7779]], [1, 2, 3]);
    }

    #[test]
    fn a_packet_that_is_too_long_is_lost_as_a_whole_and_the_next_is_not() {
        let arena = Arena::new(8, 8192).unwrap();
        let piece = |len| arena.copy_from(&vec![0; len]);
        let mut gather = Gather::default();
        for _ in 0..3 {
            assert!(gather.add(piece(3840), true).is_none() && gather.is_under_way());
        }
        assert!(gather.add(piece(60), false).is_none() && !gather.is_under_way());
        assert!(gather.add(None, true).is_none() && gather.is_under_way(), "the first piece is missing");
        assert!(gather.add(piece(60), false).is_none());
        assert_eq!(arena.available(), 8);
        assert!(gather.add(piece(3840), true).is_none());
        assert_eq!(gather.add(piece(60), false).map(|packet| packet.len()), Some(3900));
    }
}
