//! One ethdev: found or hot-added, configured, started; stopped and closed when dropped.

use core::{
    ffi::{CStr, c_int},
    ptr::{self, NonNull},
};
use std::ffi::CString;

use tidegate_dpdk_sys as sys;

use super::{
    args,
    eal::Eal,
    error::{DpdkError, Step},
    pool::Claim,
    port::DpdkPortSpec,
};
use crate::io::MacAddr;

/// Buffers that a queue holds beside its descriptors: its thread's cache, a batch in work, and what waits for neighbours.
const IN_WORK: u32 = 2048;
/// `net_af_xdp` keeps a fill ring of this size filled, whatever the descriptors asked for.
const AF_XDP_FILL: u32 = 4096;
/// Repeating these bytes makes the Toeplitz hash symmetric: both directions of a flow get the same queue.
const SYMMETRIC_KEY: [u8; 2] = [0x6d, 0x5a];

/// A started ethdev with its queues.
pub(super) struct Device {
    pub(super) id: u16,
    pub(super) queues: u16,
    pub(super) claim: Claim,
    /// The device completes TCP and UDP checksums.
    pub(super) tx_checksum: bool,
    pub(super) mac: MacAddr,
    pub(super) mtu: u16,
    pub(super) driver: String,
    /// What to remove from its bus in the end, when it was hot-added here.
    added: Option<NonNull<sys::rte_device>>,
}

// SAFETY: ethdev's control functions may be called from any thread, one at a time per port. All are called in `open` and `drop`,
// which are exclusive; `Device` shares only plain values and numbers. Bursts go to distinct queues (`DpdkPort::queue`).
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// A device that exists but is not set up: closed when setting it up fails.
struct Found {
    id: u16,
    added: Option<NonNull<sys::rte_device>>,
    info: Box<sys::rte_eth_dev_info>,
}

/// What was agreed with the driver.
struct Offloads {
    rx: u64,
    tx: u64,
}

impl Device {
    /// Opens what `device` names, with `queues` queues, for the port `spec`.
    pub(super) fn open(eal: &Eal, spec: &DpdkPortSpec, device: &str, queues: u16) -> Result<Self, DpdkError> {
        let step = Steps { spec, device };
        let found = find(&step)?;
        let built = set_up(eal, &step, &found, queues);
        if built.is_err() {
            close(found.id, found.added);
        }
        built
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        stop(self.id);
        close(self.id, self.added);
    }
}

/// Turns return codes into errors that name port, device and step.
struct Steps<'a> {
    spec: &'a DpdkPortSpec,
    device: &'a str,
}

impl Steps<'_> {
    fn check(&self, step: Step, code: c_int) -> Result<c_int, DpdkError> {
        if code >= 0 {
            return Ok(code);
        }
        let (port, device) = (self.spec.name.clone(), self.device.to_owned());
        Err(DpdkError::Port { port, device, step, errno: -code })
    }

    /// As `check`, for what some drivers cannot do and need not.
    fn check_optional(&self, step: Step, code: c_int) -> Result<bool, DpdkError> {
        if code == -libc::ENOTSUP || code == -libc::ENOSYS {
            return Ok(false);
        }
        self.check(step, code).map(|_| true)
    }
}

fn find(step: &Steps<'_>) -> Result<Found, DpdkError> {
    if let Some(interface) = args::value(step.device, "iface")
        && (step.device.contains("net_af_xdp") || step.device.contains("net_af_packet"))
        && !interface_exists(interface)
    {
        return Err(DpdkError::NoInterface { port: step.spec.name.clone(), interface: interface.to_owned() });
    }
    let nul = |_| step.check(Step::Probe, -libc::EINVAL).map(|_| CString::default());
    let name = CString::new(args::port_name(step.device)).or_else(nul)?;
    let device = CString::new(step.device).or_else(nul)?;
    let mut id = 0;
    // SAFETY: an `Eal` exists; terminated strings that the EAL copies; `id` is written on success.
    let known = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) } == 0;
    if !known {
        // SAFETY: as above.
        step.check(Step::Probe, unsafe { sys::rte_dev_probe(device.as_ptr()) })?;
        // SAFETY: as above.
        step.check(Step::Probe, unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) })?;
    }
    let mut info = Box::<sys::rte_eth_dev_info>::default();
    // SAFETY: `id` names an existing port; the function fills `info`.
    let described = step.check(Step::Describe, unsafe { sys::rte_eth_dev_info_get(id, &mut *info) });
    let added = if known { None } else { NonNull::new(info.device) };
    match described {
        Ok(_) => Ok(Found { id, added, info }),
        Err(error) => {
            close(id, added);
            Err(error)
        }
    }
}

