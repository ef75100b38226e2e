//! From the spanned TOML tree to values, collecting every mistake instead of stopping at the first.
//!
//! serde stops at the first unknown key or wrong type. Here each value is decoded on its own: a mistake becomes a
//! [`Diagnostic`], the rest goes on, and what could not be read is marked so that later checks do not report its consequences.

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Diagnostic, Span, nearest};

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
    fn value<T: Decode>(&mut self, key: &'static str, node: &Node<'_>) -> Option<T> {
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

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place; that of the table's head if the file does not give it.
    pub span: Span,
    /// Whether the file gives it.
    pub given: bool,
}

impl<T> At<T> {
    /// A value that is not from the file.
    pub const fn fallback(value: T) -> Self {
        Self { value, span: Span { start: 0, end: 0 }, given: false }
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A key that must be there. Empty if it is not, or could not be read: either is already recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required<T>(Option<At<T>>);

impl<T> Required<T> {
    /// The value, unless a mistake has been recorded for it.
    pub fn ok(&self) -> Option<&At<T>> {
        self.0.as_ref()
    }
}

/// A key that may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Optional<T> {
    /// Not in the file.
    Absent,
    /// In the file, but not readable; recorded.
    Bad(Span),
    /// In the file.
    Given(At<T>),
}

impl<T> Optional<T> {
    /// The value if it was given and readable.
    pub fn ok(&self) -> Option<&At<T>> {
        if let Self::Given(value) = self { Some(value) } else { None }
    }

    /// The place, if the key is in the file.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Absent => None,
            Self::Bad(span) => Some(*span),
            Self::Given(value) => Some(value.span),
        }
    }

    /// Whether the key is not in the file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// What the file says for a key: nothing, something unreadable, or a value.
#[derive(Debug)]
pub enum Found<T> {
    /// No such key.
    Nothing,
    /// A mistake has been recorded.
    Unreadable(Span),
    /// A value.
    Value(At<T>),
}

/// The shape of a field in a raw table: required, optional, with a default, a section, or an array of tables.
pub trait Slot: Sized {
    /// What is decoded into it.
    type Value: Decode;
    /// Whether the key must be in the file.
    const REQUIRED: bool = false;
    /// Makes the field from what was found; `head` is the place of the table's head.
    fn fill(found: Found<Self::Value>, default: Option<Self::Value>, head: Span) -> Self;
}

impl<T: Decode> Slot for Required<T> {
    type Value = T;
    const REQUIRED: bool = true;
    fn fill(found: Found<T>, _: Option<T>, _: Span) -> Self {
        match found {
            Found::Value(value) => Self(Some(value)),
            Found::Nothing | Found::Unreadable(_) => Self(None),
        }
    }
}

impl<T: Decode> Slot for Optional<T> {
    type Value = T;
    fn fill(found: Found<T>, _: Option<T>, _: Span) -> Self {
        match found {
            Found::Nothing => Self::Absent,
            Found::Unreadable(span) => Self::Bad(span),
            Found::Value(value) => Self::Given(value),
        }
    }
}

impl<T: Decode + Default> Slot for At<T> {
    type Value = T;
    fn fill(found: Found<T>, default: Option<T>, head: Span) -> Self {
        match found {
            Found::Value(value) => value,
            // The default stands in for what could not be read; the file is refused anyway.
            Found::Unreadable(span) => Self { value: default.unwrap_or_default(), span, given: true },
            Found::Nothing => Self { value: default.unwrap_or_default(), span: head, given: false },
        }
    }
}

/// Any number of `[[name]]` tables, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables<T>(pub Vec<At<T>>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Tables<T> {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(_) => Vec::<At<T>>::decode(node, cx).map(Self),
            DeValue::Table(_) => {
                let key = cx.key().to_owned();
                cx.push(
                    Diagnostic::error(Code::WrongType, node.span().into(), format!("`{key}` is a list of tables"))
                        .help(format!("write `[[{key}]]`")),
                );
                At::<T>::decode(node, cx).map(|one| Self(vec![one]))
            }
            _ => {
                let key = cx.key().to_owned();
                cx.wrong_type(node, &format!("tables headed `[[{key}]]`"), Wanted::Table);
                None
            }
        }
    }
}

impl<T: Decode> Slot for Tables<T> {
    type Value = Self;
    fn fill(found: Found<Self>, _: Option<Self>, _: Span) -> Self {
        if let Found::Value(tables) = found { tables.value } else { Self::default() }
    }
}

/// A list of values, each with its place.
pub type List<T> = Vec<At<T>>;

/// One field while its table is decoded: reads, records, fills.
pub fn field<S: Slot>(
    table: &DeTable<'_>,
    key: &'static str,
    default: Option<S::Value>,
    head: (Span, &str),
    cx: &mut Decoder,
) -> S {
    let found = match table.iter().find(|(name, _)| name.get_ref() == key) {
        Some((_, node)) => match cx.value(key, node) {
            Some(value) => Found::Value(At { value, span: node.span().into(), given: true }),
            None => Found::Unreadable(node.span().into()),
        },
        None if S::REQUIRED => {
            cx.push(Diagnostic::error(Code::MissingKey, head.0, format!("{} needs `{key}`", head.1)));
            Found::Nothing
        }
        None => Found::Nothing,
    };
    S::fill(found, default, head.0)
}

/// Records each key of `table` that is not in `known`.
pub fn refuse_unknown(table: &DeTable<'_>, known: &[&'static str], title: &str, cx: &mut Decoder) {
    for (key, _) in table {
        let name = key.get_ref().as_ref();
        if known.contains(&name) {
            continue;
        }
        let diagnostic =
            Diagnostic::error(Code::UnknownKey, key.span().into(), format!("unknown key `{name}` in {title}"));
        cx.push(match nearest(name, known.iter().copied()) {
            Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
            None => diagnostic.help(format!("known here: {}", known.join(", "))),
        });
    }
}

macro_rules! same_schema {
    ($($wrapper:ident),*) => {$(
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { T::schema_name() }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema { generator.subschema_for::<T>() }
        }
    )*};
}
same_schema!(At, Required, Optional);

impl<T: JsonSchema> JsonSchema for Tables<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}
