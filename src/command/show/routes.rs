//! Prefixes and their ways: read line by line as they come, so that a million of them pass through here and do not stay.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::thread;

use clap::ValueEnum as _;
use tidegate_ctrl::admin::client::stream;
use tidegate_ctrl::admin::show::{More, Route};
use tidegate_ctrl::config::model::ALL;

use super::{lead, parameter, refusal};
use crate::cli::show::Routes;
use crate::command::{fail, table::grid, written};

/// Rows of a table that are aligned with each other; all of them unless they are many.
const TOGETHER: usize = 2000;
const HEADER: [&str; 6] = ["VRF", "TO", "FROM", "ACTION", "VIA", "INTERFACE"];

pub(super) fn show(args: &Routes) -> ExitCode {
    let path = path(args);
    let mut first = true;
    loop {
        let mut printer = Printer::new(args, lead(&args.view, first), BufWriter::new(io::stdout()));
        let outcome = stream(&args.view.at.socket, &path, |piece| printer.take(piece));
        match outcome {
            Err(error) => return fail(&error),
            Ok(200) => {}
            Ok(status) => return fail(&refusal(&String::from_utf8_lossy(&printer.rest), status)),
        }
        if let Err(error) = printer.end() {
            return written(Err(error));
        }
        first = false;
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
        args.vrf.as_ref().map(|name| parameter("vrf", name)),
        args.interface.as_ref().map(|name| parameter("interface", name)),
        args.via.map(|address| parameter("via", &address.to_string())),
        source.map(|source| parameter("source", source.get_name())),
        (args.limit > 0).then(|| parameter("limit", &args.limit.to_string())),
    ];
    format!("/show/routes?{}", wanted.into_iter().flatten().collect::<Vec<_>>().join("&"))
}

/// Prints lines as they come.
struct Printer<'a, W> {
    args: &'a Routes,
    /// What stands before the first row.
    lead: &'static str,
    /// What has come of the next line.
    rest: Vec<u8>,
    rows: Vec<Vec<String>>,
    json_rows: u64,
    out: W,
    more: Option<More>,
    error: Option<io::Error>,
}

impl<'a, W: Write> Printer<'a, W> {
    fn new(args: &'a Routes, lead: &'static str, out: W) -> Self {
        Self { args, lead, rest: Vec::new(), rows: Vec::new(), json_rows: 0, out, more: None, error: None }
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

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if let Ok(more) = serde_json::from_slice::<More>(line) {
            self.more = Some(more);
            return Ok(());
        }
        if self.args.view.json {
            self.out.write_all(if self.json_rows == 0 { b"{\"routes\":[\n" } else { b",\n" })?;
            self.json_rows += 1;
            return self.out.write_all(line.trim_ascii_end());
        }
        let Ok(route) = serde_json::from_slice::<Route>(line) else { return Ok(()) };
        let dash = || "-".to_owned();
        let Route { vrf, to, source, action, via, interface, hops } = route;
        let mut shared = [vrf, to, source, action];
        let from = HEADER.len() - self.header().len();
        let mut row =
            |way: [String; 2]| self.rows.push(std::mem::take(&mut shared).into_iter().chain(way).skip(from).collect());
        if hops.is_empty() {
            row([via.unwrap_or_else(dash), interface.unwrap_or_else(dash)]);
        }
        // A row for each next hop; what they share stands in the first.
        for hop in hops {
            let via = hop.via.unwrap_or_else(dash);
            let silent = if hop.silent { ", silent" } else { "" };
            row([format!("{via} weight {}{silent}", hop.weight), hop.interface]);
        }
        if self.rows.len() >= TOGETHER { self.flush() } else { Ok(()) }
    }

