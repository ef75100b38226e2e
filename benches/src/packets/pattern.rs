//! What a packet is: a UDP packet of a client to a destination behind the program under test, with a stamp in its payload.

use core::{fmt, str::FromStr};

use tidegate_dataplane::{frame::Frame, io::checksum::Sum};

use super::options::Traffic;
use crate::{random::Random, routes};

/// Hops that a packet may make.
pub(super) const HOPS: u8 = 64;
/// Destinations unless told otherwise: as many as there are routes, but no fewer than this.
const FEWEST: u32 = 512;
/// Bytes of a frame's check sequence, which ports neither take nor give.
const CHECK: usize = 4;
const ETHERNET: usize = 14;
const MAGIC: [u8; 4] = *b"TGPK";
/// Bytes of magic, trial and time.
const STAMP: usize = 16;
/// Frames of a mix in turn: seven of 64 bytes, four of 594, one of 1518 (the "simple IMIX"), the large ones apart.
const IMIX: [usize; 12] = [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594];

/// How long frames are, check sequence included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// All alike.
    Bytes(u16),
    /// A mix.
    Imix,
}

/// Words that are no size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoSize(String);

impl fmt::Display for NoSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: a size is 64 to 1518 bytes, or imix", self.0)
    }
}

impl std::error::Error for NoSize {}

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        let bytes = text.parse().ok().filter(|bytes| (64..=1518).contains(bytes));
        bytes.map(Self::Bytes).ok_or_else(|| NoSize(text.to_owned()))
    }
}

/// What a stamp says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Number of the trial.
    pub(super) trial: u32,
    /// Counter when it was sent.
    pub(super) sent: u64,
}

/// Headers before the payload, made once; a packet is a copy with its own destination, length and stamp.
pub(super) struct Pattern {
    header: Vec<u8>,
    destinations: Vec<u128>,
    lengths: Vec<usize>,
    v6: bool,
    next: usize,
}

impl Pattern {
    pub(super) fn new(traffic: &Traffic) -> Self {
        let Traffic { v6, .. } = *traffic;
        let (mut random, prefixes) = (Random::new(), routes::prefixes(traffic.routes as usize, v6));
        let count = traffic.destinations.unwrap_or(traffic.routes.max(FEWEST));
        let within = |_| routes::within(&prefixes[random.below(prefixes.len())], &mut random);
        let header = header(traffic);
        let shortest = header.len() + STAMP;
        let length = |size: usize| (size - CHECK).max(shortest);
        Self {
            destinations: (0..count).map(within).collect(),
            lengths: match traffic.size {
                Size::Bytes(bytes) => vec![length(usize::from(bytes))],
                Size::Imix => IMIX.map(length).to_vec(),
            },
            header,
            v6,
            next: 0,
        }
    }

    /// Mean length of a frame, in bytes, without check sequence.
    pub(super) fn mean(&self) -> f64 {
        self.lengths.iter().sum::<usize>() as f64 / self.lengths.len() as f64
    }

    /// Writes the next packet into an empty frame that has room; `None` if it has not. Of the payload
    /// only the stamp is written.
    #[inline]
    pub(super) fn write(&mut self, frame: &mut Frame, stamp: Stamp) -> Option<()> {
        let length = self.lengths[self.next % self.lengths.len()];
        let to = self.destinations[self.next % self.destinations.len()];
        self.next = self.next.wrapping_add(1);
        let data = frame.extend(length)?;
        let (header, payload) = data.split_at_mut_checked(self.header.len())?;
        header.copy_from_slice(&self.header);
        let ip = &mut header[ETHERNET..];
        let udp_at = if self.v6 {
            ip[4..6].copy_from_slice(&((length - ETHERNET - 40) as u16).to_be_bytes());
            ip[24..40].copy_from_slice(&to.to_be_bytes());
            40
        } else {
            ip[2..4].copy_from_slice(&((length - ETHERNET) as u16).to_be_bytes());
            ip[16..20].copy_from_slice(&(to as u32).to_be_bytes());
            let sum = Sum::new().add(&ip[..20]).finish();
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            20
        };
        ip[udp_at + 4..udp_at + 6].copy_from_slice(&((length - ETHERNET - udp_at) as u16).to_be_bytes());
        let stamped = payload.first_chunk_mut::<STAMP>()?;
        stamped[..4].copy_from_slice(&MAGIC);
        stamped[4..8].copy_from_slice(&stamp.trial.to_le_bytes());
        stamped[8..].copy_from_slice(&stamp.sent.to_le_bytes());
        Some(())
    }

    /// What a received frame says, and the hops it may still make; `None` when it is none of ours.
    #[inline]
    pub(super) fn read(&self, data: &[u8]) -> Option<(Stamp, u8)> {
        let payload = data.get(self.header.len()..)?.first_chunk::<STAMP>()?;
        let [m0, m1, m2, m3, t0, t1, t2, t3, sent @ ..] = *payload;
        let ip = &data[ETHERNET..];
        // A header that was changed without its checksum is as good as lost.
        if [m0, m1, m2, m3] != MAGIC || (!self.v6 && Sum::new().add(&ip[..20]).folded() != 0xffff) {
            return None;
        }
        let stamp = Stamp { trial: u32::from_le_bytes([t0, t1, t2, t3]), sent: u64::from_le_bytes(sent) };
        Some((stamp, if self.v6 { ip[7] } else { ip[8] }))
    }
}

/// Ethernet, IP and UDP headers whose destination, length and sum are yet to be written. The UDP checksum is zero, as RFC 6935 allows
/// for stamps that are written late.
fn header(traffic: &Traffic) -> Vec<u8> {
    let mut header = [traffic.to.0.0, traffic.from.0.0].concat();
    if traffic.v6 {
        header.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, HOPS]);
        header.extend([0xfd, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        header.extend([0; 16]);
    } else {
        header.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, 17, 0, 0, 10, 64, 0, 9, 0, 0, 0, 0]);
    }
    // To the port of RFC 863, where nobody answers.
    header.extend([0x30, 0x39, 0, 9, 0, 0, 0, 0]);
    header
}
