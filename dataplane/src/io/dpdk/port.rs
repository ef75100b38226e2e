//! A port of the gateway on DPDK: one ethdev with several queues, or several ethdevs with one each.

use std::sync::Arc;

use tidegate_dpdk_sys as sys;

use super::{args, device::Device, eal::Eal, error::DpdkError, queue::DpdkSeed};
use crate::io::{Capabilities, MacAddr, PortInfo};

/// Ethernet header and one VLAN tag.
const LINK_HEADER: u32 = sys::RTE_ETHER_HDR_LEN + 4;

/// What the operator wants of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DpdkPortSpec {
    /// The port's name, for messages.
    pub name: String,
    /// A virtual device with its arguments (`net_af_xdp0,iface=eth1`), or the PCI address or name of a device the EAL knows.
    pub device: String,
    /// Queues, one per core.
    pub queues: u16,
    /// Longest IP packet, in bytes.
    pub mtu: u16,
    /// The address to use; `None` = the device's own.
    pub mac: Option<MacAddr>,
    /// Packet buffers set aside for the port; `None` = enough for its descriptors and 2048 packets in work per queue.
    pub mbufs: Option<u32>,
    /// Receive descriptors per queue, brought within the driver's limits.
    pub rx_desc: u16,
    /// Transmit descriptors per queue, brought within the driver's limits.
    pub tx_desc: u16,
    /// Receive frames for other stations, too.
    pub promiscuous: bool,
    /// Use the device's checksum offloads where it has them.
    pub checksum_offload: bool,
}

impl DpdkPortSpec {
    /// A port with one queue, MTU 1500, 1024 descriptors each way, the device's own address, and offloads on.
    pub fn new(name: &str, device: &str) -> Self {
        Self {
            name: name.to_owned(),
            device: device.to_owned(),
            queues: 1,
            mtu: 1500,
            mac: None,
            mbufs: None,
            rx_desc: 1024,
            tx_desc: 1024,
            promiscuous: false,
            checksum_offload: true,
        }
    }
}

/// State of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Packets can pass.
    pub up: bool,
    /// Mbit/s, where the device knows.
    pub speed_mbps: Option<u32>,
}

/// What the devices of a port have counted since they were started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DpdkStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets lost because the core did not fetch them in time.
    pub rx_missed: u64,
    /// Broken packets.
    pub rx_errors: u64,
    /// Packets lost because the pool had no buffer: raise `mbufs`.
    pub rx_no_buffer: u64,
    /// Packets that the device could not send.
    pub tx_errors: u64,
}

/// An open port. Closes its devices when it and all its queues are dropped.
#[derive(Debug)]
pub struct DpdkPort {
    name: String,
    lanes: Vec<Lane>,
    info: PortInfo,
}

/// One queue of one device, and who has it.
#[derive(Debug)]
struct Lane {
    device: Arc<Device>,
    queue: u16,
    /// Copied into the queue's handle: the queue is taken while there are two.
    taken: Arc<()>,
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} port {}", self.driver, self.id)
    }
}

impl DpdkPort {
    /// Creates or finds the device, sets it up and starts it. What was done is undone on failure.
    ///
    /// # Errors
    /// Names the port, the step, the cause and a remedy.
    pub fn open(eal: &Eal, spec: &DpdkPortSpec) -> Result<Self, DpdkError> {
        let strings = args::lanes(&spec.device, spec.queues);
        let queues_each = if strings.len() > 1 { 1 } else { spec.queues.max(1) };
        let devices = strings.iter().map(|device| Device::open(eal, spec, device, queues_each).map(Arc::new));
        let devices = devices.collect::<Result<Vec<_>, _>>()?;
        let lanes: Vec<_> =
            devices.iter().flat_map(|device| (0..device.queues).map(|queue| Lane::new(device, queue))).collect();
        let first = &devices[0];
        let capabilities = Capabilities {
            tx_checksum: devices.iter().all(|device| device.tx_checksum),
            tx_segment: 0,
            rx_max: u32::from(first.mtu) + LINK_HEADER,
        };
        let driver = format!("dpdk {}", first.driver);
        let info = PortInfo { mac: first.mac, mtu: first.mtu, queues: lanes.len() as u16, capabilities, driver };
        Ok(Self { name: spec.name.clone(), lanes, info })
    }

    /// What is known about the port.
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// A handle on queue `index` for the core that will poll it. A queue can be taken again after its handle was dropped.
    ///
    /// # Errors
    /// The queue does not exist, or somebody has it.
    pub fn queue(&mut self, index: u16) -> Result<DpdkSeed, DpdkError> {
        // `&mut self` makes the test sound: handles can only become fewer meanwhile.
        match self.lanes.get(usize::from(index)) {
            Some(lane) if Arc::strong_count(&lane.taken) == 1 => {
                Ok(DpdkSeed::new(Arc::clone(&lane.device), lane.queue, Arc::clone(&lane.taken)))
            }
            _ => Err(DpdkError::QueueTaken { port: self.name.clone(), queue: index }),
        }
    }

    /// The link's state now; up when all devices are.
    pub fn link(&self) -> Link {
        let mut state = Link { up: true, speed_mbps: None };
        for device in self.devices() {
            let mut link = sys::rte_eth_link::default();
            // SAFETY: an open port; `link` is written. Asking from any thread is allowed.
            let known = unsafe { sys::rte_eth_link_get_nowait(device.id, &mut link) } == 0;
            state.up &= known && u32::from(link.link_status()) == sys::RTE_ETH_LINK_UP;
            state.speed_mbps = Some(link.link_speed).filter(|&s| s != 0 && s != sys::RTE_ETH_SPEED_NUM_UNKNOWN);
        }
        state
    }

    /// What the devices have counted.
    pub fn statistics(&self) -> DpdkStatistics {
        let mut total = DpdkStatistics::default();
        for device in self.devices() {
            let mut stats = Box::<sys::rte_eth_stats>::default();
            // SAFETY: an open port; `stats` is written, and stays zero on failure.
            unsafe { sys::rte_eth_stats_get(device.id, &mut *stats) };
            total.rx_packets += stats.ipackets;
            total.tx_packets += stats.opackets;
            total.rx_missed += stats.imissed;
            total.rx_errors += stats.ierrors;
            total.rx_no_buffer += stats.rx_nombuf;
            total.tx_errors += stats.oerrors;
        }
        total
    }

    /// The port's devices, each once.
    fn devices(&self) -> impl Iterator<Item = &Device> {
        self.lanes.iter().filter(|lane| lane.queue == 0).map(|lane| &*lane.device)
    }
}

impl Lane {
    fn new(device: &Arc<Device>, queue: u16) -> Self {
        Self { device: Arc::clone(device), queue, taken: Arc::new(()) }
    }
}
