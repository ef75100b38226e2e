//! What a message of the kernel says about a route or a next-hop object.

use std::net::IpAddr;

use ipnet::IpNet;

use super::wire::{Attributes, Message, number, short};

/// Bytes of `struct rtmsg` and of `struct nhmsg`.
const ROUTE_HEADER: usize = 12;
const OBJECT_HEADER: usize = 8;
/// Types of routes (`linux/rtnetlink.h`).
const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;
const PROHIBIT: u8 = 8;
/// Attributes of a route.
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_NH_ID: u16 = 30;
/// Attributes of a next-hop object (`linux/nexthop.h`).
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_FDB: u16 = 11;
/// Where device, router and encapsulation of a hop are, in a route and in an object.
const ROUTE_HOP: [u16; 3] = [RTA_OIF, RTA_GATEWAY, RTA_ENCAP_TYPE];
const OBJECT_HOP: [u16; 3] = [NHA_OIF, NHA_GATEWAY, NHA_ENCAP_TYPE];
/// The next hop's device is down.
const DEAD: u8 = 1;
/// A clone in the kernel's cache, not a route.
const CLONED: u32 = 0x200;
const AF_INET: u8 = 2;

/// A next hop as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hop {
    /// Number of the device.
    pub(super) device: u32,
    /// The router; `None` when the destination is on the link.
    pub(super) gateway: Option<IpAddr>,
    /// Share among the hops of a route, from 1.
    pub(super) weight: u16,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Leads {
    /// To one of these.
    Hops(Vec<Hop>),
    /// Nowhere, in silence.
    Blackhole,
    /// Nowhere, and the sender is told.
    Unreachable,
    /// Nowhere, and the sender is told that it is forbidden.
    Prohibit,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub(super) to: IpNet,
    pub(super) table: u32,
    pub(super) metric: u32,
    /// Who made it (`/etc/iproute2/rt_protos`).
    pub(super) protocol: u8,
    /// What the message says by itself.
    pub(super) leads: Leads,
    /// The next-hop object that it leads to, whatever that becomes: when the message was written, what `leads` says.
    pub(super) object: Option<u32>,
}

/// A next-hop object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Object {
    /// One hop.
    Hop(Hop),
    /// Other objects, with their weights.
    Group(Vec<(u32, u16)>),
    /// Packets are dropped.
    Blackhole,
    /// No packet of a route goes there: its device is down, it wants an encapsulation, or it is for a bridge (`fdb`).
    Nowhere,
}

