//! AF_XDP ports on veth interfaces, with the kernel or a raw socket at the other end. Needs root.
#![allow(unsafe_code)] // poll(2), to sleep as a core does.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // A thread sends while the port sleeps; a child reports.

mod netns;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use ipnet::IpNet;
use netns::{Raw, enter, eventually, frame, ip, is_ours, keep_only, receive, run, tcp_partial};
use tidegate_dataplane::{
    batch::Batch,
    frame::Arena,
    io::{
        Device, DriverSpec, MacAddr, Port, PortSpec, TxQueue,
        error::Cause,
        spec::{AfXdpSpec, Capture, XdpMode, ZeroCopy},
    },
    meta::{Meta, PortId},
    stats::PortStats,
};

/// A veth pair: `tgx-v0` for the port, `tgx-v1` for the kernel.
fn veth(queues: u16) {
    pair("tgx-v0", "tgx-v1", queues);
}

fn pair(ours: &str, theirs: &str, queues: u16) {
    let count = format!("numrxqueues {queues} numtxqueues {queues}");
    ip(&format!("link add {ours} {count} type veth peer name {theirs} {count}"));
    for end in [ours, theirs] {
        if queues > 1 {
            run("ethtool", &format!("-L {end} rx {queues} tx {queues}"));
        }
        ip(&format!("link set {end} up"));
    }
}

fn on(interface: &str, change: impl FnOnce(&mut AfXdpSpec)) -> PortSpec {
    let mut xdp = AfXdpSpec::new(interface);
    change(&mut xdp);
    PortSpec { name: "wan".to_owned(), driver: DriverSpec::AfXdp(xdp), mac: None, mtu: 1500 }
}

fn open(spec: &PortSpec, arena: &Arena) -> (Device, Port) {
    let device = Device::open(spec, 1).unwrap_or_else(|error| panic!("{error}"));
    let port = device.queue(0).unwrap().attach(arena).unwrap_or_else(|error| panic!("{error}"));
    (device, port)
}

/// Sends all of `packets` from frames of `arena`.
fn send(port: &mut Port, arena: &Arena, packets: &[Vec<u8>]) -> PortStats {
    let stats = PortStats::default();
    let mut queue = TxQueue::new();
    let mut rest = packets.iter();
    eventually("all packets are in the ring", || {
        while !queue.is_full()
            && let Some(packet) = rest.as_slice().first()
            && let Some(frame) = arena.copy_from(packet)
        {
            queue.push((frame, Meta::default()));
            rest.next();
        }
        port.tx(arena, &mut queue, &stats);
        port.flush();
        queue.is_empty() && rest.len() == 0
    });
    stats
}

/// Moves `count` packets each way and checks that every one arrives, in order, and no frame is lost.
fn both_ways(spec: &PortSpec, arena: &Arena, driver: &str, count: u32) {
    let (device, mut port) = open(spec, arena);
    assert_eq!(device.info().driver, driver);
    let raw = Raw::open("tgx-v1");
    let numbered = |number: u32| frame(&number.to_be_bytes().repeat(10 + number as usize % 300));
    let stats = PortStats::default();
    let mut next = 0;
    while next < count {
        let burst = 32.min(count - next);
        (next..next + burst).for_each(|number| raw.send(&numbered(number)));
        let slots = receive(&mut port, arena, &stats, burst as usize, is_ours);
        for (number, slot) in (next..).zip(&slots) {
            assert_eq!(slot.frame.as_ref().unwrap().data(), numbered(number));
            assert_eq!(slot.meta.port, PortId(7));
        }
        next += burst;
    }
    assert_eq!((stats.rx_packets.value(), stats.rx_errors.value()), (u64::from(count), 0));

    let packets: Vec<_> = (0..count).map(numbered).collect();
    let sent = send(&mut port, arena, &packets);
    assert_eq!((sent.tx_packets.value(), sent.tx_copies.value()), (u64::from(count), 0));
    eventually("the ring is drained", || {
        port.flush();
        port.prepare_sleep()
    });
    for packet in &packets {
        assert_eq!(&raw.receive(is_ours), packet);
    }
    drop((device, port));
    assert_eq!(arena.available(), arena.capacity(), "every chunk is home");
}

