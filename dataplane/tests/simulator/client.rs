//! Clients: sessions of requests, each answer checked to the last octet, and plain echoes.

use core::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
};
use std::rc::Rc;

use tidegate_dataplane::{
    clock::Instant,
    l4::{End, TcpStream},
    l7::app::{App, Host},
};

use crate::{
    answer,
    http::{announce, write_content},
    ledger::{Outcome, Shared},
    net,
    pattern::Key,
    plan::{Ask, Fault, Method, Session, Work},
    talk::{Intake, Line, Nudge, Throttle, Trouble, beside, until, wrong},
};

/// One client host.
pub(crate) struct Client {
    shared: Shared,
}

impl Client {
    /// Starts the sessions of client `number`.
    pub(crate) fn new(shared: &Shared, number: usize, host: &Host) -> Self {
        for (index, session) in shared.scenario.sessions.iter().enumerate() {
            if session.client == number {
                host.exec.spawn(run(shared.clone(), host.clone(), index));
            }
        }
        Self { shared: shared.clone() }
    }
}

impl App for Client {
    fn accept(&mut self, host: &Host, _: TcpStream) {
        self.shared.violation(host.exec.now(), "somebody connected to a client".into());
    }
}

async fn run(shared: Shared, host: Host, number: usize) {
    let scenario = Rc::clone(&shared.scenario);
    let session = &scenario.sessions[number];
    host.exec.sleep_until(session.start).await;
    let outcome = match &session.work {
        Work::Http { asks, pipeline, half_close } => {
            let mut talks = Talks { shared: &shared, host: &host, session, asks, pipeline: *pipeline, done: 0 };
            talks.run(*half_close).await;
            Outcome::Whole
        }
        Work::Echo { .. } => echo(&shared, &host, number).await,
    };
    shared.session_ended(host.exec.now(), number, outcome);
}

/// Opens a connection to `remote`.
async fn open(host: &Host, client: usize, remote: SocketAddr) -> Result<Line, End> {
    let local: IpAddr = net::client(client, remote.is_ipv6());
    let stream = host.tcp.connect(local, remote, host.exec.now()).map_err(|_| End::Aborted)?;
    let line = Line::new(stream, host.exec.clone());
    line.connected().await?;
    Ok(line)
}

/// An HTTP session: as many connections as it takes.
struct Talks<'a> {
    shared: &'a Shared,
    host: &'a Host,
    session: &'a Session,
    asks: &'a [usize],
    pipeline: usize,
    done: usize,
}

impl Talks<'_> {
    async fn run(&mut self, half_close: bool) {
        let remote = net::listener(self.session.v6);
        while self.done < self.asks.len() {
            match open(self.host, self.session.client, remote).await {
                Ok(line) => self.talk(&line, half_close).await,
                Err(end) => self.end_one(Outcome::NotOpened(end)),
            }
        }
    }

    fn now(&self) -> Instant {
        self.host.exec.now()
    }

    fn end_one(&mut self, outcome: Outcome) {
        self.shared.ask_ended(self.now(), self.asks[self.done], outcome);
        self.done += 1;
    }

    /// One connection, until it is closed or all is done.
    async fn talk(&mut self, line: &Line, half_close: bool) {
        let first = self.done;
        let progress = Progress::default();
        let all = self.asks;
        let (shared, pipeline) = (self.shared, self.pipeline);
        let sending = async {
            // A broken connection shows on the reading side.
            let _ = send(shared, line, &all[first..], pipeline, half_close, &progress).await;
        };
        let receiving = async {
            let mut intake = Intake::default();
            let mut open = true;
            while open && self.done < all.len() {
                let id = all[self.done];
                until(|| progress.sent.get() > self.done - first).await;
                let ended = answer::read(shared, line, &mut intake, id, &progress).await;
                open = self.note(id, ended, &progress, first);
                progress.nudge.set(&progress.answered, self.done - first);
            }
            if open && let Err(trouble) = line.farewell(&mut intake).await {
                shared.report(line.exec.now(), "after the last answer", &trouble);
            }
        };
        beside(&progress.nudge, receiving, sending).await;
    }

    /// Notes how a request ended; `true` if the connection goes on.
    fn note(&mut self, id: usize, ended: Result<answer::End, Trouble>, progress: &Progress, first: usize) -> bool {
        if progress.gave_up.get() {
            // What was under way is nobody's fault.
            for _ in self.done - first..progress.sent.get() {
                self.end_one(Outcome::GaveUp);
            }
            return false;
        }
        match ended {
            Ok(end) => {
                self.end_one(end.outcome);
                end.goes_on
            }
            Err(trouble) => {
                self.shared.report(self.now(), &format!("answer to ask {id}"), &trouble);
                // What was sent behind it may have been served as well: nobody asks twice without knowing.
                let outcome = Outcome::from(trouble);
                for _ in self.done - first..progress.sent.get() {
                    self.end_one(outcome.clone());
                }
                false
            }
        }
    }
}

