//! Several records in one table: what was to be reached, what was, and by whom it was missed.

use std::fmt::{self, Write as _};

use super::{
    html,
    judge::{Record, Row},
    text::{WEAKLY_MET, number},
};

/// As Markdown. A record comes with its name.
pub(crate) fn text(records: &[(String, Record)]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut text, records);
    text
}

fn write_text(out: &mut String, records: &[(String, Record)]) -> fmt::Result {
    for (place, names) in places(records) {
        writeln!(out, "- {place}: {}", names.join(", "))?;
    }
    writeln!(out)?;
    writeln!(out, "| scenario | case | metric | tidegate | compared | bar | |\n|---|---|---|---:|---|---|---|")?;
    for (name, row) in judged(records) {
        let (case, metric, unit, met) = (&row.case, &row.metric, &row.unit, row.verdict());
        let bar = row.bar.as_deref().unwrap_or_default();
        writeln!(out, "| {name} | {case} | {metric}, {unit} | {} | {} | {bar} | {met} |", own(row), compared(row))?;
    }
    let failures: usize = records.iter().map(|(_, record)| record.failures.len()).sum();
    let count = |verdict: &str| judged(records).filter(|(_, row)| row.verdict() == verdict).count();
    let (met, weak, all) = (count("met"), count(WEAKLY_MET), judged(records).count());
    writeln!(out, "\n{met} of {all} bars are met, and {weak} {WEAKLY_MET}; {failures} runs failed or had errors.")
}

/// Where and at which revision each record was made: records that lie together need not have been made together.
fn places(records: &[(String, Record)]) -> Vec<(String, Vec<&str>)> {
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, record) in records {
        let place = record.machine.setting();
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, names)) => names.push(name),
            None => places.push((place, vec![name])),
        }
    }
    places
}

/// A page that leads to those of the records.
pub(crate) fn page(records: &[(String, Record)]) -> String {
    let mut body = String::from("<h1>Benchmarks</h1>");
    for (place, names) in places(records) {
        let _ = write!(body, "<p>{}: {}</p>", html::escape(&place), html::escape(&names.join(", ")));
    }
    body.push_str(
        "<div class=\"wide\"><table><thead><tr><th>scenario</th><th>case</th><th>metric</th><th>tidegate</th>",
    );
    body.push_str("<th>compared</th><th>bar</th><th></th></tr></thead><tbody>\n");
    for (name, row) in judged(records) {
        let text = [row.case.clone(), format!("{}, {}", row.metric, row.unit), own(row), compared(row)];
        let cells: String = text.iter().map(|cell| format!("<td>{}</td>", html::escape(cell))).collect();
        let bar = html::escape(row.bar.as_deref().unwrap_or_default());
        let _ = writeln!(body, "<tr><td>{}</td>{cells}<td>{bar}</td>{}</tr>", html::escape(name), html::verdict(row));
    }
    body.push_str("</tbody></table></div>\n<ul>");
    for (name, record) in records {
        let (name, title) = (html::escape(name), html::escape(&record.title));
        let _ = write!(body, "<li><a href=\"{name}.html\">{name}</a>: {title}</li>");
    }
    body.push_str("</ul>");
    html::document("Benchmarks", &body)
}

/// Rows with a bar.
fn judged(records: &[(String, Record)]) -> impl Iterator<Item = (&str, &Row)> {
    let rows = records.iter().flat_map(|(name, record)| record.rows.iter().map(move |row| (name.as_str(), row)));
    rows.filter(|(_, row)| row.bar.is_some())
}

fn own(row: &Row) -> String {
    row.product.map_or_else(|| "–".to_owned(), |spread| number(spread.median))
}

/// `2.10 × nginx, 1.95 × haproxy`.
fn compared(row: &Row) -> String {
    row.ratio.iter().map(|(peer, ratio)| format!("{ratio:.2} × {peer}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample::parse;

    const SAMPLES: &str = r#"{"scenario":"http","title":"T","port":"af_xdp","command":"c","machine":{"machine":"M","processors":2,"counter_mhz":1,"kernel":"k","revision":"r","date":"d","command":"x"},"programs":[{"name":"tidegate","version":"1"},{"name":"nginx","version":"2"}],"bars":[{"case":"1KiB","metric":"rate","whom":{"peer":"nginx"},"at_least":true,"value":2.0}]}
{"round":1,"program":"tidegate","case":"1KiB","probe_ms":[1,1],"metrics":[{"metric":"rate","unit":"requests/s","value":30,"better":"higher"},{"metric":"p50","unit":"us","value":3,"better":"lower"}],"latency":null,"errors":0}
{"round":1,"program":"nginx","case":"1KiB","probe_ms":[1,1],"metrics":[{"metric":"rate","unit":"requests/s","value":20,"better":"higher"}],"latency":null,"errors":0}
{"round":2,"program":"nginx","case":"1KiB","probe_ms":[1,1],"metrics":[{"metric":"rate","unit":"requests/s","value":20,"better":"higher"}],"latency":null,"errors":1}
"#;

    #[test]
    fn what_was_to_be_reached_is_in_one_table() {
        let (head, samples) = parse(SAMPLES).unwrap();
        let json = serde_json::to_string(&Record::of(head, &samples)).unwrap();
        let records = [("http-af_xdp".to_owned(), serde_json::from_str(&json).unwrap())];
        let table = text(&records);
        let wanted = "| http-af_xdp | 1KiB | rate, requests/s | 30 | 1.50 × nginx | ≥ 2 × nginx | **missed** |\n\n0 of 1 bars are met, \
                      and 0 met, in too few rounds for a claim; 1 runs failed";
        assert!(
            table.starts_with("- M, 2 processors, counter at 1 MHz; Linux k; revision r: http-af_xdp\n\n"),
            "{table}"
        );
        assert!(table.contains(wanted), "{table}");
        assert!(!table.contains("p50"), "{table}");
        let page = page(&records);
        assert!(page.contains("href=\"http-af_xdp.html\"") && page.contains("missed</td>"), "{page}");
    }
}
