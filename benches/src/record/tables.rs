//! What a question about memory ports prints with `--json`, as the line that every measuring program prints.

use serde::Deserialize;

use super::{
    sample::{Better, Measured},
    tools::metric,
};

/// As much of a report as is needed; see [`crate::report`].
#[derive(Deserialize)]
struct Report {
    tables: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    title: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    case: String,
    figures: Vec<(String, Figure)>,
}

#[derive(Deserialize)]
struct Figure {
    unit: String,
    median: f64,
}

/// All figures of all reports in `said`, named after row and column; not the split by stage.
///
/// # Errors
/// It is not what a question prints.
pub(crate) fn line(said: &str) -> Result<Measured, serde_json::Error> {
    let mut metrics = Vec::new();
    for report in serde_json::Deserializer::from_str(said).into_iter::<Report>() {
        // Shares of stages are looked at, not compared: `l3` alone has hundreds.
        let whole = |table: &&Table| !table.title.contains("by stage");
        for row in report?.tables.iter().filter(whole).flat_map(|table| &table.rows) {
            for (column, Figure { unit, median }) in &row.figures {
                let better = if unit.ends_with("/s") { Better::Higher } else { Better::Lower };
                metrics.push(metric(&name(&row.case, column), unit, *median, better));
            }
        }
    }
    Ok(Measured { metrics, ..Measured::default() })
}

/// In one word, because bars are written in words: `IPv4, 1000 routes, 64 B` and `per packet` are `ipv4-1000-routes-64-b:per-packet`.
fn name(row: &str, column: &str) -> String {
    let word = |text: &str| {
        let parts = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
        parts.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
    };
    format!("{}:{}", word(row), word(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Figure, Report, Table};

    #[test]
    fn what_a_question_prints_is_read() {
        let mut report = Report::begin();
        let mut table = Table::new("IP forwarding");
        table.row("IPv4, 1000 routes, 64 B", vec![("per packet", Figure::once("cycles", 98.5))]);
        table.row("**whole turn**", vec![("rate", Figure::once("packets/s", 7.0))]);
        report.add(table);
        report.end();
        let measured = line(&(report.json() + &report.json())).unwrap();
        let said: Vec<_> =
            measured.metrics.iter().map(|metric| (metric.metric.as_str(), metric.value, metric.better)).collect();
        let once =
            [("ipv4-1000-routes-64-b:per-packet", 98.5, Better::Lower), ("whole-turn:rate", 7.0, Better::Higher)];
        assert_eq!(said, [once, once].concat());
        assert!(line("{}").is_err());
    }
}