/// What the two halves of a client's connection tell each other.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) nudge: Nudge,
    /// Requests whose head was sent or begun.
    sent: Cell<usize>,
    answered: Cell<usize>,
    /// The client has reset the connection as planned.
    pub(crate) gave_up: Cell<bool>,
    /// The request for which an interim response has come last.
    pub(crate) invited: Cell<Option<usize>>,
}

/// Writes requests, `pipeline` ahead of the answers at most.
async fn send(
    shared: &Shared,
    line: &Line,
    asks: &[usize],
    pipeline: usize,
    half_close: bool,
    progress: &Progress,
) -> Result<(), End> {
    for (at, id) in asks.iter().enumerate() {
        let ask = &shared.scenario.asks[*id];
        until(|| at - progress.answered.get() < pipeline).await;
        line.exec.sleep(ask.pause).await;
        progress.nudge.set(&progress.sent, at + 1);
        request(line, *id, ask, progress).await?;
    }
    if half_close { line.shutdown().await } else { Ok(()) }
}

async fn request(line: &Line, id: usize, ask: &Ask, progress: &Progress) -> Result<(), End> {
    line.write(head(id, ask).as_bytes()).await?;
    if ask.expect {
        until(|| progress.invited.get() == Some(id)).await;
    }
    let mut throttle = Throttle::new(ask.client_writes);
    let stop = match ask.fault {
        Fault::ClientAbortsSending(at) => Some(at),
        _ => None,
    };
    match ask.method {
        Method::Get | Method::Head => {}
        Method::Post => write_content(line, Key::Up(id), ask.request, stop, &mut throttle).await?,
        Method::Upgrade => {
            until(|| progress.invited.get() == Some(id)).await;
            let end = stop.unwrap_or(ask.request.len);
            line.write_content(Key::Up(id), 0, end, &mut throttle).await?;
            if stop.is_none() {
                line.shutdown().await?;
            }
        }
    }
    if stop.is_some() {
        progress.gave_up.set(true);
        line.abort();
    }
    Ok(())
}

fn head(id: usize, ask: &Ask) -> String {
    let method = match ask.method {
        Method::Get | Method::Upgrade => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
    };
    let content = match ask.method {
        Method::Post => announce(ask.request),
        Method::Upgrade => "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .into(),
        Method::Get | Method::Head => "Connection: X-Hop\r\nX-Hop: 1\r\n".into(),
    };
    let expect = if ask.expect { "Expect: 100-continue\r\n" } else { "" };
    format!("{method} /{}/{id}?q={id} HTTP/1.1\r\nHost: sim.test\r\n{content}{expect}\r\n", ask.route)
}

/// Sends content to an origin that sends it back.
async fn echo(shared: &Shared, host: &Host, number: usize) -> Outcome {
    let session = &shared.scenario.sessions[number];
    let Work::Echo { origin, len, client_writes, client_reads, fault, .. } = session.work else {
        return Outcome::Whole;
    };
    let line = match open(host, session.client, net::echo(origin, session.v6)).await {
        Ok(line) => line,
        Err(end) => return Outcome::NotOpened(end),
    };
    let gave_up = Cell::new(false);
    let key = Key::Up(net::echo_key(number));
    let sending = async {
        let end = if let Fault::ClientAbortsSending(at) = fault { at } else { len };
        let write = async {
            line.write(&(number as u64).to_be_bytes()).await?;
            line.write_content(key, 0, end, &mut Throttle::new(client_writes)).await?;
            if end < len || matches!(fault, Fault::ClientAbortsSending(_)) {
                gave_up.set(true);
                line.abort();
                return Ok(());
            }
            line.shutdown().await
        };
        let _shown_to_the_reader: Result<(), End> = write.await;
    };
    let receiving = async {
        let mut intake = Intake::default();
        let end = if let Fault::ClientAbortsReading(at) = fault { at } else { len };
        intake.content(&line, key, (0, end), &mut Throttle::new(client_reads)).await?;
        if matches!(fault, Fault::ClientAbortsReading(_)) {
            gave_up.set(true);
            line.abort();
            return Ok(());
        }
        if !intake.rest().is_empty() || intake.more(&line, 1).await? {
            return wrong("more comes back than was sent");
        }
        Ok(())
    };
    let result: Result<(), Trouble> = beside(&Nudge::default(), receiving, sending).await;
    match result {
        _ if gave_up.get() => Outcome::GaveUp,
        Ok(()) => Outcome::Whole,
        Err(trouble) => {
            shared.report(host.exec.now(), &format!("echo session {number}"), &trouble);
            trouble.into()
        }
    }
}
