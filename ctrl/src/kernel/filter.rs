//! Which of the kernel's routes are learnt, and into which routing domain.

use std::collections::BTreeMap;

use super::route::Route;
use crate::config::model::KernelRoutes;

/// Which of the kernel's routes are learnt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Numbers of the tables, and the routing domain of each.
    tables: BTreeMap<u32, u16>,
    /// Numbers of the protocols; empty stands for every one but the kernel's own.
    protocols: Vec<u8>,
    /// Names of the domains beside the main one.
    vrfs: Vec<String>,
}

/// The kernel's own protocols: nothing said, redirects, and addresses of interfaces (`RTPROT_KERNEL`).
const OWN_PROTOCOLS: [u8; 3] = [0, 1, 2];

impl Filter {
    /// As the file says.
    pub fn of(rules: &KernelRoutes) -> Self {
        let vrfs = || rules.vrfs.iter().zip(1u16..);
        let main = rules.tables.iter().map(|table| (*table, 0));
        Self {
            tables: vrfs().filter_map(|(vrf, number)| Some((vrf.table?, number))).chain(main).collect(),
            protocols: rules.protocols.iter().map(|protocol| protocol.0).collect(),
            vrfs: vrfs().map(|(vrf, _)| vrf.name.0.clone()).collect(),
        }
    }

    /// Everybody's routes of these tables, for the main domain.
    pub fn main(tables: &[u32]) -> Self {
        let tables = tables.iter().map(|table| (*table, 0)).collect();
        Self { tables, protocols: Vec::new(), vrfs: Vec::new() }
    }

    /// The name of a domain; none for the main one.
    pub(super) fn name(&self, vrf: u16) -> Option<&String> {
        self.vrfs.get(usize::from(vrf).checked_sub(1)?)
    }

    /// The domain of a table; `None` if the table is not learnt.
    pub(super) fn domain(&self, table: u32) -> Option<u16> {
        self.tables.get(&table).copied()
    }

    /// Whether tables mean the same domains.
    pub(super) fn has_domains_of(&self, other: &Self) -> bool {
        (&self.tables, &self.vrfs) == (&other.tables, &other.vrfs)
    }

    pub(super) fn takes(&self, route: &Route) -> bool {
        let protocol = match self.protocols.is_empty() {
            true => !OWN_PROTOCOLS.contains(&route.protocol),
            false => self.protocols.contains(&route.protocol),
        };
        protocol && self.tables.contains_key(&route.table)
    }
}
