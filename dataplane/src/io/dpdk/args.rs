//! What is pure text: the EAL's command line, and device strings (`net_af_xdp0,iface=eth1`).

/// The command line for the EAL: the operator's arguments, and before them what a gateway needs unless the operator has chosen.
///
/// - one lcore on `cpu` (the EAL would start a thread per CPU; our cores are our own threads);
/// - no files shared with other DPDK processes (`--in-memory`), so that gateways do not meet in `/var/run/dpdk` and nothing is
///   left behind. The EAL refuses `--in-memory` beside `--no-huge`, where it means the same as `--no-shconf`, and becomes it;
/// - no telemetry socket, which is a listener nobody asked for.
pub(super) fn command_line(given: &[String], cpu: usize) -> Vec<String> {
    let has = |options: &[&str]| {
        given.iter().any(|arg| {
            let option = arg.split('=').next().unwrap_or(arg);
            options.contains(&option)
        })
    };
    // Short options carry their value attached, too: `-l0`, `-c3`.
    let has_short = |letter: char| given.iter().any(|arg| arg.starts_with(&format!("-{letter}")));
    let mut line = vec!["tidegate".to_owned()];
    if !has(&["--lcores"]) && !has_short('l') && !has_short('c') && !has_short('S') {
        line.extend(["--lcores".to_owned(), format!("0@{cpu}")]);
    }
    let no_huge = has(&["--no-huge"]);
    let shares = has(&["--proc-type", "--file-prefix", "--huge-dir", "--in-memory", "--no-shconf"]);
    if !shares {
        line.push(if no_huge { "--no-shconf" } else { "--in-memory" }.to_owned());
    }
    if !has(&["--telemetry", "--no-telemetry"]) {
        line.push("--no-telemetry".to_owned());
    }
    let private = |arg: &String| if no_huge && arg == "--in-memory" { "--no-shconf".to_owned() } else { arg.clone() };
    line.extend(given.iter().map(private));
    line
}

/// The name under which a device string's port is known: what stands before the first comma, without a bus prefix, and with the
/// PCI domain that the EAL puts before a short address.
pub(super) fn port_name(device: &str) -> String {
    let name = device.split(',').next().unwrap_or(device);
    let name = name.strip_prefix("vdev:").or_else(|| name.strip_prefix("pci:")).unwrap_or(name);
    let short_pci = name.len() == 7 && name.as_bytes().get(2) == Some(&b':') && name.as_bytes().get(5) == Some(&b'.');
    if short_pci { format!("0000:{name}") } else { name.to_owned() }
}

/// The value of `key=value` in a device string.
pub(super) fn value<'a>(device: &'a str, key: &str) -> Option<&'a str> {
    device.split(',').skip(1).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// The device strings that give `queues` queues: the one given, or one per queue for `net_af_xdp`, which on interfaces without
/// combined channels offers a single queue per device. An operator who places queues (`start_queue`, `queue_count`) is left
/// alone.
pub(super) fn lanes(device: &str, queues: u16) -> Vec<String> {
    let name = port_name(device);
    let placed = value(device, "start_queue").is_some() || value(device, "queue_count").is_some();
    if queues <= 1 || placed || !name.starts_with("net_af_xdp") {
        return vec![device.to_owned()];
    }
    let rest = device.split_once(',').map(|(_, rest)| format!(",{rest}")).unwrap_or_default();
    (0..queues).map(|queue| format!("{name}q{queue}{rest},start_queue={queue},queue_count=1")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(given: &[&str]) -> String {
        command_line(&given.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>(), 3).join(" ")
    }

    #[test]
    fn the_command_line_has_what_a_gateway_needs() {
        assert_eq!(line(&[]), "tidegate --lcores 0@3 --in-memory --no-telemetry");
        assert_eq!(
            line(&["--no-huge", "-m", "256"]),
            "tidegate --lcores 0@3 --no-shconf --no-telemetry --no-huge -m 256"
        );
        assert_eq!(line(&["--in-memory", "--no-huge"]), "tidegate --lcores 0@3 --no-telemetry --no-shconf --no-huge");
    }

    #[test]
    fn the_operator_chooses() {
        assert_eq!(line(&["-l0,1", "--telemetry", "--in-memory"]), "tidegate -l0,1 --telemetry --in-memory");
        assert_eq!(line(&["--lcores=0@1", "--no-telemetry", "--file-prefix=x"]), {
            "tidegate --lcores=0@1 --no-telemetry --file-prefix=x"
        });
        assert_eq!(line(&["-c", "1", "--no-telemetry", "--no-shconf"]), "tidegate -c 1 --no-telemetry --no-shconf");
        // `--log-level` and `--legacy-mem` are not `-l`.
        assert!(line(&["--log-level=8", "--legacy-mem"]).contains("--lcores 0@3"));
    }

    #[test]
    fn names_of_ports() {
        assert_eq!(port_name("net_af_xdp0,iface=eth1"), "net_af_xdp0");
        assert_eq!(port_name("vdev:net_null0"), "net_null0");
        assert_eq!(port_name("01:00.1"), "0000:01:00.1");
        assert_eq!(port_name("pci:0000:01:00.1,x=1"), "0000:01:00.1");
    }

    #[test]
    fn values_are_found_by_whole_keys() {
        assert_eq!(value("net_af_xdp0,iface=eth1,start_queue=2", "start_queue"), Some("2"));
        assert_eq!(value("net_tap0,xiface=a,iface=b", "iface"), Some("b"));
        assert_eq!(value("net_null0", "iface"), None);
    }

    #[test]
    fn af_xdp_gets_a_device_per_queue() {
        assert_eq!(
            lanes("net_af_xdp0,iface=eth1", 2),
            [
                "net_af_xdp0q0,iface=eth1,start_queue=0,queue_count=1",
                "net_af_xdp0q1,iface=eth1,start_queue=1,queue_count=1"
            ]
        );
        assert_eq!(lanes("net_af_xdp0,iface=eth1", 1), ["net_af_xdp0,iface=eth1"]);
        assert_eq!(lanes("net_af_xdp0,iface=eth1,queue_count=4", 4).len(), 1);
        assert_eq!(lanes("net_tap0", 4), ["net_tap0"]);
    }
}