fn set_up(eal: &Eal, step: &Steps<'_>, found: &Found, queues: u16) -> Result<Device, DpdkError> {
    let spec = step.spec;
    let most = found.info.max_rx_queues.min(found.info.max_tx_queues);
    if queues > most {
        return Err(DpdkError::Queues { port: spec.name.clone(), wanted: queues, most });
    }
    // SAFETY: `driver_name` is a constant string of the driver, which is never unloaded.
    let driver = unsafe { CStr::from_ptr(found.info.driver_name) }.to_string_lossy().into_owned();
    let longest = longest_packet(&found.info);
    if spec.mtu > longest {
        return Err(DpdkError::Mtu { port: spec.name.clone(), driver, wanted: spec.mtu, most: longest });
    }
    let offloads = configure(step, found, queues)?;
    let mac = set_mac(step, found)?;
    let (mut rx_desc, mut tx_desc) = (spec.rx_desc, spec.tx_desc);
    // SAFETY: an existing port, configured above; the two counts are adjusted in place.
    let adjusted = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(found.id, &mut rx_desc, &mut tx_desc) };
    step.check(Step::Configure, adjusted)?;
    // SAFETY: an existing port.
    let socket = unsafe { sys::rte_eth_dev_socket_id(found.id) };
    let fill = if driver == "net_af_xdp" { AF_XDP_FILL } else { 0 };
    let wanted = u32::from(queues) * (u32::from(rx_desc) + u32::from(tx_desc) + IN_WORK + fill);
    let claim = eal.claim(spec.mbufs.unwrap_or(wanted), spec.mtu, socket)?;
    set_up_queues(step, found, queues, (rx_desc, tx_desc), &offloads, &claim)?;
    let mtu = set_mtu(step, found.id)?;
    // SAFETY: a configured port whose queues are set up.
    step.check(Step::Start, unsafe { sys::rte_eth_dev_start(found.id) })?;
    set_filter(step, found.id, mac.in_device).inspect_err(|_| stop(found.id))?;
    let transport = sys::TIDEGATE_TX_OFFLOAD_TCP_CKSUM | sys::TIDEGATE_TX_OFFLOAD_UDP_CKSUM;
    let tx_checksum = offloads.tx & transport == transport;
    Ok(Device { id: found.id, queues, claim, tx_checksum, mac: mac.address, mtu, driver, added: found.added })
}

/// Bytes of the longest IP packet that a device takes. One that tells only how long frames may be is taken at that, as `rte_ethdev` does.
fn longest_packet(info: &sys::rte_eth_dev_info) -> u16 {
    let frame = info.max_rx_pktlen.saturating_sub(sys::RTE_ETHER_HDR_LEN + sys::RTE_ETHER_CRC_LEN);
    if info.max_mtu == u16::MAX { frame.min(u32::from(u16::MAX)) as u16 } else { info.max_mtu }
}

fn configure(step: &Steps<'_>, found: &Found, queues: u16) -> Result<Offloads, DpdkError> {
    let (mut rx, mut tx) = (0, 0);
    if step.spec.checksum_offload {
        rx = sys::TIDEGATE_RX_OFFLOAD_IPV4_CKSUM
            | sys::TIDEGATE_RX_OFFLOAD_UDP_CKSUM
            | sys::TIDEGATE_RX_OFFLOAD_TCP_CKSUM;
        tx = sys::TIDEGATE_TX_OFFLOAD_UDP_CKSUM | sys::TIDEGATE_TX_OFFLOAD_TCP_CKSUM;
    }
    let offloads = Offloads { rx: rx & found.info.rx_offload_capa, tx: tx & found.info.tx_offload_capa };
    let mut conf = Box::<sys::rte_eth_conf>::default();
    conf.rxmode.mtu = u32::from(step.spec.mtu);
    conf.rxmode.offloads = offloads.rx;
    conf.txmode.offloads = offloads.tx;
    // Devices without RSS spread packets over queues by means of their own, or not at all: flows are handed to their core anyway.
    let mut key: Vec<u8> = SYMMETRIC_KEY.into_iter().cycle().take(usize::from(found.info.hash_key_size)).collect();
    let hashes =
        found.info.flow_type_rss_offloads & (sys::TIDEGATE_RSS_IP | sys::TIDEGATE_RSS_TCP | sys::TIDEGATE_RSS_UDP);
    if queues > 1 && hashes != 0 {
        conf.rxmode.mq_mode = sys::rte_eth_rx_mq_mode::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf = sys::rte_eth_rss_conf {
            rss_key: if key.is_empty() { ptr::null_mut() } else { key.as_mut_ptr() },
            rss_key_len: found.info.hash_key_size,
            rss_hf: hashes,
        };
    }
    // SAFETY: an existing port that is not started; the configuration is copied, and `key` outlives the call. Drivers that
    // keep the key copy it.
    step.check(Step::Configure, unsafe { sys::rte_eth_dev_configure(found.id, queues, queues, &*conf) })?;
    Ok(offloads)
}

