//! From a checked configuration to the data plane's tables. Pure functions; all or nothing; what has not changed is shared with the
//! previous generation.

/// Interfaces, routes, neighbours.
pub mod l3;
mod l7;
/// Ports and TCP: what cannot change while the gateway runs.
pub mod start;
/// TLS sections to configurations.
pub mod tls;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::time_provider::TimeProvider;
use tidegate_dataplane::io::PortInfo;
use tidegate_dataplane::l3::Builder;
use tidegate_dataplane::l7::tls::{TicketKeys, TlsConfigError};
use tidegate_dataplane::tables::{Phase, Tables};

use crate::config::Config;
use crate::config::model::{Interface, Name};
use crate::config::pem::Certs;

/// Everything that tables are made from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What the file says.
    pub config: Arc<Config>,
    /// The files it refers to.
    pub certs: Arc<Certs>,
    /// The open ports, in the order of the file.
    pub ports: Arc<[PortInfo]>,
    /// Keys for session tickets.
    pub tickets: Arc<TicketKeys>,
    /// Addresses that are not used until it is known that nobody else has them.
    pub tentative: Arc<Tentative>,
    /// The wall clock by which certificates are judged.
    pub clock: Arc<dyn TimeProvider>,
    /// What the process is doing.
    pub phase: Phase,
}

/// Addresses, each with the name of its interface, and how often they have been asked for: cores ask again when that grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tentative {
    /// The addresses.
    pub addresses: BTreeSet<(Name, IpAddr)>,
    /// Attempts.
    pub attempt: u64,
}

impl Tentative {
    /// The addresses of an interface that may be used.
    pub fn in_use(&self, interface: &Interface) -> Vec<IpNet> {
        let own = interface.addresses.iter().map(|address| address.0);
        own.filter(|address| !self.addresses.contains(&(interface.name.clone(), address.addr()))).collect()
    }
}

/// Why a checked configuration makes no tables. Each is a gap in the check, except for files that were not read.
#[derive(Debug)]
pub enum CompileError {
    /// Addresses, neighbours or routes.
    L3(tidegate_dataplane::l3::BuildError),
    /// Listeners, routes or clusters.
    L7(tidegate_dataplane::l7::table::BuildError),
    /// TLS of a listener or cluster.
    Tls {
        /// Its name.
        name: String,
        /// What is wrong.
        errors: Vec<TlsConfigError>,
    },
    /// A certificate or key was not read: the configuration was checked without files.
    NotRead {
        /// Name of the listener or cluster.
        name: String,
    },
    /// There are not as many open ports as in the configuration.
    Ports {
        /// Ports in the configuration.
        configured: usize,
        /// Open ports.
        open: usize,
    },
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::L3(error) => error.fmt(f),
            Self::L7(error) => error.fmt(f),
            Self::Tls { name, errors } => {
                write!(f, "TLS of `{name}`")?;
                errors.iter().try_for_each(|error| write!(f, ": the {error}"))
            }
            Self::NotRead { name } => write!(f, "the certificates of `{name}` have not been read"),
            Self::Ports { configured, open } => write!(f, "{configured} ports are configured, {open} are open"),
        }
    }
}

impl std::error::Error for CompileError {}

/// A generation with what it was made from, so that the next can share with it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The tables.
    pub tables: Arc<Tables>,
    inputs: Inputs,
    tls: l7::Cache,
}

/// Compiles. With `previous`, parts whose inputs are equal are the same `Arc`. `routes` has what is learnt, and remembers what is
/// configured.
///
/// # Errors
/// The first part that cannot be built; nothing has changed then.
pub fn compile(inputs: Inputs, routes: &mut Builder, previous: Option<&Compiled>) -> Result<Compiled, CompileError> {
    let (configured, open) = (inputs.config.ports.len(), inputs.ports.len());
    if configured != open {
        return Err(CompileError::Ports { configured, open });
    }
    let (l7, tls) = match previous.filter(|previous| l7::same(&previous.inputs, &inputs)) {
        Some(previous) => (Arc::clone(&previous.tables.l7), previous.tls.clone()),
        None => {
            let (table, tls) = l7::build(&inputs, previous.map(|previous| (&*previous.tables.l7, &previous.tls)))?;
            (Arc::new(table), tls)
        }
    };
    // Last of all, since this changes what later routes are added to.
    let l3 = match previous.filter(|previous| l3::same(&previous.inputs, &inputs)) {
        Some(previous) => Arc::clone(&previous.tables.l3),
        None => {
            let before = previous.map(|previous| &*previous.tables.l3);
            routes.configure(l3::spec(&inputs, before)).map_err(CompileError::L3)?;
            Arc::new(routes.table())
        }
    };
    let tables = Arc::new(Tables { phase: inputs.phase, l3, l7 });
    Ok(Compiled { tables, inputs, tls })
}

impl Compiled {
    /// The same with other learnt routes.
    pub fn with_routes(&self, routes: &mut Builder) -> Self {
        let tables = Tables { l3: Arc::new(routes.table()), ..(*self.tables).clone() };
        Self { tables: Arc::new(tables), ..self.clone() }
    }

    /// What it was made from.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }
}
