//! A host at the end of a wire: one core of the data plane with one port, some addresses, and an application.

mod options; // what every station has to be told
mod signal; // being told to stop
pub(crate) mod tls; // TLS from files
mod wire; // ports and addresses as text

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::{cell::RefCell, fs::File, io::Read as _, rc::Rc, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tidegate_dataplane::{
    clock::{Clock, Instant},
    frame::{Arena, ArenaError},
    io::{Device, Drivers, MacAddr, Port, PortError, PortInfo, memory::MemoryPort, park::Waker},
    l2::Presence,
    l3::{self, InterfaceSpec, Route, Target},
    l4::{self, Secrets, TcpOptions},
    l7::{
        app::{App, Host},
        http1::{Limits, forwarded::ForwardedFields},
        table::{ListenerSpec, Table, TableSpec, Timeouts},
        tls::ServerTls,
    },
    meta::{InterfaceId, PortId},
    stats::CoreStats,
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    worker::{self, Worker, handover::Links, idle::Idle},
};

pub(crate) use options::Seating;
pub(crate) use signal::Stop;
use tls::TlsFault;
pub(crate) use wire::{Addresses, Attachment, Wire};

/// Session polls in one turn. Few: what is under test gets work while the rest is still being done, as from many clients, and not
/// a whole turn's at once while it waits and then the other way round.
const POLLS: usize = 16;
/// Frames of one station. A super-segment's worth per connection would be too many; what is under way at a time is this.
const FRAMES: usize = 16_384;
/// Bytes of a frame.
const FRAME_SIZE: usize = 2_048;
/// Packets that a wire within the process holds in each direction.
const DEPTH: usize = 8_192;

/// Closed connections are forgotten quickly, or a load of new ones runs out of ports.
const TIME_WAIT: Duration = Duration::from_millis(5);

/// Why a station could not be set up.
#[derive(Debug)]
pub(crate) enum SetUpError {
    /// A port did not open.
    Port(PortError),
    /// No frame memory.
    Arena(ArenaError),
    /// The addresses or the gateway make no routing table.
    Routes(l3::BuildError),
    /// The thread could not be bound to this processor.
    Cpu(usize, std::io::Error),
    /// Certificates, or what was said of them.
    Tls(TlsFault),
    /// No random numbers, no file descriptor, no handler of signals.
    System(std::io::Error),
}

impl fmt::Display for SetUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(error) => error.fmt(f),
            Self::Arena(error) => error.fmt(f),
            Self::Routes(error) => error.fmt(f),
            Self::Cpu(cpu, error) => write!(f, "cannot run on processor {cpu}: {error}"),
            Self::Tls(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetUpError {}

impl From<TlsFault> for SetUpError {
    fn from(error: TlsFault) -> Self {
        Self::Tls(error)
    }
}

impl From<PortError> for SetUpError {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

/// A place where a station accepts connections.
pub(crate) struct Listener {
    /// Its address; all of the station's when unspecified.
    pub(crate) address: SocketAddr,
    /// What it demands and shows; `None` for plain TCP.
    pub(crate) tls: Option<ServerTls>,
}

/// What a station is made from.
pub(crate) struct Plan {
    /// Its addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// Where everything that is not on its link goes.
    pub(crate) gateways: Vec<IpAddr>,
    /// Where it accepts connections, and with what.
    pub(crate) listeners: Vec<Listener>,
    /// Its TCP.
    pub(crate) tcp: TcpOptions,
}

/// TCP of a station that is to have as many connections.
pub(crate) fn tcp(connections: usize) -> TcpOptions {
    TcpOptions {
        max_connections: 2 * connections + 16_384,
        half_open_limit: 65_536,
        keepalive: None,
        time_wait: TIME_WAIT,
        ports: 1_024..=65_535,
        ..TcpOptions::default()
    }
}

/// A port before it has its frames.
pub(crate) enum Socket {
    /// One end of a wire within the process.
    Memory(MemoryPort),
    /// Queue 0 of a device.
    Device(Device),
}

impl Socket {
    /// Both ends of a wire within the process.
    pub(crate) fn pair() -> (Self, Self) {
        let (near, far) = MemoryPort::pair(DEPTH);
        (Self::Memory(near.with_trusted_checksums()), Self::Memory(far.with_trusted_checksums()))
    }

    /// Opens devices, all at once: DPDK starts only once.
    pub(crate) fn open(
        drivers: &mut Drivers,
        specs: &[tidegate_dataplane::io::PortSpec],
    ) -> Result<Vec<Self>, SetUpError> {
        Ok(drivers.open(specs, 1)?.into_iter().map(Self::Device).collect())
    }
}

/// Times at which a station does nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    /// From the beginning of one to that of the next; the first begins when the clock has come this far.
    pub(crate) every: Duration,
    /// How long one lasts.
    pub(crate) length: Duration,
}

impl Stall {
    fn holds(&self, now: Instant) -> bool {
        let every = self.every.as_nanos().max(1) as u64;
        now.as_nanos() >= every && now.as_nanos() % every < self.length.as_nanos() as u64
    }
}

/// A running station.
pub(crate) struct Station<A> {
    // Fields drop in order: the port lets go of the device before that closes.
    pub(crate) worker: Worker<A>,
    clock: Clock,
    busy: u64,
    stall: Option<Stall>,
    _tables: Publisher<Tables>,
    _device: Option<Device>,
}

/// Gives the CPU away when there was nothing to do: what is waited for may be waiting for it, such as the kernel's half of a veth.
pub(crate) fn rest(busy: bool) {
    if !busy {
        std::thread::yield_now();
    }
}

impl<A: App> Station<A> {
    /// Attaches a station to `socket`. `app` is made on its core.
    ///
    /// # Errors
    /// The port, the addresses or the system do not allow it.
    pub(crate) fn new(
        clock: &Clock,
        socket: Socket,
        name: &str,
        mut plan: Plan,
        app: impl FnOnce(&Host) -> A,
    ) -> Result<Self, SetUpError> {
        let arena = Arena::new(FRAMES, FRAME_SIZE).map_err(SetUpError::Arena)?;
        let (port, info, device) = attach(socket, name, &arena)?;
        plan.tcp.mtu = plan.tcp.mtu.min(info.mtu);
        let tables = Publisher::new(Arc::new(tables(&plan, &info)?));
        let now = clock.now();
        let spec = worker::Spec {
            core: 0,
            clock: clock.clone(),
            now,
            arena,
            ports: vec![(port, info)],
            reader: tables.reader(),
            links: Rc::new(RefCell::new(Links::default())),
            waker: Arc::new(Waker::new().map_err(SetUpError::System)?),
            idle: Idle::Poll,
            tcp: plan.tcp,
            secrets: secrets().map_err(SetUpError::System)?,
            stats: Arc::new(CoreStats::new(1)),
            tcp_stats: Arc::<l4::Stats>::default(),
            seed: now.as_nanos(),
        };
        Ok(Self {
            worker: Worker::new(spec, app).with_polls(POLLS),
            clock: clock.clone(),
            busy: 0,
            stall: None,
            _tables: tables,
            _device: device,
        })
    }

    /// From now on it does nothing for a while again and again.
    pub(crate) fn stall(&mut self, stall: Option<Stall>) {
        self.stall = stall;
    }

    /// One turn, now. Returns whether there was anything to do.
    #[inline]
    pub(crate) fn turn(&mut self) -> bool {
        let (before, now) = (self.clock.cycles(), self.clock.now());
        if self.stall.as_ref().is_some_and(|stall| stall.holds(now)) {
            return false;
        }
        let busy = self.worker.turn(now);
        if busy {
            self.busy += self.clock.cycles() - before;
        }
        busy
    }

    /// Ticks of the time-stamp counter spent in turns that had something to do.
    pub(crate) fn busy_cycles(&self) -> u64 {
        self.busy
    }
}

/// Binds a port to frame memory. What is returned last must outlive the port.
///
/// # Errors
/// The driver cannot use that memory.
pub(crate) fn attach(
    socket: Socket,
    name: &str,
    arena: &Arena,
) -> Result<(Port, PortInfo, Option<Device>), SetUpError> {
    match socket {
        Socket::Memory(port) => {
            let info = PortInfo {
                mac: MacAddr::local(name),
                mtu: 1500,
                queues: 1,
                capabilities: Default::default(),
                driver: "memory".to_owned(),
            };
            Ok((Port::Memory(port), info, None))
        }
        Socket::Device(device) => {
            let info = device.info().clone();
            Ok((device.queue(0)?.attach(arena)?, info, Some(device)))
        }
    }
}

fn tables(plan: &Plan, info: &PortInfo) -> Result<Tables, SetUpError> {
    let (mut v4, mut v6): (Vec<Ipv4Net>, Vec<Ipv6Net>) = Default::default();
    for address in &plan.addresses {
        match address {
            IpNet::V4(address) => v4.push(*address),
            IpNet::V6(address) => v6.push(*address),
        }
    }
    let routes = plan.gateways.iter().map(|gateway| Route {
        to: match gateway {
            IpAddr::V4(_) => Ipv4Net::default().into(),
            IpAddr::V6(_) => Ipv6Net::default().into(),
        },
        target: Target::Via { gateway: *gateway, interface: Some(InterfaceId(0)) },
    });
    let spec = l3::Spec {
        interfaces: vec![InterfaceSpec {
            id: InterfaceId(0),
            name: "lan".to_owned(),
            link: tidegate_dataplane::l2::Link::of(PortId(0)),
            mac: info.mac,
            mtu: info.mtu,
            v4,
            v6,
            presence: Presence::default(),
            ..InterfaceSpec::default()
        }],
        routes: routes.collect(),
        ..l3::Spec::default()
    };
    let l3 = l3::Table::build(spec).map_err(SetUpError::Routes)?;
    let listeners = plan.listeners.iter().map(|Listener { address, tls }| ListenerSpec {
        name: address.to_string(),
        address: *address,
        tls: tls.clone(),
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        forwarded: ForwardedFields::default(),
        trusted_peers: Vec::new(),
        websocket: false,
    });
    let spec = TableSpec { cores: 1, listeners: listeners.collect(), ..TableSpec::default() };
    // Listeners differ by port, and there are no routes that could name what does not exist.
    let l7 = Table::build(&spec, None).unwrap_or_else(|error| unreachable!("{error}"));
    Ok(Tables { phase: Phase::Serve, l3: Arc::new(l3), l7: Arc::new(l7) })
}

fn secrets() -> std::io::Result<Secrets> {
    let mut bytes = [0; 48];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Secrets::from_bytes(&bytes))
}
