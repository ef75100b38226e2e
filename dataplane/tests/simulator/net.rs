//! Addresses, and the tables of every host.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use tidegate_dataplane::{
    io::MacAddr,
    l3::{self, InterfaceSpec, Route, Target},
    l7::{
        cluster::ClusterSpec,
        route::PathMatch,
        table::{BackendRef, ListenerSpec, Retry, RouteSpec, Table, TableSpec, Timeouts},
    },
    meta::{InterfaceId, PortId},
    tables::{Phase, Tables},
};

use crate::plan::Scenario;

pub(crate) const HTTP_PORT: u16 = 80;
pub(crate) const ECHO_PORT: u16 = 7;

/// Who a host is: clients are on link 0, origins on link 1, the gateway on both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    Gateway,
    Client(usize),
    Origin(usize),
}

impl Who {
    /// Last part of its addresses.
    fn number(self) -> u8 {
        match self {
            Self::Gateway => 1,
            Self::Client(n) | Self::Origin(n) => 10 + n as u8,
        }
    }

    /// The links it is on, by port.
    pub(crate) fn links(self) -> &'static [usize] {
        match self {
            Self::Gateway => &[0, 1],
            Self::Client(_) => &[0],
            Self::Origin(_) => &[1],
        }
    }

    pub(crate) fn mac(self, link: usize) -> MacAddr {
        MacAddr([2, 0, 0, 0, link as u8, self.number()])
    }

    pub(crate) fn address(self, link: usize, v6: bool) -> IpAddr {
        if v6 {
            let mut octets = [0; 16];
            (octets[0], octets[3], octets[15]) = (0xfd, link as u8 + 1, self.number());
            octets.into()
        } else {
            [10, link as u8 + 1, 0, self.number()].into()
        }
    }
}

pub(crate) fn client(number: usize, v6: bool) -> IpAddr {
    Who::Client(number).address(0, v6)
}

pub(crate) fn listener(v6: bool) -> SocketAddr {
    SocketAddr::new(Who::Gateway.address(0, v6), HTTP_PORT)
}

pub(crate) fn echo(origin: usize, v6: bool) -> SocketAddr {
    SocketAddr::new(Who::Origin(origin).address(1, v6), ECHO_PORT)
}

/// Key of an echo session's content, apart from those of requests.
pub(crate) fn echo_key(session: usize) -> usize {
    (1 << 20) + session
}

type Cached = BTreeMap<(Who, [u16; 2]), Arc<l3::Table>>;

thread_local! {
    /// The tables do not depend on the seed beyond this key, and building them costs more than many a run.
    static L3: RefCell<Cached> = const { RefCell::new(BTreeMap::new()) };
}

/// Addresses and routes of a host.
pub(crate) fn l3(who: Who, mtu: [u16; 2]) -> Arc<l3::Table> {
    L3.with_borrow_mut(|cache| Arc::clone(cache.entry((who, mtu)).or_insert_with(|| Arc::new(build_l3(who, mtu)))))
}

fn build_l3(who: Who, mtu: [u16; 2]) -> l3::Table {
    let ports = who.links().iter().enumerate().map(|(port, link)| InterfaceSpec {
        id: InterfaceId(port as u16),
        name: format!("port {port}"),
        link: tidegate_dataplane::l2::Link::of(PortId(port as u16)),
        mac: who.mac(*link),
        mtu: mtu[*link],
        v4: vec![format!("{}/24", who.address(*link, false)).parse().expect("a prefix")],
        v6: vec![format!("{}/64", who.address(*link, true)).parse().expect("a prefix")],
        presence: tidegate_dataplane::l2::Presence::default(),
        ..InterfaceSpec::default()
    });
    let link = who.links()[0];
    let default = |to: &str, v6| Route {
        to: to.parse().expect("a prefix"),
        target: Target::Via { gateway: Who::Gateway.address(link, v6), interface: None },
    };
    let routes = match who {
        Who::Gateway => vec![],
        _ => vec![default("0.0.0.0/0", false), default("::/0", true)],
    };
    l3::Table::build(l3::Spec { interfaces: ports.collect(), routes, ..l3::Spec::default() })
        .expect("right by construction")
}

fn listener_spec(name: &str, address: SocketAddr) -> ListenerSpec {
    // Longer than any pause in a plan: what runs out of time then stands still.
    let timeouts = Timeouts {
        header: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        request: None,
        linger: Duration::from_secs(2),
        min_rate: 16,
    };
    ListenerSpec {
        name: name.into(),
        address,
        tls: None,
        timeouts,
        limits: Default::default(),
        forwarded: Default::default(),
        trusted_peers: vec![],
        websocket: true,
    }
}

/// Tables of an origin or a client.
pub(crate) fn host(scenario: &Scenario, who: Who, phase: Phase) -> Arc<Tables> {
    let ports = match who {
        Who::Origin(_) => &[HTTP_PORT, ECHO_PORT][..],
        _ => &[],
    };
    let addresses =
        ports.iter().flat_map(|port| [false, true].map(|v6| SocketAddr::new(who.address(who.links()[0], v6), *port)));
    let listeners = addresses.map(|address| listener_spec("origin", address)).collect();
    let l7 = Table::build(&TableSpec { cores: 1, listeners, ..TableSpec::default() }, None);
    let l7 = Arc::new(l7.expect("right by construction"));
    Arc::new(Tables { phase, l3: l3(who, scenario.mtu), l7 })
}

/// Tables of the gateway.
pub(crate) fn gateway(
    scenario: &Scenario,
    clusters: &[Vec<usize>; 2],
    phase: Phase,
    old: Option<&Table>,
) -> Arc<Tables> {
    let cluster = |name: &str, origins: &[usize]| ClusterSpec {
        name: name.into(),
        endpoints: origins
            .iter()
            .map(|origin| SocketAddr::new(Who::Origin(*origin).address(1, scenario.upstream_v6), HTTP_PORT))
            .collect(),
        connect_timeout: Duration::from_secs(35),
        idle_timeout: scenario.pool_idle,
        max_idle_per_core: scenario.pool,
        tls: None,
    };
    let route = |name: &str| RouteSpec {
        name: name.into(),
        listeners: vec![],
        hostnames: vec![],
        matches: vec![PathMatch::Prefix(format!("/{name}").into_bytes().into())],
        backend_refs: vec![BackendRef { cluster: name.into(), weight: 1 }],
        request_timeout: None,
        retry: Retry::default(),
    };
    let spec = TableSpec {
        cores: scenario.cores,
        listeners: vec![listener_spec("v4", listener(false)), listener_spec("v6", listener(true))],
        clusters: vec![cluster("a", &clusters[0]), cluster("b", &clusters[1])],
        routes: vec![route("a"), route("b")],
    };
    let l7 = Arc::new(Table::build(&spec, old).expect("right by construction"));
    Arc::new(Tables { phase, l3: l3(Who::Gateway, scenario.mtu), l7 })
}
