//! From a specification to a table: connected prefixes, our own addresses and broadcast addresses are derived, routes checked.
//!
//! A [`Builder`] is the management side's: it remembers all routes and makes one [`Table`] after the other, each whole and never
//! changed, which share what is equal. A specification that contradicts itself changes nothing.

use core::net::IpAddr;
use std::{collections::BTreeMap, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    addresses::{Addresses, Kind},
    advertise::Advertise,
    clamp::SegmentLimit,
    icmp::IcmpLimits,
    interfaces::{advertise_by_interface, is_known, link_interfaces, vrf_of, where_set},
    layers::{FIRM, Layers},
    own::{nets, own_addresses},
    policy::{self, Policies},
    reverse_path::ReversePath,
    rib4::Rib4,
    rib6::Rib6,
    sources::SourceMaps,
    spec::{BuildError, InterfaceSpec, Learnt, LearntTarget, Route, Shared, Spec},
    table::{Table, Vrf},
    target::{Find, learnt, shared},
    ways::{Wanted, Way, Ways},
};
use crate::{
    l2::{self, Interface, StaticNeighbor},
    meta::{InterfaceId, VrfId},
};

/// All routes, and what else a table is made of.
#[derive(Debug)]
pub struct Builder {
    ways: Ways,
    /// By [`VrfId`]; those that a later specification does not have remain without routes.
    domains: Vec<Domain>,
    interfaces: Vec<Interface>,
    neighbors: Vec<StaticNeighbor>,
    bounds: l2::Bounds,
    bridges: Vec<l2::Bridge>,
    reverse_paths: Box<[ReversePath]>,
    source_maps: SourceMaps,
    segment_limits: Box<[SegmentLimit]>,
    icmp: IcmpLimits,
    policies: Arc<Policies>,
    on_link: Vec<u32>,
    advertise: Box<[Option<Advertise>]>,
    /// The routing domain of each interface.
    vrf_of: Box<[VrfId]>,
    /// Parts of the table made last.
    made: Option<Made>,
}

/// The routes of a domain.
#[derive(Default, Debug)]
struct Domain {
    /// Empty for the main one, and for those that are no more.
    name: Arc<str>,
    v4: Layers<Rib4>,
    v6: Layers<Rib6>,
    addresses: Addresses,
}

impl Domain {
    /// Forgets what was learnt. Returns the next hops that are used no longer.
    fn unlearn(&mut self) -> Vec<u32> {
        let v4: Vec<_> = self.v4.rib.after(None).map(|(net, _)| net).collect();
        let v6: Vec<_> = self.v6.rib.after(None).map(|(net, _)| net).collect();
        let v4 = v4.into_iter().filter_map(|net| self.v4.learn(net, None));
        v4.chain(v6.into_iter().filter_map(|net| self.v6.learn(net, None))).collect()
    }
}

/// A route in use, for show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// Destinations.
    pub to: IpNet,
    /// Number of its next hop.
    pub next_hop: u32,
    /// It was learnt; the others are configured, or follow from the interfaces.
    pub learnt: bool,
}

impl Used {
    fn of(to: impl Into<IpNet>, next_hop: u32, learnt: bool) -> Self {
        Self { to: to.into(), next_hop, learnt }
    }
}

/// Nothing of IPv4 comes behind it.
const LAST4: Ipv4Net = Ipv4Net::new_assert(core::net::Ipv4Addr::BROADCAST, 32);

/// What tables share as long as neither the interfaces nor the next hops change.
#[derive(Clone, Debug)]
struct Made {
    link: Arc<l2::Table>,
    next_hops: Arc<[super::NextHop]>,
    groups: Arc<[Arc<super::Group>]>,
}

/// A domain as a specification has it: checked, nothing taken over yet.
struct Draft {
    /// Destinations, where they lead, and whether no learnt route takes their place; in order once it is settled.
    v4: Vec<(Ipv4Net, Wanted, bool)>,
    v6: Vec<(Ipv6Net, Wanted, bool)>,
    addresses: Addresses,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            ways: Ways::new(),
            domains: vec![Domain::default()],
            interfaces: Vec::new(),
            neighbors: Vec::new(),
            bounds: l2::Bounds::default(),
            bridges: Vec::new(),
            reverse_paths: Box::default(),
            source_maps: SourceMaps::default(),
            segment_limits: Box::default(),
            icmp: IcmpLimits::default(),
            policies: Arc::default(),
            on_link: Vec::new(),
            advertise: Box::default(),
            vrf_of: Box::default(),
            made: None,
        }
    }
}

