//! `capture`: packets to a pcapng file, or to a program that reads one.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::ValueEnum as _;
use tidegate_ctrl::admin::client::follow;
use tidegate_ctrl::filter;
use tidegate_ctrl::pcapng::{Blocks, Statistics};

use super::fail;
use super::show::{parameter, refusal};
use crate::cli::see::Capture;

pub(crate) fn capture(args: &Capture) -> ExitCode {
    if let Err(error) = filter::parse(&args.filter) {
        return fail(&error);
    }
    let to_output = args.write.as_os_str() == "-";
    if to_output && io::stdout().is_terminal() {
        return fail(&"a capture is not for a terminal: name a file, or pipe it, e.g. `-w - | tcpdump -r -`");
    }
    // The file is made when the gateway has agreed, so that a mistake does not empty an old one.
    let mut file: Option<Box<dyn Write>> = None;
    let open = || -> io::Result<Box<dyn Write>> {
        if to_output { Ok(Box::new(io::stdout())) } else { Ok(Box::new(File::create(&args.write)?)) }
    };
    let (mut blocks, mut refused, mut trouble) = (Blocks::default(), Vec::new(), None);
    let outcome = follow(&args.at.socket, &path(args), |piece| {
        if file.is_none() && piece.first() == Some(&b'{') {
            refused.extend_from_slice(piece);
            return true;
        }
        let written = match &mut file {
            Some(file) => pass(&mut **file, &blocks.take(piece)),
            None => open().and_then(|mut opened| {
                let written = pass(&mut *opened, &blocks.take(piece));
                file = Some(opened);
                written
            }),
        };
        trouble = written.err();
        trouble.is_none()
    });
    match (outcome, trouble) {
        (Ok(200), None) => {}
        // The reader has seen enough: the gateway stops when it notices.
        (_, Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        (_, Some(error)) => return fail(&format_args!("cannot write to {}: {error}", args.write.display())),
        (Ok(status), None) => return fail(&refusal(&String::from_utf8_lossy(&refused), status)),
        (Err(error), None) => return fail(&error),
    }
    // If standard error is closed, nobody wants to know.
    let _ = writeln!(io::stderr().lock(), "{}", summary(&blocks));
    ExitCode::SUCCESS
}

/// Whole blocks go on at once: whoever reads them sees packets as they come.
fn pass(file: &mut dyn Write, blocks: &[u8]) -> io::Result<()> {
    file.write_all(blocks)?;
    file.flush()
}

fn summary(blocks: &Blocks) -> String {
    match blocks.statistics {
        Some(Statistics { lost: 0, .. }) => format!("{} packets captured", blocks.packets),
        Some(Statistics { lost, .. }) => {
            format!(
                "{} packets captured, {lost} more passed the filter: too many a second (--rate) or at once",
                blocks.packets
            )
        }
        None => format!("{} packets captured, the end is missing", blocks.packets),
    }
}

fn path(args: &Capture) -> String {
    let points: Vec<String> = args
        .points
        .iter()
        .filter_map(|point| point.to_possible_value())
        .map(|value| value.get_name().to_owned())
        .collect();
    let mut wanted = vec![
        parameter("at", &points.join(",")),
        parameter("filter", &args.filter),
        parameter("rate", &args.rate.to_string()),
    ];
    if !args.port.is_empty() {
        wanted.push(parameter("port", &args.port.join(",")));
    }
    wanted.extend(args.count.map(|count| parameter("count", &count.to_string())));
    wanted.extend(args.snap.map(|snap| parameter("snap", &snap.to_string())));
    wanted.extend(args.seconds.map(|seconds| parameter("seconds", &seconds.to_string())));
    format!("/capture?{}", wanted.join("&"))
}
