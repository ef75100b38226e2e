//! `show`: parts of a running gateway's state.

mod counted; // ports, drops, cores
mod neighbors; // stations on the links
mod policies; // rules that come before the routes
mod routes; // prefixes and their ways

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_ctrl::admin::client::{Method, request};

use super::{fail, print, written};
use crate::cli::show::{Show, View, What};

/// Clears a terminal and puts the cursor at its beginning.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

pub(crate) fn show(args: &Show) -> ExitCode {
    match &args.what {
        What::Ports(args) => again(&args.view, counted::ports(args)),
        What::Neighbors(args) => again(&args.view, |view: &View| neighbors::picture(args, view)),
        What::Routes(args) => routes::show(args),
        What::Policies(args) => again(&args.view, policies::policies(args)),
        What::Drops(args) => again(&args.view, counted::drops(args)),
        What::Cores(args) => again(&args.view, counted::cores(args)),
    }
}

/// Shows a picture once, or again and again.
fn again(view: &View, mut picture: impl FnMut(&View) -> Result<String, String>) -> ExitCode {
    let Some(interval) = view.watch else {
        return match picture(view) {
            Ok(text) => print(&text),
            Err(trouble) => fail(&trouble),
        };
    };
    for first in std::iter::once(true).chain(std::iter::repeat(false)) {
        let text = match picture(view) {
            Ok(text) => text,
            Err(trouble) => return fail(&trouble),
        };
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all((lead(view, first).to_owned() + &text).as_bytes()).and_then(|()| out.flush())
        {
            return written(Err(error));
        }
        thread::sleep(interval.0);
    }
    ExitCode::SUCCESS
}

/// What stands before a picture: a terminal shows one at a time, elsewhere an empty line parts them.
fn lead(view: &View, first: bool) -> &'static str {
    match view.watch {
        Some(_) if view.json => "",
        Some(_) if std::io::stdout().is_terminal() => CLEAR,
        Some(_) if !first => "\n",
        _ => "",
    }
}

/// Asks for a document.
fn ask<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, String> {
    let answer = request(socket, Method::GET, path).map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(refusal(&answer.body, answer.status));
    }
    serde_json::from_str(&answer.body)
        .map_err(|error| format!("the gateway's answer is not understood: {error} (another version?)"))
}

/// What the gateway said against a question.
pub(super) fn refusal(body: &str, status: u16) -> String {
    let said = serde_json::from_str::<Value>(body).ok().and_then(|said| Some(said.get("error")?.as_str()?.to_owned()));
    let plain = || match body.trim() {
        "" => format!("the gateway answered with status {status} (another version?)"),
        text => format!("the gateway answered with status {status}: {text}"),
    };
    said.unwrap_or_else(plain)
}

/// A document as text: on one line where many follow each other.
fn json(view: &View, document: &Value) -> String {
    let text =
        if view.watch.is_some() { serde_json::to_string(document) } else { serde_json::to_string_pretty(document) };
    // A value always has a text.
    text.unwrap_or_default() + "\n"
}

/// `name=value`, with what an address of a page may not hold escaped.
pub(super) fn parameter(name: &str, value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = format!("{name}=");
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:*,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_the_way() {
        assert_eq!(parameter("filter", "net 10.0.0.0/8 & a=b"), "filter=net%2010.0.0.0%2F8%20%26%20a%3Db");
        assert_eq!(refusal("{\"error\": \"no\"}", 400), "no");
        assert_eq!(refusal("", 404), "the gateway answered with status 404 (another version?)");
        assert_eq!(refusal("bad query\n", 400), "the gateway answered with status 400: bad query");
    }
}
