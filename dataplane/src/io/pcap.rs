//! Capture files as ports: packets of a file are received, packets that are sent make a file. For tests and benches.
//!
//! The classic format in all four dialects (both byte orders, microseconds and nanoseconds), Ethernet only. The file is read when
//! the device opens, so that receiving is a copy from memory. Sent packets carry their number as timestamp, in microseconds: a run
//! repeated writes the same file.

use core::fmt;
use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Capabilities, MacAddr, PortInfo, TxQueue,
    device::ETHERNET,
    error::Cause,
    spec::{PcapSpec, PortSpec},
};
use crate::{
    batch::Batch,
    frame::{Arena, HEADROOM},
    meta::{Meta, PortId},
    stats::PortStats,
};

/// Bytes before the first record.
const FILE_HEADER: usize = 24;
/// Bytes before each packet.
const RECORD_HEADER: usize = 16;
/// Capture files are held in memory: no more than this, in bytes.
const LONGEST_FILE: u64 = 1 << 30;
/// `LINKTYPE_ETHERNET`.
const ETHERNET_LINK: u32 = 1;

/// What is wrong with a capture file. Offsets are in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PcapFault {
    /// It cannot be opened, read or written.
    System {
        /// What the kernel said.
        errno: i32,
    },
    /// Larger than is held in memory.
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It is not a capture file; `0x0a0d0d0a` is the newer pcapng format.
    Magic {
        /// Its first four bytes, big-endian.
        found: u32,
    },
    /// Its packets do not begin with an Ethernet header.
    LinkType {
        /// The link type it has.
        found: u32,
    },
    /// It ends within a header or packet.
    Truncated {
        /// Where that header or packet begins.
        offset: usize,
    },
    /// It has no packet, so that it cannot be repeated.
    Empty,
    /// More than one core: the order of packets would be lost.
    Queues {
        /// Cores.
        wanted: u16,
    },
}

impl fmt::Display for PcapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { errno } => write!(f, "{}", io::Error::from_raw_os_error(*errno)),
            Self::TooLarge { bytes } => {
                write!(f, "{bytes} bytes are too many, {LONGEST_FILE} the most; cut it with `editcap -r`")
            }
            Self::Magic { found: 0x0a0d_0d0a } => {
                f.write_str("byte 0: this is a pcapng file; convert it: `editcap -F pcap IN OUT`")
            }
            Self::Magic { found } => write!(f, "byte 0: {found:#010x} does not begin a capture file"),
            Self::LinkType { found } => write!(f, "byte 20: link type {found}, but only Ethernet (1) is read"),
            Self::Truncated { offset } => write!(f, "byte {offset}: the header or packet that begins here is cut off"),
            Self::Empty => write!(f, "byte {FILE_HEADER}: there is no packet to repeat"),
            Self::Queues { wanted } => {
                write!(f, "a pcap port is served by one core, not {wanted}: its packets have an order")
            }
        }
    }
}

/// A capture file in memory.
#[derive(Debug)]
struct Capture {
    bytes: Vec<u8>,
    /// Start and length of each packet.
    packets: Vec<(usize, usize)>,
}