#[test]
fn native_packets_pass_both_ways() {
    enter();
    veth(1);
    both_ways(&on("tgx-v0", |_| ()), &Arena::new(1024, 2048).unwrap(), "af_xdp native", 2000);
}

#[test]
fn generic_packets_pass_both_ways() {
    enter();
    veth(1);
    let spec = on("tgx-v0", |xdp| xdp.mode = XdpMode::Generic);
    both_ways(&spec, &Arena::new(1024, 4096).unwrap(), "af_xdp generic", 2000);
}

#[test]
fn an_arena_with_very_large_frames_serves_too() {
    enter();
    veth(1);
    both_ways(&on("tgx-v0", |_| ()), &Arena::new(256, 65536).unwrap(), "af_xdp native", 200);
}

/// Packets of `len` bytes each way, between two ports on the same memory and the kernel at either end.
fn jumbo(mode: XdpMode, chunk: usize, mtu: u16) {
    veth(1);
    pair("tgx-w0", "tgx-w1", 1);
    for end in ["tgx-v0", "tgx-v1", "tgx-w0", "tgx-w1"] {
        ip(&format!("link set {end} mtu {mtu}"));
    }
    let arena = Arena::new(512, chunk).unwrap();
    let wide = |interface| PortSpec { mtu, ..on(interface, |xdp| xdp.mode = mode) };
    let (left_device, mut left) = open(&wide("tgx-v0"), &arena);
    let (right_device, mut right) = open(&wide("tgx-w0"), &arena);
    let (from, to) = (Raw::open("tgx-v1"), Raw::open("tgx-w1"));
    let (received, sent) = (PortStats::default(), PortStats::default());
    let most = usize::from(mtu) + 14;
    let lengths = [60, 1514, 3839, 3840, 3841, 4096, 7936, 7937, 8192, most - 1, most];
    for round in 0..40u8 {
        let packets: Vec<_> = lengths
            .iter()
            .map(|len| {
                let mut packet = frame(&vec![round; len - 14]);
                packet.iter_mut().enumerate().skip(14).for_each(|(at, byte)| *byte = (at / 7) as u8 ^ round);
                packet
            })
            .collect();
        packets.iter().for_each(|packet| from.send(packet));
        let mut queue = TxQueue::new();
        for slot in receive(&mut left, &arena, &received, packets.len(), is_ours) {
            queue.push((slot.frame.unwrap(), slot.meta));
        }
        eventually("everything is in the ring", || {
            right.tx(&arena, &mut queue, &sent);
            right.flush();
            queue.is_empty()
        });
        for packet in &packets {
            let arrived = to.receive(is_ours);
            assert!(&arrived == packet, "{} bytes of {}", arrived.len(), packet.len());
        }
    }
    assert_eq!((received.rx_errors.value(), sent.tx_errors.value(), sent.tx_copies.value()), (0, 0, 0));
    assert_eq!(sent.tx_packets.value(), 40 * lengths.len() as u64);
    drop((left_device, left, right_device, right));
    assert_eq!(arena.available(), arena.capacity(), "every chunk is home");
}

#[test]
fn jumbo_frames_pass_in_pieces() {
    enter();
    jumbo(XdpMode::Native, 16384, 9000);
}

#[test]
fn jumbo_frames_pass_in_pieces_through_the_generic_hook() {
    enter();
    jumbo(XdpMode::Generic, 65536, 9000);
}

#[test]
fn a_packet_longer_than_a_frame_is_counted_and_the_next_one_comes() {
    enter();
    veth(1);
    for end in ["tgx-v0", "tgx-v1"] {
        ip(&format!("link set {end} mtu 9000"));
    }
    let arena = Arena::new(256, 8192).unwrap();
    let spec = PortSpec { mtu: 4000, ..on("tgx-v0", |_| ()) };
    let (_device, mut port) = open(&spec, &arena);
    let raw = Raw::open("tgx-v1");
    raw.send(&frame(&[1; 8900]));
    raw.send(&frame(&[2; 4000]));
    let stats = PortStats::default();
    let slots = receive(&mut port, &arena, &stats, 1, is_ours);
    assert_eq!(slots[0].frame.as_ref().map(|frame| (frame.len(), frame.data()[4013])), Some((4014, 2)));
    assert_eq!(stats.rx_errors.value(), 1);
}

