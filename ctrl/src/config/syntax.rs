//! Parsing TOML so that one slip gives one error.
//!
//! The parser recovers by itself, except behind a `[` that is never closed: then the rest of the file looks like a broken list. Such
//! a list is closed in a copy of the text, at the end of the line before the next `key =` or `[table]`, and parsed again.

use std::borrow::Cow;

use toml::de::{DeTable, Error};

use crate::diagnostic::{Code, Diagnostic, Source, Span};

/// Lists closed before giving up: each costs one more pass.
const MAX_MENDED: usize = 16;

/// A text in which every list is closed, and what was wrong with the original.
#[derive(Debug)]
pub(super) struct Mended<'a> {
    /// The text to decode.
    pub(super) text: Cow<'a, str>,
    /// Where a `]` was put in, as offsets of `text`, in rising order.
    inserted: Vec<usize>,
}

impl<'a> Mended<'a> {
    /// Mends a text in which the parser has found `errors`.
    pub(super) fn of(text: &'a str, errors: &[Error]) -> Self {
        let mut mended = Self { text: Cow::Borrowed(text), inserted: Vec::new() };
        let mut next = end_of_open_list(text, errors);
        while let Some(at) = next {
            mended.text.to_mut().insert(at, ']');
            for earlier in mended.inserted.iter_mut().filter(|earlier| **earlier >= at) {
                *earlier += 1;
            }
            mended.inserted.push(at);
            mended.inserted.sort_unstable();
            if mended.inserted.len() == MAX_MENDED {
                break;
            }
            next = end_of_open_list(&mended.text, &DeTable::parse_recoverable(&mended.text).1);
        }
        mended
    }

    /// Whether it is another text than the original.
    pub(super) fn is_changed(&self) -> bool {
        !self.inserted.is_empty()
    }

    /// A span of `text` as one of the original.
    pub(super) fn original(&self, span: Span) -> Span {
        let back = |offset: usize| offset - self.inserted.iter().filter(|at| **at < offset).count();
        Span { start: back(span.start), end: back(span.end) }
    }

    /// The mistakes, one for each line, with spans of the original.
    pub(super) fn errors(&self, found: &[Error], source: &Source) -> Vec<Diagnostic> {
        let unclosed = self.inserted.iter().map(|at| {
            let end = self.original(Span { start: *at, end: *at });
            Diagnostic::error(Code::Syntax, end, "unclosed list, expected `]`")
                .help("close the list here, or add a comma to go on")
        });
        let mut all: Vec<Diagnostic> = unclosed.collect();
        all.extend(found.iter().map(|error| {
            let span = self.original(error.span().map_or(Span::default(), Span::from));
            with_help(Diagnostic::error(Code::Syntax, span, error.message()), source)
        }));
        all.sort_by_key(|d| d.span);
        all.dedup_by_key(|d| source.position(d.span.start).line);
        all
    }
}

/// Where the first list that is never closed ought to end.
fn end_of_open_list(text: &str, errors: &[Error]) -> Option<usize> {
    errors.iter().find(|error| error.message().starts_with("unclosed array"))?;
    let inside = errors.iter().filter(|error| error.message().starts_with("unexpected `=` in array"));
    let mut line = line_start(text, inside.filter_map(Error::span).map(|span| span.start).min()?);
    loop {
        // The end of the line before, without a comment or spaces.
        let before = text.get(..line)?;
        let previous = before.trim_end();
        let start = line_start(text, previous.len());
        let content = text.get(start..previous.len())?;
        let header = content.starts_with('[') && content.ends_with(']') && !content.contains(['"', ',', '\'']);
        if content.starts_with('#') || header {
            line = start;
            continue;
        }
        let code = if content.contains(['"', '\'']) { content } else { content.split('#').next()? };
        let end = start + code.trim_end().len();
        return (end > 0 && line > 0).then_some(end);
    }
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

fn with_help(diagnostic: Diagnostic, source: &Source) -> Diagnostic {
    let line = source.line(source.position(diagnostic.span.start).line);
    let Some((key, value)) = line.split_once('=') else { return without_equals(diagnostic, line.trim()) };
    let (key, value) = (key.trim(), value.split(" #").next().unwrap_or("").trim());
    if diagnostic.message.ends_with("expected `\"`") && value.starts_with('"') {
        diagnostic.help(format!("close the string: `{key} = {value}\"`"))
    } else if value.is_empty() {
        diagnostic.help(format!("`{key} =` needs a value, or leave out the line for the default"))
    } else if value.starts_with(|c: char| c.is_ascii_digit()) && value.contains(['.', ':', '/']) {
        diagnostic.help(format!("addresses and prefixes are strings: `{key} = \"{value}\"`"))
    } else if value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && !value.contains('"') {
        diagnostic.help(format!("put text in quotes: `{key} = \"{value}\"`"))
    } else {
        diagnostic
    }
}

/// A line with neither `=` nor brackets: a key and its value, most likely.
fn without_equals(diagnostic: Diagnostic, line: &str) -> Diagnostic {
    let bare =
        |key: &&str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let parts = line.split_once([' ', '\t', ':']).map(|(key, value)| (key, value.trim_start_matches([' ', '\t', ':'])));
    match parts.filter(|(key, value)| bare(key) && !value.is_empty()) {
        Some((key, value)) => diagnostic.help(format!("write `{key} = {value}`")),
        None if bare(&line) => diagnostic.help(format!("write `{line} = ` and a value, or remove the line")),
        None => diagnostic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str) -> Mended<'_> {
        Mended::of(text, &DeTable::parse_recoverable(text).1)
    }

    #[test]
    fn an_open_list_ends_before_the_next_key_or_table() {
        for (text, expected) in [
            ("a = [1\nb = 2\n", "a = [1]\nb = 2\n"),
            ("a = [1, # one\n\n[[t]]\nb = 2\n", "a = [1,] # one\n\n[[t]]\nb = 2\n"),
            ("a = [\n  \"x\",\n  \"y\"\nb = [2\nc = 3", "a = [\n  \"x\",\n  \"y\"]\nb = [2]\nc = 3"),
            ("a = [1]\n", "a = [1]\n"),
            ("= [\n", "= [\n"),
        ] {
            assert_eq!(mended(text).text, expected);
        }
    }

    #[test]
    fn spans_lead_back_to_the_original() {
        let mended = mended("a = [1\nb = [2\nc = 3");
        let at = mended.text.find("c =").expect("there");
        assert_eq!(mended.original(Span { start: at, end: at + 1 }), Span { start: 14, end: 15 });
        assert_eq!(mended.original(Span { start: 0, end: 1 }), Span { start: 0, end: 1 });
    }
}
