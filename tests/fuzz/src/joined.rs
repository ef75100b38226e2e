//! Fragments for the gateway itself: in any order, more than once, overlapping, with lies in them, of two packets at a time.

use core::time::Duration;

use tidegate_dataplane::io::checksum::Sum;

use crate::{
    frames::{IPV4, IPV6, end, link, sound},
    gateway::Gateway,
};

/// Most fragments of which the gateway is sure to keep all: an eighth of its buffers, of which others may have some.
const KEPT: usize = 60;
/// Bytes of a fragment's payload.
const LONGEST: usize = 1480;
/// What the first fragment has at least for the gateway to read its headers.
const LEAST: usize = 40;
/// Most that TCP carries in a whole that is put together: it has to fit a frame. Others are answered from the fragments.
const FITS: usize = 1600;
/// Fragments are given up after a minute; before that the model ceases to say what must come.
const IN_TIME: Duration = Duration::from_secs(50);
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet that comes in fragments, and what is known of those that came.
struct Whole {
    is_v6: bool,
    protocol: u8,
    identification: u8,
    payload: Vec<u8>,
    /// Bytes of which an answer has to speak: ports, or identifier and number of an echo.
    mark: [u8; 4],
    /// The fragments that came, as offset and end.
    pieces: Vec<(usize, usize)>,
    /// None lied about its place or what it carries, and none overlapped another.
    honest: bool,
    clean: bool,
    answered: bool,
}

impl Whole {
    fn new(is_v6: bool, kind: u8, identification: u8, len: usize) -> Self {
        let filler = (0..len).map(|at| (at * 7 + usize::from(identification)) as u8);
        let source = 0xc0de_u16 + u16::from(identification);
        let [high, low] = source.to_be_bytes();
        let (protocol, mut payload, mark) = match kind % 3 {
            0 if is_v6 => (58, vec![128, 0, 0, 0, high, low, 0, 1], [high, low, 0, 1]),
            0 => (1, vec![8, 0, 0, 0, high, low, 0, 1], [high, low, 0, 1]),
            1 => {
                let header = [high, low, 0, 80, 0, 0, 3, 232, 0, 0, 0, 0, 0x80, 2, 0xff, 0xff, 0, 0, 0, 0];
                (TCP, [&header[..], &[2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 0, 0]].concat(), [0, 80, high, low])
            }
            _ => (UDP, vec![high, low, 0x51, 0x51, 0, 0, 0, 0], [high, low, 0x51, 0x51]),
        };
        payload.extend(filler);
        if protocol == UDP {
            let length = (payload.len() as u16).to_be_bytes();
            payload[4..6].copy_from_slice(&length);
        }
        let mut whole = Self {
            is_v6,
            protocol,
            identification,
            payload,
            mark,
            pieces: Vec::new(),
            honest: true,
            clean: true,
            answered: false,
        };
        let at = match protocol {
            TCP => 16,
            UDP => 6,
            _ => 2,
        };
        let sum = whole.sum(&whole.payload).finish();
        whole.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        whole
    }