#[test]
fn busy_polling_receives() {
    enter();
    veth(1);
    let spec = on("tgx-v0", |xdp| xdp.busy_poll_us = 20);
    both_ways(&spec, &Arena::new(1024, 2048).unwrap(), "af_xdp native", 500);
}

#[test]
fn each_queue_has_its_port_on_the_same_memory() {
    enter();
    veth(2);
    let arena = Arena::new(1024, 2048).unwrap();
    let device = Device::open(&on("tgx-v0", |_| ()), 2).unwrap();
    let mut ports: Vec<_> = (0..2).map(|queue| device.queue(queue).unwrap().attach(&arena).unwrap()).collect();
    let raw = Raw::open("tgx-v1");
    for number in 0..40u8 {
        let mut packet = tcp_partial([0xff; 6], 10);
        packet[35] = number;
        raw.send(&packet);
    }
    let mut seen = [0; 2];
    eventually("all flows, over both queues", || {
        for (port, seen) in ports.iter_mut().zip(&mut seen) {
            let mut batch = Batch::new();
            port.rx(PortId(0), &arena, &mut batch, &PortStats::default());
            *seen += batch.len();
        }
        seen[0] + seen[1] == 40 && seen[0] > 0 && seen[1] > 0
    });
    for (number, port) in ports.iter_mut().enumerate() {
        send(port, &arena, &[frame(&[number as u8])]);
        assert_eq!(raw.receive(is_ours)[14], number as u8);
    }
    // The first socket registered the memory; the queue that remains goes on without it, and a new one joins that.
    drop(ports.remove(0));
    send(&mut ports[0], &arena, &[frame(b"left")]);
    assert_eq!(&raw.receive(is_ours)[14..18], b"left");
    let mut again = device.queue(0).unwrap().attach(&arena).unwrap();
    send(&mut again, &arena, &[frame(b"back")]);
    assert_eq!(&raw.receive(is_ours)[14..18], b"back");
    drop((ports, again));
    assert_eq!(arena.available(), arena.capacity());
}

#[test]
fn from_port_to_port_nothing_is_copied() {
    enter();
    veth(1);
    pair("tgx-w0", "tgx-w1", 1);
    let arena = Arena::new(1024, 2048).unwrap();
    let (_left, mut left) = open(&on("tgx-v0", |_| ()), &arena);
    let (_right, mut right) = open(&on("tgx-w0", |_| ()), &arena);
    let (from, to) = (Raw::open("tgx-v1"), Raw::open("tgx-w1"));
    let (received, sent) = (PortStats::default(), PortStats::default());
    for round in 0..100u8 {
        for number in 0..10u8 {
            from.send(&frame(&[round, number]));
        }
        let mut queue = TxQueue::new();
        for slot in receive(&mut left, &arena, &received, 10, is_ours) {
            queue.push((slot.frame.unwrap(), slot.meta));
        }
        right.tx(&arena, &mut queue, &sent);
        right.flush();
        assert!(queue.is_empty());
        for number in 0..10u8 {
            assert_eq!(to.receive(is_ours)[14..16], [round, number]);
        }
    }
    assert_eq!((sent.tx_packets.value(), sent.tx_copies.value()), (1000, 0));
    // Frames of other memory are copied, and counted.
    let other = Arena::new(8, 2048).unwrap();
    let copied = send(&mut right, &other, &[frame(b"one"), frame(b"two")]);
    assert_eq!((copied.tx_packets.value(), copied.tx_copies.value()), (2, 2));
    assert_eq!(other.available(), 8);
    assert_eq!(&to.receive(is_ours)[14..17], b"one");
    assert_eq!(&to.receive(is_ours)[14..17], b"two");
    drop((left, right));
    assert_eq!(arena.available(), arena.capacity());
}

