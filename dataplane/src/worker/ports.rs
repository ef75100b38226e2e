//! A core's ports: receive into a batch, collect what goes out, send it.

use core::time::Duration;
use std::{os::fd::RawFd, sync::Arc};

use crate::{
    batch::{Batch, Slot},
    frame::{Arena, Frame},
    io::{Capabilities, Port, PortInfo, TxQueue, checksum, segment},
    meta::{Flags, Meta, PortId},
    stats::CoreStats,
    verdict::{DropReason, Verdict},
};

struct Attached {
    port: Port,
    capabilities: Capabilities,
    queue: TxQueue,
    sent: bool,
    /// Nothing would leave: the link is down.
    shut: bool,
}

/// Looks at packets that no port took.
pub(super) trait Lost {
    /// This one, for this reason.
    fn lost(&mut self, reason: DropReason, frame: &Frame, meta: &Meta);
}

/// Nobody looks.
impl Lost for () {
    #[inline(always)]
    fn lost(&mut self, _: DropReason, _: &Frame, _: &Meta) {}
}

impl<F: FnMut(DropReason, &Frame, &Meta)> Lost for F {
    fn lost(&mut self, reason: DropReason, frame: &Frame, meta: &Meta) {
        self(reason, frame, meta);
    }
}

/// All ports of a core, by [`PortId`].
pub(super) struct Ports {
    ports: Vec<Attached>,
    /// How many of them are on wires; those behind them lead to the kernel.
    wires: usize,
    /// What every port on a wire can do.
    common: Capabilities,
    stats: Arc<CoreStats>,
}

impl Ports {
    pub(super) fn new(ports: Vec<(Port, PortInfo)>, stats: Arc<CoreStats>) -> Self {
        let attach = |(port, info): (Port, PortInfo)| Attached {
            port,
            capabilities: info.capabilities,
            queue: TxQueue::new(),
            sent: false,
            shut: false,
        };
        let ports: Vec<_> = ports.into_iter().map(attach).collect();
        let mut ports = Self { wires: ports.len(), common: Capabilities::default(), ports, stats };
        ports.common = ports.shared_capabilities();
        ports
    }

    /// Says that only the first `wires` ports are on wires: no segment of ours goes to the others.
    pub(super) fn limit_wires(&mut self, wires: usize) {
        self.wires = self.wires.min(wires);
        self.common = self.shared_capabilities();
    }

    pub(super) fn len(&self) -> usize {
        self.ports.len()
    }

    /// What every port on a wire can do: what TCP may leave to the port without knowing which it will be.
    #[inline]
    pub(super) fn common_capabilities(&self) -> Capabilities {
        self.common
    }

    fn shared_capabilities(&self) -> Capabilities {
        let all = self.ports[..self.wires].iter().map(|attached| attached.capabilities);
        all.reduce(|a, b| Capabilities {
            tx_checksum: a.tx_checksum && b.tx_checksum,
            tx_segment: a.tx_segment.min(b.tx_segment),
            rx_max: a.rx_max.max(b.rx_max),
        })
        .unwrap_or_default()
    }

    #[inline]
    pub(super) fn rx(&mut self, index: usize, arena: &Arena, batch: &mut Batch) {
        let id = PortId(index as u16);
        self.ports[index].port.rx(id, arena, batch, self.stats.port(id));
    }

    /// Ends the batch: each packet is queued to its port or freed, and every loss counted. `lost` is shown those that no port took.
    #[inline]
    pub(super) fn finish(&mut self, arena: &Arena, batch: &mut Batch, lost: &mut impl Lost) {
        for slot in batch.slots_mut() {
            if let Verdict::Transmit(port) = slot.verdict {
                if slot.meta.out.index() >= self.wires {
                    self.count(port, slot);
                }
                self.queue(arena, port, slot, lost);
            } else if let Some(reason) = slot.verdict.loss() {
                self.stats.drops(reason).add(1);
            }
        }
        batch.clear();
    }

    /// Counts a packet that goes out by another interface than the port's own: such are a part of the port's traffic.
    #[inline]
    fn count(&self, port: PortId, slot: &Slot) {
        if let Some(frame) = &slot.frame
            && self.ports.get(port.index()).is_some_and(|attached| !attached.shut)
        {
            let counters = self.stats.interface(slot.meta.out);
            counters.tx_packets.add(1);
            counters.tx_bytes.add(frame.len() as u64);
        }
    }

