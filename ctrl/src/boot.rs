//! From a loaded configuration to a running gateway, and until its end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Instant, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use tidegate_dataplane::io::{Device, Drivers, PortError, PortInfo, affinity};
use tidegate_dataplane::l4::Secrets;
use tidegate_dataplane::l7::access::AccessRecord;
use tidegate_dataplane::l7::app::Host;
use tidegate_dataplane::l7::gateway::{Gateway, GatewaySpec};
use tidegate_dataplane::l7::metrics::HttpStats;
use tidegate_dataplane::l7::tls::{TicketKeys, wall_clock};
use tidegate_dataplane::sync::spsc;
use tidegate_dataplane::tables::Phase;
use tidegate_dataplane::worker::HostLink;
use tidegate_dataplane::worker::idle::Idle;

use crate::access_log::{AccessLog, NewRing};
use crate::admin::{Admin, socket::AdminError};
use crate::compile::{self, CompileError, Inputs, Tentative};
use crate::config::{Config, Loaded, model};
use crate::control::{Control, Parts, SignalError};
use crate::cores::{self, Cores, Plan, StartError};
use crate::kernel::{self, Filter, HostInterface, LinkError, Links, Monitor};
use crate::probation::Probation;
use crate::publish::Publication;
use crate::reload::Reloader;
use crate::telemetry::{CoreView, PortView, Telemetry};
use crate::unix;

/// Access records of one core that wait for the management thread; 704 bytes each.
const ACCESS_RING: usize = 4096;
/// Rings on their way to the management thread: one per core, and a few for cores that restart before it looks.
const RINGS_UNDER_WAY: usize = 256;

/// Why the gateway could not start.
#[derive(Debug)]
pub enum BootError {
    /// The admin API.
    Admin(AdminError),
    /// The access log.
    AccessLog(io::Error),
    /// A port could not be opened.
    Port(PortError),
    /// The kernel's side of a port.
    Host(LinkError),
    /// The tables.
    Compile(CompileError),
    /// A core.
    Core(StartError),
    /// Signals.
    Signals(SignalError),
    /// The management runtime.
    Runtime(io::Error),
    /// The system has no random numbers.
    Random,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(error) => error.fmt(f),
            Self::AccessLog(error) => error.fmt(f),
            Self::Port(error) => error.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Compile(error) => error.fmt(f),
            Self::Core(error) => error.fmt(f),
            Self::Signals(error) => error.fmt(f),
            Self::Runtime(error) => write!(f, "cannot start the management runtime: {error}"),
            Self::Random => f.write_str("the system's random source fails"),
        }
    }
}

impl std::error::Error for BootError {}

/// Runs a gateway until it has been told to stop. `set_level` is told when the configuration changes `log.level`.
///
/// # Errors
/// It could not start; whatever was opened is closed again.
pub fn run(loaded: Loaded, set_level: Box<dyn Fn(model::LogLevel)>) -> Result<(), BootError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BootError::Runtime)?;
    runtime.block_on(async {
        let config = Arc::new(loaded.config);
        // First of all: a second gateway finds out here, before it touches a port.
        let admin = Admin::bind(&config.admin.socket, config.admin.http).await.map_err(BootError::Admin)?;
        let (ring_sender, new_rings) = sync_channel(RINGS_UNDER_WAY);
        let cpus: Vec<usize> = config.runtime.cores.iter().map(|cpu| usize::from(*cpu)).collect();
        let access_log =
            AccessLog::start(new_rings, config.log.access.clone(), cpus.clone()).map_err(BootError::AccessLog)?;
        // Lives as long as its ports: until after the cores have left.
        let mut drivers = Drivers::new(config.dpdk.eal_args.clone());
        let mut devices = open_ports(&config, &mut drivers)?;
        let ports: Arc<[PortInfo]> = devices.iter().map(|device| device.info().clone()).collect();
        let mut probation = Probation::default();
        let tentative = Arc::new(probation.adopt(&config, Instant::now()));
        let Hosts { links, interfaces } = open_hosts(&config, &tentative, &mut drivers, &mut devices)?;
        let views = port_views(&config, &devices);
        let tickets = TicketKeys::generate().map_err(|_| BootError::Random)?;
        let publication = Publication::first(Inputs {
            config: Arc::clone(&config),
            certs: Arc::new(loaded.certs),
            ports: Arc::clone(&ports),
            tickets: Arc::new(tickets),
            tentative,
            clock: wall_clock(),
            phase: Phase::Serve,
        });
        let mut publication = publication.map_err(BootError::Compile)?;
        let http: Vec<Arc<HttpStats>> = config.runtime.cores.iter().map(|_| Arc::default()).collect();
        let cores = match start_cores(&config, (devices, links), &publication, &http, &ring_sender) {
            Ok(cores) => cores,
            Err(error) => {
                // Cores that did start leave their loops.
                let _ = publication.set_phase(Phase::Stop);
                return Err(error);
            }
        };
        make_way(&cpus);
        let telemetry = Arc::new(telemetry(&config, views, &cores, http));
        let reloader = Reloader::new(loaded.path, publication, probation);
        let rules = &config.kernel_routes;
        let monitor = rules.enabled.then(|| Monitor::for_hosts(Filter::of(rules), &interfaces)).flatten();
        let links = Links::open(cores.devices(), &telemetry, &config);
        let parts = Parts { reloader, cores, telemetry, links, hosts: interfaces, monitor, access_log, set_level };
        let (control, desk) = Control::new(parts).map_err(BootError::Signals)?;
        let _socket = admin.serve(desk);
        tracing::info!(cores = config.runtime.cores.len(), ports = ports.len(), "running");
        control.run().await;
        Ok(())
    })
}