#[test]
fn one_flush_sends_a_whole_batch() {
    enter();
    veth(1);
    let arena = Arena::new(1024, 2048).unwrap();
    let (_device, mut port) = open(&on("tgx-v0", |_| ()), &arena);
    let raw = Raw::open("tgx-v1");
    let stats = PortStats::default();
    for batch in 0..2u8 {
        let mut queue = TxQueue::new();
        for number in 0..64u8 {
            queue.push((arena.copy_from(&frame(&[batch, number])).unwrap(), Meta::default()));
        }
        port.tx(&arena, &mut queue, &stats);
        assert!(queue.is_empty());
    }
    port.flush();
    for number in 0..128u8 {
        assert_eq!(raw.receive(is_ours)[14..16], [number / 64, number % 64]);
    }
}

#[test]
fn what_never_fits_does_not_block_the_rest() {
    enter();
    veth(1);
    let (arena, large) = (Arena::new(256, 2048).unwrap(), Arena::new(4, 8192).unwrap());
    let (_device, mut port) = open(&on("tgx-v0", |_| ()), &arena);
    let raw = Raw::open("tgx-v1");
    let sent = send(&mut port, &large, &[frame(b"one"), frame(&[9; 3000]), frame(b"two")]);
    assert_eq!((sent.tx_packets.value(), sent.tx_errors.value()), (2, 1));
    assert_eq!(&raw.receive(is_ours)[14..17], b"one");
    assert_eq!(&raw.receive(is_ours)[14..17], b"two");
    assert_eq!(large.available(), 4);
}

#[test]
fn an_interface_that_goes_down_takes_nobody_with_it() {
    enter();
    veth(1);
    let arena = Arena::new(256, 2048).unwrap();
    let (device, mut port) = open(&on("tgx-v0", |_| ()), &arena);
    let raw = Raw::open("tgx-v1");
    ip("link set tgx-v0 down");
    let stats = PortStats::default();
    let mut queue = TxQueue::new();
    queue.push((arena.copy_from(&frame(b"later")).unwrap(), Meta::default()));
    port.tx(&arena, &mut queue, &stats);
    port.flush();
    assert!(!port.prepare_sleep(), "there is a packet to send");
    // After a while the core may sleep nonetheless.
    eventually("patience ends", || port.prepare_sleep());
    ip("link set tgx-v0 up");
    eventually("the packet goes out", || {
        port.rx(PortId(0), &arena, &mut Batch::new(), &stats);
        raw.poll().is_some_and(|packet| packet[14..19] == *b"later")
    });
    ip("link del tgx-v0");
    port.rx(PortId(0), &arena, &mut Batch::new(), &stats);
    drop((device, port));
    assert_eq!(arena.available(), arena.capacity());
}

#[test]
fn a_port_leaves_memory_for_others() {
    enter();
    veth(1);
    let arena = Arena::new(512, 2048).unwrap();
    let (_device, mut port) = open(&on("tgx-v0", |_| ()), &arena);
    assert_eq!(arena.available(), 512 - 64, "an eighth is the port's");
    let raw = Raw::open("tgx-v1");
    // Nobody takes the packets: the ring fills, the rest is lost and counted, and the arena keeps its frames.
    for _ in 0..500 {
        raw.send(&frame(b"flood"));
    }
    let stats = PortStats::default();
    let mut taken = Vec::new();
    eventually("the losses are counted", || {
        // The kernel is asked for its counters once in some thousand turns.
        for _ in 0..256 {
            let mut batch = Batch::new();
            port.rx(PortId(0), &arena, &mut batch, &stats);
            taken.extend(batch.drain());
        }
        stats.rx_errors.value() > 0
    });
    assert_eq!(stats.rx_packets.value() + stats.rx_errors.value(), 500);
    // All that is held: the port stops to lend where the reserve begins.
    for _ in 0..2000 {
        raw.send(&frame(b"flood"));
        let mut batch = Batch::new();
        port.rx(PortId(0), &arena, &mut batch, &stats);
        taken.extend(batch.drain());
    }
    assert_eq!(arena.available(), 512 / 16);
    drop((port, taken));
    assert_eq!(arena.available(), 512);
}

