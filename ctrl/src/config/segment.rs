//! The value of `tcp_mss`: a number of bytes, or a word.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use toml::de::DeValue;

use super::decode::{Decode, Decoder, Node, Wanted};
use super::scalar::{Int, not_a_word};
use crate::diagnostic::{Code, Diagnostic};

/// Least and greatest number: what every host takes, and what fits the longest packet that an interface can have.
type Bytes = Int<536, 64_960>;

/// How long the segments of TCP connections through an interface may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SegmentLimit {
    /// As both ends like.
    #[default]
    Off,
    /// At most so many bytes of data.
    Bytes(u16),
    /// What fits the MTU of the ways in and out.
    PathMtu,
}

const WORDS: [&str; 2] = ["off", "pmtu"];

impl Decode for SegmentLimit {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        match node.get_ref() {
            DeValue::Integer(_) => Bytes::decode(node, cx).map(|bytes| Self::Bytes(bytes.to())),
            DeValue::String(text) => match &**text {
                "off" => Some(Self::Off),
                "pmtu" => Some(Self::PathMtu),
                text if text.parse::<i64>().is_ok() => {
                    cx.wrong_type(node, "a number of bytes, or a word", Wanted::Integer);
                    None
                }
                text => {
                    let mistake = not_a_word(text, &WORDS);
                    let message = format!("`{text}` {}", mistake.because.unwrap_or_default());
                    let wrong = Diagnostic::error(Code::InvalidValue, node.span().into(), message);
                    cx.push(wrong.help(format!("{}, or a number of bytes", mistake.help.unwrap_or_default())));
                    None
                }
            },
            _ => {
                cx.wrong_type(node, "a number of bytes, \"pmtu\" or \"off\"", Wanted::Integer);
                None
            }
        }
    }
}

impl Serialize for SegmentLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Bytes(bytes) => serializer.serialize_u16(*bytes),
            Self::PathMtu => serializer.serialize_str("pmtu"),
        }
    }
}

impl JsonSchema for SegmentLimit {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SegmentLimit".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "536 to 64960, \"pmtu\" or \"off\"", "anyOf": [
            { "type": "integer", "minimum": 536, "maximum": 64_960 },
            { "enum": WORDS },
        ] })
    }
}
