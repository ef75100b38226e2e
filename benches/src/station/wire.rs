//! Where a load or an origin is attached: a port in one word, and the addresses it answers to.

use core::net::IpAddr;
use core::str::FromStr;
use std::fmt;

use ipnet::IpNet;
use tidegate_dataplane::io::spec::{AfXdpSpec, DpdkSpec, DriverSpec, PortSpec, TapSpec};

/// Most addresses of one station: enough for a million connections to one place.
const MAX_ADDRESSES: usize = 256;

/// A port as it is written on the command line: `memory`, `af_xdp:IFACE`, `tap:NAME`, `memif:SOCKET[,KEY=VALUE…]`, `dpdk:DEVARGS`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    /// A wire within this process.
    Memory,
    /// A network interface of the kernel.
    AfXdp(String),
    /// A TAP that is made for the occasion.
    Tap(String),
    /// A DPDK device.
    Dpdk(String),
}

impl Wire {
    /// What the data plane opens. `busy_poll_us` is for AF_XDP: receive on our own processor instead of the sender's.
    pub(crate) fn spec(&self, name: &str, mtu: u16, busy_poll_us: u32) -> PortSpec {
        let driver = match self {
            Self::Memory => DriverSpec::Memory,
            Self::AfXdp(interface) => DriverSpec::AfXdp(AfXdpSpec { busy_poll_us, ..AfXdpSpec::new(interface) }),
            Self::Tap(interface) => DriverSpec::Tap(TapSpec::new(interface)),
            Self::Dpdk(device) => DriverSpec::Dpdk(DpdkSpec { device: device.clone(), checksum_offload: true }),
        };
        PortSpec { name: name.to_owned(), driver, mac: None, mtu }
    }
}

/// Words that name no port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoWire(String);

impl fmt::Display for NoWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: a port is memory, af_xdp:IFACE, tap:NAME, memif:SOCKET or dpdk:DEVICE", self.0)
    }
}

impl std::error::Error for NoWire {}

impl FromStr for Wire {
    type Err = NoWire;

    fn from_str(text: &str) -> Result<Self, NoWire> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        let (kind, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or(NoWire(text.to_owned()))?;
        Ok(match kind {
            "af_xdp" => Self::AfXdp(rest.to_owned()),
            "tap" => Self::Tap(rest.to_owned()),
            "dpdk" => Self::Dpdk(rest.to_owned()),
            "memif" => Self::Dpdk(memif(rest)),
            _ => return Err(NoWire(text.to_owned())),
        })
    }
}

/// The device of a shared-memory wire: we are the client unless told otherwise, and each socket is a device of its own.
fn memif(rest: &str) -> String {
    let (socket, more) = rest.split_once(',').unwrap_or((rest, ""));
    let given = |key: &str| more.split(',').any(|pair| pair.split('=').next() == Some(key));
    // Names have to differ within the process and say nothing beyond it.
    let number = socket.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 1000;
    let mut device = format!("net_memif{number},socket={socket}");
    for (key, default) in [("role", "client"), ("id", "0"), ("socket-abstract", "no"), ("rsize", "11")] {
        if !given(key) {
            device.push_str(&format!(",{key}={default}"));
        }
    }
    if !more.is_empty() {
        device.push(',');
        device.push_str(more);
    }
    device
}

/// Addresses with the prefix of their link: `10.0.1.2/24`, or a range of them, `10.0.1.10-10.0.1.40/24`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Addresses(pub(crate) Vec<IpNet>);

/// Words that name no addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoAddresses(String);

impl fmt::Display for NoAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: an address is A/LEN or FIRST-LAST/LEN, at most {MAX_ADDRESSES} of them", self.0)
    }
}

impl std::error::Error for NoAddresses {}

impl FromStr for Addresses {
    type Err = NoAddresses;

    fn from_str(text: &str) -> Result<Self, NoAddresses> {
        let wrong = || NoAddresses(text.to_owned());
        let mut all = Vec::new();
        for part in text.split(',') {
            let (range, len) = part.split_once('/').ok_or_else(wrong)?;
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (IpAddr, IpAddr) =
                (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
            let len: u8 = len.parse().map_err(|_| wrong())?;
            if first > last || first.is_ipv4() != last.is_ipv4() {
                return Err(wrong());
            }
            let mut address = first;
            loop {
                all.push(IpNet::new(address, len).map_err(|_| wrong())?);
                if address == last {
                    break;
                }
                if all.len() >= MAX_ADDRESSES {
                    return Err(wrong());
                }
                address = next(address);
            }
        }
        Ok(Self(all))
    }
}

fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits().wrapping_add(1)).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits().wrapping_add(1)).into()),
    }
}

/// A port with its addresses: `af_xdp:ve-o,10.0.2.2/24,10.0.2.3/24`. What follows the port's own commas and looks like addresses is
/// addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attachment {
    pub(crate) wire: Wire,
    pub(crate) addresses: Vec<IpNet>,
}

/// Words that attach nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoAttachment {
    /// The port is none.
    Wire(NoWire),
    /// No address follows.
    Addresses(NoAddresses),
}

impl fmt::Display for NoAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Addresses(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoAttachment {}

impl FromStr for Attachment {
    type Err = NoAttachment;

    fn from_str(text: &str) -> Result<Self, NoAttachment> {
        let parts: Vec<&str> = text.split(',').collect();
        let of_port = parts.iter().rposition(|part| part.parse::<Addresses>().is_err()).map_or(0, |last| last + 1);
        let wire = parts[..of_port].join(",").parse().map_err(NoAttachment::Wire)?;
        let addresses = parts[of_port..].join(",").parse::<Addresses>().map_err(NoAttachment::Addresses)?;
        Ok(Self { wire, addresses: addresses.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_word() {
        assert_eq!("af_xdp:eth1".parse(), Ok(Wire::AfXdp("eth1".into())));
        assert_eq!("memory".parse(), Ok(Wire::Memory));
        assert_eq!("dpdk:net_tap0,iface=t0".parse(), Ok(Wire::Dpdk("net_tap0,iface=t0".into())));
        let Ok(Wire::Dpdk(device)) = "memif:/run/m.sock,id=3".parse() else { panic!("a memif is a DPDK device") };
        assert!(device.contains("socket=/run/m.sock") && device.contains("role=client"), "{device}");
        assert!(device.contains("id=3") && !device.contains("id=0"), "{device}");
        for wrong in ["af_xdp", "af_xdp:", "eth:eth1", ""] {
            assert!(wrong.parse::<Wire>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_lists_and_ranges() {
        let all = "10.0.1.254-10.0.2.1/16,fd00::1/64".parse::<Addresses>().unwrap().0;
        let text: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.1.254/16", "10.0.1.255/16", "10.0.2.0/16", "10.0.2.1/16", "fd00::1/64"]);
        for wrong in
            ["10.0.0.1", "10.0.0.2-10.0.0.1/24", "10.0.0.1-fd00::1/24", "10.0.0.0-10.255.0.0/8", "a/8", "10.0.0.1/33"]
        {
            assert!(wrong.parse::<Addresses>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ports_own_commas_stay_with_it() {
        let origin: Attachment = "dpdk:net_memif0,role=client,id=1,10.0.2.2/24,10.0.2.3/24".parse().unwrap();
        assert_eq!(origin.wire, Wire::Dpdk("net_memif0,role=client,id=1".into()));
        assert_eq!(origin.addresses.len(), 2);
        assert!("af_xdp:eth1".parse::<Attachment>().is_err(), "no address");
        assert!("10.0.0.1/24".parse::<Attachment>().is_err(), "no port");
    }
}
