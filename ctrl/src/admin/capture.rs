//! `/capture`: packets at the ends of their ways, as a pcapng file that grows while it is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use serde::Deserialize;
use tidegate_dataplane::l2::Link;
use tidegate_dataplane::meta::PortId;
use tidegate_dataplane::see::capture::{Capture, Counts, Packet, Point, Points};
use tidegate_dataplane::see::{Filter, Watch};
use tidegate_dataplane::sync::spsc::Consumer;
use tokio::sync::mpsc::Sender;

use super::Desk;
use super::hang::{Hanging, NUMBER, Pause};
use super::show::{Chunks, position, refuse};
use crate::filter;
use crate::pcapng::{self, Direction, Interface, Statistics, Writer};
use crate::status::Status;
use crate::telemetry::Telemetry;
use crate::unix;

/// How often the rings are emptied.
const PERIOD: Duration = Duration::from_millis(5);
/// Packets per second and core, unless said otherwise.
const RATE: u32 = 10_000;
/// Longest packet that can be kept.
const MOST_SNAP: usize = 65_536;
/// Memory that the packets waiting in one core's ring take at most, and how many wait at least and at most.
const RING_BYTES: usize = 8 << 20;
const WAITING: (usize, usize) = (128, 4096);

/// `?port=…&at=…&filter=…&rate=…&count=…&snap=…&seconds=…`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Names, with commas in between; all ports without it.
    port: Option<String>,
    /// `rx`, `tx`, `drop`, with commas in between; the first two without it.
    at: Option<String>,
    filter: Option<String>,
    rate: Option<u32>,
    count: Option<u64>,
    snap: Option<usize>,
    seconds: Option<f64>,
}

/// What is to be captured.
struct Task {
    ports: Vec<usize>,
    points: Points,
    text: String,
    filter: Filter,
    rate: u32,
    snap: usize,
    count: u64,
    until: Option<Instant>,
}

impl Wanted {
    fn understood(self, telemetry: &Telemetry, status: &Status) -> Result<Task, String> {
        let names: Vec<&str> = telemetry.ports.iter().map(|port| port.name.as_str()).collect();
        let number = |name: &str| {
            let at = position("port", name, names.iter().copied());
            at.map_err(|unknown| elsewhere(name, &names, status).unwrap_or(unknown))
        };
        let ports = match &self.port {
            Some(wanted) => wanted.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
            None => (0..names.len()).collect(),
        };
        let mut points = Points { rx: false, tx: false, drop: false };
        for word in self.at.as_deref().unwrap_or("rx,tx").split(',') {
            match word {
                "rx" => points.rx = true,
                "tx" => points.tx = true,
                "drop" => points.drop = true,
                _ => return Err(format!("packets are captured at rx, tx or drop, not at `{word}`")),
            }
        }
        let text = self.filter.unwrap_or_default();
        let filter = filter::parse(&text).map_err(|error| error.to_string())?;
        let seconds = self.seconds.filter(|seconds| (0.0..1e9).contains(seconds)).map(Duration::from_secs_f64);
        Ok(Task {
            ports,
            points,
            text,
            filter,
            rate: self.rate.unwrap_or(RATE).clamp(1, 100_000_000),
            snap: self.snap.filter(|snap| *snap > 0).unwrap_or(MOST_SNAP).min(MOST_SNAP),
            count: self.count.filter(|count| *count > 0).unwrap_or(u64::MAX),
            until: seconds.map(|seconds| Instant::now() + seconds),
        })
    }
}

/// Where to capture what passes an interface that is no port.
fn elsewhere(name: &str, ports: &[&str], status: &Status) -> Option<String> {
    let known = status.tables.l3.link().interfaces().iter().find(|known| known.name == name)?;
    match known.link {
        Link::Port { port, .. } => {
            let port = ports.get(port.index())?;
            Some(format!("`{name}` is no port: capture on `{port}`, and choose by the filter `vlan NUMBER`"))
        }
        Link::Bridge => Some(format!("`{name}` is no port: capture on the members of the bridge")),
        Link::None => None,
    }
}

impl Task {
    fn make(&self, ports: usize) -> (Capture, Tap) {
        let wanted = (0..ports).map(|port| self.ports.contains(&port)).collect();
        let waiting = (RING_BYTES / self.snap).clamp(WAITING.0, WAITING.1);
        let (capture, packets, counts) =
            Capture::new(self.points, wanted, self.filter.clone(), self.snap, self.rate, waiting);
        (capture, Tap { packets, counts })
    }
}

/// The reading end of one core's capture.
struct Tap {
    packets: Consumer<Packet>,
    counts: Arc<[Counts]>,
}

