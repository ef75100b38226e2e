//! Lines of text with a tone, and tables of them.

use std::iter;
use std::ops::Range;
use std::rc::Rc;

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
    /// Where the cells of a table's line are, in characters; empty for other text.
    pub(super) cells: Rc<[Range<usize>]>,
}

impl Line {
    /// What a window of `width` columns shows of it from the column `skip` on. Of a table whole cells only: a number without its last
    /// digits is another number. A `>` at the edge, for a table in its head, says that there is more.
    pub(super) fn window(&self, skip: usize, width: usize) -> String {
        let all = self.cells.last().map_or_else(|| self.text.chars().count(), |cell| cell.end);
        let more = all > skip + width;
        let edge = (skip + width).saturating_sub(more.into());
        // One that fits no window is cut, since it would never be seen.
        let is_cut = |cell: &Range<usize>| cell.len() < width && (cell.start < skip || cell.end > edge);
        let hidden = |at: usize| self.cells.iter().any(|cell| cell.contains(&at) && is_cut(cell));
        let text = self.text.chars().enumerate().take(edge).skip(skip);
        let mut shown: String = text.map(|(at, letter)| if hidden(at) { ' ' } else { letter }).collect();
        if more && width > 0 && (self.tone == Tone::Head || self.cells.is_empty()) {
            let room = width - 1;
            shown = format!("{shown:<room$}>");
        }
        shown
    }
}

/// A line as it should be.
pub(super) fn line(text: impl Into<String>) -> Line {
    Line { text: text.into(), tone: Tone::Plain, cells: Rc::default() }
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
    let starts = widths.iter().scan(0, |next, width| Some(std::mem::replace(next, *next + width + 2)));
    let places: Rc<[Range<usize>]> = starts.zip(&widths).map(|(start, width)| start..start + width).collect();
    let line = |(cells, tone): (&[String], Tone)| Line { text: text(cells), tone, cells: Rc::clone(&places) };
    let rows = rows.iter().map(|(cells, tone)| (cells.as_slice(), *tone));
    iter::once((names.as_slice(), Tone::Head)).chain(rows).map(line).collect()
}
