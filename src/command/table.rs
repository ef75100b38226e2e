//! Tables of text.

use std::fmt::Write as _;

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
        rows.iter().all(|row| row.get(column).is_some_and(|cell| cell == "-" || cell.parse::<f64>().is_ok()))
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
}
