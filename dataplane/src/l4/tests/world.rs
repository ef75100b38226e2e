//! The virtual wire and the tasks of both hosts. Deterministic: one seed, one history.

use std::{
    cell::{Cell, RefCell},
    collections::BinaryHeap,
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::{
    clock::Instant,
    frame::Arena,
    io::{checksum, segment},
    l4::{Capabilities, End, Outcome, Secrets, SegmentSink, Sent, TcpHandle, TcpOptions, TcpStream},
    meta::{Flags, Meta},
};

/// A small generator (xorshift64*): good enough to decide fates.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.roll() >> 11) % n.max(1)
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }
}

/// What the wire does to packets; chances in 1/1000.
#[derive(Clone, Copy)]
pub(super) struct Wire {
    pub(super) delay: Duration,
    pub(super) loss: u32,
    pub(super) reorder: u32,
    pub(super) duplicate: u32,
    pub(super) corrupt: u32,
    /// Bits per second; 0 without limit.
    pub(super) rate: u64,
    /// Packets that wait for the rate before more are lost.
    pub(super) queue: usize,
}

impl Default for Wire {
    fn default() -> Self {
        Self { delay: Duration::from_micros(100), loss: 0, reorder: 0, duplicate: 0, corrupt: 0, rate: 0, queue: 1000 }
    }
}

/// Collects packets.
#[derive(Default)]
pub(super) struct Out {
    pub(super) packets: Vec<Vec<u8>>,
    lent: Vec<u8>,
    pub(super) full: bool,
    /// Longest super-segment that this port takes.
    pub(super) super_segment: u32,
    /// Super-segments taken.
    pub(super) cut: u32,
}

impl Out {
    /// What a port with offloads does to a packet: cuts it and completes checksums.
    fn complete(&mut self, packet: &[u8], sent: Sent) {
        let (big, small) = (Arena::new(1, 65536).expect("memory"), Arena::new(1, 2048).expect("memory"));
        let mut frame = big.copy_from(packet).expect("room");
        let mut meta = Meta {
            l4: sent.tcp_at as u16,
            protocol: 6,
            segment_size: sent.segment_size,
            checksum_start: sent.tcp_at as u16,
            checksum_offset: 16,
            flags: Flags::CHECKSUM_PARTIAL,
            ..Meta::default()
        };
        if sent.segment_size == 0 {
            checksum::complete(&mut frame, &mut meta);
            return self.packets.push(frame.data().to_vec());
        }
        self.cut += 1;
        segment::cut(frame.data(), &meta, &small, |frame, _| self.packets.push(frame.data().to_vec()))
            .expect("a super-segment");
    }
}

impl SegmentSink for Out {
    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum: self.super_segment > 0, super_segment: self.super_segment }
    }
    fn has_room(&self) -> bool {
        !self.full
    }
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.full {
            return None;
        }
        self.lent = vec![0xa5; len];
        Some(&mut self.lent)
    }
    fn commit(&mut self, sent: Sent) {
        let packet = std::mem::take(&mut self.lent);
        if sent.checksum_partial { self.complete(&packet, sent) } else { self.packets.push(packet) }
    }
}

pub(super) struct Host {
    pub(super) tcp: TcpHandle,
    pub(super) address: IpAddr,
    pub(super) out: Out,
    /// Earliest time at which the wire is free again, and packets waiting for it.
    free_at: Instant,
    /// Whether to listen (everywhere).
    pub(super) listens: bool,
}

struct Flying {
    at: Instant,
    order: u64,
    to: usize,
    packet: Vec<u8>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

#[derive(Default)]
struct Flag(AtomicBool);
impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
}

type Watch = Box<dyn FnMut(Instant, usize, &[u8]) -> bool>;

/// Both hosts, the wire, the time.
pub(super) struct World {
    pub(super) now: Rc<Cell<Instant>>,
    pub(super) hosts: [Host; 2],
    pub(super) wire: Wire,
    pub(super) dice: Dice,
    flying: BinaryHeap<Flying>,
    order: u64,
    tasks: Vec<Task>,
    /// Sees every packet that is put on the wire with its receiver; false loses it.
    pub(super) watch: Option<Watch>,
    pub(super) sleepers: Rc<RefCell<Vec<(Instant, Waker)>>>,
}

pub(super) const PORT: u16 = 80;