impl Capture {
    fn read(path: &Path) -> Result<Self, PcapFault> {
        let fault = |error: io::Error| PcapFault::System { errno: error.raw_os_error().unwrap_or(0) };
        let file = File::open(path).map_err(fault)?;
        let mut bytes = Vec::new();
        let read = file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(fault)? as u64;
        if read > LONGEST_FILE {
            return Err(PcapFault::TooLarge { bytes: read });
        }
        Self::parse(bytes)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, PcapFault> {
        let magic = bytes.first_chunk().copied().map(u32::from_be_bytes).ok_or(PcapFault::Truncated { offset: 0 })?;
        let word: fn([u8; 4]) -> u32 = match magic {
            0xa1b2_c3d4 | 0xa1b2_3c4d => u32::from_be_bytes,
            0xd4c3_b2a1 | 0x4d3c_b2a1 => u32::from_le_bytes,
            found => return Err(PcapFault::Magic { found }),
        };
        let at = |offset: usize| bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().map(word);
        // The upper bits of the link type say whether frame check sequences are included: taken as not.
        let link_type = at(20).ok_or(PcapFault::Truncated { offset: 0 })? & 0x0fff_ffff;
        if link_type != ETHERNET_LINK {
            return Err(PcapFault::LinkType { found: link_type });
        }
        let mut packets = Vec::new();
        let mut offset = FILE_HEADER;
        while offset < bytes.len() {
            let (start, truncated) = (offset + RECORD_HEADER, PcapFault::Truncated { offset });
            let len = at(offset + 8).ok_or(truncated)? as usize;
            if start > bytes.len() || len > bytes.len() - start {
                return Err(truncated);
            }
            packets.push((start, len));
            offset = start + len;
        }
        Ok(Self { bytes, packets })
    }
}

/// The files of a port.
#[derive(Debug)]
pub(super) struct PcapDevice {
    capture: Option<Arc<Capture>>,
    repeat: bool,
    write: Option<(PathBuf, File)>,
}

impl PcapDevice {
    pub(super) fn open(spec: &PortSpec, pcap: &PcapSpec, queues: u16) -> Result<(PortInfo, Self), Cause> {
        let any = || pcap.read.as_ref().or(pcap.write.as_ref()).cloned().unwrap_or_default();
        if queues != 1 {
            return Err(Cause::Pcap { path: any(), fault: PcapFault::Queues { wanted: queues } });
        }
        let capture = match &pcap.read {
            None => None,
            Some(path) => {
                let blame = |fault| Cause::Pcap { path: path.clone(), fault };
                let capture = Capture::read(path).map_err(blame)?;
                if pcap.repeat && capture.packets.is_empty() {
                    return Err(blame(PcapFault::Empty));
                }
                Some(Arc::new(capture))
            }
        };
        let write = match &pcap.write {
            None => None,
            Some(path) => Some((path.clone(), begin(path).map_err(|error| broken(path, &error))?)),
        };
        let longest = capture.iter().flat_map(|capture| &capture.packets).map(|(_, len)| *len).max().unwrap_or(0);
        let info = PortInfo {
            mac: spec.mac.unwrap_or_else(|| MacAddr::local(&spec.name)),
            mtu: spec.mtu,
            queues,
            capabilities: Capabilities {
                rx_max: (longest as u32).max(u32::from(spec.mtu) + ETHERNET),
                ..Capabilities::default()
            },
            driver: "pcap".to_owned(),
        };
        Ok((info, Self { capture, repeat: pcap.repeat, write }))
    }

