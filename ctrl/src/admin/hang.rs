//! Captures and traces that hang in the cores on behalf of whoever asked: put up on all cores or on none, and taken down when they
//! have seen enough, when they are told to, or when whoever asked has gone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use serde::Deserialize;
use tidegate_dataplane::see::order::Order;
use tidegate_dataplane::see::{Watch, watch};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

use super::Desk;
use super::show::refuse;
use crate::lines::{Lines, Silent};

/// The header that names what hangs, for `POST /stop`.
pub const NUMBER: &str = "tidegate-watch";

/// What hangs now, and how to tell whoever looks after it to stop.
#[derive(Clone, Debug, Default)]
pub struct Hangings(Arc<Mutex<BTreeMap<u64, Arc<Notify>>>>);

/// Why something cannot be hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangError {
    /// There are as many as there may be.
    Full,
    /// A core does not answer.
    Silent(Silent),
}

impl fmt::Display for HangError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "{} captures and traces run already: end one of them first", watch::MOST),
            Self::Silent(silent) => silent.fmt(f),
        }
    }
}

impl IntoResponse for HangError {
    fn into_response(self) -> Response {
        let code = match self {
            Self::Full => StatusCode::CONFLICT,
            Self::Silent(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        refuse(code, self)
    }
}

/// Why a pause is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It has lasted.
    Over,
    /// It is enough: what has been seen is still sent.
    Stopped,
    /// Nobody reads any more.
    Gone,
}

/// Something that hangs in all cores, until this is dropped.
pub(super) struct Hanging {
    pub(super) number: u64,
    lines: Arc<Lines>,
    hangings: Hangings,
    stop: Arc<Notify>,
}

impl Hanging {
    /// Hangs up what `make` makes for each core.
    pub(super) async fn new(desk: &Desk, mut make: impl FnMut(usize) -> Watch) -> Result<Self, HangError> {
        let stop = Arc::new(Notify::new());
        let hanging =
            Self { number: desk.lines.number(), lines: Arc::clone(&desk.lines), hangings: desk.hangings.clone(), stop };
        hanging.hangings.lock().insert(hanging.number, Arc::clone(&hanging.stop));
        for core in 0..desk.lines.cores() {
            // What is dropped here on failure takes the others down again.
            hanging.put_up(core, make(core)).await?;
        }
        Ok(hanging)
    }

    /// Hangs a watch up on one core: at first, and again when that core has been restarted.
    pub(super) async fn put_up(&self, core: usize, watch: Watch) -> Result<(), HangError> {
        let order = Order::Hang(Some(Box::new(watch)));
        match self.lines.ask_as(core, self.number, order).await {
            Ok(Order::Hang(None)) => Ok(()),
            Ok(_) => Err(HangError::Full),
            Err(silent) => Err(HangError::Silent(silent)),
        }
    }

    /// Waits for `period`, until somebody says that it is enough, or until whoever reads at the other end of `reader` has gone.
    pub(super) async fn pause(&self, period: Duration, reader: &Sender<Bytes>) -> Pause {
        tokio::select! {
            () = tokio::time::sleep(period) => Pause::Over,
            () = self.stop.notified() => Pause::Stopped,
            () = reader.closed() => Pause::Gone,
        }
    }

    /// Takes it down everywhere, so that nothing is added any more.
    pub(super) async fn take_down(&self) {
        take_down(&self.lines, self.number).await;
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.hangings.lock().remove(&self.number);
        let (lines, number) = (Arc::clone(&self.lines), self.number);
        // At the end of the process there is no runtime, and nothing to take down.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { take_down(&lines, number).await });
        }
    }
}

async fn take_down(lines: &Lines, number: u64) {
    for core in 0..lines.cores() {
        // A core that is silent carries the order out when it speaks again: it comes after the one to hang it up.
        let _ = lines.ask(core, Order::TakeDown(number, None)).await;
    }
}

impl Hangings {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `?number=…`.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    number: u64,
}

/// Ends a capture or a trace properly: what it has seen is still sent.
pub(super) async fn stop(State(desk): State<Desk>, Query(which): Query<Which>) -> Response {
    match desk.hangings.lock().get(&which.number) {
        Some(stop) => {
            stop.notify_one();
            "stopping\n".into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, format_args!("nothing hangs under the number {}", which.number)),
    }
}
