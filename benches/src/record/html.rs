//! A record as one self-contained page: tables and latency curves, no scripts, nothing from elsewhere, light and dark.

use std::fmt::{self, Write as _};

use super::{
    curve::{self, Line},
    judge::{Record, Rounds, Row, Spread},
    sample::{PRODUCT, Sample},
    text::number,
};
use crate::latency;

/// The page. `samples` are those the record was made from.
pub(crate) fn page(record: &Record, samples: &[Sample]) -> String {
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut body, record, samples);
    document(&title(record), &body)
}

fn title(record: &Record) -> String {
    format!("{}: {}", record.scenario, record.title)
}

/// A whole page round a body that is HTML already.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style></head>\n<body>{body}</body></html>\n",
        escape(title)
    )
}

fn write_page(out: &mut String, record: &Record, samples: &[Sample]) -> fmt::Result {
    write!(
        out,
        "<h1>{}</h1>\n<p><code>{}</code></p>\n<p>{}<br>port {}; {} rounds, interleaved</p>\n<ul class=\"key\">",
        escape(&title(record)),
        escape(&record.command),
        escape(&record.machine.line()),
        escape(&record.port),
        record.rounds
    )?;
    for (number, program) in record.programs.iter().enumerate() {
        write!(out, "<li class=\"c{number}\"><b>{}</b> {}</li>", escape(&program.name), escape(&program.version))?;
    }
    out.push_str("</ul>\n");
    table(out, record)?;
    for (title, incidents) in [("Failed", &record.failures), ("Not measured", &record.skipped)] {
        if !incidents.is_empty() {
            write!(out, "<h2>{title}</h2><ul>")?;
            for incident in incidents {
                let (case, program, why) = (escape(&incident.case), escape(&incident.program), escape(&incident.why));
                write!(out, "<li>{program}, {case}, round {}: {why}</li>", incident.round)?;
            }
            out.push_str("</ul>\n");
        }
    }
    for remark in record.remarks() {
        writeln!(out, "<p>{}</p>", escape(&remark.replace('\\', "")))?;
    }
    curves(out, record, samples)
}

