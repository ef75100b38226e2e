//! Origins: they check each request to the last octet, and answer, or fail, as the plan says.

use tidegate_dataplane::{
    l4::TcpStream,
    l7::app::{App, Host},
};

use crate::{
    http::{Head, announce, read_content, write_content},
    ledger::Shared,
    net,
    pattern::{self, Key},
    plan::{Ask, Content, Fault, Framing, Method, Work},
    talk::{Intake, Line, Nudge, Throttle, Trouble, beside, wrong},
};

/// One origin host.
pub(crate) struct Origin {
    pub(crate) shared: Shared,
}

impl App for Origin {
    fn accept(&mut self, host: &Host, stream: TcpStream) {
        let (shared, port) = (self.shared.clone(), stream.flow().local_port);
        let line = Line::new(stream, host.exec.clone());
        host.exec.spawn(async move {
            let ended = match port {
                net::ECHO_PORT => echo(&shared, &line).await,
                _ => serve(&shared, &line).await,
            };
            if let Err(trouble) = ended {
                shared.report(line.exec.now(), "origin", &trouble);
            }
        });
    }
}

/// Serves requests until the peer, or the plan, closes.
async fn serve(shared: &Shared, line: &Line) -> Result<(), Trouble> {
    let mut intake = Intake::default();
    while let Some(head) = Head::read(&mut intake, line).await? {
        let (id, ask) = understand(shared, &head)?;
        if ask.method == Method::Upgrade {
            return tunnel(line, &mut intake, id, ask).await;
        }
        if !answer(line, &mut intake, id, ask, &head).await? {
            break;
        }
    }
    line.shutdown().await?;
    // The peer closes too.
    while intake.more(line, 4_096).await? {}
    Ok(())
}

/// Checks a request's head and finds what was asked.
fn understand<'s>(shared: &'s Shared, head: &Head) -> Result<(usize, &'s Ask), Trouble> {
    let parts: Vec<&str> = head.start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return wrong(&format!("no request line: {:?}", head.start)) };
    let id = target.split_once('?').and_then(|(path, query)| {
        let id: usize = path.get(3..)?.parse().ok()?;
        (query == format!("q={id}")).then_some(id)
    });
    let Some((id, ask)) = id.and_then(|id| Some((id, shared.scenario.asks.get(id)?))) else {
        return wrong(&format!("nobody asked for {target}"));
    };
    let expected = match ask.method {
        Method::Get | Method::Upgrade => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
    };
    if method != expected || !target.starts_with(&format!("/{}/", ask.route)) {
        return wrong(&format!("{:?} for ask {id}", head.start));
    }
    head.demand("host", "sim.test")?;
    head.lacks("x-hop")?;
    let times = &mut shared.ledger.borrow_mut().seen[id];
    *times += 1;
    // A SYN cookie has no memory: a duplicate of a handshake's last packet that outlives the connection opens it, and asks, again.
    let forgetful = shared.scenario.origin.cookies && shared.scenario.duplicates();
    if *times > 1 && ask.method == Method::Post && !forgetful {
        return wrong(&format!("ask {id}, a POST, came {times} times"));
    }
    Ok((id, ask))
}

/// Reads the content and answers; `false` if the connection is not to be used again.
async fn answer(line: &Line, intake: &mut Intake, id: usize, ask: &Ask, head: &Head) -> Result<bool, Trouble> {
    if ask.expect && head.field("expect")?.is_some() {
        line.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut throttle = Throttle::new(ask.origin_reads);
    let content = async {
        match (head.framing()?, ask.method) {
            (Some(framing), Method::Post) => {
                read_content(intake, line, (Key::Up(id), ask.request.len), framing, &mut throttle).await
            }
            (None, Method::Get | Method::Head) => Ok(()),
            (framing, _) => wrong(&format!("ask {id} framed as {framing:?}")),
        }
    };
    if ask.early {
        let goes_on = respond(line, id, ask).await?;
        content.await?;
        Ok(goes_on)
    } else {
        content.await?;
        respond(line, id, ask).await
    }
}

async fn respond(line: &Line, id: usize, ask: &Ask) -> Result<bool, Trouble> {
    line.exec.sleep(ask.think).await;
    if ask.fault == Fault::OriginResets {
        line.abort();
        return Ok(false);
    }
    let head = format!("HTTP/1.1 200 OK\r\nX-Sim-Id: {id}\r\n{}{}\r\n", hop(ask), announce(ask.response));
    line.write(head.as_bytes()).await?;
    if ask.method == Method::Head {
        return Ok(ask.fault != Fault::OriginClosesAfter && ask.response.framing != Framing::Close);
    }
    let mut throttle = Throttle::new(ask.origin_writes);
    let stop = match ask.fault {
        Fault::OriginAborts(at) | Fault::OriginTruncates(at) => Some(at),
        _ => None,
    };
    write_content(line, Key::Down(id), ask.response, stop, &mut throttle).await?;
    let in_order = matches!(ask.fault, Fault::OriginTruncates(_)) && ask.response.framing != Framing::Close;
    if stop.is_some() && !in_order {
        line.abort();
    }
    Ok(stop.is_none() && ask.fault != Fault::OriginClosesAfter && ask.response.framing != Framing::Close)
}

/// A field for the gateway alone.
fn hop(ask: &Ask) -> &'static str {
    match ask.response.framing {
        Framing::Close => "",
        _ => "Connection: X-Up\r\nX-Up: 1\r\n",
    }
}

