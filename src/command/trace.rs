//! `trace` and `explain`: the ways of packets, real and not.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::json;
use tidegate_ctrl::admin::client::{Method, follow, request};
use tidegate_ctrl::admin::trace::Followed;
use tidegate_ctrl::filter;
use tidegate_ctrl::story::Way;

use super::show::{parameter, refusal};
use super::{FAILED, fail, print, story};
use crate::cli::see::{Explain, Trace};

pub(crate) fn trace(args: &Trace) -> ExitCode {
    let text = args.filter.join(" ");
    if let Err(error) = filter::parse(&text) {
        return fail(&error);
    }
    let mut wanted = vec![parameter("filter", &text), parameter("rate", &args.rate.to_string())];
    wanted.extend(args.count.map(|count| parameter("count", &count.to_string())));
    let (mut rest, mut last, mut broken) = (Vec::new(), None, false);
    let outcome = follow(&args.at.socket, &format!("/trace?{}", wanted.join("&")), |piece| {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(part);
            if rest.last() != Some(&b'\n') {
                continue;
            }
            let line = std::mem::take(&mut rest);
            if let Ok(followed) = serde_json::from_slice::<Followed>(&line) {
                last = Some(followed);
            } else if put(&line, args.json).is_err() {
                broken = true;
                return false;
            }
        }
        true
    });
    match outcome {
        Err(error) => return fail(&error),
        Ok(200) => {}
        Ok(status) => return fail(&refusal(&String::from_utf8_lossy(&rest), status)),
    }
    // On standard error, so that what is piped is packets alone. If it is closed, nobody wants to know.
    let mut err = std::io::stderr().lock();
    match last {
        Some(Followed { followed, missed: 0 }) => drop(writeln!(err, "{followed} packets followed")),
        Some(Followed { followed, missed }) => {
            drop(writeln!(
                err,
                "{followed} packets followed, {missed} more passed the filter (--rate raises how many are followed)"
            ));
        }
        None if broken => {}
        None => return fail(&"the gateway broke off"),
    }
    ExitCode::SUCCESS
}

fn put(line: &[u8], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        out.write_all(line)?;
    } else if let Ok(way) = serde_json::from_slice::<Way>(line) {
        writeln!(out, "{}", story::text(&way))?;
    }
    out.flush()
}

#[derive(Deserialize)]
struct Answer {
    ways: Vec<Way>,
}

pub(crate) fn explain(args: &Explain) -> ExitCode {
    let path = format!("/explain?{}", wanted(args).join("&"));
    let answer = match request(&args.at.socket, Method::GET, &path) {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    if answer.status != 200 {
        return fail(&refusal(&answer.body, answer.status));
    }
    let ways = match serde_json::from_str::<Answer>(&answer.body) {
        Ok(answer) => answer.ways,
        Err(error) => return fail(&format_args!("the gateway's answer is not understood: {error} (another version?)")),
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&json!({ "ways": ways })).unwrap_or_default() + "\n",
        false => ways.iter().map(story::text).collect(),
    };
    let printed = print(&text);
    let tried = ways.iter().all(|way| way.end.verdict != "lost");
    if tried { printed } else { ExitCode::from(FAILED) }
}

fn wanted(args: &Explain) -> Vec<String> {
    let number = |name: &str, value: Option<u64>| value.map(|value| parameter(name, &value.to_string()));
    let flags = args.tcp_flags.iter().fold(0, |flags, flag| flags | flag.bit());
    let vlans: Vec<String> = args.vlan.iter().map(ToString::to_string).collect();
    let optional = [
        number("sport", args.sport.map(u64::from)),
        number("dport", args.dport.map(u64::from)),
        number("ttl", args.ttl.map(u64::from)),
        number("tos", args.tos.map(u64::from)),
        number("length", args.length.map(u64::from)),
        number("core", args.core.map(|core| core as u64)),
        number("tcp_flags", (!args.tcp_flags.is_empty()).then_some(flags.into())),
        args.df.then(|| parameter("df", "true")),
        (!vlans.is_empty()).then(|| parameter("vlan", &vlans.join(","))),
        args.from_station.as_ref().map(|station| parameter("from_station", station)),
        args.to_station.as_ref().map(|station| parameter("to_station", station)),
    ];
    let fixed = [
        parameter("in", &args.port),
        parameter("src", &args.src.to_string()),
        parameter("dst", &args.dst.to_string()),
        parameter("proto", &args.proto.number(args.dst).to_string()),
    ];
    fixed.into_iter().chain(optional.into_iter().flatten()).collect()
}