impl Table {
    /// A table on its own, of which no next one will be made.
    ///
    /// # Errors
    /// The first contradiction found in the specification.
    pub fn build(spec: Spec) -> Result<Self, BuildError> {
        let mut builder = Builder::default();
        builder.configure(spec)?;
        Ok(builder.table())
    }
}

impl Builder {
    /// Takes over a specification instead of the one before. What was learnt stays.
    ///
    /// # Errors
    /// The first contradiction found in it; nothing has changed then.
    pub fn configure(&mut self, spec: Spec) -> Result<(), BuildError> {
        let interfaces = link_interfaces(&spec.interfaces)?;
        if let Some(unknown) = spec.neighbors.iter().find(|n| !is_known(&interfaces, n.interface)) {
            return Err(BuildError::UnknownInterface(unknown.interface));
        }
        let vrf_of = vrf_of(&spec, &interfaces)?;
        let drafts = drafts(&spec, &interfaces, &vrf_of)?;
        let rules = rules(&spec, &interfaces, &vrf_of, &drafts)?;
        // From here on nothing can fail.
        self.advertise = advertise_by_interface(&spec.interfaces);
        self.reverse_paths = where_set(&spec.interfaces, |interface| interface.reverse_path);
        self.segment_limits = where_set(&spec.interfaces, |interface| interface.segments);
        self.icmp = spec.icmp;
        self.neighbors = spec.neighbors;
        self.bounds = spec.neighbor_bounds;
        self.bridges = spec.bridges;
        self.vrf_of = vrf_of;
        let policies = Policies::new(&spec.policies, &rules, &self.vrf_of, &mut self.ways, &self.policies);
        core::mem::replace(&mut self.policies, Arc::new(policies)).release(&mut self.ways);
        let on_link = (0..interfaces.len()).map(|at| self.ways.take(Way::Link(InterfaceId(at as u16)))).collect();
        let unused = core::mem::replace(&mut self.on_link, on_link);
        unused.into_iter().for_each(|number| self.ways.release(number));
        self.interfaces = interfaces;
        self.domains.resize_with(self.domains.len().max(drafts.len()), Domain::default);
        let mut drafts = drafts.into_iter();
        for domain in &mut self.domains {
            let Draft { v4, v6, addresses } = drafts.next().unwrap_or_else(Draft::empty);
            // The new ones first, so that a way that stays keeps its number.
            let (v4, v6) = (taken(v4, &mut self.ways), taken(v6, &mut self.ways));
            let unused = [domain.v4.configure(v4, spec.learnt_wins), domain.v6.configure(v6, spec.learnt_wins)];
            unused.into_iter().flatten().for_each(|number| self.ways.release(number));
            domain.addresses = addresses;
        }
        let names = core::iter::once("").chain(spec.vrfs.iter().map(|vrf| vrf.name.as_str()));
        for (domain, name) in self.domains.iter_mut().zip(names.chain(core::iter::repeat(""))) {
            // With another name it is another domain: what was learnt is not for it.
            if *domain.name != *name {
                domain.unlearn().into_iter().for_each(|number| self.ways.release(number));
                domain.name = name.into();
            }
        }
        self.made = None;
        Ok(())
    }

    /// Takes over changes of what is learnt. A route that leads nowhere now, for want of its interface, may do so later.
    pub fn learn(&mut self, changes: &[Learnt]) {
        for domain in &mut self.domains {
            domain.v4.expect(changes.len());
            domain.v6.expect(changes.len());
        }
        for Learnt { vrf, to, target } in changes {
            let wanted = target.as_ref().and_then(|target| match target {
                LearntTarget::Own(target) => learnt(target, *to),
                LearntTarget::Shared(name) => Some(Wanted::One(Way::Shared(*name))),
            });
            let hop = wanted.map(|wanted| self.ways.take_wanted(&wanted));
            let unused = match (self.domains.get_mut(vrf.index()), to.trunc()) {
                (None, _) => hop,
                (Some(domain), IpNet::V4(net)) => domain.v4.learn(net, hop),
                (Some(domain), IpNet::V6(net)) => domain.v6.learn(net, hop),
            };
            unused.into_iter().for_each(|number| self.ways.release(number));
        }
    }