    /// The seed of the only queue. A second one begins the capture again and writes behind what is written.
    pub(super) fn queue(&self) -> Result<PcapSeed, Cause> {
        let write = match &self.write {
            None => None,
            Some((path, file)) => Some(file.try_clone().map_err(|error| broken(path, &error))?),
        };
        Ok(PcapSeed { capture: self.capture.clone(), repeat: self.repeat, write })
    }
}

fn broken(path: &Path, error: &io::Error) -> Cause {
    Cause::Pcap { path: path.to_owned(), fault: PcapFault::System { errno: error.raw_os_error().unwrap_or(0) } }
}

/// Makes the file with its header: microseconds, our byte order, version 2.4, Ethernet.
fn begin(path: &Path) -> io::Result<File> {
    let mut file = File::create(path)?;
    let mut header = [0; FILE_HEADER];
    let words = [0xa1b2_c3d4_u32, u32::from_ne_bytes(version()), 0, 0, u32::from(u16::MAX), ETHERNET_LINK];
    for (to, word) in header.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    file.write_all(&header)?;
    Ok(file)
}

/// Two 16-bit numbers, in our byte order: 2 and 4.
fn version() -> [u8; 4] {
    let ([a, b], [c, d]) = (2u16.to_ne_bytes(), 4u16.to_ne_bytes());
    [a, b, c, d]
}

/// The files on their way to the core.
#[derive(Debug)]
pub(super) struct PcapSeed {
    capture: Option<Arc<Capture>>,
    repeat: bool,
    write: Option<File>,
}

impl PcapSeed {
    pub(super) fn attach(self) -> PcapPort {
        PcapPort {
            capture: self.capture,
            next: 0,
            repeat: self.repeat,
            write: self.write.map(BufWriter::new),
            written: 0,
        }
    }
}

/// Capture files as one core sees them.
#[derive(Debug)]
pub struct PcapPort {
    capture: Option<Arc<Capture>>,
    next: usize,
    repeat: bool,
    write: Option<BufWriter<File>>,
    written: u64,
}

impl PcapPort {
    pub(super) fn rx(&mut self, id: PortId, arena: &Arena, batch: &mut Batch, stats: &PortStats) {
        let Some(capture) = &self.capture else { return };
        let (mut packets, mut bytes) = (0, 0);
        for _ in 0..batch.room() {
            if self.next == capture.packets.len() && self.repeat {
                self.next = 0;
            }
            let Some(&(start, len)) = capture.packets.get(self.next) else { break };
            if len > arena.chunk_size() - HEADROOM {
                self.next += 1;
                stats.rx_errors.add(1);
                continue;
            }
            let Some(frame) = arena.copy_from(&capture.bytes[start..start + len]) else { break };
            self.next += 1;
            packets += 1;
            bytes += len as u64;
            // There is room: the loop is bounded by it.
            let _ = batch.push(frame, Meta { port: id, ..Meta::default() });
        }
        stats.rx_packets.add(packets);
        stats.rx_bytes.add(bytes);
    }

    /// Writes all packets; without a file they are counted and gone.
    pub(super) fn tx(&mut self, queue: &mut TxQueue, stats: &PortStats) {
        for (frame, _) in queue.drain(..) {
            let written = match &mut self.write {
                None => Ok(()),
                Some(file) => record(file, self.written, frame.data()),
            };
            if written.is_err() {
                stats.tx_errors.add(1);
                continue;
            }
            self.written += 1;
            stats.tx_packets.add(1);
            stats.tx_bytes.add(frame.len() as u64);
        }
    }

    /// Whether there is nothing more to receive.
    pub(super) fn is_idle(&self) -> bool {
        !self.repeat && self.capture.as_ref().is_none_or(|capture| self.next >= capture.packets.len())
    }