    /// Queues a packet to its port.
    ///
    /// The frame is taken where it is put: a copy on the stack between the two, written in parts and read as a whole, cost 20 cycles.
    #[inline]
    fn queue(&mut self, arena: &Arena, port: PortId, slot: &mut Slot, lost: &mut impl Lost) {
        let simple = slot.meta.segment_size == 0 && !slot.meta.flags.contains(Flags::CHECKSUM_PARTIAL);
        match self.ports.get_mut(port.index()) {
            Some(attached) if simple && !attached.shut && !attached.queue.is_full() => {
                if let Some(frame) = slot.frame.take() {
                    attached.sent = true;
                    attached.queue.push((frame, slot.meta));
                }
            }
            _ => {
                if let Some(frame) = slot.frame.take() {
                    self.prepare(arena, port, frame, slot.meta, lost);
                }
            }
        }
    }

    /// Queues a packet whose port is to do some of the work, or is slower than its packets come.
    #[inline(never)]
    fn prepare(&mut self, arena: &Arena, port: PortId, frame: Frame, meta: Meta, lost: &mut impl Lost) {
        let most = self.ports.get(port.index()).map_or(0, |attached| attached.capabilities.tx_segment as usize);
        if meta.segment_size != 0 && frame.len() > usize::from(meta.l3) + most {
            // A super-segment from a port that has them, to one that has not.
            let cut =
                segment::cut(frame.data(), &meta, arena, |part, meta| self.queue_packet(arena, port, part, meta, lost));
            if let Err(reason) = cut {
                self.stats.drops(reason).add(1);
                lost.lost(reason, &frame, &meta);
            }
            return;
        }
        self.queue_packet(arena, port, frame, meta, lost);
    }

    #[inline]
    fn queue_packet(&mut self, arena: &Arena, port: PortId, mut frame: Frame, mut meta: Meta, lost: &mut impl Lost) {
        let open = self.ports.get_mut(port.index()).filter(|attached| !attached.shut);
        let Some(attached) = open else {
            if let Some(counters) = self.stats.ports().get(port.index()) {
                counters.tx_errors.add(1);
            }
            self.stats.drops(DropReason::TxError).add(1);
            lost.lost(DropReason::TxError, &frame, &meta);
            return;
        };
        if meta.flags.contains(Flags::CHECKSUM_PARTIAL) && !attached.capabilities.tx_checksum {
            checksum::complete(&mut frame, &mut meta);
        }
        attached.sent = true;
        if attached.queue.is_full() {
            attached.port.tx(arena, &mut attached.queue, self.stats.port(port));
        }
        if let Err(full) = attached.queue.try_push((frame, meta)) {
            self.stats.drops(DropReason::TxFull).add(1);
            let (frame, meta) = full.element();
            lost.lost(DropReason::TxFull, &frame, &meta);
        }
    }

    /// Hands the turn's packets to the drivers and kicks them. What a driver does not take now waits for the next turn.
    pub(super) fn flush(&mut self, arena: &Arena) {
        for (index, attached) in self.ports.iter_mut().enumerate() {
            let stats = self.stats.port(PortId(index as u16));
            attached.shut = stats.shut.value() != 0;
            if !attached.queue.is_empty() {
                if attached.shut {
                    // What came before it was known.
                    let refused = attached.queue.drain(..).count() as u64;
                    stats.tx_errors.add(refused);
                    self.stats.drops(DropReason::TxError).add(refused);
                } else {
                    attached.port.tx(arena, &mut attached.queue, stats);
                }
            }
            if core::mem::replace(&mut attached.sent, !attached.queue.is_empty()) {
                attached.port.flush();
            }
        }
    }

    /// Descriptors to sleep on; `None` when a port can only be polled.
    pub(super) fn wait_fds(&self) -> Option<Vec<RawFd>> {
        self.ports.iter().map(|attached| attached.port.wait_fd()).collect()
    }

