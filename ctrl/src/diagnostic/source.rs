//! The text of a file and where its lines begin.

use std::sync::OnceLock;

use super::Span;

/// A place as people and editors count it: both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A file's name and text.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Offset of the first byte of each line; found when a place is asked for, which in a file without mistakes is never.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// `name` is what a report shows before the line number.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), lines: OnceLock::new() }
    }

    fn lines(&self) -> &[usize] {
        let begin = || std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.lines.get_or_init(begin)
    }

    /// The name given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a byte offset is. An offset beyond the end, or inside a character, counts as the place before it.
    pub fn position(&self, offset: usize) -> Position {
        let offset = floor_char(&self.text, offset);
        let line = self.lines().partition_point(|&start| start <= offset).saturating_sub(1);
        let start = self.lines().get(line).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        Position { line: line + 1, column: column + 1 }
    }

    /// The text of a line (from 1) without its line end.
    pub fn line(&self, line: usize) -> &str {
        let Some(&start) = self.lines().get(line.wrapping_sub(1)) else { return "" };
        let end = self.lines().get(line).map_or(self.text.len(), |next| next - 1);
        self.text.get(start..end).unwrap_or("").trim_end_matches('\r')
    }

    /// The text of a span; empty if the span is not of this file.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(floor_char(&self.text, span.start)..floor_char(&self.text, span.end)).unwrap_or("")
    }
}

fn floor_char(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("a", "x\nä = 1\r\nlast");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(2), Position { line: 2, column: 1 });
        // Offset 3 is inside `ä`.
        assert_eq!(source.position(3), Position { line: 2, column: 1 });
        assert_eq!(source.position(4), Position { line: 2, column: 2 });
        assert_eq!(source.position(999), Position { line: 3, column: 5 });
        assert_eq!(source.line(2), "ä = 1");
        assert_eq!(source.line(3), "last");
        assert_eq!(source.line(4), "");
    }

    #[test]
    fn an_empty_text_has_one_line() {
        let source = Source::new("a", "");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.line(1), "");
    }
}
