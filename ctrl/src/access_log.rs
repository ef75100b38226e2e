//! The access log: records come from the cores through rings, become JSON lines here, and are written by a thread of their own, so
//! that a slow disk or reader holds up neither cores nor management. What does not fit is dropped and counted.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde::Serialize;
use tidegate_dataplane::io::affinity;
use tidegate_dataplane::l7::access::AccessRecord;
use tidegate_dataplane::l7::http1::Version;
use tidegate_dataplane::sync::spsc::Consumer;

use crate::config::model::AccessLog as Target;

/// Records taken from one core in one go; the next go comes a tick later.
const BURST: usize = 8192;
/// Batches that wait for the writer.
const QUEUE: usize = 32;

/// The reading ends of all cores' rings, and the writer.
#[derive(Debug)]
pub struct AccessLog {
    rings: Rings,
    target: Target,
    writer: SyncSender<Job>,
    lost: Arc<AtomicU64>,
    written: u64,
    /// To be opened as soon as the writer has room for the order.
    reopen: bool,
    done: Receiver<()>,
}

/// How long the last lines may take at the end.
const PARTING: Duration = Duration::from_secs(2);

/// The reading end of each core's ring, by the core's number.
struct Rings {
    rings: Vec<Option<Consumer<AccessRecord>>>,
    /// Cores bring a new ring when they start, and when they start again.
    new: Receiver<NewRing>,
}

/// A core's number and the reading end of its ring.
pub type NewRing = (usize, Consumer<AccessRecord>);

impl std::fmt::Debug for Rings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rings", self.rings.len())
    }
}

enum Job {
    Lines { text: Vec<u8>, count: u64 },
    Open(Target),
    Stop,
}

impl AccessLog {
    /// Opens the target and starts the writer, which keeps out of the way of threads pinned to `cpus`. Cores send the reading ends of their rings to `new`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn start(new: Receiver<NewRing>, target: Target, cpus: Vec<usize>) -> io::Result<Self> {
        let sink = Sink::open(&target)?;
        let (writer, jobs) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let (finished, done) = sync_channel(1);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            // Where the kernel refuses, the management thread says so.
            let _ = affinity::make_way(&cpus);
            write(sink, &jobs, &counted);
            // Nobody may be waiting any more.
            let _ = finished.send(());
        })?;
        Ok(Self { rings: Rings { rings: Vec::new(), new }, target, writer, lost, written: 0, reopen: false, done })
    }

    /// Takes what the cores have written since the last call. Call it often enough that their rings do not fill up.
    pub fn drain(&mut self) -> u64 {
        if self.reopen {
            self.reopen = self.writer.try_send(Job::Open(self.target.clone())).is_err();
        }
        let mut text = Vec::new();
        let mut count = 0;
        let off = self.target == Target::Off;
        let mut take = |ring: &mut Consumer<AccessRecord>| {
            for _ in 0..BURST {
                let taken = ring.pop_with(|record| {
                    if !off {
                        line(record, &mut text);
                    }
                });
                if taken.is_none() {
                    break;
                }
                count += 1;
            }
        };
        while let Ok((core, ring)) = self.rings.new.try_recv() {
            if self.rings.rings.len() <= core {
                self.rings.rings.resize_with(core + 1, || None);
            }
            // The core has started again: its old ring is emptied for the last time.
            if let Some(mut old) = self.rings.rings[core].replace(ring) {
                take(&mut old);
            }
        }
        self.rings.rings.iter_mut().flatten().for_each(take);
        if !off && count > 0 {
            self.written += count;
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                self.writer.try_send(Job::Lines { text, count })
            {
                self.lost.fetch_add(count, Ordering::Relaxed);
            }
        }
        count
    }

    /// Opens the file again under its name: after it was rotated away.
    pub fn reopen(&mut self) {
        self.drain();
        self.reopen = true;
        self.drain();
    }

    /// Writes elsewhere from now on. If that cannot be opened, the old target stays.
    pub fn retarget(&mut self, target: &Target) {
        if self.target != *target {
            self.drain();
            self.target = target.clone();
            self.reopen = true;
            self.drain();
        }
    }

    /// Lines that were not written, because the writer was behind or could not write.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lines handed to the writer, lost ones included.
    pub fn written(&self) -> u64 {
        self.written
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.drain();
        // A writer that hangs on its file must not keep the process from ending.
        if self.writer.try_send(Job::Stop).is_ok() {
            let _ = self.done.recv_timeout(PARTING);
        }
    }
}

enum Sink {
    File(File),
    Stdout,
    Stderr,
    Off,
}

impl Sink {
    fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::Stdout => Self::Stdout,
            Target::Stderr => Self::Stderr,
            Target::Off => Self::Off,
            Target::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot open the access log {}: {error}", path.display()))
                })?;
                Self::File(file)
            }
        })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(text),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text).and_then(|()| out.flush())
            }
            Self::Stderr => io::stderr().lock().write_all(text),
            Self::Off => Ok(()),
        }
    }
}

fn write(mut sink: Sink, jobs: &Receiver<Job>, lost: &AtomicU64) {
    let mut failing = false;
    for job in jobs {
        match job {
            Job::Stop => return,
            Job::Open(target) => match Sink::open(&target) {
                Ok(opened) => sink = opened,
                Err(error) => tracing::error!("{error}; the access log stays where it was"),
            },
            Job::Lines { text, count } => match sink.write(&text) {
                Ok(()) => failing = false,
                Err(error) => {
                    lost.fetch_add(count, Ordering::Relaxed);
                    if !failing {
                        tracing::error!("cannot write the access log: {error}; records are dropped and counted");
                    }
                    failing = true;
                }
            },
        }
    }
}

