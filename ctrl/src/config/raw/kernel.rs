//! `[kernel_routes]`: what is learnt from the kernel.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::config::decode::{Mistake, Text};
use crate::config::scalar::{Int, not_a_word};
use crate::config::slot::{At, List};
use crate::config::table::table;

table! {
    /// Routes that a daemon (BIRD, FRR) installs in the kernel become routes of the gateway when they lead over an interface with `host`.
    /// All next hops of a route are learnt. Subnets of the ports are not taken from the kernel.
    pub struct KernelRoutes("[kernel_routes]") {
        /// Whether routes are learnt. Without a port that has `host` there is nothing to learn.
        enabled: At<bool> = true, "true";
        /// Numbers of the kernel's routing tables that are learnt; 254 is the main table. The lowest metric wins, whatever the table.
        tables: At<List<Int<1, 4_294_967_295>>> = vec![At::fallback(Int::new(254))], "[254]";
        /// Whose routes are learnt: names such as `bird`, `bgp`, `ospf`, `zebra`, `static`, `boot` (`ip route add` without `proto`), or
        /// numbers from 1 to 255 as strings. Without it everybody's but the kernel's own.
        protocols: At<List<RouteProtocol>> = Vec::new(), "[]";
        /// Whether a learnt route wins over a `[[route]]` with the same prefix. Never over a port's subnet.
        override_static: At<bool> = false, "false";
    }
}

/// Who made a route of the kernel (`/etc/iproute2/rt_protos`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteProtocol(pub u8);

/// The names and numbers that are the same on every machine.
const NAMES: [(&str, u8); 20] = [
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("gated", 8),
    ("ra", 9),
    ("mrt", 10),
    ("zebra", 11),
    ("bird", 12),
    ("dnrouted", 13),
    ("xorp", 14),
    ("ntk", 15),
    ("dhcp", 16),
    ("keepalived", 18),
    ("babel", 42),
    ("bgp", 186),
    ("isis", 187),
    ("ospf", 188),
    ("rip", 189),
    ("eigrp", 192),
];

impl Text for RouteProtocol {
    const FORM: &'static str = "the name of a routing protocol such as \"bgp\", or its number such as \"186\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*number));
        }
        match text.parse::<u8>() {
            Ok(number @ 1..) => Ok(Self(number)),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Err(Mistake::default()),
            _ => Err(not_a_word(text, &NAMES.map(|(name, _)| name))),
        }
    }
}

impl Serialize for RouteProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => serializer.serialize_str(name),
            None => serializer.collect_str(&self.0),
        }
    }
}

impl JsonSchema for RouteProtocol {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RouteProtocol".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": <Self as Text>::FORM })
    }
}
