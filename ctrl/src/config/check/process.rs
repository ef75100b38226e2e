//! `[runtime]`, `[admin]`, `[log]`, `[dpdk]`, `[tcp]`, `[icmp]` and `[neighbor_table]`.

use std::collections::BTreeMap;

use super::Checker;
use crate::config::model;
use crate::config::raw::{AccessLog, Admin, Dpdk, Driver, Icmp, Log, NeighborTable, Port, Raw, Runtime, Tcp};
use crate::config::slot::At;
use crate::diagnostic::{Code, Diagnostic, Span};

/// `sun_path` of a unix socket address holds 108 bytes with the terminating zero.
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn runtime(raw: &Runtime, cx: &mut Checker<'_>) -> model::Runtime {
    let mut cores = Vec::new();
    for core in &raw.cores.value {
        let number: u16 = core.to();
        if cores.contains(&number) {
            cx.push(Diagnostic::error(Code::Duplicate, core.span, format!("core {number} is listed twice")));
        } else {
            cores.push(number);
        }
    }
    if cores.is_empty() && !cx.broken(raw.cores.span) {
        let none =
            Diagnostic::error(Code::InvalidValue, raw.cores.span, "`cores` is empty: nothing would move packets");
        cx.push(none.help("write `cores = [1]`"));
    }
    if cores.len() > 64 {
        cx.push(Diagnostic::error(Code::OutOfRange, raw.cores.span, format!("{} cores, at most 64", cores.len())));
    }
    let frame_size: u32 = raw.frame_size.to();
    if !frame_size.is_power_of_two() {
        let odd = Diagnostic::error(Code::InvalidValue, raw.frame_size.span, "`frame_size` must be a power of two");
        cx.push(odd.help("2048 for an MTU up to 1500, else 4096 or more"));
    }
    model::Runtime {
        cores,
        idle: raw.idle.value,
        idle_turns: raw.idle_turns.to(),
        frames_per_core: raw.frames_per_core.to(),
        frame_size,
        drain_timeout_s: raw.drain_timeout_s.to(),
    }
}

pub(super) fn admin(raw: &Admin, cx: &mut Checker<'_>) -> model::Admin {
    let socket = cx.resolve(&raw.socket.0);
    let length = socket.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        let message = format!("the path of a unix socket has at most {MAX_SOCKET_PATH} bytes, this one has {length}");
        cx.push(Diagnostic::error(Code::InvalidValue, raw.socket.span, message));
    }
    if let Some(http) = raw.http.ok()
        && !http.ip().is_loopback()
    {
        let open = "whoever reaches this address reads metrics and configuration: there is no authentication";
        let open = Diagnostic::warning(Code::Conflict, http.span, open);
        cx.push(open.help("use a loopback address, or see that only the management network reaches it"));
    }
    model::Admin { socket, http: raw.http.ok().map(|http| http.value) }
}

pub(super) fn log(raw: &Log, cx: &Checker<'_>) -> model::Log {
    let access = match &raw.access.value {
        AccessLog::File(path) => AccessLog::File(cx.resolve(path)),
        other => other.clone(),
    };
    model::Log { access, level: raw.level.value }
}

pub(super) fn dpdk(raw: &Dpdk, ports: &[At<Port>], cx: &mut Checker<'_>) -> model::Dpdk {
    let used = ports.iter().any(|port| port.driver.ok().is_none_or(|driver| driver.value == Driver::Dpdk));
    if raw.eal_args.given && !used {
        let unused = "no port has `driver = \"dpdk\"`: these arguments go nowhere";
        cx.push(Diagnostic::warning(Code::Unused, raw.eal_args.span, unused));
    }
    model::Dpdk { eal_args: raw.eal_args.value.clone() }
}

/// The kernel's table `local` (`RT_TABLE_LOCAL` of rtnetlink).
const LOCAL_TABLE: u32 = 255;

