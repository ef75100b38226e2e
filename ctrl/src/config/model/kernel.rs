//! What is learnt from the kernel of the machine.

use serde::Serialize;

use crate::config::raw::RouteProtocol;
use crate::config::scalar::Name;

/// What is learnt from the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelRoutes {
    /// Whether anything is.
    pub enabled: bool,
    /// Numbers of the tables of the main domain.
    pub tables: Vec<u32>,
    /// The other domains and their tables.
    pub vrfs: Vec<VrfTable>,
    /// Whose routes; empty is everybody's but the kernel's own.
    pub protocols: Vec<RouteProtocol>,
    /// Whether they win over static routes.
    pub override_static: bool,
}

/// A routing domain and the kernel's table of its routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VrfTable {
    /// The domain's name.
    pub name: Name,
    /// The table's number; `None` when nothing is learnt into the domain.
    pub table: Option<u32>,
}
