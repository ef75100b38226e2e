//! `[[port]]`: what each driver needs and what it does not know.

use std::collections::HashMap;

use tidegate_dataplane::frame::HEADROOM;

use super::Checker;
use crate::config::model::{self, Driver};
use crate::config::raw::{Capture, Driver as Word, Port, Raw, XdpMode, ZeroCopy};
use crate::config::slot::{At, Optional};
use crate::diagnostic::{Code, Diagnostic, Span, alternatives};

/// A device name of the kernel holds 16 bytes with the terminating zero.
const MAX_INTERFACE_NAME: usize = 15;

/// Bytes of a packet buffer that are not the IP packet: headroom for new headers, the Ethernet header with two VLAN tags.
const FRAME_OVERHEAD: u32 = HEADROOM as u32 + 22;

/// The largest packet buffer.
const MAX_FRAME_SIZE: u32 = 65_536;

/// The largest buffer that AF_XDP fills: a page. Longer packets take several, and are put together in one of ours.
const XDP_BUFFER: u32 = 4096;

pub(super) fn check(raw: &Raw, cx: &mut Checker<'_>) -> Vec<model::Port> {
    if raw.port.0.is_empty() && raw.listener.0.is_empty() {
        cx.push(
            Diagnostic::error(Code::MissingKey, Span::default(), "there is no `[[port]]`: nothing would be received")
                .help(
                    "a port has a `name`, a `driver`, mostly an `interface`, and `addresses`; configs/ has whole files",
                ),
        );
    }
    if raw.port.0.is_empty() && !raw.listener.0.is_empty() {
        cx.push(
            Diagnostic::error(
                Code::MissingKey,
                raw.listener.0[0].head,
                "a listener needs a port to receive packets from",
            )
            .help("add a `[[port]]` with the listener's address"),
        );
    }
    let mut interfaces = HashMap::new();
    let mut ports = Vec::new();
    for port in &raw.port.0 {
        own_device(port, &mut interfaces, cx);
        let frame_size = raw.runtime.frame_size.to();
        mtu(port, frame_size, cx);
        queues(port, raw.runtime.cores.len(), cx);
        let driver = port.driver.ok().and_then(|word| driver(port, word, frame_size, cx));
        if let (Some(name), Some(driver)) = (port.name.ok(), driver) {
            ports.push(model::Port {
                name: name.value.clone(),
                driver,
                mac: port.mac.ok().map(|mac| mac.value),
                mtu: mtu_of(port),
            });
        }
    }
    for (_, keys) in raw.linked().skip(raw.port.0.len()) {
        own(keys.host.ok(), &mut interfaces, cx);
    }
    ports
}

/// Two ports on one device would take each other's packets.
fn own_device(port: &Port, devices: &mut HashMap<String, Span>, cx: &mut Checker<'_>) {
    for device in [port.interface.ok(), port.device.ok(), port.ip.host.ok()] {
        own(device, devices, cx);
    }
}

/// A device is used once.
fn own(device: Option<&At<String>>, devices: &mut HashMap<String, Span>, cx: &mut Checker<'_>) {
    if let Some(device) = device
        && let Some(first) = devices.insert(device.value.clone(), device.span)
    {
        let message = format!("`{}` is already the device of another port", device.value);
        cx.push(Diagnostic::error(Code::Duplicate, device.span, message).related(first, "the first is here"));
    }
}

/// Longest IP packet of a port, unless the file says otherwise.
const DEFAULT_MTU: u16 = 1500;

/// The largest IP packet of a port.
pub(super) fn mtu_of(port: &Port) -> u16 {
    port.ip.mtu.ok().map_or(DEFAULT_MTU, |mtu| mtu.to())
}

fn mtu(port: &Port, frame_size: u32, cx: &mut Checker<'_>) {
    let limit = frame_size.saturating_sub(FRAME_OVERHEAD);
    let mtu = u32::from(mtu_of(port));
    if mtu > limit && frame_size.is_power_of_two() {
        let message = format!("a packet of {mtu} bytes does not fit a buffer of {frame_size}: at most {limit}");
        let big = Diagnostic::error(Code::OutOfRange, port.ip.mtu.span().unwrap_or(port.head), message);
        let enough = (mtu + FRAME_OVERHEAD).next_power_of_two();
        let xdp = port.driver.ok().is_some_and(|driver| driver.value == Word::AfXdp);
        cx.push(if xdp && enough > XDP_BUFFER && enough <= MAX_FRAME_SIZE {
            let most = XDP_BUFFER - FRAME_OVERHEAD;
            big.help(format!(
                "write `frame_size = {enough}` in `[runtime]`; packets of more than {most} bytes take several buffers of AF_XDP, \
                 which needs Linux 6.6"
            ))
        } else if enough <= MAX_FRAME_SIZE {
            big.help(format!("write `frame_size = {enough}` in `[runtime]`"))
        } else {
            big
        });
    }
}

/// Each core polls its own queue of each port.
fn queues(port: &Port, cores: usize, cx: &mut Checker<'_>) {
    let Some(queues) = port.queues.ok() else { return };
    let given: usize = queues.to();
    if given != cores {
        let message = format!("each core polls one queue of each port: {cores} cores, {given} queues");
        let help = "leave out `queues`, or list as many CPUs in `cores`";
        cx.push(Diagnostic::error(Code::Conflict, queues.span, message).help(help));
    }
}

/// Long segments arrive in one piece, so a packet buffer must hold the longest.
fn gso(port: &Port, frame_size: u32, cx: &mut Checker<'_>) -> bool {
    let checksums = port.checksum_offload.ok().is_none_or(|flag| flag.value);
    let possible = checksums && frame_size >= MAX_FRAME_SIZE;
    let Some(wanted) = port.gso.ok() else { return possible };
    if wanted.value && !possible {
        let message = "`gso` needs `checksum_offload` and packet buffers of 65536 bytes";
        let help = "write `frame_size = 65536` in `[runtime]`, or leave out `gso`";
        cx.push(Diagnostic::error(Code::Conflict, wanted.span, message).help(help));
    }
    wanted.value
}

