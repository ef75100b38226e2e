//! Lines of text with a tone, and tables of them.

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Plain,
    /// Names of columns.
    Head,
    /// Look at it.
    Warn,
    /// Something does not work.
    Bad,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// A line as it should be.
pub(super) fn line(text: impl Into<String>) -> Line {
    Line { text: text.into(), tone: Tone::Plain }
}

/// Columns as wide as they need to be; `>` before a name puts the column to the right.
pub(super) fn grid(columns: &[&str], rows: &[(Vec<String>, Tone)]) -> Vec<Line> {
    let names: Vec<String> = columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|(cells, _)| cells.get(column)).chain([&names[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let text = |cells: &[String]| {
        let cell = |(column, cell): (usize, &String)| {
            let width = widths[column];
            if columns[column].starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        };
        let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let head = Line { text: text(&names), tone: Tone::Head };
    std::iter::once(head).chain(rows.iter().map(|(cells, tone)| Line { text: text(cells), tone: *tone })).collect()
}