    /// Takes over changes of targets that learnt routes share. Costs nothing for the routes.
    pub fn share(&mut self, changes: &[Shared]) {
        for Shared { name, target } in changes {
            self.ways.share(*name, target.as_ref().and_then(shared).as_ref());
        }
    }

    /// The table of all this. Costs a look at what has changed, not at what is there.
    pub fn table(&mut self) -> Table {
        let Made { link, next_hops, groups } = match self.made.take() {
            Some(made) if !self.ways.is_changed => made,
            _ => self.make(),
        };
        self.made =
            Some(Made { link: Arc::clone(&link), next_hops: Arc::clone(&next_hops), groups: Arc::clone(&groups) });
        let mut vrfs = self.domains.iter_mut().map(|domain| Vrf {
            name: Arc::clone(&domain.name),
            addresses: domain.addresses.clone(),
            fib4: domain.v4.rib.publish(),
            fib6: domain.v6.rib.publish(),
        });
        let main = vrfs.next().unwrap_or_else(|| unreachable!("the main domain is always there"));
        let mut table = Table {
            main,
            others: vrfs.collect(),
            vrf_of: self.vrf_of.clone(),
            link,
            next_hops,
            groups,
            on_link: self.on_link.clone().into(),
            reverse_paths: self.reverse_paths.clone(),
            source_maps: Box::default(),
            segment_limits: self.segment_limits.clone(),
            icmp: self.icmp,
            policies: Arc::clone(&self.policies),
            advertise: self.advertise.clone(),
        };
        table.source_maps = self.source_maps.follow(&table).into();
        table
    }

    /// The routes of a domain behind a prefix (or all), IPv4 first, in order; next hops are numbers of the table made last.
    pub fn routes(&self, vrf: VrfId, after: Option<IpNet>) -> impl Iterator<Item = Used> + '_ {
        let (after4, after6) = match after {
            Some(IpNet::V4(net)) => (Some(net), None),
            // Behind all of IPv4.
            Some(IpNet::V6(net)) => (Some(LAST4), Some(net)),
            None => (None, None),
        };
        self.domains.get(vrf.index()).into_iter().flat_map(move |domain| {
            let v4 = domain.v4.rib.after(after4).map(|(net, hop)| Used::of(net, hop, domain.v4.is_learnt(net)));
            let v6 = domain.v6.rib.after(after6).map(|(net, hop)| Used::of(net, hop, domain.v6.is_learnt(net)));
            v4.chain(v6)
        })
    }

    /// The route that a packet to `address` takes.
    pub fn longest(&self, vrf: VrfId, address: IpAddr) -> Option<Used> {
        let domain = self.domains.get(vrf.index())?;
        match address {
            IpAddr::V4(address) => {
                let (net, hop) = domain.v4.rib.longest(address.into())?;
                Some(Used::of(net, hop, domain.v4.is_learnt(net)))
            }
            IpAddr::V6(address) => {
                let (net, hop) = domain.v6.rib.longest(address.into())?;
                Some(Used::of(net, hop, domain.v6.is_learnt(net)))
            }
        }
    }

    fn make(&mut self) -> Made {
        let Self { ways, domains, interfaces, vrf_of, neighbors, bounds, bridges, .. } = self;
        let own = |interface: InterfaceId, address: IpAddr| {
            let vrf = vrf_of.get(interface.index()).copied().unwrap_or_default();
            domains.get(vrf.index()).is_some_and(|domain| domain.addresses.contains(address))
        };
        let tables = ways.tables(interfaces, own);
        let link = l2::Table::new(interfaces.clone(), tables.adjacencies, neighbors.clone());
        Made {
            link: Arc::new(
                link.with_bounds(*bounds)
                    .with_domains(vrf_of.clone())
                    .with_bridges(bridges.clone())
                    .with_watched(tables.watched, tables.changes),
            ),
            next_hops: tables.next_hops.into(),
            groups: tables.groups.into(),
        }
    }
}

