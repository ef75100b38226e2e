//! DPDK ports on virtual devices, with packets that really pass. One process, since the EAL starts once: the tests share it.
#![cfg(feature = "dpdk")]
// No packet path: these tests share a process, talk with the kernel, and wait for it.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::{
    fs,
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock},
    thread,
};

use tidegate_dataplane::{
    batch::{BATCH, Batch},
    frame::Arena,
    io::{
        TxQueue,
        dpdk::{DpdkError, DpdkPort, DpdkPortSpec, DpdkQueue, Eal, Step},
    },
    meta::{Flags, Meta, Network, PortId},
    stats::PortStats,
};

/// DPDK without hugepages. One test at a time: devices and their counters are the process's.
fn eal() -> MutexGuard<'static, Eal> {
    static EAL: OnceLock<Mutex<Eal>> = OnceLock::new();
    let eal = EAL.get_or_init(|| {
        let args = ["--no-pci", "--in-memory", "--no-huge", "-m", "256", "--log-level=error"].map(str::to_owned);
        Mutex::new(Eal::init(&args).expect("DPDK starts without hugepages"))
    });
    eal.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn spec(device: &str) -> DpdkPortSpec {
    DpdkPortSpec { rx_desc: 256, tx_desc: 256, ..DpdkPortSpec::new("test", device) }
}

/// A port with one queue, as a core sees it.
struct Wire {
    arena: Arena,
    queue: DpdkQueue,
    stats: PortStats,
    port: DpdkPort,
}

impl Wire {
    fn open(eal: &Eal, spec: &DpdkPortSpec) -> Self {
        let mut port = DpdkPort::open(eal, spec).unwrap();
        let queue = port.queue(0).unwrap().attach();
        Self { arena: Arena::new(2048, 2048).unwrap(), queue, stats: PortStats::default(), port }
    }

    /// Sends packets that carry `numbers`, from arena memory. Returns how many were accepted.
    fn send(&mut self, numbers: std::ops::Range<u32>) -> u32 {
        let mut accepted = 0;
        for number in numbers {
            let mut queue = TxQueue::new();
            queue.push((self.arena.copy_from(&packet(number)).unwrap(), Meta::default()));
            self.queue.tx(&mut queue, &self.stats);
            accepted += 1 - queue.len() as u32;
        }
        accepted
    }

    /// Receives until nothing comes; the packets.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            let mut batch = Batch::new();
            self.queue.flush();
            self.queue.rx(PortId(7), &mut batch, &self.stats);
            if batch.is_empty() {
                return packets;
            }
            packets.extend(batch.drain().map(|slot| {
                assert_eq!(slot.meta.port, PortId(7));
                slot.frame.unwrap().data().to_vec()
            }));
        }
    }

    /// Receives until `n` packets have come, or a second is over.
    fn receive_within_a_second(&mut self, n: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for _ in 0..1000 {
            packets.extend(self.receive());
            if packets.len() >= n {
                break;
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
        packets
    }
}

/// A frame of a length and content that depend on `number`: broadcast, EtherType for local experiments.
fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    packet.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    packet.extend(number.to_be_bytes());
    packet.resize(60 + number as usize % 1400, number as u8);
    packet
}

fn packets(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers.map(packet).collect()
}

/// The packets are those of `numbers`, in order. Says which are not, rather than print them all.
fn assert_same(packets: &[Vec<u8>], numbers: std::ops::Range<u32>) {
    let number = |packet: &Vec<u8>| match packet.get(14..18) {
        Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
        _ => u32::MAX,
    };
    assert!(packets.iter().map(number).eq(numbers), "{:?}", packets.iter().map(number).collect::<Vec<_>>());
    for this in packets {
        assert!(*this == packet(number(this)), "packet {} was changed", number(this));
    }
}

#[test]
fn a_ring_brings_back_what_was_sent_in_order() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &spec("net_ring_loop"));
    assert_eq!(wire.port.info().driver, "dpdk net_ring");
    assert!(wire.port.link().up);
    assert_eq!(wire.send(0..300), 300);
    assert_eq!(wire.arena.available(), 2048, "arena frames went home when they were copied");
    assert_same(&wire.receive(), 0..300);
    let bytes: u64 = packets(0..300).iter().map(|p| p.len() as u64).sum();
    let stats = &wire.stats;
    assert_eq!((stats.tx_packets.value(), stats.tx_copies.value(), stats.tx_bytes.value()), (300, 300, bytes));
    assert_eq!((stats.rx_packets.value(), stats.rx_errors.value(), stats.rx_bytes.value()), (300, 0, bytes));
    assert_eq!(wire.port.statistics().tx_packets, 300);
}

