//! By what policy rules tell packets apart: protocols, ports, code points; each a number, or a name that people know.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use toml::de::DeValue;

use super::decode::{Decode, Decoder, Node, Wanted};
use super::scalar::Int;
use crate::diagnostic::{Code, Diagnostic, alternatives, nearest};

/// A transport protocol (IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transport(pub u8);

/// A differentiated services code point (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dscp(pub u8);

/// A port, or all from one to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortRange(pub RangeInclusive<u16>);

const TRANSPORTS: [(&str, u8); 17] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmpv6", 58),
    ("sctp", 132),
    ("dccp", 33),
    ("udplite", 136),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipip", 4),
    ("ipv6", 41),
    ("igmp", 2),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
];

/// RFC 2474 (class selectors, default), RFC 2597 (assured forwarding), RFC 3246 (expedited), RFC 5865 (voice admit), RFC 8622 (lower effort).
const CODE_POINTS: [(&str, u8); 24] = [
    ("default", 0),
    ("ef", 46),
    ("va", 44),
    ("le", 1),
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
];

impl Transport {
    /// Whether its packets begin with ports.
    pub const fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(self.0, &TRANSPORTS, f)
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(self.0, &CODE_POINTS, f)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

fn named(number: u8, names: &[(&str, u8)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match names.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => f.write_str(name),
        None => write!(f, "{number}"),
    }
}

/// A number up to `MOST`, or a name for one.
fn number_or_name<const MOST: i64>(node: &Node<'_>, names: &[(&str, u8)], what: &str, cx: &mut Decoder) -> Option<u8> {
    let DeValue::String(text) = node.get_ref() else {
        if matches!(node.get_ref(), DeValue::Integer(_)) {
            return Int::<0, MOST>::decode(node, cx).map(Int::to);
        }
        cx.wrong_type(node, &format!("{what}, by name or number"), Wanted::Integer);
        return None;
    };
    if text.parse::<i64>().is_ok() {
        cx.wrong_type(node, &format!("{what}, by name or number"), Wanted::Integer);
        return None;
    }
    let found = names.iter().find(|(name, _)| *name == &**text);
    if found.is_none() {
        let known = names.iter().map(|(name, _)| *name);
        let wrong = Diagnostic::error(Code::InvalidValue, node.span().into(), format!("`{text}` is not {what}"));
        let allowed = format!("known: {}; or a number from 0 to {MOST}", alternatives(known.clone()));
        cx.push(wrong.help(match nearest(text, known) {
            Some(meant) => format!("did you mean `{meant}`? ({allowed})"),
            None => allowed,
        }));
    }
    found.map(|(_, number)| *number)
}

impl Decode for Transport {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        number_or_name::<255>(node, &TRANSPORTS, "a transport protocol", cx).map(Self)
    }
}

impl Decode for Dscp {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        number_or_name::<63>(node, &CODE_POINTS, "a code point", cx).map(Self)
    }
}

impl Decode for PortRange {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        let text = match node.get_ref() {
            DeValue::Integer(_) => {
                return Int::<0, 65_535>::decode(node, cx).map(|port| Self(port.to()..=port.to()));
            }
            DeValue::String(text) if text.parse::<i64>().is_err() => text,
            _ => {
                cx.wrong_type(node, "a port, or a range such as \"1024-65535\"", Wanted::Integer);
                return None;
            }
        };
        let ends = text.split_once('-').map(|(first, last)| (first.trim().parse(), last.trim().parse()));
        let (what, help) = match ends {
            Some((Ok(first), Ok(last))) if first <= last => return Some(Self(first..=last)),
            Some((Ok(first), Ok(last))) => ("ends before it begins", format!("write `\"{last}-{first}\"`")),
            Some(_) => ("is not a range of ports", "ports are from 0 to 65535: write e.g. `\"1024-65535\"`".to_owned()),
            None => ("is not a port", "write its number, or a range such as `\"1024-65535\"`".to_owned()),
        };
        cx.push(Diagnostic::error(Code::InvalidValue, node.span().into(), format!("`{text}` {what}")).help(help));
        None
    }
}

macro_rules! shown {
    ($($type:ident: $schema:expr),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}
shown!(
    Transport: by_name(255, &TRANSPORTS),
    Dscp: by_name(63, &CODE_POINTS),
    PortRange: json_schema!({ "title": "a port, or a range such as \"1024-65535\"", "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": 65_535 },
        { "type": "string", "title": "a range such as \"1024-65535\"", "pattern": "^[0-9]+ *- *[0-9]+$" },
    ] })
);

fn by_name(most: u8, names: &[(&str, u8)]) -> Schema {
    let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    json_schema!({ "title": format!("0 to {most}, or a name"), "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": most },
        { "title": "a name", "enum": names },
    ] })
}
