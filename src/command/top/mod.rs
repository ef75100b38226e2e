//! `top`: what a running gateway does, live.

#[cfg(test)]
mod fixture; // what tests show
mod frame; // what happened between two documents
mod grid; // lines and tables of text
mod number; // numbers that fit a column
mod page; // what stands where
mod rates; // from counters to rates
mod screen; // the terminal

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use tidegate_ctrl::admin::client::{Method, request};
use tidegate_ctrl::diagnostic::Style;
use tidegate_ctrl::telemetry::document::Document;

use super::{fail, print, style};
use crate::cli::{Output, Top};
use frame::Frame;
use screen::Screen;

/// How long a key press waits at most. Nothing is drawn in between unless something changed.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn top(args: &Top) -> ExitCode {
    if args.once {
        return once(args);
    }
    if !std::io::stdout().is_terminal() {
        return fail(&"`top` needs a terminal; `top --once` prints to anything");
    }
    let mut screen = Screen::new(style(&std::io::stdout()) == Style::Colour);
    let pictures = watch(args.at.socket.clone(), args.interval.0);
    let outcome = ratatui::try_init().and_then(|mut terminal| live(&mut terminal, &mut screen, &pictures));
    ratatui::restore();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("the terminal fails: {error}")),
    }
}

/// Two documents, one picture.
fn once(args: &Top) -> ExitCode {
    let both = ask(&args.at.socket).and_then(|then| {
        thread::sleep(args.interval.0);
        ask(&args.at.socket).map(|now| (then, now))
    });
    let frame = match both {
        Ok((then, now)) => Frame::between(Some(&then), &now),
        Err(error) => return fail(&error),
    };
    match args.output {
        Output::Table => {
            print(&page::everything(&frame).iter().map(|line| line.text.clone() + "\n").collect::<String>())
        }
        Output::Json => match serde_json::to_string_pretty(&frame) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => fail(&error),
        },
    }
}

/// One document, or what to tell the user.
fn ask(socket: &Path) -> Result<Document, String> {
    let answer = request(socket, Method::GET, "/stats?format=json").map_err(|error| error.to_string())?;
    serde_json::from_str(&answer.body)
        .map_err(|error| format!("the gateway's answer is not understood: {error} (another version?)"))
}

/// Asks at every interval on a thread of its own, so that keys work while a gateway does not answer.
fn watch(socket: PathBuf, interval: Duration) -> Receiver<Result<Frame, String>> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || watch_until_closed(&socket, interval, &sender));
    receiver
}

fn watch_until_closed(socket: &Path, interval: Duration, sender: &SyncSender<Result<Frame, String>>) {
    let mut then: Option<Document> = None;
    loop {
        let picture = ask(socket).map(|now| {
            let frame = Frame::between(then.as_ref(), &now);
            then = Some(now);
            frame
        });
        if sender.send(picture).is_err() {
            return;
        }
        thread::sleep(interval);
    }
}

fn live(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    pictures: &Receiver<Result<Frame, String>>,
) -> std::io::Result<()> {
    loop {
        // Also after a change of the terminal's size: drawing asks for it.
        terminal.draw(|target| screen.draw(target))?;
        loop {
            if event::poll(LOOK)? {
                match event::read()? {
                    Event::Key(key) if !screen.press(key) => return Ok(()),
                    Event::Key(_) | Event::Resize(..) => break,
                    _ => {}
                }
            }
            match pictures.try_recv() {
                Ok(Ok(frame)) => screen.show(frame),
                Ok(Err(trouble)) => screen.complain(trouble),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => continue,
            }
            break;
        }
    }
}
