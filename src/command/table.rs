//! Tables of text.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use ratatui::crossterm::terminal;

/// Characters per line below which text is not cut.
const LEAST: usize = 16;

/// A [`grid`] below something else: an empty line, then the table. Nothing if there is no row.
pub(super) fn section(out: &mut String, header: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    if !rows.is_empty() {
        out.push('\n');
    }
    grid(out, header, rows)
}

/// Columns as wide as they need to be, numbers to the right. Nothing if there is no row.
pub(super) fn grid(out: &mut String, header: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let numeric = |column: usize| {
        rows.iter().all(|row| {
            row.get(column).is_some_and(|cell| cell.is_empty() || cell == "-" || cell.parse::<f64>().is_ok())
        })
    };
    let right: Vec<bool> = (0..header.len()).map(numeric).collect();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if right[column] { write!(line, "{cell:>width$}  ")? } else { write!(line, "{cell:<width$}  ")? }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Columns of the terminal that standard output is, if it is one.
pub(super) fn width() -> Option<usize> {
    let size = std::io::stdout().is_terminal().then(terminal::size)?.ok()?;
    Some(usize::from(size.0))
}

/// Rows whose last cells, of text, are cut between words so that a [`grid`] of them is no wider than `width`; as they are if that
/// leaves little room.
pub(super) fn within(width: Option<usize>, header: &[&str], rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let last = header.len() - 1;
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0) + 2
    };
    let before: usize = (0..last).map(widest).sum();
    let Some(room) = width.and_then(|width| width.checked_sub(before)).filter(|room| *room >= LEAST) else {
        return rows;
    };
    let mut cut = Vec::new();
    for mut row in rows {
        let text = row.pop().unwrap_or_default();
        for line in lines(&text, room) {
            let mut cells = std::mem::replace(&mut row, vec![String::new(); last]);
            cells.push(line);
            cut.push(cells);
        }
    }
    cut
}

/// Text in lines of at most `room` characters; a longer word has a line of its own.
fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= room => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_and_numbers_stand_to_the_right() {
        let rows = [vec!["lan".to_owned(), "7".to_owned()], vec!["upstream".to_owned(), "-".to_owned()]];
        let mut out = String::new();
        grid(&mut out, &["PORT", "RX PPS"], &rows).expect("a string takes all");
        assert_eq!(out, "PORT      RX PPS\nlan            7\nupstream       -\n");
    }
    #[test]
    fn text_is_cut_between_words_where_the_terminal_ends() {
        let header = ["REASON", "PACKETS", "MEANING"];
        let row = |reason: &str, packets: &str, meaning: &str| vec![reason.into(), packets.into(), meaning.into()];
        let rows =
            vec![row("tx_full", "7", "The queue was full: the link is slow."), row("no_route", "12", "No route.")];
        let mut out = String::new();
        grid(&mut out, &header, &within(Some(40), &header, rows.clone())).expect("a string takes all");
        let expected = "REASON    PACKETS  MEANING\ntx_full         7  The queue was full:\n                   the link is slow.\n\
            no_route       12  No route.\n";
        assert_eq!(out, expected);
        for width in [None, Some(30), Some(200)] {
            assert_eq!(within(width, &header, rows.clone()), rows);
        }
        assert_eq!(lines("unbreakable words", 4), ["unbreakable", "words"]);
        assert_eq!(lines("", 4), [""]);
    }
}
