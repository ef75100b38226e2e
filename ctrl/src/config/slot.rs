//! The shapes of a field in a raw table: required, optional, with a default, a section, an array of tables; and how what the file
//! says for its key becomes one.

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::{DeTable, DeValue};

use super::decode::{Decode, Decoder, Node, Wanted};
use crate::diagnostic::{Code, Diagnostic, Span, nearest};

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

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub List<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(_) => List::<T>::decode(node, cx).map(Self),
            _ => At::<T>::decode(node, cx).map(|one| Self(vec![one])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, many) = (generator.subschema_for::<T>(), generator.subschema_for::<Vec<T>>());
        json_schema!({ "anyOf": [one, many] })
    }
}

/// A table while its fields are decoded.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Where it begins.
    pub span: Span,
    /// Its name in messages.
    pub title: &'a str,
    /// The keys it may have.
    pub known: &'a [&'static str],
}

impl Head<'_> {
    /// Whether a key that does not exist was probably meant to be `key`: then that is what is reported.
    fn is_misspelt(&self, table: &DeTable<'_>, key: &str) -> bool {
        let mut unknown = table.keys().map(|name| name.get_ref().as_ref()).filter(|name| !self.known.contains(name));
        unknown.any(|name| renamed(self.title, name).or_else(|| nearest(name, self.known.iter().copied())) == Some(key))
    }
}

/// One field while its table is decoded: reads, records, fills.
pub fn field<S: Slot>(
    table: &DeTable<'_>,
    key: &'static str,
    default: Option<S::Value>,
    of: Head<'_>,
    cx: &mut Decoder,
) -> S {
    // What is under an old name is refused, and understood, so that nothing seems to be missing as well.
    let is_it = |name: &str| name == key || renamed(of.title, name) == Some(key);
    let found = match table.iter().find(|(name, _)| is_it(name.get_ref())) {
        Some((_, node)) => match cx.value(key, node) {
            Some(value) => Found::Value(At { value, span: node.span().into(), given: true }),
            None => Found::Unreadable(node.span().into()),
        },
        None if S::REQUIRED && !of.is_misspelt(table, key) => {
            cx.push(Diagnostic::error(Code::MissingKey, of.span, format!("{} needs `{key}`", of.title)));
            Found::Nothing
        }
        None => Found::Nothing,
    };
    S::fill(found, default, of.span)
}

/// What a key is called now that had another name in an earlier version.
fn renamed(title: &str, key: &str) -> Option<&'static str> {
    match (title, key) {
        // A route leads to an interface, of which a port may have several.
        ("[[route]]" | "[[neighbor]]", "port") => Some("interface"),
        _ => None,
    }
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
        if let Some(new) = renamed(title, name) {
            cx.push(diagnostic.help(format!("it is called `{new}` now: write `{new} = …`, with the same name")));
            continue;
        }
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
