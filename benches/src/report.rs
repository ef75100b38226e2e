//! Figures for people (tables of Markdown) and for programs (JSON).

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde::Serialize;

use crate::place::{Place, probe};

/// Writes to standard output. A reader that went away (`| head`) has read what it wanted.
pub(crate) fn print(text: &str) {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("tidegate-bench: cannot write to standard output: {error}");
        }
        _ => {}
    }
}

/// One measured quantity.
#[derive(Clone, Serialize)]
pub(crate) struct Figure {
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    /// Measured once.
    single: bool,
}

impl Figure {
    /// Of one sample per round.
    pub(crate) fn of(unit: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
        let (min, max) = (samples.first().copied(), samples.last().copied());
        Self { unit, median, min: min.unwrap_or_default(), max: max.unwrap_or_default(), single: samples.len() < 2 }
    }

    /// Measured, or counted, once.
    pub(crate) fn once(unit: &'static str, value: f64) -> Self {
        Self { unit, median: value, min: value, max: value, single: true }
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        self.median
    }

    fn text(&self) -> String {
        let decimals = |value: f64| if value.abs() >= 1000.0 || value == value.trunc() { 0 } else { 2 };
        let number = |value: f64| format!("{value:.*}", decimals(value));
        if self.single {
            return number(self.median);
        }
        format!("{} ({}–{})", number(self.median), number(self.min), number(self.max))
    }
}

/// A table: a row per case, a column per quantity.
#[derive(Serialize)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    case: String,
    figures: Vec<(&'static str, Figure)>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// Adds a row. All rows of a table have the same quantities.
    pub(crate) fn row(&mut self, case: impl Into<String>, figures: Vec<(&'static str, Figure)>) {
        self.rows.push(Row { case: case.into(), figures });
    }

    fn text(&self) -> String {
        let mut text = format!("\n### {}\n\n|", self.title);
        let Some(first) = self.rows.first() else { return text };
        text.push_str(" |");
        for (name, figure) in &first.figures {
            let _ = write!(text, " {name}, {} |", figure.unit);
        }
        let _ = write!(text, "\n|---|{}\n", "---|".repeat(first.figures.len()));
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.case);
            for (_, figure) in &row.figures {
                let _ = write!(text, " {} |", figure.text());
            }
            text.push('\n');
        }
        text
    }
}

/// All that a run has to say.
#[derive(Serialize)]
pub(crate) struct Report {
    place: Place,
    /// The fixed piece of work before and after, in milliseconds.
    probe_ms: Vec<f64>,
    tables: Vec<Table>,
}

impl Report {
    /// Before the first measurement.
    pub(crate) fn begin() -> Self {
        Self { place: Place::here(), probe_ms: vec![probe()], tables: Vec::new() }
    }

    /// After the last.
    pub(crate) fn end(&mut self) {
        self.probe_ms.push(probe());
    }

    /// Adds a table.
    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Whether nothing was measured here.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let probes: Vec<_> = self.probe_ms.iter().map(|probe| format!("{probe:.1}")).collect();
        let mut text = format!(
            "{}; probe {} ms. Medians over the rounds (smallest–largest).\n",
            self.place.text(),
            probes.join(" then ")
        );
        self.tables.iter().for_each(|table| text.push_str(&table.text()));
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_its_median_with_the_extremes() {
        let figure = Figure::of("ns", vec![3.0, 1.0, 2000.5]);
        assert_eq!((figure.median(), figure.text().as_str()), (3.0, "3 (1–2000)"));
        assert_eq!(Figure::once("ns", 1.25).text(), "1.25");
        let mut table = Table::new("T");
        table.row("a", vec![("cost", figure)]);
        assert_eq!(table.text(), "\n### T\n\n| | cost, ns |\n|---|---|\n| a | 3 (1–2000) |\n");
    }
}
