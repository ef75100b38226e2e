//! What is decided once, at the start: ports, cores, TCP.

use std::time::Duration;

use tidegate_dataplane::io::spec::{AfXdpSpec, Capture, DpdkSpec, PcapSpec, TapSpec, XdpMode, ZeroCopy};
use tidegate_dataplane::io::{DriverSpec, MacAddr, PortInfo, PortSpec};
use tidegate_dataplane::l4::{Congestion, SynCookies, TcpOptions};
use tidegate_dataplane::meta::{InterfaceId, PortId};
use tidegate_dataplane::worker::HostLink;

use crate::config::{Config, model};

/// The ports to open, in the order of the file.
pub fn ports(config: &Config) -> Vec<PortSpec> {
    let spec = |(port, interface): (&model::Port, &model::Interface)| PortSpec {
        name: port.name.0.clone(),
        driver: driver(port, interface),
        mac: port.mac.map(|mac| MacAddr(mac.0)),
        mtu: port.mtu,
    };
    config.ports.iter().zip(&config.interfaces).map(spec).collect()
}

/// The ends towards the kernel to open behind them, each with its way; `ports` is what is open.
pub fn hosts(config: &Config, ports: &[PortInfo]) -> Vec<(PortSpec, HostLink)> {
    let with_host = config.interfaces.iter().enumerate().filter_map(|(at, interface)| {
        let host = interface.host.as_ref()?;
        // A port's MTU is the device's.
        let mtu = ports.get(at).map_or(interface.mtu, |info| info.mtu);
        let spec = PortSpec {
            name: format!("{}.host", interface.name.0),
            driver: DriverSpec::Tap(TapSpec::new(&host.interface)),
            mac: Some(super::l3::mac(config, ports, interface)),
            mtu,
        };
        Some((at, spec, host.limit))
    });
    let ways = with_host.enumerate().map(|(place, (at, spec, limit))| {
        // In the first tables an interface's number is its place in the file.
        let interface = InterfaceId(number(at).0);
        (spec, HostLink { interface, link: number(ports.len() + place), limit })
    });
    ways.collect()
}

/// A port's place in the configuration is its number.
fn number(index: usize) -> PortId {
    // More than 65535 ports do not open in the first place.
    PortId(u16::try_from(index).unwrap_or(u16::MAX))
}

fn driver(port: &model::Port, own: &model::Interface) -> DriverSpec {
    match &port.driver {
        model::Driver::AfXdp { interface, xdp_mode, zero_copy, capture, busy_poll_us } => {
            DriverSpec::AfXdp(AfXdpSpec {
                interface: interface.clone(),
                mode: match xdp_mode {
                    model::XdpMode::Auto => XdpMode::Auto,
                    model::XdpMode::Native => XdpMode::Native,
                    model::XdpMode::Generic => XdpMode::Generic,
                },
                zero_copy: match zero_copy {
                    model::ZeroCopy::Auto => ZeroCopy::Auto,
                    model::ZeroCopy::On => ZeroCopy::On,
                    model::ZeroCopy::Off => ZeroCopy::Off,
                },
                capture: match capture {
                    model::Capture::All => Capture::All,
                    model::Capture::Owned => Capture::Owned,
                },
                owned: own.owned(),
                busy_poll_us: *busy_poll_us,
            })
        }
        model::Driver::Tap { interface, checksum_offload, gso } => {
            DriverSpec::Tap(TapSpec { interface: interface.clone(), checksum_offload: *checksum_offload, gso: *gso })
        }
        model::Driver::Pcap { read, repeat, write } => {
            DriverSpec::Pcap(PcapSpec { read: read.clone(), repeat: *repeat, write: write.clone() })
        }
        model::Driver::Memory => DriverSpec::Memory,
        model::Driver::Dpdk { device, checksum_offload } => {
            DriverSpec::Dpdk(DpdkSpec { device: device.clone(), checksum_offload: *checksum_offload })
        }
    }
}

/// TCP of each core. `mtu` is the largest of the ports'.
pub fn tcp(config: &Config) -> TcpOptions {
    let tcp = &config.tcp;
    TcpOptions {
        mtu: config.ports.iter().map(|port| port.mtu).max().unwrap_or(1500),
        max_connections: tcp.max_connections as usize,
        half_open_limit: tcp.half_open_limit as usize,
        syn_cookies: match tcp.syn_cookies {
            model::SynCookies::Auto => SynCookies::Auto,
            model::SynCookies::Always => SynCookies::Always,
            model::SynCookies::Off => SynCookies::Off,
        },
        keepalive: tcp.keepalive_s.map(|seconds| Duration::from_secs(seconds.into())),
        user_timeout: Duration::from_secs(tcp.user_timeout_s.into()),
        receive_buffer: tcp.receive_buffer as usize,
        send_buffer: tcp.send_buffer as usize,
        buffer_memory: usize::try_from(tcp.buffer_memory).unwrap_or(usize::MAX),
        congestion: match tcp.congestion {
            model::Congestion::Cubic => Congestion::Cubic,
            model::Congestion::Reno => Congestion::Reno,
            model::Congestion::None => Congestion::None,
        },
        ..TcpOptions::default()
    }
}
