//! TAP ports against the kernel at the other end. Needs root.
#![allow(clippy::disallowed_types)] // The kernel's sockets are the other end of the wire.

mod netns;

use std::net::UdpSocket;
use std::time::Duration;

use netns::{Raw, enter, eventually, exists, frame, ip, is_ours, keep_only, receive, tcp_partial};
use tidegate_dataplane::{
    frame::Arena,
    io::{
        Device, DriverSpec, MacAddr, Port, PortSpec, TxQueue,
        checksum::{self, Sum},
        error::Cause,
        spec::TapSpec,
    },
    meta::{Flags, Meta},
    stats::PortStats,
};

fn spec(gso: bool) -> PortSpec {
    let tap = TapSpec { gso, ..TapSpec::new("tgx-tap") };
    PortSpec { name: "wan".to_owned(), driver: DriverSpec::Tap(tap), mac: None, mtu: 1500 }
}

fn open(gso: bool, arena: &Arena) -> (Device, Port) {
    let device = Device::open(&spec(gso), 1).unwrap();
    let port = device.queue(0).unwrap().attach(arena).unwrap();
    (device, port)
}

fn send(port: &mut Port, arena: &Arena, packet: &[u8], meta: Meta) -> PortStats {
    let stats = PortStats::default();
    let mut queue = TxQueue::new();
    queue.push((arena.copy_from(packet).unwrap(), meta));
    port.tx(arena, &mut queue, &stats);
    port.flush();
    assert!(queue.is_empty());
    stats
}

#[test]
fn packets_pass_both_ways_and_frames_come_home() {
    enter();
    let arena = Arena::new(128, 2048).unwrap();
    let (device, mut port) = open(false, &arena);
    assert_eq!(device.info().mac, MacAddr::local("wan"));
    let raw = Raw::open("tgx-tap");
    let stats = PortStats::default();
    for number in 0..100u8 {
        raw.send(&frame(&[number; 1400]));
    }
    let slots = receive(&mut port, &arena, &stats, 100, is_ours);
    for (number, slot) in (0..100u8).zip(&slots) {
        assert_eq!(slot.frame.as_ref().unwrap().data(), frame(&[number; 1400]));
        assert_eq!((slot.meta.port.0, slot.meta.flags), (7, Flags::empty()));
    }
    assert!(stats.rx_packets.value() >= 100);
    drop(slots);
    for number in 0..100u8 {
        let sent = send(&mut port, &arena, &frame(&[number; 40]), Meta::default());
        assert_eq!((sent.tx_packets.value(), sent.tx_bytes.value()), (1, 60));
    }
    for number in 0..100u8 {
        assert_eq!(raw.receive(is_ours), frame(&[number; 40]));
    }
    assert_eq!(arena.available(), arena.capacity());
}

#[test]
fn the_interface_goes_with_the_port() {
    enter();
    let arena = Arena::new(8, 2048).unwrap();
    let (device, port) = open(false, &arena);
    drop(device);
    assert!(exists("tgx-tap"));
    drop(port);
    eventually("the interface is gone", || !exists("tgx-tap"));
}

#[test]
fn each_core_has_its_queue() {
    enter();
    let arena = Arena::new(64, 2048).unwrap();
    let device = Device::open(&spec(false), 2).unwrap();
    let mut ports: Vec<_> = (0..2).map(|queue| device.queue(queue).unwrap().attach(&arena).unwrap()).collect();
    let raw = Raw::open("tgx-tap");
    for (number, port) in ports.iter_mut().enumerate() {
        send(port, &arena, &frame(&[number as u8]), Meta::default());
        assert_eq!(raw.receive(is_ours)[14], number as u8);
    }
    // The kernel answers a flow on the queue that it was last seen on.
    let mut seen = [0; 2];
    for number in 0..40u8 {
        let mut packet = tcp_partial([0xff; 6], 10);
        packet[35] = number;
        raw.send(&packet);
    }
    eventually("all flows, over both queues", || {
        for (port, seen) in ports.iter_mut().zip(&mut seen) {
            let mut batch = tidegate_dataplane::batch::Batch::new();
            port.rx(tidegate_dataplane::meta::PortId(0), &arena, &mut batch, &PortStats::default());
            *seen += batch.len();
        }
        seen[0] + seen[1] >= 40 && seen[0] > 0 && seen[1] > 0
    });
    assert!(matches!(device.queue(2).unwrap_err().cause, Cause::NoQueue { queue: 2, has: 2 }));
}

