//! Two ports with an impaired wire between them. It looks at no packet: whatever comes in at one end goes out at the other.

use tidegate_dataplane::{
    batch::Batch,
    clock::Instant,
    frame::{Arena, Frame},
    io::{Capabilities, Port, TxQueue, checksum},
    meta::{Flags, Meta, PortId},
    stats::PortStats,
};

use super::line::{Counts, Impairment, Line};

/// One end.
struct End {
    port: Port,
    capabilities: Capabilities,
    stats: PortStats,
    queue: TxQueue,
}

/// A hop.
pub(crate) struct Hop {
    // Frames go home before their memory does: fields drop in order.
    ends: [End; 2],
    /// By the end at which their packets come in.
    lines: [Line<(Frame, Meta)>; 2],
    batch: Batch,
    arena: Arena,
}

impl Hop {
    /// A hop between two ports that are attached to `arena`.
    pub(crate) fn new(ends: [(Port, Capabilities); 2], arena: Arena, impairment: Impairment, seed: u64) -> Self {
        let end = |(port, capabilities)| End { port, capabilities, stats: PortStats::default(), queue: TxQueue::new() };
        // Half of the memory for each direction would leave none to receive with.
        let impairment = Impairment { queue: impairment.queue.min(arena.capacity() / 4), ..impairment };
        Self {
            ends: ends.map(end),
            lines: [0, 1].map(|direction| Line::new(impairment, seed.wrapping_mul(2).wrapping_add(direction))),
            batch: Batch::new(),
            arena,
        }
    }

    /// Takes in what has arrived and sends what is due. Returns whether there was anything to do. `clock` is asked when packets are
    /// there: however long that took, none has less than its delay.
    pub(crate) fn turn(&mut self, clock: impl Fn() -> Instant) -> bool {
        let mut moved = 0;
        for from in 0..2 {
            moved += self.receive(from, &clock);
            moved += self.send(1 - from, clock());
        }
        moved > 0
    }

    fn receive(&mut self, from: usize, clock: impl Fn() -> Instant) -> usize {
        let (end, line) = (&mut self.ends[from], &mut self.lines[from]);
        end.port.rx(PortId(from as u16), &self.arena, &mut self.batch, &end.stats);
        let received = self.batch.len();
        if received == 0 {
            return 0;
        }
        let now = clock();
        let room = self.arena.capacity() / 4;
        for slot in self.batch.drain() {
            if let Some(frame) = slot.frame {
                if line.len() >= room {
                    line.counts.packets += 1;
                    line.counts.overflowed += 1;
                    continue;
                }
                line.push(now, frame.len(), (frame, slot.meta));
            }
        }
        received
    }

    fn send(&mut self, to: usize, now: Instant) -> usize {
        let (end, line) = (&mut self.ends[to], &mut self.lines[1 - to]);
        let mut sent = 0;
        loop {
            while end.queue.len() < end.queue.capacity()
                && let Some((mut frame, mut meta)) = line.pop(now)
            {
                if meta.flags.contains(Flags::CHECKSUM_PARTIAL) && !end.capabilities.tx_checksum {
                    checksum::complete(&mut frame, &mut meta);
                }
                end.queue.push((frame, meta));
            }
            let before = end.queue.len();
            if before == 0 {
                break;
            }
            end.port.tx(&self.arena, &mut end.queue, &end.stats);
            sent += before - end.queue.len();
            if !end.queue.is_empty() {
                break; // The port is full: the next turn.
            }
        }
        if sent > 0 {
            end.port.flush();
        }
        sent
    }

    /// What has happened to packets that came in at either end.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        [self.lines[0].counts, self.lines[1].counts]
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use tidegate_dataplane::io::memory::MemoryPort;

    use super::*;

    fn at(millis: u64) -> impl Fn() -> Instant {
        move || Instant::from_millis(millis)
    }

    struct Outside {
        arena: Arena,
        port: Port,
        stats: PortStats,
    }

    impl Outside {
        fn new(port: MemoryPort) -> Self {
            Self {
                arena: Arena::new(512, 2048).expect("memory"),
                port: Port::Memory(port),
                stats: PortStats::default(),
            }
        }

        fn send(&mut self, byte: u8) {
            let mut queue = TxQueue::new();
            queue.push((self.arena.copy_from(&[byte; 60]).expect("a frame"), Meta::default()));
            self.port.tx(&self.arena, &mut queue, &self.stats);
            assert!(queue.is_empty());
        }

        fn receive(&mut self) -> Vec<u8> {
            let mut batch = Batch::new();
            self.port.rx(PortId(0), &self.arena, &mut batch, &self.stats);
            batch.drain().filter_map(|slot| slot.frame).map(|frame| frame.data()[0]).collect()
        }
    }

    #[test]
    fn packets_come_out_at_the_other_end_when_they_are_due() {
        let ((left, a), (b, right)) = (MemoryPort::pair(512), MemoryPort::pair(512));
        let (mut left, mut right) = (Outside::new(left), Outside::new(right));
        let impairment = Impairment { delay: Duration::from_millis(3), ..Impairment::none(400) };
        let ends = [a, b].map(|port| (Port::Memory(port), Capabilities::default()));
        let mut hop = Hop::new(ends, Arena::new(1024, 2048).expect("memory"), impairment, 1);
        (0..100).for_each(|byte| left.send(byte));
        right.send(200);
        assert!(hop.turn(at(1)) && hop.turn(at(1)));
        assert!(!hop.turn(at(3)));
        assert!(left.receive().is_empty() && right.receive().is_empty());
        assert!(hop.turn(at(4)));
        assert_eq!(left.receive(), [200]);
        let mut received = right.receive();
        received.extend(right.receive());
        assert_eq!(received, (0..100).collect::<Vec<u8>>());
        assert_eq!(hop.counts().map(|counts| counts.packets), [100, 1]);
    }

    #[test]
    fn each_direction_has_its_own_luck_and_frames_come_home() {
        let ((left, a), (b, right)) = (MemoryPort::pair(512), MemoryPort::pair(512));
        let (mut left, mut right) = (Outside::new(left), Outside::new(right));
        let ends = [a, b].map(|port| (Port::Memory(port), Capabilities::default()));
        let impairment = Impairment { loss: 0.5, ..Impairment::none(400) };
        let mut hop = Hop::new(ends, Arena::new(1024, 2048).expect("memory"), impairment, 1);
        let (mut to_left, mut to_right) = (Vec::new(), Vec::new());
        for round in 0..200u8 {
            left.send(round);
            right.send(round);
            hop.turn(at(round.into()));
            to_left.extend(left.receive());
            to_right.extend(right.receive());
        }
        assert_ne!(to_left, to_right);
        let counts = hop.counts();
        assert_eq!(counts.map(|counts| counts.lost), [200 - to_right.len() as u64, 200 - to_left.len() as u64]);
        assert_eq!((left.arena.available(), right.arena.available()), (512, 512));
    }
}