pub(super) async fn capture(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let task = match wanted.understood(&desk.telemetry, &desk.status.borrow().clone()) {
        Ok(task) => task,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let mut taps = Vec::new();
    let ports = desk.telemetry.ports.len();
    let hanging = Hanging::new(&desk, |_| {
        let (capture, tap) = task.make(ports);
        taps.push(tap);
        Watch::Capture(capture)
    });
    let hanging = match hanging.await {
        Ok(hanging) => hanging,
        Err(error) => return error.into_response(),
    };
    let (sender, body) = Chunks::channel();
    let number = hanging.number.to_string();
    let origin = desk.lines.unix_origin_ns();
    let received = task.ports.iter().map(|port| rx_packets(&desk.telemetry, *port)).collect();
    let recorder = Recorder {
        telemetry: desk.telemetry,
        hanging,
        task,
        taps,
        origin,
        received,
        writer: Writer::default(),
        written: Vec::new(),
        lost: Vec::new(),
    };
    tokio::spawn(recorder.run(sender));
    answer(&number, body)
}

fn answer(number: &str, body: Body) -> Response {
    ([(header::CONTENT_TYPE.as_str(), "application/x-pcapng"), (NUMBER, number)], body).into_response()
}

fn rx_packets(telemetry: &Telemetry, port: usize) -> u64 {
    telemetry.sum(|core| &core.stats.port(PortId(port as u16)).rx_packets)
}

/// Writes what the cores see.
struct Recorder {
    telemetry: Arc<Telemetry>,
    hanging: Hanging,
    task: Task,
    taps: Vec<Tap>,
    /// Nanoseconds since 1970 at the zero of the cores' clock.
    origin: u64,
    /// Packets each port had received at the start.
    received: Vec<u64>,
    writer: Writer,
    /// Packets in the file, by place of the port.
    written: Vec<u64>,
    /// What captures that went with their core had counted: passed and lost.
    lost: Vec<(u64, u64)>,
}

impl Recorder {
    async fn run(mut self, sender: Sender<Bytes>) {
        let begin = unix::now_ns();
        self.written = vec![0; self.task.ports.len()];
        self.lost = vec![(0, 0); self.task.ports.len()];
        self.head();
        let mut left = self.task.count;
        loop {
            left -= self.empty(left);
            if self.send(&sender).await.is_err() {
                // Nobody reads any more: dropping what hangs takes it down.
                return;
            }
            if left == 0 || self.task.until.is_some_and(|until| Instant::now() >= until) {
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
        self.empty(left);
        self.tail(begin);
        // Whoever asked may have gone at the last moment.
        let _ = self.send(&sender).await;
    }

    async fn send(&mut self, sender: &Sender<Bytes>) -> Result<(), ()> {
        if self.writer.is_empty() {
            return Ok(());
        }
        sender.send(self.writer.take().into()).await.map_err(|_| ())
    }

    fn head(&mut self) {
        self.writer.section(concat!("tidegate ", env!("CARGO_PKG_VERSION")));
        for port in &self.task.ports {
            let view = &self.telemetry.ports[*port];
            self.writer.interface(&Interface {
                name: &view.name,
                description: &view.driver,
                mac: view.mac.0,
                filter: &self.task.text,
                snap: self.task.snap as u32,
            });
        }
    }

    /// Takes up to `most` packets from the rings, in the order of their times; how many there were.
    fn empty(&mut self, most: u64) -> u64 {
        let mut packets: Vec<Packet> = Vec::new();
        for tap in &mut self.taps {
            // Not more than were there: a core may add them as fast as they are taken.
            let there = tap.packets.capacity();
            packets.extend((0..there).map_while(|_| tap.packets.pop_with(|packet| packet.clone())));
        }
        packets.sort_by_key(|packet| packet.at);
        packets.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        for packet in &packets {
            self.write(packet);
        }
        packets.len() as u64
    }

    fn write(&mut self, packet: &Packet) {
        let Some(place) = self.task.ports.iter().position(|port| *port == packet.port.index()) else { return };
        let (direction, comment) = match packet.point {
            Point::Rx => (Direction::In, String::new()),
            Point::Tx => (Direction::Out, String::new()),
            // A packet of ours was on its way out, all others had come in.
            Point::Drop(reason) => {
                let direction = if packet.own { Direction::Out } else { Direction::In };
                (direction, format!("dropped: {reason}: {}", reason.explanation().trim()))
            }
        };
        self.written[place] += 1;
        self.writer.packet(&pcapng::Packet {
            interface: place as u32,
            unix_ns: self.origin + packet.at.as_nanos(),
            direction,
            data: &packet.data,
            length: packet.length as u32,
            missed: packet.missed,
            comment: &comment,
        });
    }

    /// Hangs the capture up again on cores that have been restarted, and with that forgot it.
    async fn rehang(&mut self) {
        for core in 0..self.taps.len() {
            if !self.taps[core].packets.is_orphaned() {
                continue;
            }
            for (place, port) in self.task.ports.iter().enumerate() {
                let counts = &self.taps[core].counts[*port];
                self.lost[place].0 += counts.passed.value();
                self.lost[place].1 += counts.missed();
            }
            let (capture, tap) = self.task.make(self.telemetry.ports.len());
            self.taps[core] = tap;
            // A core that is not yet back is tried again: the new ring is an orphan then too.
            let _ = self.hanging.put_up(core, Watch::Capture(capture)).await;
        }
    }

    fn tail(&mut self, begin: u64) {
        let end = unix::now_ns();
        for (place, port) in self.task.ports.iter().enumerate() {
            let counts = || self.taps.iter().map(|tap| &tap.counts[*port]);
            let passed = counts().map(|counts| counts.passed.value()).sum::<u64>() + self.lost[place].0;
            let lost: u64 = counts().map(Counts::missed).sum();
            self.writer.statistics(
                place as u32,
                &Statistics {
                    between: (begin, end),
                    received: rx_packets(&self.telemetry, *port).saturating_sub(self.received[place]),
                    passed,
                    lost: lost + self.lost[place].1,
                    delivered: self.written[place],
                },
            );
        }
    }
}
