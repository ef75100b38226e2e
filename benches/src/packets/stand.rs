//! The test stand: a port to send from and a port to receive at, turned by one thread.

use core::time::Duration;
use std::{path::Path, sync::Arc};

use hdrhistogram::Histogram;
use tidegate_dataplane::{
    batch::{BATCH, Batch},
    clock::Clock,
    frame::Arena,
    io::{Device, DriverSpec, Drivers, Port, PortSpec, TxQueue, spec::PcapSpec},
    meta::{Meta, PortId},
    stats::PortStats,
};

use super::{
    PacketsError,
    options::Options,
    pattern::{HOPS, Pattern, Stamp},
};
use crate::{
    latency, place,
    station::{SetUpError, Wire},
};

/// Frames: full rings of two ports, and as many on their way.
const FRAMES: usize = 32_768;
/// Bytes of a frame.
const FRAME_SIZE: usize = 2_048;
/// What is still on its way may arrive until nothing has for this long.
const SILENCE: Duration = Duration::from_millis(100);
/// And no longer than this (RFC 2544 §23).
const RESIDUE: Duration = Duration::from_secs(2);
/// Packets that a late generator makes up for at most; what is later is not sent.
const CATCH_UP: u64 = 4 * BATCH as u64;

/// What a trial has shown.
#[derive(Clone)]
pub(crate) struct Trial {
    /// Packets that the port took.
    pub(crate) sent: u64,
    /// Those that arrived as they should.
    pub(crate) received: u64,
    /// Those that arrived altered.
    pub(crate) wrong: u64,
    /// Packets that were due and not sent, since the generator came too late for them.
    pub(crate) unsent: u64,
    /// How often a packet that arrived was addressed to another station than the one before it: how often all routes have moved to
    /// another next hop, if they move at once.
    pub(crate) moves: u64,
    /// Seconds of sending.
    pub(crate) seconds: f64,
    /// From stamp to receipt, nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Mean bytes of a frame, without check sequence.
    pub(crate) bytes: f64,
    /// Ticks of the counter that generator and sink spent on work, per packet received.
    pub(crate) cost: f64,
    /// Share of the time that they had work.
    pub(crate) busy: f64,
}

impl Trial {
    /// Packets a second that were sent.
    pub(crate) fn offered(&self) -> f64 {
        self.sent as f64 / self.seconds
    }

    /// Packets a second that arrived.
    pub(crate) fn delivered(&self) -> f64 {
        self.received as f64 / self.seconds
    }

    /// Packets that did not arrive as they should.
    pub(crate) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// The same in percent of those sent.
    pub(crate) fn loss(&self) -> f64 {
        100.0 * self.lost() as f64 / self.sent.max(1) as f64
    }

    #[cfg(test)]
    pub(super) fn of(sent: u64, received: u64, seconds: f64) -> Self {
        let latency = latency::empty();
        Self { sent, received, wrong: 0, unsent: 0, moves: 0, seconds, latency, bytes: 60.0, cost: 0.0, busy: 0.0 }
    }
}

struct End {
    port: Port,
    queue: TxQueue,
    stats: Arc<PortStats>,
}

impl End {
    fn attach(device: &Device, arena: &Arena) -> Result<Self, SetUpError> {
        Ok(Self { port: device.queue(0)?.attach(arena)?, queue: TxQueue::new(), stats: Arc::default() })
    }
}

/// Ports, packets and what was counted.
pub(super) struct Stand {
    // Fields drop in order: ports before their devices, frames before their memory.
    ends: Vec<End>,
    batch: Batch,
    arena: Arena,
    pattern: Pattern,
    clock: Clock,
    ticks_per_nanosecond: f64,
    hops: u8,
    nap: Option<Duration>,
    trials: u32,
    _devices: Vec<Device>,
}

impl Stand {
    pub(super) fn open(options: &Options, pattern: Pattern, clock: Clock) -> Result<Self, SetUpError> {
        let wires: Vec<&Wire> = [&options.port].into_iter().chain(&options.sink).collect();
        let specs: Vec<PortSpec> =
            wires.iter().zip(["port", "sink"]).map(|(wire, name)| options.seating.port(wire, name)).collect();
        let devices = options.seating.drivers().open(&specs, 1)?;
        let arena = Arena::new(FRAMES, FRAME_SIZE).map_err(SetUpError::Arena)?;
        let ends = devices.iter().map(|device| End::attach(device, &arena)).collect::<Result<_, _>>()?;
        Ok(Self {
            ends,
            batch: Batch::new(),
            arena,
            pattern,
            ticks_per_nanosecond: place::ticks_per_nanosecond(&clock),
            clock,
            hops: HOPS.saturating_sub(options.hops),
            nap: options.nap,
            trials: 0,
            _devices: devices,
        })
    }

