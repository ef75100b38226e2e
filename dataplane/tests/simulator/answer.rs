//! A client's view of one response.

use crate::{
    client::Progress,
    http::{Head, read_content},
    ledger::{Outcome, Shared},
    pattern::Key,
    plan::{Ask, Fault, Framing, Method},
    talk::{Intake, Line, Throttle, Trouble, wrong},
};

/// How a response ended, and whether another may follow on its connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) goes_on: bool,
}

/// Reads the response to ask `id` and checks all of it.
pub(crate) async fn read(
    shared: &Shared,
    line: &Line,
    intake: &mut Intake,
    id: usize,
    progress: &Progress,
) -> Result<End, Trouble> {
    let ask = &shared.scenario.asks[id];
    let head = loop {
        let head = Head::read(intake, line).await?.ok_or(Trouble::Closed)?;
        match head.start.as_str() {
            "HTTP/1.1 100 Continue" if ask.expect && progress.invited.get() != Some(id) => {
                progress.nudge.set(&progress.invited, Some(id));
            }
            _ => break head,
        }
    };
    let Some(status) = status(&head.start) else { return wrong(&format!("no status line: {:?}", head.start)) };
    head.lacks("x-up")?;
    // Content that was not asked for is not sent, and then the connection is of no more use.
    let withheld = (ask.expect || ask.method == Method::Upgrade) && progress.invited.get() != Some(id);
    let end = match (status, ask.method) {
        (101, Method::Upgrade) => tunnel(line, intake, id, ask, &head, progress).await,
        (200, method) if method != Method::Upgrade => whole(line, intake, id, ask, &head, progress).await,
        (400.., _) => page(line, intake, ask, status, &head).await,
        _ => wrong(&format!("status {status} to {:?}", ask.method)),
    }?;
    Ok(End { goes_on: end.goes_on && !withheld, ..end })
}

fn status(start: &str) -> Option<u16> {
    let (code, phrase) = start.strip_prefix("HTTP/1.1 ")?.split_once(' ')?;
    (code.len() == 3 && !phrase.is_empty()).then(|| code.parse().ok())?
}

/// The origin's answer.
async fn whole(
    line: &Line,
    intake: &mut Intake,
    id: usize,
    ask: &Ask,
    head: &Head,
    progress: &Progress,
) -> Result<End, Trouble> {
    head.demand("x-sim-id", &id.to_string())?;
    let goes_on = !head.connection("close")?;
    let framing = match (head.framing()?, goes_on) {
        (Some(framing), _) => framing,
        (None, false) => (Framing::Close, 0),
        (None, true) if ask.method == Method::Head => (Framing::Close, 0),
        (None, true) => return wrong(&format!("no framing: {head:?}")),
    };
    if ask.method == Method::Head {
        return match framing {
            (Framing::Length, len) if len != ask.response.len => wrong(&format!("Content-Length {len} to HEAD")),
            _ => Ok(End { outcome: Outcome::Whole, goes_on }),
        };
    }
    let mut throttle = Throttle::new(ask.client_reads);
    let key = Key::Down(id);
    if let Fault::ClientAbortsReading(at) = ask.fault {
        let part = match framing.0 {
            Framing::Chunked => Ok(()),
            _ => intake.content(line, key, (0, at.min(ask.response.len)), &mut throttle).await,
        };
        part?;
        progress.gave_up.set(true);
        line.abort();
        return Ok(End { outcome: Outcome::GaveUp, goes_on: false });
    }
    if (framing.0 == Framing::Length) != (ask.response.framing == Framing::Length) {
        return wrong(&format!("{:?} became {framing:?}", ask.response.framing));
    }
    read_content(intake, line, (key, ask.response.len), framing, &mut throttle).await?;
    Ok(End { outcome: Outcome::Whole, goes_on: goes_on && framing.0 != Framing::Close })
}

/// What comes back through a tunnel, to its end.
async fn tunnel(
    line: &Line,
    intake: &mut Intake,
    id: usize,
    ask: &Ask,
    head: &Head,
    progress: &Progress,
) -> Result<End, Trouble> {
    head.demand("x-sim-id", &id.to_string())?;
    head.demand("upgrade", "websocket")?;
    if !head.connection("upgrade")? || head.framing()?.is_some() {
        return wrong(&format!("a bad switch: {head:?}"));
    }
    progress.nudge.set(&progress.invited, Some(id));
    let mut throttle = Throttle::new(ask.client_reads);
    let end = if let Fault::ClientAbortsReading(at) = ask.fault { at } else { ask.response.len };
    intake.content(line, Key::Down(id), (0, end), &mut throttle).await?;
    if let Fault::ClientAbortsReading(_) = ask.fault {
        progress.gave_up.set(true);
        line.abort();
        return Ok(End { outcome: Outcome::GaveUp, goes_on: false });
    }
    if !intake.rest().is_empty() || intake.more(line, 1).await? {
        return wrong("more came through the tunnel than was sent");
    }
    Ok(End { outcome: Outcome::Whole, goes_on: false })
}

/// The gateway's own answer, which must be complete and say why.
async fn page(line: &Line, intake: &mut Intake, ask: &Ask, status: u16, head: &Head) -> Result<End, Trouble> {
    let details = head.field("proxy-status")?.and_then(|value| value.split_once("details=\""));
    let Some(reason) = details.and_then(|(_, rest)| rest.strip_suffix('"')) else {
        return wrong(&format!("an error without reason: {head:?}"));
    };
    let expected = format!("{status} {reason}\n");
    let goes_on = !head.connection("close")?;
    match head.framing()? {
        Some((Framing::Length, len)) if len == expected.len() as u64 => {}
        framing => return wrong(&format!("an error page framed as {framing:?}: {head:?}")),
    }
    if ask.method != Method::Head {
        while intake.rest().len() < expected.len() {
            if !intake.more(line, expected.len() - intake.rest().len()).await? {
                return Err(Trouble::Closed);
            }
        }
        if intake.take(expected.len()) != expected.as_bytes() {
            return wrong("an error page that says something else than its head");
        }
    }
    Ok(End { outcome: Outcome::Page(status, reason.into()), goes_on })
}