/// A line of the log. Empty and meaningless members are left out.
#[derive(Serialize)]
struct Line<'a> {
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<SocketAddr>,
    listener: Cow<'a, str>,
    tls: bool,
    method: Cow<'a, str>,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    version: &'static str,
    status: u16,
    reason: &'static str,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    route: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
    retries: u8,
    reused: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    upgraded: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: Cow<'a, str>,
}

fn line(record: &AccessRecord, out: &mut Vec<u8>) {
    let line = Line {
        time: Time(record.unix_ns),
        client: record.client,
        local: record.local,
        listener: String::from_utf8_lossy(record.listener.bytes()),
        tls: record.tls,
        method: text(record.method.bytes(), record.method.is_cut()),
        host: text(record.host.bytes(), record.host.is_cut()),
        path: text(record.path.bytes(), record.path.is_cut()),
        version: match record.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        status: record.status,
        reason: record.reason.word(),
        duration_ms: milliseconds(record.duration_ns),
        first_byte_ms: (record.first_byte_ns != 0).then(|| milliseconds(record.first_byte_ns)),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        route: String::from_utf8_lossy(record.route.bytes()),
        cluster: String::from_utf8_lossy(record.cluster.bytes()),
        endpoint: record.endpoint,
        retries: record.retries,
        reused: record.reused,
        upgraded: record.upgraded,
        request_id: String::from_utf8_lossy(record.request_id.bytes()),
    };
    let start = out.len();
    if serde_json::to_writer(&mut *out, &line).is_ok() {
        out.push(b'\n');
    } else {
        // Writing to memory does not fail; half a line would break the reader.
        out.truncate(start);
    }
}

/// What did not fit is shown as cut.
fn text(bytes: &[u8], cut: bool) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if cut { Cow::Owned(text.into_owned() + "…") } else { text }
}

/// To the microsecond.
#[allow(clippy::cast_precision_loss)] // Exact up to 285 years.
fn milliseconds(nanoseconds: u64) -> f64 {
    (nanoseconds / 1000) as f64 / 1000.0
}

/// Nanoseconds since 1970, shown by RFC 3339 in UTC with microseconds.
struct Time(u64);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Gregorian date from days, counted in eras of 400 years from 1 March 0000.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let micros = self.0 / 1000 % 1_000_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use tidegate_dataplane::sync::spsc::{Producer, channel};

    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000000Z"),
            (1_763_683_200, "2025-11-21T00:00:00.000000Z"),
        ] {
            assert_eq!(Time(seconds * 1_000_000_000).to_string(), expected);
        }
        assert_eq!(Time(1_234_567_999).to_string(), "1970-01-01T00:00:01.234567Z");
    }

    fn ring(rings: &SyncSender<NewRing>) -> Producer<AccessRecord> {
        let (producer, consumer) = channel(8, AccessRecord::default);
        rings.send((0, consumer)).expect("room");
        producer
    }

    fn record(path: &[u8]) -> AccessRecord {
        let mut record = AccessRecord { status: 200, duration_ns: 1_234_567, bytes_out: 5, ..AccessRecord::default() };
        record.path.set(path);
        record.method.set(b"GET");
        record.client = Some(([10, 0, 1, 2], 4000).into());
        record
    }

    #[test]
    fn lines_are_json_whatever_the_peer_sends() {
        let mut out = Vec::new();
        line(&record(b"/a\"\\\n\xff"), &mut out);
        line(&record(&[b'x'; 5000]), &mut out);
        let lines: Vec<serde_json::Value> = out
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["path"], "/a\"\\\n\u{fffd}");
        assert_eq!(lines[0]["duration_ms"], 1.234);
        assert_eq!(lines[0]["client"], "10.0.1.2:4000");
        assert!(lines[0].get("endpoint").is_none());
        assert!(lines[1]["path"].as_str().expect("text").ends_with("x…"));
    }

    #[test]
    fn records_reach_the_file_and_a_rotated_file_is_left() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("access.log");
        let (rings, new) = sync_channel(8);
        let mut producer = ring(&rings);
        let mut log = AccessLog::start(new, Target::File(path.clone()), Vec::new()).expect("opened");
        assert!(producer.push_with(|slot| *slot = record(b"/first")));
        assert_eq!(log.drain(), 1);
        let rotated = directory.path().join("access.log.1");
        while std::fs::read_to_string(&path).expect("there").is_empty() {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &rotated).expect("renamed");
        log.reopen();
        assert!(producer.push_with(|slot| *slot = record(b"/second")));
        drop(log);
        assert!(std::fs::read_to_string(&rotated).expect("there").contains("/first"));
        let new = std::fs::read_to_string(&path).expect("opened again");
        assert!(new.contains("/second") && !new.contains("/first"), "{new}");
    }

    #[test]
    fn a_target_that_cannot_be_opened_is_an_error_at_start_and_ignored_later() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let bad = Target::File(directory.path().join("no/such/directory"));
        assert!(AccessLog::start(sync_channel(1).1, bad.clone(), Vec::new()).is_err());
        let path = directory.path().join("good");
        let (rings, new) = sync_channel(8);
        let mut producer = ring(&rings);
        let mut log = AccessLog::start(new, Target::File(path.clone()), Vec::new()).expect("opened");
        log.retarget(&bad);
        assert!(producer.push_with(|slot| *slot = record(b"/still-here")));
        assert_eq!(log.drain(), 1);
        assert!(producer.push_with(|slot| *slot = record(b"/before-the-restart")));
        let mut restarted = ring(&rings);
        assert!(restarted.push_with(|slot| *slot = record(b"/after-the-restart")));
        drop(log);
        let written = std::fs::read_to_string(&path).expect("there");
        for expected in ["/still-here", "/before-the-restart", "/after-the-restart"] {
            assert!(written.contains(expected), "{written}");
        }
    }
}
