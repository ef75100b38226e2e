//! Diagnostics as text and as JSON.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{Diagnostic, Severity, Source, Span};

/// Whether escape sequences for colour are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Style {
    /// Plain text.
    #[default]
    Plain,
    /// ANSI colours.
    Colour,
}

/// What a file's check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    pub source: Source,
    /// Errors and warnings in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Sorts by place in the file, errors before warnings at the same place; the same mistake found twice is told once.
    pub fn new(source: Source, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by(|a, b| (a.span, a.severity, &a.message).cmp(&(b.span, b.severity, &b.message)));
        diagnostics.dedup();
        Self { source, diagnostics }
    }

    /// How many errors.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.is_error()).count()
    }

    /// How many warnings.
    pub fn warnings(&self) -> usize {
        self.diagnostics.len() - self.errors()
    }

    /// The report for people, ending in a line with the count. Empty if there is nothing to say.
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut out, style);
        out
    }

    fn write_text(&self, out: &mut String, style: Style) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            self.write_one(out, diagnostic, style)?;
            out.push('\n');
        }
        match (self.errors(), self.warnings()) {
            (0, 0) => Ok(()),
            (errors, 0) => writeln!(out, "{}: {}", self.source.name(), count(errors, "error")),
            (0, warnings) => writeln!(out, "{}: {}", self.source.name(), count(warnings, "warning")),
            (errors, warnings) => {
                writeln!(out, "{}: {}, {}", self.source.name(), count(errors, "error"), count(warnings, "warning"))
            }
        }
    }

    fn write_one(&self, out: &mut String, diagnostic: &Diagnostic, style: Style) -> fmt::Result {
        let Paint { bold, blue, reset, .. } = Paint::of(style);
        let hue = Paint::of(style).severity(diagnostic.severity);
        let at = self.source.position(diagnostic.span.start);
        let word = diagnostic.severity.as_str();
        let (line, column, name, message) = (at.line, at.column, self.source.name(), &diagnostic.message);
        writeln!(out, "{bold}{name}:{line}:{column}: {hue}{word}{reset}{bold}: {message}{reset}")?;
        let gutter = " ".repeat(digits(line, diagnostic.related.as_ref().map(|(span, _)| self.line_of(*span))));
        self.write_excerpt(out, diagnostic.span, '^', hue, &gutter, style)?;
        if let Some((span, note)) = &diagnostic.related {
            let at = self.source.position(span.start);
            writeln!(out, "{gutter}{blue}-->{reset} {name}:{}:{}: {note}", at.line, at.column)?;
            self.write_excerpt(out, *span, '-', blue, &gutter, style)?;
        }
        for help in &diagnostic.help {
            writeln!(out, "{gutter} {blue}={reset} {bold}help{reset}: {help}")?;
        }
        Ok(())
    }

    fn write_excerpt(
        &self,
        out: &mut String,
        span: Span,
        mark: char,
        hue: &str,
        gutter: &str,
        style: Style,
    ) -> fmt::Result {
        if self.source.text().is_empty() {
            return Ok(());
        }
        let Paint { blue, reset, .. } = Paint::of(style);
        let at = self.source.position(span.start);
        // A tab is shown as one space, so that the mark below stands where it should.
        let text: String = self.source.line(at.line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let room = text.chars().count().saturating_sub(at.column - 1).max(1);
        let marks = self.source.slice(span).chars().take_while(|c| *c != '\n').count().clamp(1, room);
        let width = gutter.len();
        writeln!(out, "{gutter} {blue}|{reset}")?;
        writeln!(out, "{blue}{:>width$} |{reset} {}", at.line, text.trim_end())?;
        let indent = " ".repeat(at.column - 1);
        writeln!(out, "{gutter} {blue}|{reset} {indent}{hue}{}{reset}", mark.to_string().repeat(marks))
    }

    fn line_of(&self, span: Span) -> usize {
        self.source.position(span.start).line
    }

    /// The report for programs.
    pub fn json(&self) -> impl Serialize + use<> {
        let place = |span: Span| {
            let (start, end) = (self.source.position(span.start), self.source.position(span.end));
            (start.line, start.column, end.line, end.column)
        };
        let diagnostics = self.diagnostics.iter().map(|d| {
            let (line, column, end_line, end_column) = place(d.span);
            JsonDiagnostic {
                severity: d.severity.as_str(),
                code: d.code.as_str(),
                line,
                column,
                end_line,
                end_column,
                message: d.message.clone(),
                text: self.source.slice(d.span).to_owned(),
                help: d.help.clone(),
                related: d.related.as_ref().map(|(span, note)| {
                    let (line, column, ..) = place(*span);
                    JsonRelated { line, column, message: note.clone() }
                }),
            }
        });
        JsonReport {
            file: self.source.name().to_owned(),
            ok: self.errors() == 0,
            errors: self.errors(),
            warnings: self.warnings(),
            diagnostics: diagnostics.collect(),
        }
    }
}