    /// Arms the ports' descriptors. `false` when a port has something to do already.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        self.ports.iter_mut().all(|attached| attached.port.prepare_sleep())
    }

    /// How long the core may sleep for the ports' sake: not at all while packets wait to be sent.
    pub(super) fn patience(&self) -> Duration {
        let waiting = self.ports.iter().any(|attached| !attached.queue.is_empty());
        if waiting { Duration::ZERO } else { super::idle::MAX_SLEEP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{io::MacAddr, io::memory::MemoryPort, stats::PortStats};

    /// One port without offloads, and the other end of its wire, which holds `depth` packets.
    fn one(depth: usize) -> (Ports, Port) {
        let (near, far) = MemoryPort::pair(depth);
        let info = PortInfo {
            mac: MacAddr::local("near"),
            mtu: 1500,
            queues: 1,
            capabilities: Capabilities::default(),
            driver: "memory".to_owned(),
        };
        (Ports::new(vec![(Port::Memory(near), info)], Arc::new(CoreStats::new(1))), Port::Memory(far))
    }

    fn transmit(ports: &mut Ports, arena: &Arena, packets: impl IntoIterator<Item = (Frame, Meta)>, to: PortId) {
        let mut batch = Batch::new();
        for (frame, meta) in packets {
            batch.push(frame, meta).unwrap();
        }
        batch.each(Verdict::Continue, |_, _| Verdict::Transmit(to));
        ports.finish(arena, &mut batch, &mut ());
        assert!(batch.is_empty());
    }

    #[test]
    fn what_no_port_takes_is_counted() {
        let arena = Arena::new(256, 2048).unwrap();
        let (mut ports, _far) = one(1);
        let packets = || (0..64).map(|_| (arena.copy_from(&[0; 60]).unwrap(), Meta::default()));
        transmit(&mut ports, &arena, packets(), PortId(0));
        assert_eq!(ports.stats.drops(DropReason::TxFull).value(), 0);
        // One has left for the wire, which is full with it; one takes its place.
        transmit(&mut ports, &arena, packets(), PortId(0));
        assert_eq!(ports.stats.drops(DropReason::TxFull).value(), 63);
        assert_eq!(arena.available(), 256 - 65);
        transmit(&mut ports, &arena, packets().take(2), PortId(1));
        assert_eq!(ports.stats.drops(DropReason::TxError).value(), 2);
        assert_eq!(ports.patience(), Duration::ZERO);
    }

    #[test]
    fn a_port_whose_link_is_down_takes_nothing() {
        let arena = Arena::new(256, 2048).unwrap();
        let (mut ports, mut far) = one(64);
        let packets = || (0..3).map(|_| (arena.copy_from(&[0; 60]).unwrap(), Meta::default()));
        let errors = |ports: &Ports| {
            (ports.stats.port(PortId(0)).tx_errors.value(), ports.stats.drops(DropReason::TxError).value())
        };
        // Three are queued when the link goes, three come after.
        transmit(&mut ports, &arena, packets(), PortId(0));
        ports.stats.port(PortId(0)).shut.set(1);
        ports.flush(&arena);
        assert_eq!(errors(&ports), (3, 3));
        transmit(&mut ports, &arena, packets(), PortId(0));
        assert_eq!((errors(&ports), arena.available()), ((6, 6), 256));
        ports.flush(&arena);
        assert_eq!(ports.stats.port(PortId(0)).tx_packets.value(), 0);
        // It is back: the turn that sees it sends nothing yet.
        ports.stats.port(PortId(0)).shut.set(0);
        ports.flush(&arena);
        transmit(&mut ports, &arena, packets(), PortId(0));
        ports.flush(&arena);
        let mut batch = Batch::new();
        far.rx(PortId(0), &arena, &mut batch, &PortStats::default());
        assert_eq!((batch.slots().len(), errors(&ports)), (3, (6, 6)));
    }

    #[test]
    fn super_segments_are_cut_for_a_port_that_cannot() {
        let (arena, big) = (Arena::new(256, 2048).unwrap(), Arena::new(2, 8192).unwrap());
        let (mut ports, mut far) = one(64);
        let mut bytes = Vec::new();
        let tcp = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        tcp.tcp(1, 2, 3, 4).write(&mut bytes, &[7; 3000]).unwrap();
        let meta = Meta {
            l3: 14,
            l4: 34,
            checksum_start: 34,
            checksum_offset: 16,
            segment_size: 1448,
            flags: Flags::CHECKSUM_PARTIAL,
            ..Meta::default()
        };
        let broken = Meta { l4: 7000, ..meta };
        let packets = [(big.copy_from(&bytes).unwrap(), meta), (big.copy_from(&bytes).unwrap(), broken)];
        transmit(&mut ports, &arena, packets, PortId(0));
        assert_eq!(ports.stats.drops(DropReason::TcpMalformed).value(), 1);
        ports.flush(&arena);
        let mut batch = Batch::new();
        far.rx(PortId(0), &arena, &mut batch, &PortStats::default());
        let lengths: Vec<_> = batch.slots().iter().map(|slot| slot.frame.as_ref().unwrap().len()).collect();
        assert_eq!(lengths, [54 + 1448, 54 + 1448, 54 + 104]);
        assert_eq!(big.available(), 2);
    }
}