impl Route {
    /// Reads a route; `None` for what no data plane forwards by: multicast, local and cached routes, routes by type of service or
    /// source.
    pub(super) fn parse(message: &Message<'_>) -> Option<Self> {
        let header = message.body.first_chunk::<ROUTE_HEADER>()?;
        let [family, length, source_length, service, table, protocol, _, kind, ..] = *header;
        let flags = number(header, 8)?;
        if source_length != 0 || service != 0 || flags & CLONED != 0 {
            return None;
        }
        let mut to = if family == AF_INET { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        let (mut table, mut metric, mut object, mut many) = (u32::from(table), 0, None, None);
        let attributes = message.attributes(ROUTE_HEADER);
        for (attribute, value) in attributes.clone() {
            match attribute {
                RTA_DST => to = address(value)?,
                RTA_TABLE => table = number(value, 0)?,
                RTA_PRIORITY => metric = number(value, 0)?,
                RTA_NH_ID => object = number(value, 0),
                RTA_MULTIPATH => many = Some(multipath(value)),
                _ => {}
            }
        }
        let single = || Vec::from_iter(hop(None, flags as u8, 1, attributes, ROUTE_HOP));
        let leads = match kind {
            UNICAST => Leads::Hops(many.unwrap_or_else(single)),
            BLACKHOLE => Leads::Blackhole,
            UNREACHABLE => Leads::Unreachable,
            PROHIBIT => Leads::Prohibit,
            _ => return None,
        };
        Some(Self { to: IpNet::new(to, length).ok()?.trunc(), table, metric, protocol, leads, object })
    }
}

impl Object {
    /// Reads a next-hop object and its number.
    pub(super) fn parse(message: &Message<'_>) -> Option<(u32, Self)> {
        let flags = number(message.body, 4)?;
        let (mut id, mut object, mut is_fdb) = (None, None, false);
        let attributes = message.attributes(OBJECT_HEADER);
        for (attribute, value) in attributes.clone() {
            match attribute {
                NHA_ID => id = number(value, 0),
                NHA_GROUP => object = Some(Self::Group(group(value))),
                NHA_BLACKHOLE => object = Some(Self::Blackhole),
                NHA_FDB => is_fdb = true,
                _ => {}
            }
        }
        let single = || hop(None, flags as u8, 1, attributes, OBJECT_HOP).map_or(Self::Nowhere, Self::Hop);
        Some((id?, if is_fdb { Self::Nowhere } else { object.unwrap_or_else(single) }))
    }
}

/// The hop that attributes describe, on the device they or the fixed part name; `None` when it is down, or packets to it would have to
/// be encapsulated.
fn hop(device: Option<u32>, flags: u8, weight: u16, all: Attributes<'_>, names: [u16; 3]) -> Option<Hop> {
    let [out, router, encapsulation] = names;
    let (mut device, mut gateway) = (device, None);
    for (attribute, value) in all {
        if attribute == out {
            device = number(value, 0);
        } else if attribute == router {
            gateway = Some(address(value)?);
        } else if attribute == RTA_VIA && router == RTA_GATEWAY {
            // Behind two bytes that say the family.
            gateway = Some(address(value.get(2..)?)?);
        } else if attribute == encapsulation {
            return None;
        }
    }
    (flags & DEAD == 0).then_some(Hop { device: device?, gateway, weight })
}

/// The hops of `RTA_MULTIPATH`: `struct rtnexthop` (length, flags, weight less one, device), each with its attributes.
fn multipath(mut bytes: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let Some([.., flags, weight]) = bytes.first_chunk::<4>() {
        let length = usize::from(short(bytes, 0).unwrap_or_default());
        let Some(attributes) = bytes.get(8..length) else { break };
        hops.extend(hop(number(bytes, 4), *flags, u16::from(*weight) + 1, Attributes(attributes), ROUTE_HOP));
        bytes = bytes.get((length + 3) & !3..).unwrap_or_default();
    }
    hops
}

/// The members of `NHA_GROUP`: `struct nexthop_grp` (number, weight less one and its high byte, two more).
fn group(bytes: &[u8]) -> Vec<(u32, u16)> {
    let member = |entry: &[u8]| Some((number(entry, 0)?, u16::from_le_bytes([entry[4], entry[5]]).saturating_add(1)));
    bytes.chunks_exact(8).filter_map(member).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Messages, Request, kind, nested};
    use super::*;

    const AF_INET6: u8 = 10;
    const OIF: [u8; 4] = 7u32.to_ne_bytes();

    fn header(family: u8, length: u8, table: u8, kind: u8, flags: u32) -> Vec<u8> {
        let flags = flags.to_ne_bytes();
        [&[family, length, 0, 0, table, 186, 0, kind][..], &flags].concat()
    }

    fn route(request: Request) -> Option<Route> {
        let bytes = request.numbered(1);
        Messages(&bytes).next().and_then(|message| Route::parse(&message))
    }

