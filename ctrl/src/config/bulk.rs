//! Many `[[route]]` tables, read without a document of all of them.
//!
//! A million routes as a TOML tree are a gigabyte. Those of the simplest form, a head and lines of `key = "text"`, are found in the text
//! and read one at a time; the parser gets the rest, with blanks in their place, so that every place stays what it is. The first of a run
//! of such tables always stays in the rest: where it could not stand, the parser says so, and then reads the whole text.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::decode::{Decode as _, Decoder, Node};
use super::raw::Route;
use super::slot::At;
use crate::diagnostic::Span;

/// With fewer tables the parser reads them all.
const FEWEST: usize = 1000;
const HEAD: &str = "[[route]]";

/// Tables of the simplest form.
#[derive(Debug, Default)]
pub(super) struct Bulk<'a> {
    text: &'a str,
    /// Where each begins and ends, in order.
    tables: Vec<(u32, u32)>,
}

impl<'a> Bulk<'a> {
    /// Those of a text, if they are many.
    pub(super) fn of(text: &'a str) -> Self {
        Self::at_least(FEWEST, text)
    }

    fn at_least(fewest: usize, text: &'a str) -> Self {
        // What looks like a table may be part of such a string.
        let long_strings = ["\"\"\"", "'''"].iter().any(|quotes| text.contains(quotes));
        let tables = if long_strings || u32::try_from(text.len()).is_err() { Vec::new() } else { find(text) };
        if tables.len() < fewest { Self::default() } else { Self { text, tables } }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The text with blanks in place of the tables.
    pub(super) fn rest(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut rest, mut from) = (String::with_capacity(text.len()), 0);
        for (start, end) in self.tables.iter().map(|(start, end)| (*start as usize, *end as usize)) {
            rest.push_str(&text[from..start]);
            rest.extend(std::iter::repeat_n(' ', end - start));
            from = end;
        }
        rest.push_str(&text[from..]);
        Cow::Owned(rest)
    }

    /// Reads the tables, in the order of the file.
    pub(super) fn each(&self, cx: &mut Decoder, mut then: impl FnMut(At<Route>, &mut Decoder)) {
        // Memory of one table serves all.
        let mut table = DeTable::new();
        for (start, end) in self.tables.iter().map(|(start, end)| (*start as usize, *end as usize)) {
            table.clear();
            for line in lines(self.text, start + HEAD.len()..end) {
                if let Some(Line::Pair(key, value)) = Line::of(self.text, line) {
                    let text = Cow::Borrowed(&self.text[value.start + 1..value.end - 1]);
                    let (key, name) = (key.clone(), Cow::Borrowed(&self.text[key]));
                    table.insert(Spanned::new(key, name), Spanned::new(value, DeValue::String(text)));
                }
            }
            let node: Node<'_> = Spanned::new(start..start + HEAD.len(), DeValue::Table(std::mem::take(&mut table)));
            if let Some(value) = Route::decode(&node, cx) {
                then(At { value, span: Span { start, end: start + HEAD.len() }, given: true }, cx);
            }
            if let DeValue::Table(used) = node.into_inner() {
                table = used;
            }
        }
    }
}

/// Every table of the simplest form but the first of a run.
fn find(text: &str) -> Vec<(u32, u32)> {
    let mut tables = Vec::new();
    // The table that is being read: its start, and its keys, as long as it is of that form.
    let mut open: Option<(usize, Vec<&str>)> = None;
    let mut follows = false;
    for line in lines(text, 0..text.len()) {
        let start = line.start;
        match Line::of(text, line) {
            Some(Line::Blank) => {}
            Some(Line::Pair(key, _)) => {
                let key = &text[key];
                let twice = open.as_mut().is_some_and(|(_, keys)| {
                    let twice = keys.contains(&key);
                    keys.push(key);
                    twice
                });
                if twice {
                    (open, follows) = (None, false);
                }
            }
            Some(Line::Head) => {
                let keys = match open.take() {
                    Some((from, keys)) => {
                        if follows {
                            tables.push((from as u32, start as u32));
                        }
                        follows = true;
                        keys
                    }
                    None => Vec::new(),
                };
                open = Some((start, cleared(keys)));
            }
            // Another table, which may be one within the last route; or a line that has to be read by the parser.
            None => (open, follows) = (None, false),
        }
    }
    if let (Some((from, _)), true) = (open, follows) {
        tables.push((from as u32, text.len() as u32));
    }
    tables
}