#[test]
fn a_received_frame_is_forwarded_without_a_copy_and_may_change() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &spec("net_ring_forward"));
    wire.send(5..6);
    let mut batch = Batch::new();
    wire.queue.rx(PortId(0), &mut batch, &wire.stats);
    let mut frame = batch.drain().next().unwrap().frame.unwrap();
    assert!(frame.headroom() >= 64 && frame.tailroom() >= 64);
    frame.trim_front(14);
    frame.prepend(18).unwrap().fill(0xaa);
    frame.extend(2).unwrap().fill(0xbb);
    let expected = [&[0xaa; 18], &packet(5)[14..], &[0xbb; 2]].concat();
    let mut queue = TxQueue::new();
    queue.push((frame, Meta::default()));
    wire.queue.tx(&mut queue, &wire.stats);
    assert_eq!(wire.receive(), [expected]);
    assert_eq!(wire.stats.tx_copies.value(), 1, "only the first packet was copied");
}

#[test]
fn a_full_ring_refuses_and_loses_nothing() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &spec("net_ring_full"));
    let accepted = wire.send(0..1500);
    assert!(accepted < 1500, "the ring holds 1023 packets");
    assert_same(&wire.receive(), 0..accepted);
    assert_eq!(wire.stats.tx_packets.value(), u64::from(accepted));
    assert_eq!(wire.send(0..10), 10, "there is room again");
}

#[test]
fn an_empty_pool_refuses_copies_until_buffers_come_home() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &DpdkPortSpec { mbufs: Some(500), mtu: 3000, ..spec("net_ring_pool") });
    let accepted = wire.send(0..700);
    // The MTU asks for longer buffers than other tests', hence for a pool of its own.
    // Spare buffers come a batch at a time, and a part of a batch is not given out.
    assert!((500 - BATCH as u32..=500).contains(&accepted), "{accepted}");
    assert_eq!(wire.receive().len() as u32, accepted);
    assert!(wire.send(0..400) == 400);
    assert_same(&wire.receive(), 0..400);
}

#[test]
fn buffers_come_home_from_every_end() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &DpdkPortSpec { mbufs: Some(3000), ..spec("net_null_home,size=100") });
    let mut sent = TxQueue::new();
    // Forty times the pool: dropped, forwarded, and kept in flight.
    for turn in 0..2000 {
        let mut batch = Batch::new();
        wire.queue.rx(PortId(0), &mut batch, &wire.stats);
        assert_eq!(batch.len(), BATCH, "turn {turn}: the pool ran dry");
        for slot in batch.drain().step_by(2) {
            let frame = slot.frame.unwrap();
            assert_eq!(frame.len(), 100);
            sent.push((frame, slot.meta));
        }
        wire.queue.tx(&mut sent, &wire.stats);
        assert!(sent.is_empty());
    }
    assert_eq!(wire.stats.tx_copies.value(), 0);
}

#[test]
fn frames_outlive_their_port_and_a_port_opens_again() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &spec("net_ring_again"));
    wire.send(0..3);
    let mut batch = Batch::new();
    wire.queue.rx(PortId(0), &mut batch, &wire.stats);
    drop(wire);
    for (slot, number) in batch.slots().iter().zip(0..) {
        assert_eq!(slot.frame.as_ref().unwrap().data(), packet(number));
    }
    let mut again = Wire::open(&eal, &spec("net_ring_again"));
    drop(batch);
    again.send(3..6);
    assert_same(&again.receive(), 3..6);
}

#[test]
fn a_queue_has_one_user_on_any_thread() {
    let eal = eal();
    let mut port = DpdkPort::open(&eal, &DpdkPortSpec { queues: 2, ..spec("net_null_two") }).unwrap();
    assert_eq!(port.info().queues, 2);
    let seeds = [port.queue(0).unwrap(), port.queue(1).unwrap()];
    let taken = |queue| DpdkError::QueueTaken { port: "test".to_owned(), queue };
    assert_eq!(port.queue(1).unwrap_err(), taken(1));
    assert_eq!(port.queue(2).unwrap_err(), taken(2));
    let cores = seeds.map(|seed| {
        thread::spawn(move || {
            let mut queue = seed.attach();
            let (stats, mut batch) = (PortStats::default(), Batch::new());
            for _ in 0..1000 {
                queue.rx(PortId(0), &mut batch, &stats);
                batch.drain().for_each(drop);
            }
            stats.rx_packets.value()
        })
    });
    for core in cores {
        assert_eq!(core.join().unwrap(), 64_000);
    }
    port.queue(1).expect("the handle went with its thread");
}

