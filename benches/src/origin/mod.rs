//! An origin on our own data plane: what a proxy under test forwards to. Content of any length, straight from memory, and uploads
//! that are thrown away, checked or sent back.

pub(crate) mod content; // the same everywhere, so that it can be checked
pub(crate) mod head; // heads of messages, mostly the same
mod session; // one connection

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::{path::PathBuf, rc::Rc};

use session::Site;
use tidegate_dataplane::{
    clock::Clock,
    l4::TcpStream,
    l7::{
        app::{App, Host},
        tls::{Buffers, ServerTls, accept},
    },
};

use crate::station::{
    self, Addresses, Listener, Plan, Seating, SetUpError, Socket, Stall, Station, Stop, Wire,
    tls::{self, PairFiles, TlsFault},
};

/// Longest wait for a client's handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What an origin serves, alone or beside a load.
#[derive(clap::Args)]
pub(crate) struct Service {
    /// Ports that the origin serves without TLS.
    #[arg(long, value_delimiter = ',', default_values_t = [80], value_name = "PORTS")]
    listen: Vec<u16>,
    /// Ports that the origin serves with TLS.
    #[arg(long, value_delimiter = ',', value_name = "PORTS", requires = "origin_certificate")]
    listen_tls: Vec<u16>,
    /// The origin's certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "origin_key")]
    origin_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "origin_certificate")]
    origin_key: Option<PathBuf>,
    /// Clients of the origin must have a certificate of this CA, PEM.
    #[arg(long, value_name = "FILE", requires = "origin_certificate")]
    origin_client_ca: Option<PathBuf>,
    /// Milliseconds for which the origin does nothing, again and again: to see what a measurement makes of that.
    #[arg(long, value_name = "MILLISECONDS", requires = "stall_every")]
    stall: Option<u64>,
    /// Milliseconds from one stall to the next.
    #[arg(long, value_name = "MILLISECONDS", requires = "stall")]
    stall_every: Option<u64>,
}

impl Service {
    /// When the origin does nothing.
    pub(crate) fn stalls(&self) -> Option<Stall> {
        let (length, every) = self.stall.zip(self.stall_every)?;
        Some(Stall { every: Duration::from_millis(every), length: Duration::from_millis(length) })
    }

    /// On all addresses of the station.
    ///
    /// # Errors
    /// What was said of certificates is not true.
    pub(crate) fn listeners(&self) -> Result<Vec<Listener>, TlsFault> {
        let pair = self.origin_certificate.as_deref().zip(self.origin_key.as_deref());
        let pair = pair.map(|(certificate, key)| PairFiles { certificate, key });
        let tls = pair.map(|pair| tls::server(pair, self.origin_client_ca.as_deref())).transpose()?;
        let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let all = |ports: &[u16], tls: Option<ServerTls>| {
            let addresses = ports.iter().flat_map(|port| everywhere.map(|address| SocketAddr::new(address, *port)));
            addresses.map(|address| Listener { address, tls: tls.clone() }).collect::<Vec<_>>()
        };
        let mut listeners = all(&self.listen, None);
        listeners.extend(all(&self.listen_tls, tls));
        Ok(listeners)
    }
}

/// Options of `origin`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to attach: af_xdp:IFACE, tap:NAME, memif:SOCKET[,KEY=VALUE…], dpdk:DEVICE.
    #[arg(long, value_name = "PORT")]
    port: Wire,
    /// Addresses to serve, with the prefix length of the link: A/LEN or FIRST-LAST/LEN, with commas between.
    #[arg(long)]
    address: Addresses,
    /// Connections that may be open at a time.
    #[arg(long, default_value_t = 100_000)]
    connections: u32,
    #[command(flatten)]
    service: Service,
    #[command(flatten)]
    seating: Seating,
}

/// Serves until the process is told to stop.
///
/// # Errors
/// The port did not open, or could not be used.
pub(crate) fn run(options: &Options) -> Result<(), SetUpError> {
    options.seating.pin()?;
    let clock = Clock::new();
    let spec = options.seating.port(&options.port, "origin");
    let sockets = Socket::open(&mut options.seating.drivers(), &[spec])?;
    let stop = Stop::on_signals().map_err(SetUpError::System)?;
    let mut stations = Vec::new();
    for socket in sockets {
        let plan = Plan {
            addresses: options.address.0.clone(),
            gateways: options.seating.gateway.clone(),
            listeners: options.service.listeners()?,
            tcp: station::tcp(options.connections as usize),
        };
        let mut station = Station::new(&clock, socket, "origin", plan, |_| Origin::new())?;
        station.stall(options.service.stalls());
        stations.push(station);
    }
    while !stop.is_set() {
        let busy = stations.iter_mut().map(Station::turn).filter(|busy| *busy).count();
        station::rest(busy > 0);
    }
    Ok(())
}

/// The origin of one core.
pub(crate) struct Origin {
    site: Rc<Site>,
    buffers: Buffers,
}

impl Origin {
    /// An origin that has yet to see its first request.
    pub(crate) fn new() -> Self {
        Self { site: Site::new(), buffers: Buffers::default() }
    }
}

impl App for Origin {
    fn accept(&mut self, host: &Host, mut stream: TcpStream) {
        let site = Rc::clone(&self.site);
        let flow = stream.flow();
        let generation = host.tables.get();
        let Some(listener) = generation.l7.listener(SocketAddr::new(flow.local, flow.local_port)) else {
            return stream.abort();
        };
        match listener.tls.clone() {
            None => {
                host.exec.spawn(session::serve(stream, site));
            }
            Some(tls) => {
                let (exec, buffers) = (host.exec.clone(), self.buffers.clone());
                host.exec.spawn(async move {
                    // A client that cannot be told apart from a wrong one is the client's failure, and counted there.
                    if let Ok(stream) = accept(stream, &tls, &buffers, &exec, HANDSHAKE).await {
                        exec.spawn(session::serve(stream, site));
                    }
                });
            }
        }
    }
}