fn cleared(mut keys: Vec<&str>) -> Vec<&str> {
    keys.clear();
    keys
}

/// The lines of a part of a text, without their ends.
fn lines(text: &str, part: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = part.start;
    std::iter::from_fn(move || {
        let rest = text.as_bytes().get(at..part.end).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = at..at + length;
        at += length + 1;
        Some(line)
    })
}

/// A line that is read here.
enum Line {
    /// Nothing, or a comment.
    Blank,
    /// `[[route]]`.
    Head,
    /// `key = "text"`: where the key is, and the text with its quotes.
    Pair(Range<usize>, Range<usize>),
}

impl Line {
    fn of(text: &str, line: Range<usize>) -> Option<Self> {
        let bytes = &text.as_bytes()[line.clone()];
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let is_plain = |b: &u8| (b' '..0x7f).contains(b);
        match bytes {
            [] => return Some(Self::Blank),
            [b'#', comment @ ..] if comment.iter().all(is_plain) => return Some(Self::Blank),
            b"[[route]]" => return Some(Self::Head),
            _ => {}
        }
        let key = bytes.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')))?;
        let value = key + bytes[key..].strip_prefix(b" = ").map(|_| 3)?;
        let quoted = bytes[value..].strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        // What the text is, it is literally.
        let literal = key > 0 && quoted.iter().all(|b| is_plain(b) && !matches!(b, b'"' | b'\\'));
        let (from, end) = (line.start, line.start + bytes.len());
        literal.then(|| Self::Pair(from..from + key, from + value..end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::path::Path;
    use std::time::SystemTime;

    use super::super::raw::Raw;
    use super::super::{Surroundings, check};
    use super::*;
    use crate::diagnostic::Source;

    /// What a text says, and what is wrong with it: with the tables read here, and by the parser alone.
    fn both(text: &str) -> [(Vec<At<Route>>, Decoder); 2] {
        [1, usize::MAX].map(|fewest| {
            let bulk = Bulk::at_least(fewest, text);
            let rest = bulk.rest(text);
            let (document, errors) = DeTable::parse_recoverable(&rest);
            assert!(errors.is_empty(), "{errors:?} in {rest}");
            let mut cx = Decoder::default();
            let mut routes = Raw::decode(document.get_ref(), &mut cx).route.0;
            bulk.each(&mut cx, |route, _| routes.push(route));
            routes.sort_by_key(|route| route.span);
            cx.diagnostics.sort_by_key(|found| (found.span, found.message.clone()));
            (routes, cx)
        })
    }

    fn found(text: &str) -> usize {
        Bulk::at_least(1, text).tables.len()
    }

    const ROUTE: &str = "[[route]]\nto = \"10.0.0.0/8\"\nvia = \"10.0.0.1\"\n";

    #[test]
    fn tables_of_another_form_are_the_parsers() {
        assert_eq!(found(&ROUTE.repeat(4)), 3, "all but the first");
        assert_eq!(
            found(&[ROUTE, ROUTE, "[[port]]\n", ROUTE, ROUTE].concat()),
            1,
            "what follows may belong to the second"
        );
        for other in [
            "[[route]]\nto = \"10.0.0.0/8\"\nvia = [\"10.0.0.1\"]\n",
            "[[route]]\nto = \"10.0.0.0/8\"\nblackhole = true\n",
            "[[route]]\nto = \"10.0.0.0\\u002f8\"\n",
            "[[route]]\nto = \"10.0.0.0/8\" # eight\n",
            "[[route]]\nto = \"10.0.0.0/8\"\nto = \"10.0.0.0/8\"\n",
            "[[route]]\nto = \"10.0.0.0/8\"\n[[route.next_hops]]\nvia = \"10.0.0.1\"\n",
            "[[route]] # one\nto = \"10.0.0.0/8\"\n",
            "[[route]]\n\"to\" = \"10.0.0.0/8\"\n",
        ] {
            assert_eq!(found(&[ROUTE, other].concat()), 0, "{other}");
        }
        assert_eq!(found(&["a = '''\n", &ROUTE.repeat(4), "'''"].concat()), 0, "they may be a string");
    }

    #[test]
    fn what_stands_in_a_list_is_no_table() {
        let text = ["a = [\n", &ROUTE.repeat(3), "]\n"].concat();
        let rest = Bulk::at_least(1, &text).rest(&text);
        assert!(!DeTable::parse_recoverable(&rest).1.is_empty(), "{rest}");
    }

    #[test]
    fn a_mistake_among_many_is_told_where_it_stands() {
        let port = "[[port]]\nname = \"a\"\ndriver = \"memory\"\naddresses = [\"10.0.0.1/24\"]\n";
        let route = |to: &str, via: &str| format!("[[route]]\nto = \"{to}\"\nvia = \"{via}\"\n");
        let good = |number: usize| route(&format!("20.{}.{}.0/24", number >> 8, number & 255), "10.0.0.9");
        let checked = |last: String| {
            let many: String = (0..2 * FEWEST).map(good).collect();
            let source = Source::new("many", [port, &many, &last].concat());
            let now = SystemTime::UNIX_EPOCH;
            check(source, &Surroundings { directory: Path::new("."), files: None, now, dpdk: false })
        };
        let right = checked(good(5000));
        assert_eq!((right.report.errors(), right.config.unwrap().routes.len()), (0, 2 * FEWEST + 1));
        let line = 4 + 3 * 2 * FEWEST;
        for (last, column, said) in [
            (route("20.0.7.0/24", "10.0.0.9"), (line + 2, 6), "there is already a route to 20.0.7.0/24"),
            (route("30.0.0.0/8", "10.7.0.9"), (line + 3, 7), "10.7.0.9 is in no interface's subnet"),
            ("[[route]]\nto = 5\nvia = \"10.0.0.9\"\n".to_owned(), (line + 2, 6), "must be a string"),
        ] {
            let report = checked(last).report;
            let found = &report.diagnostics[0];
            let at = report.source.position(found.span.start);
            assert_eq!((at.line, at.column), column, "{}", found.message);
            assert!(found.message.contains(said), "{}", found.message);
        }
    }

    /// A table of the simplest form, with or without mistakes.
    fn simple() -> impl Strategy<Value = String> {
        let more = prop_oneof![
            Just("via = \"10.0.0.1\"\n".to_owned()),
            Just("interface = \"x\"\n\n# which\n".to_owned()),
            Just("via = \"10.0.0.300\"\n".to_owned()),
            Just("blackhole = \"yes\"\n".to_owned()),
            "[a-z]{2,5}".prop_map(|key| format!("x{key} = \"1\"\n")),
        ];
        ("(10|20)\\.[0-9]\\.0\\.0/(16|8|33)", more, any::<bool>()).prop_map(|(to, more, crlf)| {
            let text = format!("[[route]]\nto = \"{to}\"\n{more}");
            if crlf { text.replace('\n', "\r\n") } else { text }
        })
    }

    fn part() -> impl Strategy<Value = String> {
        const OTHER: [&str; 3] = [
            "[[route]]\nto = \"10.9.0.0/16\"\nvia = [\"10.0.0.1\", \"10.0.0.2\"]\n",
            "[[route]]\nto = \"10.8.0.0/16\"\n[[route.next_hops]]\nvia = \"10.0.0.1\"\n",
            "[[neighbor]]\naddress = \"10.0.0.1\"\n",
        ];
        prop_oneof![6 => simple(), 3 => prop::sample::select(&OTHER[..]).prop_map(str::to_owned)]
    }

    proptest! {
        /// Whatever is between the tables and in them: what is read, and where it stands, is what the parser reads.
        #[test]
        fn the_parser_reads_the_same(parts in prop::collection::vec(part(), 0..30)) {
            let [(ours, said), (theirs, wanted)] = both(&parts.concat());
            prop_assert_eq!(ours, theirs);
            prop_assert_eq!(said.diagnostics, wanted.diagnostics);
        }
    }
}