fn table(out: &mut String, record: &Record) -> fmt::Result {
    let peers = record.peers();
    write!(out, "<div class=\"wide\"><table><thead><tr><th>case</th><th>metric</th><th>{PRODUCT}</th>")?;
    for peer in &peers {
        write!(out, "<th>{0}</th><th>÷ {0}</th>", escape(peer))?;
    }
    out.push_str("<th>bar</th><th></th></tr></thead><tbody>\n");
    let mut before = "";
    for row in &record.rows {
        let first = row.case != before;
        before = &row.case;
        let star = if first && !row.slow_rounds.is_empty() { "*" } else { "" };
        write!(
            out,
            "<tr{}><td>{}{star}</td><td>{}, {}</td>{}",
            if first { " class=\"first\"" } else { "" },
            if first { escape(&row.case) } else { String::new() },
            escape(&row.metric),
            escape(&row.unit),
            cell(row.product.as_ref())
        )?;
        for peer in &peers {
            let ratio = row.ratio.get(*peer).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            write!(out, "{}<td>{ratio}</td>", cell(row.peers.get(*peer)))?;
        }
        writeln!(out, "<td>{}</td>{}</tr>", escape(row.bar.as_deref().unwrap_or("")), verdict(row))?;
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

fn cell(spread: Option<&Spread>) -> String {
    let Some(Spread { median, min, max }) = spread else { return "<td>–</td>".to_owned() };
    format!("<td>{} <small>{}–{}</small></td>", number(*median), number(*min), number(*max))
}

/// What became of a bar, as a cell.
pub(crate) fn verdict(row: &Row) -> String {
    let class = match row.met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "unknown",
    };
    format!("<td class=\"{class}\">{}</td>", row.verdict().replace('*', ""))
}

/// A drawing per case: what the rounds that count have recorded, added up.
fn curves(out: &mut String, record: &Record, samples: &[Sample]) -> fmt::Result {
    let rounds = Rounds::of(samples);
    let mut cases: Vec<_> = record.rows.iter().map(|row| row.case.as_str()).collect();
    cases.dedup();
    for case in cases {
        let counted = rounds.counted(case);
        let line = |(number, name): (usize, &str)| -> Line {
            let mut all = latency::empty();
            for sample in counted.iter().filter(|sample| sample.program == name) {
                let text = sample.measured().and_then(|measured| measured.latency.as_deref());
                if let Some(histogram) = text.and_then(latency::decode) {
                    // Bounds differ only if another program recorded it; what does not fit is not drawn.
                    let _ = all.add(&histogram);
                }
            }
            (escape(name), number, all)
        };
        let names = record.programs.iter().map(|program| program.name.as_str()).enumerate();
        let svg = curve::svg(&names.map(line).collect::<Vec<_>>());
        if !svg.is_empty() {
            writeln!(out, "<h2>{}: latency</h2>\n{svg}", escape(case))?;
        }
    }
    Ok(())
}

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Colours that differ in lightness as well, so that they can be told apart by anyone and on paper.
const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1a1d21;--paper:#fff;--faint:#d5d9de;--soft:#6a727c;--good:#17713a;--bad:#b3261e;\
--c0:#0b57d0;--c1:#c2410c;--c2:#0f766e;--c3:#9333ea;--c4:#a16207;--c5:#be185d}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--paper:#15181c;--faint:#363c44;--soft:#9aa3ad;--good:#6bd08f;--bad:#ff8a80;\
--c0:#8ab4ff;--c1:#ffb077;--c2:#5eead4;--c3:#d0a5ff;--c4:#fcd34d;--c5:#f9a8d4}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:75rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}code{overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.2rem .6rem;text-align:right}th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
th{border-bottom:2px solid var(--faint)}tr.first td{border-top:1px solid var(--faint)}
small{color:var(--soft)}.met{color:var(--good)}.missed{color:var(--bad);font-weight:600}.unknown{color:var(--soft)}
.key{list-style:none;padding:0}.key li::before{content:'\\25A0';margin-right:.4rem}
.key .c0::before{color:var(--c0)}.key .c1::before{color:var(--c1)}.key .c2::before{color:var(--c2)}
.key .c3::before{color:var(--c3)}.key .c4::before{color:var(--c4)}.key .c5::before{color:var(--c5)}
svg{max-width:100%;height:auto;font:11px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--faint);stroke-width:1}.line{fill:none;stroke-width:2}
.line.c0{stroke:var(--c0);stroke-width:3}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}
.line.c3{stroke:var(--c3)}.line.c4{stroke:var(--c4)}.line.c5{stroke:var(--c5)}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample::parse;

    #[test]
    fn a_page_stands_alone_and_shows_hostile_names_as_text() {
        let mut histogram = latency::empty();
        (1..=100u64).for_each(|n| histogram.saturating_record(n * 1000));
        let text = latency::encode(&histogram);
        let head = r#"{"scenario":"http","title":"a <b> & c","port":"tap","command":"x","machine":{},
            "programs":[{"name":"tidegate","version":"<script>"}],"bars":[]}"#
            .replace('\n', "")
            .replace("{}", &serde_json::to_string(&crate::place::Place::default()).unwrap());
        let line = format!(
            r#"{{"round":1,"program":"tidegate","case":"1k","probe_ms":[1,1],"metrics":[{{"metric":"rate","unit":"1/s","value":5,"better":"higher"}}],"latency":"{text}","errors":0}}"#
        );
        let (head, samples) = parse(&format!("{head}\n{line}\n")).unwrap();
        let page = page(&Record::of(head, &samples), &samples);
        assert!(page.contains("a &lt;b&gt; &amp; c") && page.contains("&lt;script&gt;"));
        assert_eq!(page.matches("<polyline").count(), 1);
        for foreign in ["<script", "http://", "https://", "url(", "@import", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
