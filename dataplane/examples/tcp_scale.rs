//! What open connections cost: memory at rest, and time per segment as their number grows.
//!
//! `tcp_scale [COUNT]`: opens COUNT (default 100,000) connections from made-up peers on one core's TCP, then sends requests
//! of 100 octets that are answered with 100 octets, to connections in random order, among 1, 100, 10,000 and COUNT of them.
#![allow(missing_docs, unsafe_code, clippy::disallowed_methods, clippy::disallowed_macros)] // One clock_gettime: CPU time, not the wall's, is what a loaded machine leaves comparable.

use std::{net::SocketAddr, sync::Arc, task::Context, task::Poll, task::Waker, time::Duration};

use tidegate_dataplane::{
    clock::Instant,
    io::checksum::Sum,
    l4::{Capabilities, Secrets, SegmentSink, Sent, TcpHandle, TcpOptions, TcpStream},
};

#[derive(Default)]
struct Last {
    packet: Vec<u8>,
    len: usize,
    count: u64,
}

impl SegmentSink for Last {
    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum: true, super_segment: 0 }
    }
    fn has_room(&self) -> bool {
        true
    }
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.packet.resize(2048, 0);
        self.len = len;
        self.packet.get_mut(..len)
    }
    fn commit(&mut self, _: Sent) {
        self.count += 1;
    }
}

#[derive(Clone, Copy, Default)]
struct Peer {
    address: u32,
    port: u16,
    snd: u32,
    rcv: u32,
}

impl Peer {
    fn segment(&self, into: &mut [u8; 160], flags: u8, len: usize, options: &[u8]) -> usize {
        let head = 20 + options.len();
        let total = 20 + head + len;
        let p = &mut into[..total];
        p.fill(0x61);
        p[..12].copy_from_slice(&[0x45, 0, 0, total as u8, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        p[12..16].copy_from_slice(&self.address.to_be_bytes());
        p[16..20].copy_from_slice(&[10, 0, 0, 1]);
        p[20..22].copy_from_slice(&self.port.to_be_bytes());
        p[22..24].copy_from_slice(&[0, 80]);
        p[24..28].copy_from_slice(&self.snd.to_be_bytes());
        p[28..32].copy_from_slice(&self.rcv.to_be_bytes());
        p[32..40].copy_from_slice(&[(head as u8 / 4) << 4, flags, 0xff, 0, 0, 0, 0, 0]);
        p[40..40 + options.len()].copy_from_slice(options);
        let sum = Sum::new().add_pseudo(&p[12..16], &p[16..20], 6, total - 20).add(&p[20..]).finish();
        p[36..38].copy_from_slice(&sum.to_be_bytes());
        total
    }
}

/// CPU time of this thread, seconds.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the address of one; there is no safe way to this clock in std.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS: 0 kB");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).unwrap_or(0) * 1024
}

struct Bench {
    tcp: TcpHandle,
    now: Instant,
    sink: Last,
    peers: Vec<Peer>,
    streams: Vec<TcpStream>,
}

impl Bench {
    fn deliver(&mut self, packet: &mut [u8]) {
        let listen = |address: SocketAddr| (address.port() == 80).then_some(0);
        self.now += Duration::from_nanos(700);
        self.tcp.input(self.now, packet, (20, false), &listen, &mut self.sink);
    }

    fn open(&mut self, n: u32) {
        let mut peer = Peer { address: 0x0b00_0000 + n / 50_000, port: 1024 + (n % 50_000) as u16, snd: n, rcv: 0 };
        let mut buffer = [0; 160];
        let len = peer.segment(&mut buffer, 2, 0, &[2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2]);
        self.deliver(&mut buffer[..len]);
        peer.snd += 1;
        peer.rcv = u32::from_be_bytes(self.sink.packet[24..28].try_into().expect("four bytes")).wrapping_add(1);
        let len = peer.segment(&mut buffer, 16, 0, &[]);
        self.deliver(&mut buffer[..len]);
        self.streams.push(self.tcp.accept().expect("open"));
        self.tcp.output(self.now, &mut self.sink);
        self.peers.push(peer);
    }

    fn request(&mut self, n: usize) -> bool {
        let mut buffer = [0; 160];
        let len = self.peers[n].segment(&mut buffer, 24, 100, &[]);
        self.deliver(&mut buffer[..len]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut data = [0; 200];
        let Poll::Ready(Ok(100)) = self.streams[n].poll_read(&mut cx, &mut data) else { return false };
        let Poll::Ready(Ok(100)) = self.streams[n].poll_write(&mut cx, &[&data[..100]]) else { return false };
        self.tcp.output(self.now, &mut self.sink);
        self.peers[n].snd = self.peers[n].snd.wrapping_add(100);
        self.peers[n].rcv = self.peers[n].rcv.wrapping_add(100);
        let len = self.peers[n].segment(&mut buffer, 16, 0, &[]);
        self.deliver(&mut buffer[..len]);
        self.tcp.output(self.now, &mut self.sink);
        true
    }
}

fn main() {
    let count: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let secrets = Secrets { flows: (1, 2), sequence: (3, 4), cookies: (5, 6) };
    let now = Instant::from_millis(1);
    let before = resident();
    let tcp = TcpHandle::new(TcpOptions::default(), &secrets, Arc::default(), now);
    let mut bench = Bench { tcp, now, sink: Last::default(), peers: Vec::new(), streams: Vec::new() };
    let start = cpu_seconds();
    (0..count).for_each(|n| bench.open(n));
    let took = cpu_seconds() - start;
    let idle = resident() - before;
    println!(
        "{count} connections opened, {:.2} us each; resident {:.1} MB, {} B each (streams and peers of this bench included)",
        took * 1e6 / f64::from(count),
        idle as f64 / 1e6,
        idle / count as usize
    );
    let mut dice = 88_172_645_463_325_252u64;
    let sizes = std::env::args()
        .nth(2)
        .and_then(|n| n.parse().ok())
        .map_or(vec![1, 10, 100, 1_000, 10_000, count as usize], |n| vec![n]);
    for among in sizes {
        for spread in ["hot", "rested"] {
            if spread == "rested" {
                bench.now += Duration::from_secs(10);
                bench.tcp.output(bench.now, &mut bench.sink);
                bench.tcp.output(bench.now, &mut bench.sink);
            }
            let rounds = if spread == "hot" { 300_000 } else { among.min(100_000) };
            let stats = Arc::clone(bench.tcp.stats());
            let hydrations = stats.hydrations.value();
            let start = cpu_seconds();
            let mut failed = 0;
            for round in 0..rounds {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                let n = if spread == "hot" { (dice >> 20) as usize % among } else { round % among };
                failed += u32::from(!bench.request(n));
            }
            let took = (cpu_seconds() - start) * 1e9 / rounds as f64;
            println!(
                "among {among:>6} {spread:>6}: {took:>6.0} ns per request (3 segments), {:.3} hydrations each, failed {failed}, live {}, resident {:.0} MB",
                (stats.hydrations.value() - hydrations) as f64 / rounds as f64,
                stats.live.value(),
                resident() as f64 / 1e6
            );
        }
    }
}