fn driver(port: &Port, word: &At<Word>, frame_size: u32, cx: &mut Checker<'_>) -> Option<Driver> {
    foreign_keys(port, word, cx);
    let flag = |optional: &Optional<bool>| optional.ok().is_none_or(|flag| flag.value);
    match word.value {
        Word::AfXdp => Some(Driver::AfXdp {
            interface: interface(port, word, "the network device, as `interface = \"eth1\"`", cx)?,
            xdp_mode: port.xdp_mode.ok().map_or(XdpMode::Auto, |mode| mode.value),
            zero_copy: port.zero_copy.ok().map_or(ZeroCopy::Auto, |mode| mode.value),
            capture: port.capture.ok().map_or(Capture::All, |capture| capture.value),
            busy_poll_us: port.busy_poll_us.ok().map_or(0, |us| us.to()),
        }),
        Word::Tap => Some(Driver::Tap {
            interface: interface(port, word, "the name of the device to make, as `interface = \"tap0\"`", cx)?,
            checksum_offload: flag(&port.checksum_offload),
            gso: gso(port, frame_size, cx),
        }),
        Word::Dpdk => {
            if !cx.surroundings.dpdk {
                let without = "this binary was built without DPDK";
                cx.push(
                    Diagnostic::error(Code::Unsupported, word.span, without)
                        .help("build it with the cargo feature `dpdk`, or use `driver = \"af_xdp\"`"),
                );
            }
            let device = required(port, &port.device, word, "device", "a PCI address or a virtual device", cx)?;
            Some(Driver::Dpdk { device, checksum_offload: flag(&port.checksum_offload) })
        }
        Word::Pcap => {
            if port.read.is_absent() && port.write.is_absent() {
                let message = "a port with `driver = \"pcap\"` needs `read`, `write` or both";
                cx.push(Diagnostic::error(Code::MissingKey, word.span, message));
            }
            let path =
                |optional: &Optional<crate::config::scalar::FilePath>| optional.ok().map(|path| cx.resolve(&path.0));
            let repeat = port.repeat.ok().is_some_and(|repeat| repeat.value);
            Some(Driver::Pcap { read: path(&port.read), repeat, write: path(&port.write) })
        }
        Word::Memory => Some(Driver::Memory),
    }
}

fn interface(port: &Port, word: &At<Word>, what: &str, cx: &mut Checker<'_>) -> Option<String> {
    let name = required(port, &port.interface, word, "interface", what, cx)?;
    if let Some(given) = port.interface.ok() {
        device_name(given, cx);
    }
    Some(name)
}

/// Records what no device of the kernel can be called.
pub(super) fn device_name(name: &At<String>, cx: &mut Checker<'_>) {
    let mut bad = |reason: String| cx.push(Diagnostic::error(Code::InvalidValue, name.span, reason));
    let name = &name.value;
    if name.is_empty() || name.len() > MAX_INTERFACE_NAME {
        bad(format!("the name of a device has 1 to {MAX_INTERFACE_NAME} bytes, `{name}` has {}", name.len()));
    } else if name == "."
        || name == ".."
        || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0')
    {
        bad(format!("`{name}` cannot be the name of a device: no `/`, `:` or space"));
    }
}

fn required(
    port: &Port,
    key: &Optional<String>,
    word: &At<Word>,
    name: &str,
    what: &str,
    cx: &mut Checker<'_>,
) -> Option<String> {
    if key.is_absent() {
        let message = format!("a port with `driver = \"{}\"` needs `{name}`", word.as_str());
        let missing = Diagnostic::error(Code::MissingKey, word.span, message).help(format!("it is {what}"));
        // Both device keys exist; the wrong one of them is the likely slip.
        let other = if name == "interface" { &port.device } else { &port.interface };
        cx.push(match other.span() {
            Some(span) => missing.related(span, "perhaps this is meant"),
            None => missing,
        });
    }
    key.ok().map(|value| value.value.clone())
}

/// Keys that only other drivers know.
fn foreign_keys(port: &Port, word: &At<Word>, cx: &mut Checker<'_>) {
    use Word::{AfXdp, Dpdk, Pcap, Tap};
    let table: [(&str, Option<Span>, &[Word]); 12] = [
        ("interface", port.interface.span(), &[AfXdp, Tap]),
        ("device", port.device.span(), &[Dpdk]),
        ("queues", port.queues.span(), &[AfXdp, Tap, Dpdk]),
        ("xdp_mode", port.xdp_mode.span(), &[AfXdp]),
        ("zero_copy", port.zero_copy.span(), &[AfXdp]),
        ("capture", port.capture.span(), &[AfXdp]),
        ("busy_poll_us", port.busy_poll_us.span(), &[AfXdp]),
        ("checksum_offload", port.checksum_offload.span(), &[Tap, Dpdk]),
        ("gso", port.gso.span(), &[Tap]),
        ("read", port.read.span(), &[Pcap]),
        ("repeat", port.repeat.span(), &[Pcap]),
        ("write", port.write.span(), &[Pcap]),
    ];
    for (key, span, drivers) in table {
        let Some(span) = span.filter(|_| !drivers.contains(&word.value)) else { continue };
        let message = format!("a port with `driver = \"{}\"` has no `{key}`", word.as_str());
        let only = alternatives(drivers.iter().map(|driver| driver.as_str()));
        cx.push(Diagnostic::error(Code::NotApplicable, span, message).help(format!("`{key}` is for {only}")));
    }
}
