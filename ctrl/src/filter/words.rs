//! A filter's text in words, each with its place.

/// A word, a bracket or an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) at: (usize, usize),
}

/// Cuts a text into words: brackets and `!` stand for themselves, `&&` and `||` too; everything else ends at a space.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = 0;
    while let Some(from) = text[rest..].find(|c: char| !c.is_whitespace()).map(|skip| rest + skip) {
        let tail = &text[from..];
        let length = match tail.as_bytes()[0] {
            b'(' | b')' | b'!' => 1,
            _ if tail.starts_with("&&") || tail.starts_with("||") => 2,
            _ => tail.find(|c: char| c.is_whitespace() || "()!&|".contains(c)).unwrap_or(tail.len()).max(1),
        };
        words.push(Word { text: &tail[..length], at: (from, from + length) });
        rest = from + length;
    }
    words
}