#[test]
fn pcap_files_are_written_and_read() {
    let eal = eal();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.pcap");
    let mut out = Wire::open(&eal, &spec(&format!("net_pcap_out,tx_pcap={}", file.display())));
    assert_eq!(out.send(0..50), 50);
    drop(out);
    assert!(fs::metadata(&file).unwrap().len() > 50 * 76);
    let mut back = Wire::open(&eal, &spec(&format!("net_pcap_in,rx_pcap={}", file.display())));
    assert_same(&back.receive(), 0..50);
}

#[test]
fn a_checksum_the_device_cannot_complete_is_completed_here() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &spec("net_ring_sum"));
    assert!(!wire.port.info().capabilities.tx_checksum);
    let mut bytes = packet(0);
    bytes.truncate(14);
    etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(80, 1234, 1, 1024)
        .write(&mut bytes, b"payload")
        .unwrap();
    let whole = bytes.clone();
    // What a stage leaves there: the sum over the pseudo-header alone.
    let sum: u32 = 0x0a00 + 1 + 0x0a00 + 2 + 6 + (20 + 7);
    bytes[14 + 20 + 16..][..2].copy_from_slice(&(sum as u16).to_be_bytes());
    let meta = Meta {
        l3: 14,
        checksum_start: 34,
        checksum_offset: 16,
        network: Network::Ipv4,
        flags: Flags::CHECKSUM_PARTIAL,
        ..Meta::default()
    };
    let mut queue = TxQueue::new();
    queue.push((wire.arena.copy_from(&bytes).unwrap(), meta));
    wire.queue.tx(&mut queue, &wire.stats);
    assert_eq!(wire.receive(), [whole]);
}

#[test]
fn jumbo_packets_pass_where_the_driver_takes_them() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &DpdkPortSpec { mtu: 9000, ..spec("net_ring_jumbo") });
    let long: Vec<u8> = (0..14 + 9000u32).map(|at| at as u8).collect();
    let mut queue = TxQueue::new();
    queue.push((Arena::new(2, 16384).unwrap().copy_from(&long).unwrap(), Meta::default()));
    wire.queue.tx(&mut queue, &wire.stats);
    assert_eq!(wire.receive_within_a_second(1), [long]);
    // What this kind of device takes is told by its driver.
    let error = DpdkPort::open(&eal, &DpdkPortSpec { mtu: 9000, ..spec("net_memif_jumbo") }).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("net_memif takes IP packets of at most 15") && text.contains("not 9000"), "{text}");
}

#[test]
fn mistakes_are_named() {
    let eal = eal();
    assert_eq!(Eal::init(&[]).unwrap_err(), DpdkError::AlreadyStarted);
    let error = DpdkPort::open(&eal, &spec("net_no_such_driver0")).unwrap_err();
    assert!(matches!(error, DpdkError::Port { step: Step::Probe, .. }), "{error}");
    assert!(error.to_string().contains("\"test\""));
    let error = DpdkPort::open(&eal, &spec("net_af_xdp_none,iface=nosuch0")).unwrap_err();
    assert_eq!(error, DpdkError::NoInterface { port: "test".to_owned(), interface: "nosuch0".to_owned() });
    let error = DpdkPort::open(&eal, &DpdkPortSpec { queues: 17, ..spec("net_ring_few") }).unwrap_err();
    assert!(matches!(error, DpdkError::Queues { wanted: 17, .. }), "{error}");
    DpdkPort::open(&eal, &spec("net_ring_few")).expect("the refused device was taken down again");
    let error = DpdkPort::open(&eal, &DpdkPortSpec { mbufs: Some(4_000_000), ..spec("net_null_big") }).unwrap_err();
    assert!(matches!(error, DpdkError::Buffers { count: 4_000_000, .. }), "{error}");
}

