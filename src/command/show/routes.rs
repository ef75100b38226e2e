//! Prefixes and their ways: read line by line as they come, so that a million of them pass through here and do not stay.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;

use clap::ValueEnum as _;
use tidegate_ctrl::admin::client::stream;
use tidegate_ctrl::admin::show::{More, Route};

use super::{CLEAR, parameter, refusal};
use crate::cli::show::Routes;
use crate::command::{fail, table::grid};

/// Rows of a table that are aligned with each other; all of them unless they are many.
const TOGETHER: usize = 2000;

pub(super) fn show(args: &Routes) -> ExitCode {
    let path = path(args);
    loop {
        let mut printer = Printer::new(args);
        let outcome = stream(&args.view.at.socket, &path, |piece| printer.take(piece));
        match outcome {
            Err(error) => return fail(&error),
            Ok(200) => {}
            Ok(status) => return fail(&refusal(&String::from_utf8_lossy(&printer.rest), status)),
        }
        if let Err(error) = printer.end() {
            return if error.kind() == std::io::ErrorKind::BrokenPipe {
                ExitCode::SUCCESS
            } else {
                fail(&format_args!("cannot write to standard output: {error}"))
            };
        }
        match args.view.watch {
            Some(interval) => thread::sleep(interval.0),
            None => return ExitCode::SUCCESS,
        }
    }
}

fn path(args: &Routes) -> String {
    let source = args.source.and_then(|source| source.to_possible_value());
    let wanted = [
        args.to.as_ref().map(|to| parameter("to", to)),
        args.exact.as_ref().map(|to| parameter("exact", to)),
        args.longest.map(|address| parameter("longest", &address.to_string())),
        args.interface.as_ref().map(|name| parameter("interface", name)),
        args.via.map(|address| parameter("via", &address.to_string())),
        source.map(|source| parameter("source", source.get_name())),
        (args.limit > 0).then(|| parameter("limit", &args.limit.to_string())),
    ];
    format!("/show/routes?{}", wanted.into_iter().flatten().collect::<Vec<_>>().join("&"))
}

/// Prints lines as they come.
struct Printer<'a> {
    args: &'a Routes,
    /// What has come of the next line.
    rest: Vec<u8>,
    rows: Vec<Vec<String>>,
    printed: bool,
    json_rows: u64,
    more: Option<More>,
    error: Option<std::io::Error>,
}

impl<'a> Printer<'a> {
    fn new(args: &'a Routes) -> Self {
        Self { args, rest: Vec::new(), rows: Vec::new(), printed: false, json_rows: 0, more: None, error: None }
    }

    /// Takes a piece of the answer; false when there is nobody to print it for.
    fn take(&mut self, piece: &[u8]) -> bool {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if self.rest.last() != Some(&b'\n') {
                continue;
            }
            let line = std::mem::take(&mut self.rest);
            if let Err(error) = self.line(&line) {
                self.error = Some(error);
                return false;
            }
        }
        true
    }

    fn line(&mut self, line: &[u8]) -> std::io::Result<()> {
        if let Ok(more) = serde_json::from_slice::<More>(line) {
            self.more = Some(more);
            return Ok(());
        }
        if self.args.view.json {
            let mut out = std::io::stdout().lock();
            out.write_all(if self.json_rows == 0 { b"{\"routes\":[\n" } else { b",\n" })?;
            self.json_rows += 1;
            return out.write_all(line.trim_ascii_end());
        }
        let Ok(route) = serde_json::from_slice::<Route>(line) else { return Ok(()) };
        let dash = || "-".to_owned();
        let Route { to, source, action, via, interface, hops } = route;
        let mut shared = [to, source, action];
        if hops.is_empty() {
            let [to, source, action] = std::mem::take(&mut shared);
            self.rows.push(vec![to, source, action, via.unwrap_or_else(dash), interface.unwrap_or_else(dash)]);
        }
        // A row for each next hop; what they share stands in the first.
        for hop in hops {
            let [to, source, action] = std::mem::take(&mut shared);
            let via = hop.via.unwrap_or_else(dash);
            self.rows.push(vec![to, source, action, format!("{via} weight {}", hop.weight), hop.interface]);
        }
        if self.rows.len() >= TOGETHER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = grid(&mut text, &["TO", "FROM", "ACTION", "VIA", "INTERFACE"], &self.rows);
        self.rows.clear();
        let mut out = std::io::stdout().lock();
        if !self.printed && self.args.view.watch.is_some() && std::io::IsTerminal::is_terminal(&out) {
            out.write_all(CLEAR.as_bytes())?;
        }
        self.printed = true;
        out.write_all(text.as_bytes())
    }

    /// What stands below the last row.
    fn end(mut self) -> std::io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Some(More { shown, more }) = self.more else {
            return Err(std::io::Error::other("the gateway broke off in the middle of its answer"));
        };
        let mut text = String::new();
        if self.args.view.json {
            let begin = if self.json_rows == 0 { "{\"routes\":[" } else { "\n" };
            let _ = writeln!(text, "{begin}],\"shown\":{shown},\"more\":{more}}}");
        } else {
            self.flush()?;
            if shown == 0 {
                text.push_str("no route\n");
            } else if more > 0 {
                let _ = writeln!(text, "{more} more; --limit 0 shows all, --to and the other filters fewer");
            }
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
