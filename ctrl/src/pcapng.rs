//! Capture files as Wireshark and tcpdump read them (pcapng, draft-ietf-opsawg-pcapng). Blocks are made whole and little-endian; a file
//! may end after any of them.

/// Ethernet (`LINKTYPE_ETHERNET`).
const ETHERNET: u16 = 1;

mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const PACKET: u32 = 6;
}

/// What a reader is told about an interface.
#[derive(Clone, Debug)]
pub struct Interface<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub description: &'a str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The filter by which packets were chosen; empty for none.
    pub filter: &'a str,
    /// Bytes of a packet that are kept at most.
    pub snap: u32,
}

/// Which way a packet went (`epb_flags`, bits 0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    In = 1,
    /// It went out.
    Out = 2,
}

/// A packet.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// Place of its interface in the file.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub unix_ns: u64,
    /// Which way it went.
    pub direction: Direction,
    /// What was kept of it.
    pub data: &'a [u8],
    /// How long it was.
    pub length: u32,
    /// Packets lost between the one before and this one.
    pub missed: u64,
    /// What is to be said about it; empty for nothing.
    pub comment: &'a str,
}

/// What became of an interface's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Nanoseconds since 1970 at the beginning and the end.
    pub between: (u64, u64),
    /// Packets that the port received meanwhile.
    pub received: u64,
    /// Packets that passed the filter.
    pub passed: u64,
    /// Of these, packets that were lost.
    pub lost: u64,
    /// Packets in the file.
    pub delivered: u64,
}

/// Appends blocks to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// What was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The beginning of a file (§4.1), written by `program`.
    pub fn section(&mut self, program: &str) {
        self.block(block::SECTION, |out| {
            out.extend(0x1a2b_3c4du32.to_le_bytes());
            // Version 1.0, of unknown length.
            out.extend([1, 0, 0, 0]);
            out.extend([0xff; 8]);
            option(out, 4, program.as_bytes());
            end_of_options(out);
        });
    }

    /// An interface (§4.2). The first has place 0.
    pub fn interface(&mut self, interface: &Interface<'_>) {
        self.block(block::INTERFACE, |out| {
            out.extend(ETHERNET.to_le_bytes());
            out.extend([0, 0]);
            out.extend(interface.snap.to_le_bytes());
            option(out, 2, interface.name.as_bytes());
            option(out, 3, interface.description.as_bytes());
            option(out, 6, &interface.mac);
            // Times in units of 10⁻⁹ s.
            option(out, 9, &[9]);
            if !interface.filter.is_empty() {
                option(out, 11, &[&[0], interface.filter.as_bytes()].concat());
            }
            end_of_options(out);
        });
    }

    /// A packet (§4.3).
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.block(block::PACKET, |out| {
            out.extend(packet.interface.to_le_bytes());
            time(out, packet.unix_ns);
            out.extend((packet.data.len() as u32).to_le_bytes());
            out.extend(packet.length.to_le_bytes());
            padded(out, packet.data);
            if !packet.comment.is_empty() {
                option(out, 1, packet.comment.as_bytes());
            }
            let to = packet.data.first_chunk::<6>();
            // Bits 2 to 4: unicast, multicast, broadcast.
            let reach = match to {
                Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => 3,
                Some([first, ..]) if first & 1 != 0 => 2,
                Some(_) => 1,
                None => 0,
            };
            option(out, 2, &(packet.direction as u32 | reach << 2).to_le_bytes());
            if packet.missed > 0 {
                option(out, 4, &packet.missed.to_le_bytes());
            }
            end_of_options(out);
        });
    }

    /// What became of an interface's packets (§4.6): at the end of the file.
    pub fn statistics(&mut self, interface: u32, statistics: &Statistics) {
        self.block(block::STATISTICS, |out| {
            out.extend(interface.to_le_bytes());
            time(out, statistics.between.1);
            for (code, at) in [(2, statistics.between.0), (3, statistics.between.1)] {
                let mut value = Vec::with_capacity(8);
                time(&mut value, at);
                option(out, code, &value);
            }
            let Statistics { received, passed, lost, delivered, .. } = statistics;
            for (code, count) in [(4, received), (6, passed), (7, lost), (8, delivered)] {
                option(out, code, &count.to_le_bytes());
            }
            end_of_options(out);
        });
    }

    /// Kind, length, content, length (§3.1).
    fn block(&mut self, kind: u32, content: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend(kind.to_le_bytes());
        self.out.extend([0; 4]);
        content(&mut self.out);
        let length = (self.out.len() - start + 4) as u32;
        self.out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
        self.out.extend(length.to_le_bytes());
    }
}

