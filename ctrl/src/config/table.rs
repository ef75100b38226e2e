//! The macros that declare a table or a set of words once: the struct, its decoding, its JSON Schema and its documentation.

/// Declares a table of the file.
///
/// Each field has a doc comment (it becomes the schema's description and the reference manual), a [`Slot`] and, for `At<T>`, a
/// default: `key: At<Seconds> = Seconds(30), "30";` where the text is the default as the file would write it. Keys that several
/// tables have in common are a table of their own, named last: `..ip: InterfaceKeys;`.
///
/// [`Slot`]: super::slot::Slot
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident($title:literal) {
            $( $(#[doc = $field_doc:literal])* $key:ident : $slot:ty $(= $default:expr, $shown:literal)? ; )*
            $( ..$common:ident : $table:ty ; )?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            /// Where the table begins.
            pub head: $crate::diagnostic::Span,
            $( $(#[doc = $field_doc])* pub $key: $slot, )*
            $( #[doc = concat!("The keys of [`", stringify!($table), "`].")] pub $common: $table, )?
        }

        impl $name {
            /// Every key.
            pub(crate) fn keys() -> &'static [&'static str] {
                static KEYS: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
                KEYS.get_or_init(|| {
                    let own: &[&'static str] = &[$(stringify!($key)),*];
                    [own, $( <$table>::keys() )?].concat()
                })
            }

            fn from_table(
                table: &toml::de::DeTable<'_>,
                head: $crate::diagnostic::Span,
                cx: &mut $crate::config::decode::Decoder,
            ) -> Self {
                let known = Self::keys();
                $crate::config::slot::refuse_unknown(table, known, $title, cx);
                Self::read(table, $crate::config::slot::Head { span: head, title: $title, known }, cx)
            }

            /// The values of a table whose keys are known.
            #[allow(clippy::redundant_closure_call)]
            pub(crate) fn read(
                table: &toml::de::DeTable<'_>,
                of: $crate::config::slot::Head<'_>,
                cx: &mut $crate::config::decode::Decoder,
            ) -> Self {
                Self {
                    head: of.span,
                    $( $key: $crate::config::slot::field::<$slot>(
                        table, stringify!($key), $crate::config::table::default!($($default)?), of, cx), )*
                    $( $common: <$table>::read(table, of, cx), )?
                }
            }

            /// Every key, for the schema.
            pub(crate) fn properties(generator: &mut schemars::SchemaGenerator) -> Vec<$crate::config::schema::Property> {
                let own = [$( $crate::config::schema::Property {
                    key: stringify!($key),
                    docs: &[$($field_doc),*],
                    required: <$slot as $crate::config::slot::Slot>::REQUIRED,
                    default: $crate::config::table::shown!($($shown)?),
                    schema: generator.subschema_for::<$slot>(),
                } ),*];
                own.into_iter()$( .chain(<$table>::properties(generator)) )?.collect()
            }
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(
                node: &$crate::config::decode::Node<'_>,
                cx: &mut $crate::config::decode::Decoder,
            ) -> Option<Self> {
                let toml::de::DeValue::Table(table) = node.get_ref() else {
                    cx.wrong_type(node, concat!("a table, ", $title), $crate::config::decode::Wanted::Table);
                    return None;
                };
                Some(Self::from_table(table, node.span().into(), cx))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                // What an absent table means: every key absent. Only sections without required keys are used so.
                Self::from_table(
                    &toml::de::DeTable::new(),
                    $crate::diagnostic::Span::default(),
                    &mut $crate::config::decode::Decoder::default(),
                )
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::config::schema::object($title, &[$($doc),*], Self::properties(generator))
            }
        }
    };
}

/// The default of a field, if it has one.
macro_rules! default {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}

/// The default as the file would write it.
macro_rules! shown {
    () => {
        None
    };
    ($shown:literal) => {
        Some($shown)
    };
}

/// Declares a set of words, one of which is the value.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident { $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $( $(#[doc = $word_doc])* $variant, )* }

        /// The first word.
        impl Default for $name {
            fn default() -> Self { [$(Self::$variant),*][0] }
        }

        impl $name {
            /// Every word.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl $crate::config::decode::Text for $name {
            const FORM: &'static str = concat!("one of these:", $(" `", $word, "`"),*);
            fn parse(text: &str) -> Result<Self, $crate::config::decode::Mistake> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::config::scalar::not_a_word(text, Self::WORDS)),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::config::schema::words(&[$(($word, &[$($word_doc),*])),*])
            }
        }
    };
}

pub(crate) use {default, shown, table, words};
