//! From the spanned TOML tree to values, collecting every mistake instead of stopping at the first.
//!
//! serde stops at the first unknown key or wrong type. Here each value is decoded on its own: a mistake becomes a
//! [`Diagnostic`], the rest goes on, and what could not be read is marked so that later checks do not report its consequences.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

use super::slot::At;
use crate::diagnostic::{Code, Diagnostic};

/// A node of the parsed file.
pub type Node<'a> = Spanned<DeValue<'a>>;

/// Collects mistakes while a file is decoded.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
    /// The key whose value is being decoded.
    key: Cow<'static, str>,
}

impl Decoder {
    /// Decodes a value as that of `key`.
    pub(super) fn value<T: Decode>(&mut self, key: &'static str, node: &Node<'_>) -> Option<T> {
        let outer = std::mem::replace(&mut self.key, Cow::Borrowed(key));
        let value = T::decode(node, self);
        self.key = outer;
        value
    }

    /// The key whose value is being decoded, for messages.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Records a mistake.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Records that `node` is not what belongs here.
    pub fn wrong_type(&mut self, node: &Node<'_>, expected: &str, wanted: Wanted) {
        self.wrong_type_unless(node, expected, wanted, |_| true);
    }

    /// As [`Self::wrong_type`], but suggests the same thing in the wanted type only if that would be accepted.
    fn wrong_type_unless(
        &mut self,
        node: &Node<'_>,
        expected: &str,
        wanted: Wanted,
        accepted: impl FnOnce(&str) -> bool,
    ) {
        let found = kind(node.get_ref());
        if let (DeValue::String(text), Wanted::Integer) = (node.get_ref(), wanted)
            && let Some((number, unit)) = in_unit_of(&self.key, text)
        {
            let message = format!("`{}` must be {expected}, not a string", self.key);
            let help = format!("write `{} = {number}`: the key's name tells the unit, {unit}", self.key);
            self.push(Diagnostic::error(Code::WrongType, node.span().into(), message).help(help));
            return;
        }
        let mut diagnostic = Diagnostic::error(
            Code::WrongType,
            node.span().into(),
            format!("`{}` must be {expected}, not {found}", self.key),
        );
        if let Some(instead) = rewrite(node.get_ref(), wanted).filter(|instead| accepted(instead)) {
            diagnostic = diagnostic.help(format!("write `{} = {instead}`", self.key));
        }
        self.push(diagnostic);
    }
}

/// The TOML type that belongs in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list.
    List,
    /// A table.
    Table,
}

/// Units of time, of which keys name one, in microseconds.
const UNITS: [(&str, u64); 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("sec", 1_000_000),
    ("min", 60_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// `"30s"` in the unit that the end of the key tells, if it is a whole number of it; and that unit.
fn in_unit_of(key: &str, text: &str) -> Option<(u64, &'static str)> {
    let (_, suffix) = key.rsplit_once('_')?;
    let unit = match suffix {
        "us" => "microseconds",
        "ms" => "milliseconds",
        "s" => "seconds",
        _ => return None,
    };
    let size = |wanted: &str| UNITS.iter().find(|(name, _)| *name == wanted).map(|(_, size)| *size);
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, written) = text.split_at(digits);
    let total = number.parse::<u64>().ok()?.checked_mul(size(&written.trim().to_lowercase())?)?;
    let size = size(suffix)?;
    (total % size == 0).then_some((total / size, unit))
}

/// What a value is, for "must be …, not …".
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The same thing in the wanted type, when it is plain what was meant.
fn rewrite(value: &DeValue<'_>, wanted: Wanted) -> Option<String> {
    match (value, wanted) {
        (DeValue::String(text), Wanted::Integer) => text.trim().parse::<i64>().ok().map(|n| n.to_string()),
        (DeValue::String(text), Wanted::Boolean) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("true".to_owned()),
            "false" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        (DeValue::Integer(number), Wanted::Boolean) => match number.as_str() {
            "1" => Some("true".to_owned()),
            "0" => Some("false".to_owned()),
            _ => None,
        },
        (DeValue::Float(number), Wanted::Integer) => number.as_str().strip_suffix(".0").map(str::to_owned),
        (DeValue::Integer(number), Wanted::Text) => Some(format!("\"{number}\"")),
        (DeValue::Float(number), Wanted::Text) => Some(format!("\"{number}\"")),
        (DeValue::Boolean(flag), Wanted::Text) => Some(format!("\"{flag}\"")),
        (DeValue::String(text), Wanted::List) => Some(format!("[{text:?}]")),
        (DeValue::Integer(number), Wanted::List) => Some(format!("[{number}]")),
        (DeValue::Array(items), Wanted::Text) => match &items[..] {
            [one] => one.get_ref().as_str().map(|text| format!("{text:?}")),
            _ => None,
        },
        _ => None,
    }
}

/// What can be read from a TOML value. `None` means that the mistake has been recorded.
pub trait Decode: Sized {
    /// Reads the value.
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self>;
}

/// A text of a certain form.
pub trait Text: Sized {
    /// The form, as "a prefix such as `10.0.0.0/8`".
    const FORM: &'static str;
    /// Parses it.
    ///
    /// # Errors
    /// What is wrong with the text and what would be right.
    fn parse(text: &str) -> Result<Self, Mistake>;
}

/// Why a text is not of the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistake {
    /// Replaces "is not FORM" when something more precise can be said.
    pub because: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl<T: Text> Decode for T {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        let Some(text) = node.get_ref().as_str() else {
            let accepted = |quoted: &str| T::parse(quoted.trim_matches('"')).is_ok();
            cx.wrong_type_unless(node, &format!("a string, {}", T::FORM), Wanted::Text, accepted);
            return None;
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(mistake) => {
                let message = match mistake.because {
                    Some(because) => format!("`{text}` {because}"),
                    None => format!("`{text}` is not {}", T::FORM),
                };
                let mut diagnostic = Diagnostic::error(Code::InvalidValue, node.span().into(), message);
                diagnostic.help.extend(mistake.help);
                cx.push(diagnostic);
                None
            }
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        let value = node.get_ref().as_bool();
        if value.is_none() {
            cx.wrong_type(node, "true or false", Wanted::Boolean);
        }
        value
    }
}

impl Decode for String {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        let value = node.get_ref().as_str().map(str::to_owned);
        if value.is_none() {
            cx.wrong_type(node, "a string", Wanted::Text);
        }
        value
    }
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        T::decode(node, cx).map(|value| Self { value, span: node.span().into(), given: true })
    }
}

/// Items that cannot be read are left out; the mistake has been recorded.
impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        let DeValue::Array(items) = node.get_ref() else {
            let mut scratch = Decoder { diagnostics: Vec::new(), key: cx.key.clone() };
            cx.wrong_type_unless(node, "a list", Wanted::List, |_| T::decode(node, &mut scratch).is_some());
            return None;
        };
        Some(items.iter().filter_map(|item| T::decode(item, cx)).collect())
    }
}