    fn request(kind: u8, flags: u32) -> Request {
        Request::new(kind::NEW_ROUTE, 0, &header(AF_INET, 16, 254, kind, flags)).attribute(RTA_DST, &[10, 77, 0, 0])
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn new(id: u32) -> Request {
        Request::new(kind::NEW_OBJECT, 0, &[AF_INET, 0, 0, 0, 0, 0, 0, 0]).attribute(NHA_ID, &id.to_ne_bytes())
    }

    fn object(request: Request) -> (u32, Object) {
        let bytes = request.numbered(1);
        Messages(&bytes).next().and_then(|message| Object::parse(&message)).unwrap()
    }

    #[test]
    fn one_hop_with_a_metric_and_a_large_table() {
        let request = request(UNICAST, 0).attribute(RTA_OIF, &OIF).attribute(RTA_GATEWAY, &[10, 0, 2, 11]);
        let request =
            request.attribute(RTA_PRIORITY, &32u32.to_ne_bytes()).attribute(RTA_TABLE, &1000u32.to_ne_bytes());
        let hop = Hop { device: 7, gateway: Some([10, 0, 2, 11].into()), weight: 1 };
        let leads = Leads::Hops(vec![hop]);
        assert_eq!(
            route(request),
            Some(Route { to: net("10.77.0.0/16"), table: 1000, metric: 32, protocol: 186, leads, object: None })
        );
    }

    #[test]
    fn many_hops_with_weights_and_a_dead_one() {
        let gateway = |last: u8| nested(&[(RTA_GATEWAY, &[10, 0, 2, last])]);
        let entry = |flags: u8, weight: u8, last: u8| [&[16, 0, flags, weight][..], &OIF, &gateway(last)].concat();
        let many = [entry(0, 0, 1), entry(DEAD, 0, 2), entry(0, 3, 3)].concat();
        let leads = route(request(UNICAST, 0).attribute(RTA_MULTIPATH, &many)).unwrap().leads;
        let hop = |last: u8, weight| Hop { device: 7, gateway: Some([10, 0, 2, last].into()), weight };
        assert_eq!(leads, Leads::Hops(vec![hop(1, 1), hop(3, 4)]));
    }

    #[test]
    fn an_ipv4_route_by_an_ipv6_router() {
        let router = [&10u16.to_ne_bytes()[..], &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
        let leads = route(request(UNICAST, 0).attribute(RTA_OIF, &OIF).attribute(RTA_VIA, &router)).unwrap().leads;
        let hop = Hop { device: 7, gateway: Some("fe80::1".parse().unwrap()), weight: 1 };
        assert_eq!(leads, Leads::Hops(vec![hop]));
    }

    #[test]
    fn objects_and_groups_of_them() {
        let single = new(4).attribute(NHA_OIF, &OIF).attribute(NHA_GATEWAY, &[10, 0, 2, 11]);
        let hop = Hop { device: 7, gateway: Some([10, 0, 2, 11].into()), weight: 1 };
        assert_eq!(object(single), (4, Object::Hop(hop)));
        let members = [[4, 0, 0, 0, 0, 0, 0, 0], [5, 0, 0, 0, 2, 0, 0, 0]].concat();
        assert_eq!(object(new(9).attribute(NHA_GROUP, &members)), (9, Object::Group(vec![(4, 1), (5, 3)])));
        for kind in [UNICAST, BLACKHOLE] {
            assert_eq!(route(request(kind, 0).attribute(RTA_NH_ID, &9u32.to_ne_bytes())).unwrap().object, Some(9));
        }
    }

    #[test]
    fn objects_that_no_packet_of_a_route_goes_to() {
        let one = || new(4).attribute(NHA_OIF, &OIF).attribute(NHA_GATEWAY, &[10, 0, 2, 11]);
        assert!(matches!(object(one()), (4, Object::Hop(_))));
        assert_eq!(object(one().attribute(NHA_FDB, &[])), (4, Object::Nowhere));
        assert_eq!(object(one().attribute(NHA_ENCAP_TYPE, &[1, 0])), (4, Object::Nowhere));
        let group = [5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(object(new(4).attribute(NHA_GROUP, &group).attribute(NHA_FDB, &[])), (4, Object::Nowhere));
        assert_eq!(object(new(4).attribute(NHA_BLACKHOLE, &[])), (4, Object::Blackhole));
        let encapsulated = request(UNICAST, 0).attribute(RTA_OIF, &OIF).attribute(RTA_ENCAP_TYPE, &[1, 0]);
        assert_eq!(route(encapsulated).unwrap().leads, Leads::Hops(vec![]));
    }

    #[test]
    fn what_is_no_route_for_a_data_plane() {
        assert_eq!(route(request(BLACKHOLE, 0)).map(|route| route.leads), Some(Leads::Blackhole));
        assert_eq!(route(request(UNREACHABLE, 0)).map(|route| route.leads), Some(Leads::Unreachable));
        assert_eq!(route(request(PROHIBIT, 0)).map(|route| route.leads), Some(Leads::Prohibit));
        assert_eq!(route(request(2, 0)), None, "local");
        assert_eq!(route(request(UNICAST, CLONED)), None);
        let dead = request(UNICAST, DEAD.into()).attribute(RTA_OIF, &OIF);
        assert_eq!(route(dead).map(|route| route.leads), Some(Leads::Hops(vec![])));
        let default = Request::new(kind::NEW_ROUTE, 0, &header(AF_INET6, 0, 254, UNICAST, 0)).attribute(RTA_OIF, &OIF);
        assert_eq!(route(default).map(|route| route.to), Some(net("::/0")));
    }
}
