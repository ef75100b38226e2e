//! Core threads: how they start, what a panic costs, how they stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_ctrl::cores::{self, Plan, StartError};
use tidegate_dataplane::{
    io::{Device, DriverSpec, PortSpec},
    l3,
    l4::{Secrets, TcpOptions, TcpStream},
    l7::app::{App, Host},
    meta::{InterfaceId, PortId},
    sync::snapshot::Publisher,
    tables::{Phase, Tables},
    worker::idle::Idle,
};

/// Panics at the next change of tables, once, when it is told to.
struct Fragile {
    armed: Arc<AtomicBool>,
}

impl App for Fragile {
    fn accept(&mut self, _: &Host, stream: TcpStream) {
        drop(stream);
    }

    fn tables_changed(&mut self, _: &Host) {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "told to panic");
    }
}

fn device() -> Device {
    let spec = PortSpec { name: "loop".into(), driver: DriverSpec::Memory, mac: None, mtu: 1500 };
    Device::open(&spec, 1).unwrap()
}

fn tables(device: &Device, phase: Phase) -> Arc<Tables> {
    let port = l3::InterfaceSpec {
        id: InterfaceId(0),
        name: "lan".to_owned(),
        link: tidegate_dataplane::l2::Link::of(PortId(0)),
        mac: device.info().mac,
        mtu: 1500,
        v4: vec!["192.0.2.1/24".parse().unwrap()],
        v6: vec![],
        presence: tidegate_dataplane::l2::Presence::default(),
        ..l3::InterfaceSpec::default()
    };
    let l3 = l3::Table::build(l3::Spec { interfaces: vec![port], ..l3::Spec::default() }).unwrap();
    Arc::new(Tables { phase, l3: Arc::new(l3), l7: Arc::default() })
}

fn plan(cpus: Vec<usize>) -> Plan {
    Plan {
        hosts: Vec::new(),
        cpus,
        frames: 256,
        frame_size: 2048,
        idle: Idle::Poll,
        tcp: TcpOptions { max_connections: 16, ..TcpOptions::default() },
        secrets: Secrets::from_bytes(&[3; 48]),
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_core_that_panics_is_reported_and_starts_again_on_the_newest_tables() {
    let device = device();
    let [first, next, stop] = [Phase::Serve, Phase::Serve, Phase::Stop].map(|phase| tables(&device, phase));
    let mut publisher = Publisher::new(first);
    let armed = Arc::new(AtomicBool::new(false));
    let lives = Arc::new(AtomicUsize::new(0));
    let app = {
        let (armed, lives) = (Arc::clone(&armed), Arc::clone(&lives));
        move |_: &Host, _: &_| {
            lives.fetch_add(1, Ordering::SeqCst);
            Fragile { armed: Arc::clone(&armed) }
        }
    };
    let cores = cores::start(&plan(vec![0]), vec![device], || publisher.subscription(), |_| (), app).unwrap();
    let stats = Arc::clone(&cores.observed()[0].stats);
    armed.store(true, Ordering::SeqCst);
    let generation = publisher.publish(next);
    eventually("the panic was contained and the core restarted", || {
        stats.restarts.value() == 1 && lives.load(Ordering::SeqCst) == 2 && stats.generation.value() == generation
    });
    let turns = stats.turns.value();
    eventually("it polls again", || stats.turns.value() > turns);
    publisher.publish(stop);
    cores.join();
    eventually("nothing holds the old tables", || publisher.reclaim() == 0);
}

#[test]
fn a_cpu_that_is_not_there_is_named() {
    let device = device();
    let publisher = Publisher::new(tables(&device, Phase::Serve));
    let app = |_: &Host, _: &_| Fragile { armed: Arc::default() };
    let started = cores::start(&plan(vec![999]), vec![device], || publisher.subscription(), |_| (), app);
    match started {
        Err(StartError::Pin { cpu: 999, .. }) => {}
        other => panic!("expected the CPU to be refused, got {other:?}"),
    }
}