#[test]
fn checksums_are_left_to_the_last_hand() {
    enter();
    let arena = Arena::new(64, 2048).unwrap();
    let (device, mut port) = open(false, &arena);
    assert!(device.info().capabilities.tx_checksum);
    ip("addr add 10.9.0.1/24 dev tgx-tap");
    ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:99 dev tgx-tap");
    let socket = UdpSocket::bind("10.9.0.1:2000").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(b"from the kernel", "10.9.0.2:1000").unwrap();
    let is_udp = |packet: &[u8]| packet.get(23) == Some(&17);
    let mut slot = receive(&mut port, &arena, &PortStats::default(), 1, is_udp).remove(0);
    assert!(slot.meta.flags.contains(Flags::CHECKSUM_PARTIAL | Flags::RX_CHECKSUM_GOOD));
    assert_eq!((slot.meta.checksum_start, slot.meta.checksum_offset), (34, 6));
    let mut received = slot.take().unwrap();
    let partial = received.data().to_vec();
    let whole = |packet: &[u8]| {
        Sum::new().add_pseudo(&packet[26..30], &packet[30..34], 17, packet.len() - 34).add(&packet[34..]).folded()
    };
    assert_ne!(whole(&partial), 0xffff, "nobody has computed it yet");
    checksum::complete(&mut received, &mut slot.meta);
    assert_eq!(whole(received.data()), 0xffff);

    // The answer: addresses and ports turned round, which leaves the pseudo-header's sum as it is.
    let link = netns::run("ip", "-br link show tgx-tap");
    let mac = link.split_whitespace().nth(2).unwrap();
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let mut answer = partial.clone();
    answer[..6].copy_from_slice(&mac);
    answer[6..12].copy_from_slice(&partial[..6]);
    answer[26..30].copy_from_slice(&partial[30..34]);
    answer[30..34].copy_from_slice(&partial[26..30]);
    answer[34..36].copy_from_slice(&partial[36..38]);
    answer[36..38].copy_from_slice(&partial[34..36]);
    send(&mut port, &arena, &answer, Meta::default());
    answer[42] = b'F';
    let meta = Meta { flags: Flags::CHECKSUM_PARTIAL, checksum_start: 34, checksum_offset: 6, ..Meta::default() };
    send(&mut port, &arena, &answer, meta);
    let mut buffer = [0; 100];
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"From the kernel", "the one sent as if it were complete is dropped by the kernel");
}

#[test]
fn super_segments_pass_whole() {
    enter();
    let arena = Arena::new(16, 65536).unwrap();
    let (device, mut port) = open(true, &arena);
    assert_eq!(device.info().capabilities.tx_segment, 65535);
    let raw = Raw::with_vnet_header("tgx-tap");
    let packet = tcp_partial([0xff; 6], 30_000);
    let meta = Meta {
        flags: Flags::CHECKSUM_PARTIAL,
        l3: 14,
        l4: 34,
        checksum_start: 34,
        checksum_offset: 16,
        segment_size: 1448,
        ..Meta::default()
    };
    send(&mut port, &arena, &packet, meta);
    let seen = raw.receive(|seen| seen.len() > 2000);
    assert_eq!(seen[..8], [1, 1, 54, 0, 0xa8, 0x05, 34, 0], "TCP over IPv4, headers of 54 bytes, 1448 a segment");
    assert_eq!(&seen[10..], packet);
    raw.send(&seen);
    let slot = receive(&mut port, &arena, &PortStats::default(), 1, |data| data.len() > 100).remove(0);
    assert_eq!((slot.meta.segment_size, slot.meta.checksum_start), (1448, 34));
    assert_eq!(slot.frame.unwrap().data(), packet);
}

#[test]
fn small_frames_get_segments_cut_by_the_kernel() {
    enter();
    let arena = Arena::new(64, 2048).unwrap();
    let (_device, mut port) = open(true, &arena);
    let raw = Raw::with_vnet_header("tgx-tap");
    let mut packet = vec![1, 1, 54, 0, 0xa8, 0x05, 34, 0, 16, 0];
    packet.extend(tcp_partial([0xff; 6], 3000));
    raw.send(&packet);
    let is_tcp = |data: &[u8]| data.get(23) == Some(&6);
    let slots = receive(&mut port, &arena, &PortStats::default(), 3, is_tcp);
    let lengths: Vec<_> = slots.iter().map(|slot| slot.frame.as_ref().unwrap().len() - 54).collect();
    assert_eq!(lengths, [1448, 1448, 104]);
}

#[test]
fn errors_name_the_port_and_the_remedy() {
    enter();
    let arena = Arena::new(8, 2048).unwrap();
    let device = Device::open(&PortSpec { mtu: 9000, ..spec(false) }, 1).unwrap();
    let error = device.queue(0).unwrap().attach(&arena).unwrap_err();
    assert!(matches!(error.cause, Cause::FrameSize { mtu: 9000, frame_size: Some(16384), .. }), "{error}");
    assert!(error.to_string().starts_with("port \"wan\": "), "{error}");
    assert!(error.to_string().contains("frame_size = 16384"), "{error}");
    drop(device);
    // The name is taken by something that is not a TAP.
    ip("link add tgx-v0 type veth peer name tgx-v1");
    let taken = PortSpec { driver: DriverSpec::Tap(TapSpec::new("tgx-v0")), ..spec(false) };
    let error = Device::open(&taken, 1).unwrap_err();
    assert!(matches!(error.cause, Cause::System { errno: libc::EINVAL, .. }), "{error}");
    keep_only(0);
    let error = Device::open(&spec(false), 1).unwrap_err();
    assert!(matches!(error.cause, Cause::NotPermitted { .. }), "{error}");
}