/// Runs `ip` in the namespace of this process.
fn ip(args: &str) -> String {
    let output = Command::new("ip").args(args.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn kernel_interfaces_in_a_namespace_of_their_own() {
    let tests = std::env::current_exe().unwrap();
    let child = Command::new("unshare").arg("--net").arg(tests).args(["--ignored", "--nocapture"]).output().unwrap();
    let said = [child.stdout, child.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(child.status.success(), "root is needed for a network namespace\n{}{}", said[0], said[1]);
    assert!(said[0].contains("2 passed"), "{}", said[0]);
}

#[test]
#[ignore = "run by kernel_interfaces_in_a_namespace_of_their_own"]
fn af_xdp_carries_packets_over_veth_on_two_queues_and_detaches() {
    let eal = eal();
    ip("link set lo up");
    ip("link add left numrxqueues 2 numtxqueues 2 type veth peer name right numrxqueues 2 numtxqueues 2");
    for end in ["left", "right"] {
        ip(&format!("link set {end} addrgenmode none"));
        ip(&format!("link set {end} up"));
    }
    eal.provide(40_000, 1500).unwrap();
    let two = |device: &str| DpdkPortSpec { queues: 2, ..spec(device) };
    let mut left = Wire::open(&eal, &two("net_af_xdp_left,iface=left"));
    let mut right = DpdkPort::open(&eal, &two("net_af_xdp_right,iface=right")).unwrap();
    assert_eq!((right.info().queues, right.info().driver.as_str()), (2, "dpdk net_af_xdp"));
    assert!(ip("link show right").contains("xdp"));
    let mut queues = [right.queue(0).unwrap().attach(), right.queue(1).unwrap().attach()];
    assert_eq!(left.send(0..200), 200);
    let (stats, mut received) = (PortStats::default(), Vec::new());
    for _ in 0..1000 {
        for index in 0..2 {
            let mut batch = Batch::new();
            queues[index].rx(PortId(0), &mut batch, &stats);
            let mut back = TxQueue::new();
            for slot in batch.drain() {
                let frame = slot.frame.unwrap();
                received.push(frame.data().to_vec());
                back.push((frame, slot.meta));
            }
            // Out by the other device, which has registered the same memory: no copy, here or in the driver.
            queues[1 - index].tx(&mut back, &stats);
            assert!(back.is_empty());
        }
        if received.len() >= 200 {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_same(&received, 0..200);
    assert_eq!(stats.tx_copies.value(), 0);
    // veth keeps the queue's number: what came by one goes back by the other.
    left.queue = left.port.queue(1).unwrap().attach();
    assert_same(&left.receive_within_a_second(200), 0..200);
    drop((queues, right, left));
    assert!(!ip("link show left").contains("xdp") && !ip("link show right").contains("xdp"));
}

#[test]
#[ignore = "run by kernel_interfaces_in_a_namespace_of_their_own"]
fn tap_talks_with_the_kernel_and_completes_checksums() {
    let eal = eal();
    let mut wire = Wire::open(&eal, &DpdkPortSpec { mtu: 1400, ..spec("net_tap_kernel,iface=dtap0") });
    let info = wire.port.info().clone();
    assert!(info.capabilities.tx_checksum);
    assert!(ip("link show dtap0").contains("mtu 1400"));
    ip("address add 10.9.9.1/24 dev dtap0");
    ip("neighbor add 10.9.9.2 lladdr 02:00:00:00:00:02 dev dtap0");
    let socket = std::net::UdpSocket::bind("10.9.9.1:4000").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();

    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], info.mac.0);
    let mut bytes = Vec::new();
    builder.ipv4([10, 9, 9, 2], [10, 9, 9, 1], 64).udp(5000, 4000).write(&mut bytes, b"question").unwrap();
    let sum: u32 = 0x0a09 + 0x0902 + 0x0a09 + 0x0901 + 17 + 16;
    bytes[14 + 20 + 6..][..2].copy_from_slice(&(sum as u16).to_be_bytes());
    let (network, flags) = (Network::Ipv4, Flags::CHECKSUM_PARTIAL);
    let meta = Meta { l3: 14, checksum_start: 34, checksum_offset: 6, network, flags, ..Meta::default() };
    let mut queue = TxQueue::new();
    queue.push((wire.arena.copy_from(&bytes).unwrap(), meta));
    wire.queue.tx(&mut queue, &wire.stats);

    let mut text = [0; 16];
    let (len, from) = loop {
        match socket.recv_from(&mut text) {
            // net_tap announces packets to itself by a real-time signal.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => break result.expect("the kernel takes the packet, so its checksum is right"),
        }
    };
    assert_eq!((&text[..len], from.to_string().as_str()), (b"question".as_slice(), "10.9.9.2:5000"));
    socket.send_to(b"answer", from).unwrap();
    let is_answer = |packet: &Vec<u8>| packet.get(42..48) == Some(b"answer".as_slice());
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen.extend(wire.receive_within_a_second(1));
        if seen.iter().any(is_answer) {
            return;
        }
    }
    panic!("no answer among {} packets", seen.len());
}