    /// The columns: the domain is one of several only if all are asked for.
    fn header(&self) -> &'static [&'static str] {
        if self.args.vrf.as_deref() == Some(ALL) { &HEADER } else { &HEADER[1..] }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = grid(&mut text, self.header(), &self.rows);
        self.rows.clear();
        self.out.write_all(std::mem::take(&mut self.lead).as_bytes())?;
        self.out.write_all(text.as_bytes())
    }

    /// What stands below the last row.
    fn end(mut self) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Some(More { shown, more }) = self.more else {
            return Err(io::Error::other("the gateway broke off in the middle of its answer"));
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
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, show::What};

    const ROUTES: &str = r#"{"vrf":"main","to":"10.0.1.0/24","source":"connected","action":"forward","via":null,"interface":"lan"}
{"vrf":"red","to":"10.9.0.0/16","source":"static","action":"spread","via":null,"interface":null,"hops":[{"via":"10.0.1.2","interface":"lan","weight":1},{"via":"10.0.2.2","interface":"wan","weight":3,"silent":true}]}
"#;
    const END: &str = "{\"shown\":2,\"more\":7}\n";

    fn args(more: &[&str]) -> Routes {
        let cli = Cli::parse_from(["tidegate", "show", "routes"].iter().chain(more));
        let Command::Show(show) = cli.command else { panic!("another command") };
        let What::Routes(args) = show.what else { panic!("another part") };
        args
    }

    /// What is printed of an answer that comes in pieces of `size` bytes.
    fn printed(more: &[&str], answer: &str, size: usize) -> io::Result<String> {
        let (args, mut out) = (args(more), Vec::new());
        let mut printer = Printer::new(&args, "", &mut out);
        assert!(answer.as_bytes().chunks(size).all(|piece| printer.take(piece)));
        printer.end()?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn several_next_hops_have_a_row_each_and_the_rest_is_counted() {
        let expected = "TO           FROM       ACTION   VIA                        INTERFACE\n\
            10.0.1.0/24  connected  forward  -                          lan\n\
            10.9.0.0/16  static     spread   10.0.1.2 weight 1          lan\n\
            \x20                                10.0.2.2 weight 3, silent  wan\n\
            7 more; --limit 0 shows all, --to and the other filters fewer\n";
        for size in [1, 7, 4096] {
            assert_eq!(printed(&[], &(ROUTES.to_owned() + END), size).expect("all is there"), expected);
        }
        assert_eq!(printed(&[], "{\"shown\":0,\"more\":0}\n", 99).expect("all is there"), "no route\n");
    }

    #[test]
    fn routes_of_all_domains_say_whose_they_are() {
        let expected = "VRF   TO           FROM       ACTION   VIA                        INTERFACE\n\
            main  10.0.1.0/24  connected  forward  -                          lan\n\
            red   10.9.0.0/16  static     spread   10.0.1.2 weight 1          lan\n\
            \x20                                      10.0.2.2 weight 3, silent  wan\n";
        let shown = printed(&["--vrf", "all"], &(ROUTES.to_owned() + "{\"shown\":2,\"more\":0}\n"), 4096);
        assert_eq!(shown.expect("all is there"), expected);
        assert_eq!(path(&args(&["--vrf", "all", "--limit", "0"])), "/show/routes?vrf=all");
    }

    #[test]
    fn json_is_one_document() {
        for (routes, shown) in [(ROUTES, 2), ("", 0)] {
            let text = printed(&["--json"], &format!("{routes}{{\"shown\":{shown},\"more\":7}}\n"), 11);
            let value: serde_json::Value = serde_json::from_str(&text.expect("all is there")).expect("a document");
            assert_eq!(value["routes"].as_array().map(Vec::len), Some(shown));
            assert_eq!(value["routes"][1]["vrf"].as_str(), (shown == 2).then_some("red"));
            assert_eq!((&value["shown"], &value["more"]), (&shown.into(), &7.into()));
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_a_failure() {
        let error = printed(&[], ROUTES, 4096).expect_err("no last line");
        assert!(error.to_string().contains("broke off"), "{error}");
    }

    #[test]
    fn many_rows_do_not_wait_for_the_last() {
        let (args, mut out) = (args(&[]), Vec::new());
        let mut printer = Printer::new(&args, "", &mut out);
        let row = format!("{}\n", ROUTES.lines().next().unwrap_or_default());
        assert!((0..TOGETHER).all(|_| printer.take(row.as_bytes())));
        assert!(printer.rows.is_empty() && out.len() > TOGETHER * 40);
    }
}