    /// Hands what is written to the kernel, so that the file can be followed.
    pub(super) fn flush(&mut self) {
        if let Some(file) = &mut self.write
            && !file.buffer().is_empty()
        {
            // What cannot be written stays buffered and fails again, counted, with the next packet.
            let _ = file.flush();
        }
    }
}

fn record(file: &mut BufWriter<File>, number: u64, packet: &[u8]) -> io::Result<()> {
    let len = packet.len() as u32;
    let words = [(number / 1_000_000) as u32, (number % 1_000_000) as u32, len, len];
    let mut header = [0; RECORD_HEADER];
    for (to, word) in header.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    file.write_all(&header)?;
    file.write_all(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Device, DriverSpec, Port};

    fn port(pcap: PcapSpec, arena: &Arena) -> Port {
        let spec = PortSpec { name: "wire".to_owned(), driver: DriverSpec::Pcap(pcap), mac: None, mtu: 1500 };
        Device::open(&spec, 1).unwrap().queue(0).unwrap().attach(arena).unwrap()
    }

    fn receive(port: &mut Port, arena: &Arena, stats: &PortStats) -> Vec<Vec<u8>> {
        let mut batch = Batch::new();
        port.rx(PortId(1), arena, &mut batch, stats);
        batch.drain().map(|slot| slot.frame.unwrap().data().to_vec()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire.pcap");
        let arena = Arena::new(64, 2048).unwrap();
        let stats = PortStats::default();
        let mut out = port(PcapSpec { write: Some(path.clone()), ..PcapSpec::default() }, &arena);
        let mut queue = TxQueue::new();
        for number in 0..5u8 {
            queue.push((arena.copy_from(&vec![number; 60 + usize::from(number)]).unwrap(), Meta::default()));
        }
        out.tx(&arena, &mut queue, &stats);
        out.flush();
        assert_eq!((stats.tx_packets.value(), stats.tx_bytes.value()), (5, 310));
        assert!(receive(&mut out, &arena, &stats).is_empty());

        let mut once = port(PcapSpec { read: Some(path.clone()), ..PcapSpec::default() }, &arena);
        assert!(!once.prepare_sleep());
        let packets = receive(&mut once, &arena, &stats);
        assert_eq!(packets.len(), 5);
        assert_eq!(packets[4], [4; 64]);
        assert!(once.prepare_sleep() && receive(&mut once, &arena, &stats).is_empty());

        let mut forever = port(PcapSpec { read: Some(path), repeat: true, ..PcapSpec::default() }, &arena);
        let packets = receive(&mut forever, &arena, &stats);
        assert_eq!((packets.len(), packets[63][0], receive(&mut forever, &arena, &stats)[0][0]), (64, 3, 4));
    }

    fn file(dialect: fn(u32) -> [u8; 4], magic: u32, packets: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [magic, 0x0002_0004, 0, 0, 65535, 1] {
            bytes.extend(dialect(word));
        }
        for packet in packets {
            for word in [1, 2, packet.len() as u32, packet.len() as u32] {
                bytes.extend(dialect(word));
            }
            bytes.extend(*packet);
        }
        bytes
    }

    #[test]
    fn all_dialects_are_read() {
        for dialect in [u32::to_be_bytes, u32::to_le_bytes] {
            for magic in [0xa1b2_c3d4, 0xa1b2_3c4d] {
                let capture = Capture::parse(file(dialect, magic, &[b"one", b"three"])).unwrap();
                assert_eq!(capture.packets, [(40, 3), (59, 5)]);
            }
        }
    }

    #[test]
    fn faults_name_the_place() {
        let good = file(u32::to_le_bytes, 0xa1b2_c3d4, &[b"one", b"three"]);
        let fault = |bytes: &[u8]| Capture::parse(bytes.to_vec()).unwrap_err();
        assert_eq!(fault(&good[..3]), PcapFault::Truncated { offset: 0 });
        assert_eq!(fault(&good[..23]), PcapFault::Truncated { offset: 0 });
        for cut in 44..good.len() {
            assert_eq!(fault(&good[..cut]), PcapFault::Truncated { offset: 43 });
        }
        let mut long = good.clone();
        long[32..36].fill(0xff);
        assert_eq!(fault(&long), PcapFault::Truncated { offset: 24 });
        let mut wifi = good;
        wifi[20] = 105;
        assert_eq!(fault(&wifi), PcapFault::LinkType { found: 105 });
        let newer = fault(&[0x0a, 0x0d, 0x0d, 0x0a]);
        assert!(newer.to_string().contains("editcap -F pcap"), "{newer}");

        let spec = |read: &str| PortSpec {
            name: "wire".to_owned(),
            driver: DriverSpec::Pcap(PcapSpec { read: Some(read.into()), ..PcapSpec::default() }),
            mac: None,
            mtu: 1500,
        };
        let error = Device::open(&spec("/none.pcap"), 1).unwrap_err().to_string();
        assert!(error.starts_with("port \"wire\": /none.pcap: No such file"), "{error}");
        assert!(Device::open(&spec("/none.pcap"), 2).unwrap_err().to_string().contains("one core"));
    }
}
