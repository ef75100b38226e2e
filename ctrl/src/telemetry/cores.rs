//! Cores, stages, ports and drops.

use tidegate_dataplane::io::LinkState;
use tidegate_dataplane::meta::{InterfaceId, PortId};
use tidegate_dataplane::stats::{CoreStats, InterfaceStats, PolicyStats, PortStats, Stage};
use tidegate_dataplane::sync::counter::Counter;
use tidegate_dataplane::tables::Tables;
use tidegate_dataplane::verdict::DropReason;

use super::Telemetry;
use super::family::Family;

pub(super) fn families(telemetry: &Telemetry, tables: &Tables, links: &[LinkState]) -> Vec<Family> {
    let mut families = per_core(telemetry);
    families.extend(per_port(telemetry));
    families.push(links_up(telemetry, links));
    families.extend(per_interface(telemetry, tables));
    families.extend(per_policy(telemetry, tables));
    families.extend(per_stage(telemetry));
    let mut drops = Family::counter("tidegate_drops_total", "Packets lost, by reason; the manual explains each.");
    for reason in DropReason::ALL {
        drops.push(&[("reason", reason.label())], telemetry.sum(|core| core.stats.drops(*reason)));
    }
    families.push(drops);
    families
}

fn per_core(telemetry: &Telemetry) -> Vec<Family> {
    type Of = fn(&CoreStats) -> &Counter;
    let counters: [(&str, &str, Of); 9] = [
        ("tidegate_core_turns_total", "Turns of the poll loop, idle ones included: the heartbeat.", |c| &c.turns),
        ("tidegate_core_idle_turns_total", "Turns that found nothing to do.", |c| &c.idle_turns),
        ("tidegate_core_sleeps_total", "Times the core slept on its ports.", |c| &c.sleeps),
        ("tidegate_core_busy_cycles_total", "Time-stamp counter ticks in turns that had work.", |c| &c.busy_cycles),
        ("tidegate_core_cycles_total", "Time-stamp counter ticks since the core began, sleep included.", |c| {
            &c.total_cycles
        }),
        ("tidegate_core_handovers_total", "Packets passed to the core that owns their flow.", |c| &c.handovers),
        ("tidegate_bridge_moves_total", "Stations that moved from one member of a bridge to another.", |c| {
            &c.bridge_moves
        }),
        ("tidegate_bridge_refused_total", "Frames of stations that a bridge at its limit did not learn.", |c| {
            &c.bridge_refused
        }),
        ("tidegate_core_restarts_total", "Panics that were contained; each restarted the core.", |c| &c.restarts),
    ];
    let gauges: [(&str, &str, Of); 3] = [
        ("tidegate_bridge_stations", "Stations that bridges know.", |c| &c.bridge_stations),
        ("tidegate_core_free_frames", "Packet buffers that are free.", |c| &c.free_frames),
        ("tidegate_core_generation", "Number of the tables the core runs on.", |c| &c.generation),
    ];
    let of_all = |mut family: Family, of: Of| {
        for core in &telemetry.cores {
            family.push(&[("core", &core.cpu.to_string())], of(&core.stats).value());
        }
        family
    };
    let counters = counters.into_iter().map(|(name, help, of)| of_all(Family::counter(name, help), of));
    let gauges = gauges.into_iter().map(|(name, help, of)| of_all(Family::gauge(name, help), of));
    counters.chain(gauges).collect()
}

fn per_port(telemetry: &Telemetry) -> Vec<Family> {
    type Of = fn(&PortStats) -> &Counter;
    let counters: [(&str, &str, Of); 7] = [
        ("tidegate_rx_packets_total", "Packets received.", |p| &p.rx_packets),
        ("tidegate_rx_bytes_total", "Bytes received, Ethernet header included.", |p| &p.rx_bytes),
        ("tidegate_rx_errors_total", "Packets the driver could not deliver.", |p| &p.rx_errors),
        ("tidegate_tx_packets_total", "Packets sent.", |p| &p.tx_packets),
        ("tidegate_tx_bytes_total", "Bytes sent, Ethernet header included.", |p| &p.tx_bytes),
        (
            "tidegate_tx_errors_total",
            "Packets refused for good: the link is down, or the driver cannot send them.",
            |p| &p.tx_errors,
        ),
        ("tidegate_tx_copies_total", "Packets copied on the way out, their memory not being the port's.", |p| {
            &p.tx_copies
        }),
    ];
    let mut families = Vec::new();
    for (name, help, of) in counters {
        let mut family = Family::counter(name, help);
        for (index, port) in telemetry.ports.iter().enumerate() {
            let Ok(id) = u16::try_from(index) else { break };
            for core in &telemetry.cores {
                let labels = [("port", port.name.as_str()), ("core", &core.cpu.to_string())];
                family.push(&labels, of(core.stats.port(PortId(id))).value());
            }
        }
        families.push(family);
    }
    let mut info = Family::gauge("tidegate_port_info", "The ports.");
    for port in &telemetry.ports {
        let (mac, mtu) = (port.mac.to_string(), port.mtu.to_string());
        info.push(&[("port", &port.name), ("driver", &port.driver), ("mac", &mac), ("mtu", &mtu)], 1);
    }
    families.push(info);
    families
}