    /// Sends for a time, at a rate or as fast as the port takes packets, and waits for what is still on its way.
    pub(super) fn trial(&mut self, rate: Option<f64>, length: Duration) -> Trial {
        self.trials += 1;
        let ticks = |time: Duration| (time.as_nanos() as f64 * self.ticks_per_nanosecond) as u64;
        let (length, silence, residue) = (ticks(length), ticks(SILENCE), ticks(RESIDUE));
        let per_tick = rate.map(|rate| rate / (1e9 * self.ticks_per_nanosecond));
        let mut tally = Tally::new();
        let before = self.ends[0].stats.tx_packets.value();
        let start = self.clock.cycles();
        let (mut now, mut asked, mut heard) = (start, 0, start);
        // Packets due by now; without a rate there are always some.
        let due = |now: u64, asked: u64| {
            per_tick.map_or(asked + BATCH as u64, |per_tick| ((now - start) as f64 * per_tick) as u64)
        };
        // What is later than this was not sent in time, and is not sent at all.
        let late = |due: u64, asked: u64| due.saturating_sub(CATCH_UP).saturating_sub(asked);
        while now - start < length {
            let due = due(now, asked);
            tally.unsent += late(due, asked);
            asked += late(due, asked);
            let sent = self.send(due - asked, now);
            asked += sent;
            let worked = self.receive(&mut tally) + sent > 0;
            now = self.account(&mut tally, now, worked);
            if let Some(nap) = self.nap.filter(|_| !worked) {
                std::thread::sleep(nap);
                now = self.clock.cycles();
            }
        }
        tally.unsent += late(due(now, asked), asked);
        let seconds = (now - start) as f64 / self.ticks_per_nanosecond / 1e9;
        let end = now;
        while now - heard.max(end) < silence && now - end < residue {
            self.send(0, now);
            let worked = self.receive(&mut tally) > 0;
            if worked {
                heard = now;
            }
            now = self.account(&mut tally, now, worked);
        }
        let sent = self.ends[0].stats.tx_packets.value() - before;
        Trial {
            sent,
            received: tally.received,
            wrong: tally.wrong,
            unsent: tally.unsent,
            moves: tally.moves,
            seconds,
            latency: tally.latency,
            bytes: self.pattern.mean(),
            cost: tally.busy as f64 / tally.received.max(1) as f64,
            busy: tally.busy as f64 / (now - start) as f64,
        }
    }

    #[inline]
    fn account(&self, tally: &mut Tally, since: u64, worked: bool) -> u64 {
        let now = self.clock.cycles();
        if worked {
            tally.busy += now - since;
        }
        now
    }

    /// Sends up to `most` packets, a batch at most, after what the port has not taken yet. Returns how many were made.
    #[inline]
    fn send(&mut self, most: u64, now: u64) -> u64 {
        let end = &mut self.ends[0];
        let room = (end.queue.remaining_capacity() as u64).min(most);
        let stamp = Stamp { trial: self.trials, sent: now };
        let mut made = 0;
        while made < room {
            let Some(mut frame) = self.arena.alloc() else { break };
            if self.pattern.write(&mut frame, stamp).is_none() {
                break;
            }
            end.queue.push((frame, Meta::default()));
            made += 1;
        }
        if !end.queue.is_empty() {
            end.port.tx(&self.arena, &mut end.queue, &end.stats);
        }
        end.port.flush();
        made
    }

    /// Receives from all ports; returns how many packets there were, ours or not.
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> u64 {
        let mut packets = 0;
        let sink = self.ends.len() - 1;
        for (index, end) in self.ends.iter_mut().enumerate() {
            end.port.rx(PortId(index as u16), &self.arena, &mut self.batch, &end.stats);
            if self.batch.is_empty() {
                continue;
            }
            packets += self.batch.len() as u64;
            let now = self.clock.cycles();
            for frame in self.batch.slots().iter().filter_map(|slot| slot.frame.as_ref()) {
                // Neighbours talk, and so may the far kernel; what is of an earlier trial was counted as lost there.
                let Some((stamp, hops)) = self.pattern.read(frame.data()) else { continue };
                if stamp.trial != self.trials {
                    continue;
                }
                // One that was sent back to where it came from was not forwarded.
                if hops != self.hops || index != sink {
                    tally.wrong += 1;
                    continue;
                }
                tally.received += 1;
                tally.note(frame.data());
                let nanos = now.saturating_sub(stamp.sent) as f64 / self.ticks_per_nanosecond;
                tally.latency.saturating_record(nanos as u64);
            }
            self.batch.clear();
        }
        packets
    }
}

/// What a trial counts.
struct Tally {
    received: u64,
    wrong: u64,
    unsent: u64,
    moves: u64,
    busy: u64,
    latency: Histogram<u64>,
    /// Whom the last packet was addressed to.
    to: Option<[u8; 6]>,
}

impl Tally {
    fn new() -> Self {
        Self { received: 0, wrong: 0, unsent: 0, moves: 0, busy: 0, latency: latency::empty(), to: None }
    }

    /// Whom a packet that arrived is addressed to.
    #[inline]
    fn note(&mut self, frame: &[u8]) {
        let to = frame.first_chunk().copied();
        if to != self.to {
            self.moves += u64::from(self.to.is_some());
            self.to = to;
        }
    }
}

/// Writes packets to a capture file.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(pattern: &mut Pattern, path: &Path, count: usize) -> Result<(), PacketsError> {
    let spec = PcapSpec { write: Some(path.to_owned()), ..PcapSpec::default() };
    let spec = PortSpec { name: "file".to_owned(), driver: DriverSpec::Pcap(spec), mac: None, mtu: 1500 };
    let devices = Drivers::new(Vec::new()).open(&[spec], 1).map_err(SetUpError::Port)?;
    let arena = Arena::new(BATCH, FRAME_SIZE).map_err(SetUpError::Arena)?;
    let mut end = End::attach(&devices[0], &arena)?;
    for _ in 0..count {
        let Some(mut frame) = arena.alloc() else { break };
        if pattern.write(&mut frame, Stamp { trial: 0, sent: 0 }).is_none() {
            break;
        }
        end.queue.push((frame, Meta::default()));
        end.port.tx(&arena, &mut end.queue, &end.stats);
    }
    end.port.flush();
    Ok(())
}
