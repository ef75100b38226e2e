//! What a connection of a load does from its first leave to its last: requests on a connection that stays open, a new connection
//! for each, connections without requests, or silence.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::rc::Rc;

use tidegate_dataplane::clock::Instant;
use tidegate_dataplane::l7::stream::{ByteStream, StreamError};

use super::{
    course::Course,
    dial::Dial,
    exchange::{Ask, Outcome, exchange},
    failure::Failure,
};

/// Pause after a failure, so that a server that is down is not also flooded, nor the count of failures.
const PAUSE: Duration = Duration::from_millis(10);

/// Requests on one connection, one at a time. A connection that the server closes between two, as it says it will, is opened again.
pub(crate) async fn keep_alive<D: Dial>(number: u32, course: Rc<Course>, dial: Rc<D>, ask: Rc<Ask>) {
    let mut alarm = course.exec().sleep(ask.timeout());
    course.may_open(number).await;
    let mut open = open(number, &course, &*dial, course.now()).await;
    course.ready();
    while let Some(due) = course.next(number).await {
        if open.as_ref().is_none_or(|stream| stream.peer_gone()) {
            drop(open.take());
            open = self::open(number, &course, &*dial, due).await;
        }
        let Some(stream) = &mut open else { continue };
        let outcome = exchange(stream, &ask, &course, &mut alarm).await;
        file(&course, outcome.failure, due);
        if !outcome.reusable {
            drop(open.take());
            // Before the next request is due: in a closed loop it is not the request that waits for this.
            if outcome.failure.is_none() {
                open = self::open(number, &course, &*dial, course.now()).await;
            }
        }
    }
    course.finish();
}

/// A new connection for each request. One is opened beforehand, for the hosts on the way to learn each other's addresses.
pub(crate) async fn renew<D: Dial>(number: u32, course: Rc<Course>, dial: Rc<D>, ask: Rc<Ask>) {
    let mut alarm = course.exec().sleep(ask.timeout());
    course.may_open(number).await;
    drop(open(number, &course, &*dial, course.now()).await);
    course.ready();
    while let Some(due) = course.next(number).await {
        let Some(mut stream) = open(number, &course, &*dial, due).await else { continue };
        let outcome = exchange(&mut stream, &ask, &course, &mut alarm).await;
        file(&course, outcome.failure, due);
    }
    course.finish();
}

/// A new connection and nothing else: what counts is the time until both sides may send. It is closed in order, and the next begins
/// when the server has closed it too: by then it has done all its work. With `resume` each must take up the session of the one before.
pub(crate) async fn shake_hands<D: Dial>(number: u32, course: Rc<Course>, dial: Rc<D>, ask: Rc<Ask>, resume: bool) {
    course.may_open(number).await;
    if let Some(stream) = open(number, &course, &*dial, course.now()).await {
        close(&course, stream, ask.timeout()).await;
    }
    course.ready();
    while let Some(due) = course.next(number).await {
        let Some(stream) = open(number, &course, &*dial, due).await else { continue };
        file(&course, (resume && !D::is_resumed(&stream)).then_some(Failure::NotResumed), due);
        close(&course, stream, ask.timeout()).await;
    }
    course.finish();
}

/// What ends the silence of a connection.
enum Roused {
    /// A request was due then.
    Due(Instant),
    /// The server: with an end, an error, or bytes that nobody asked for.
    Lost,
}

/// One request, then silence: the connection is there and nobody uses it, or seldom, if the load has a rate. It stays to the end.
pub(crate) async fn hold<D: Dial>(number: u32, course: Rc<Course>, dial: Rc<D>, ask: Rc<Ask>) {
    course.may_open(number).await;
    // What it takes to open a connection and to use it is not kept during the silence: there may be a million.
    let stream = Box::pin(opened_and_used(number, &course, &*dial, &ask)).await;
    course.ready();
    course.finish();
    let Some(mut stream) = stream else { return };
    course.tally.borrow_mut().held += 1;
    loop {
        match silence(number, &course, &mut stream).await {
            Roused::Due(due) => {
                course.resume();
                let outcome = Box::pin(request(&mut stream, &course, &ask)).await;
                file(&course, outcome.failure, due);
                course.finish();
                if !outcome.reusable {
                    break;
                }
            }
            Roused::Lost => {
                course.tally.borrow_mut().failed(Failure::Lost, course.now(), course.now());
                break;
            }
        }
    }
    course.tally.borrow_mut().held -= 1;
}

/// A connection that has had its first request answered.
async fn opened_and_used<D: Dial>(number: u32, course: &Course, dial: &D, ask: &Ask) -> Option<D::Stream> {
    let begun = course.now();
    let mut stream = open(number, course, dial, begun).await?;
    let outcome = request(&mut stream, course, ask).await;
    if outcome.failure.is_none() && outcome.reusable {
        return Some(stream);
    }
    course.tally.borrow_mut().failed(outcome.failure.unwrap_or(Failure::Lost), begun, course.now());
    None
}

/// Until something ends it. Without a rate nothing is ever due.
async fn silence<S: ByteStream>(number: u32, course: &Course, stream: &mut S) -> Roused {
    poll_fn(|cx| {
        if stream.poll_fill(cx).is_ready() {
            return Poll::Ready(Roused::Lost);
        }
        if course.has_rate()
            && let Poll::Ready(Some(due)) = course.poll_next(number, cx)
        {
            return Poll::Ready(Roused::Due(due));
        }
        Poll::Pending
    })
    .await
}

async fn request<S: ByteStream>(stream: &mut S, course: &Course, ask: &Ask) -> Outcome {
    let mut alarm = course.exec().sleep(ask.timeout());
    exchange(stream, ask, course, &mut alarm).await
}

/// Closes a connection and waits for the server to do the same.
async fn close<S: ByteStream>(course: &Course, mut stream: S, timeout: Duration) {
    let ended = async {
        stream.shutdown().await?;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, StreamError>(())
    };
    // A reset is an end too; only silence is not.
    if course.exec().timeout(timeout, pin!(ended)).await.is_err() {
        course.tally.borrow_mut().failed(Failure::Timeout, course.now(), course.now());
    }
}

/// Opens a connection for work that was due at `due`; `None` after a failure, which is counted, and a pause.
pub(super) async fn open<D: Dial>(number: u32, course: &Course, dial: &D, due: Instant) -> Option<D::Stream> {
    match dial.dial(number).await {
        Ok(stream) => {
            course.tally.borrow_mut().opened(course.now());
            Some(stream)
        }
        Err(failure) => {
            course.tally.borrow_mut().failed(failure, due, course.now());
            course.exec().sleep(PAUSE).await;
            None
        }
    }
}

/// Counts a piece of work.
#[inline]
pub(super) fn file(course: &Course, failure: Option<Failure>, due: Instant) {
    let mut tally = course.tally.borrow_mut();
    match failure {
        None => tally.done(due, course.now()),
        Some(failure) => tally.failed(failure, due, course.now()),
    }
}
