//! Where outgoing segments go: a frame is lent, filled in place, and given back complete.

/// What the way out can do for TCP.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Capabilities {
    /// The port completes a TCP checksum whose field holds the pseudo-header sum.
    pub checksum: bool,
    /// Longest IP packet, in octets, that is cut into segments on the way out, and its checksum completed; 0 if none is.
    pub super_segment: u32,
}

/// How the bytes that were written into the lent buffer are to be treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Offset of the TCP header from the start of the IP packet, in bytes.
    pub tcp_at: usize,
    /// The checksum field holds only the pseudo-header sum; the port completes it.
    pub checksum_partial: bool,
    /// Payload bytes per segment if the packet is a super-segment for the port to cut; 0 otherwise.
    pub segment_size: u16,
}

/// Takes segments of this host, one at a time: `reserve`, fill, `commit`.
pub trait SegmentSink {
    /// What the way out can do.
    fn capabilities(&self) -> Capabilities;

    /// Whether `reserve` will succeed. TCP asks before it commits to sending something.
    fn has_room(&self) -> bool;

    /// Lends a buffer for an IP packet of `len` bytes; it may be longer. `None` if there is none: the sink counts why.
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]>;

    /// The first `len` bytes of the buffer lent last are a complete IP packet.
    fn commit(&mut self, sent: Sent);
}