/// Switches protocols; then bytes both ways.
async fn tunnel(line: &Line, intake: &mut Intake, id: usize, ask: &Ask) -> Result<(), Trouble> {
    line.exec.sleep(ask.think).await;
    if ask.fault == Fault::OriginResets {
        line.abort();
        return Ok(());
    }
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Sim-Id: {id}\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    line.write(head.as_bytes()).await?;
    let sending = async {
        let mut throttle = Throttle::new(ask.origin_writes);
        let content = Content { framing: Framing::Close, len: ask.response.len };
        let stop = match ask.fault {
            Fault::OriginAborts(at) | Fault::OriginTruncates(at) => Some(at),
            _ => None,
        };
        let sent = write_content(line, Key::Down(id), content, stop, &mut throttle).await;
        match (sent, stop) {
            (Ok(()), Some(_)) => line.abort(),
            // That it broke shows on the reading side too.
            (Ok(()), None) => drop(line.shutdown().await),
            (Err(_), _) => {}
        }
    };
    let mut throttle = Throttle::new(ask.origin_reads);
    let receiving = async {
        intake.content(line, Key::Up(id), (0, ask.request.len), &mut throttle).await?;
        if !intake.rest().is_empty() || intake.more(line, 1).await? {
            return wrong(&format!("more of ask {id} came through the tunnel than was sent"));
        }
        Ok(())
    };
    both(receiving, sending).await
}

/// Sends back what comes, checked.
async fn echo(shared: &Shared, line: &Line) -> Result<(), Trouble> {
    let mut number = [0; 8];
    let mut got = 0;
    while got < number.len() {
        match line.read(&mut number[got..]).await? {
            0 => return Err(Trouble::Closed),
            n => got += n,
        }
    }
    let number = u64::from_be_bytes(number) as usize;
    let Some(Work::Echo { origin_reads, fault, .. }) =
        shared.scenario.sessions.get(number).map(|session| &session.work)
    else {
        return wrong(&format!("there is no echo session {number}"));
    };
    let (key, mut throttle) = (Key::Up(net::echo_key(number)), Throttle::new(*origin_reads));
    let (mut at, mut piece) = (0, vec![0; 4_096]);
    loop {
        if matches!(fault, Fault::OriginAborts(limit) if at >= *limit) {
            line.abort();
            return Ok(());
        }
        let allowed = throttle.allow(&line.exec).await.min(piece.len() as u64) as usize;
        let n = line.read(&mut piece[..allowed]).await?;
        if n == 0 {
            break;
        }
        if let Err(offset) = pattern::check(key, at, &piece[..n]) {
            return wrong(&format!("octet {offset} of echo session {number} is wrong"));
        }
        line.write(&piece[..n]).await?;
        at += n as u64;
        throttle.moved(n as u64);
    }
    line.shutdown().await?;
    Ok(())
}

/// Runs `side` to its end too.
async fn both<T>(main: impl Future<Output = T>, side: impl Future<Output = ()>) -> T {
    let done = core::cell::Cell::new(false);
    let nudge = Nudge::default();
    let main = async {
        let result = main.await;
        crate::talk::until(|| done.get()).await;
        result
    };
    let side = async {
        side.await;
        nudge.set(&done, true);
    };
    beside(&nudge, main, side).await
}