/// The upper half, then the lower.
fn time(out: &mut Vec<u8>, nanoseconds: u64) {
    out.extend(((nanoseconds >> 32) as u32).to_le_bytes());
    out.extend((nanoseconds as u32).to_le_bytes());
}

fn padded(out: &mut Vec<u8>, data: &[u8]) {
    out.extend(data);
    out.resize(out.len() + data.len().wrapping_neg() % 4, 0);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Names and filters are short; what is not is cut.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    padded(out, value);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

/// Cuts a stream into whole blocks, and reads the statistics on the way: for whoever passes a capture on.
#[derive(Debug, Default)]
pub struct Blocks {
    waiting: Vec<u8>,
    /// Packets so far.
    pub packets: u64,
    /// Statistics, added up over the interfaces; `None` until the end.
    pub statistics: Option<Statistics>,
}

impl Blocks {
    /// Takes a piece of the stream; returns the whole blocks that can be passed on.
    pub fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        self.waiting.extend_from_slice(piece);
        let mut whole = 0;
        while let Some(block) = self.waiting.get(whole..).filter(|rest| rest.len() >= 12) {
            let length = word(block, 4) as usize;
            if length < 12 || block.len() < length {
                break;
            }
            match word(block, 0) {
                block::PACKET => self.packets += 1,
                block::STATISTICS => {
                    let read = statistics(&block[20..length - 4]);
                    let sum = self.statistics.get_or_insert_default();
                    sum.received += read.received;
                    sum.passed += read.passed;
                    sum.lost += read.lost;
                    sum.delivered += read.delivered;
                }
                _ => {}
            }
            whole += length;
        }
        let rest = self.waiting.split_off(whole);
        std::mem::replace(&mut self.waiting, rest)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

fn statistics(mut options: &[u8]) -> Statistics {
    let mut read = Statistics::default();
    while let Some((head, rest)) = options.split_first_chunk::<4>() {
        let (code, length) =
            (u16::from_le_bytes([head[0], head[1]]), usize::from(u16::from_le_bytes([head[2], head[3]])));
        let count = rest.first_chunk().map_or(0, |count| u64::from_le_bytes(*count));
        match code {
            4 => read.received = count,
            6 => read.passed = count,
            7 => read.lost = count,
            8 => read.delivered = count,
            _ => {}
        }
        options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.section("tidegate");
        let interface = Interface { name: "lan", description: "tap", mac: [2, 0, 0, 0, 0, 1], filter: "tcp", snap: 0 };
        writer.interface(&interface);
        let packet = Packet {
            interface: 0,
            unix_ns: 1_700_000_000_123_456_789,
            direction: Direction::Out,
            data: &[0xff; 61],
            length: 61,
            missed: 5,
            comment: "why",
        };
        writer.packet(&packet);
        let statistics = Statistics { between: (1, 2), received: 9, passed: 7, lost: 6, delivered: 1 };
        writer.statistics(0, &statistics);
        assert!(!writer.is_empty() && writer.len() % 4 == 0);
        writer.take()
    }

    #[test]
    fn blocks_name_their_length_twice_and_are_whole_words() {
        let file = file();
        let (mut at, mut kinds) = (0, Vec::new());
        while at < file.len() {
            let length = word(&file, at + 4) as usize;
            assert_eq!(word(&file, at + length - 4) as usize, length);
            assert_eq!(length % 4, 0);
            kinds.push(word(&file, at));
            at += length;
        }
        assert_eq!(kinds, [block::SECTION, block::INTERFACE, block::PACKET, block::STATISTICS]);
    }

    #[test]
    fn a_stream_in_pieces_is_passed_on_in_blocks() {
        let file = file();
        for size in [1, 7, 64, 1000] {
            let mut blocks = Blocks::default();
            let mut passed = Vec::new();
            for piece in file.chunks(size) {
                passed.extend(blocks.take(piece));
            }
            assert_eq!(passed, file);
            let sum = blocks.statistics.expect("read");
            assert_eq!((blocks.packets, sum.received, sum.passed, sum.lost, sum.delivered), (1, 9, 7, 6, 1));
        }
        let mut cut = Blocks::default();
        let whole = cut.take(&file[..file.len() - 1]);
        assert!(whole.len() < file.len() - 1, "a block that is cut off is not passed on");
    }
}