pub(super) fn kernel_routes(file: &Raw, cx: &mut Checker<'_>) -> model::KernelRoutes {
    let raw = &file.kernel_routes;
    if raw.given && raw.enabled.value && file.linked().all(|(_, keys)| keys.host.is_absent()) {
        let nothing = "no interface has `host`: there is no route to learn";
        cx.push(Diagnostic::warning(Code::Unused, raw.span, nothing));
    }
    for table in raw.tables.iter().filter(|table| table.to::<u32>() == LOCAL_TABLE) {
        let message = "no daemon's routes are in table 255: it has the kernel's own addresses and broadcasts";
        let unused = Diagnostic::warning(Code::Unused, table.span, message);
        cx.push(unused.help("name the table that the daemon puts its routes in; 254 is the main table"));
    }
    model::KernelRoutes {
        vrfs: vrf_tables(file, cx),
        enabled: raw.enabled.value,
        tables: raw.tables.iter().map(|table| table.to()).collect(),
        protocols: raw.protocols.iter().map(|protocol| protocol.value).collect(),
        override_static: raw.override_static.value,
    }
}

/// The domains with their tables: each table belongs to one domain.
fn vrf_tables(file: &Raw, cx: &mut Checker<'_>) -> Vec<model::VrfTable> {
    let mut of: BTreeMap<u32, (Option<Span>, String)> = BTreeMap::new();
    let tables = &file.kernel_routes.tables;
    for table in tables.iter() {
        of.insert(table.to(), (tables.given.then_some(table.span), "the main domain".to_owned()));
    }
    let mut all = Vec::new();
    for vrf in &file.vrf.0 {
        let Some(name) = vrf.name.ok() else { continue };
        let table = vrf.kernel_table.ok();
        if let Some(table) = table.filter(|table| table.to::<u32>() == LOCAL_TABLE) {
            let message = "the kernel's table 255 has its own addresses and broadcasts, and is no domain's";
            let local = Diagnostic::error(Code::Conflict, table.span, message);
            cx.push(local.help("write the number that the VRF device has: one of 1 to 252, or more than 255"));
        }
        let taken = table.and_then(|table| of.insert(table.to(), (Some(table.span), format!("`{}`", name.0))));
        if let (Some(table), Some((first, domain))) = (table, taken) {
            let message = format!("the kernel's table {} is that of {domain} already", table.to::<u32>());
            let mut twice = Diagnostic::error(Code::Duplicate, table.span, message);
            if let Some(first) = first {
                twice = twice.related(first, "here");
            }
            cx.push(twice.help("each domain has a table of its own: write the number that its VRF device has"));
        }
        all.push(model::VrfTable { name: name.value.clone(), table: table.map(|table| table.to()) });
    }
    all
}

pub(super) fn icmp(raw: &Icmp) -> model::Icmp {
    model::Icmp {
        errors_per_second: raw.errors_per_second.to(),
        errors_at_once: raw.errors_at_once.to(),
        replies_per_second: raw.replies_per_second.to(),
    }
}

pub(super) fn neighbor_table(raw: &NeighborTable) -> model::NeighborTable {
    model::NeighborTable { entries: raw.entries.to(), questions_per_second: raw.questions_per_second.to() }
}

pub(super) fn tcp(raw: &Tcp) -> model::Tcp {
    let unless_zero = |seconds: u32| (seconds != 0).then_some(seconds);
    model::Tcp {
        max_connections: raw.max_connections.to(),
        half_open_limit: raw.half_open_limit.to(),
        syn_cookies: raw.syn_cookies.value,
        keepalive_s: unless_zero(raw.keepalive_s.to()),
        user_timeout_s: raw.user_timeout_s.to(),
        receive_buffer: raw.receive_buffer_kib.to::<u32>() * 1024,
        send_buffer: raw.send_buffer_kib.to::<u32>() * 1024,
        buffer_memory: raw.buffer_memory_mib.to::<u64>() << 20,
        congestion: raw.congestion.value,
    }
}