/// ARP (request) for `target`, as Ethernet frame.
fn arp(target: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    packet.extend([2, 0, 0, 0, 0, 0x99, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x99, 10, 9, 0, 2]);
    packet.extend([0; 6]);
    packet.extend(target);
    packet.resize(60, 0);
    packet
}

/// An IPv4 packet to `to`, of an experimental protocol (RFC 3692).
fn ipv4(to: [u8; 4]) -> Vec<u8> {
    let mut packet = tcp_partial([0xff; 6], 10);
    packet[23] = 253;
    packet[30..34].copy_from_slice(&to);
    packet
}

/// An IPv6 packet to `to`; `body` is ICMPv6.
fn ipv6(to: &str, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x86, 0xdd, 0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([58, 255]);
    packet.extend("fd09::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend(to.parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend(body);
    packet
}

/// A neighbour solicitation for `target`.
fn solicitation(target: &str) -> Vec<u8> {
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend(target.parse::<std::net::Ipv6Addr>().unwrap().octets());
    ipv6("ff02::1:ff00:1", &body)
}

fn prefixes(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|prefix| prefix.parse().unwrap()).collect()
}

/// Sends each packet, then a marker to both sides, and checks who got it.
fn shared(mode: XdpMode) {
    enter();
    veth(1);
    let arena = Arena::new(512, 2048).unwrap();
    let spec = on("tgx-v0", |xdp| {
        xdp.mode = mode;
        xdp.capture = Capture::Owned;
        xdp.owned = prefixes(&["10.9.0.1/32", "10.8.0.0/16", "fd09::1/128", "fd08::/64"]);
    });
    let (mut device, mut port) = open(&spec, &arena);
    let (wire, kernel) = (Raw::open("tgx-v1"), Raw::open("tgx-v0"));
    let check = |port: &mut Port, packet: Vec<u8>, ours: bool| {
        wire.send(&packet);
        if ours {
            receive(port, &arena, &PortStats::default(), 1, |seen| seen == packet);
        } else {
            kernel.receive(|seen| seen == packet);
            let mut batch = Batch::new();
            port.rx(PortId(0), &arena, &mut batch, &PortStats::default());
            assert!(batch.is_empty(), "{batch:?}");
        }
        assert!(!std::iter::from_fn(|| kernel.poll()).any(|seen| seen == packet), "only one gets it");
    };
    check(&mut port, ipv4([10, 9, 0, 1]), true);
    check(&mut port, ipv4([10, 9, 0, 3]), false);
    check(&mut port, ipv4([10, 8, 200, 3]), true);
    check(&mut port, ipv4([255, 255, 255, 255]), false);
    check(&mut port, arp([10, 9, 0, 1]), true);
    check(&mut port, arp([10, 9, 0, 3]), false);
    check(&mut port, ipv6("fd09::1", &[128; 40]), true);
    check(&mut port, ipv6("fd09::3", &[128; 40]), false);
    check(&mut port, ipv6("fd08::77", &[128; 40]), true);
    check(&mut port, ipv6("ff02::1", &[134; 40]), false);
    check(&mut port, solicitation("fd09::1"), true);
    check(&mut port, solicitation("fd09::3"), false);
    check(&mut port, frame(b"neither"), false);
    check(&mut port, vec![0xff; 14], false);
    // A reload: one stays, one goes, one comes.
    device.own(&prefixes(&["10.9.0.1/32", "10.9.0.3/32"])).unwrap();
    check(&mut port, ipv4([10, 9, 0, 1]), true);
    check(&mut port, ipv4([10, 9, 0, 3]), true);
    check(&mut port, ipv4([10, 8, 200, 3]), false);
    check(&mut port, ipv6("fd09::1", &[128; 40]), false);
    // Without a port the kernel has everything.
    drop(port);
    wire.send(&ipv4([10, 9, 0, 1]));
    kernel.receive(|seen| seen == ipv4([10, 9, 0, 1]));
}

#[test]
fn the_kernel_keeps_what_is_not_owned() {
    shared(XdpMode::Native);
}

#[test]
fn the_kernel_keeps_what_is_not_owned_in_generic_mode() {
    shared(XdpMode::Generic);
}

