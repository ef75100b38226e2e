//! What is wrong with a configuration file, where, and what to write instead.
//!
//! A [`Diagnostic`] is data: a stable [`Code`], a [`Span`] of the file, a sentence, and help. [`Report`] renders a file's
//! diagnostics as text (`file:line:column`, the line, a caret) or as JSON.

mod render;
mod source;

pub use render::{Report, Style};
pub use source::{Position, Source};

/// A range of bytes of the file, `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte; equal to `start` for a point between two bytes.
    pub end: usize,
}

impl From<core::ops::Range<usize>> for Span {
    fn from(range: core::ops::Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// How bad it is. Only errors keep a configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but something in it has no effect or will probably surprise.
    Warning,
}

impl Severity {
    /// The word in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// The kind of mistake, stable across versions: scripts may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not TOML.
    Syntax,
    /// The file itself cannot be read.
    Unreadable,
    /// A key or table that does not exist.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A string where a number belongs, and the like.
    WrongType,
    /// The right type, but not of the right form.
    InvalidValue,
    /// A number outside its limits.
    OutOfRange,
    /// The same name, address or entry twice.
    Duplicate,
    /// A name that nothing in the file has.
    UnknownReference,
    /// An address that no port has, or that cannot be reached from any.
    Unreachable,
    /// Keys that exclude or demand each other.
    Conflict,
    /// A key of another driver.
    NotApplicable,
    /// A file that the configuration refers to is missing or unreadable.
    File,
    /// A certificate, key or revocation list that cannot be used.
    Certificate,
    /// Nothing refers to it, or it can never match.
    Unused,
    /// The binary was built without what this needs.
    Unsupported,
    /// A change that a running gateway cannot take over.
    NeedsRestart,
}

impl Code {
    /// The word in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Unreadable => "unreadable",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::InvalidValue => "invalid-value",
            Self::OutOfRange => "out-of-range",
            Self::Duplicate => "duplicate",
            Self::UnknownReference => "unknown-reference",
            Self::Unreachable => "unreachable",
            Self::Conflict => "conflict",
            Self::NotApplicable => "not-applicable",
            Self::File => "file",
            Self::Certificate => "certificate",
            Self::Unused => "unused",
            Self::Unsupported => "unsupported",
            Self::NeedsRestart => "needs-restart",
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The kind of mistake.
    pub code: Code,
    /// Where in the file.
    pub span: Span,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to write instead, or why.
    pub help: Vec<String>,
    /// Another place that belongs to it, with what it is.
    pub related: Option<(Span, String)>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, span, message: message.into(), help: Vec::new(), related: None }
    }

    /// A warning at `span`.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Points at a second place.
    #[must_use]
    pub fn related(mut self, span: Span, note: impl Into<String>) -> Self {
        self.related = Some((span, note.into()));
        self
    }

    /// Whether it keeps the file from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The nearest of `known` to what was written, if one is near enough to have been meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    // A third of the letters may be wrong; a transposition counts as one.
    let limit = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, &word.to_lowercase().replace('-', "_")), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `a, b or c`, each in backquotes.
pub fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["address", "addresses", "name"];
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("Address", known), Some("address"));
        assert_eq!(nearest("naem", known), Some("name"));
        assert_eq!(nearest("protocol", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(["a"]), "`a`");
        assert_eq!(alternatives(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