/// Everything else must not cost the cores time: a reload with a million routes computes for seconds.
fn make_way(cpus: &[usize]) {
    match affinity::make_way(cpus) {
        Ok(false) => {}
        Ok(true) => tracing::info!("management shares the cores' CPUs: leave one out of runtime.cores for it"),
        Err(error) => tracing::warn!(%error, "management cannot be kept off the cores' CPUs"),
    }
}

fn open_ports(config: &Config, drivers: &mut Drivers) -> Result<Vec<Device>, BootError> {
    let queues = u16::try_from(config.runtime.cores.len()).unwrap_or(u16::MAX);
    let specs = compile::start::ports(config);
    let devices = drivers.open(&specs, queues).map_err(BootError::Port)?;
    for device in &devices {
        let info = device.info();
        tracing::info!(port = device.name(), driver = info.driver, mac = %info.mac, mtu = info.mtu, "port opened");
    }
    Ok(devices)
}

/// The ways to the kernel, and the kernel's ends of them.
struct Hosts {
    links: Vec<HostLink>,
    interfaces: Vec<HostInterface>,
}

/// Opens the host links behind the ports. The kernel's ends get their addresses, but for those that are `tentative`.
fn open_hosts(
    config: &Config,
    tentative: &Tentative,
    drivers: &mut Drivers,
    devices: &mut Vec<Device>,
) -> Result<Hosts, BootError> {
    let queues = u16::try_from(config.runtime.cores.len()).unwrap_or(u16::MAX);
    let ports: Vec<PortInfo> = devices.iter().map(|device| device.info().clone()).collect();
    let (specs, links): (Vec<_>, Vec<_>) = compile::start::hosts(config, &ports).into_iter().unzip();
    devices.extend(drivers.open(&specs, queues).map_err(BootError::Port)?);
    let mut interfaces = Vec::new();
    let with_host = config.interfaces.iter().filter_map(|own| Some((own, own.host.as_ref()?)));
    for ((own, host), (spec, way)) in with_host.zip(specs.iter().zip(&links)) {
        let of = (own.name.0.as_str(), way.interface.index());
        let mac = spec.mac.unwrap_or_default();
        let interface = HostInterface::dress(&host.interface, of, mac).map_err(BootError::Host)?;
        tracing::info!(of = own.name.0, interface = interface.name, "the kernel has its end");
        interfaces.push(interface);
    }
    kernel::follow(&mut interfaces, config, tentative, true);
    Ok(Hosts { links, interfaces })
}

/// The ports as they are counted: those of the configuration, then the host links.
fn port_views(config: &Config, devices: &[Device]) -> Vec<PortView> {
    let view = |(at, device): (usize, &Device)| {
        let info = device.info();
        let driver = if at < config.ports.len() { info.driver.clone() } else { "host link".to_owned() };
        PortView { name: device.name().to_owned(), driver, mac: info.mac, mtu: info.mtu }
    };
    devices.iter().enumerate().map(view).collect()
}

fn start_cores(
    config: &Config,
    (devices, hosts): (Vec<Device>, Vec<HostLink>),
    publication: &Publication,
    http: &[Arc<HttpStats>],
    rings: &std::sync::mpsc::SyncSender<NewRing>,
) -> Result<Cores, BootError> {
    let mut random = [0; 48];
    SystemRandom::new().fill(&mut random).map_err(|_| BootError::Random)?;
    let plan = Plan {
        cpus: config.runtime.cores.iter().map(|cpu| usize::from(*cpu)).collect(),
        frames: config.runtime.frames_per_core as usize,
        frame_size: config.runtime.frame_size as usize,
        idle: match config.runtime.idle {
            model::Idle::Adaptive => Idle::Adaptive { turns: config.runtime.idle_turns },
            model::Idle::Poll => Idle::Poll,
        },
        tcp: compile::start::tcp(config),
        secrets: Secrets::from_bytes(&random),
        hosts,
    };
    let keep = |core: usize| (rings.clone(), Arc::clone(&http[core]));
    let app =
        |host: &Host,
         kept: &std::rc::Rc<std::cell::RefCell<(std::sync::mpsc::SyncSender<NewRing>, Arc<HttpStats>)>>| {
            let (rings, stats) = &*kept.borrow();
            let (access, reader) = spsc::channel(ACCESS_RING, AccessRecord::default);
            // Full only if the management thread hangs while the core restarts again and again: then this life is not logged.
            let access = rings.try_send((host.core, reader)).is_ok().then_some(access);
            Gateway::new(
                host,
                GatewaySpec {
                    stats: Arc::clone(stats),
                    access,
                    unix_origin_ns: unix::origin_ns(host.exec.now()),
                    seed: seed(),
                },
            )
        };
    cores::start(&plan, devices, || publication.subscription(), keep, app).map_err(BootError::Core)
}

/// For request identifiers: different on each core and in each life, not secret.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Should the source fail, identifiers repeat after a restart; nothing else depends on them.
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn telemetry(config: &Config, ports: Vec<PortView>, cores: &Cores, http: Vec<Arc<HttpStats>>) -> Telemetry {
    let seen = cores.observed().iter().zip(&config.runtime.cores).zip(http);
    Telemetry {
        started: SystemTime::now(),
        since: Instant::now(),
        cores: seen
            .map(|((observed, cpu), http)| CoreView {
                cpu: *cpu,
                stats: Arc::clone(&observed.stats),
                tcp: Arc::clone(&observed.tcp),
                http,
            })
            .collect(),
        ports,
    }
}
