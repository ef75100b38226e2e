//! `/trace`: the ways of real packets, a line of JSON each, as they go.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_dataplane::see::{Counts, Filter, Record, Trace, Watch};
use tidegate_dataplane::sync::spsc::Consumer;
use tokio::sync::mpsc::Sender;

use super::Desk;
use super::hang::{Hanging, NUMBER, Pause};
use super::show::{Chunks, line, refuse};
use crate::filter;
use crate::story::{Surroundings, tell};

/// How often the rings are emptied.
const PERIOD: Duration = Duration::from_millis(20);
/// Packets that wait in one core's ring: 5 KiB each.
const WAITING: usize = 128;
/// Packets per second and core, unless said otherwise.
const RATE: u32 = 100;
/// The most that may be asked for: a packet that is followed goes its way alone, which costs about a microsecond.
const MOST_RATE: u32 = 10_000;

/// `?filter=…&count=…&rate=…`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    filter: Option<String>,
    count: Option<u64>,
    rate: Option<u32>,
}

/// The last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Ways before it.
    pub followed: u64,
    /// Packets that passed the filter and were not followed: too many a second, or the reader too slow.
    pub missed: u64,
}

/// The reading end of one core's trace.
struct Tap {
    ways: Consumer<Record>,
    counts: Arc<Counts>,
}

fn make(filter: &Filter, rate: u32) -> (Trace, Tap) {
    let (trace, ways, counts) = Trace::new(filter.clone(), rate, WAITING);
    (trace, Tap { ways, counts })
}

pub(super) async fn trace(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let filter = match filter::parse(wanted.filter.as_deref().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    let rate = wanted.rate.unwrap_or(RATE).clamp(1, MOST_RATE);
    let mut taps = Vec::new();
    let hanging = Hanging::new(&desk, |_| {
        let (trace, tap) = make(&filter, rate);
        taps.push(tap);
        Watch::Trace(trace)
    });
    let hanging = match hanging.await {
        Ok(hanging) => hanging,
        Err(error) => return error.into_response(),
    };
    let number = hanging.number.to_string();
    let left = wanted.count.filter(|count| *count > 0).unwrap_or(u64::MAX);
    let (sender, body) = Chunks::channel();
    let origin = desk.lines.unix_origin_ns();
    tokio::spawn(Follower { desk, hanging, filter, rate, taps, left, origin, told: 0, missed: 0 }.run(sender));
    ([(header::CONTENT_TYPE.as_str(), "application/x-ndjson"), (NUMBER, number.as_str())], body).into_response()
}

/// Tells what the cores record.
struct Follower {
    desk: Desk,
    hanging: Hanging,
    filter: Filter,
    rate: u32,
    taps: Vec<Tap>,
    left: u64,
    origin: u64,
    told: u64,
    /// By traces that went with their core.
    missed: u64,
}

impl Follower {
    async fn run(mut self, sender: Sender<Bytes>) {
        loop {
            let lines = self.empty();
            if !lines.is_empty() && sender.send(lines.into()).await.is_err() {
                return;
            }
            if self.left == 0 {
                break;
            }
            self.rehang().await;
            match self.hanging.pause(PERIOD, &sender).await {
                Pause::Over => {}
                Pause::Stopped => break,
                Pause::Gone => return,
            }
        }
        self.hanging.take_down().await;
        let mut lines = self.empty();
        let missed = self.taps.iter().map(|tap| tap.counts.missed()).sum::<u64>() + self.missed;
        line(&mut lines, &Followed { followed: self.told, missed });
        // Whoever asked may have gone at the last moment.
        let _ = sender.send(lines.into()).await;
    }

    /// Lines about what has been recorded.
    fn empty(&mut self) -> Vec<u8> {
        let mut records: Vec<Record> = Vec::new();
        for tap in &mut self.taps {
            let taken = |record: &mut Record| std::mem::replace(record, Record::empty());
            records.extend((0..WAITING).map_while(|_| tap.ways.pop_with(taken)));
        }
        records.sort_by_key(|record| record.at);
        records.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        let status = self.desk.status.borrow().clone();
        let around = Surroundings { status: &status, telemetry: &self.desk.telemetry, unix_origin_ns: self.origin };
        let mut lines = Vec::new();
        for record in &records {
            line(&mut lines, &tell(record, &around));
        }
        self.told += records.len() as u64;
        self.left -= records.len() as u64;
        lines
    }

    /// Hangs the trace up again on cores that have been restarted, and with that forgot it.
    async fn rehang(&mut self) {
        for core in 0..self.taps.len() {
            if self.taps[core].ways.is_orphaned() {
                self.missed += self.taps[core].counts.missed();
                let (trace, tap) = make(&self.filter, self.rate);
                self.taps[core] = tap;
                // A core that is not yet back is tried again: the new ring is an orphan then too.
                let _ = self.hanging.put_up(core, Watch::Trace(trace)).await;
            }
        }
    }
}