fn has_program(interface: &str) -> bool {
    run("ip", &format!("link show {interface}")).contains("xdp")
}

#[test]
fn the_program_goes_with_device_and_ports() {
    enter();
    veth(1);
    let arena = Arena::new(256, 2048).unwrap();
    for _ in 0..3 {
        let (device, port) = open(&on("tgx-v0", |_| ()), &arena);
        drop(device);
        assert!(has_program("tgx-v0"));
        drop(port);
        assert!(!has_program("tgx-v0"));
    }
    // Frames in flight at the end: memory outlives the port that received into it, and the arena.
    let (device, mut port) = open(&on("tgx-v0", |_| ()), &arena);
    let raw = Raw::open("tgx-v1");
    raw.send(&frame(b"last"));
    let mut slot = receive(&mut port, &arena, &PortStats::default(), 1, is_ours).remove(0);
    raw.send(&frame(b"never taken"));
    drop((device, arena, port));
    assert_eq!(&slot.take().unwrap().data()[14..18], b"last");
}

#[test]
fn a_killed_process_leaves_nothing() {
    enter();
    veth(1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_port_until_killed", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("port is open")));
    assert!(has_program("tgx-v0"));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the program is gone", || !has_program("tgx-v0"));
    both_ways(&on("tgx-v0", |_| ()), &Arena::new(1024, 2048).unwrap(), "af_xdp native", 10);
}

#[test]
#[ignore = "run by a_killed_process_leaves_nothing, which ends it"]
fn holds_a_port_until_killed() {
    let arena = Arena::new(256, 2048).unwrap();
    let _held = open(&on("tgx-v0", |_| ()), &arena);
    println!("port is open");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_sleeper_is_woken() {
    enter();
    veth(1);
    let arena = Arena::new(256, 2048).unwrap();
    let (_device, mut port) = open(&on("tgx-v0", |_| ()), &arena);
    let raw = Raw::open("tgx-v1");
    let sleep = |port: &Port, ms| {
        let mut wait = libc::pollfd { fd: port.wait_fd().unwrap(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&raw mut wait, 1, ms) }
    };
    assert!(port.prepare_sleep());
    assert_eq!(sleep(&port, 20), 0);
    let sender = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        raw.send(&frame(b"wake up"));
    });
    assert_eq!(sleep(&port, 5000), 1);
    assert!(!port.prepare_sleep(), "there is something to do");
    receive(&mut port, &arena, &PortStats::default(), 1, is_ours);
    assert!(port.prepare_sleep());
    sender.join().unwrap();
}

#[test]
fn another_address_is_heard() {
    enter();
    veth(1);
    let mac = MacAddr([2, 0, 0, 0, 0, 0x77]);
    let (device, _) = open(&PortSpec { mac: Some(mac), ..on("tgx-v0", |_| ()) }, &Arena::new(256, 2048).unwrap());
    assert_eq!(device.info().mac, mac);
    assert!(run("ip", "-d link show tgx-v0").contains("promiscuity 1"));
    drop(device);
    assert!(run("ip", "-d link show tgx-v0").contains("promiscuity 0"));
}