    /// Both addresses: a neighbour's and the gateway's.
    fn addresses(&self) -> [Vec<u8>; 2] {
        let fd00 = |low: u16| {
            let mut address = vec![0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            address.extend(low.to_be_bytes());
            address
        };
        if self.is_v6 { [fd00(0x100), fd00(1)] } else { [vec![10, 0, 1, 100], vec![10, 0, 1, 1]] }
    }

    /// The sum over a message between the two, in either direction.
    fn sum(&self, message: &[u8]) -> Sum {
        let [source, destination] = self.addresses();
        let pseudo = Sum::new().add_pseudo(&source, &destination, self.protocol, message.len());
        if self.protocol == 1 { Sum::new() } else { pseudo }.add(message)
    }

    /// A fragment as a frame.
    fn piece(&self, offset: usize, more: bool, part: &[u8]) -> Vec<u8> {
        let [source, destination] = self.addresses();
        if self.is_v6 {
            let field = (offset as u16 | u16::from(more)).to_be_bytes();
            let fragment = [self.protocol, 0, field[0], field[1], 0, 0, 0, self.identification];
            let length = (8 + part.len() as u16).to_be_bytes();
            let header = [0x60, 0, 0, 0, length[0], length[1], 44, 64];
            return [&link(0, IPV6)[..], &header, &source, &destination, &fragment, part].concat();
        }
        let field = ((offset as u16 / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
        let length = (20 + part.len() as u16).to_be_bytes();
        let start =
            [0x45, 0, length[0], length[1], 0, self.identification, field[0], field[1], 64, self.protocol, 0, 0];
        let mut header = [&start[..], &source, &destination].concat();
        let sum = Sum::new().add(&header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&link(0, IPV4)[..], &header, part].concat()
    }

    /// Notes a fragment that comes.
    fn note(&mut self, offset: usize, end: usize) {
        let overlaps = |&(from, to): &(usize, usize)| from < end && offset < to && (from, to) != (offset, end);
        self.clean &= !self.pieces.iter().any(overlaps);
        if !self.pieces.contains(&(offset, end)) {
            self.pieces.push((offset, end));
        }
    }

    /// Whether all bytes have come.
    fn is_covered(&self) -> bool {
        let mut pieces = self.pieces.clone();
        pieces.sort_unstable();
        let reached = pieces.iter().fold(0, |at, &(from, to)| if from <= at { at.max(to) } else { at });
        reached == self.payload.len()
    }

    /// Whether the gateway must be able to join what came.
    fn must_be_joined(&self) -> bool {
        let readable = self.pieces.iter().any(|&(from, to)| from == 0 && to >= LEAST.min(self.payload.len()));
        let fits = self.protocol != TCP || self.payload.len() <= FITS;
        self.honest && self.clean && readable && fits && self.pieces.len() <= KEPT / 2 && self.is_covered()
    }

    /// Where the message of a packet that is sent to us begins.
    fn message<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let of_family = frame.get(12..14)? == if self.is_v6 { IPV6 } else { IPV4 }.to_be_bytes();
        let at = match self.is_v6 {
            true if frame.get(20) == Some(&44) => 62,
            true => 54,
            false => 34,
        };
        frame.get(at..).filter(|_| of_family)
    }

    /// Whether a frame answers the whole, or begins to.
    fn is_answer(&self, frame: &[u8]) -> bool {
        let Some(message) = self.message(frame) else { return false };
        let kinds: &[u8] = match (self.protocol, self.is_v6) {
            (TCP, _) => return message.starts_with(&self.mark),
            (UDP, false) => &[3],
            (UDP, true) => &[1],
            (_, false) => &[0],
            (_, true) => &[129],
        };
        let marked = message.get(4..).is_some_and(|rest| rest.windows(4).any(|four| four == self.mark));
        kinds.contains(&message[0]) && marked
    }

    /// What an echo is answered with: all that was asked, and a right checksum.
    fn check_echo(&self, sent: &[(usize, Vec<u8>)]) {
        let messages = sent.iter().filter_map(|(_, frame)| self.message(frame));
        let whole: Vec<u8> = messages.flatten().copied().collect();
        assert_eq!(whole.get(4..), self.payload.get(4..), "an echo of what was sent");
        assert_eq!(self.sum(&whole).folded(), 0xffff, "checksum of the echo");
    }
}

/// Fragments of two packets for the gateway, as `data` cuts them; how many packets it joined and answered.
pub(crate) fn joined(data: &[u8]) -> usize {
    let [how, length, rest @ ..] = data else { return 0 };
    let len = usize::from(*length) * 16;
    let mut wholes = [1, 2].map(|identification| Whole::new(how & 1 != 0, how >> 1 & 3, identification, len));
    let mut gateway = Gateway::new();
    let start = gateway.now;
    let mut came = 0;
    for cut in rest.as_chunks::<3>().0 {
        let [from, units, what] = *cut;
        let whole = &mut wholes[usize::from(what & 1)];
        let offset = usize::from(from) * 8;
        let until = whole.payload.len().min(offset + (usize::from(units) * 8).min(LONGEST));
        let Some(part) = whole.payload.get(offset..until).filter(|part| !part.is_empty()) else { continue };
        let mut part = part.to_vec();
        let mut more = until < whole.payload.len();
        // Lies: about what follows, in what is carried, and about its length.
        if what & 2 != 0 {
            more = !more;
        }
        if what & 4 != 0 {
            part[usize::from(*how) % until.abs_diff(offset)] ^= 1 << (what >> 5);
        }
        if what & 8 != 0 {
            part.pop();
        }
        whole.honest &= what & 14 == 0;
        if what & 16 != 0 {
            gateway.wait(Duration::from_secs(5));
        }
        whole.note(offset, until);
        came += 1;
        let sent = gateway.receive(0, &whole.piece(offset, more, &part));
        sent.iter().for_each(|(_, sent)| sound(sent));
        let answered = sent.iter().any(|(port, frame)| *port == 0 && whole.is_answer(frame));
        if !whole.answered && whole.honest {
            let is_due =
                whole.must_be_joined() && came <= KEPT && gateway.now.saturating_duration_since(start) < IN_TIME;
            assert!(answered || !is_due, "all of it came, and nothing of it was wrong");
            assert!(!answered || whole.is_covered(), "an answer to what has not come");
            if answered && ![TCP, UDP].contains(&whole.protocol) {
                whole.check_echo(&sent);
            }
        }
        whole.answered |= answered;
    }
    end(&mut gateway);
    wholes.iter().filter(|whole| whole.answered).count()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::joined;

    #[test]
    fn the_seeds_lead_to_joined_packets() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/fragments");
        let of = |name: &str| {
            let data = fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(data[0] >= 0x80, "{name}: for the other half of the target");
            joined(&data)
        };
        for kind in ["echo", "tcp", "udp"] {
            assert_eq!(of(&format!("seed-join-{kind}4")), 2, "{kind}, IPv4");
            assert_eq!(of(&format!("seed-join-{kind}6")), 2, "{kind}, IPv6");
        }
        assert_eq!(of("seed-join-overlap"), 1, "one of two is spoilt");
        assert_eq!(of("seed-join-never"), 0, "a gap stays");
    }
}
