//! `[[port]]`: devices, and `[[route]]` and `[[neighbor]]`: the network around the gateway.

use std::net::IpAddr;

use super::interface::InterfaceKeys;
use super::target::TargetKeys;
use crate::config::scalar::{FilePath, Int, Mac, Name, Prefix};
use crate::config::slot::{Optional, Required};
use crate::config::table::{table, words};

table! {
    /// A network port the gateway owns. Adding, removing or changing one needs a restart, except for `addresses`, `vrf`,
    /// `announce`, `duplicate_detection`, `reverse_path`, `tcp_mss` and `router_advertisements`.
    pub struct Port("[[port]]") {
        /// Name in metrics, logs and other tables; unique.
        name: Required<Name>;
        /// What moves the packets.
        driver: Required<Driver>;
        /// Network device of the kernel. For `af_xdp` it must exist; for `tap` it is made, with this name (at most 15 bytes).
        interface: Optional<String>;
        /// DPDK device: a PCI address, or a virtual device such as `net_af_xdp0,iface=eth1`. Only for `dpdk`.
        device: Optional<String>;
        /// Ethernet address of the port. Without it that of the device is used; a `tap`, `memory` or pcap port gets one that
        /// is made from its name: give one where two gateways with ports of the same name meet on a link.
        mac: Optional<Mac>;
        /// Receive and transmit queues. There is one per core, so this only says that the device has as many. Only for `af_xdp`,
        /// `tap` and `dpdk`.
        queues: Optional<Int<1, 64>>;
        /// Where in the kernel the XDP program runs. Only for `af_xdp`.
        xdp_mode: Optional<XdpMode>;
        /// Whether the device writes straight into our packet buffers. Only for `af_xdp`.
        zero_copy: Optional<ZeroCopy>;
        /// Which packets the gateway takes from the device; the rest stays with the kernel. Only for `af_xdp`.
        capture: Optional<Capture>;
        /// The core polls the device in its own system calls (`SO_PREFER_BUSY_POLL`), and the device holds its interrupts back
        /// for this many microseconds after each poll; 0 is off. Receive work moves from interrupts to the core; the first
        /// packet after a sleep may wait as long. Of no effect on veth. Only for `af_xdp`.
        busy_poll_us: Optional<Int<0, 1000>>;
        /// Leave checksums to the device where it can. Only for `tap` and `dpdk`; on by default.
        checksum_offload: Optional<bool>;
        /// Send and receive TCP segments longer than the MTU and let the device cut and join them. Only for `tap`; needs
        /// `frame_size = 65536` and `checksum_offload`, and is on by default where both hold.
        gso: Optional<bool>;
        /// File in pcap format whose packets the port receives, once. Only for `pcap`.
        read: Optional<FilePath>;
        /// Begin again at the end of `read`, for ever. Only for `pcap`; off by default.
        repeat: Optional<bool>;
        /// File in pcap format that gets the packets the port sends. Only for `pcap`.
        write: Optional<FilePath>;
        ..ip: InterfaceKeys;
    }
}

words! {
    /// What moves the packets of a port.
    pub enum Driver {
        /// A kernel network device by AF_XDP sockets; needs no driver of our own. The usual choice.
        AfXdp = "af_xdp",
        /// A TAP device made by us: the kernel, a virtual machine or a container is at the other end.
        Tap = "tap",
        /// Any DPDK poll-mode driver; the device is taken from the kernel.
        Dpdk = "dpdk",
        /// Reads one file and writes another: for tests and for asking what would happen to a capture.
        Pcap = "pcap",
        /// Memory of the process; what is sent is dropped. For measuring.
        Memory = "memory",
    }
}

words! {
    /// Where in the kernel the XDP program runs.
    pub enum XdpMode {
        /// In the driver, else generic.
        Auto = "auto",
        /// In the driver or not at all.
        Native = "native",
        /// After the kernel has made its own packet buffer: works everywhere, about half as fast.
        Generic = "generic",
    }
}

words! {
    /// Whether the device writes straight into our packet buffers.
    pub enum ZeroCopy {
        /// If the driver can.
        Auto = "auto",
        /// Or the port does not open.
        On = "on",
        /// The kernel copies.
        Off = "off",
    }
}

words! {
    /// Which packets the gateway takes from the device.
    pub enum Capture {
        /// All.
        All = "all",
        /// Those to the port's own addresses, and ARP and neighbour discovery for them; the kernel keeps the rest.
        Owned = "owned",
    }
}

table! {
    /// A static route. The longest matching prefix wins.
    ///
    /// With several next hops each flow takes one of them, by a hash of its addresses, protocol and ports (IPv6: flow label), in
    /// proportion to the weights. When a next hop goes or ceases to answer, only its own flows move; one that comes takes only its
    /// share.
    pub struct Route("[[route]]") {
        /// Destinations.
        to: Required<Prefix>;
        /// The routing domain whose packets it is for, by the name of a `[[vrf]]`. Without it, the main one.
        vrf: Optional<Name>;
        ..way: TargetKeys;
    }
}

table! {
    /// A neighbour whose Ethernet address is known and never asked for.
    pub struct Neighbor("[[neighbor]]") {
        /// The interface it is on: the name of a port, a VLAN or a bridge.
        interface: Required<Name>;
        /// Its address: in a subnet of the interface, link-local, or that of a router that a `[[route]]` names with this interface.
        address: Required<IpAddr>;
        /// Its Ethernet address.
        mac: Required<Mac>;
    }
}
