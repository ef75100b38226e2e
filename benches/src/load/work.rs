//! What a connection of a load does from its first leave to its last: requests on a connection that stays open, or a new
//! connection for each.

use core::time::Duration;
use std::rc::Rc;

use tidegate_dataplane::clock::Instant;
use tidegate_dataplane::l7::stream::ByteStream as _;

use super::{
    course::Course,
    dial::Dial,
    exchange::{Ask, exchange},
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