#[test]
fn errors_name_the_cause_and_the_remedy() {
    enter();
    veth(1);
    let arena = Arena::new(256, 2048).unwrap();
    let refused = |spec: &PortSpec, queues| Device::open(spec, queues).unwrap_err();

    let error = refused(&on("tgx-none", |_| ()), 1);
    assert!(matches!(error.cause, Cause::NoInterface { .. }), "{error}");
    assert!(error.to_string().starts_with("port \"wan\": there is no interface tgx-none"), "{error}");

    let error = refused(&on("tgx-v0", |_| ()), 2);
    assert!(matches!(error.cause, Cause::Queues { has: 1, wanted: 2, .. }), "{error}");
    assert!(error.to_string().contains("ethtool -L tgx-v0 combined 2"), "{error}");

    let error = refused(&PortSpec { mtu: 2000, ..on("tgx-v0", |_| ()) }, 1);
    assert!(matches!(error.cause, Cause::InterfaceMtu { has: 1500, wanted: 2000, .. }), "{error}");

    ip("link set tgx-v0 mtu 3000");
    let device = Device::open(&PortSpec { mtu: 3000, ..on("tgx-v0", |_| ()) }, 1).unwrap();
    let error = device.queue(0).unwrap().attach(&arena).unwrap_err();
    assert!(matches!(error.cause, Cause::FrameSize { mtu: 3000, frame_size: Some(4096), .. }), "{error}");

    let error = refused(&on("tgx-v0", |_| ()), 1);
    assert!(matches!(error.cause, Cause::ProgramBusy { .. }), "{error}");
    drop(device);

    let device = Device::open(&on("tgx-v0", |xdp| xdp.zero_copy = ZeroCopy::On), 1).unwrap();
    let error = device.queue(0).unwrap().attach(&arena).unwrap_err();
    assert!(matches!(error.cause, Cause::NoZeroCopy { .. }), "{error}");
    drop(device);

    let (device, port) = open(&on("tgx-v0", |_| ()), &arena);
    let error = device.queue(0).unwrap().attach(&arena).unwrap_err();
    assert!(matches!(error.cause, Cause::QueueBusy { queue: 0, .. }), "{error}");
    assert!(matches!(device.queue(1).unwrap_err().cause, Cause::NoQueue { queue: 1, has: 1 }));
    drop((device, port));
    assert_eq!(arena.available(), arena.capacity());

    ip("link set tgx-v0 down");
    let error = refused(&on("tgx-v0", |_| ()), 1);
    assert!(matches!(error.cause, Cause::InterfaceDown { .. }), "{error}");

    let error = refused(&on("lo", |xdp| xdp.mode = XdpMode::Native), 1);
    assert!(matches!(error.cause, Cause::NoNativeXdp { .. } | Cause::InterfaceMtu { .. }), "{error}");
}

const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_NET_RAW: u64 = 1 << 13;
const CAP_IPC_LOCK: u64 = 1 << 14;
const CAP_BPF: u64 = 1 << 39;

#[test]
fn missing_privileges_are_named() {
    enter();
    veth(1);
    let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
    // SAFETY: one rlimit. The other tests of this process keep CAP_IPC_LOCK, for which it does not count.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
    keep_only(CAP_NET_ADMIN | CAP_NET_RAW | CAP_BPF);
    let arena = Arena::new(1024, 2048).unwrap();
    let device = Device::open(&on("tgx-v0", |_| ()), 1).unwrap_or_else(|error| panic!("{error}"));
    let error = device.queue(0).unwrap().attach(&arena).unwrap_err();
    assert!(matches!(error.cause, Cause::LockedMemory { bytes: 0x20_0000 }), "{error}");
    assert!(error.to_string().contains("LimitMEMLOCK=infinity"), "{error}");
    drop(device);
    keep_only(CAP_NET_ADMIN | CAP_BPF);
    let device = Device::open(&on("tgx-v0", |_| ()), 1).unwrap();
    let error = device.queue(0).unwrap().attach(&arena).unwrap_err();
    assert!(matches!(error.cause, Cause::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains("cannot open an AF_XDP socket: not permitted; run as root"), "{error}");
    drop(device);
    keep_only(0);
    let error = Device::open(&on("tgx-v0", |_| ()), 1).unwrap_err();
    assert!(matches!(error.cause, Cause::NotPermitted { .. }), "{error}");
    assert_eq!(arena.available(), arena.capacity());
}

/// What the capabilities of the service unit allow: nothing here needs root itself.
#[test]
fn capabilities_suffice() {
    enter();
    veth(1);
    keep_only(CAP_NET_ADMIN | CAP_NET_RAW | CAP_IPC_LOCK | CAP_BPF);
    let spec = on("tgx-v0", |xdp| xdp.capture = Capture::Owned);
    let arena = Arena::new(1024, 2048).unwrap();
    let (mut device, mut port) = open(&spec, &arena);
    device.own(&prefixes(&["10.9.0.1/32"])).unwrap();
    let raw = Raw::open("tgx-v1");
    raw.send(&ipv4([10, 9, 0, 1]));
    receive(&mut port, &arena, &PortStats::default(), 1, |packet| packet == ipv4([10, 9, 0, 1]));
}