/// Numbers for the ways of configured routes.
fn taken<N: Ord>(draft: Vec<(N, Wanted, bool)>, ways: &mut Ways) -> BTreeMap<N, u32> {
    let number =
        |(net, wanted, firm): (N, Wanted, bool)| (net, ways.take_wanted(&wanted) | if firm { FIRM } else { 0 });
    draft.into_iter().map(number).collect()
}

impl Draft {
    fn empty() -> Self {
        Self { v4: Vec::new(), v6: Vec::new(), addresses: Addresses::new(&[]) }
    }

    fn push(&mut self, to: IpNet, wanted: Wanted, firm: bool) {
        match to.trunc() {
            IpNet::V4(net) => self.v4.push((net, wanted, firm)),
            IpNet::V6(net) => self.v6.push((net, wanted, firm)),
        }
    }

    /// Puts destinations in order; none may be there twice.
    fn settle(&mut self) -> Result<(), BuildError> {
        let (twice4, twice6) = (sorted(&mut self.v4), sorted(&mut self.v6));
        let twice = twice4.map(IpNet::from).or(twice6.map(IpNet::from));
        twice.map_or(Ok(()), |to| Err(BuildError::DuplicateRoute(to)))
    }

    fn add_own(&mut self, interfaces: &[InterfaceSpec], own: &[(IpAddr, Kind, InterfaceId)]) {
        for (address, _, interface) in own {
            self.push(IpNet::from(*address), Wanted::One(Way::Local(*interface)), true);
        }
        for interface in interfaces {
            // Two addresses of one prefix make one connected prefix; a host prefix is the address itself.
            let mut connected: Vec<_> =
                nets(interface).filter(|net| net.prefix_len() < net.max_prefix_len()).map(|net| net.trunc()).collect();
            connected.sort_unstable();
            connected.dedup();
            for net in connected {
                self.push(net, Wanted::One(Way::Link(interface.id)), true);
            }
        }
    }
}

/// Sorts by destination; one that is there twice, if any is.
fn sorted<N: Copy + Ord>(routes: &mut [(N, Wanted, bool)]) -> Option<N> {
    routes.sort_unstable_by_key(|(net, ..)| *net);
    routes.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0)
}

/// All domains of a specification, the main one first.
fn drafts(spec: &Spec, interfaces: &[Interface], vrf_of: &[VrfId]) -> Result<Vec<Draft>, BuildError> {
    let mut drafts = Vec::with_capacity(1 + spec.vrfs.len());
    for number in 0..=spec.vrfs.len() {
        let inside = |interface: &&InterfaceSpec| vrf_of[interface.id.index()].index() == number;
        let members: Vec<InterfaceSpec> = spec.interfaces.iter().filter(inside).cloned().collect();
        let own = own_addresses(&members)?;
        let mut draft = Draft { addresses: Addresses::new(&own), ..Draft::empty() };
        draft.add_own(&members, &own);
        drafts.push(draft);
    }
    let own: Vec<Addresses> = drafts.iter().map(|draft| draft.addresses.clone()).collect();
    for (number, draft) in drafts.iter_mut().enumerate() {
        let routes = if number == 0 { &spec.routes } else { &spec.vrfs[number - 1].routes };
        for Route { to, target } in routes {
            let find = Find { interfaces, vrf_of, vrf: VrfId(number as u16), own: &own, to: *to };
            let wanted = find.target(target)?;
            draft.push(*to, wanted, false);
        }
        draft.settle()?;
    }
    Ok(drafts)
}

/// Where the rules lead that come before the routes.
fn rules(
    spec: &Spec,
    interfaces: &[Interface],
    vrf_of: &[VrfId],
    drafts: &[Draft],
) -> Result<Vec<policy::Draft>, BuildError> {
    let own: Vec<Addresses> = drafts.iter().map(|draft| draft.addresses.clone()).collect();
    let to = Ipv4Net::default().into();
    policy::drafts(&spec.policies, &Find { interfaces, vrf_of, vrf: VrfId::MAIN, own: &own, to })
}