impl World {
    pub(super) fn new(seed: u64, wire: Wire) -> Self {
        Self::with(seed, wire, &TcpOptions { max_connections: 4096, ..TcpOptions::default() }, false)
    }

    pub(super) fn with(seed: u64, wire: Wire, options: &TcpOptions, v6: bool) -> Self {
        let start = Instant::from_millis(1_000_000);
        let host = |n: u8| {
            let key = u64::from(n) + seed * 2;
            let secrets = Secrets { flows: (key, 1), sequence: (key, 2), cookies: (key, 3) };
            let address = if v6 {
                IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n])
            } else {
                IpAddr::from([10, 0, 0, n])
            };
            let tcp = TcpHandle::new(options.clone(), &secrets, Arc::default(), start);
            Host { tcp, address, out: Out::default(), free_at: start, listens: true }
        };
        Self {
            now: Rc::new(Cell::new(start)),
            hosts: [host(1), host(2)],
            wire,
            dice: Dice::new(seed),
            flying: BinaryHeap::new(),
            order: 0,
            tasks: Vec::new(),
            watch: None,
            sleepers: Rc::default(),
        }
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { future: Box::pin(future), flag });
    }

    /// Host 0 opens a connection to host 1.
    pub(super) fn connect(&self) -> TcpStream {
        let remote = SocketAddr::new(self.hosts[1].address, PORT);
        self.hosts[0].tcp.connect(self.hosts[0].address, remote, self.now.get()).expect("room and ports")
    }

    pub(super) fn accept(&self) -> Option<TcpStream> {
        self.hosts[1].tcp.accept()
    }

    /// Opens a connection and gives both ends.
    pub(super) fn pair(&mut self) -> (TcpStream, TcpStream) {
        let mut client = self.connect();
        for _ in 0..1000 {
            if let Some(server) = self.accept() {
                self.run_for(self.wire.delay * 3);
                assert_eq!(once(|cx| client.poll_connected(cx)), Poll::Ready(Ok(())));
                return (client, server);
            }
            self.step(None);
        }
        panic!("no connection after 1000 steps");
    }

    pub(super) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let (now, sleepers) = (Rc::clone(&self.now), Rc::clone(&self.sleepers));
        let until = now.get() + duration;
        poll_fn(move |cx| {
            if now.get() >= until {
                return Poll::Ready(());
            }
            sleepers.borrow_mut().push((until, cx.waker().clone()));
            Poll::Pending
        })
    }

    fn transmit(&mut self, from: usize) {
        let to = 1 - from;
        let now = self.now.get();
        for mut packet in std::mem::take(&mut self.hosts[from].out.packets) {
            if let Some(watch) = &mut self.watch
                && !watch(now, to, &packet)
            {
                continue;
            }
            let wire = self.wire;
            let start = self.hosts[from].free_at.max(now);
            let mut at = start;
            if let Some(nanos) = (packet.len() as u64 * 8_000_000_000).checked_div(wire.rate) {
                let time = Duration::from_nanos(nanos);
                if start - now > time * wire.queue as u32 {
                    continue; // The queue is full.
                }
                at = start + time;
                self.hosts[from].free_at = at;
            }
            if self.dice.chance(wire.loss) {
                continue;
            }
            if self.dice.chance(wire.corrupt) {
                let at = self.dice.below(packet.len() as u64 - 20) as usize + 20;
                packet[at] ^= 1 << self.dice.below(8);
            }
            at += wire.delay;
            if self.dice.chance(wire.reorder) {
                at += wire.delay.mul_f64(0.1 + self.dice.below(100) as f64 / 50.0);
            }
            if self.dice.chance(wire.duplicate) {
                self.order += 1;
                self.flying.push(Flying { at: at + wire.delay / 3, order: self.order, to, packet: packet.clone() });
            }
            self.order += 1;
            self.flying.push(Flying { at, order: self.order, to, packet });
        }
    }

    fn run_tasks(&mut self) {
        loop {
            let mut ran = false;
            self.tasks.retain_mut(|task| {
                if !task.flag.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                ran = true;
                let waker = Waker::from(Arc::clone(&task.flag));
                task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            if !ran {
                return;
            }
        }
    }

    /// Lets everybody do what is to be done now.
    pub(super) fn settle(&mut self) {
        let now = self.now.get();
        let mut due = Vec::new();
        self.sleepers.borrow_mut().retain(|(at, waker)| {
            if *at <= now {
                due.push(waker.clone());
            }
            *at > now
        });
        due.into_iter().for_each(Waker::wake);
        for host in &self.hosts {
            host.tcp.set_now(now);
        }
        self.run_tasks();
        for from in 0..2 {
            let host = &mut self.hosts[from];
            host.tcp.output(now, &mut host.out);
            self.transmit(from);
        }
    }

    /// Advances to the next event, not beyond `until`. False if there is none.
    pub(super) fn step(&mut self, until: Option<Instant>) -> bool {
        self.settle();
        let next = [
            self.flying.peek().map(|flying| flying.at),
            self.hosts[0].tcp.next_deadline(),
            self.hosts[1].tcp.next_deadline(),
            self.sleepers.borrow().iter().map(|(at, _)| *at).min(),
        ];
        let Some(next) = next.into_iter().flatten().min().filter(|&at| until.is_none_or(|until| at <= until)) else {
            return false;
        };
        self.now.set(next.max(self.now.get()));
        let now = self.now.get();
        while self.flying.peek().is_some_and(|flying| flying.at <= now) {
            let Some(Flying { to, packet, .. }) = self.flying.pop() else { break };
            self.deliver(to, packet);
        }
        true
    }

    /// Hands a packet to a host.
    pub(super) fn deliver(&mut self, to: usize, mut packet: Vec<u8>) -> Outcome {
        let now = self.now.get();
        let host = &mut self.hosts[to];
        let tcp_at = if packet[0] >> 4 == 4 { 20 } else { 40 };
        let listens = host.listens;
        let listen = move |address: SocketAddr| (listens && address.port() == PORT).then_some(7);
        let outcome = host.tcp.input(now, &mut packet, (tcp_at, false), &listen, &mut host.out);
        self.transmit(to);
        outcome
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let until = self.now.get() + duration;
        while self.step(Some(until)) {}
        self.now.set(until);
        self.settle();
    }

    /// Runs until all tasks are done. Panics after `limit` of virtual time.
    pub(super) fn finish(&mut self, limit: Duration) {
        let until = self.now.get() + limit;
        while !self.tasks.is_empty() {
            assert!(self.step(Some(until)), "{} tasks stand still", self.tasks.len());
        }
    }
}

/// Polls once with a waker that nobody hears.
pub(super) fn once<R>(f: impl FnOnce(&mut Context<'_>) -> R) -> R {
    f(&mut Context::from_waker(Waker::noop()))
}

/// Writes all of `data`.
pub(super) async fn write_all(stream: &mut TcpStream, mut data: &[u8]) -> Result<(), End> {
    while !data.is_empty() {
        let n = poll_fn(|cx| stream.poll_write(cx, &[data])).await?;
        data = &data[n..];
    }
    Ok(())
}

/// Reads one piece into a vector; empty at the end.
pub(super) async fn read_some(stream: &mut TcpStream) -> Result<Vec<u8>, End> {
    let piece = poll_fn(|cx| stream.poll_fill(cx).map(|result| result.map(<[u8]>::to_vec))).await?;
    stream.consume(piece.len());
    Ok(piece)
}

/// Octet `i` of the stream that starts with `seed`: any shift or loss shows.
pub(super) fn octet(seed: u64, i: u64) -> u8 {
    let x = (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> 56) as u8
}

/// Sends `len` octets and closes.
pub(super) async fn send_pattern(stream: &mut TcpStream, seed: u64, len: u64) -> Result<(), End> {
    let mut at = 0;
    while at < len {
        let piece: Vec<u8> = (at..len.min(at + 16_384)).map(|i| octet(seed, i)).collect();
        write_all(stream, &piece).await?;
        at += piece.len() as u64;
    }
    poll_fn(|cx| stream.poll_shutdown(cx)).await
}

/// Reads to the end and checks every octet; returns how many.
pub(super) async fn receive_pattern(stream: &mut TcpStream, seed: u64) -> Result<u64, End> {
    let mut at = 0;
    loop {
        let piece = read_some(stream).await?;
        if piece.is_empty() {
            return Ok(at);
        }
        for byte in piece {
            assert_eq!(byte, octet(seed, at), "octet {at}");
            at += 1;
        }
    }
}