struct Mac {
    address: MacAddr,
    /// The device filters for this address itself.
    in_device: bool,
}

fn set_mac(step: &Steps<'_>, found: &Found) -> Result<Mac, DpdkError> {
    let mut own = sys::rte_ether_addr::default();
    // SAFETY: an existing port; `own` is written.
    step.check(Step::Address, unsafe { sys::rte_eth_macaddr_get(found.id, &mut own) })?;
    let own = MacAddr(own.addr_bytes);
    let Some(address) = step.spec.mac.filter(|&wanted| wanted != own) else {
        return Ok(Mac { address: own, in_device: true });
    };
    let mut wanted = sys::rte_ether_addr { addr_bytes: address.0 };
    // SAFETY: an existing, configured port; the address is copied.
    let code = unsafe { sys::rte_eth_dev_default_mac_addr_set(found.id, &mut wanted) };
    let in_device = step.check_optional(Step::Address, code)?;
    Ok(Mac { address, in_device })
}

fn set_up_queues(
    step: &Steps<'_>,
    found: &Found,
    queues: u16,
    (rx_desc, tx_desc): (u16, u16),
    offloads: &Offloads,
    claim: &Claim,
) -> Result<(), DpdkError> {
    let mut rx_conf = found.info.default_rxconf;
    rx_conf.offloads = offloads.rx;
    let mut tx_conf = found.info.default_txconf;
    tx_conf.offloads = offloads.tx;
    // SAFETY: an existing port.
    let socket = unsafe { sys::rte_eth_dev_socket_id(found.id) } as u32;
    for queue in 0..queues {
        // SAFETY: a configured port with more than `queue` queues; `rx_conf` is copied; the pool lives as long as the process.
        let code =
            unsafe { sys::rte_eth_rx_queue_setup(found.id, queue, rx_desc, socket, &rx_conf, claim.raw.as_ptr()) };
        step.check(Step::RxQueue(queue), code)?;
        // SAFETY: as above.
        let code = unsafe { sys::rte_eth_tx_queue_setup(found.id, queue, tx_desc, socket, &tx_conf) };
        step.check(Step::TxQueue(queue), code)?;
    }
    Ok(())
}

/// Sets the MTU where it differs, and returns what holds. A driver that has none takes any packet its buffers hold.
fn set_mtu(step: &Steps<'_>, id: u16) -> Result<u16, DpdkError> {
    let wanted = step.spec.mtu;
    // SAFETY: an existing port that is not started.
    step.check_optional(Step::Mtu, unsafe { sys::rte_eth_dev_set_mtu(id, wanted) })?;
    Ok(wanted)
}

/// Lets through what a router needs: multicast (ND), and other stations' packets when asked for or when the device does not know
/// our address. A driver without these functions has no filter.
fn set_filter(step: &Steps<'_>, id: u16, knows_address: bool) -> Result<(), DpdkError> {
    if step.spec.promiscuous || !knows_address {
        // SAFETY: a started port.
        step.check_optional(Step::Filter, unsafe { sys::rte_eth_promiscuous_enable(id) })?;
    }
    // SAFETY: a started port.
    step.check_optional(Step::Filter, unsafe { sys::rte_eth_allmulticast_enable(id) })?;
    Ok(())
}

/// Stops a started device. Nothing can be done about a failure, here or in `close`: the port is gone for us either way, and the
/// driver has logged it.
fn stop(id: u16) {
    // SAFETY: a started port that no queue handle refers to any more: handles hold the `Device`, or it was never built.
    unsafe { sys::rte_eth_dev_stop(id) };
}

/// Closes a device that is not running and, if it was hot-added, takes it off its bus.
fn close(id: u16, added: Option<NonNull<sys::rte_device>>) {
    // SAFETY: an existing port, used by nobody any more; the bus's device outlives its ethdev and is removed once.
    unsafe {
        sys::rte_eth_dev_close(id);
        if let Some(device) = added {
            sys::rte_dev_remove(device.as_ptr());
        }
    }
}

fn interface_exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: a terminated string.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}