/// The state of links, reduced to what an alert asks for.
fn links_up(telemetry: &Telemetry, links: &[LinkState]) -> Family {
    let mut up =
        Family::gauge("tidegate_port_up", "1 while the port's link is up, 0 without carrier, set down or gone.");
    for (port, link) in telemetry.ports.iter().zip(links) {
        up.push(&[("port", &port.name)], u64::from(*link == LinkState::Up));
    }
    up
}

/// What ports do not count: parts of a port's traffic, told by tags, and what bridges route.
fn per_interface(telemetry: &Telemetry, tables: &Tables) -> Vec<Family> {
    type Of = fn(&InterfaceStats) -> &Counter;
    let counters: [(&str, &str, Of); 4] = [
        ("tidegate_interface_rx_packets_total", "Packets received by a VLAN or, from its members, by a bridge.", |i| {
            &i.rx_packets
        }),
        ("tidegate_interface_rx_bytes_total", "Bytes of them, Ethernet header and tags included.", |i| &i.rx_bytes),
        ("tidegate_interface_tx_packets_total", "Packets sent by a VLAN or, to its members, by a bridge.", |i| {
            &i.tx_packets
        }),
        ("tidegate_interface_tx_bytes_total", "Bytes of them, Ethernet header and tags included.", |i| &i.tx_bytes),
    ];
    let all = tables.l3.link().interfaces().iter().zip(0u16..);
    let own: Vec<_> = all.filter(|(interface, _)| interface.has_counters()).collect();
    let families = counters.into_iter().map(|(name, help, of)| {
        let mut family = Family::counter(name, help);
        for (interface, id) in &own {
            for core in &telemetry.cores {
                let labels = [("interface", interface.name.as_str()), ("core", &core.cpu.to_string())];
                family.push(&labels, of(core.stats.interface(InterfaceId(*id))).value());
            }
        }
        family
    });
    families.collect()
}

/// What the rules decided that come before the routes.
fn per_policy(telemetry: &Telemetry, tables: &Tables) -> Vec<Family> {
    type Of = fn(&PolicyStats) -> &Counter;
    let counters: [(&str, &str, Of); 2] = [
        ("tidegate_policy_packets_total", "Packets that a policy rule decided about.", |p| &p.packets),
        ("tidegate_policy_bytes_total", "Bytes of them, IP headers included.", |p| &p.bytes),
    ];
    let families = counters.into_iter().map(|(name, help, of)| {
        let mut family = Family::counter(name, help);
        for rule in tables.l3.policies().rules() {
            for core in &telemetry.cores {
                let labels = [("policy", &*rule.name), ("core", &core.cpu.to_string())];
                family.push(&labels, of(core.stats.policy(rule.counter)).value());
            }
        }
        family
    });
    families.collect()
}

fn per_stage(telemetry: &Telemetry) -> Vec<Family> {
    let mut cycles = Family::counter("tidegate_stage_cycles_total", "Time-stamp counter ticks spent in a stage.");
    let mut packets = Family::counter("tidegate_stage_packets_total", "Packets that went through a stage.");
    for core in &telemetry.cores {
        let cpu = core.cpu.to_string();
        for stage in Stage::ALL {
            let labels = [("core", cpu.as_str()), ("stage", stage.label())];
            cycles.push(&labels, core.stats.stage(*stage).cycles.value());
            packets.push(&labels, core.stats.stage(*stage).packets.value());
        }
    }
    vec![cycles, packets]
}