#[derive(Serialize)]
struct JsonReport {
    file: String,
    ok: bool,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<JsonDiagnostic>,
}

#[derive(Serialize)]
struct JsonDiagnostic {
    severity: &'static str,
    code: &'static str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    message: String,
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    help: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<JsonRelated>,
}

#[derive(Serialize)]
struct JsonRelated {
    line: usize,
    column: usize,
    message: String,
}

struct Paint {
    bold: &'static str,
    red: &'static str,
    yellow: &'static str,
    blue: &'static str,
    reset: &'static str,
}

impl Paint {
    const fn of(style: Style) -> Self {
        match style {
            Style::Plain => Self { bold: "", red: "", yellow: "", blue: "", reset: "" },
            Style::Colour => {
                Self { bold: "\x1b[1m", red: "\x1b[31m", yellow: "\x1b[33m", blue: "\x1b[34m", reset: "\x1b[0m" }
            }
        }
    }

    const fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Error => self.red,
            Severity::Warning => self.yellow,
        }
    }
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn digits(line: usize, other: Option<usize>) -> usize {
    line.max(other.unwrap_or(0)).to_string().len()
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    fn report() -> Report {
        let source = Source::new("g.toml", "a = 1\n\tb = \"ä\" # x\n");
        let twice = Diagnostic::error(Code::Duplicate, Span { start: 11, end: 15 }, "`b` is bad")
            .related(Span { start: 0, end: 1 }, "first here")
            .help("write 2");
        Report::new(
            source,
            vec![twice.clone(), Diagnostic::warning(Code::Unused, Span { start: 0, end: 1 }, "odd"), twice],
        )
    }

    #[test]
    fn text_points_at_the_place() {
        let expected = "\
g.toml:1:1: warning: odd
  |
1 | a = 1
  | ^

g.toml:2:6: error: `b` is bad
  |
2 |  b = \"ä\" # x
  |      ^^^
 --> g.toml:1:1: first here
  |
1 | a = 1
  | -
  = help: write 2

g.toml: 1 error, 1 warning
";
        assert_eq!(report().text(Style::Plain), expected);
    }

    #[test]
    fn colour_is_only_written_when_asked_for() {
        assert!(!report().text(Style::Plain).contains('\x1b'));
        assert!(report().text(Style::Colour).contains("\x1b[31merror"));
    }

    #[test]
    fn json_has_both_ends() {
        let json = serde_json::to_value(report().json()).expect("serializable");
        assert_eq!(json["ok"], false);
        assert_eq!(json["diagnostics"][1]["line"], 2);
        assert_eq!(json["diagnostics"][1]["column"], 6);
        assert_eq!(json["diagnostics"][1]["end_column"], 9);
        assert_eq!(json["diagnostics"][1]["related"]["line"], 1);
    }
}
