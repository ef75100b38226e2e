//! The kernel of the machine as a neighbour: its side of the host links, and the routes that daemons install in it (docs/adr/0005).

/// The kernel's image of a port.
pub mod link;

/// The state of the ports' links.
pub mod links;

/// News of the kernel's routes.
pub mod monitor;

mod domain;
mod filter;
mod objects;
mod rib;
mod route;
mod socket;
mod told;
mod way;
mod wire;

pub use filter::Filter;
pub use link::{HostInterface, LinkError, follow};
pub use links::Links;
pub use monitor::Monitor;
pub use told::{Changes, ObjectChange, RouteChange, Target};
pub use way::{NextHop, Way};
