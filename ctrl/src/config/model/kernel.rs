//! What is learnt from the kernel of the machine.

use serde::Serialize;

use crate::config::raw::RouteProtocol;

/// What is learnt from the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelRoutes {
    /// Whether anything is.
    pub enabled: bool,
    /// Numbers of tables.
    pub tables: Vec<u32>,
    /// Whose routes; empty is everybody's but the kernel's own.
    pub protocols: Vec<RouteProtocol>,
    /// Whether they win over static routes.
    pub override_static: bool,
}
